"""The routes of the status port and their OpenAPI 3.1 description, both from one table.

Response types are the view's own TypedDicts, so that the document, the board and the tests cannot drift apart.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import msgspec
import orjson

from cstd import __version__
from cstd._fast.codes import OrderState
from cstd.clock import since_parse
from cstd.decision.names import gate_named
from cstd.decision.why import BOUND_CODE, BOUND_NAME, GATES
from cstd.errors import OperatorError, UsageError
from cstd.jobs.records import JobRow
from cstd.ops.alerts_sight import AlertsSeen
from cstd.ops.cluster_shapes import Clusters
from cstd.ops.execution import ExecutionSeen
from cstd.ops.opportunity_shapes import HORIZONS, STANDINGS, Opportunity
from cstd.ops.page_commands import REASON_CHARS_MAX
from cstd.ops.performance import PerformanceSeen
from cstd.ops.sight import Sight
from cstd.ops.view import (
    Approval,
    ApprovalAnswered,
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
    "horizon": tuple(HORIZONS),
    "standing": STANDINGS,
    "verdict": ("approve", "reduce", "refuse"),
    "state": tuple("UNKNOWN" if state == OrderState.ORDER_UNKNOWN else name for state, name in STATE_NAMES.items()
                   if state != OrderState.ORDER_FREE),
    "refused_by": (*(gate.name for gate in GATES), BOUND_NAME, *(str(gate.code) for gate in GATES), str(BOUND_CODE)),
}
# A length of time before now, or a day that there is, with or without a time of it: what `since` takes. No 29th of February.
_DAY = ("[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))")
SINCE_PATTERN = f"^([0-9]{{1,9}}[smhd]|{_DAY}(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{{1,9}})?Z)?)$"
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
    """One data route: what it answers, and which parameters it takes."""

    path: str
    summary: str
    response: Any
    answer: Callable[[Sight, Query], bytes | Awaitable[bytes]]
    parameters: Mapping[str, str]  # of the query: name -> what it does; `limit` is an integer, all others text
    of_board: bool = True  # what the trading process published; else the reader's own, good without it
    in_path: Mapping[str, str] = field(default_factory=dict)  # names of the path, with what there is nothing of is a 404


def _raw(region: str) -> Callable[[Sight, Query], bytes]:
    def answer(sight: Sight, _query: Query) -> bytes:
        check_published(sight, region)
        return sight.raw(region)[1]

    return answer


def _derived(name: str, *regions: str) -> Callable[[Sight, Query], bytes]:
    def answer(sight: Sight, _query: Query) -> bytes:
        check_published(sight, *regions)
        return sight.derived(name)[1]

    return answer


def _rows(region: str) -> Callable[[Sight, Query], bytes]:
    def answer(sight: Sight, query: Query) -> bytes:
        limit = parse_limit(query)
        check_published(sight, region)
        if not query:
            return sight.raw(region)[1]
        wanted = parse_filters(query, sight)
        return orjson.dumps([row for row in sight.value(region) if _keep(row, wanted)][:limit])

    return answer


def _opportunities(sight: Sight, query: Query) -> bytes:
    answer = _rows("opportunities")(sight, query)
    # A configured instrument that is none of the first: that none is shown must not read as "there is none".
    if "instrument" in query and not any(_keep(row, {"instrument": query["instrument"].lower()})
                                         for row in sight.value("opportunities")):
        raise OperatorError(f"{query['instrument'][:40]} is none of the first of any horizon",
                            suggestion="cstd opportunities --instrument NAME asks the daemon itself")
    return answer


async def _decision(sight: Sight, query: Query) -> bytes:
    return orjson.dumps(await sight.decision(query["id"]))


def check_published(sight: Sight, *regions: str) -> None:
    """Check that the trading process has published regions since it began: nothing must not read as "there are none".

    Raises:
        OperatorError: it has not published one of them.
    """
    for region in regions:
        if not sight.version(region):
            raise OperatorError(f"the trading process has not published its {region} yet",
                                suggestion="it does within a second of its start; if it stays so, see last_view_error at /health")


def parse_limit(query: Query) -> int:
    """Return the `limit` of a query, ROWS_MAX when there is none.

    Raises:
        UsageError: it is not an integer from 1 to ROWS_MAX.
    """
    text = query.get("limit", str(ROWS_MAX))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= ROWS_MAX):
        raise UsageError(f"limit must be an integer from 1 to {ROWS_MAX}, got {text[:40]!r}")
    return int(text)


def parse_filters(query: Query, sight: Sight) -> dict[str, Any]:
    """Return what a query filters rows by: lower-case words, the name of a gate, `since` as a wall time in ns.

    Raises:
        UsageError: an instrument that is not configured; a verdict, a state, a gate that there is not; no time.
        OperatorError: which instruments there are is not published yet.
    """
    words = {name: known for name, known in WORDS.items() if name != "refused_by"}
    if "instrument" in query:
        check_published(sight, "instruments")
        instruments = tuple(row["name"] for row in sight.value("instruments"))
        if instruments and not sight.overflowed().get("instruments"):
            words["instrument"] = instruments
        elif not query["instrument"]:
            raise UsageError("instrument is empty", suggestion="leave it out for all")
    for name, known in words.items():
        if name in query and query[name].lower() not in {word.lower() for word in known}:
            raise UsageError(f"no {name} {query[name][:40]!r}", suggestion=f"one of {', '.join(known)}")
    wanted: dict[str, Any] = {name: query[name].lower() for name in
                              ("instrument", "verdict", "state", "horizon", "standing") if name in query}
    if "refused_by" in query:
        wanted["refused_by"] = gate_named(query["refused_by"])
    if "since" in query:
        try:
            wanted["since"] = since_parse(query["since"], time.time_ns())
        except ValueError as error:
            raise UsageError(f"since: {error}") from None
    return wanted


def _keep(row: JsonRow, wanted: Mapping[str, Any]) -> bool:
    """Return whether a row is of the instrument, the verdict, the state and the gate that are wanted, and not before `since`."""
    instrument = row.get("instrument") or row.get("symbol") or row.get("name")
    has = {"instrument": instrument, "verdict": row.get("verdict"), "state": row.get("state"),
           "refused_by": row.get("first_failing") or row.get("refused_by"), "horizon": row.get("horizon"),
           "standing": row.get("standing")}
    return (all(str(has[name]).lower() == word for name, word in wanted.items() if name in has)
            and row.get("decided_wall_ns", 0) >= wanted.get("since", 0))


ANSWER_PATH = "/api/v1/approvals/{id}"
_LIMIT = {"limit": f"At most this many rows, newest first; 1 to {ROWS_MAX}."}
_INSTRUMENT = {"instrument": "Rows of this instrument only, e.g. BTC/USD."}

ROUTES: tuple[Route, ...] = (
    Route("/api/v1/status", "State of the daemon.", Status, _raw("status"), {}),
    Route("/api/v1/instruments", "Instruments with their rules and data quality.", list[InstrumentStatus],
          _rows("instruments"), _INSTRUMENT),
    Route("/api/v1/books", "Top levels of every book, raw integers.", list[Book], _rows("books"), _INSTRUMENT),
    Route("/api/v1/decisions", "Newest decisions, explained gate by gate.", list[Decision],
          _rows("decisions"), {
              **_LIMIT, **_INSTRUMENT, "verdict": "approve, reduce or refuse.",
              "refused_by": "Decisions that this gate refused, by its name or its code.",
              "since": "Decisions since 90s, 10m, 2h, 1d before now, or since a UTC day or time such as 2026-08-02T10:00:00Z."}),
    Route("/api/v1/decisions/{id}", "One decision, as `cstd why ID` tells it.", Decision, _decision, {}, of_board=False,
          in_path={"id": "The number of an intent, or a client order id. Where there are several, of an order that was judged "
                         "again, the newest. Of the newest decisions, or of the session's ledger.db."}),
    Route("/api/v1/positions", "Managed positions.", list[Position], _rows("positions"), _INSTRUMENT),
    Route("/api/v1/equity", "Equity, loss and exposure.", Equity, _raw("equity"), {}),
    Route("/api/v1/orders", "Working orders, then the newest others; `cstd orders --all` has all.", list[Order],
          _rows("orders"), {**_LIMIT, **_INSTRUMENT, "state": "Orders in this state only."}),
    Route("/api/v1/approvals", "Openings that wait for an operator, with the commands that answer them.", list[Approval],
          _rows("approvals"), _INSTRUMENT),
    Route("/api/v1/fills", "Newest fills; `cstd fills --all` has all.", list[Fill], _rows("fills"),
          {**_LIMIT, **_INSTRUMENT}),
    Route("/api/v1/gates", "The 15 gates with their counts.", list[Gate], _raw("gates"), {}),
    Route("/api/v1/limits", "Limits of the gates as they hold; an instrument has rows where its own differ.", list[Limit],
          _rows("limits"), _INSTRUMENT),
    Route("/api/v1/clusters", "What moves together: clusters with exposure, and correlations of pairs.", Clusters,
          _raw("clusters"), {}),
    Route("/api/v1/counters", "All counters since the boot.", dict[str, int], _raw("counters"), {}),
    Route("/api/v1/latency", "Durations by stage.", dict[str, StageSummary],
          _derived("latency", "latency"), {}),
    Route("/api/v1/tape", "Newest trades of others.", list[Trade], _rows("tape"), {**_LIMIT, **_INSTRUMENT}),
    Route("/api/v1/execution", "Shortfall, markouts, scores and fills by queue position, last 24 hours.", ExecutionSeen,
          lambda sight, _query: sight.ledger("execution")[1], {}, of_board=False),
    Route("/api/v1/performance", "The account's value in units and what its change consists of, about a day.", PerformanceSeen,
          lambda sight, _query: sight.ledger("performance")[1], {}, of_board=False),
    Route("/api/v1/models", "The scorer process, what its sessions run on, and the scores that the engine knows.", Models,
          _raw("models"), {}),
    Route("/api/v1/opportunities", "Instruments by the net return that scores say, and what the gates would let pass; the first "
          "forty of each horizon.", list[Opportunity], _opportunities, {
              **_INSTRUMENT, "limit": f"At most this many rows, the best first; 1 to {ROWS_MAX}.",
              "horizon": "Of this horizon only.", "standing": "tradable, refused, abstains or no_score.",
              "refused_by": "Those that this gate would refuse first, by its name or its code."}),
    Route("/api/v1/alerts", "What fires, as the Alertmanager that is named has it; unknown where it does not answer.", AlertsSeen,
          lambda sight, _query: orjson.dumps(sight.alerts.seen(time.time_ns())), {}, of_board=False),
    Route("/api/v1/jobs", "Scheduled jobs: how each stands, and its newest runs.", list[JobRow],
          lambda sight, _query: orjson.dumps(sight.jobs.seen()), {}, of_board=False),
    Route("/api/v1/market/overview", "One row per instrument: touch, spread, imbalance, last trade, quality.",
          list[MarketRow], _derived("market", "books", "instruments", "tape"), {}),
)


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the status port."""
    types = [route.response for route in ROUTES] + [Health, Readiness, Problem, ApprovalAnswered]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    *data_schemas, health, readiness, problem, answered = schemas
    problems = {code: _json(problem, text) for code, text in (
        ("400", "A parameter is wrong, is not known, is given twice, or names what there is not."),
        ("404", "There is nothing of this id."), ("421", "The Host header is not a loopback name."),
        ("503", "The board is stale, see `stale`; or what was asked for is not there yet, or cannot be read."))}
    misdirected = {"421": problems["421"]}
    metrics = {"schema": {"type": "string"}}
    paths: dict[str, Any] = {
        "/health": _operation("Do the trading process and its children live?", health,
                              {**misdirected, "503": _json(health, "No.")}),
        "/ready": _operation("Is the daemon in the state ready?", readiness, {**misdirected, "503": _json(readiness, "No.")}),
        "/metrics": {"get": {"summary": "Prometheus exposition.", "operationId": "metrics", "responses": {
            "200": {"description": "Metrics.", "content": {"text/plain": metrics, "application/openmetrics-text": metrics}},
            **misdirected}}},
        "/openapi.json": _operation("This document.", {"type": "object"}, misdirected),
    }
    for route, schema in zip(ROUTES, data_schemas, strict=True):
        codes = ("400", "421", *(("404",) if route.in_path else ()), *(("503",) if route.of_board or route.in_path else ()))
        operation = _operation(route.summary, schema, {code: problems[code] for code in sorted(codes)})
        operation["get"]["operationId"] = _operation_id(route)
        operation["get"]["responses"]["200"]["headers"] = {"Cstd-Board-Age-Ms": {
            "description": "Since the trading process published last.", "required": True,
            "schema": {"type": "integer", "minimum": 0}}}
        stale = "1: answer from a stale board too." if route.of_board else "1: of no effect; this is good with a stale board too."
        operation["get"]["parameters"] = [
            *({**_parameter(name, text), "in": "path", "required": True} for name, text in route.in_path.items()),
            *(_parameter(name, text) for name, text in route.parameters.items()), _parameter("stale", stale)]
        paths[route.path] = operation
    paths[ANSWER_PATH] = _answer_operation(answered, problem, misdirected)
    return {
        "openapi": "3.1.0",
        "info": {"title": "cstd status port", "version": __version__, "license": {"name": "Apache-2.0"},
                 "description": "It reads; an answer to what waits for an operator alone is handed on, with an operator's token. "
                                "Prices, quantities and money are decimal strings; times are int ns."},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"operator": {
            "type": "http", "scheme": "bearer", "description": "What `cstd page token` gives to who may operate."}}},
    }


