"""Prometheus exposition of a board, through one custom collector; runs in the reader process at scrape time.

Names: prefix `cstd_`, base units (seconds, bytes, ratios), counters end in `_total`, labels are bounded: instruments
and links are configured, gates are fifteen, states and stages are closed lists. When the board is stale only
`cstd_up 0` and the board's own age are exposed, so that no alert is held back by an old value.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from cstd.jobs.records import BAD, JobRow
from cstd.ops import recent
from cstd.ops.board import BoardHealth
from cstd.ops.execution import ExecutionQuality, Figures
from cstd.ops.metric_texts import NOW, all_counters
from cstd.ops.sight import Sight
from cstd.signals.drift import STATES as DRIFT_STATES
from cstd.venue.errors_table import ERRORS

NS_PER_S = 1e9
STATES = ("starting", "recovering", "reconciling", "ready", "paused", "halted", "killed", "stopping")
LEVELS = ("normal", "warning", "critical", "emergency", "shutdown")
EXIT_ROUTES = ("socket", "rest", "none")
BOOK_STATES = ("empty", "unverified", "verified")
# What `status` counts beside the listed texts.
OTHER_ERRORS = ("other", "no answer")
COUNTER_TEXTS = all_counters()
# Eleven series an instrument: beyond this many only those with a book on the board have series of their own.
INSTRUMENTS_LABELLED_MAX = 64
# Exposed upper edges of stage histograms: powers of two from 128 ns to about 1 s; they are edges of the board's own
# finer buckets, so nothing is split.
STAGE_EDGES_NS = tuple(1 << power for power in range(7, 31))
# Counters of single gates are exposed with labels instead (`cstd_gate_results_total`).
NAME_PATTERN = re.compile(r"(?!gate_\d)[a-z][a-z0-9_]{0,99}")


EXECUTION_TEXTS = {
    "price": "Cost of orders against the mid at their decision, fees left out: mean by value, percentiles; positive is cost.",
    "fees": "Fees of orders, of their value at the mid at their decision.",
    "shortfall": "Implementation shortfall of orders: price and fees.",
    "score": "Shortfall of orders and markout after 60 s together; lower is better.",
}


class BoardCollector:
    """Yields all families of one board; register it with `prometheus_client.CollectorRegistry`."""

    def __init__(self, sight: Sight, *, stale_too: bool = False) -> None:
        """Collect from `sight`; with `stale_too` also what a process that is gone or stuck showed last."""
        self._sight = sight
        self._stale_too = stale_too

    def describe(self) -> list[Metric]:
        """Return nothing: families depend on the board, and a scrape must not be needed to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family once; a counter of the engine that would repeat a family's name is left out."""
        seen: set[str] = set()
        for family in self._families():
            if family.name not in seen:
                seen.add(family.name)
                yield family

    def _families(self) -> Iterator[Metric]:
        health = self._sight.health()
        yield from _board_families(health, self._sight.overflowed())
        if health.stale and not self._stale_too:
            return
        sight = self._sight
        status = sight.value("status")
        if status:
            yield from _status_families(status)
        if sight.value("equity"):
            yield from _equity_families(sight.value("equity"))
        yield _gauge("positions", "Managed positions that are not flat, dust left out.",
                     sum(not row["dust"] and Decimal(row["qty"]) != 0 for row in sight.value("positions")))
        yield from _instrument_families(sight.value("instruments"), sight.value("books"))
        yield from _gate_families(sight.value("gates"))
        if sight.value("latency"):
            yield _stage_family(sight.value("latency"))
        yield from _counter_families(sight.value("counters"))
        yield from _limit_families(sight.value("alert_limits"))
        if status:
            yield from _recent_families(sight, status["wall_ns"])
        yield from _execution_families(sight.execution.seen()[1]["quality"])
        yield from _job_families(sight.jobs.seen())
        if not self._stale_too:  # of this host now: what a process that is gone showed says nothing of it
            yield from _process_families({"trading": health.writer_pid, "reader": os.getpid()})
            yield from _host_families()


def _gauge(name: str, help_text: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"cstd_{name}", help_text, value=value)


