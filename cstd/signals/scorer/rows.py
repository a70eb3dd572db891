"""The sheets between the trading process and the scorer, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cstd._fast import features
from cstd.errors import OperatorError
from cstd.signals import bar_features
from cstd.signals.registry.card import Card

FEATURES_FILE = "scorer-features"
BARS_FILE = "scorer-bars"
SCORES_FILE = "scorer-scores"
VALID_WORD_BITS = 64
VOTES_MAX = 8  # members whose own probabilities are told; all of them are joined


# Lengths of bars that the trading process builds, by their place in the core.
BARS_S = (60, 300, 3_600)


class BarRowsWanted(msgspec.Struct, frozen=True):
    """The rows that a model of bars reads: what the scorer asks for in its note, and what the sheet of bars says that it holds.

    features: the columns in the card's order. features_hash: the card's, of exactly these names.
    """

    bar_s: int
    features: tuple[str, ...]
    features_hash: str


def bar_rows_of(card: Card, names: Sequence[str]) -> BarRowsWanted | None:
    """Return the rows of bars that a model reads, None where all that it reads is among `names`, or it reads something else.

    Raises:
        OperatorError: its bars are of several lengths, or of one that the trading process does not build.
    """
    if set(card.features) <= set(names) or not set(card.features) <= set(bar_features.NAMES):
        return None
    lengths = {bars.interval_s for bars in card.training.bars}
    if len(lengths) != 1 or not lengths <= set(BARS_S):
        raise OperatorError(f"its bars are of {', '.join(map(str, sorted(lengths)))} s; rows are computed of bars of "
                            f"{', '.join(map(str, BARS_S))} s")
    return BarRowsWanted(lengths.pop(), tuple(card.features), card.features_hash)


def rows_said(card: Card) -> str:
    """Return in words which rows the trading process computes for a model, or why none."""
    try:
        wanted = bar_rows_of(card, features.NAMES)
    except OperatorError as error:
        return f"none: {error.message}"
    if wanted is not None:
        return f"bars of {wanted.bar_s // 60} min"
    missing = [name for name in card.features if name not in features.NAMES]
    return f"none: nobody computes {', '.join(missing[:5])}" if missing else "the engine's"


def all_valid(count: int) -> tuple[int, ...]:
    """Return the words of a row of `count` columns that are all valid."""
    words = -(-count // VALID_WORD_BITS)
    whole = (1 << count) - 1
    return tuple(whole >> VALID_WORD_BITS * word & 2**VALID_WORD_BITS - 1 for word in range(words))


def feature_row(count: int) -> np.dtype[np.void]:
    """Return one instrument's features. The names of the columns are the sheet's.

    instrument: its number in the configuration. event_*: of the engine's event that the row is of. after_seq: the journal's
    record behind which it was read, where a replay makes it again. valid: bit n % 64 of word n // 64 for column n; a value whose
    bit is not set means nothing.
    """
    return np.dtype([("instrument", "<i4"), ("unused", "<i4"), ("event_mono_ns", "<i8"), ("event_wall_ns", "<i8"),
                     ("after_seq", "<i8"), ("valid", "<u8", (-(-count // VALID_WORD_BITS),)), ("values", "<f8", (count,))])


# One instrument at one horizon. event_*: the feature row's. lower, upper: of the net return, a fraction. members: that were
# ready. model: the SHA-256 of the card. stacked: the probability before it was calibrated. votes: what the members said, in the
# card's order. after_seq: the feature row's; row_hash: of what the model was given of it, see `row_hashes`. A row whose status
# is not SCORED has no probability. drift: a place in drift.STATES, with the figures of drift.Drift; drift_feature: a place in the
# card's features.
SCORE_ROW = np.dtype([
    ("instrument", "<i4"), ("horizon_s", "<i4"), ("status", "<i4"), ("members", "<i4"), ("probability", "<f8"),
    ("lower", "<f8"), ("upper", "<f8"), ("event_mono_ns", "<i8"), ("event_wall_ns", "<i8"), ("scored_mono_ns", "<i8"),
    ("scored_wall_ns", "<i8"), ("after_seq", "<i8"), ("row_hash", "<i8"), ("model", "u1", (32,)), ("stacked", "<f8"),
    ("votes", "<f8", (VOTES_MAX,)), ("drift", "<i4"), ("drift_feature", "<i4"), ("drift_rows", "<i4"), ("beyond_e6", "<i8"),
    ("psi_e6", "<i8"), ("ks_e6", "<i8")])


class ScoreStatus(IntEnum):
    """What became of a row."""

    SCORED = 0
    NOT_READY = 1  # a feature that the model reads is not valid
    NOT_FINITE = 2  # a feature or a result is no number: never a score


def row_hashes(matrix: NDArray[Any]) -> NDArray[np.int64]:
    """Return the first eight bytes of the SHA-256 of each row of a model's input, float32 in the order of its card.

    They tell an input that was made again from another one; against a forger there is the journal's chain.
    """
    return np.array([int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8], "little", signed=True)
                     for row in np.ascontiguousarray(matrix, "<f4")], np.int64)
