"""What a strategy is tried with before it is accepted, and the rules that its wishes are held to."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cstd.signals.strategies.api import (
    CANCELS,
    EXIT,
    NOTHING,
    OPEN,
    PARAMS_MAX,
    QUOTE,
    RESTING,
    VIEW_WORDS,
    WISH_WORDS,
    View,
    Wish,
)

SEED = 20260803
S = 1_000_000_000
START_NS = 1_790_000_000 * S
WISH_RAW_MAX = 10**18  # as the engine has it
LIFETIME_NS_MAX = 86_400 * S

Arrays = tuple[np.ndarray, ...]


class RefusedWishError(Exception):
    """A wish broke a rule."""


class WishRules:
    """What every wish of one strategy is held to, over all views that it is tried with."""

    def __init__(self) -> None:
        self._episode = 0

    def check(self, kind: str, given: Arrays, status: int, wish: np.ndarray, state: np.ndarray) -> None:
        """Raise RefusedWishError when an answer breaks a rule."""
        if status not in (NOTHING, OPEN, EXIT, QUOTE, *CANCELS):
            raise RefusedWishError(f"returned {status}, must be OPEN, EXIT, QUOTE, a CANCEL or NOTHING")
        if status == NOTHING or status in CANCELS:
            return
        word = {OPEN: "an opening", EXIT: "an exit", QUOTE: "a quote"}[status]
        said = {part.name: int(wish[part]) for part in Wish}
        wanted = [("QTY_RAW", 1, WISH_RAW_MAX), ("EPISODE", 0, WISH_RAW_MAX), ("URGENCY", 0, 1)]
        if status in RESTING:
            wanted += [("PRICE_RAW", 1, WISH_RAW_MAX), ("LIFETIME_NS", 1, LIFETIME_NS_MAX)]
        for name, low, high in wanted:
            if not low <= said[name] <= high:
                raise RefusedWishError(f"wishes for {word} with {name.lower()} {said[name]}, must be {low} to {high}")
        if status == OPEN:
            last = max(self._episode, int(given[0][View.EPISODE]))
            if said["EPISODE"] < last:
                raise RefusedWishError(f"wishes for an opening of episode {said['EPISODE']} after episode {last}:"
                                       " it never decreases")
            self._episode = said["EPISODE"]


def ask(kernel: Any, given: Arrays, state: np.ndarray, wish: np.ndarray) -> int:
    """Return what a kernel answers, and leave of its wish what counts: nothing without one, no price of an exit."""
    view, features, valid, params = given
    status = int(kernel(view, features, valid, state, params, wish))
    if status == NOTHING or status in CANCELS:
        wish[:] = 0
    elif status == EXIT:
        wish[[Wish.PRICE_RAW, Wish.LIFETIME_NS]] = 0
    return status


def strategy_arrays(rows: Sequence[tuple[str, np.ndarray, np.ndarray]], params: Mapping[str, int]) -> list[tuple[str, Arrays]]:
    """Return the inputs of each call: view, features, validity bits, parameters; the same on every run.

    The views are a session of one instrument: time passes, it is flat, has an opening, holds, sells, and begins anew.
    """
    random = np.random.Generator(np.random.PCG64(SEED))
    values = np.zeros(PARAMS_MAX, dtype=np.int64)
    values[:len(params)] = list(params.values())
    found: list[tuple[str, Arrays]] = []
    wall_ns, ended, episode = START_NS, 0, 0
    for number, (kind, features, valid) in enumerate(rows):
        wall_ns += int(random.integers(0, 2 * S)) if number % 97 else -5 * S  # a clock that steps back
        phase = number // 7 % 5
        ended += phase == 2
        episode += phase == 1
        view = _plausible(random) if kind != "extreme" else _extreme(random)
        held = phase in (2, 3)
        view |= {"NOW_MONO_NS": number * S // 3 + 77 * S, "NOW_WALL_NS": wall_ns, "OPENINGS_LIVE": int(phase == 1),
                 "EXITS_LIVE": int(phase == 3), "SELLABLE": int(held), "OPENINGS_ENDED": ended, "EPISODE": episode,
                 "PASSES_TIMER": number % 2, "INSTRUMENT": 0}
        # What rests beside it: a bid where it opens, and in part of the time an ask of what is held.
        resting = held and number % 3 == 0
        view |= {"QUOTES_LIVE": int(resting), "QUOTED_QTY_RAW": view["POSITION_QTY_RAW"] // 2 + 1 if resting else 0,
                 "QUOTE_PRICE_RAW": view["ASK_RAW"] if resting else 0, "OPENING_PRICE_RAW": view["BID_RAW"] * int(phase == 1)}
        if not held:
            view["POSITION_QTY_RAW"] = 0
        if kind == "nothing valid":
            view |= {"VERIFIED": 0, "ASK_RAW": view["BID_RAW"], "VOTE_COUNT": 0, "VOTE_SUM_PPM": 0}
        words = np.zeros(VIEW_WORDS, dtype=np.int64)
        for name, value in view.items():
            words[View[name]] = value
        found.append((kind, (words, features, valid, values)))
    return found


def _plausible(random: np.random.Generator) -> dict[str, int]:
    bid = int(random.integers(1_000, 10_000_000))
    votes = int(random.integers(0, 3))
    return {"BID_RAW": bid, "ASK_RAW": bid + int(random.integers(1, 50)), "TICK_RAW": 1, "LOT_RAW": 1, "PRICE_SCALE": 10,
            "QTY_SCALE": 10**8, "RATE_E8": 10**8, "EQUITY_ACCT_RAW": int(random.integers(10**10, 10**13)),
            "POSITION_QTY_RAW": int(random.integers(1, 10**9)), "VOTE_COUNT": votes,
            "VOTE_SUM_PPM": int(random.integers(-10**6, 10**6 + 1)) * votes, "VERIFIED": 1}


def _extreme(random: np.random.Generator) -> dict[str, int]:
    def one(*values: int) -> int:
        return values[int(random.integers(0, len(values)))]

    bid = one(1, 7, 10**9, 10**17)
    return {"BID_RAW": bid, "ASK_RAW": bid + one(1, 10**9), "TICK_RAW": one(1, 10**6), "LOT_RAW": one(1, 10**8, 10**15),
            "PRICE_SCALE": one(1, 10**10), "QTY_SCALE": one(1, 10**8, 10**12), "RATE_E8": one(0, 1, 10**8, 10**16),
            "EQUITY_ACCT_RAW": one(-10**18, 0, 1, 9 * 10**18), "POSITION_QTY_RAW": one(1, 10**17), "VOTE_COUNT": one(0, 16),
            "VOTE_SUM_PPM": one(-16 * 10**6, 0, 16 * 10**6), "VERIFIED": 1}


class _View(ctypes.Structure):
    _fields_ = (("words", ctypes.c_int64 * VIEW_WORDS), ("params", ctypes.c_void_p), ("features", ctypes.c_void_p),
                ("valid", ctypes.c_void_p))


class _Wish(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("qty_raw", "price_raw", "lifetime_ns", "episode")) + tuple(
        (name, ctypes.c_int32) for name in ("kind", "urgency", "reason"))


def native_strategy(library: ctypes.CDLL, source: Any) -> Any:
    """Return the compiled form, callable as the kernel is. A fault is a status that no kernel may return."""
    function = library[source.kind.symbol(source.name)]
    function.restype = ctypes.c_int
    function.argtypes = [ctypes.POINTER(_View), ctypes.c_void_p, ctypes.POINTER(_Wish)]

    def call(view: np.ndarray, features: np.ndarray, valid: np.ndarray, state: np.ndarray, params: np.ndarray,
             wish: np.ndarray) -> int:
        given = _View((ctypes.c_int64 * VIEW_WORDS)(*view.tolist()), params.ctypes.data, features.ctypes.data,
                      valid.ctypes.data)
        made = _Wish()
        status = int(function(ctypes.byref(given), state.ctypes.data, ctypes.byref(made)))
        if status != 1:
            return status
        if made.kind + 1 in CANCELS:
            return int(made.kind) + 1
        wish[:] = [made.qty_raw, made.price_raw, made.lifetime_ns, made.episode, made.urgency][:WISH_WORDS]
        return int(made.kind) + 1

    return call
