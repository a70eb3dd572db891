"""The view: all that control and sight may know of the trading process, as a Protocol.

The daemon implements `EngineView` over the engine; `board.BoardWriter` calls every method of it four times a second in the
trading process, and `admin.AdminServer` calls them to answer read verbs. So each method must be cheap (together well below 1 ms),
must not block, log or allocate without bound, and must return plain values: dicts, lists, strings, ints, floats, bools, None, and
numpy arrays where stated. What is returned may be a live array: the caller copies it at once and never writes to it.

Conventions, which hold in every dict here:
- prices, quantities and money are **decimal strings** ("104.20"), except where a key ends in `_raw` (int, value ×
  10^precision); no money is ever a float;
- times are int ns, `_wall_ns` since the epoch, `_mono_ns` on the host's monotonic clock; ages are `_ns`;
- an unknown or inapplicable value is None, never 0 or an invented number;
- codes are their lower-case words ("verified", "checksum", "buy"), never bare numbers.
"""

from __future__ import annotations

from typing import NotRequired, Protocol, TypedDict

import numpy as np

from cstd.ops.cluster_shapes import Clusters
from cstd.ops.opportunity_shapes import Opportunity
from cstd.ops.view_models import EnsembleStatus, ModelDrift, Models, ScorerStatus, Signal


class LinkStatus(TypedDict):
    """One connection to the venue."""

    up: bool
    age_ns: int | None  # since its last message; None before the first
    reconnects: int
    backlog_bytes: int  # what the kernel held unread after the last read
    backlog_bytes_max: int
    backlog_ns_max: int  # the longest that some of it was there
    deferred: int  # reads after which the decision waited for the next, because more was there
    behind: bool  # there has been a backlog for too long: no openings
    behind_count: int
    pauses: int  # times that reading stopped because the journal had no room
    stalled: bool  # the peer does not read: no openings
    stalls: int
    queued_bytes: int  # what waits in the process for the kernel
    openings_held: int  # refused at the socket because of it


class DeadmanStatus(TypedDict):
    """The venue-side cancel-all-after timer."""

    armed: bool
    remaining_s: float | None


class JournalStatus(TypedDict):
    """Where the journal stands."""

    seq: int
    synced_seq: int
    lag_ms: float  # age of the oldest byte that is not on disk yet
    bytes: int
    disk_free_bytes: int  # where the journal is
    checkpoint_seq: int  # record at which the newest checkpoint of this run is, 0 for none yet
    checkpoints: int  # made in this run
    checkpoint_failures: int  # that could not be made; the journal is kept whole then
    error: str | None


class ConditionStatus(TypedDict):
    """One of the conditions that raise a level by themselves; docs/levels.md."""

    asks: bool  # for its level now
    well_bps: int | None  # the share of the window's samples that is well, None without any
    samples: int


class ReferenceSeen(TypedDict):
    """What gate 7 compares an instrument's openings with."""

    price: str | None  # None: none that counts
    age_ns: int | None  # of what was told last; None: nothing on this connection


class Status(TypedDict):
    """`cstd status` and `/api/v1/status`. The first eight keys are an interface that outside scripts rely on."""

    pid: int
    mode: str  # practice, paper, live, replay
    state: str  # starting recovering reconciling ready paused halted killed stopping
    ready: bool  # state == "ready"
    boot_epoch: int
    kill: bool  # latched
    level: str  # normal warning critical emergency shutdown
    instruments: list[str]
    currency: str
    equity: str  # what is allocated and what came of it. Limits are shares of it, of at most account.capital
    day_loss_bps: int
    drawdown_bps: int
    level_reason: str | None  # what holds the level, in words; None at normal
    conditions: dict[str, ConditionStatus]  # api_success, ack_latency, data_quality, resyncs, order_errors
    kill_reason: str | None
    kill_hold: bool  # exits are held too
    kill_shown_empty_ns: int | None  # from the kill, or the start since then, until the venue showed no opening of ours
    state_reason: str | None  # why it is not ready, in words
    shadow: bool  # decides and sends nothing: for a minute after the kill switch was cleared
    shadow_left_s: int  # of that minute
    strategy: str
    version: str
    config_hash: str  # hex
    uptime_s: float
    wall_ns: int  # wall clock of the event last processed
    event_seq: int
    links: dict[str, LinkStatus]  # "public", "private"; "futures" where one is configured
    references: dict[str, ReferenceSeen]  # by instrument, of the first twenty with a product; all in /api/v1/instruments
    futures_refusals: dict[str, str]  # product -> what the futures feed said when it refused it
    venue_errors: dict[str, int]  # text as it is listed, "other", or "no answer" by REST -> how often in this boot
    deadman: DeadmanStatus
    exits: str  # which way an exit would go now: socket, rest, none while exits are held
    adoption: dict[str, str]  # instrument -> coins of the user's that became managed, or why they wait
    journal: JournalStatus
    digest: str  # hex, of decisions and order frames so far
    children: dict[str, bool]  # name of a child process ("reader") -> it lives
    scorer: ScorerStatus
    ensemble: EnsembleStatus | None  # None for another strategy
    model_drift: ModelDrift | None  # None before the first score


