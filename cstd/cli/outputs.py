"""What the verbs print with `-o json`, as types: `cstd schema` makes its schemas of them, and tests hold real outputs to them.

What the running daemon answers is in `cstd.ops.view`. Decimals are texts of plain digits, times are UTC texts or int ns.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from cstd.cli.replay_outputs import OwnOrders, Rescored, WhatIf
from cstd.ops.alertmanager import Alert

__all__ = ["Alert"]  # a row of `cstd alerts`; the oldest first


class Error(TypedDict):
    """Any error under `-o json`: one object on stderr."""

    error: str  # its category
    message: str
    retryable: bool  # the same call may succeed later unchanged
    suggestion: str
    place: NotRequired[dict[str, Any]]  # where a verification failed


class FrameToOrder(TypedDict):
    """Durations from a frame to the order that it led to; upper edges of buckets."""

    n: int
    p50: int
    p99: int
    p999: int


class Summary(TypedDict):
    """The last line of a session: of `make run` and `cstd run --for`, and in summary.json. Totals are the whole session's."""

    mode: str
    seconds: float  # since the state ready
    frames: int
    book_updates: int
    checksums_ok: int
    checksums_bad: int
    resyncs: int
    intents: int
    orders: int  # add_order frames sent, exits included
    shadowed: int  # intents that passed and were not sent: in shadow, the minute after the kill switch was cleared
    fills: int
    refused_by_gate: dict[str, int]  # the first failing gate's number -> count
    equity: str
    digest: str
    frame_to_order_ns: FrameToOrder


class Replay(TypedDict):
    """One input of `cstd replay`, a line each."""

    file: str
    frames: int
    book_updates: int
    checksums_ok: int
    checksums_bad: int
    sequences_ok: int
    sequences_bad: int
    resyncs: int
    intents: int
    orders: int
    shadowed: int
    fills: NotRequired[int]
    refused_by_gate: NotRequired[dict[str, int]]
    equity: NotRequired[str]
    digest: str
    frames_per_s: int
    precision: Literal["instrument", "inferred", "none"]
    replayed_from_seq: NotRequired[int]  # what came before is not there any more
    differences: NotRequired[int]  # with --check
    # Of a recording: what its orders came to on the simulated venue.
    realized: NotRequired[str]  # before fees
    fees: NotRequired[str]
    held: NotRequired[dict[str, str]]  # by instrument, in base
    open_orders: NotRequired[int]
    volume_hour: NotRequired[str | None]  # assumed for the time before it
    what_if: NotRequired[WhatIf]  # with --set of a limit
    own_orders: NotRequired[OwnOrders | None]  # of a journal, with --set of a limit; null where it does not come out again
    own_orders_refused: NotRequired[str]  # why it is null
    rescore: NotRequired[Rescored]  # with --rescore


class ReplayFailed(TypedDict):
    """An input of `cstd replay` that is not what was written."""

    file: str
    error: str


class Durations(TypedDict):
    """Durations of one bench."""

    n: int
    p50_ns: int
    p99_ns: int
    p999_ns: int


class TurnDurations(Durations):
    """The same, with the median of every turn."""

    turns_p50_ns: list[int]


class StageDurations(TypedDict):
    """Durations of one stage of the path."""

    n: int
    p50_ns: int
    p99_ns: int


class BenchHost(TypedDict):
    """Where it was measured."""

    machine: str
    python: str


class Bench(TurnDurations):
    """`cstd bench`: from frame bytes to order bytes; `decision` without a wish, `paced` with cold caches, `cancel` from the frame
    at which a gate fails for what rests to the end of the pass that pulled it.
    """

    stages: dict[str, StageDurations]
    frames_per_s: int
    decision: TurnDurations
    cancel: TurnDurations
    paced: Durations
    recordings: list[str]
    host: BenchHost


class JournalProven(TypedDict):
    """`cstd journal verify`: what was proven."""

    ok: bool
    directory: str
    first_seq: int  # above 1 where older segments were removed
    segments: int
    blocks: int
    records: int
    last_seq: int
    bytes: int
    ring_records: int
    torn_bytes: int
    head_hash: str
    signed_seq: int
    unsigned_records: int
    signed_by: str


class JournalBroken(TypedDict):
    """`cstd journal verify`: the place where it breaks."""

    ok: bool
    directory: str
    error: str
    message: str
    retryable: bool
    suggestion: str
    place: dict[str, Any]


class JournalCheckpoint(TypedDict):
    """`cstd journal checkpoint`."""

    seq: int  # the last record in it
    records: int  # replayed for it
    bytes: int
    removed: list[str]  # files
    took_ms: int


class AlertAck(TypedDict):
    """A row of `cstd alerts --acks`; the newest first."""

    alert: str
    by: str
    at: str
    until: str
    after_s: int  # from its firing
    in_time: bool  # within a quarter of an hour
    comment: str


