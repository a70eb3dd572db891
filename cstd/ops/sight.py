"""What the reader process makes of a board: parsed regions, summaries of histograms, the market overview.

Everything is cached by region version, so that ten pages and a scrape parse a region once per change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from cstd.errors import OperatorError
from cstd.ops import execution, performance
from cstd.ops.alerts_sight import AlertsSight
from cstd.ops.board import REGIONS, BoardHealth, BoardReader
from cstd.ops.decisions import DecisionSight
from cstd.ops.job_sight import JobSight
from cstd.ops.ledger_file import LedgerSight, ledger_of
from cstd.units import format_raw

QUANTILES = {"p50_ns": 0.50, "p90_ns": 0.90, "p99_ns": 0.99, "p999_ns": 0.999}
PARSE_TRIES = 5
OBJECTS = ("status", "equity", "counters", "alert_limits", "latency", "models")  # the other regions are lists
EMPTY: dict[str, bytes] = {name: b"{}" if name in OBJECTS else b"[]" for name in REGIONS}


class Sight:
    """One board, read lazily; used from one event loop."""

    def __init__(self, board: BoardReader, executions: LedgerSight[execution.ExecutionSeen] | None = None,
                 alertmanager: str = "") -> None:
        """Look at a board, at the ledger of its run directory or at another one's, and at an Alertmanager where one is named."""
        self._board = board
        self.alerts = AlertsSight(alertmanager)
        self.execution = executions if executions is not None else execution.sight_of(ledger_of(board.path.parent))
        self.performance = performance.sight_of(ledger_of(board.path.parent))
        self.ledgers: Mapping[str, LedgerSight[Any]] = {"execution": self.execution, "performance": self.performance}
        self.jobs = JobSight(board.path.parent)
        self._decisions = DecisionSight(ledger_of(board.path.parent))
        self._parsed: dict[str, tuple[int, bytes, Any]] = {}
        self._derived: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def refresh(self) -> None:
        """Look whether a restarted daemon has put another board in place."""
        try:
            if self._board.reopen_if_replaced():
                self._parsed.clear()
                self._derived.clear()
        except OperatorError:
            # Half way through the replacement: the old mapping still answers, and is stale, which is shown.
            return

    def health(self) -> BoardHealth:
        """Return the board's header as of now."""
        return self._board.health(time.monotonic_ns())

    def overflowed(self) -> dict[str, int]:
        """Return how often each region was cut."""
        return self._board.overflowed()

    def version(self, name: str) -> int:
        """Return a region's version."""
        return self._board.version(name)

    def raw(self, name: str) -> tuple[int, bytes]:
        """Return (version, JSON bytes) of a region, "nothing" before its first publish."""
        version, payload, _ = self._load(name)
        return version, payload

    def value(self, name: str) -> Any:
        """Return the parsed content of a region; not to be changed by the caller."""
        return self._load(name)[2]

    def _load(self, name: str) -> tuple[int, bytes, Any]:
        cached = self._parsed.get(name)
        if cached is not None and cached[0] == self._board.version(name):
            return cached
        for _ in range(PARSE_TRIES):
            version, payload = self._board.read(name)
            try:
                loaded = (version, payload or EMPTY[name], orjson.loads(payload or EMPTY[name]))
            except orjson.JSONDecodeError:
                self._board.torn_reads += 1
                continue
            self._parsed[name] = loaded
            return loaded
        raise OperatorError(f"region {name} of the board does not parse", suggestion="restart the daemon")

    async def decision(self, id_: str) -> Mapping[str, Any]:
        """Return the newest decision of an intent's number or a client order id, from the board, else from the ledger.

        Raises:
            UnknownIdError: neither has one.
            OperatorError: the board has none, and the ledger is not there or cannot be read.
        """
        shown: Mapping[str, Any] | None = next(
            (row for row in self.value("decisions") if id_ in (str(row["intent_seq"]), row["cl_ord_id"])), None)
        # A board that is stale, or that a burst has passed by, may lack a later one of the same order.
        if shown is not None and not self.health().stale and not self.overflowed().get("decisions"):
            return shown
        return await self._decisions.newest(id_, shown)

    def ledger(self, name: str) -> tuple[tuple[int, ...], bytes]:
        """Return (reading, JSON bytes) of one of `ledgers`; it changes when the ledger is looked at."""
        number, seen = self.ledgers[name].seen()
        cached = self._derived.get(name)
        if cached is None or cached[0] != (number,):
            cached = self._derived[name] = ((number,), orjson.dumps(seen))
        return cached

    def derived(self, name: str) -> tuple[tuple[int, ...], bytes]:
        """Return (versions, JSON bytes) of something computed from regions: "latency" or "market"."""
        sources, compute = _DERIVED[name]
        versions = tuple(self._board.version(source) for source in sources)
        cached = self._derived.get(name)
        if cached is not None and cached[0] == versions:
            return cached
        made = (versions, orjson.dumps(compute(*(self.value(source) for source in sources))))
        self._derived[name] = made
        return made

    def close(self) -> None:
        """Let go of the board."""
        self._board.close()