class ReferenceStatus(TypedDict):
    """What the futures feed tells of an instrument's perpetual, as it told it; docs/futures.md."""

    product: str
    required: bool  # openings are refused without a price
    price: str | None  # what gate 7 compares with, in the instrument's digits; None: none that counts
    age_ns: int | None  # of what was told last; None: nothing on this connection
    index: str | None
    mark: str | None
    funding_hour: str | None  # a fraction of the position, paid by longs
    open_interest: str | None  # contracts


class InstrumentStatus(TypedDict):
    """One instrument's data quality and rules."""

    name: str
    price_precision: int
    qty_precision: int
    tick: str
    lot: str
    qty_min: str
    cost_min: str
    state: str  # empty unverified verified
    fault: str | None  # why it is not verified, e.g. "checksum"
    evidence_age_ns: int | None
    resyncs: int
    checksums_ok: int
    checksums_bad: int
    updates: int
    audit_age_ns: int | None  # since levels below the checksum were compared; None: not in this boot
    tradable: bool  # openings are possible as far as data goes
    venue_state: str  # online, cancel_only, ...
    off: bool  # switched off after losing round trips
    volume_hour: str | None  # traded value of the last hour, account currency
    rate_points: float  # the venue's rate counter, as the account has used it
    rate_limit: float  # where openings and amends stop
    openings_held: int  # openings and amends that it held back
    held: str | None  # why an opening would wait now
    reference: ReferenceStatus | None  # None: futures.names has no product for it


class Book(TypedDict):
    """Top levels of one book, best first, as (price_raw, qty_raw, own_qty_raw)."""

    name: str
    price_precision: int
    qty_precision: int
    verified: bool
    checksum: int | None
    bids: list[tuple[int, int, int]]
    asks: list[tuple[int, int, int]]


class Position(TypedDict):
    """Managed inventory of one asset."""

    instrument: str
    asset: str
    qty: str
    entry_price: str | None
    mark_price: str | None  # the verified bid
    value: str | None  # account currency
    unrealized_pnl: str | None
    realized_pnl: str
    user_qty: str  # the user's own coins, never sold
    dust: bool
    stop_price: str | None  # the verified mid at which it is stopped
    stop_distance_bps: float | None  # how far the mid has to fall for that; None without a verified book
    target_price: str | None  # the best bid at which it has made its target
    time_stop_wall_ns: int | None  # when it has been held for long enough
    exit_reason: str | None  # while it is being left: stop, target, time, escalation


class Equity(TypedDict):
    """Money, in account currency."""

    currency: str
    equity: str
    capital: str
    cash: str
    peak: str
    day_start: str
    adopted: str  # what coins of the user's were worth at the bid when they became managed: in equity, and no profit
    day_loss_bps: float
    drawdown_bps: float
    exposure: str  # positions + open + UNKNOWN orders
    realized_pnl: str
    unrealized_pnl: str
    fees: str
    turnover_day: str


