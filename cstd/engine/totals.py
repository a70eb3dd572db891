"""The totals of a session: what `make run` prints last, and what a replay must agree with."""

from __future__ import annotations

from typing import Any

from cstd._fast.hist import STAGES, quantile_ns
from cstd.engine.flow import Engine
from cstd.ledger.nav import MONEY_PRECISION
from cstd.units import format_raw


def session_totals(engine: Engine) -> dict[str, Any]:
    """Totals over the whole session, restarts included: all of it follows from the journal."""
    counters = engine.core.counter_values()
    _, refused, *_ = engine.core.fault_counts()
    return {
        "frames": counters["frames"], "book_updates": counters["book_updates"],
        "checksums_ok": counters["checksums_ok"], "checksums_bad": counters["checksums_bad"],
        "resyncs": counters["resyncs"], "intents": counters["intents"], "orders": counters["orders"],
        "shadowed": counters["shadowed"],
        "fills": len(engine.ledger.fills),
        "refused_by_gate": {str(gate): count for gate, count in enumerate(refused) if count},
        "equity": format_raw(engine.nav.nav, MONEY_PRECISION), "digest": engine.recorder.hexdigest(),
    }


def latency_ns(engine: Engine, stage: str) -> dict[str, int]:
    """Count and quantiles in ns of one stage; upper edges of their buckets."""
    counts = engine.core.hist.stage(STAGES.index(stage))
    return {"n": int(counts.sum()), "p50": quantile_ns(counts, 0.5), "p99": quantile_ns(counts, 0.99),
            "p999": quantile_ns(counts, 0.999)}
