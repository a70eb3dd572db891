"""Try agents before they are accepted. A child process of the build:
`python -m cstd.signals.agents.selftest SOURCES OUT`.

Every kernel is compiled once more with bounds checks and run over rows of three kinds: of plausible size, of extreme
size, and with features missing. The compiled object runs over the same rows. RefusedError is an agent that reads or writes
outside its arrays or raises; that votes when no feature is valid; whose vote is not -1, 0 or +1 with confidence 0..1;
that leaves a non-finite number in its state; whose two forms differ in a single bit. An endless loop meets the parent's
time limit, and a crash ends this process alone.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cstd._fast.features import SCALES
from cstd.errors import CstdError, OperatorError
from cstd.signals.agents import sources
from cstd.signals.agents.aot import compiled
from cstd.signals.agents.api import FEATURE_COUNT, STATE_WORDS, VALID_WORDS, VOTE_WORDS

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
    """An agent broke a rule."""


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


def entry_point(library: ctypes.CDLL, name: str) -> Any:
    """Return the C function of an agent, callable with four arrays."""
    function = library[f"cstd_agent_{name}"]
    function.restype = ctypes.c_int32
    function.argtypes = [np.ctypeslib.ndpointer(dtype, flags="C") for dtype in (np.float64, np.uint64)] + [
        np.ctypeslib.ndpointer(np.float64, flags=("C", "W"))] * 2
    return function


def try_agent(source: sources.Source, native: Any, rows: list[Row]) -> dict[str, int]:
    """Run one agent in both forms over all rows; return how often it voted, abstained, faulted.

    Raises:
        RefusedError: it broke a rule.
    """
    name = source.agent.name
    checked = compiled(source, boundscheck=True)
    counts = {"votes": 0, "abstains": 0, "faults": 0}
    state, native_state = np.zeros(STATE_WORDS), np.zeros(STATE_WORDS)
    for row in rows:
        vote, native_vote = np.full(VOTE_WORDS, math.nan), np.full(VOTE_WORDS, math.nan)
        features, valid = row.features.copy(), row.valid.copy()
        features.flags.writeable = valid.flags.writeable = False
        try:
            status = int(checked(features, valid, state, vote))
        except Exception as error:  # IndexError of the bounds check, or whatever the kernel raises
            raise RefusedError(f"agent {name}, row of kind {row.kind!r}: {type(error).__name__}: {error}") from error
        check_vote(name, row, status, vote, state)
        native_status = int(native(features, valid, native_state, native_vote))
        same = native_vote.tobytes() == vote.tobytes() and native_state.tobytes() == state.tobytes()
        if native_status != status or not same:
            raise RefusedError(f"agent {name}, row of kind {row.kind!r}: compiled form gives another answer than the source")
        counts["votes" if status == 1 else "abstains" if status == 0 else "faults"] += 1
    return counts


def main(argv: list[str]) -> int:
    """Test the agents of folder argv[0] and their compiled form in argv[1]; print counts as JSON."""
    try:
        found = sources.read(Path(argv[0]))
        library = ctypes.CDLL(str(Path(argv[1]).resolve() / "agents.so"))
        rows = test_rows()
        counts = {s.agent.name: try_agent(s, entry_point(library, s.agent.name), rows) for s in found}
    except CstdError as error:
        print(json.dumps(error.to_json()), file=sys.stderr)
        return error.exit_code
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
