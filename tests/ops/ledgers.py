"""A ledger.db as the projector would have left it: orders with fills and mids, or decisions, that a test names."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cstd.projector.database import LedgerDatabase, Row
from cstd.storage.journal_files import Head


def made(run_dir: Path, orders: int = 3) -> Path:
    """Make the ledger of a run directory: buys of 1 BTC at 100.10, arrival 100, fee 0.05, mids 100.20 and the last unknown.

    The last order is canceled without a fill; each has 2 BTC ahead of it.
    """
    (run_dir / "journal").mkdir()
    database = LedgerDatabase(run_dir / "ledger.db")
    now_ns = time.time_ns()
    rows = []
    for number in range(orders):
        name, seq = f"ct{number:016d}", 10 * number + 1
        filled = number < orders - 1
        state = "filled" if filled else "canceled"
        rows += [
            Row("arrivals", (name, seq, now_ns - 10**9 * (orders - number), "BTC/USD", "100.00", "seen", 0, 2 * 10**8, 10**8, 8)),
            Row("orders", (name, f"O{number}", number, "BTC/USD", "buy", "opening", state, state, "GTD", 1, 10010, 2, 10**8,
                           10**8 if filled else 0, 8, now_ns, now_ns, seq + 1))]
        if filled:
            rows += [Row("fills", (f"T{number}", seq + 1, name, f"O{number}", now_ns, "BTC/USD", "buy", "opening", None, "maker",
                                   10**8, 8, "100.10", "100.10", 0, "0", "0")), Row("fees", (f"T{number}", "USD", "0.05"))]
            rows += [Row("markouts", (f"T{number}", horizon_s, seq + 1, "BTC/USD", now_ns, seq + 2, mid, 0 if mid else None,
                                      None if mid else "stale"))
                     for horizon_s, mid in ((1, "100.20"), (10, "100.20"), (60, "100.20"), (300, None))]
    database.write(rows, Head(1, 1, 1, 10 * orders, bytes(16), bytes(32)))
    database.close()
    return run_dir / "ledger.db"


def told(said: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger of `decided` tells of a decision: no cluster, and of the journal its own record alone."""
    own_seq = int(said["event_seq"]) + 1
    return {**said, "cluster": None,
            "journal": {"from_seq": None, "decision_seq": own_seq, "to_seq": own_seq, "order_state": None}}


def decided(run_dir: Path, decisions: Iterable[Mapping[str, Any]]) -> Path:
    """Make the ledger of a run directory of explained decisions, oldest first, as it keeps them: without their clusters."""
    (run_dir / "journal").mkdir()
    database = LedgerDatabase(run_dir / "ledger.db")
    rows, seq = [], 0
    for said in decisions:
        seq = said["event_seq"] + 1
        whole = {**said, "cluster": None}
        rows += [Row("decisions", (
            seq, *(said[name] for name in ("event_seq", "intent_seq", "decided_wall_ns", "instrument", "strategy", "kind", "side",
                                           "episode")),
            0, 0, said["approval"], said["verdict"], said["verdict_reason"], None, said["first_failing"], None, None, None,
            *(said[name] for name in ("price", "bid", "ask", "qty_requested", "qty_final", "notional", "equity", "currency",
                                      "cl_ord_id")), "[]")),
                 Row("explained", (seq, zlib.compress(json.dumps(whole).encode())))]
    database.write(rows, Head(1, 1, 1, seq, bytes(16), bytes(32)))
    database.close()
    return run_dir / "ledger.db"