class AlertAcked(TypedDict):
    """`cstd alerts ack`: one row; with --undo the first two fields alone."""

    alert: str
    acknowledged: bool
    by: NotRequired[str]
    after_s: NotRequired[int]
    in_time: NotRequired[bool]
    until: NotRequired[str]


class WeightOf(TypedDict):
    """One instrument of a portfolio."""

    instrument: str
    weight: float
    volatility: float  # of a year


class Weights(TypedDict):
    """`cstd weights`."""

    method: Literal["hrp", "minvar"]
    returns: int  # that all instruments have in common
    interval_s: int
    shrinkage: float  # 0: the sample's covariance, 1: one common correlation
    correlation_mean: float
    volatility: float  # of the whole, of a year
    weights: list[WeightOf]  # they sum to one


class Backup(TypedDict):
    """`cstd backup`: what the backup holds now."""

    backup: str
    holds_until: str
    seq: int  # the last record in it
    seq_before: int  # what it was before, 0 for a new one
    segments: int
    ledger: bool  # copied now
    signing_key: bool
    bytes: int


class HandedOver(TypedDict):
    """`cstd handover`: the file, and what it holds."""

    file: str
    sha256: str
    signed_by: str
    until: str  # of the journal's last record
    seq: int
    held: list[str]  # instrument=quantity
    level: str
    killed: bool
    paused: bool
    limits: int  # commands that stand


class Restored(TypedDict):
    """`cstd restore`: what is in the run directory now."""

    run_dir: str
    holds_until: str
    seq: int
    records: int
    ledger: str
    signing_key: bool  # without it the daemon signs on with another
    ring_put_aside: str | None


class Flight(TypedDict):
    """A bundle of the flight recorder; what its manifest does not say is null."""

    path: str
    kind: str | None  # halt, kill, fault, crash, hand
    made: str | None
    ends: str | None
    reason: str | None
    covered_s: float | None  # of the minute that was wanted
    first_seq: int | None  # from which its journal replays
    last_seq: int | None
    differences: int | None  # of its replay; null where it could not be replayed
    check_error: str | None
    bytes: int
    missing: list[str] | None  # what could not be had, and why


class FlightSaved(Flight):
    """`cstd flight save`."""

    removed: list[str]  # older bundles that made room
    took_ms: int


class FlightBundle(Flight):
    """A row of `cstd flight list`."""

    bundle: str
    records: int | None


class StatementOrder(TypedDict):
    """One of our orders in a statement; `status` is the venue's word."""

    cl_ord_id: str
    order_id: str
    symbol: str
    side: str
    status: str
    limit_price: str
    order_qty: str
    filled_qty: str
    sent_wall: str


class StatementFill(TypedDict):
    """One execution in a statement."""

    exec_id: str
    cl_ord_id: str
    order_id: str
    symbol: str
    side: str
    qty: str
    price: str
    cost: str
    fees: list[tuple[str, str]]  # asset, amount
    wall: str


class StatementMove(TypedDict):
    """A deposit, a withdrawal or another move of the user's."""

    ledger_id: str
    ref_id: str
    time: str
    kind: str
    asset: str
    name: str
    amount: str
    fee: str
    balance: str


class StatementBalance(TypedDict):
    """One asset over the span, by the venue's ledger; `here` is what we were told."""

    opening: str
    traded: str
    fees: str
    moved: str
    closing: str
    here: str


class StatementDifference(TypedDict):
    """What does not agree, in words; "" is nothing there."""

    category: str
    subject: str
    what: str
    ours: str
    theirs: str


# The functional form, because `from` is a word of the language.
Statement = TypedDict("Statement", {
    "file": str, "sha256": str, "signed_by": str, "format": int, "mode": str, "owner_prefix": str, "session_began": str,
    "boot_epoch": int, "config_hash": str, "from": str, "to": str, "orders": list[StatementOrder],
    "fills": list[StatementFill], "fees": dict[str, str], "moves": list[StatementMove], "balances": dict[str, StatementBalance],
    "differences": list[StatementDifference]})
StatementProven = TypedDict("StatementProven", {
    "ok": bool, "file": str, "sha256": str, "signed_by": str, "signed": str, "from": str, "to": str,
    "differences": int})


class StatementBroken(TypedDict):
    """`cstd statement --verify`: a file that is not as it was signed."""

    ok: bool
    file: str
    error: str
    message: str
    retryable: bool
    suggestion: str
    place: dict[str, Any]


class DbRebuild(TypedDict):
    """`cstd db rebuild`: what the file holds, rows by table."""

    file: str
    seq: int
    boots: int
    states: int
    decisions: int
    explained: int
    orders: int
    fills: int
    fees: int
    marks: int
    adoptions: int
    performance: int
    balances: int
    arrivals: int
    markouts: int


