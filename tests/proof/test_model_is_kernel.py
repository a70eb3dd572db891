"""The model that the theorems speak of is the compiled kernel: the same row for the same input, field by field."""

from __future__ import annotations

import random
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd._fast import gates
from cstd._fast.codes import Verdict
from cstd.config import load
from cstd.decision.limits import limits_row
from cstd.decision.why import BY_CODE, explain
from cstd.errors import ConfigError
from tests.kernels import gate_case
from tests.proof import campaign
from tests.proof.cases import EXTREMES, FIELDS, FLAGS, case_of, edges, listed_cases, word
from tests.proof.gates_model import GATES, judge
from tests.proof.rows import differences, kernel_rows, model_rows
from tests.proof.world import LIVE


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_drawn_cases_agree(seed: int, reduce: bool) -> None:
    """Intents near their limits and wild ones: verdict, size, reasons, values, limits and facts are equal."""
    intents, lim, bids, asks = case_of(random.Random(seed), 8)
    rows = kernel_rows(intents, lim, bids, asks, reduce=reduce)
    assert differences(rows, model_rows(intents, lim, bids, asks, reduce=reduce)) == {}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((*FIELDS, *FLAGS)),
                          st.one_of(st.sampled_from(EXTREMES), st.integers(-(2**63), 2**63 - 1))), max_size=6),
       st.sampled_from([gate_case.opening, gate_case.exit_sell]), st.booleans())
def test_any_number_in_any_field_agrees(changes: list, base: object, reduce: bool) -> None:
    """The whole domain of each field's word, several at once."""
    i = base(**{name: word(name, value) for name, value in changes})
    book = [[(*level, 0) for level in side[:4]] for side in (gate_case.BIDS, gate_case.ASKS)]
    rows = kernel_rows([i], gate_case.limits(), *book, reduce=reduce)
    assert differences(rows, model_rows([i], gate_case.limits(), *book, reduce=reduce)) == {}


def test_every_field_at_every_limit_agrees() -> None:
    """Each field alone at, one under and one over each limit it is compared with, and at the extremes of its word."""
    intents = edges()
    assert len(intents) > 1_000
    book = [[(*level, 0) for level in side[:3]] for side in (gate_case.BIDS, gate_case.ASKS)]
    rows = kernel_rows(intents, gate_case.limits(), *book, reduce=True)
    assert differences(rows, model_rows(intents, gate_case.limits(), *book, reduce=True)) == {}
    assert {Verdict(int(verdict)) for verdict in rows["verdict"]} == {Verdict.APPROVE, Verdict.REDUCE, Verdict.REFUSE}


def test_listed_cases_agree() -> None:
    """What is not left to chance: the edges on a plain book, and books as wide as the domain."""
    for intents, lim, bids, asks in listed_cases():
        rows = kernel_rows(intents, lim, bids, asks, reduce=True)
        assert differences(rows, model_rows(intents, lim, bids, asks, reduce=True)) == {}


def test_margins_are_those_of_the_model() -> None:
    """What an operator is shown as a gate's value, limit and margin is the model's value, limit and their difference."""
    spec = SimpleNamespace(name="BTC/USD", symbol="BTC/USD", base="BTC", quote="USD", price_precision=1, qty_precision=8)
    i = gate_case.opening()
    book = [[(*level, 0) for level in side] for side in (gate_case.BIDS, gate_case.ASKS)]
    shown = explain(kernel_rows([i], gate_case.limits(), *book, reduce=True)[0], spec, currency="USD")["gates"]
    case, _ = judge(i, gate_case.limits(), *book)
    compared = 0
    for gate, said in zip(GATES, shown, strict=True):
        measure = BY_CODE[gate].measure
        if said["margin"] is None:
            continue
        _, value, limit = case.rulings[gate]
        margin = value - limit if measure.bound == "min" else limit - value
        assert Decimal(said["margin"]) == Decimal(margin).scaleb(-measure.digits)
        compared += 1
    assert compared >= 10


@pytest.mark.parametrize("wild", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_no_number_that_is_none_becomes_a_limit(wild: str) -> None:
    """The gates know integers only; where a decimal enters, as a limit, what is not finite is a configuration error."""
    cfg = load([str(LIVE)], {})
    policy = msgspec.structs.replace(cfg.policy, spread_bps_max=Decimal(wild))
    with pytest.raises(ConfigError):
        limits_row(msgspec.structs.replace(cfg, policy=policy), "BTC/USD")


def test_the_gates_hold_no_float() -> None:
    """No field of an input, a limit or a row is a floating-point number."""
    for dtype in (gates.GATE_INPUT_DTYPE, gates.LIMITS_DTYPE, gates.DECISION_DTYPE):
        assert not [name for name in dtype.names if dtype.fields[name][0].base.kind == "f"]


def test_the_campaign_reaches_every_verdict_and_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    """A short campaign finds no difference, reaches all verdicts and most ways to fail, and a seed repeats it."""
    assert campaign.campaign(seed=11, decisions=1_500, jobs=1) == 0
    said = capsys.readouterr().out
    assert " 0 differ" in said
    for verdict in ("approve", "reduce", "refuse"):
        assert f"'{verdict}': 0" not in said
    one, other = (campaign.drawn(11, 3) for _ in range(2))
    assert one == other


def test_the_comparison_sees_a_difference() -> None:
    """A row that differs in one field is named with it."""
    intents, lim, bids, asks = case_of(random.Random(1), 3)
    expected = model_rows(intents, lim, bids, asks, reduce=True)
    rows = kernel_rows(intents, lim, bids, asks, reduce=True)
    rows["reason"][1][6] += 1
    assert differences(rows, expected) == {1: ["reason"]}
    assert np.array_equal(rows["verdict"], expected["verdict"])
