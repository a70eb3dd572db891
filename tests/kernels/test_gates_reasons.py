"""Each reason that a gate gives for the book, for a number out of its domain, to an exit, or as the verdict: both sides."""

from __future__ import annotations

import gate_case as case
import numpy as np
import pytest

from cstd._fast.codes import Verdict
from cstd._fast.gates import Gate, Why
from tests.kernels.gate_boundaries import REASONS, Book, Sides


def judged(sides: Sides, changes: dict, book: Book) -> np.void:
    """The decision row of one side, before any reduction."""
    intent = getattr(case, sides.base)(**sides.same, **changes)
    return case.judge(intent, case.limits(**sides.limits), bids=book[0], asks=book[1], reduce=False)


def reason(row: np.void, gate: Gate) -> Why:
    """What the gate said, or what the verdict said."""
    if gate in (Gate.GATE_NONE, Gate.GATE_MANAGED_BOUND):
        return Why(int(row["verdict_reason"]))
    return Why(int(row["reason"][gate - 1 if gate < 11 else gate - 4]))


@pytest.mark.parametrize("sides", REASONS, ids=[sides.name for sides in REASONS])
@pytest.mark.control("policy.rest_price_after_s", "policy.rest_price_age_s_max")
def test_the_last_that_passes_and_the_first_that_does_not(sides: Sides) -> None:
    """One side passes the gate; a step further the gate fails for the stated reason, and nothing goes out."""
    assert reason(judged(sides, sides.passing, sides.book), sides.gate) == Why.WHY_PASSED
    row = judged(sides, sides.failing, sides.failing_book or sides.book)
    assert reason(row, sides.gate) == sides.reason
    cut = sides.gate == Gate.GATE_DEPTH and sides.reason == Why.WHY_OVER_LIMIT
    assert row["verdict"] == (Verdict.REDUCE if cut else Verdict.REFUSE)
