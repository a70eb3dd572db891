"""The configuration as frozen structs: every key with its type, its bounds and its unit in the name.

A limit that can lose money has no default: the key is required, and the three shipped files spell it out.
What has a default is where things lie and how loud the logs are.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec


class Bounds(msgspec.Struct, frozen=True):
    """The closed interval a number must lie in, and why. `above` excludes the lower end.

    `places` bounds the fractional digits of a decimal: what a limit is later scaled to as an integer.
    """

    low: Decimal | int
    high: Decimal | int
    why: str
    above: bool = False
    places: int = 8


class Pattern(msgspec.Struct, frozen=True):
    """The regular expression a text must match in full, and the same in words."""

    regex: str
    words: str


def _int(low: int, high: int, why: str) -> Bounds:
    return Bounds(low, high, why)


def _over_zero(high: int, why: str, places: int = 8) -> Bounds:
    return Bounds(0, high, why, above=True, places=places)


Mode = Literal["practice", "paper", "live"]

# 10,000 bps is all of it. Risk levels are whole basis points; execution limits go to a thousandth, as the gates do.
RiskBps = Annotated[int, _int(1, 10_000, "a share of equity in basis points, at most all of it")]
ExecutionBps = Annotated[Decimal, _over_zero(10_000, "basis points, to a thousandth", 3)]
# Amounts are kept in 10^-8 as 64-bit integers, which end at 92 billion.
Money = Annotated[Decimal, _over_zero(10**10, "an amount in the account currency")]
Seconds = Annotated[Decimal, _over_zero(10**7, "seconds", 9)]
# What an exit or a kill waits for: milliseconds written by mistake must not hold it back for the rest of the day.
ShortSeconds = Annotated[Decimal, _over_zero(60, "seconds that an exit or a kill waits, at most a minute", 9)]
Port = Annotated[int, _int(0, 65_535, "a TCP port, 0 for any free one")]
# Of limits that an instrument may have of its own as well.
ParentsPerHour = Annotated[int, _int(1, 3_600, "openings of one instrument in an hour")]
LosingRoundTrips = Annotated[int, _int(1, 1_000_000, "losing round trips in a row")]
DepthMultiple = Annotated[Decimal, _over_zero(1_000, "a multiple of the order's notional", 2)]
VolumeFrac = Annotated[Decimal, Bounds(0, 1, "a share of the mean minute's value", above=True, places=4)]
Lifetime = Annotated[Decimal, _over_zero(3_600, "seconds an opening may rest", 9)]
EvidenceAge = Annotated[Decimal, Bounds(0, 60, "seconds a quote counts as current", above=True, places=9)]
Silence = Annotated[Decimal, Bounds(0, 3_600, "seconds an instrument may be silent", above=True, places=9)]
_PATH = r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?"
Grace = Annotated[int, _int(0, 5_000, "how long resting openings outlive an unverified book")]


class AccountConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose money, how much of it, and the mark on our orders."""

    currency: Annotated[str, Pattern(r"[A-Z]{3,5}", "an upper-case currency code such as USD")]
    capital: Money  # allocated; equity for limits is the smaller of this and the account
    owner_prefix: Annotated[str, Pattern(r"[a-z0-9]{2}", "exactly two characters of a-z and 0-9")]
    exclusive: bool = False  # the operator's word that no other daemon trades this account


class InstrumentsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is traded and how deep its book is kept."""

    names: list[Annotated[str, Pattern(r"[A-Z0-9]{1,12}/[A-Z]{3,5}", "BASE/QUOTE such as BTC/USD")]]
    depth: Literal[10, 25, 100, 500, 1000] = 25
    # each book's levels below the checksum are compared with a fresh reading this often
    audit_interval_s: Annotated[int, _int(5, 86_400, "seconds between two audits of one book, at most a day")]


class PortfolioConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is managed beside what the daemon buys; docs/adoption.md."""

    # the user's coins that become managed at a journal's first start: none, all, or a list of assets or instruments
    adopt: Literal["none", "all"] | list[
        Annotated[str, Pattern(r"[A-Z0-9]{1,12}(/[A-Z]{3,5})?", "an asset or an instrument such as BTC or BTC/USD")]] = "none"

    def adopts(self, name: str) -> bool:
        """Tell whether an instrument is named, by its own name or by its asset."""
        asked = self.adopt
        return asked == "all" if isinstance(asked, str) else name in asked or name.partition("/")[0] in asked


class RehearsalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The strategy that wants long and flat in turn."""

    size_frac: Annotated[Decimal, Bounds(0, 1, "a share of equity", above=True, places=6)]
    lifetime_s: Seconds  # of one opening
    hold_s: Seconds
    flat_s: Seconds  # between the first `cycles` round trips
    cycles: Annotated[int, _int(0, 1_000_000, "a count of round trips")]
    long_flat_s: Seconds  # between the later ones
    retry_s: Seconds  # between two wishes for the same opening


class EnsembleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The strategy that trades on the models' scores; docs/ensemble.md."""

    score_horizon_s: Annotated[int, _int(60, 366 * 86_400, "the horizon in seconds, one of the model's")]
    probability_min: Annotated[Decimal, Bounds(Decimal("0.5"), 1, "a calibrated probability", above=True, places=6)]
    probability_exit: Annotated[Decimal, Bounds(Decimal("0.5"), 1, "a probability, faded by age, that is left below", places=6)]
    members_min: Annotated[int, _int(0, 32, "members that have to be ready, 0 for all; never fewer than two")]
    score_lifetime_s: Annotated[int, _int(1, 7 * 86_400, "seconds from the features to the end of their score")]
    decay_half_life_s: Annotated[int, _int(1, 7 * 86_400, "seconds in which a score loses half of its weight")]
    decay_floor: Annotated[Decimal, Bounds(0, 1, "the weight that age leaves at least", places=6)]
    size_frac_max: Annotated[Decimal, Bounds(0, 1, "a share of equity", above=True, places=6)]
    volatility_target_bps: Annotated[int, _int(1, 100_000, "volatility over the horizon up to which a size is whole")]
    lifetime_s: Seconds  # of one opening
    retry_s: Seconds  # between two wishes for the same opening


class LadderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `cstd live-check` trades with; it writes this table itself."""

    instrument: str
    notional: Money  # of the opening, in the account currency
    below_bps: ExecutionBps  # of the best bid
    lifetime_s: Seconds
    retry_s: Seconds  # between two wishes


class OwnStrategyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A strategy of the user's own, made by `cstd strategy build`; docs/strategies.md."""

    dir: Annotated[str, Pattern(rf"(?!~){_PATH}", "a path without control characters; ~ is not expanded")]
    # of the object in `dir`; empty = whatever is there
    sha256: Annotated[str, Pattern(r"([0-9a-f]{64})?", "64 digits of a SHA-256, or empty")] = ""
    params: dict[str, Annotated[int, _int(-(2**63) + 1, 2**63 - 1, "a 64-bit integer")]] = {}  # instead of the defaults


class StrategyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which strategy makes intents."""

    name: Literal["ensemble", "rehearsal", "own", "ladder"]
    ensemble: EnsembleConfig | None = None
    rehearsal: RehearsalConfig | None = None
    ladder: LadderConfig | None = None
    own: OwnStrategyConfig | None = None


class AgentsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which agents vote; docs/agents.md."""

    # made by `cstd agents build`; empty = the built-in ones
    dir: Annotated[str, Pattern(rf"((?!~){_PATH})?", "a path without control characters, or empty; ~ is not expanded")] = ""


class PolicyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits of the seven execution policy gates."""

    # gate 1: idempotency and churn
    dedupe_window_s: Seconds
    parents_per_instrument_hour_max: ParentsPerHour
    parents_per_minute_max: Annotated[int, _int(1, 1_000, "openings of all instruments in a minute")]
    turnover_equity_multiple_max: Annotated[Decimal, _over_zero(1_000, "a multiple of equity per day", 4)]
    losing_round_trips_max: LosingRoundTrips
    # gate 2: spread
    spread_bps_max: ExecutionBps
    # gate 3: depth
    depth_band_bps: ExecutionBps
    depth_value_min: Money
    depth_multiple_min: DepthMultiple
    # gate 4: volume
    volume_hour_min: Money
    volume_minute_frac_max: VolumeFrac
    # gate 5: slippage budget
    exit_cost_bps_max: ExecutionBps
    markout_allowance_bps: Annotated[Decimal, Bounds(0, 10_000, "basis points, to a thousandth", places=3)]
    slippage_day_bps_max: ExecutionBps
    slippage_p95_bps_max: ExecutionBps
    slippage_p95_fills_min: Annotated[int, _int(1, 100_000, "a count of fills")]
    # gate 6: time in force
    deadline_ms: Annotated[int, _int(1_000, 2_000, "an order is accepted within 1 to 2 s or not at all")]
    lifetime_s_max: Lifetime
    # gate 7: price
    price_band_bps_max: ExecutionBps
    reference_band_bps_max: ExecutionBps
    rest_price_after_s: ShortSeconds
    rest_price_age_s_max: ShortSeconds


class RiskConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits of the eight risk gates and of the escalation levels."""

    # gate 2: data gap
    evidence_s: EvidenceAge
    silence_s: Silence
    grace_ms: Grace
    clock_offset_ms_max: Annotated[int, _int(1, 5_000, "offset of the host's clock from the venue's")]
    # gate 3: day loss
    day_loss_warning_bps: RiskBps
    day_loss_critical_bps: RiskBps
    day_loss_emergency_bps: RiskBps
    day_loss_shutdown_bps: RiskBps
    day_loss_max: Money
    # gate 4: drawdown
    drawdown_warning_bps: RiskBps
    drawdown_critical_bps: RiskBps
    drawdown_emergency_bps: RiskBps
    drawdown_shutdown_bps: RiskBps
    loss_marks_apart_s: ShortSeconds  # a kill for loss needs two marks this far apart
    # gates 5 to 8
    positions_max: Annotated[int, _int(1, 1_000, "a count of positions")]
    exposure_bps_max: RiskBps
    position_bps_max: RiskBps
    cluster_bps_max: RiskBps
    # what moves together; docs/clusters.md
    correlation_min: Annotated[Decimal, Bounds(0, 1, "a correlation, 0: everything counts as one cluster", places=4)]
    correlation_leave: Annotated[Decimal, Bounds(0, 1, "the correlation below which a link ends", places=4)]
    correlation_leave_bars: Annotated[int, _int(1, 1_000, "five-minute bars in a row")]
    correlation_span_bars: Annotated[int, _int(2, 719, "five-minute bars, at most what the history shows")]
    correlation_returns_min: Annotated[int, _int(2, 719, "common returns, at most what the history shows")]
    correlation_prior_returns: Annotated[int, _int(0, 10_000, "how many returns full correlation is taken to have shown")]
    # sizes
    size_warning_frac: Annotated[Decimal, Bounds(0, 1, "the size multiplier at Warning", places=4)]
    reduce_bps_min: Annotated[int, _int(1, 10_000, "the part of a request below which it is refused, not reduced")]


class ConditionsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What raises a level by itself, and clears by itself; docs/levels.md."""

    window_s: Annotated[int, _int(5, 3_600, "seconds that the shares below are of")]
    samples_min: Annotated[int, _int(1, 1_000, "samples in the window; fewer say nothing")]
    clean_s: Annotated[int, _int(1, 3_600, "seconds without a condition before its level clears")]
    api_success_frac_min: Annotated[Decimal, Bounds(0, 1, "a share of the calls to the venue", above=True, places=4)]
    ack_p95_ms_max: Annotated[int, _int(1, 60_000, "milliseconds to an acknowledgement, 95th percentile")]
    verified_frac_min: Annotated[Decimal, Bounds(0, 1, "a share of the books, over the window", above=True, places=4)]
    resyncs_hour_max: Annotated[int, _int(0, 3_600, "resyncs of a book in an hour, the mean over all")]
    order_errors_frac_max: Annotated[Decimal, Bounds(0, 1, "a share of the new orders", places=4)]


class PolicyOverride(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one instrument may have of its own of [policy]; None = as there. What counts the account is not here."""

    parents_per_instrument_hour_max: ParentsPerHour | None = None
    losing_round_trips_max: LosingRoundTrips | None = None
    spread_bps_max: ExecutionBps | None = None
    depth_value_min: Money | None = None
    depth_multiple_min: DepthMultiple | None = None
    volume_hour_min: Money | None = None
    volume_minute_frac_max: VolumeFrac | None = None
    exit_cost_bps_max: ExecutionBps | None = None
    lifetime_s_max: Lifetime | None = None
    price_band_bps_max: ExecutionBps | None = None
    reference_band_bps_max: ExecutionBps | None = None


