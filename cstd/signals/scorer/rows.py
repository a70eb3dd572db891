"""The two sheets between the trading process and the scorer, row by row."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

FEATURES_FILE = "scorer-features"
SCORES_FILE = "scorer-scores"
VALID_WORD_BITS = 64
HORIZONS_MAX = 8  # of a model, and of an instrument in the engine


def feature_row(count: int) -> np.dtype[np.void]:
    """Return one instrument's features. The names of the columns are the sheet's.

    instrument: its number in the configuration. event_*: of the engine's event that the row is of. valid: bit n % 64 of word
    n // 64 for column n; a value whose bit is not set means nothing.
    """
    return np.dtype([("instrument", "<i4"), ("unused", "<i4"), ("event_mono_ns", "<i8"), ("event_wall_ns", "<i8"),
                     ("valid", "<u8", (-(-count // VALID_WORD_BITS),)), ("values", "<f8", (count,))])


# One instrument at one horizon. event_*: the feature row's. lower, upper: of the net return, a fraction. members: that were
# ready. model: the SHA-256 of the card. A row whose status is not SCORED has no probability.
SCORE_ROW = np.dtype([
    ("instrument", "<i4"), ("horizon_s", "<i4"), ("status", "<i4"), ("members", "<i4"), ("probability", "<f8"),
    ("lower", "<f8"), ("upper", "<f8"), ("event_mono_ns", "<i8"), ("event_wall_ns", "<i8"), ("scored_mono_ns", "<i8"),
    ("scored_wall_ns", "<i8"), ("model", "u1", (32,))])


class ScoreStatus(IntEnum):
    """What became of a row."""

    SCORED = 0
    NOT_READY = 1  # a feature that the model reads is not valid
    NOT_FINITE = 2  # a feature or a result is no number: never a score
