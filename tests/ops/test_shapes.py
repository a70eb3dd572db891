"""The shapes that control and sight are written against are those the engine's side really gives."""

from __future__ import annotations

from typing import NotRequired, get_origin, get_type_hints

import numpy as np
import pytest

from cstd.ops.board import encode
from cstd.ops.view import Decision, DecisionGate
from tests.ops.fake_view import FakeView


def test_the_test_doubles_decisions_have_the_real_shape() -> None:
    """A real explained row, the declared type and the double agree key by key."""
    from cstd._fast.gates import DECISION_DTYPE
    from cstd.decision.why import GATES, explain
    from cstd.venue.messages import InstrumentSpec

    hints = get_type_hints(InstrumentSpec)
    values = {"name": "BTC/USD", "quote": "USD", "price_precision": 1, "qty_precision": 8}
    spec = type("Spec", (), {**dict.fromkeys(hints), **values})()
    real = explain(np.zeros((), dtype=DECISION_DTYPE)[()], spec)
    fake = FakeView()
    fake.step()
    double = fake.decisions(1)[0]
    declared = get_type_hints(Decision, include_extras=True)
    always = {name for name, hint in declared.items() if get_origin(hint) is not NotRequired}  # the others are of exits
    assert set(real) == always == set(double)
    for gates in (real["gates"], double["gates"]):
        assert isinstance(gates, list)
        assert {frozenset(gate) for gate in gates} == {frozenset(get_type_hints(DecisionGate))}
        assert [(gate["code"], gate["name"], gate["group"]) for gate in gates] == [
            (gate.code, gate.name, gate.group) for gate in GATES]


def test_an_explained_decision_fits_its_board() -> None:
    """Forty-eight decisions fit the board's region whole."""
    from cstd.ops.board import DECISIONS_KEPT, REGIONS

    fake = FakeView()
    for _ in range(3 * DECISIONS_KEPT):
        fake.step()
    payload, cut = encode(fake.decisions(DECISIONS_KEPT), REGIONS["decisions"])
    assert payload is not None
    assert not cut
    assert len(payload) == pytest.approx(DECISIONS_KEPT * 4_500, rel=0.5)