class Order(TypedDict):
    """One order. The first seven keys are the practice truth file's, Kraken's status words included."""

    cl_ord_id: str
    order_id: str | None
    symbol: str
    side: str
    status: str
    order_qty: str
    filled_qty: str
    state: str  # our lifecycle state, UNKNOWN included
    limit_price: str
    time_in_force: str
    post_only: bool
    kind: str  # opening, exit
    exit_reason: str | None  # of an exit: stop, target, time, flip, flatten, escalation
    intent_seq: int
    sent_wall_ns: int | None


class Fill(TypedDict):
    """One fill. The first eight keys are the practice truth file's."""

    exec_id: str
    cl_ord_id: str
    symbol: str
    side: str
    qty: str
    price: str
    fee: str
    fee_asset: str
    wall_ns: NotRequired[int]
    liquidity: NotRequired[str]  # maker, taker
    slippage_bps: NotRequired[float | None]
    exit_reason: NotRequired[str | None]  # of an exit's fill


class Approval(TypedDict):
    """One opening that all gates let pass and that waits for an operator; docs/approve.md."""

    id: int  # the intent's number, as `cstd approve` and `cstd why` take it
    state: str  # waits, approved: judged again in the next pass of its instrument
    instrument: str
    side: str
    qty: str  # the most that is sent
    price: str
    notional: str
    currency: str
    episode: int
    asked_wall_ns: int
    age_s: float
    expires_in_s: float
    approve: str  # the command
    decline: str


class ApprovalAnswered(TypedDict):
    """`cstd approve ID` and `cstd decline ID`."""

    id: int
    answer: str  # approved, declined
    instrument: str


class PageToken(TypedDict):
    """`cstd page token`: what answers on the page what waits for an operator; docs/approve.md."""

    token: str | None  # None: with --end
    uid: int  # whose it is: commands that come by it are journaled as this user's
    expires_in_s: int
    ended: int  # with --end: how many of this user's were good until now


class Gate(TypedDict):
    """One of the 15 gates with its counts since the boot."""

    gate: int  # 1-7 policy, 11-18 risk
    name: str
    group: str  # policy, risk
    key: str  # configuration key of that limit
    unit: str
    limit: float | int | str | None  # of the last decision, as last_value: an exit has others than an opening
    last_kind: str | None  # opening, exit; None before the first decision
    last_value: float | int | str | None
    last_pass: bool | None
    passed: int  # of the intents that are on record; a resting order that is judged again is none
    failed: int
    noted: int  # failed for an exit, which it may not refuse
    first_failed: int  # refusals where this gate was the first to fail


class Limit(TypedDict):
    """One limit of the gates, as it holds now; `cstd.decision.operator_limits` makes the rows."""

    gate: int | None  # None: of the verdict over all gates
    name: str
    key: str  # in the configuration
    instrument: str | None  # whose own row it is; None: of all that have none, or of the account
    scope: str  # instrument: each may have its own; account
    value: str
    unit: str
    tighter: str | None  # lower, higher; None where neither way is
    configured: str  # the loosest that a command can reach
    source: str  # configuration, override (of an instrument), operator (a command), reload (the files, read again)
    fixed: str | None  # why no command changes it
    asked: str | None  # by a command on this very row, whether or not it decides
    set_by_uid: int | None  # of the command that decides
    set_by_pid: int | None
    set_wall_ns: int | None
    reason: str | None


class ChangedLimit(Limit):
    """A limit after a command on it."""

    before: str  # the value until then


class EndedLimit(ChangedLimit):
    """A limit after what commands made of it was taken back."""

    ended: list[ChangedLimit]  # of each instrument whose own ended with that for all


class RebasedPeak(TypedDict):
    """What drawdown was measured from, and what it is measured from now; amounts as decimal strings."""

    peak: str  # until now
    value: str  # the peak now: the account's value at the last verified bids
    currency: str
    drawdown_bps: int  # from the peak until now
    unverified: list[str]  # instruments held whose book is not verified now
    rebased: bool


class DecisionGate(TypedDict):
    """One gate of an explained decision; value, limit and margin are numbers or decimal strings, in `unit`."""

    gate: int
    code: int
    group: str
    name: str
    key: str
    unit: str
    value: int | str | None
    limit: int | str | None
    bound: str  # max, min, or switch where value and limit do not compare
    strict: bool  # at the limit is a failure too
    margin: int | str | None  # positive = room left
    passed: bool
    recorded: bool  # failed, but could not refuse this intent
    reason: str
    would_pass: str | None


