"""docs/metrics.md from what the exposition is made of: `make metrics`.

The table is the collector's own families over a specimen board that has everything once, so names, types, labels and help
texts cannot drift from `/metrics`; a test compares it with the file, and with the exposition of a real session.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from cstd.jobs.records import JobRow
from cstd.ledger.execution import HORIZONS_S, QUEUE_NAMES
from cstd.ops.board import BoardHealth
from cstd.ops.execution import ExecutionQuality, ExecutionSeen, Figures
from cstd.ops.metric_texts import NOW, all_counters
from cstd.ops.metrics import BoardCollector
from cstd.ops.reader import count_requests
from cstd.ops.sight import Sight

# The founding documents' metrics (prefix `cst_`) and where each is now; the second part says what is different or missing.
OLD_NAMES: dict[str, tuple[tuple[str, ...], str]] = {
    "system_health_status": (("cstd_up", "cstd_ready", "cstd_state"), ""),
    "application_uptime_seconds": (("cstd_uptime_seconds",), ""),
    "system_uptime": (("cstd_uptime_seconds",), "over time: the objective `uptime` of the recording rules"),
    "errors_total": (("cstd_handler_faults_total", "cstd_agent_faults_total", "cstd_strategy_faults_total",
                      "cstd_venue_errors_total"), "by whose fault it is"),
    "request_duration_seconds": (("cstd_http_request_duration_seconds",), ""),
    "api_requests_total": (("cstd_http_requests_total",), ""),
    "trades_total": (("cstd_fills_total",), "`cstd_trades_total` counts trades of others"),
    "trade_pnl_usd": (("cstd_realized_pnl_value",), "all trades together; of each one: `cstd fills`, `ledger.db`"),
    "portfolio_value_usd": (("cstd_portfolio_value",), "currency is a label"),
    "portfolio_peak_value_usd": (("cstd_portfolio_peak_value",), "currency is a label"),
    "daily_pnl_usd": (("cstd_day_loss_ratio",), "a ratio of equity, the worse of the UTC day and the last 24 h"),
    "position_count": (("cstd_positions",), ""),
    "total_exposure_usd": (("cstd_exposure_value",), "currency is a label"),
    "risk_checks_total": (("cstd_gate_results_total",), 'group="risk"'),
    "risk_violations_total": (("cstd_gate_refusals_total",), 'group="risk"'),
    "execution_policy_gates_total": (("cstd_gate_results_total",), 'group="policy"'),
    "kill_switch_status": (("cstd_kill_switch",), ""),
    "correlation_limits_breached": (("cstd_gate_refusals_total",), 'gate="correlation"'),
    "orders_total": (("cstd_orders_total", "cstd_orders_rejected_total"), ""),
    "order_latency_seconds": (("cstd_stage_duration_seconds",), 'stage="sent": from the frame to the order on its way'),
    "slippage_bps": (("cstd_slippage_p95_ratio",), "a ratio, 95th percentile; of each fill: `cstd fills`"),
    "fill_rate_ratio": (("cstd_immediate_fill_ratio",), "immediate orders only"),
    "memory_usage_bytes": (("cstd_process_resident_memory_bytes", "cstd_host_memory_available_bytes"), ""),
    "cpu_usage_percent": (("cstd_process_cpu_seconds_total",), "seconds; `rate()` gives the part of one CPU"),
    "database_connections": (("cstd_projector_lag_seconds",), "SQLite has no connections; how far it is behind"),
    "queue_size": (("cstd_link_backlog_bytes", "cstd_link_send_queue_bytes"), ""),
    "opportunity_count": (("cstd_opportunities_tradable",), ""),
    "var_usd": ((), "not built"),
    "model_predictions_total": ((), "not exported"),
    "model_accuracy": ((), "not exported"),
    "feature_importance": ((), "not exported"),
    "model_training_duration_seconds": ((), "not exported"),
    "regime_classification": ((), "not built"),
    "tracking_error_bps": ((), "not built"),
    "canary_success_rate": ((), "not built"),
}

_LINK = {"up": True, "age_ns": 0, "reconnects": 0, "backlog_bytes": 0, "backlog_bytes_max": 0, "backlog_ns_max": 0, "deferred": 0,
         "behind": False, "behind_count": 0, "pauses": 0, "stalled": False, "stalls": 0, "queued_bytes": 0, "openings_held": 0}
_STATUS = {
    "state": "ready", "ready": True, "kill": True, "kill_shown_empty_ns": 0, "level": "normal", "conditions": {},
    "shadow": False, "uptime_s": 0,
    "boot_epoch": 0, "event_seq": 0, "links": {"public": _LINK}, "venue_errors": {}, "exits": "socket", "wall_ns": 0,
    "deadman": {"armed": True, "remaining_s": 0},
    "journal": {"seq": 0, "synced_seq": 0, "lag_ms": 0, "bytes": 0, "disk_free_bytes": 0, "checkpoint_seq": 0, "checkpoints": 0,
                "checkpoint_failures": 0, "error": None},
    "children": {},
    "model_drift": {"states": {}, "psi": 0.0, "beyond": 0.0, "ks": 0.0, "rows": 0, "left_out": 0},
}
_SPECIMEN: dict[str, Any] = {
    "status": _STATUS, "equity": {"currency": "USD", "day_loss_bps": 0, "drawdown_bps": 0}, "positions": [], "instruments": [],
    "books": [], "gates": [], "orders": [], "fills": [], "decisions": [], "alert_limits": {},
    "latency": {"edges_ns": [], "stages": {"frame": {"counts": [], "sum_ns": 0}}},
    "counters": dict.fromkeys((*all_counters(), *NOW), 0),
}


_FIGURES: Figures = {"n": 0, "unknown": 0, "mean_bps": "0", "p50_bps": "0", "p95_bps": "0"}
_QUALITY: ExecutionQuality = {
    "source": "", "seq": 0, "since_wall_ns": 0, "instrument": None, "orders": 0, "cut": False, "filled_orders": 0, "fills": 0,
    "price": _FIGURES, "fees": _FIGURES, "shortfall": _FIGURES, "score": _FIGURES,
    "markouts": [{"horizon_s": horizon_s, "reasons": {}, **_FIGURES} for horizon_s in HORIZONS_S],
    "queue": [{"ahead": name, "orders": 0, "filled": 0, "partly": 0, "share": None, "low": None, "high": None}
              for name in QUEUE_NAMES], "queue_open": 0, "queue_unknown": {}, "newest": [],
}


class SpecimenLedger:
    """Execution quality with every figure; stands in for its `LedgerSight`."""

    def seen(self) -> tuple[int, ExecutionSeen]:
        """Return one reading."""
        return 1, {"reason": None, "quality": _QUALITY}


class SpecimenJobs:
    """No job that has run; stands in for a `JobSight`."""

    def seen(self) -> tuple[JobRow, ...]:
        """Return no row: the families are there without."""
        return ()


class Specimen:
    """A board with everything on it once; stands in for a `Sight`."""

    execution = SpecimenLedger()
    jobs = SpecimenJobs()

    def health(self) -> BoardHealth:
        """Return the header of a board that has just been published."""
        return BoardHealth(writer_pid=1, age_ns=0, publishes=1, overflows=0, view_errors=0, last_error="", last_publish_ns=0,
                           longest_publish_ns=0, torn_reads=0)

    def overflowed(self) -> dict[str, int]:
        """Return that nothing was cut."""
        return {}

    def value(self, name: str) -> Any:
        """Return the content of a region."""
        return _SPECIMEN[name]


def families() -> Iterator[Metric]:
    """Yield every family that `/metrics` can have: the board's, then the status port's own."""
    yield from BoardCollector(cast("Sight", Specimen())).collect()
    registry = CollectorRegistry()
    count_requests(registry)
    yield from registry.collect()


def exposed_name(family: Metric) -> str:
    """Return the name as it is scraped: counters end in `_total`."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> str:
    # The families of the status port are made by the library, which keeps names of labels on the metric alone.
    known: Mapping[str, tuple[str, ...]] = {"cstd_http_requests": ("route", "code"),
                                            "cstd_http_request_duration_seconds": ("route",)}
    labels = known.get(family.name) or getattr(family, "_labelnames", None) or ()
    return ", ".join(f"`{label}`" for label in labels)


