"""Features of bars: causal, not ready where something is missing; bars that are refused or counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.errors import OperatorError
from cstd.research.models import dataset, regimes
from cstd.signals import bar_features
from cstd.signals.bar_features import GAP_BARS_MAX, NAMES, SLOW_BARS, BarFeatures
from tests.models.walks import START_S, lines, walk, write

NOW_S = 1_800_000_000
SERIES = walk(160, seed=3)
ROWS = dataset.rows([SERIES])


def changed(at: int, factor: float, volume: float) -> dataset.Series:
    """The same bars with another one from `at` on."""
    columns = {name: getattr(SERIES, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for name in ("open", "high", "low", "close"):
        columns[name][at:] *= factor
    columns["volume"][at:] = volume
    return replace(SERIES, **columns)


@given(at=st.integers(SLOW_BARS, 159), factor=st.floats(0.2, 5.0), volume=st.floats(0.01, 1e6))
@settings(max_examples=25)
def test_a_later_bar_never_changes_the_features_of_an_earlier_one(at: int, factor: float, volume: float) -> None:
    """Whatever bar t+1 and all after it are, features, regime and volatility of t and before are the same bits."""
    other = dataset.rows([changed(at, factor, volume)])
    before, same = ROWS.bar < at, other.bar < at
    for name in ("features", "decided_s", "regime", "ewma_vol", "last_return"):
        assert np.array_equal(getattr(ROWS, name)[before], getattr(other, name)[same]), name


def test_the_features_of_a_bar_do_depend_on_it() -> None:
    """The property above is not empty: the row of the changed bar itself differs."""
    other = dataset.rows([changed(120, 1.01, 9.0)])
    assert not np.array_equal(ROWS.features[ROWS.bar == 120], other.features[other.bar == 120])


def test_a_row_is_decided_when_its_bar_has_closed() -> None:
    """The time of a decision is the end of its bar, and rows are in that order."""
    assert np.array_equal(ROWS.decided_s, SERIES.time_s[ROWS.bar] + SERIES.interval_s)
    assert ROWS.features.dtype == np.float32 and ROWS.features.shape[1] == len(NAMES)
    assert np.isfinite(ROWS.features).all() and ROWS.left_out["warming up"] == SLOW_BARS - 1


def test_features_know_no_scale() -> None:
    """A price a thousand times as high and a volume a tenth give the same row."""
    other = replace(SERIES, **{name: getattr(SERIES, name) * 1_000 for name in ("open", "high", "low", "close")},
                    volume=SERIES.volume / 10)
    assert np.allclose(dataset.rows([other]).features, ROWS.features, atol=1e-5)


def test_a_missing_bar_is_not_filled() -> None:
    """The rows whose spans need it are left out and counted; others are there."""
    gone = dataset.rows([walk(160, seed=3, missing=[130])])
    needing = {130 + span for span in bar_features.SPANS if 130 + span < 160}
    there = {int((time_s - START_S) // 3_600) - 1 for time_s in gone.decided_s}
    assert there == set(range(SLOW_BARS - 1, 160)) - {130} - needing
    assert gone.left_out["missing bar"] == len(needing)


def test_a_long_gap_begins_anew() -> None:
    """One bar less than the limit does not; at more than the limit windows fill again from nothing."""
    at = 110
    short = dataset.rows([walk(300, seed=3, missing=range(at, at + GAP_BARS_MAX))])
    long = dataset.rows([walk(300, seed=3, missing=range(at, at + GAP_BARS_MAX + 1))])
    assert short.left_out["warming up"] == SLOW_BARS - 1
    assert long.left_out["warming up"] == 2 * (SLOW_BARS - 1)


def test_a_market_that_does_not_move_is_undefined() -> None:
    """A quotient without meaning makes the row not ready."""
    features = BarFeatures(60)
    for i in range(120):
        assert features.push(60 * i, (5.0, 5.0, 5.0, 5.0, 1.0)) is None
    assert features.reason == "undefined"


def test_regimes_are_six_with_a_dwell() -> None:
    """Each regime lasts its dwell at least, and a walk with changing volatility visits high and low."""
    vol = np.repeat([0.004, 0.02, 0.001, 0.006], 250)
    seen = dataset.rows([walk(1_000, seed=5, vol=vol)]).regime
    known = seen[seen != regimes.UNKNOWN]
    lengths = np.diff(np.flatnonzero(np.diff(known)))
    assert lengths.min() >= regimes.DWELL_BARS
    assert {regimes.HIGH, regimes.LOW} <= set(known.tolist()) <= set(range(len(regimes.NAMES)))


def read(*paths: Path, **options: object) -> list[dataset.Series]:
    return dataset.read(list(paths), now_s=NOW_S, accept=("authentic", "synthetic"), **options)  # type: ignore[arg-type]


def test_a_bar_without_volume_is_no_bar(tmp_path: Path) -> None:
    """It is left out, which makes a gap, and counted."""
    path = write(tmp_path, SERIES, note="synthetic")
    rows = path.read_text().splitlines()
    rows[130] = ",".join([*rows[130].split(",")[:5], "0", "0"])
    path.write_text("\n".join(rows) + "\n")
    series = read(path)
    assert (len(series[0]), series[0].zero_volume) == (159, 1)
    assert dataset.rows(series).left_out["bar without volume"] == 1


def bad_lines(where: int, row: str) -> list[str]:
    rows = lines(SERIES)
    return [*rows[:where], row, *rows[where:]]


@pytest.mark.parametrize(("rows", "reason"), [
    (bad_lines(5, lines(SERIES)[4]), "line 6: time 1599969600 is not after the bar before it"),
    (bad_lines(2, lines(SERIES)[9]), "line 4: time"),
    ([*lines(SERIES), "1900000000,1,1,1,1,1,1"], "bar 161: 2030-03-17T17:46:40Z is not a whole number of bars"),
    ([*lines(SERIES), f"{START_S + 3_600 * 90_000},1,1,1,1,1,1"], "bar 161: it closes at 2030-"),
    (["time,open,high,low,close", *lines(SERIES)], "line 1: neither a bar nor a header with volume"),
    (["time,open,high,low,close,volume"], "holds no bars"),
], ids=["twice", "unsorted", "uneven", "in the future", "schema", "empty"])
def test_bars_that_cannot_be_are_refused_with_their_place(tmp_path: Path, rows: list[str], reason: str) -> None:
    """File, line or bar, and the reason."""
    path = tmp_path / "SYNTH_60m.csv"
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(OperatorError) as refused:
        read(path)
    assert str(path) in refused.value.message and reason in refused.value.message


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """Two lengths of bars, the same days of one instrument twice, a folder without bars."""
    hour = write(tmp_path, SERIES)
    other = write(tmp_path, walk(160, interval_s=300), "OTHER_5m.csv")
    with pytest.raises(OperatorError, match="bars of 300 s"):
        read(hour, other)
    again = write(tmp_path, SERIES, "SYNTH_60m_copy.csv")
    with pytest.raises(OperatorError, match="both of SYNTH"):
        read(hour, again)
    (tmp_path / "none").mkdir()
    with pytest.raises(OperatorError, match="no bar files"):
        read(tmp_path / "none")


def test_practice_and_synthetic_bars_are_refused(tmp_path: Path) -> None:
    """By a note beside the file, a note of its folder, or where a practice session lies."""
    path = write(tmp_path, SERIES, note="synthetic")
    with pytest.raises(OperatorError, match="is synthetic data"):
        dataset.read([path], now_s=NOW_S)
    (tmp_path / "SYNTH_60m.csv.provenance").unlink()
    assert dataset.read([path], now_s=NOW_S)[0].provenance == "authentic"
    (tmp_path / "PROVENANCE").write_text("practice\n")
    with pytest.raises(OperatorError, match="is practice data"):
        dataset.read([path], now_s=NOW_S)
    (tmp_path / "PROVENANCE").unlink()
    (tmp_path / "practice.json").write_text("{}")
    with pytest.raises(OperatorError, match="is practice data"):
        dataset.read([path], now_s=NOW_S)


def test_a_span_cuts_whole_bars(tmp_path: Path) -> None:
    """From a time on, and bars that have closed by the end."""
    path = write(tmp_path, SERIES)
    series = read(path, from_s=START_S + 3_600, to_s=START_S + 4 * 3_600)[0]
    assert series.time_s.tolist() == [START_S + 3_600 * i for i in (1, 2, 3)]
    with pytest.raises(OperatorError, match="no bar lies"):
        read(path, from_s=START_S + 10**8)