class JournalRange(TypedDict):
    """Which records of the journal belong to a decision."""

    from_seq: int | None  # the first frame of its read batch, or the other event whose pass it was made in; None: not known yet
    decision_seq: int  # of the decision itself
    to_seq: int  # the last one known of its order: a report, a fill, another judgement
    command: NotRequired[str]  # `cstd why ID`: what shows them
    order_state: str | None  # as of to_seq, as far as the ledger has it; None: no order, or not in the ledger yet


class Decision(TypedDict):
    """One decision row as `cstd.decision.why.explain` tells it."""

    intent_seq: int
    event_seq: int
    decided_wall_ns: int
    instrument: str
    strategy: str
    kind: str
    side: str
    episode: int
    rejudged: bool
    shadow: bool
    verdict: str  # approve, reduce, refuse
    verdict_reason: str
    first_failing: str | None
    reduced_by: str | None
    cluster: list[str] | None  # instruments whose exposure gate 18 counted together; None where they are not kept
    price: str | None
    bid: str | None
    ask: str | None
    qty_requested: str
    qty_final: str
    counterfactual_qty: str
    managed_free_qty: str
    time_in_force: str
    level: str
    size_multiplier: int | str | None
    currency: str
    equity: int | str | None
    notional: int | str | None
    depth: int | str | None
    exit_cost_bps: int | str | None
    checksum: int
    cl_ord_id: str
    child: int
    attempt: int
    route: str  # socket, rest; an opening takes the socket alone
    approval: str | None  # of an opening: waits, approved, no_room; None where no operator has to do with it
    config_hash8: str
    agents_hash8: str
    gates: list[DecisionGate]
    exit_reason: NotRequired[str | None]  # of an exit: stop, target, time, flip, flatten, escalation
    price_from: NotRequired[str]  # of an exit: book, rest_snapshot
    journal: NotRequired[JournalRange]  # where to look in the journal; of the ledger and of `cstd why ID`
    signal: NotRequired[Signal | None]  # of the ensemble: what it was made under; None where that is not kept any more


class RefusingGate(TypedDict):
    """One gate that was the first to fail, or that cut a quantity, in a span of time."""

    gate: str
    reason: str  # of the last time
    refused: int  # intents
    reduced: int  # intents that it let through smaller
    canceled: int  # orders of ours that rested and were judged again
    last_wall_ns: int
    last_instrument: str
    last_value: str | None
    last_limit: str | None
    unit: str | None


class StateChange(TypedDict):
    """The daemon went into a state."""

    wall_ns: int
    state: str
    before: str
    reason: str | None


class Refusals(TypedDict):
    """`cstd why --since`: what was decided in a span of time, by the gate that failed first."""

    since_wall_ns: int
    until_wall_ns: int
    source: str  # "the running daemon", or the file it was read from
    complete: bool  # False: it knows nothing of the span's beginning
    known_since_wall_ns: int | None
    instrument: str | None
    state: str | None  # now, or the last that is known
    state_reason: str | None
    decided: int  # intents, orders that were judged again left out
    approved: int
    reduced: int
    refused: int
    shadowed: int  # of those approved or reduced: not sent: the daemon or the instrument in shadow
    gates: list[RefusingGate]  # most refusals first
    states: list[StateChange] | None  # None: its source does not keep them
    fills: int | None


class Trade(TypedDict):
    """One trade of others, from the tape."""

    instrument: str
    side: str
    price: str
    qty: str
    wall_ns: int


class AlertLimits(TypedDict):
    """Limits in force that alerts compare with, in the units of the configuration; empty before the boot."""

    sync_lag_ms_max: NotRequired[int]
    disk_free_bytes_min: NotRequired[int]
    evidence_s: NotRequired[float]
    clock_offset_ms_max: NotRequired[int]
    deadman_timeout_s: NotRequired[int]
    positions_max: NotRequired[int]
    exposure_bps_max: NotRequired[int]
    slippage_p95_bps_max: NotRequired[float]
    slippage_p95_fills_min: NotRequired[int]
    busy_poll: NotRequired[bool]
    day_loss_bps: NotRequired[dict[str, int]]  # by level
    drawdown_bps: NotRequired[dict[str, int]]


