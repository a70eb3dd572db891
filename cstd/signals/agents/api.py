"""The interface of an agent: what a source file imports.

    int32_t agent(const double *features, const uint64_t *valid, double *state, double *vote)

`features` is the feature row, `valid` its validity bits (two words), `state` the agent's own 64 doubles (zero at
start, kept between calls, one set per instrument), `vote` is direction (-1 exit or stay out, 0 neutral, +1 want) and
confidence (0..1). Status 1: the vote counts; 0: abstain; negative: fault. docs/agents.md walks through one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

from cstd._fast.features import FEATURES_SHA256, NAMES, feature_count, valid_words

ABI_VERSION = 1
FEATURE_COUNT = feature_count
VALID_WORDS = valid_words
STATE_WORDS = 64
VOTE_WORDS = 2

VOTE = 1
ABSTAIN = 0
FAULT = -1

# Positions in the feature row. An IntEnum, because that is what numba takes as a constant index; Cython's own enum is a
# flag, which it does not take.
if TYPE_CHECKING:
    from cstd._fast.features import Feature
else:
    Feature = IntEnum("Feature", {name: i for i, name in enumerate(NAMES)})

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")

Per = Literal["book", "bar"]


def check_name(word: str, name: str) -> None:
    """Raise ValueError where an agent or a strategy may not be called so: it becomes a C function and a metric's label."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{word} name {name!r}: lower case letters, digits and _, at most 31, letter first")


@dataclass(frozen=True)
class Agent:
    """One agent of a source file.

    Args:
        name: lower case, digits and underscores, at most 31 characters; unique in its folder.
        kernel: function (features, valid, state, vote) -> status, in Python that numba can compile.
        per: "book" runs it at each decision pass after a book update, "bar" at each bar close.

    Raises:
        ValueError: the name or `per` is not as said.
    """

    name: str
    kernel: Callable[[Any, Any, Any, Any], int]
    per: Per

    def __post_init__(self) -> None:
        check_name("agent", self.name)
        if self.per not in ("book", "bar"):
            raise ValueError(f"agent {self.name}: per is {self.per!r}, must be 'book' or 'bar'")


__all__ = [
    "ABI_VERSION", "ABSTAIN", "FAULT", "FEATURES_SHA256", "FEATURE_COUNT", "STATE_WORDS", "VALID_WORDS", "VOTE",
    "VOTE_WORDS", "Agent", "Feature", "check_name",
]
