"""The campaign: shrinking, what is kept, every kind of fault, and a tally that goes on and stays failed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from cstd.practice.faults import Drop
from tests.simulation import campaign
from tests.simulation.campaign import main, play
from tests.simulation.faults import AnyFault, Break, Closed, Crash, Move, Operator, drawn, text_of
from tests.simulation.past import account_at
from tests.simulation.shrink import Kept, keep, read_kept, shrink
from tests.simulation.simulated import Simulation

BAD_SEED = 103


def fake_play(stop_at: int | None = None) -> Any:
    """A stand-in for `play`: BAD_SEED fails, and at a seed the campaign is interrupted."""
    def played(seed: int, _seconds: float, *_: object) -> dict[str, Any]:
        if seed == stop_at:
            raise KeyboardInterrupt
        failure = "BrokenPromiseError: it broke" if seed == BAD_SEED else ""
        return {"seed": seed, "failure": failure, "kind": failure and "it broke", "log": [], "fills": 2}
    return played


def run(tally: Path, *words: str) -> int:
    """The campaign's exit status."""
    return main(["--jobs", "1", "--tally", str(tally), *words])


def test_a_campaign_that_was_interrupted_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was played before the interruption is in the tally, and no seed is played twice or left out."""
    tally = tmp_path / "deep" / "tally.json"
    monkeypatch.setattr(campaign, "play", fake_play(stop_at=7))
    with pytest.raises(KeyboardInterrupt):
        run(tally, "--from", "1", "--seeds", "20")
    known = json.loads(tally.read_text())
    assert (known["seeds"], known["next"], known["fills"]) == (6, 7, 12)
    monkeypatch.setattr(campaign, "play", fake_play())
    assert run(tally, "--seeds", "14") == 0
    known = json.loads(tally.read_text())
    assert (known["seeds"], known["next"], known["fills"], known.get("failed")) == (20, 21, 40, None)


def test_a_tally_with_a_failed_seed_stays_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 when a seed fails, and in every run that goes on from that tally, which names it each time."""
    tally = tmp_path / "tally.json"
    monkeypatch.setattr(campaign, "play", fake_play())
    assert run(tally, "--from", "100", "--seeds", "3") == 0
    assert run(tally, "--seeds", "3") == 1
    capsys.readouterr()
    assert run(tally, "--seeds", "3") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["failed"] == [BAD_SEED]
    assert str(BAD_SEED) in err
    assert run(tmp_path / "another.json", "--from", "200", "--seeds", "3") == 0


def test_a_tally_counts_by_version_of_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """What each version played stands by itself, over campaigns; the seeds go on; --show prints it and plays nothing."""
    path = tmp_path / "tally.json"
    monkeypatch.setattr(campaign, "play", fake_play())
    monkeypatch.setattr(campaign, "commit", lambda: "abc1234")
    for version, seeds in (("aaaa", 2), ("bbbb", 3), ("aaaa", 4)):
        monkeypatch.setattr(campaign, "engine_version", lambda version=version: version)
        run(path, "--from" if version == "aaaa" and seeds == 2 else "--jobs", "100" if seeds == 2 else "1", "--seeds", str(seeds))
    known = json.loads(path.read_text())
    assert known["versions"] == {"aaaa": {"commit": "abc1234", "fills": 12, "seeds": 6},
                                 "bbbb": {"commit": "abc1234", "fills": 6, "seeds": 3, "failed": [BAD_SEED]}}
    assert (known["seeds"], known["fills"], known["next"]) == (9, 18, 109)
    monkeypatch.setattr(campaign, "play", fake_play(stop_at=109))
    capsys.readouterr()
    assert run(path, "--show") == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[-1]) for row in rows] == [("engine", "failed"), ("aaaa", "0"), ("bbbb", "1"), ("all", "1")]
    assert json.loads(path.read_text()) == known


def test_what_an_older_tally_has_is_of_an_unknown_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of it is lost, and nothing of it is called this version's."""
    path = tmp_path / "tally.json"
    path.write_text('{"seeds": 7, "next": 8, "fills": 70}')
    monkeypatch.setattr(campaign, "play", fake_play())
    monkeypatch.setattr(campaign, "engine_version", lambda: "cccc")
    monkeypatch.setattr(campaign, "commit", lambda: "")
    assert run(path, "--seeds", "1") == 0
    assert json.loads(path.read_text())["versions"] == {"unknown": {"seeds": 7, "fills": 70},
                                                        "cccc": {"commit": "", "fills": 2, "seeds": 1}}


def test_the_version_is_of_the_engine_alone(tmp_path: Path) -> None:
    """Another line of the engine is another version; the exchange, the tools and what a build makes are none of it."""
    for name in ("engine/flow.py", "orders/desk.py", "_fast/core.pyx", "_fast/csrc/gates.h", "practice/desk.py", "chaos/app.py"):
        path = tmp_path / "cstd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    before = campaign.engine_version(tmp_path)
    for name in ("practice/desk.py", "chaos/app.py", "_fast/core.c", "_fast/core.so"):
        (tmp_path / "cstd" / name).write_text("another")
        assert campaign.engine_version(tmp_path) == before
    seen = {before}
    for name in ("engine/flow.py", "orders/desk.py", "_fast/core.pyx", "_fast/csrc/gates.h"):
        (tmp_path / "cstd" / name).write_text("another")
        seen.add(campaign.engine_version(tmp_path))
    assert len(seen) == 5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seeds": "x", "next": 1}'])
