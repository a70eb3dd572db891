"""What was decided in a span of time, by the gate that failed first: counts over decision rows, and each gate's last case."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def tally(rows: np.ndarray, explained: Callable[[np.void], dict[str, Any]]) -> dict[str, Any]:
    """Return counts of decisions and, for every gate that refused, cut or pulled an order, how often and its last case.

    Args:
        rows: shape (n,), dtype DECISION_DTYPE, oldest first: of the span and the instruments that are asked for.
        explained: makes of a row what `cstd.decision.why.explain` does; called once a gate.

    Returns:
        decided, approved, reduced, refused, shadowed; and gates, as `cstd.ops.view.RefusingGate`, the most refusals first.
    """
    # Here, so that a command line that reads the ledger has the rest of this module without them.
    import numpy as np

    from cstd._fast.codes import Verdict
    from cstd.decision.why import gate_name

    again = rows["rejudge"] != 0
    verdict = rows["verdict"]
    refused, reduced = verdict == int(Verdict.REFUSE), verdict == int(Verdict.REDUCE)
    code = np.where(refused, rows["first_failing"], np.where(reduced & ~again, rows["reduced_by"], 0))
    gates = []
    for gate in np.unique(code[code != 0]).tolist():
        at = np.flatnonzero(code == gate)
        gates.append(last_case(explained(rows[at[-1]]), str(gate_name(gate))) | {
            "refused": int((refused & ~again)[at].sum()), "reduced": int((reduced & ~again)[at].sum()),
            "canceled": int((refused & again)[at].sum())})
    return {"decided": int((~again).sum()), "approved": int((~again & ~refused & ~reduced).sum()),
            "reduced": int((~again & reduced).sum()), "refused": int((~again & refused).sum()),
            "shadowed": int((~again & ~refused & (rows["shadow"] != 0)).sum()), "gates": most_first(gates)}


def last_case(said: dict[str, Any], gate: str) -> dict[str, Any]:
    """Return what an explained decision says of the gate that decided it."""
    entry: dict[str, Any] = next((row for row in said["gates"] if row["name"] == gate), {})
    refused = said["verdict"] == "refuse"
    return {
        "gate": gate, "reason": str(said["verdict_reason"] if refused else entry.get("reason", "")),
        "last_wall_ns": said["decided_wall_ns"], "last_instrument": said["instrument"],
        "last_value": _text(entry.get("value")), "last_limit": _text(entry.get("limit")), "unit": entry.get("unit"),
    }


def most_first(gates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return gates by how often they stood in the way; equal ones by name."""
    return sorted(gates, key=lambda row: (-row["refused"], -row["canceled"], -row["reduced"], row["gate"]))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