def _answer_operation(answered: Mapping[str, Any], problem: Mapping[str, Any], misdirected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one operation that asks for something: the answer to an opening that waits."""
    refusals = {code: _json(problem, text) for code, text in (
        ("400", "The answer is malformed."), ("401", "No token, or none that is good."),
        ("403", "The Origin header is not this page's own, or a token does not give this."),
        ("404", "This is no number of an opening."), ("409", "It waits no more, or is answered already."),
        ("413", "The answer is too long."), ("429", "Too many at once."), ("503", "The daemon is gone."),
        ("504", "Nobody knows: it was handed on, and no answer came."))}
    refusals["401"]["headers"] = {"WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}}
    body = {"type": "object", "required": ["answer"], "additionalProperties": False, "properties": {
        "answer": {"type": "string", "enum": ["approve", "decline"]},
        "reason": {"type": "string", "maxLength": REASON_CHARS_MAX, "description": "For the journal."}}}
    return {"post": {
        "summary": "An operator's answer to an opening that waits; the journal has whose it is.",
        "operationId": "approvals_answer",
        "security": [{"operator": []}],
        "parameters": [{"name": "id", "in": "path", "required": True, "description": "The number of the intent that waits.",
                        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": _json(answered, "Taken."), **dict(sorted((refusals | dict(misdirected)).items()))}}}


def _json(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _operation(summary: str, schema: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    name = summary.rstrip("?.").lower().replace(" ", "_")
    return {"get": {"summary": summary, "operationId": name, "responses": {"200": _json(schema, "OK."), **others}}}


def _operation_id(route: Route) -> str:
    """Return the last part's name: "decisions"; of one of them by its name in the path "decisions_by_id"."""
    path = route.path.removeprefix("/api/v1/")
    for name in route.in_path:
        path = path.replace(f"{{{name}}}", f"by_{name}")
    return path.replace("/", "_")


def _parameter(name: str, text: str) -> dict[str, Any]:
    schemas: dict[str, dict[str, Any]] = {
        "limit": {"type": "integer", "minimum": 1, "maximum": ROWS_MAX}, "stale": {"type": "string", "enum": ["1"]},
        "since": {"type": "string", "pattern": SINCE_PATTERN}, **{word: {"type": "string", "enum": list(known)}
                                                                  for word, known in WORDS.items()}}
    return {"name": name, "in": "query", "required": False, "description": text,
            "schema": schemas.get(name, {"type": "string", "minLength": 1})}
