"""Try agents, or a strategy, before they are accepted. A child process of the build:
`python -m cstd.signals.agents.selftest KIND SOURCES OUT`.

Every kernel is compiled once more with bounds checks and run over rows of several kinds: of plausible size, of extreme
size, and with features missing. The compiled object runs over the same rows. Refused is what reads or writes outside its
arrays or raises, and whose two forms differ in a single bit; an agent that votes when no feature is valid, whose vote is not
-1, 0 or +1 with confidence 0..1, or that leaves a non-finite number in its state; a strategy whose wish breaks a rule
(cstd/signals/strategies/views.py). An endless loop meets the parent's time limit, and a crash ends this process alone.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cstd._fast.features import SCALES
from cstd.errors import CstdError, OperatorError
from cstd.signals.agents import sources
from cstd.signals.agents.aot import ARRAYS, compiled
from cstd.signals.agents.api import FEATURE_COUNT, STATE_WORDS, VALID_WORDS, VOTE_WORDS
from cstd.signals.agents.kinds import AGENTS, KINDS
from cstd.signals.strategies import api as strategies
from cstd.signals.strategies.views import RefusedWishError, WishRules, ask, native_strategy, strategy_arrays

ROWS_PER_KIND = 600
SEED = 20260802
ALL_VALID = np.array([2**64 - 1, 2 ** (FEATURE_COUNT - 64) - 1], dtype=np.uint64)
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Row:
    """One input of the self-test."""

    kind: str
    features: np.ndarray
    valid: np.ndarray


def test_rows() -> list[Row]:
    """Return the rows, the same on every run."""
    random = np.random.Generator(np.random.PCG64(SEED))
    limits = INT32_MAX / np.array(SCALES)
    rows = [Row("nothing valid", np.zeros(FEATURE_COUNT), np.zeros(VALID_WORDS, dtype=np.uint64))]
    rows += [Row("plausible", random.uniform(-1, 1, FEATURE_COUNT) * np.minimum(limits, 100.0), ALL_VALID)
             for _ in range(ROWS_PER_KIND)]
    extremes = np.array([0.0, -0.0, 1e-300, -1e-300, 1.0, -1.0, 1e9, -1e9, 1e300, -1e300])
    rows += [Row("extreme", random.choice(extremes, FEATURE_COUNT), ALL_VALID) for _ in range(ROWS_PER_KIND)]
    for _ in range(ROWS_PER_KIND):
        valid = random.integers(0, 2**64, VALID_WORDS, dtype=np.uint64) & ALL_VALID
        bits = np.array([int(valid[i >> 6]) >> (i & 63) & 1 for i in range(FEATURE_COUNT)])
        rows.append(Row("partly valid", random.uniform(-1, 1, FEATURE_COUNT) * limits * bits, valid))
    # A run of identical rows, so that agents which wait for a streak vote too.
    rows += [Row("plausible", np.full(FEATURE_COUNT, x), ALL_VALID) for x in (0.9, -0.9, 60.0) for _ in range(64)]
    rows.append(Row("nothing valid", np.zeros(FEATURE_COUNT), np.zeros(VALID_WORDS, dtype=np.uint64)))
    return rows


class RefusedError(OperatorError):
    """An agent or a strategy broke a rule."""


def check_vote(name: str, row: Row, status: int, vote: np.ndarray, state: np.ndarray) -> None:
    """Raise RefusedError when what an agent gave back breaks a rule."""
    where = f"agent {name}, row of kind {row.kind!r}"
    if status > 1:
        raise RefusedError(f"{where}: status {status}, must be 1 (vote), 0 (abstain) or negative (fault)")
    if not np.isfinite(state).all():
        raise RefusedError(f"{where}: left a number that is not finite in state[{int(np.argmin(np.isfinite(state)))}]")
    if status != 1:
        return
    if not row.valid.any():
        raise RefusedError(f"{where}: voted although no feature was valid")
    if float(vote[0]) not in (-1.0, 0.0, 1.0):
        raise RefusedError(f"{where}: direction {float(vote[0])}, must be -1, 0 or +1")
    if not 0.0 <= float(vote[1]) <= 1.0:
        raise RefusedError(f"{where}: confidence {float(vote[1])}, must be 0..1")


def native_agent(library: ctypes.CDLL, name: str) -> Any:
    """Return the C function of an agent, callable with four arrays."""
    function = library[AGENTS.symbol(name)]
    function.restype = ctypes.c_int32
    function.argtypes = [np.ctypeslib.ndpointer(dtype, flags="C") for dtype in (np.float64, np.uint64)] + [
        np.ctypeslib.ndpointer(np.float64, flags=("C", "W"))] * 2
    return function


@dataclass(frozen=True)
class Trial:
    """How one kind of source is tried.

    native: the compiled form, callable as the kernel is. inputs: of each call, with their kind, but for state and answer.
    state, answer: as they are at first. call: calls either form. check: raises where an answer breaks a rule.
    counted: what a status is counted as, one of `words`.
    """

    native: Callable[..., int]
    inputs: Sequence[tuple[str, tuple[np.ndarray, ...]]]
    state: np.ndarray
    answer: np.ndarray
    call: Callable[[Callable[..., int], tuple[np.ndarray, ...], np.ndarray, np.ndarray], int]
    check: Callable[[str, tuple[np.ndarray, ...], int, np.ndarray, np.ndarray], None]
    counted: Callable[[int], str]
    words: tuple[str, ...]


def agent_trial(source: sources.Source, library: ctypes.CDLL) -> Trial:
    """Return how an agent is tried."""
    def check(kind: str, given: tuple[np.ndarray, ...], status: int, vote: np.ndarray, state: np.ndarray) -> None:
        check_vote(source.name, Row(kind, given[0], given[1]), status, vote, state)

    return Trial(native_agent(library, source.name), [(row.kind, (row.features, row.valid)) for row in test_rows()],
                 np.zeros(STATE_WORDS), np.full(VOTE_WORDS, math.nan),
                 lambda kernel, given, state, vote: kernel(*given, state, vote), check,
                 lambda status: "votes" if status == 1 else "abstains" if status == 0 else "faults",
                 ("votes", "abstains", "faults"))


def strategy_trial(source: sources.Source, library: ctypes.CDLL) -> Trial:
    """Return how a strategy is tried: over views beside the rows that agents are tried with."""
    answers = ("nothings", "openings", "exits", "quotes", "cancels")  # by what a kernel returns; the last of several kinds
    rules = WishRules()
    inputs = strategy_arrays([(row.kind, row.features, row.valid) for row in test_rows()], source.item.params)
    state, wish = (np.zeros(size, dtype=np.int64) for _, size, written in ARRAYS["strategy"] if written)
    return Trial(native_strategy(library, source), inputs, state, wish, ask, rules.check,
                 lambda status: answers[min(status, strategies.CANCEL_BID)], answers[1:] + answers[:1])


def tried(source: sources.Source, trial: Trial) -> dict[str, int]:
    """Run one source in both forms over all rows; return how often it gave which answer.

    Raises:
        RefusedError: it broke a rule.
    """
    checked = compiled(source, boundscheck=True)
    counts = dict.fromkeys(trial.words, 0)
    state, native_state = trial.state.copy(), trial.state.copy()
    for kind, inputs in trial.inputs:
        answer, native_answer = trial.answer.copy(), trial.answer.copy()
        given = tuple(array.copy() for array in inputs)
        for array in given:
            array.flags.writeable = False
        where = f"{source.kind.word} {source.name}, row of kind {kind!r}"
        try:
            status = int(trial.call(checked, given, state, answer))
        except Exception as error:  # IndexError of the bounds check, or whatever the kernel raises
            raise RefusedError(f"{where}: {type(error).__name__}: {error}") from error
        try:
            trial.check(kind, given, status, answer, state)
        except RefusedWishError as error:
            raise RefusedError(f"{where}: {error}") from None
        native_status = int(trial.call(trial.native, given, native_state, native_answer))
        same = native_answer.tobytes() == answer.tobytes() and native_state.tobytes() == state.tobytes()
        if native_status != status or not same:
            raise RefusedError(f"{where}: compiled form gives another answer than the source")
        counts[trial.counted(status)] += 1
    return counts


def main(argv: list[str]) -> int:
    """Test what argv[1] holds of the kind argv[0], and its compiled form in argv[2]; print counts as JSON."""
    kind = KINDS[argv[0]]
    try:
        found = sources.read(Path(argv[1]), kind)
        library = ctypes.CDLL(str(Path(argv[2]).resolve() / kind.library))
        trial = agent_trial if kind is AGENTS else strategy_trial
        counts = {source.name: tried(source, trial(source, library)) for source in found}
    except CstdError as error:
        print(json.dumps(error.to_json()), file=sys.stderr)
        return error.exit_code
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