class ConfigProblem(TypedDict):
    """One finding about a configuration."""

    key: str
    reason: str
    file: str
    value: str
    limit: str
    suggestion: str
    warning: bool


class JournalPlan(TypedDict):
    """How fast the journal grows, and when trading halts for the disk."""

    frames_per_s: float
    frame_bytes_mean: float
    rate_from: str
    bytes_per_day_about: int
    bytes_free: int
    days_until_halt: float


class TradableInstrument(TypedDict):
    """Whether an opening of an instrument can be large enough for the venue; amounts in the account currency."""

    name: str
    tradable: bool | None  # None: not known
    reason: str
    minimum: str | None  # the cost of the smallest order that the venue takes
    order_max: str | None  # the cost of the largest opening within the limits, in whole lots
    price: str | None  # at the bid that both are taken at
    qty_min: str | None
    cost_min: str | None


class Tradable(TypedDict):
    """What can be traded at an equity and a level."""

    known_from: str  # where minimums, prices and equity are from
    as_of: str | None
    equity: str  # what limits are shares of
    level: str
    position_max: str
    instruments: list[TradableInstrument]


class StrategyThatRuns(TypedDict):
    """A strategy with its parameters; sha256: of a user's own, "" for a built-in one."""

    name: str
    sha256: str
    params: dict[str, int]


class AgentsThatRun(TypedDict):
    """Agents that vote, and the hash of their object."""

    names: list[str]
    sha256: str


class CodeThatRuns(TypedDict):
    """The compiled code that a configuration names."""

    strategy: StrategyThatRuns
    agents: AgentsThatRun


class ConfigGood(TypedDict):
    """`cstd config check` of a valid configuration."""

    ok: bool
    mode: str
    config_hash: str
    starts: bool
    refusals: list[ConfigProblem]
    currency: str
    money: dict[str, str]
    adopts: list[str]  # instruments whose coins become managed at a journal's first start
    overrides: dict[str, dict[str, str]]  # by instrument: its own limits, as the configuration writes them
    memory: dict[str, int]
    memory_host_bytes: int
    journal: JournalPlan
    while_down: str
    tradable: Tradable
    code: CodeThatRuns


class ConfigBad(TypedDict):
    """`cstd config check` of one that is not."""

    ok: bool
    problems: list[ConfigProblem]


class ConfigShow(TypedDict):
    """`cstd config show`: the canonical form, and which file or variable set each key last."""

    config: dict[str, Any]
    config_hash: str
    origins: dict[str, str]


class ChaosFault(TypedDict):
    """One fault of `cstd chaos` and what was true afterwards."""

    fault: str
    seed: int
    result: str
    reason: str
    strikes: int
    orders: int
    fills: int
    records: int
    ready_s: list[float]
    seconds: float
    findings: list[str]
    directory: str


Chaos = TypedDict("Chaos", {"seed": int, "passed": int, "failed": int, "not-run": int, "faults": list[ChaosFault],
                            "tally": dict[str, Any]})


class Done(TypedDict):
    """What the daemon says of a command that it took."""

    paused: NotRequired[bool]
    kill: NotRequired[bool]
    level: NotRequired[str]
    pulled: NotRequired[int]  # openings that are being canceled
    flattening: NotRequired[list[str]]  # instruments
    shadow_s: NotRequired[int]  # decides without sending for that long
    confirm: NotRequired[str]
    kill_reason: NotRequired[str]
    expires_s: NotRequired[int]
    message: NotRequired[str]


class Check(TypedDict):
    """One thing that `cstd doctor` looked at."""

    name: str
    state: Literal["ok", "warning", "problem"]
    found: str
    means: str
    todo: str


class LiveRungs(TypedDict):
    """How long each step took as an operator sees it; null for one that was not reached."""

    ready_ms: float | None
    placed_ms: float | None  # from ready to the venue's report
    amended_ms: float | None  # from the command, as the next two
    canceled_ms: float | None
    kill_proven_ms: float | None  # by the venue's list of open orders
    fills: int | None


class LiveCheck(TypedDict):
    """`cstd live-check`."""

    ok: bool  # no problem
    problems: int
    warnings: int
    run_dir: str  # its journal and log
    checks: list[Check]
    rungs: LiveRungs


class Doctor(TypedDict):
    """`cstd doctor`."""

    ok: bool  # no problem
    problems: int
    warnings: int
    checks: list[Check]


class JobRun(TypedDict):
    """`cstd jobs run`: the last attempt of the job."""

    job: str
    began_wall_ns: int
    ended_wall_ns: int | None
    pid: int  # of the runner
    attempt: int  # counts from 1
    attempts: int
    limit_s: int
    outcome: Literal["ok", "failed", "timeout", "paused", "blocked"]
    exit_code: int | None  # of the child; None where there was none, or where it was ended
    reason: str  # the last line that it wrote to stderr, or why it did not run