class StageLatency(TypedDict):
    """A histogram of one stage: `counts[i]` durations below `edges_ns[i]` and not below `edges_ns[i - 1]`; the last
    bucket is open above."""

    counts: np.ndarray  # int64, live
    sum_ns: int


class Latency(TypedDict):
    """Stage durations of the trading process."""

    edges_ns: np.ndarray  # int64, increasing: exclusive upper edge of each bucket, the same for every stage
    stages: dict[str, StageLatency]  # by the names of cstd._fast.hist.STAGES, and "loop_lag"


class EngineView(Protocol):
    """What the trading process shows; see the module docstring for the rules every method obeys."""

    def status(self) -> Status:
        """Return the daemon's state."""

    def instrument_names(self) -> list[str]:
        """Return the names of the configured instruments, in configured order."""

    def instruments(self, *, offset: int = 0, limit: int | None = None) -> list[InstrumentStatus]:
        """Return every configured instrument, in configured order."""

    def books(self, depth: int, *, limit: int | None = None) -> list[Book]:
        """Return at most `depth` levels a side of every book, in the order of `instruments`.

        Where there are more than `limit`, those with a position or an order come before the others.
        """

    def positions(self) -> list[Position]:
        """Return managed positions, dust included, empty ones left out."""

    def equity(self) -> Equity:
        """Return equity, loss and exposure."""

    def orders(self, *, all_: bool, limit: int, offset: int = 0) -> list[Order]:
        """Return orders that may still be working, or with `all_` all of the session.

        Newest first, at most `limit`, after skipping `offset`: a client pages through a long session so that no one
        answer holds up the loop. A page may repeat rows of the one before when orders came in between.
        """

    def fills(self, *, all_: bool, limit: int, offset: int = 0) -> list[Fill]:
        """Return fills of this UTC day, or with `all_` of the session; paged as `orders`."""

    def approvals(self) -> list[Approval]:
        """Return what waits for an operator, the oldest first; at most sixteen."""

    def decision_count(self) -> int:
        """Return how many decision rows there have been since the boot; a reader asks for no more than are new."""

    def decisions(self, limit: int) -> list[dict[str, object]]:
        """Return the newest explained decisions (`cstd.decision.why.explain`), newest first, at most `limit`."""

    def find_decision(self, id_: str) -> dict[str, object] | None:
        """Return the explained decision of an intent sequence or client order id, or None where it is not kept."""

    def refusals(self, *, since_wall_ns: int, instrument: str | None = None) -> Refusals:
        """Return what was decided since a time, of one instrument or all, as far as decisions are kept in memory."""

    def gates(self) -> list[Gate]:
        """Return the 15 gates in order, policy first."""

    def limits(self, instrument: str | None = None) -> list[Limit]:
        """Return every limit as it holds: of an instrument, or in general and then what single instruments have otherwise.

        In general the same list as long as no limit has changed: it is not encoded again.
        """

    def clusters(self, instrument: str | None = None) -> Clusters:
        """Return what moves together, with pairs of an instrument or of the first ones; the same object while nothing changed."""

    def opportunities(self, *, horizon: str | None = None, instrument: str | None = None,
                      first: int | None = None) -> list[Opportunity]:
        """Return instruments by horizon, the best first, at most `first` of each; asking changes nothing of the engine.

        Those of one instrument are looked at now; of all, a bounded part in turn: the others are as of before.
        """

    def counters(self) -> dict[str, int]:
        """Return all counters since the boot; the set of names is fixed for the life of the process."""

    def alert_limits(self) -> AlertLimits:
        """Return the limits that alerts compare with, the same object as long as none has changed."""

    def models(self) -> Models:
        """Return the scorer's state and the scores that the engine knows."""

    def latency(self) -> Latency:
        """Return the stage histograms."""

    def tape(self, limit: int) -> list[Trade]:
        """Return the newest trades over all instruments, newest first, at most `limit`."""