def _counter(name: str, help_text: str, value: float | None) -> CounterMetricFamily:
    return CounterMetricFamily(f"cstd_{name}", help_text, value=value)


def _labelled(kind: type[GaugeMetricFamily] | type[CounterMetricFamily], name: str, help_text: str,
              labels: Iterable[str], rows: Iterable[tuple[tuple[str, ...], float | None]]) -> Metric:
    family = kind(f"cstd_{name}", help_text, labels=list(labels))
    for values, number in rows:
        if number is not None:
            family.add_metric(list(values), float(number))
    return family


def _seconds(age_ns: int | None) -> float | None:
    return None if age_ns is None else age_ns / NS_PER_S


def _board_families(health: BoardHealth, overflowed: Mapping[str, int]) -> Iterator[Metric]:
    yield _gauge("up", "1 while the trading process publishes its board.", float(not health.stale))
    yield _gauge("board_age_seconds", "Time since the last publish of the board.", health.age_ns / NS_PER_S)
    yield _gauge("board_publish_seconds", "What the last publish cost the trading process.",
                 health.last_publish_ns / NS_PER_S)
    yield _gauge("board_publish_longest_seconds", "What the costliest publish since the boot cost.",
                 health.longest_publish_ns / NS_PER_S)
    yield _counter("board_publishes", "Publishes of the board.", health.publishes)
    yield _counter("board_view_errors", "Regions that could not be published because the view failed.",
                   health.view_errors)
    yield _counter("board_torn_reads", "Reads that met a region while it was written, and were repeated.",
                   health.torn_reads)
    yield _labelled(CounterMetricFamily, "board_overflows", "Publishes of a region that had to be cut to fit.",
                    ["region"], (((name,), count) for name, count in overflowed.items()))


def _status_families(status: Mapping[str, Any]) -> Iterator[Metric]:
    info = {name: str(status.get(name, "")) for name in ("version", "mode", "strategy", "config_hash")}
    yield _labelled(GaugeMetricFamily, "info", "What runs; always 1.", info, [(tuple(info.values()), 1)])
    yield _labelled(GaugeMetricFamily, "state", "1 for the state the daemon is in.", ["state"],
                    (((state,), state == status["state"]) for state in STATES))
    yield _gauge("ready", "1 in the state ready.", float(status["ready"]))
    yield _gauge("kill_switch", "1 while the kill switch is latched.", float(status["kill"]))
    proven_ns = status["kill_shown_empty_ns"]
    if proven_ns is not None:
        yield _gauge("kill_proven_seconds", "From the kill until the venue showed no opening of ours.", proven_ns / NS_PER_S)
    yield _labelled(GaugeMetricFamily, "level", "1 for the escalation level.", ["level"],
                    (((level,), level == status["level"]) for level in LEVELS))
    yield _labelled(GaugeMetricFamily, "condition", "1 while a condition asks for a level.", ["condition"],
                    (((name,), row["asks"]) for name, row in status["conditions"].items()))
    yield _labelled(GaugeMetricFamily, "condition_well_ratio", "The share of a condition's samples that is well.", ["condition"],
                    (((name,), None if row["well_bps"] is None else row["well_bps"] / 1e4)
                     for name, row in status["conditions"].items()))
    ensemble = status.get("ensemble") or {"trades": False, "verdicts": {}}
    yield _gauge("ensemble_trades", "1 while the ensemble has scores of a model that may trade.", float(ensemble["trades"]))
    yield _labelled(CounterMetricFamily, "ensemble_verdicts", "Scores that the ensemble judged: opens, or why nothing opened.",
                    ["verdict"], (((word,), count) for word, count in ensemble["verdicts"].items()))
    yield from _drift_families(status.get("model_drift"))
    yield _gauge("shadow", "1 while it decides without sending.", float(status["shadow"]))
    yield _gauge("uptime_seconds", "Time since the process started.", status["uptime_s"])
    yield _gauge("boot_epoch", "The second of this start, or one more than the start before.", status["boot_epoch"])
    yield _counter("events", "Events processed over the session.", status["event_seq"])
    links = status["links"]
    yield _labelled(GaugeMetricFamily, "link_up", "1 while the link is up.", ["link"],
                    (((name,), link["up"]) for name, link in links.items()))
    yield _labelled(GaugeMetricFamily, "link_age_seconds", "Time since the last message of a link.", ["link"],
                    (((name,), _seconds(link["age_ns"])) for name, link in links.items()))
    yield _labelled(CounterMetricFamily, "link_reconnects", "Reconnects of a link.", ["link"],
                    (((name,), link["reconnects"]) for name, link in links.items()))
    yield from _link_flow(links)
    # Zeros too: an error that comes once would otherwise be a series that was never seen to rise.
    errors = {**dict.fromkeys((*ERRORS, *OTHER_ERRORS), 0), **status["venue_errors"]}
    yield _labelled(CounterMetricFamily, "venue_errors", "Errors that the venue answered with, by listed text.", ["error"],
                    (((text,), count) for text, count in sorted(errors.items())))
    yield _gauge("deadman_armed", "1 while cancel-all-after is armed at the venue.", float(status["deadman"]["armed"]))
    remaining_s = status["deadman"]["remaining_s"]
    if remaining_s is not None:
        yield _gauge("deadman_remaining_seconds", "Until the venue would cancel all orders.", remaining_s)
    yield _labelled(GaugeMetricFamily, "exit_route", "1 for the way that an exit would go now.", ["route"],
                    (((route,), route == status["exits"]) for route in EXIT_ROUTES))
    yield from _journal_families(status["journal"])
    yield _labelled(GaugeMetricFamily, "child_up", "1 while a child process lives.", ["child"],
                    (((name,), alive) for name, alive in status.get("children", {}).items()))