def table() -> str:
    """Return docs/metrics.md."""
    return "\n".join(_lines(list(families()))) + "\n"


def _lines(found: Iterable[Metric]) -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Made by `make metrics`; not to be edited. What `/metrics` of the status port exposes, in base units."
    yield ""
    yield "Labels are bounded: `instrument` is a configured name (beyond 64 only those with a book on the board), `error` a"
    yield "listed text of the venue, `route` a route of the status port; all others are closed lists. While the trading process"
    yield "does not publish, only `cstd_up 0` and the board's own figures are exposed: no alert is held back by an old value."
    yield "Alerts on them are in [runbooks.md](runbooks.md)."
    yield ""
    yield "| name | type | labels | meaning |"
    yield "|---|---|---|---|"
    for family in sorted(found, key=lambda family: family.name):
        yield f"| `{exposed_name(family)}` | {family.type} | {_labels(family)} | {family.documentation} |"
    yield ""
    yield "## Old names"
    yield ""
    yield "The founding documents' metrics had the prefix `cst_`."
    yield ""
    yield "| old | now | |"
    yield "|---|---|---|"
    for old, (new, remark) in OLD_NAMES.items():
        yield f"| `{old}` | {', '.join(f'`{name}`' for name in new) or '–'} | {remark} |"


if __name__ == "__main__":
    sys.stdout.write(table())