class RiskOverride(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one instrument may have of its own of [risk]; None = as there."""

    evidence_s: EvidenceAge | None = None
    silence_s: Silence | None = None
    grace_ms: Grace | None = None
    position_bps_max: RiskBps | None = None


class OverrideConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits that one instrument has of its own; docs/limits.md."""

    policy: PolicyOverride = PolicyOverride()
    risk: RiskOverride = RiskOverride()


class ExitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a position is left, and how far its exit may go to find a price."""

    collar_steps_bps: list[Annotated[int, _int(1, 1_000, "basis points below the best bid")]]
    collar_urgent_bps: Annotated[int, _int(1, 1_000, "the second of the steps, at which urgent exits begin")]
    step_wait_s: ShortSeconds
    blind_collar_bps: Annotated[int, _int(1, 1_000, "basis points below the last verified bid")]
    # 0 for none of each; measured from the average price that was paid
    stop_bps: Annotated[int, _int(0, 5_000, "basis points below the entry, 0 for no hard stop")]
    stop_atr_multiple: Annotated[Decimal, Bounds(0, 100, "five-minute ATRs below the entry, 0 for none", places=2)]
    target_bps: Annotated[int, _int(0, 100_000, "basis points above the entry, 0 for no target")]
    horizon_s: Annotated[Decimal, Bounds(0, 10**7, "seconds a position is held, 0 for no end", places=9)]


class ApproveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which openings wait for an operator, and how long; docs/approve.md."""

    # the value above which one waits, in account currency; empty = none does, "0" = every one
    above: Annotated[str, Pattern(r"((0|[1-9][0-9]{0,9})(\.[0-9]{1,8})?)?", "an amount as text such as \"50\", or empty")] = ""
    expires_s: Annotated[Decimal, Bounds(1, 3_600, "seconds that an opening waits for an operator", places=9)] = Decimal(120)


class TacticsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a resting opening keeps its place; docs/orders.md."""

    follow_ticks: Annotated[int, _int(0, 1_000_000, "price steps that the best bid moves before it is followed, 0 for never")] = 0
    follow_amends_max: Annotated[int, _int(0, 100, "amends of one opening that follow the best bid")] = 0


class VenueConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How we deal with Kraken. Hosts are not here: the mode fixes them."""

    tier: Literal["starter", "intermediate", "pro"]
    deadman_timeout_s: Annotated[int, _int(15, 86_399, "whole seconds, above the 10 s of silence that close a link")]
    unknown_absent_s: Annotated[Decimal, _over_zero(86_400, "seconds before an unseen order counts as absent", 3)]


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where what we knew and did is kept."""

    ring_bytes: Annotated[int, _int(2**20, 2**34, "bytes of the ring, in the run directory")]
    segment_bytes: Annotated[int, _int(2**20, 2**40, "bytes of one segment file")]
    sync_interval_ms: Annotated[int, _int(1, 60_000, "milliseconds between two syncs to disk")]
    sync_lag_ms_max: Annotated[int, _int(10, 600_000, "milliseconds of journal not yet on disk before trading halts")]
    disk_free_bytes_min: Annotated[int, _int(2**24, 2**50, "bytes free where the journal is, below which trading halts")]
    checkpoint_interval_s: Annotated[int, _int(1, 7 * 86_400, "seconds between two checkpoints of the journal")] = 900
    keep_bytes: Annotated[int, _int(0, 2**50, "bytes of journal kept at least before the oldest segments go; 0 keeps all")] = 0
    durable_intents: bool = False  # an order leaves only when its records are on disk
    durable_wait_ms_max: Annotated[int, _int(1, 1_000, "milliseconds to wait for that before trading halts")] = 100


class PracticeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the practice exchange listens, always on loopback."""

    rest_port: Port = 0
    ws_public_port: Port = 0
    ws_private_port: Port = 0
    ws_futures_port: Port = 0


# A proxy would have a path; a user or a password has no place in a file that is shown.
ALERTMANAGER = r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[^\s?#@]*)?"
Listen = Annotated[str, Pattern(r"(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\]):\d{1,5}",
                                "a loopback HOST:PORT such as 127.0.0.1:8001, port 0 for any free one")]


LatencyNs = Annotated[int, _int(0, 600_000_000_000, "nanoseconds of latency, at most ten minutes")]


class SimulatedVenueConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the simulated venue of mode paper behaves; docs/simulated-venue.md says where each default comes from."""

    feed_ns: LatencyNs = 20_000_000  # the age of a public frame when it is received
    order_out_ns: LatencyNs = 20_000_000  # from us to the matching engine
    order_back_ns: LatencyNs = 20_000_000  # its answers and reports, to us
    queue: Literal["risk_averse", "power", "power2", "power3", "log", "log2"] = "risk_averse"
    queue_n: Annotated[Decimal, _over_zero(100, "an exponent of the power models")] = Decimal(3)
    impact: bool = True  # what we took of a level stays taken until the venue tells of that level again
    through: Literal["shown", "whole"] = "shown"  # of a resting order, what a price that moves through it fills
    # traded before paper began, in quote: it decides the fee tier
    volume_30d: Annotated[Decimal, Bounds(0, 10**12, "an amount traded in 30 days")] = Decimal(0)
    # (volume, maker bps, taker bps); [] = Kraken's table of November 2025
    fee_tiers: list[list[Annotated[int, _int(0, 10**12, "a volume, and fees in basis points")]]] = []
    heartbeat_ns: LatencyNs = 0  # between two heartbeats of the private side, 0 for none


class FuturesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The futures feed, and what is taken from it; docs/futures.md. Its address is the mode's."""

    names: dict[str, Annotated[str, Pattern(r"P[FI]_[A-Z0-9]{4,16}", "a perpetual such as PF_XBTUSD")]]  # by instrument
    reference: bool  # whether openings of these instruments need a reference price (gate 7)
    age_ms_max: Annotated[int, _int(1_500, 60_000, "milliseconds that an index price counts; the venue tells one a second")]


class StatusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the status port listens."""

    listen: Listen = "127.0.0.1:8001"
    extra_listen: list[Listen] = []
    # what fires is shown on the page as this Alertmanager has it; empty = none is asked
    alertmanager: Annotated[str, Pattern(rf"({ALERTMANAGER})?", "an address such as http://127.0.0.1:9093, or empty")] = ""


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the daemon keeps its state."""

    dir: Annotated[str, Pattern(rf"(?!~){_PATH}", "a path without control characters; ~ is not expanded")] = ".run/current"
    # the admin socket; empty = cstd.sock in `dir`
    socket: Annotated[str, Pattern(rf"((?!~){_PATH})?", "a path without control characters, or empty; ~ is not expanded")] = ""


class ProcessConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the trading process uses its host; docs/tail.md."""

    cpus: list[Annotated[int, _int(0, 4_095, "the number of a CPU")]] = []  # the trading thread's alone; [] = not pinned
    gc: Literal["timer", "automatic"] = "timer"  # collections after a tick, or when Python sees fit
    lock_memory: bool = True  # where RLIMIT_MEMLOCK permits it
    busy_poll: bool = False  # never sleep: takes a whole CPU


class ProjectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The process that follows the journal into SQLite; docs/ledger-db.md."""

    enabled: bool = True
    compress: bool = True  # sealed segments, with zstd


class FlightConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The flight recorder: what is kept of the last minute on a halt, a kill or a crash; docs/flight-recorder.md."""

    enabled: bool = True
    bundles_max: Annotated[int, _int(1, 1_000, "a count of bundles; the oldest go")] = 8


_GROUP = Pattern(r"([a-z_][a-z0-9_-]{0,31})?", "the name of a group on this host, or empty")


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may use the admin socket beside root and the daemon's user; docs/access.md."""

    operate_group: Annotated[str, _GROUP] = ""  # reads and commands; with both empty: the socket's own group
    read_group: Annotated[str, _GROUP] = ""  # reads
    lockout_failures: Annotated[int, _int(1, 1_000, "refused tries of one source within the window that lock it out")] = 5
    lockout_window_s: Annotated[int, _int(1, 3_600, "seconds in which refused tries count together")] = 60
    lockout_s: Annotated[int, _int(1, 86_400, "seconds that a source stays locked out")] = 300


class JobsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What scheduled jobs need to know; docs/jobs.md."""

    # empty = the jobs backup and backup-verify are refused
    backup_dir: Annotated[
        str, Pattern(rf"((?!~){_PATH})?", "a path without control characters, or empty; ~ is not expanded")] = ""


class ScorerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The process that scores instruments with the model in production; docs/scorer.md."""

    enabled: bool = False
    models: Annotated[str, Pattern(rf"(?!~){_PATH}", "a path without control characters; ~ is not expanded")] = "models"
    name: Annotated[str, Pattern(r"([a-z0-9][a-z0-9_-]{0,47})?", "a model's name: a-z, 0-9, - and _")] = ""
    # of the registry; empty = systemd's credential models_key
    key: Annotated[str, Pattern(rf"((?!~){_PATH})?", "a path without control characters, or empty; ~ is not expanded")] = ""
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Annotated[int, _int(1, 64, "threads of the CPU for one batch")] = 1
    interval_s: Annotated[int, _int(1, 3_600, "seconds between two rows of features of an instrument")] = 60
    age_s_max: Annotated[int, _int(1, 7 * 86_400, "seconds from the features to the use of their score")]


class DriftConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the ensemble does where live rows move away from those of training; docs/drift.md."""

    watch_size_frac: Annotated[Decimal, Bounds(0, 1, "a factor of the size while it drifts a little or nobody can say",
                                               above=True, places=6)]
    rollback: bool = False  # by the job drift-check, where half of the instruments are broken


class LogsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole effective configuration."""

    # of this file's keys; a version that this cstd does not know is refused
    schema: Literal[1] = 1
    mode: Mode
    account: AccountConfig
    instruments: InstrumentsConfig
    portfolio: PortfolioConfig = PortfolioConfig()
    strategy: StrategyConfig
    policy: PolicyConfig
    risk: RiskConfig
    conditions: ConditionsConfig
    exits: ExitsConfig
    tactics: TacticsConfig = TacticsConfig()  # none: what rests stays at its price
    venue: VenueConfig
    journal: JournalConfig
    approve: ApproveConfig = ApproveConfig()
    agents: AgentsConfig = AgentsConfig()
    status: StatusConfig = StatusConfig()
    run: RunConfig = RunConfig()
    process: ProcessConfig = ProcessConfig()
    projector: ProjectorConfig = ProjectorConfig()
    flight: FlightConfig = FlightConfig()
    admin: AdminConfig = AdminConfig()
    jobs: JobsConfig = JobsConfig()
    scorer: ScorerConfig | None = None
    drift: DriftConfig | None = None
    logs: LogsConfig = LogsConfig()
    overrides: dict[str, OverrideConfig] = {}  # by instrument
    practice: PracticeConfig | None = None
    simulated_venue: SimulatedVenueConfig | None = None
    futures: FuturesConfig | None = None  # None: no such feed

    def to_canonical_json(self) -> bytes:
        """Return the one byte string that stands for this configuration: sorted keys, plain digits, no spaces."""
        from cstd.config.canonical import dump

        return dump(self)

    @staticmethod
    def from_canonical_json(raw: bytes) -> Config:
        """Return the configuration that `to_canonical_json` wrote; replay takes it from the journal."""
        from cstd.config.loading import from_canonical_json

        return from_canonical_json(raw)

    @property
    def config_hash(self) -> bytes:
        """SHA-256 of the canonical JSON, 32 bytes; journaled with every boot."""
        from cstd.config.canonical import digest

        return digest(self)