_LINK_FLOW = (
    (GaugeMetricFamily, "link_backlog_bytes", "backlog_bytes", "Bytes unread in the socket after the last read."),
    (GaugeMetricFamily, "link_backlog_max_bytes", "backlog_bytes_max", "The most of them so far."),
    (CounterMetricFamily, "link_deferred_batches", "deferred", "Reads whose decision waited: more was unread."),
    (GaugeMetricFamily, "link_behind", "behind", "1 while the backlog has lasted too long: no openings."),
    (CounterMetricFamily, "link_behind_episodes", "behind_count", "Times that it did."),
    (CounterMetricFamily, "link_read_pauses", "pauses", "Times that reading stopped because the journal had no room."),
    (GaugeMetricFamily, "link_stalled", "stalled", "1 while the peer does not read: no openings."),
    (CounterMetricFamily, "link_stalls", "stalls", "Times that it did not."),
    (GaugeMetricFamily, "link_send_queue_bytes", "queued_bytes", "Bytes to send that wait in the process."),
    (CounterMetricFamily, "link_openings_held", "openings_held", "Openings refused at the socket because the peer did not read."),
)


def _drift_families(drift: Mapping[str, Any] | None) -> Iterator[Metric]:
    """How far the rows that models are given are from those of training; without a score there is no figure."""
    found: Mapping[str, Any] = drift or {"states": dict.fromkeys(DRIFT_STATES, 0)}
    yield _labelled(GaugeMetricFamily, "model_drift_instruments", "Instruments by how their rows stand to the model's training.",
                    ["state"], (((state,), count) for state, count in found["states"].items()))
    yield _gauge("model_drift_psi", "PSI of the furthest instrument's furthest feature.", found.get("psi"))
    yield _gauge("model_drift_beyond_psi", "The same, less the greatest PSI that training's own rows had: 0.1, 0.25 and 0.5 act.",
                 found.get("beyond"))
    yield _gauge("model_drift_ks", "Kolmogorov-Smirnov distance of that feature, 0 to 1.", found.get("ks"))
    yield _gauge("model_drift_rows", "Rows of that instrument's window; 500 fill it.", found.get("rows"))
    yield _counter("model_drift_rows_left_out", "Rows that are in no window: a feature was missing.", found.get("left_out"))


