"""The tally of kills goes on where it stopped, keeps each finding under its kind, and is never half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cstd.chaos import campaign
from cstd.chaos.campaign import FAILED, PASSED, Outcome, kills
from cstd.chaos.judge import Finding
from cstd.chaos.tally import DeadmanTrials, add_session, new_tally, read_tally, write_tally
from cstd.errors import UsageError


def test_a_tally_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """What was written is read again; a file that is not there is a tally of nothing."""
    path = tmp_path / "deep" / "tally.json"
    assert read_tally(path) == new_tally()
    tally = new_tally()
    add_session(tally, seed=7, kills=3, orders=4, fills=5, records=6, ready_s_max=1.234, moments={"open": 3},
                findings=[Finding("fill_missed", "x"), Finding("fill_missed", "y")])
    write_tally(path, tally)
    assert read_tally(path) == tally
    assert (tally["kills"], tally["found"]["fill_missed"], tally["failed"], tally["moments"]) == (3, 2, [7], {"open": 3})
    assert list(path.parent.iterdir()) == [path]


def test_a_tally_says_how_long_the_dead_mans_switch_took() -> None:
    """Trials of many sessions: how often orders rested, how often they were left alone, and the longest until they were gone."""
    tally = new_tally()
    for seed, (took_s, by_switch) in enumerate([(3.0, True), (14.256, True), (1.0, False)]):
        trials = DeadmanTrials(15, resting=2)
        trials.add(took_s, by_switch=by_switch)
        add_session(tally, seed=seed, kills=5, orders=1, fills=1, records=1, ready_s_max=1.0, moments={}, findings=[],
                    deadman=trials)
    assert tally["deadman"] == {"timeout_s": 15, "resting": 6, "left_alone": 3, "cleared": 2, "cleared_s_max": 14.26}
    assert str(DeadmanTrials(**tally["deadman"])) == (
        "orders rested in 6 of the kills; 3 times nobody started the daemon again, and the dead man's switch cleared them 2 "
        "times, after 14.26 s at most (its timeout is 15 s); the other 1 times they had filled or expired before")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', "no json"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no tally is neither used nor overwritten."""
    path = tmp_path / "notes.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="no tally"):
        read_tally(path)
    assert path.read_text() == text


def run(monkeypatch: pytest.MonkeyPatch, tally: dict[str, object], results: list[str]) -> tuple[Outcome, list[int], list[int]]:
    """A campaign to 25 kills with sessions that end as told; returns the outcome, the seeds and what each was asked for."""
    seeds: list[int] = []
    asked: list[int] = []
    saved: list[int] = []

    def play(fault: object, seed: int, say: object, *, strikes: int, **_: object) -> Outcome:
        seeds.append(seed)
        asked.append(strikes)
        result = results.pop(0)
        return Outcome("kill9", seed, result, "x" if result == FAILED else "", strikes=strikes, orders=2, directory="kept")

    monkeypatch.setattr(campaign, "play", play)
    outcome = kills(25, 100, tally, lambda _: None, lambda: saved.append(1), config=Path("c"))
    assert len(saved) == len(seeds)
    return outcome, seeds, asked


def test_a_campaign_goes_on_to_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten kills a session, a seed of its own each, saved after each; what the tally has already is not done again."""
    tally = new_tally()
    outcome, seeds, asked = run(monkeypatch, tally, [PASSED] * 3)
    assert (outcome.result, outcome.strikes, seeds, asked) == (PASSED, 25, [100, 101, 102], [10, 10, 5])
    assert (tally["kills"], tally["sessions"], tally["orders"]) == (25, 3, 6)
    again, seeds, _ = run(monkeypatch, tally, [])
    assert (again.result, seeds) == (PASSED, [])
    assert "25 kills already" in again.reason


def test_a_campaign_stops_at_a_failure_and_never_passes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that failed is the last one; the tally that holds it does not pass later either."""
    tally = new_tally()
    outcome, seeds, _ = run(monkeypatch, tally, [PASSED, FAILED, PASSED])
    assert (outcome.result, outcome.seed, outcome.directory, seeds) == (FAILED, 101, "kept", [100, 101])
    assert (tally["failed"], tally["not_reached"]) == ([101], 1)
    again, seeds, _ = run(monkeypatch, tally, [PASSED])
    assert (again.result, seeds) == (FAILED, [])
