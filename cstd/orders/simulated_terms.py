"""What the simulated venue is told: latencies, queue model, fees; and an order's terms as its request states them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

import msgspec

from cstd.errors import UsageError
from cstd.orders.simulated_book import BUY, SELL
from cstd.orders.simulated_queue import QueueModel, QueuePosition
from cstd.units import INT64_MAX, NS_PER_MS, NS_PER_S, from_raw, to_raw
from cstd.venue.fields import FieldError, decimal_of, parse_rfc3339_ns
from cstd.venue.messages import InstrumentSpec

FEE_PLACES = Decimal(1).scaleb(-8)

# 30-day volume in USD, maker and taker in basis points: the table recorded in November 2025 (kraken-protocol.md 4).
FEE_TIERS: tuple[tuple[int, int, int], ...] = (
    (0, 25, 40), (10_000, 20, 35), (50_000, 14, 24), (100_000, 12, 22), (250_000, 10, 20), (500_000, 8, 18),
    (1_000_000, 6, 16), (2_500_000, 4, 14), (5_000_000, 2, 12), (10_000_000, 0, 10),
)
ADD_FIELDS = frozenset({"order_type", "side", "symbol", "order_qty", "limit_price", "time_in_force", "expire_time", "post_only",
                        "stp_type", "fee_preference", "cl_ord_id", "deadline", "token"})
AMEND_FIELDS = frozenset({"order_id", "cl_ord_id", "order_qty", "limit_price", "post_only", "deadline", "token"})
SIDES = {"buy": BUY, "sell": SELL}
SIDE_NAMES = {side: name for name, side in SIDES.items()}
CL_ORD_ID_MAX = 36

TimeInForce = Literal["gtc", "gtd", "ioc", "fok"]
StpType = Literal["cancel_newest", "cancel_oldest", "cancel_both"]


class LatencyRow(msgspec.Struct, frozen=True):
    """A measured latency: at `at_ns` a request took `out_ns` to the matching engine, and its answer `back_ns`."""

    at_ns: int
    out_ns: int
    back_ns: int
QUEUE_N_MAX = 100
VOLUME_MAX = 10**12  # in quote
LATENCY_NS_MAX = 600 * NS_PER_S
FEE_BPS_MAX = 10_000
RATE_COUNT_MAX = 1_000_000


class SimulatedVenueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the simulated venue behaves; docs/simulated-venue.md says where each default comes from.

    Raises UsageError: a latency, fee or rate counter that no venue has, rows that are not in the order of time, tiers without one
    that begins at 0.
    """

    feed_ns: int = 20 * NS_PER_MS  # the age of a public frame when it is received
    order_out_ns: int = 20 * NS_PER_MS  # from us to the matching engine
    order_back_ns: int = 20 * NS_PER_MS  # its answers and reports, to us
    recorded: tuple[LatencyRow, ...] = ()  # instead of the two above: linear between rows, the nearest one outside
    queue: QueueModel = "risk_averse"
    queue_n: Decimal = Decimal(3)  # exponent of the power models
    impact: bool = True  # what we took of a level stays taken until the venue tells of that level again
    through: Literal["shown", "whole"] = "shown"  # of a resting order, what a price that moves through it fills
    volume_30d: Decimal = Decimal(0)  # traded before the session, in quote: it decides the fee tier
    fee_tiers: tuple[tuple[int, int, int], ...] = FEE_TIERS  # (volume, maker bps, taker bps)
    rate_count_max: int = 180  # what the acknowledgement of `executions` tells of the account's tier
    heartbeat_ns: int = 0  # between two heartbeats of the private socket, 0 for none

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        latencies = [self.feed_ns, self.order_out_ns, self.order_back_ns, self.heartbeat_ns]
        latencies += [ns for row in self.recorded for ns in (row.out_ns, row.back_ns)]
        if not 0 <= min(latencies) <= max(latencies) <= LATENCY_NS_MAX:
            raise UsageError(f"the simulated venue takes latencies from 0 to {LATENCY_NS_MAX} ns")
        if not 1 <= self.rate_count_max <= RATE_COUNT_MAX:
            raise UsageError(f"simulated_venue.rate_count_max is from 1 to {RATE_COUNT_MAX}")
        if not self.queue_n.is_finite() or not 0 < self.queue_n <= QUEUE_N_MAX:
            raise UsageError(f"simulated_venue.queue_n is above 0 and at most {QUEUE_N_MAX}")
        if not self.volume_30d.is_finite() or not 0 <= self.volume_30d <= VOLUME_MAX:
            raise UsageError(f"simulated_venue.volume_30d is from 0 to {VOLUME_MAX}")
        times = [row.at_ns for row in self.recorded]
        if times != sorted(set(times)):
            raise UsageError("recorded latencies must be in the order of time")
        if not self.fee_tiers or self.fee_tiers[0][0] != 0 or list(self.fee_tiers) != sorted(self.fee_tiers):
            raise UsageError("fee tiers must begin at a volume of 0 and rise")
        if not all(0 <= bps <= FEE_BPS_MAX for _, *fees in self.fee_tiers for bps in fees):
            raise UsageError(f"the fees of a tier are from 0 to {FEE_BPS_MAX} basis points")

    def out_ns(self, at_ns: int) -> int:
        """Latency of a request that leaves at `at_ns`."""
        return self._latency_ns(at_ns, "out_ns") if self.recorded else self.order_out_ns

    def back_ns(self, at_ns: int) -> int:
        """Latency of an answer that the matching engine gives at `at_ns`."""
        return self._latency_ns(at_ns, "back_ns") if self.recorded else self.order_back_ns

    def _latency_ns(self, at_ns: int, field: str) -> int:
        after = bisect_right(self.recorded, at_ns, key=lambda row: row.at_ns)
        rows = self.recorded[max(0, after - 1):after + 1]
        first, last = rows[0], rows[-1]
        begin, end = getattr(first, field), getattr(last, field)
        if at_ns <= first.at_ns or first is last:
            return int(begin)
        return int(begin + (end - begin) * (at_ns - first.at_ns) // (last.at_ns - first.at_ns))

    def fee_bps(self, volume: Decimal, *, maker: bool) -> int:
        """Fee in basis points after this much was traded in 30 days."""
        tier = [row for row in self.fee_tiers if row[0] <= volume][-1]
        return tier[1] if maker else tier[2]


class Refused(Exception):  # noqa: N818 - the venue's own word, and no error of ours
    """The venue does not do what a request asks; the text is the venue's."""


class Terms(msgspec.Struct, frozen=True):
    """What an add_order asks for, checked against the instrument's rules."""

    spec: InstrumentSpec
    side: int
    qty_raw: int
    price_raw: int
    time_in_force: TimeInForce
    expire_ns: int
    post_only: bool
    stp_type: StpType
    cl_ord_id: str


class SimulatedOrder:
    """An order at the simulated venue, open until `left_raw` is 0 or it is canceled."""

    __slots__ = ("cost", "filled_raw", "order_id", "price_raw", "qty_raw", "queue", "terms")

    def __init__(self, terms: Terms, order_id: str) -> None:
        self.terms = terms
        self.order_id = order_id
        self.qty_raw = terms.qty_raw
        self.price_raw = terms.price_raw
        self.filled_raw = 0
        self.cost = Decimal(0)
        self.queue: QueuePosition | None = None  # None until it rests

    @property
    def left_raw(self) -> int:
        """What is still to be filled."""
        return self.qty_raw - self.filled_raw

    def value(self, price_raw: int, qty_raw: int) -> Decimal:
        """Price times quantity, exact."""
        return from_raw(price_raw * qty_raw, self.terms.spec.price_precision + self.terms.spec.qty_precision)


def fee_of(cost: Decimal, bps: int) -> Decimal:
    """Fee in quote, rounded up to 10^-8."""
    return (cost * bps / 10_000).quantize(FEE_PLACES, ROUND_CEILING)


def add_terms(params: Mapping[str, Any], specs: Mapping[str, InstrumentSpec], now_ns: int) -> Terms:
    """Return the terms of an add_order. Raises Refused with the venue's text."""
    _known_fields(params, ADD_FIELDS, "add order")
    spec = specs.get(str(params.get("symbol")))
    if spec is None:
        raise Refused("EQuery:Unknown asset pair")
    if params.get("order_type") != "limit":
        raise Refused("EGeneral:Invalid arguments:ordertype")
    side = SIDES.get(str(params.get("side")))
    if side is None:
        raise Refused("EGeneral:Invalid arguments:side")
    time_in_force = params.get("time_in_force", "gtc")
    stp_type = params.get("stp_type", "cancel_newest")
    if time_in_force not in ("gtc", "gtd", "ioc", "fok") or stp_type not in ("cancel_newest", "cancel_oldest", "cancel_both"):
        raise Refused("EGeneral:Invalid arguments")
    cl_ord_id = params.get("cl_ord_id", "")
    if not isinstance(cl_ord_id, str) or not cl_ord_id.isascii() or len(cl_ord_id) > CL_ORD_ID_MAX:
        raise Refused("EGeneral:Invalid arguments:cl_ord_id")
    check_deadline(params, now_ns)
    expire_ns = _time(params, "expire_time") if time_in_force == "gtd" else INT64_MAX
    if expire_ns <= now_ns:
        raise Refused("EGeneral:Invalid arguments:expiretm")
    qty_raw, price_raw = qty_of(params, spec), price_of(params, spec)
    check_minimum(spec, price_raw, qty_raw)
    return Terms(spec, side, qty_raw, price_raw, time_in_force, expire_ns, params.get("post_only") is True,
                 stp_type, cl_ord_id)


def check_deadline(params: Mapping[str, Any], now_ns: int) -> None:
    """Refuse what arrives after its own deadline."""
    if "deadline" in params and now_ns > _time(params, "deadline"):
        raise Refused("EService:Deadline elapsed")


def check_minimum(spec: InstrumentSpec, price_raw: int, qty_raw: int) -> None:
    """Refuse what is below the instrument's least quantity or cost."""
    if qty_raw < spec.qty_min_raw:
        raise Refused("EGeneral:Invalid arguments:volume minimum not met")
    if from_raw(price_raw * qty_raw, spec.price_precision + spec.qty_precision) < spec.cost_min:
        raise Refused("EOrder:Cost minimum not met")


def qty_of(params: Mapping[str, Any], spec: InstrumentSpec) -> int:
    """Return the raw quantity of a request."""
    qty_raw = _raw(params, "order_qty", spec.qty_precision, "EGeneral:Invalid arguments:volume")
    if qty_raw <= 0 or qty_raw % max(1, spec.qty_increment_raw):
        raise Refused("EGeneral:Invalid arguments:volume")
    return qty_raw


def price_of(params: Mapping[str, Any], spec: InstrumentSpec) -> int:
    """Return the raw limit price of a request."""
    price_raw = _raw(params, "limit_price", spec.price_precision, "EOrder:Tick size check failed")
    if price_raw <= 0:
        raise Refused("EOrder:Invalid price")
    if price_raw % max(1, spec.price_increment_raw):
        raise Refused("EOrder:Tick size check failed")
    return price_raw


def amend_fields(params: Mapping[str, Any], now_ns: int) -> None:
    """Check an amend_order's own fields. Raises Refused."""
    _known_fields(params, AMEND_FIELDS, "amend order")
    check_deadline(params, now_ns)
    if "order_qty" not in params and "limit_price" not in params:
        raise Refused("EGeneral:Invalid arguments:No amendable parameters")


def _known_fields(params: Mapping[str, Any], known: frozenset[str], what: str) -> None:
    for field in params:
        if field not in known:
            raise Refused(f"Unsupported field: '{field}' for the given msg type: {what}")


def _raw(params: Mapping[str, Any], field: str, precision: int, error: str) -> int:
    try:
        raw = to_raw(decimal_of(params.get(field), field), precision)
    except (FieldError, ValueError):
        raise Refused(error) from None
    if raw > INT64_MAX:
        raise Refused(error)
    return raw


def _time(params: Mapping[str, Any], field: str) -> int:
    value = params.get(field)
    try:
        return parse_rfc3339_ns(value if isinstance(value, str) else "")
    except (FieldError, ValueError):
        raise Refused(f"EGeneral:Invalid arguments:{field}") from None