def _link_flow(links: Mapping[str, Any]) -> Iterator[Metric]:
    """What waits at the sockets, in and out."""
    for kind, name, key, text in _LINK_FLOW:
        yield _labelled(kind, name, text, ["link"], [((link,), float(values[key])) for link, values in links.items()])


def _journal_families(journal: Mapping[str, Any]) -> Iterator[Metric]:
    yield _counter("journal_records", "Records in the journal.", journal["seq"])
    yield _counter("journal_synced_records", "Records that are on disk.", journal["synced_seq"])
    yield _gauge("journal_lag_seconds", "Age of the oldest byte that is not on disk yet.", journal["lag_ms"] / 1e3)
    yield _counter("journal_bytes", "Bytes written to the journal.", journal["bytes"])
    yield _gauge("journal_disk_free_bytes", "Bytes free where the journal is.", journal["disk_free_bytes"])
    yield _gauge("checkpoint_seq", "Record of the newest checkpoint that this run has made.", journal["checkpoint_seq"])
    yield _counter("checkpoints", "Checkpoints made.", journal["checkpoints"])
    yield _counter("checkpoint_failures", "Checkpoints that could not be made.", journal["checkpoint_failures"])
    yield _gauge("journal_error", "1 when the journal writer has failed.", float(journal["error"] is not None))


_EQUITY = {
    "portfolio_value": ("equity", "Equity: cash and positions marked at the bid."),
    "portfolio_peak_value": ("peak", "Highest equity so far."),
    "portfolio_capital_value": ("capital", "Capital allocated to the daemon."),
    "portfolio_cash_value": ("cash", "Cash that the daemon manages."),
    "exposure_value": ("exposure", "Positions, open and UNKNOWN orders together."),
    "realized_pnl_value": ("realized_pnl", "Realized profit after fees."),
    "unrealized_pnl_value": ("unrealized_pnl", "Unrealized profit, marked at the bid."),
    "fees_value": ("fees", "Fees paid."),
    "turnover_day_value": ("turnover_day", "Value traded on this UTC day."),
}


def _equity_families(equity: Mapping[str, Any]) -> Iterator[Metric]:
    currency = str(equity["currency"])
    for name, (key, help_text) in _EQUITY.items():
        value = None if equity.get(key) is None else float(equity[key])
        yield _labelled(GaugeMetricFamily, name, f"{help_text} In account currency.", ["currency"],
                        [((currency,), value)])
    yield _gauge("day_loss_ratio", "Loss of the worse of the UTC day and the last 24 h; negative is a profit.",
                 equity["day_loss_bps"] / 1e4)
    yield _gauge("drawdown_ratio", "Drawdown from the peak.", equity["drawdown_bps"] / 1e4)


