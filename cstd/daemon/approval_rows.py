"""Openings that wait for an operator, as screens show them, with the exact command that answers each."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from cstd._fast.codes import ApprovalState
from cstd.ledger.nav import MONEY_PRECISION
from cstd.ops.view import Approval
from cstd.orders.approvals import STATE_WORDS
from cstd.units import NS_PER_S, format_raw

if TYPE_CHECKING:
    from cstd.config import Config
    from cstd.engine import Engine


def where(socket: Path | None) -> str:
    """Return the option by which a command finds the daemon of a socket, "" for none."""
    if socket is None:
        return ""
    socket = socket.absolute()
    option, place = ("--run-dir", socket.parent) if socket.name == "cstd.sock" else ("--socket", socket)
    return f" {option} {shlex.quote(str(place))}"


def approval_rows(engine: Engine, mono_ns: int, options: str) -> list[Approval]:
    """Return what waits at a monotonic time, the oldest first; approved ones until they are judged again.

    Args:
        engine: the engine. mono_ns: now.
        options: of a command to this daemon.
    """
    cfg = engine.cfg
    return [] if cfg is None else [_row(engine, cfg, row, mono_ns, options) for row in engine.core.waiting_rows()]


def _row(engine: Engine, cfg: Config, row: dict[str, int], mono_ns: int, options: str) -> Approval:
    name = engine.names[row["instrument"]]
    spec = engine.feed.specs[name]
    left_ns = max(0, row["expires_mono_ns"] - mono_ns)
    return {
        "id": row["intent_seq"], "state": STATE_WORDS[ApprovalState(row["state"])], "instrument": name, "side": "buy",
        "qty": format_raw(row["qty_raw"], spec.qty_precision), "price": format_raw(row["price_raw"], spec.price_precision),
        "notional": format_raw(row["notional_acct_raw"], MONEY_PRECISION), "currency": cfg.account.currency,
        "episode": row["episode"], "asked_wall_ns": row["asked_wall_ns"],
        "age_s": round(max(0, mono_ns - row["asked_mono_ns"]) / NS_PER_S, 1), "expires_in_s": round(left_ns / NS_PER_S, 1),
        "approve": f"cstd approve {row['intent_seq']}{options}", "decline": f"cstd decline {row['intent_seq']}{options}",
    }
