"""What the ledger booked goes on record, and back to what the gates read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cstd._fast.codes import EventKind, Side

if TYPE_CHECKING:
    from cstd.engine.flow import Engine


def record_fills(engine: Engine) -> None:
    """One ledger row for each new fill, then positions and risk figures back into the core."""
    ledger, core = engine.ledger, engine.core
    fills, ledger.unrecorded = ledger.unrecorded, []
    for fill in fills:
        name = engine.names[fill.instrument]
        engine.recorder.output_py(EventKind.OUT_LEDGER, fill.instrument, core.mono_ns, engine.wall_ns,
                                  msgspec.json.encode(ledger.row(fill, name)))
        engine.notes.append(("info", "fill", {"instrument": name, "cl_ord_id": fill.cl_ord_id, "exec_id": fill.exec_id,
                                              "qty_raw": fill.qty_raw, "price": str(fill.price)}))
        core.needs_python = True
        if fill.side == Side.BUY:
            engine.ensemble.on_buy(engine, fill.instrument)
    engine.risk.mark(engine.wall_ns)