def _instrument_families(everything: list[dict[str, Any]], books: list[dict[str, Any]]) -> Iterator[Metric]:
    """Yield counts over all instruments, and what each does: of all, or where they are many of those shown with a book."""
    states = Counter(row["state"] for row in everything)
    yield _labelled(GaugeMetricFamily, "instruments", "Instruments by the state of their book.", ["state"],
                    (((state,), states[state]) for state in BOOK_STATES))
    yield _gauge("instruments_tradable", "Instruments whose data allow openings.",
                 sum(bool(row["tradable"]) for row in everything))
    shown = {book["name"] for book in books}
    instruments = everything
    if len(everything) > INSTRUMENTS_LABELLED_MAX:
        instruments = [row for row in everything if row["name"] in shown]

    def per(name: str, help_text: str, key: str, kind: Any = GaugeMetricFamily) -> Metric:
        return _labelled(kind, name, help_text, ["instrument"],
                         (((row["name"],), None if row[key] is None else float(row[key])) for row in instruments))

    yield _labelled(GaugeMetricFamily, "book_verified", "1 while the book is verified.", ["instrument"],
                    (((row["name"],), row["state"] == "verified") for row in instruments))
    yield per("instrument_tradable", "1 while data allow openings.", "tradable")
    yield per("instrument_off", "1 while losing round trips keep it switched off.", "off")
    yield per("volume_hour_value", "Traded value of the last hour, account currency.", "volume_hour")
    yield _labelled(GaugeMetricFamily, "book_evidence_age_seconds", "Age of the last proof that the quote is current.",
                    ["instrument"], (((row["name"],), _seconds(row["evidence_age_ns"])) for row in instruments))
    yield _labelled(GaugeMetricFamily, "book_audit_age_seconds",
                    "Time since the book's levels below the checksum were compared with a fresh reading.",
                    ["instrument"], (((row["name"],), _seconds(row["audit_age_ns"])) for row in instruments))
    references = [(row["name"], row["reference"]) for row in instruments if row["reference"] is not None]
    yield _labelled(GaugeMetricFamily, "reference_age_seconds", "Age of the newest ticker of an instrument's perpetual.",
                    ["instrument"], (((name,), _seconds(told["age_ns"])) for name, told in references))
    yield _labelled(GaugeMetricFamily, "reference_missing", "1 while openings need a reference price and none counts.",
                    ["instrument"], (((name,), told["required"] and told["price"] is None) for name, told in references))
    yield per("rate_points", "The venue's rate counter, as the account has used it.", "rate_points")
    yield per("rate_limit_points", "Where openings and amends stop.", "rate_limit")
    yield per("rate_openings_held", "Openings and amends held back by the rate counter.", "openings_held", CounterMetricFamily)
    yield per("book_updates", "Book messages applied.", "updates", CounterMetricFamily)
    yield per("book_resyncs", "Resyncs of a book.", "resyncs", CounterMetricFamily)
    yield _labelled(CounterMetricFamily, "book_checksums", "Checksums compared, by result.", ["instrument", "result"],
                    (((row["name"], result), row[f"checksums_{result}"]) for row in instruments
                     for result in ("ok", "bad")))
    yield _labelled(GaugeMetricFamily, "book_spread_ratio", "Spread over mid.", ["instrument"],
                    (((book["name"],), _spread_ratio(book)) for book in books))


def _spread_ratio(book: Mapping[str, Any]) -> float | None:
    if not book["bids"] or not book["asks"]:
        return None
    bid_raw, ask_raw = book["bids"][0][0], book["asks"][0][0]
    return float(2 * (ask_raw - bid_raw) / (ask_raw + bid_raw)) if ask_raw + bid_raw > 0 else None


def _gate_families(gates: list[dict[str, Any]]) -> Iterator[Metric]:
    yield _labelled(CounterMetricFamily, "gate_results",
                    "Intents on record, by gate and result; noted: failed for an exit, which that gate may not refuse.",
                    ["group", "gate", "result"],
                    (((row["group"], row["name"], result), row[result]) for row in gates
                     for result in ("passed", "failed", "noted")))
    yield _labelled(CounterMetricFamily, "gate_refusals", "Refused intents, by the first gate that failed.",
                    ["group", "gate"], (((row["group"], row["name"]), row["first_failed"]) for row in gates))


def _stage_family(latency: Mapping[str, Any]) -> Metric:
    family = HistogramMetricFamily("cstd_stage_duration_seconds", "Duration of a stage of the trading process.",
                                   labels=["stage"])
    edges_ns = latency["edges_ns"]
    for stage, histogram in latency["stages"].items():
        buckets, below, at = [], 0, 0
        for edge_ns in STAGE_EDGES_NS:
            end = bisect_right(edges_ns, edge_ns)
            below += sum(histogram["counts"][at:end])
            at = end
            buckets.append((repr(edge_ns / NS_PER_S), below))
        buckets.append(("+Inf", sum(histogram["counts"])))
        family.add_metric([stage], buckets, sum_value=histogram["sum_ns"] / NS_PER_S)
    return family


def _process_families(pids: Mapping[str, int]) -> Iterator[Metric]:
    usage = {name: _process_usage(pid) for name, pid in pids.items()}
    yield _labelled(GaugeMetricFamily, "process_resident_memory_bytes", "Resident memory of a process.", ["process"],
                    (((name,), use[0]) for name, use in usage.items() if use))
    yield _labelled(CounterMetricFamily, "process_cpu_seconds", "Processor time a process has used.", ["process"],
                    (((name,), use[1]) for name, use in usage.items() if use))


