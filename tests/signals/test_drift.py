"""Drift: the arithmetic against plain numpy, windows that outlive a process, and what authentic bars show of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.research.models import dataset
from cstd.signals import bar_features, drift
from cstd.signals.registry.card import Card, decode
from cstd.signals.registry.reference import WINDOW_ROWS, FeatureReference, Reference
from cstd.signals.registry.refusals import RefusedVersionError
from cstd.signals.registry.store import _filled
from cstd.signals.scorer.drifting import Drifting, window_file
from cstd.signals.scorer.rows import SCORE_ROW, feature_row
from tests.signals import made

FLOATS = st.floats(-1e6, 1e6, width=32)
COUNTS = st.lists(st.integers(0, 1_000), min_size=2, max_size=10).filter(any)


def plain_psi(p_counts: list[int], q_counts: list[int]) -> float:
    """The oracle: one feature, bin by bin."""
    total = 0.0
    for p_count, q_count in zip(p_counts, q_counts, strict=True):
        p = (p_count + 0.5) / (sum(p_counts) + 0.5 * len(p_counts))
        q = (q_count + 0.5) / (sum(q_counts) + 0.5 * len(q_counts))
        total += (q - p) * float(np.log(q / p))
    return total


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_psi_and_ks_are_those_of_plain_loops(data: st.DataObject) -> None:
    """Empty bins included; bins beyond a feature's own count for nothing; alike in shape is 0, never below."""
    p_counts = data.draw(COUNTS)
    q_counts = data.draw(st.lists(st.integers(0, 1_000), min_size=len(p_counts), max_size=len(p_counts)).filter(any))
    padded = [np.array([*counts, *[0] * (10 - len(counts))], np.int64) for counts in (p_counts, q_counts)]
    used = np.arange(10) < len(p_counts)
    assert drift.psi(*padded, used) == pytest.approx(plain_psi(p_counts, q_counts), abs=1e-9)
    assert drift.psi(padded[0], padded[0], used) == 0 <= drift.psi(*padded, used) + 1e-12
    p, q = (np.cumsum(counts) / sum(counts) for counts in (p_counts, q_counts))
    assert drift.ks(*padded) == pytest.approx(np.abs(p - q).max(), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_a_window_counts_what_numpys_histogram_counts(values: list[float], seed: int) -> None:
    """A value on an edge is below it; ties, and features that never moved, included; only the newest rows count."""
    random = np.random.default_rng(seed)
    trained = random.choice(np.array([*values, 0.0], np.float32), (2 * WINDOW_ROWS, 1))
    told = drift.reference_of(["one"], trained, np.zeros(len(trained), np.int64))
    reference = msgspec.convert(told, Reference)
    windows = drift.Windows(reference, ["one"], 1)
    live = random.choice(np.array([*values, 1.0], np.float32), (WINDOW_ROWS + 37, 1))
    for at, row in enumerate(live):
        assert windows.take(0, row, at + 1)
    edges = reference.features["one"].edges
    newest = live[-WINDOW_ROWS:, 0].astype(np.float64)
    expected = [int(np.sum(np.all([newest > edge for edge in edges[:k]], axis=0) & np.all([newest <= edge for edge in edges[k:]],
                    axis=0))) if edges else WINDOW_ROWS for k in range(len(edges) + 1)]
    assert windows.counts(0)[0].tolist() == expected + [0] * (10 - len(expected))
    assert windows.drift(0).psi_e6 == round(plain_psi(reference.features["one"].counts, expected) * 1e6)


@pytest.mark.parametrize(("beyond", "state"), [
    (-1.0, "none"), (0.0999, "none"), (0.1, "watch"), (0.2499, "watch"), (0.25, "drifted"), (0.4999, "drifted"), (0.5, "broken"),
    (9.0, "broken")])
def test_the_thresholds(beyond: float, state: str) -> None:
    """At each limit, and just under."""
    assert drift.state_of(beyond) == state


def test_the_greatest_of_training_is_that_of_its_windows() -> None:
    """By instrument: a window never runs from one into the next; fewer than two windows of rows give no reference."""
    random = np.random.default_rng(1)
    rows = random.standard_normal((3 * WINDOW_ROWS, 1)).astype(np.float32)
    rows[WINDOW_ROWS:2 * WINDOW_ROWS] += 3
    series = np.zeros(len(rows), np.int64)
    told = drift.reference_of(["one"], rows, series)
    assert told is not None
    edges, counts = told["features"]["one"]["edges"], told["features"]["one"]["counts"]
    codes = np.searchsorted(edges, rows[:, 0].astype(np.float64), side="left")
    greatest = max(plain_psi(counts, np.bincount(codes[at:at + WINDOW_ROWS], minlength=10).tolist())
                   for at in range(0, len(rows) - WINDOW_ROWS + 1, 50))
    assert told["features"]["one"]["psi_max"] == pytest.approx(greatest, abs=1e-6) and greatest > 1
    assert drift.reference_of(["one"], rows[:2 * WINDOW_ROWS - 1], series[:2 * WINDOW_ROWS - 1]) is None


def card_with(reference: dict[str, Any] | None, features: list[str] | None = None) -> Card:
    """A card as the registry writes it."""
    told = made.card(features=features) | ({"reference": reference} if reference else {})
    return decode(_filled(told, "hourly", "0001", made.FILES))


@pytest.mark.parametrize("change", [
    {"rows": 999}, {"window_rows": 499}, {"features": {}}, {"features": made.reference(["rsi_14"])["features"]},
    {"edges": [0.0, 0.0]}, {"counts": [1_000]}, {"counts": [-1, 1_001]}, {"psi_max": -0.1}])
def test_a_reference_that_does_not_hold_is_refused(change: dict[str, Any]) -> None:
    """Other features, edges that do not rise, counts that are not of its rows: `features`, like a hash that is another's."""
    told = made.reference(made.FEATURES)
    told |= {name: value for name, value in change.items() if name in told}
    if not set(change) <= set(told):
        told["features"] = {name: one | change for name, one in told["features"].items()}
    with pytest.raises(RefusedVersionError) as caught:
        card_with(told)
    assert caught.value.reason == "features"
    assert card_with(made.reference(made.FEATURES)).reference and card_with(None).reference is None


def rows_of(values: np.ndarray, at_ns: int, features: int = 4) -> Any:
    """One row an instrument, all valid."""
    rows = np.zeros(len(values), feature_row(features))
    rows["instrument"], rows["values"], rows["event_wall_ns"] = np.arange(len(values)), values[:, np.newaxis], at_ns
    return rows


def stream(drifting: Drifting, values: np.ndarray, from_ns: int = 1) -> Any:
    """Rows of one value for all features, one after the other; returns the last scores."""
    scores = np.zeros(0, SCORE_ROW)
    for at, value in enumerate(values):
        rows = rows_of(np.array([value]), from_ns + at)
        scores = np.zeros(2, SCORE_ROW)  # two horizons
        drifting.mark(rows, rows["values"].astype(np.float32), np.ones(1, np.bool_), scores)
        drifting.save(at, at_once=False)
    return scores


def begun(path: Path | None, *, sha256: str = "ab" * 32, instruments: tuple[str, ...] = ("BTC/USD",),
          card: Card | None = None) -> Drifting:
    """The windows of the fixture's card."""
    return Drifting(card or card_with(made.reference(made.FEATURES)), sha256, path, instruments)


def state(scores: Any) -> str:
    """The state that a row of scores tells."""
    return drift.STATES[int(scores["drift"][0])]


def test_a_shift_is_found_and_each_step_has_its_word(tmp_path: Path) -> None:
    """Not before the window is full; the same row again is none; what is no number is left out, and counted once."""
    random = np.random.default_rng(2)
    drifting = begun(None)
    scores = stream(drifting, random.standard_normal(WINDOW_ROWS - 1))
    assert (state(scores), scores["drift_rows"].tolist()) == ("gathering", [499, 499])
    assert state(stream(drifting, np.zeros(1), from_ns=WINDOW_ROWS - 1)) == "gathering"
    rows = rows_of(np.array([np.nan]), WINDOW_ROWS)
    for _ in range(2):
        drifting.mark(rows, rows["values"].astype(np.float32), np.ones(1, np.bool_), np.zeros(1, SCORE_ROW))
    assert drifting.left_out == 1
    assert state(stream(drifting, random.standard_normal(1), from_ns=WINDOW_ROWS)) == "none"
    seen = []
    for at in range(1, WINDOW_ROWS):
        said = state(stream(drifting, np.full(1, 5.0), from_ns=WINDOW_ROWS + at))
        seen += [said] if seen[-1:] != [said] else []
    assert seen == ["none", "watch", "drifted", "broken"]


def test_windows_outlive_the_process_by_the_instruments_names(tmp_path: Path) -> None:
    """Another order of instruments, another instrument; another card begins anew, and says so."""
    path = window_file(tmp_path, "hourly")
    first = begun(path)
    assert first.said.startswith("begun anew")
    stream(first, np.full(WINDOW_ROWS, 5.0))
    first.save(0, at_once=True)
    again = begun(path, instruments=("ETH/USD", "BTC/USD"))
    assert again.said == "kept"
    rows = rows_of(np.array([0.1, 5.0]), WINDOW_ROWS)  # BTC's is the row that was taken last
    scores = np.zeros(2, SCORE_ROW)
    again.mark(rows, rows["values"].astype(np.float32), np.ones(2, np.bool_), scores)
    assert scores["drift_rows"].tolist() == [1, WINDOW_ROWS]
    assert [drift.STATES[number] for number in scores["drift"]] == ["gathering", "broken"]
    assert "another version" in begun(path, sha256="cd" * 32).said


@pytest.mark.parametrize("damage", [
    lambda raw: raw[:-1], lambda raw: raw[:-1] + b"\xff", lambda _: b"no line", lambda _: b"{}\n"])
def test_a_damaged_file_begins_anew(tmp_path: Path, damage: Any) -> None:
    """What is not whole is not used, and nothing is scored the less for it."""
    path = window_file(tmp_path, "hourly")
    first = begun(path)
    stream(first, np.full(3, 5.0))
    first.save(0, at_once=True)
    path.write_bytes(damage(path.read_bytes()))
    again = begun(path)
    assert again.said.startswith("begun anew: the file") and state(stream(again, np.zeros(1))) == "gathering"


def test_a_folder_that_cannot_be_written_stops_no_score(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is said on stderr, and the windows go on in memory."""
    (tmp_path / "drift").write_text("a file")
    drifting = begun(window_file(tmp_path, "hourly"))
    assert state(stream(drifting, np.zeros(1))) == "gathering"
    assert "cannot be kept" in capfd.readouterr().err


def test_a_card_without_a_reference_is_not_assessable() -> None:
    """Said as such, for each row."""
    drifting = begun(None, card=card_with(None))
    assert state(stream(drifting, np.zeros(3))) == "not assessable" and "no reference" in drifting.said


# On authentic bars.


def rows(path: Path) -> dataset.Rows:
    """The rows of a file of bars."""
    return dataset.rows(dataset.read([path], now_s=int(time.time())))


def states(windows: drift.Windows, features: np.ndarray) -> list[str]:
    """The state behind each 50th row of a stream, from the first full window on."""
    found = []
    for at, row in enumerate(features):
        windows.take(0, row, at + 1)
        if at + 1 >= WINDOW_ROWS and (at + 1) % 50 == 17:  # between the windows that training looked at
            found.append(windows.drift(0).state)
    return found


def test_on_bars_the_trainings_own_are_none_and_anothers_are_found(data_dir: Path) -> None:
    """A model of ether's five minutes: no stretch of its own training is flagged; songbird's are broken from the first window."""
    own = rows(data_dir / "bars/5m/ETHUSD_5m_2024H2.csv.gz")
    early = own.take(np.arange(len(own)) < 12_000)
    told = drift.reference_of(bar_features.NAMES, early.features, early.series)
    reference = msgspec.convert(told, Reference)
    flagged = states(drift.Windows(reference, bar_features.NAMES, 1), early.features)
    assert len(flagged) > 200 and not {"drifted", "broken"} & set(flagged) and flagged.count("watch") <= len(flagged) // 50
    songbird = rows(data_dir / "bars/5m/SGBUSD_5m_2024H2.csv.gz")
    other = states(drift.Windows(reference, bar_features.NAMES, 1), songbird.features[:1_200])
    assert other.count("broken") > len(other) * 0.7 and "none" not in other


def test_nothing_of_later_rows_is_in_a_state() -> None:
    """The state behind a row is the same whether others follow or not."""
    random = np.random.default_rng(3)
    told = FeatureReference([0.0], [500, 500], 0.0)
    live = random.standard_normal((700, 1)).astype(np.float32)
    first, second = (drift.Windows(Reference(1_000, WINDOW_ROWS, {"one": told}), ["one"], 1) for _ in range(2))
    changed = live.copy()
    changed[600:] = 9.0
    for at in range(600):
        first.take(0, live[at], at + 1)
        second.take(0, changed[at], at + 1)
        assert first.drift(0) == second.drift(0)
