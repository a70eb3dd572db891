"""Decision rows: what the model says of an intent as the kernel's row, and where two arrays of rows differ."""

from __future__ import annotations

import numpy as np

from cstd._fast import gates
from tests.proof.facts_model import level_of, level_size_e4
from tests.proof.gates_model import GATES, POLICY, RISK, Case, Decision, evaluate, judge

# The gates' part of a row; the engine writes the rest.
JUDGED = gates.DECISION_DTYPE.names[:gates.DECISION_DTYPE.names.index("event_seq")]
JUDGED_DTYPE = np.dtype([(name, gates.DECISION_DTYPE.fields[name][0]) for name in JUDGED])


def mask(of: dict, kinds: tuple = GATES) -> int:
    """Bits of the gates that are marked."""
    return sum(1 << n for n, gate in enumerate(kinds) if of[gate])


def row_of(i: dict, lim: dict, c: Case, d: Decision) -> tuple:
    """The row of one decision, as a tuple in the order of JUDGED. `i` is the input as it was asked."""
    f, said = c.f, c.rulings
    passed = {gate: said[gate][0] == 0 for gate in GATES}
    values = ([said[gate][n] for gate in kind] for kind in (POLICY, RISK) for n in (1, 2))
    return (
        i["now_wall_ns"], i["episode"], *values, i["qty_raw"], d.qty_final, d.counterfactual, i["managed_free_qty_raw"],
        i["price_raw"], f.bid, f.ask, f.mid2, i["equity_acct_raw"], f.notional, f.depth, f.exit_cost_mbps, i["instrument"],
        i["strategy_code"], mask(passed, POLICY), mask(passed, RISK), mask(d.recorded),
        min(max(level_size_e4(i, lim), 0), 2**15 - 1), [said[gate][0] for gate in GATES], i["kind"], i["side"], d.verdict,
        d.first_failing, d.reduced_by, d.verdict_reason, level_of(i), (i["rejudge"] + 128) % 256 - 128, i["time_in_force"],
    )


def model_rows(intents: list[dict], lim: dict, bids: list, asks: list, *, reduce: bool) -> np.ndarray:
    """The model's rows: shape (n,), dtype JUDGED_DTYPE; `reduce` as in gates.evaluate_rows."""
    ask = judge if reduce else evaluate
    return np.array([row_of(i, lim, *ask(i, lim, bids, asks)) for i in intents], dtype=JUDGED_DTYPE)


def inputs_of(intents: list[dict]) -> np.ndarray:
    """Intents as gate inputs: shape (n,), dtype GATE_INPUT_DTYPE."""
    rows = np.zeros(len(intents), dtype=gates.GATE_INPUT_DTYPE)
    for name in intents[0]:
        rows[name] = [intent[name] for intent in intents]
    return rows


def limits_of(lim: dict) -> np.ndarray:
    """Limits as the compiled struct: shape (), dtype LIMITS_DTYPE."""
    row = np.zeros((), dtype=gates.LIMITS_DTYPE)
    for name, value in lim.items():
        row[name] = value
    return row


def differences(rows: np.ndarray, expected: np.ndarray) -> dict[int, list[str]]:
    """Fields that differ, by the index of the row."""
    found: dict[int, list[str]] = {}
    for name in JUDGED:
        unequal = rows[name] != expected[name]
        if unequal.any():
            for index in np.flatnonzero(unequal.reshape(len(rows), -1).any(axis=1)):
                found.setdefault(int(index), []).append(name)
    return found


def kernel_rows(intents: list[dict], lim: dict, bids: list, asks: list, *, reduce: bool) -> np.ndarray:
    """The compiled kernel's rows of the same: shape (n,), dtype DECISION_DTYPE."""
    return gates.evaluate_rows(inputs_of(intents), limits_of(lim), bids, asks, reduce=reduce)
