"""What `cstd live-check` will do, worked out from the venue's minimums before anything is sent."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd.cli import live_check
from cstd.cli.host_checks import OK, PROBLEM, Check
from cstd.cli.live_check import Plan, _planned, main
from cstd.cli.live_ladder import Ladder
from cstd.cli.parser import parse
from cstd.cli.users import own_name
from cstd.config import Config, Credentials, Endpoints, load, template
from cstd.config.credentials import PRACTICE_FILE
from cstd.errors import ConfigError, OperatorError, UsageError
from cstd.storage.journal_files import is_being_written, lock_directory
from cstd.storage.run_dir import JOURNAL_DIR, NONCE_FILE
from cstd.venue.nonce import NonceFile, carry_mark
from cstd.venue.rest.models import PairRow

PAIR = PairRow("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC", "USD", 1, 8, Decimal("0.1"), Decimal("0.00005"), Decimal("0.5"), "online")
LIVE = load([str(template("live"))], {})


def planned(cfg: Config, pair: PairRow, ask: str) -> tuple[Check, Plan | None]:
    """The check of an instrument, and the plan where there is one."""
    check, *plan = list(_planned(cfg, "BTC/USD", pair, Decimal(ask)))
    assert isinstance(check, Check)
    return check, plan[0] if plan and isinstance(plan[0], Plan) else None


@given(ask=st.decimals("0.01", "1000000", places=2), qty_min=st.decimals("0.00001", "1000", places=5),
       cost_min=st.decimals("0.5", "20", places=2), position_bps=st.integers(1, 2_000))
def test_the_order_is_near_the_least_and_stays_above_it(ask: Decimal, qty_min: Decimal, cost_min: Decimal,
                                                        position_bps: int) -> None:
    """The opening passes gate 17 whole, its amend is smaller and still above the venue's least, and capital is never raised."""
    cfg = msgspec.structs.replace(LIVE, risk=msgspec.structs.replace(LIVE.risk, position_bps_max=position_bps))
    pair = msgspec.structs.replace(PAIR, qty_min=qty_min, cost_min=cost_min)
    check, plan = planned(cfg, pair, str(ask))
    least = max(qty_min * ask, cost_min)
    if plan is None:
        assert check.state == PROBLEM
        assert cfg.account.capital * position_bps / 10_000 < least * Decimal("2.4") + Decimal("0.01")
        return
    assert check.state == OK
    assert least * 2 < plan.notional <= least * Decimal("2.4") + Decimal("0.01")
    assert plan.capital <= cfg.account.capital
    assert plan.capital * position_bps / 10_000 >= plan.notional
    if plan.amended_bps >= 20:  # below that whole basis points are coarse
        assert least < plan.capital * plan.amended_bps / 10_000 < plan.notional


@pytest.mark.parametrize("pair", [
    msgspec.structs.replace(PAIR, status="cancel_only"),
    msgspec.structs.replace(PAIR, qty_min=None, cost_min=None),
])
def test_no_plan_without_a_least_order(pair: PairRow) -> None:
    """An instrument that takes no openings, or whose minimums the venue does not tell, gets none."""
    check, plan = planned(LIVE, pair, "60000")
    assert (check.state, plan) == (PROBLEM, None)


def test_the_overlay_is_a_configuration(tmp_path: Path) -> None:
    """What is written for the daemon loads, changes what it must and nothing else, and never loosens the day's loss."""
    _, plan = planned(LIVE, PAIR, "60000")
    assert plan is not None
    overlay = tmp_path / "over lay.toml"
    overlay.write_text(plan.overlay(LIVE, tmp_path / "a socket"), encoding="utf-8")
    cfg = load([str(template("live")), str(overlay)], {})
    assert cfg.strategy.name == "ladder"
    assert cfg.account.capital == plan.capital < LIVE.account.capital
    assert cfg.risk.day_loss_max <= LIVE.risk.day_loss_max
    assert msgspec.structs.replace(cfg.risk, day_loss_max=LIVE.risk.day_loss_max) == LIVE.risk
    assert (cfg.policy, cfg.exits, cfg.venue) == (LIVE.policy, LIVE.exits, LIVE.venue)


def overlaid(folder: Path, own: str) -> tuple[Path, Path, Plan]:
    """A file of the user's, the check's own that comes after it, and the plan that this is of."""
    _, plan = planned(LIVE, PAIR, "60000")
    assert plan is not None
    (folder / "own.toml").write_text(own)
    (folder / "ladder.toml").write_text(plan.overlay(LIVE, folder / "socket"))
    return folder / "own.toml", folder / "ladder.toml", plan


def test_the_check_adopts_no_coin_of_the_users(tmp_path: Path) -> None:
    """Whatever his own files say: what it sells in the end is what it bought."""
    own, overlay, _ = overlaid(tmp_path, '[portfolio]\nadopt = ["BTC"]\n')
    assert load([str(template("live")), str(own)], {}).portfolio.adopt == ["BTC"]
    assert load([str(template("live")), str(own), str(overlay)], {}).portfolio.adopt == "none"


def test_the_overlay_stands_in_for_a_strategy_of_the_users(tmp_path: Path) -> None:
    """A file that names one of their own is no contradiction; one that asks for the ladder alone is told what it lacks."""
    own, overlay, plan = overlaid(tmp_path, '[strategy]\nname = "own"\n[strategy.own]\ndir = "mine"\n')
    assert load([str(template("live")), str(own), str(overlay)], {}).strategy.name == "ladder"
    with pytest.raises(ConfigError, match=r"strategy\.ladder"):
        load([str(template("live"))], {"CSTD__STRATEGY__NAME": "ladder"})
    overlay.write_text(replace(plan, instrument="DOGE/USD").overlay(LIVE, tmp_path / "socket"))
    with pytest.raises(ConfigError, match=r"strategy\.ladder\.instrument"):
        load([str(template("live")), str(overlay)], {})