_LIMITS = (
    ("journal_lag_max_seconds", "sync_lag_ms_max", 1e3, "Age of unsynced bytes at which trading halts."),
    ("journal_disk_free_min_bytes", "disk_free_bytes_min", 1, "Free bytes below which trading halts."),
    ("book_evidence_max_seconds", "evidence_s", 1, "Age of evidence beyond which a quote allows no opening."),
    ("clock_offset_max_seconds", "clock_offset_ms_max", 1e3, "Offset of the clock beyond which there are no openings."),
    ("deadman_timeout_seconds", "deadman_timeout_s", 1, "What cancel-all-after is armed with."),
    ("positions_max", "positions_max", 1, "Positions at which there are no more openings."),
    ("exposure_max_ratio", "exposure_bps_max", 1e4, "Exposure beyond which there are no more openings, of equity."),
    ("slippage_p95_max_ratio", "slippage_p95_bps_max", 1e4, "Slippage beyond which there are no openings."),
    ("slippage_fills_min", "slippage_p95_fills_min", 1, "Fills from which slippage is judged."),
    ("process_busy_poll", "busy_poll", 1, "1 where the trading process never sleeps, by configuration."),
)
_LEVEL_LIMITS = (
    ("day_loss_limit_ratio", "day_loss_bps", "Loss of a day at which a level begins."),
    ("drawdown_limit_ratio", "drawdown_bps", "Drawdown at which a level begins."),
)


def _limit_families(limits: Mapping[str, Any]) -> Iterator[Metric]:
    """Limits in force, so that an alert compares with what is."""
    for name, key, unit, text in _LIMITS:
        yield _labelled(GaugeMetricFamily, name, text, [], [((), limits[key] / unit)] if key in limits else [])
    for name, key, text in _LEVEL_LIMITS:
        yield _labelled(GaugeMetricFamily, name, text, ["level"],
                        (((level,), bps / 1e4) for level, bps in limits.get(key, {}).items()))


def _recent_families(sight: Sight, wall_ns: int) -> Iterator[Metric]:
    ratio, count = recent.slippage_p95(sight.value("fills"), wall_ns)
    yield _labelled(GaugeMetricFamily, "slippage_p95_ratio", "95th percentile of slippage over the newest fills, at most 60; "
                    "positive is cost.", [], [((), ratio)])
    yield _gauge("slippage_fills", "Fills that it is of.", count)
    yield _labelled(GaugeMetricFamily, "immediate_fill_ratio", "Filled part of the newest immediate orders.", [],
                    [((), recent.immediate_fill_ratio(sight.value("orders")))])
    judged, thin = recent.depth_judged(sight.value("decisions"), wall_ns)
    yield _gauge("instruments_judged", "Instruments with a decision in the last ten minutes.", judged)
    yield _gauge("instruments_thin", "Those of them whose newest decision found too little depth.", thin)


def _execution_families(quality: ExecutionQuality | None) -> Iterator[Metric]:
    """Orders decided in the last 24 hours; nothing without a ledger."""
    if quality is None:
        return
    yield _gauge("execution_orders", "Orders sent in the last 24 hours, at most 2000.", quality["orders"])
    yield _gauge("execution_orders_filled", "Those of them with a fill.", quality["filled_orders"])
    for name in ("price", "fees", "shortfall", "score"):
        yield _labelled(GaugeMetricFamily, f"execution_{name}_ratio", EXECUTION_TEXTS[name], ["of"], _of(quality[name]))
    yield _gauge("execution_scores_unknown", "Orders with a fill whose score is not known, or not yet.",
                 quality["score"]["unknown"])
    after = [((f"{row['horizon_s']}s",), row) for row in quality["markouts"]]
    yield _labelled(GaugeMetricFamily, "execution_markout_ratio", "Mean cost of fills against the mid a while after them; "
                    "positive is cost.", ["horizon"], ((label, _ratio(row["mean_bps"])) for label, row in after))
    yield _labelled(GaugeMetricFamily, "execution_markouts", "Fills whose markout is known.", ["horizon"],
                    ((label, row["n"]) for label, row in after))
    yield _labelled(GaugeMetricFamily, "execution_markouts_unknown", "Fills whose markout is not known, or not yet.", ["horizon"],
                    ((label, row["unknown"]) for label, row in after))
    queue = [((row["ahead"],), row) for row in quality["queue"]]
    yield _labelled(GaugeMetricFamily, "execution_resting_orders", "Orders that rested and have ended, by what was ahead of "
                    "them in multiples of their own quantity.", ["ahead"], ((label, row["orders"]) for label, row in queue))
    yield _labelled(GaugeMetricFamily, "execution_resting_orders_filled", "Those of them that were filled whole.", ["ahead"],
                    ((label, row["filled"]) for label, row in queue))