def quantile_ns(edges_ns: Sequence[int], counts: Sequence[int], fraction: float) -> int | None:
    """Return the upper edge in ns of the bucket that holds a quantile; None without observations."""
    total = sum(counts)
    if not total:
        return None
    # At least one observation must lie at or below the answer; rank is 1-based.
    rank, below = max(1.0, fraction * total), 0
    for edge_ns, count in zip(edges_ns, counts, strict=True):
        below += count
        if below >= rank:
            return int(edge_ns)
    return int(edges_ns[-1])


def latency_summary(latency: dict[str, Any]) -> dict[str, Any]:
    """Return stage -> {n, mean_ns, p50_ns, ..., buckets: [[upper edge ns, count], ...]}, empty buckets left out."""
    edges_ns = latency.get("edges_ns", [])
    summary: dict[str, Any] = {}
    for stage, histogram in latency.get("stages", {}).items():
        counts = histogram["counts"]
        total = sum(counts)
        summary[stage] = {
            "n": total,
            "mean_ns": histogram["sum_ns"] / total if total else None,
            **{name: quantile_ns(edges_ns, counts, fraction) for name, fraction in QUANTILES.items()},
            "buckets": [[edge, count] for edge, count in zip(edges_ns, counts, strict=True) if count],
        }
    return summary


def market_overview(books: list[dict[str, Any]], instruments: list[dict[str, Any]],
                    tape: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per instrument: touch, spread, visible quantity, last trade, traded value, data quality."""
    last_trade: dict[str, dict[str, Any]] = {}
    for trade in tape:
        last_trade.setdefault(trade["instrument"], trade)  # the tape is newest first
    by_name = {row["name"]: row for row in instruments}
    return [_overview_row(book, by_name.get(book["name"], {}), last_trade.get(book["name"])) for book in books]


def _overview_row(book: dict[str, Any], instrument: dict[str, Any], trade: dict[str, Any] | None) -> dict[str, Any]:
    bid = book["bids"][0] if book["bids"] else None
    ask = book["asks"][0] if book["asks"] else None
    price_precision = book["price_precision"]
    sum_raw = bid[0] + ask[0] if bid is not None and ask is not None else 0
    return {
        "instrument": book["name"],
        "bid": format_raw(bid[0], price_precision) if bid else None,
        "ask": format_raw(ask[0], price_precision) if ask else None,
        "mid": str(Decimal(sum_raw).scaleb(-price_precision) / 2) if sum_raw > 0 else None,
        "spread_bps": 20_000 * (sum_raw - 2 * bid[0]) / sum_raw if bid is not None and sum_raw > 0 else None,
        "imbalance": _imbalance(book),
        "last_price": trade["price"] if trade else None,
        "last_trade_wall_ns": trade["wall_ns"] if trade else None,
        "volume_hour": instrument.get("volume_hour"),
        "state": instrument.get("state"),
        "fault": instrument.get("fault"),
        "tradable": instrument.get("tradable"),
        "evidence_age_ns": instrument.get("evidence_age_ns"),
    }


def _imbalance(book: dict[str, Any]) -> float | None:
    """Return (bid − ask) / (bid + ask) quantity over the shown levels, others' quantity only."""
    bid = sum(level[1] - level[2] for level in book["bids"])
    ask = sum(level[1] - level[2] for level in book["asks"])
    return (bid - ask) / (bid + ask) if bid + ask > 0 else None


_DERIVED: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "latency": (("latency",), latency_summary),
    "market": (("books", "instruments", "tape"), market_overview),
}