def test_paper_has_no_account() -> None:
    """There is nobody to place an order with."""
    args = parse(["live-check", "-c", str(template("paper"))])
    assert args is not None
    with pytest.raises(UsageError, match="paper"):
        main(args)


class Place:
    """A practice run directory, and a live check in it whose steps are stood in for."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[Path], None]) -> None:
        self.home = home
        (home / JOURNAL_DIR).mkdir()
        (home / PRACTICE_FILE).write_text("{}")

        def before(_cfg: Config, _files: list[str], _home: Path, run_dir: Path, *_rest: object) -> list[Check]:
            step(run_dir)
            return [Check("key", PROBLEM, "stands in", "", "")]

        monkeypatch.setattr(live_check, "_before", before)
        monkeypatch.setattr(live_check, "load_credentials", lambda *_: Credentials(
            endpoints=Endpoints(rest="", ws_public="", ws_private="", ws_futures=""), api_key="k", api_secret="s"))

    def check(self) -> int:
        """Run it."""
        args = parse(["live-check", "-c", str(template("practice")), "--run-dir", str(self.home)])
        assert args is not None
        return main(args)


def test_a_daemon_that_does_not_answer_trades_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's lock tells: no socket that answers is needed, and nothing is done while another holds it."""
    steps: list[Path] = []
    place = Place(tmp_path, monkeypatch, steps.append)
    with lock_directory(tmp_path / JOURNAL_DIR), pytest.raises(OperatorError, match="one account has one trading daemon"):
        place.check()
    assert steps == [] and not (tmp_path / "live-check").exists()
    assert place.check() == 1
    assert len(steps) == 1


def test_no_daemon_starts_while_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held until the last step, and free afterwards."""
    held: list[bool] = []
    Place(tmp_path, monkeypatch, lambda _run_dir: held.append(is_being_written(tmp_path / JOURNAL_DIR))).check()
    assert held == [True]
    assert not is_being_written(tmp_path / JOURNAL_DIR)


def test_a_first_daemon_that_starts_while_the_question_is_read_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There was no journal whose lock could be held: it is looked again, and nothing is sent."""
    place = Place(tmp_path, monkeypatch, lambda _run_dir: None)
    (tmp_path / JOURNAL_DIR).rmdir()
    plan = live_check.Plan(instrument="BTC/USD", notional=Decimal(1), below_bps=Decimal(1), capital=Decimal(100), amended_bps=1)
    monkeypatch.setattr(live_check, "_before", lambda *_: [plan])
    monkeypatch.setattr(live_check, "_climb", lambda *_: pytest.fail("an order would have been sent"))
    with contextlib.ExitStack() as daemon:
        def start(*_: object) -> None:
            (tmp_path / JOURNAL_DIR).mkdir()
            daemon.enter_context(lock_directory(tmp_path / JOURNAL_DIR))

        monkeypatch.setattr(live_check, "_confirm", start)
        with pytest.raises(OperatorError, match="one account has one trading daemon"):
            place.check()


def test_a_lock_that_cannot_be_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not allowed to look is no sign that nobody trades."""
    def refuse(_directory: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(live_check, "lock_directory", refuse)
    with pytest.raises(OperatorError, match="cannot be told"):
        Place(tmp_path, monkeypatch, lambda _run_dir: None).check()


def test_the_nonces_of_a_check_and_of_the_daemon_are_on_one_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check begins above the daemon's mark, and the daemon goes on above the check's, also where the check broke off."""
    far = 3_000_000_000_000_000  # a clock that was once far ahead
    (tmp_path / NONCE_FILE).write_text(f"{far}\n")
    taken: list[int] = []

    def step(run_dir: Path) -> None:
        taken.append(NonceFile(run_dir / NONCE_FILE).take(0))
        raise OperatorError("broke off")

    with pytest.raises(OperatorError, match="broke off"):
        Place(tmp_path, monkeypatch, step).check()
    assert taken == [far + 1]
    assert NonceFile(tmp_path / NONCE_FILE).take(0) > far + 1


def test_a_replay_that_is_not_done_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no traceback: the rungs before it are told."""
    def slow(words: list[str], *, timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(subprocess, "run", slow)
    ladder = Ladder.__new__(Ladder)
    ladder._run_dir = tmp_path
    found = ladder._replay()
    assert (found.name, found.state, found.found) == ("replay", PROBLEM, "not done within 120 s")
    assert str(tmp_path) in found.todo


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's uid need not be in its passwd."""
    def nameless(_uid: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("pwd.getpwuid", nameless)
    assert own_name() == f"uid {os.getuid()}"


def test_a_smaller_mark_is_never_carried(tmp_path: Path) -> None:
    """The larger of two stands; a file that is no number is refused, and no mark at all leaves no file."""
    ours, theirs = tmp_path / "a", tmp_path / "b"
    carry_mark(ours, theirs)
    assert not theirs.exists()
    ours.write_text("5\n")
    theirs.write_text("7\n")
    carry_mark(ours, theirs)
    assert theirs.read_text() == "7\n"
    carry_mark(theirs, ours)
    assert (ours.read_text(), ours.stat().st_mode & 0o777) == ("7\n", 0o600)
    ours.write_text("seven")
    with pytest.raises(ConfigError, match="not a number"):
        carry_mark(ours, theirs)
