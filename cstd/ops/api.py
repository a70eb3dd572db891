"""The routes of the status port and their OpenAPI 3.1 description, both from one table.

Response types are the view's own TypedDicts, so that the document, the board and the tests cannot drift apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import orjson

from cstd import __version__
from cstd._fast.codes import OrderState
from cstd.errors import UsageError
from cstd.jobs.records import JobRow
from cstd.ops.alerts_sight import AlertsSeen
from cstd.ops.cluster_shapes import Clusters
from cstd.ops.execution import ExecutionSeen
from cstd.ops.performance import PerformanceSeen
from cstd.ops.sight import Sight
from cstd.ops.view import (
    Approval,
    Book,
    Decision,
    Equity,
    Fill,
    Gate,
    InstrumentStatus,
    Limit,
    Order,
    Position,
    Status,
    Trade,
)
from cstd.ops.view_models import Models
from cstd.orders.lifecycle import STATE_NAMES

ROWS_MAX = 1_000
# The words that a filter takes; any other is an error, because an empty list would read as "there are none".
WORDS: dict[str, tuple[str, ...]] = {
    "verdict": ("approve", "reduce", "refuse"),
    "state": tuple("UNKNOWN" if state == OrderState.ORDER_UNKNOWN else name for state, name in STATE_NAMES.items()
                   if state != OrderState.ORDER_FREE),
}
JsonRow = dict[str, Any]


class Health(TypedDict):
    """`/health`: do the trading process and its children live?"""

    status: str  # ok, degraded, down
    board_age_ms: float
    writer_pid: int
    children: dict[str, bool]
    publishes: int
    publish_ns: int
    publish_longest_ns: int
    view_errors: int
    last_view_error: str | None
    cut_regions: dict[str, int]
    torn_reads: int


class Readiness(TypedDict):
    """`/ready`: is it in the state ready?"""

    ready: bool
    state: str
    reason: str | None


class Problem(TypedDict):
    """Any answer that is not what was asked for."""

    error: str
    message: str
    retryable: bool
    suggestion: str


class StageSummary(TypedDict):
    """Durations of one stage; quantiles are upper edges of buckets at most 12.5 % wide."""

    n: int
    mean_ns: float | None
    p50_ns: int | None
    p90_ns: int | None
    p99_ns: int | None
    p999_ns: int | None
    buckets: list[tuple[int, int]]  # exclusive upper edge in ns, count; empty ones left out


class MarketRow(TypedDict):
    """One instrument in the market overview."""

    instrument: str
    bid: str | None
    ask: str | None
    mid: str | None
    spread_bps: float | None
    imbalance: float | None
    last_price: str | None
    last_trade_wall_ns: int | None
    volume_hour: str | None
    state: str | None
    fault: str | None
    tradable: bool | None
    evidence_age_ns: int | None


Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """One data route: what it answers, and which query parameters it takes."""

    path: str
    summary: str
    response: Any
    answer: Callable[[Sight, Query], bytes]
    parameters: Mapping[str, str]  # name -> what it does; `limit` is an integer, all others text
    of_board: bool = True  # what the trading process published; else the reader's own, good without it


def _raw(region: str) -> Callable[[Sight, Query], bytes]:
    return lambda sight, _query: sight.raw(region)[1]


def _rows(region: str, keep: Callable[[JsonRow, Query], bool]) -> Callable[[Sight, Query], bytes]:
    def answer(sight: Sight, query: Query) -> bytes:
        limit = parse_limit(query)
        if not query:
            return sight.raw(region)[1]
        check_words(query, sight)
        return orjson.dumps([row for row in sight.value(region) if keep(row, query)][:limit])

    return answer


def parse_limit(query: Query) -> int:
    """Return the `limit` of a query, ROWS_MAX when there is none.

    Raises:
        UsageError: it is not an integer from 1 to ROWS_MAX.
    """
    text = query.get("limit", str(ROWS_MAX))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= ROWS_MAX):
        raise UsageError(f"limit must be an integer from 1 to {ROWS_MAX}, got {text[:40]!r}")
    return int(text)


def check_words(query: Query, sight: Sight) -> None:
    """Check that what a query filters by exists.

    Raises:
        UsageError: an instrument that is not configured, a verdict or a state that there is not.
    """
    words = dict(WORDS)
    instruments = tuple(row["name"] for row in sight.value("instruments"))
    if instruments and not sight.overflowed().get("instruments"):
        words["instrument"] = instruments
    for name, known in words.items():
        if name in query and query[name].lower() not in {word.lower() for word in known}:
            raise UsageError(f"no {name} {query[name][:40]!r}", suggestion=f"one of {', '.join(known)}")


def _keep(row: JsonRow, query: Query) -> bool:
    """Return whether a row is of the instrument, the verdict and the state the query names."""
    instrument = row.get("instrument") or row.get("symbol") or row.get("name")
    wanted = {"instrument": instrument, "verdict": row.get("verdict"), "state": row.get("state")}
    return all(str(wanted[name]).lower() == query[name].lower() for name in wanted if name in query)


_LIMIT = {"limit": f"At most this many rows, newest first; 1 to {ROWS_MAX}."}
_INSTRUMENT = {"instrument": "Rows of this instrument only, e.g. BTC/USD."}

ROUTES: tuple[Route, ...] = (
    Route("/api/v1/status", "State of the daemon.", Status, _raw("status"), {}),
    Route("/api/v1/instruments", "Instruments with their rules and data quality.", list[InstrumentStatus],
          _rows("instruments", _keep), _INSTRUMENT),
    Route("/api/v1/books", "Top levels of every book, raw integers.", list[Book], _rows("books", _keep), _INSTRUMENT),
    Route("/api/v1/decisions", "Newest decisions, explained gate by gate.", list[Decision],
          _rows("decisions", _keep), {**_LIMIT, **_INSTRUMENT, "verdict": "approve, reduce or refuse."}),
    Route("/api/v1/positions", "Managed positions.", list[Position], _rows("positions", _keep), _INSTRUMENT),
    Route("/api/v1/equity", "Equity, loss and exposure.", Equity, _raw("equity"), {}),
    Route("/api/v1/orders", "Working orders, then the newest others; `cstd orders --all` has all.", list[Order],
          _rows("orders", _keep), {**_LIMIT, **_INSTRUMENT, "state": "Orders in this state only."}),
    Route("/api/v1/approvals", "Openings that wait for an operator, with the commands that answer them.", list[Approval],
          _rows("approvals", _keep), _INSTRUMENT),
    Route("/api/v1/fills", "Newest fills; `cstd fills --all` has all.", list[Fill], _rows("fills", _keep),
          {**_LIMIT, **_INSTRUMENT}),
    Route("/api/v1/gates", "The 15 gates with their counts.", list[Gate], _raw("gates"), {}),
    Route("/api/v1/limits", "Limits of the gates as they hold; an instrument has rows where its own differ.", list[Limit],
          _rows("limits", _keep), _INSTRUMENT),
    Route("/api/v1/clusters", "What moves together: clusters with exposure, and correlations of pairs.", Clusters,
          _raw("clusters"), {}),
    Route("/api/v1/counters", "All counters since the boot.", dict[str, int], _raw("counters"), {}),
    Route("/api/v1/latency", "Durations by stage.", dict[str, StageSummary],
          lambda sight, _query: sight.derived("latency")[1], {}),
    Route("/api/v1/tape", "Newest trades of others.", list[Trade], _rows("tape", _keep), {**_LIMIT, **_INSTRUMENT}),
    Route("/api/v1/execution", "Shortfall, markouts, scores and fills by queue position, last 24 hours.", ExecutionSeen,
          lambda sight, _query: sight.ledger("execution")[1], {}, of_board=False),
    Route("/api/v1/performance", "The account's value in units and what its change consists of, about a day.", PerformanceSeen,
          lambda sight, _query: sight.ledger("performance")[1], {}, of_board=False),
    Route("/api/v1/models", "The scorer process, what its sessions run on, and the scores that the engine knows.", Models,
          _raw("models"), {}),
    Route("/api/v1/alerts", "What fires, as the Alertmanager that is named has it; unknown where it does not answer.", AlertsSeen,
          lambda sight, _query: orjson.dumps(sight.alerts.seen(time.time_ns())), {}, of_board=False),
    Route("/api/v1/jobs", "Scheduled jobs: how each stands, and its newest runs.", list[JobRow],
          lambda sight, _query: orjson.dumps(sight.jobs.seen()), {}, of_board=False),
    Route("/api/v1/market/overview", "One row per instrument: touch, spread, imbalance, last trade, quality.",
          list[MarketRow], lambda sight, _query: sight.derived("market")[1], {}),
)


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the status port."""
    types = [route.response for route in ROUTES] + [Health, Readiness, Problem]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    *data_schemas, health, readiness, problem = schemas
    problems = {
        code: {"description": text, "content": {"application/json": {"schema": problem}}}
        for code, text in (("400", "A query parameter is wrong."), ("503", "The board is stale; see `stale`."))
    }
    paths: dict[str, Any] = {
        "/health": _operation("Do the trading process and its children live?", health, {"503": _json(health, "No.")}),
        "/ready": _operation("Is the daemon in the state ready?", readiness, {"503": _json(readiness, "No.")}),
        "/metrics": {"get": {"summary": "Prometheus exposition.", "operationId": "metrics", "responses": {
            "200": {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}}}},
        "/openapi.json": _operation("This document.", {"type": "object"}, {}),
    }
    for route, schema in zip(ROUTES, data_schemas, strict=True):
        operation = _operation(route.summary, schema, problems if route.of_board else {"400": problems["400"]})
        operation["get"]["operationId"] = route.path.removeprefix("/api/v1/").replace("/", "_")
        operation["get"]["parameters"] = [_parameter(name, text) for name, text in route.parameters.items()]
        if route.of_board:
            operation["get"]["parameters"].append(_parameter("stale", "1: answer from a stale board too."))
        paths[route.path] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "cstd status port", "version": __version__, "license": {"name": "Apache-2.0"},
                 "description": "Read-only. Prices, quantities and money are decimal strings; times are int ns."},
        "paths": paths,
        "components": {"schemas": components},
    }


def _json(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _operation(summary: str, schema: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    name = summary.rstrip("?.").lower().replace(" ", "_")
    return {"get": {"summary": summary, "operationId": name, "responses": {"200": _json(schema, "OK."), **others}}}


def _parameter(name: str, text: str) -> dict[str, Any]:
    schema = ({"type": "integer", "minimum": 1, "maximum": ROWS_MAX} if name == "limit"
              else {"type": "string", "enum": ["1"]} if name == "stale"
              else {"type": "string", "enum": list(WORDS[name])} if name in WORDS else {"type": "string"})
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