def test_another_file_is_no_tally(tmp_path: Path, text: str) -> None:
    """It is refused and left as it was."""
    path = tmp_path / "tally.json"
    path.write_text(text)
    with pytest.raises(SystemExit) as exit_:
        run(path, "--seeds", "1")
    assert exit_.value.code == 2
    assert path.read_text() == text


def test_two_jobs_find_what_one_does() -> None:
    """Rows come in the order of the seeds, whoever played them."""
    assert list(campaign.rows(31, 4, 3.0, 2)) == list(campaign.rows(31, 4, 3.0, 1))


@pytest.mark.parametrize("needed", [(0,), (3, 7), (1, 2, 9, 10), ()])
def test_shrinking_finds_what_is_needed(needed: tuple[int, ...]) -> None:
    """Of twelve faults the ones without which it does not fail, and the shortest time that holds them all."""
    faults = [Move(at_s=float(n), asset="USD", amount="1") for n in range(12)]
    found = shrink(faults, 20.0, lambda numbers, for_s: set(needed) <= set(numbers) and for_s > 10.2)
    assert found.numbers == list(needed)
    assert found.seconds == (10.5 if max(needed, default=0) == 10 else found.seconds)
    assert 10.2 < found.seconds <= 20.0


def test_a_failure_is_kept_and_read_again(tmp_path: Path) -> None:
    """Faults come back as they were; a name stands once."""
    path = tmp_path / "kept.json"
    one = Kept("a", 7, 3.5, [Drop(server="ws_private", at_s=1.5), Crash(power=True, restart_s=1.0, seen_s=(0.1, 0.2))])
    keep(one, path)
    keep(Kept("b", 8, 4.0, []), path)
    keep(one, path)
    assert read_kept(path) == [Kept("b", 8, 4.0, []), one]


def test_only_and_shorter_sessions_name_the_same_faults(capsys: pytest.CaptureFixture[str]) -> None:
    """A shorter session's faults are the first of a longer one's; --only plays exactly those it names."""
    assert drawn(12, 9.0) == [fault for fault in drawn(12, 30.0) if fault.at_s < 9.0]
    main(["--seed", "12", "--seconds", "20", "--only", "1,3"])
    struck = [line.split(" fault ")[1] for line in capsys.readouterr().err.splitlines() if " fault " in line]
    assert struck == [f"{number} {text_of(drawn(12, 20.0)[number])}" for number in (1, 3)]


def test_a_fault_left_out_leaves_the_rest_as_it_was() -> None:
    """Before the fault that is left out, and in the market all the time, a session is the same to the bit."""
    fault = Operator(at_s=4.0, verb="pause", for_s=1.0)
    with_it, without = (Simulation(21, faults).run(8.0) for faults in ([fault], []))
    until_ns = with_it.now_ns - 8 * 10**9
    early = [[entry for entry in each.journal if entry[3] <= until_ns] for each in (with_it, without)]
    assert early[0] == early[1]
    assert early[0]


def test_every_kind_of_fault_happens() -> None:
    """The lists of some hundred seeds hold each kind there is."""
    seen = Counter(type(fault) for seed in range(400) for fault in drawn(seed, 20.0))
    assert set(seen) == set(get_args(AnyFault))


def test_a_lagging_history_is_the_one_of_then() -> None:
    """At each moment of a session: orders open then, with what was filled then."""
    account = Simulation(3, []).run(12.0).exchange.account
    order = next(iter(account.orders.values()))
    before, open_, after = (account_at(account, t) for t in (order.created_ns - 1, order.created_ns, order.closed_ns))
    assert (before.orders, before.fills) == ({}, [])
    assert open_.open[order.order_id].status == "new"
    assert open_.open[order.order_id].filled_raw == 0
    assert after.orders[order.order_id] is order
    assert order.order_id not in after.open
    assert len(account_at(account, account.fills[-1].wall_ns).fills) == len(account.fills)


def test_moved_coins_are_the_users() -> None:
    """Deposits and withdrawals that are told change what is his, and the daemon goes on."""
    moves = [Move(at_s=2.0, asset="BTC", amount="0.0123"), Move(at_s=4.0, asset="BTC", amount="-0.02"),
             Move(at_s=5.0, asset="USD", amount="-250")]
    simulation = Simulation(5, moves).run(8.0)
    assert simulation.engine.reconciler.own["BTC"] == simulation.user_btc
    assert str(simulation.user_btc) == "0.0423"
    assert simulation.engine.state == "paused"


@pytest.mark.parametrize("fault", [
    Closed(at_s=2.0, state="maintenance", for_s=3.0, announced_s=2.0, drops=True),
    Break(at_s=2.0, server="ws_private", for_s=5.0),
])
def test_a_session_ends_well_with_one_fault(fault: AnyFault) -> None:
    """One fault alone is survived, and begins once."""
    row = play(6, 10.0, [fault])
    assert row["failure"] == ""
    assert row["faults"] == 1