_JOBS: tuple[tuple[type[GaugeMetricFamily] | type[CounterMetricFamily], str, str, Callable[[JobRow], float | None]], ...] = (
    (GaugeMetricFamily, "job_period_seconds", "How often a scheduled job is to run; only those that have run here.",
     lambda row: row["period_s"]),
    (GaugeMetricFamily, "job_last_success_timestamp_seconds", "When a job last succeeded, in seconds since 1970.",
     lambda row: _seconds(row["last_success_wall_ns"])),
    (GaugeMetricFamily, "job_failed", "1 while the newest attempt of a job did not succeed.",
     lambda row: row["state"] in BAD or (row["state"] == "waiting" and row["runs"][-1]["outcome"] in BAD)),
    (GaugeMetricFamily, "job_stuck", "1 while a job says it runs and its process is gone, or is over its limit.",
     lambda row: row["state"] == "stuck"),
    (GaugeMetricFamily, "job_overdue", "1 while a job has not succeeded for two of its periods and an hour.",
     lambda row: row["overdue"]),
    (CounterMetricFamily, "job_successes", "Attempts of a job that succeeded.", lambda row: row["successes"]),
    (CounterMetricFamily, "job_failures", "Attempts of a job that did not.", lambda row: row["failures"]),
    (CounterMetricFamily, "job_pauses", "Attempts of a job that were put off because the daemon was not well.",
     lambda row: row["paused"]),
)


def _job_families(rows: Iterable[JobRow]) -> Iterator[Metric]:
    """Of the jobs that have run here; `job` is Prometheus' own label, so theirs is `name`."""
    known = [row for row in rows if row["first_wall_ns"] is not None]
    for kind, name, text, value in _JOBS:
        yield _labelled(kind, name, text, ["name"], (((row["job"],), value(row)) for row in known))


def _of(figures: Figures) -> Iterator[tuple[tuple[str], float | None]]:
    return (((name,), _ratio(text)) for name, text in (
        ("mean", figures["mean_bps"]), ("p50", figures["p50_bps"]), ("p95", figures["p95_bps"])))


def _ratio(bps: str | None) -> float | None:
    return float(bps) / 1e4 if bps is not None else None


def _host_families() -> Iterator[Metric]:
    memory = _host_memory()
    yield _gauge("host_memory_bytes", "Memory of the host.", memory["MemTotal"])
    yield _gauge("host_memory_available_bytes", "Memory of the host that can still be had without swapping.",
                 memory["MemAvailable"])


def _host_memory() -> dict[str, int]:
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) > 2}


def _process_usage(pid: int) -> tuple[int, float] | None:
    """Return (resident bytes, CPU seconds) of a process, None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name may hold spaces and parentheses; fields are counted after its last one.
    fields = text.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK")


def _counter_families(counters: Mapping[str, int]) -> Iterator[Metric]:
    for name, value in counters.items():
        bare = name.removesuffix("_total")
        if name in NOW:
            suffix, help_text, unit = NOW[name]
            yield _gauge(suffix, help_text, value / unit)
        elif NAME_PATTERN.fullmatch(bare):
            text = COUNTER_TEXTS.get(bare, f"Counter {bare.replace('_', ' ')} of the trading process.")
            yield _counter(bare, text, value)
