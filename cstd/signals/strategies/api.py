"""The interface of a strategy: what a source file imports.

    def kernel(view, features, valid, state, params, wish): ... return OPEN, EXIT, QUOTE, a CANCEL or NOTHING

`view`, `state`, `params` and `wish` are arrays of 64-bit integers at positions named by enums: `View` is one instrument at
one decision pass, `state` the strategy's own 32 words (zero at start, one set per instrument), `wish` what it wants
(`Wish`). `features` and `valid` are what agents get. docs/strategies.md walks through one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from cstd._fast.strategy import VIEW_NAMES, abi, params_max, state_words, wish_words
from cstd.signals.agents.api import FEATURE_COUNT, VALID_WORDS, Feature, check_name
from cstd.units import INT64_MAX

ABI_VERSION = abi
VIEW_WORDS = len(VIEW_NAMES)
STATE_WORDS = state_words
PARAMS_MAX = params_max
WISH_WORDS = wish_words

# What a kernel returns: the wish's kind in csrc/strategy.h, and one.
NOTHING = 0
OPEN = 1  # a post-only buy that rests
EXIT = 2  # a sale at the collar, at once
QUOTE = 3  # a post-only sell of what is held that rests
CANCEL_BID = 4  # what rests of the instrument's buys, of its sells, of both; no gate is asked
CANCEL_ASK = 5
CANCEL_BOTH = 6
RESTING = (OPEN, QUOTE)
CANCELS = (CANCEL_BID, CANCEL_ASK, CANCEL_BOTH)

if TYPE_CHECKING:
    from cstd._fast.strategy import View
else:
    View = IntEnum("View", {name: i for i, name in enumerate(VIEW_NAMES)})


class Wish(IntEnum):
    """Positions in the wish; all zero when the kernel is called."""

    QTY_RAW = 0
    PRICE_RAW = 1  # openings: the price to join; quotes: the price to rest at, above the best bid
    LIFETIME_NS = 2  # of openings and quotes: how long one may rest
    EPISODE = 3  # never less than View.EPISODE: a greater one is another wish, the same one is the same wish again
    URGENCY = 4  # exits: 0 calm, 1 urgent


_PARAM = re.compile(r"[a-z][a-z0-9_]{0,30}")


def positions(names: Iterable[str]) -> Any:
    """Return an enum of where each parameter is in `params`, its names in capitals."""
    return IntEnum("Param", {name.upper(): i for i, name in enumerate(names)})


@dataclass(frozen=True)
class Strategy:
    """The one strategy of a source file.

    Args:
        name: lower case, digits and underscores, at most 31 characters.
        kernel: function (view, features, valid, state, params, wish) -> OPEN, EXIT, QUOTE, a CANCEL or NOTHING, in Python
            that numba compiles.
        params: its parameters with their defaults, whole numbers; `[strategy.own] params` changes them.

    Raises:
        ValueError: a name or a parameter is not as said.
    """

    name: str
    kernel: Callable[..., int]
    params: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("strategy", self.name)
        if len(self.params) > PARAMS_MAX:
            raise ValueError(f"strategy {self.name}: {len(self.params)} parameters, at most {PARAMS_MAX}")
        for name, value in self.params.items():
            if not isinstance(name, str) or not _PARAM.fullmatch(name):
                raise ValueError(f"strategy {self.name}: parameter name {name!r}: lower case letters, digits and _")
            if isinstance(value, bool) or not isinstance(value, int) or abs(value) > INT64_MAX:
                raise ValueError(f"strategy {self.name}: parameter {name} is {value!r}, must be a 64-bit integer")


__all__ = [
    "ABI_VERSION", "CANCELS", "CANCEL_ASK", "CANCEL_BID", "CANCEL_BOTH", "EXIT", "FEATURE_COUNT", "NOTHING", "OPEN", "PARAMS_MAX",
    "QUOTE", "RESTING", "STATE_WORDS", "VALID_WORDS", "VIEW_WORDS",
    "WISH_WORDS", "Feature", "Strategy", "View", "Wish", "positions",
]
