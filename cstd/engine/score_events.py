"""What the scorer is given of an instrument, and the event that is made of what it gives back.

The daemon calls both as it trades. `cstd replay --rescore` calls both again: the row where the journal was when it was read,
the figures from what the model makes of that row. Rows of closed bars are those of `bar_rows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cstd.engine.flow import Engine
from cstd.engine.scores import FIELDS, MILLION, ROW_FIELDS
from cstd.signals.drift import STATES, Drift
from cstd.signals.scorer.sheet import Rows

RETURN_MAX = 1_000.0  # a return beyond a thousand times the notional is no figure


def fill_row(row: Rows, engine: Engine, number: int) -> None:
    """Write the features of an instrument as they are now into a slice of one row."""
    core = engine.core
    slot = core.slots[number]
    values, valid = slot.feature_row()
    row["instrument"], row["values"] = number, values
    row["event_mono_ns"] = slot.data_mono_ns
    row["event_wall_ns"] = core.wall_ns - (core.mono_ns - slot.data_mono_ns)
    row["after_seq"] = engine.recorder.seq
    # Without any data yet nothing of the row is of the market.
    row["valid"] = valid if slot.data_mono_ns else 0


def in_millionths(rows: Rows) -> tuple[list[int], list[int], list[int]]:
    """Return probability, lower and upper end of scores: rounded to the nearest; the bounds of an interval outwards."""
    probability = np.rint(rows["probability"] * MILLION).astype(np.int64)
    lower = np.floor(np.clip(rows["lower"], -RETURN_MAX, RETURN_MAX) * MILLION).astype(np.int64)
    upper = np.ceil(np.clip(rows["upper"], -RETURN_MAX, RETURN_MAX) * MILLION).astype(np.int64)
    return probability.tolist(), lower.tolist(), upper.tolist()


def _drift(rows: Rows, features: dict[str, str]) -> list[Drift]:
    """Return how the instrument of each row stands to the model's reference."""
    return [Drift(STATES[int(row["drift"])], int(row["beyond_e6"]), int(row["psi_e6"]), int(row["ks_e6"]),
                  features.get(str(int(row["drift_feature"])), ""), int(row["drift_rows"])) for row in rows]


def payload_of(rows: Rows, note: dict[str, Any]) -> dict[str, Any]:
    """Return the event of some scores of one model, as `scores.Told` reads it.

    note: the sheet's own, which says what the model is; an event of a scorer that says nothing of it opens nothing.
    """
    whole = dict(zip(("probability_e6", "lower_e6", "upper_e6"), in_millionths(rows), strict=True))
    columns = [whole[name] if name in whole else rows[name].tolist() for name in (*FIELDS, *ROW_FIELDS)]
    model = bytes(rows["model"][0]).hex()
    payload = {"model": model, "rows": list(zip(*columns, strict=True))}
    if note.get("model") != model:
        return payload
    horizons = note.get("horizons", [])
    counts = {horizon_s: len(names) for horizon_s, _, names in horizons}
    stacked = np.rint(np.nan_to_num(rows["stacked"]) * MILLION).astype(np.int64).tolist()
    votes = np.rint(np.nan_to_num(rows["votes"]) * MILLION).astype(np.int64).tolist()
    details = [(joined, said[:counts.get(int(row["horizon_s"]), 0)])
               for row, joined, said in zip(rows, stacked, votes, strict=True)]
    payload |= {"state": note.get("stage", ""), "verdict": note.get("verdict", ""), "horizons": horizons, "details": details,
                "drift": _drift(rows, note.get("worst_features", {}))}
    begun_seq, bars = note.get("begun_seq", 0), note.get("bars")
    return {**payload, "bars": (begun_seq, bars["bar_s"])} if begun_seq and bars else payload
