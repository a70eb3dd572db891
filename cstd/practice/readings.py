"""Readings: points where the sources about Kraken disagree or are silent, each a switch of the exchange.

What a client must not depend on is shown here both ways. What the exchange does not offer at all (closes that an order
brings along, sequence numbers of the futures feed) has no switch. `met` counts how often a point came up: a test of a reading
shows first that it was.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

Value = bool | int | str


@dataclass(frozen=True, slots=True)
class Readings:
    """One value for each such point. Each default is the reading with the better evidence, or the one that says less."""

    heartbeat_always: bool = True  # captures: 1 Hz whatever the traffic; docs: only in the absence of other messages
    status_repeats: bool = False  # SDK guide: about once a second; captures: once per connection
    small_numbers_as_exponents: bool = False  # SDK: trades may print 5.1e-05; 9,932 captured book frames had none
    book_updates_paired: bool = False  # docs: one entry in `data` of a book frame; clients go through all of them
    duplicate_subscribe_refused: bool = True  # v1: "Already subscribed"
    rate_count_field: str = "ratecount"  # v1 name, seen on a v2 event by one client; `ratecounter` is the other candidate
    gone_order_is_invalid: bool = False  # SDK: EOrder:Invalid order; captures: EOrder:Unknown order
    events_before_reply: bool = False  # both orders were seen; a client must take either
    sell_fee_in_base: bool = False  # docs name base as a sell's default; accounts see quote
    cl_ord_id_upper_refused: bool = True  # refused to one client; docs do not say
    cl_ord_id_marks_refused: bool = False  # docs' samples have `-`, a live client `_`; one source names letters and digits
    request_exponents_refused: bool = False  # whether a number in a request may have an exponent no source says
    amend_loses_place: bool = False  # docs: place in the queue is kept "where possible"; presumably for a smaller quantity
    amend_qty_required: bool = False  # docs: the table of amend_order requires order_qty, the samples beside it omit it
    time_in_force_any_case: bool = True  # docs print lower case in websocket requests, upper by REST and in events
    batch_failure_in_orders: bool = False  # docs: an array; one client reads `orders` with success or error in each row
    query_orders_max: int = 50  # docs page: 50; the older specification: 20
    closed_orders_cost: int = 1  # docs: 2 for ledgers and trades; some tables count ClosedOrders among them
    public_rest_limited: bool = False  # no official number; careful clients make one public call a second
    trade_volume_underscores: bool = False  # samples and clients: minfee; the docs' table: min_fee
    asset_pairs_fees: bool = False  # docs: tables of fees; measured: empty on every pair
    rights_by_name: bool = False  # the rights of a key: a list of those it has, or each with yes or no
    depth_volume_exact: bool = False  # REST Depth prints three decimals of a volume in all samples; nothing says it must
    funding_time_relative: bool = False  # futures docs: the time until the next funding; samples: when it is
    private_events_whole: bool = False  # captures: most events of an order are sparse; the docs' table has all fields for all
    symbols_max: int = 0  # symbols in one subscription: no source has a limit (0); careful clients keep to 50
    met: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    def meet(self, name: str) -> None:
        """Count that a point came up, whichever way it is read."""
        self.met[name] += 1


_CHOICES: dict[str, tuple[Value, ...]] = {
    "rate_count_field": ("ratecount", "ratecounter"), "query_orders_max": (50, 20), "closed_orders_cost": (1, 2),
    "symbols_max": (0, 50),
}
# What each reading may be, its default first.
VALUES: dict[str, tuple[Value, ...]] = {
    point.name: _CHOICES.get(point.name, (bool(point.default), not point.default))
    for point in dataclasses.fields(Readings) if point.name != "met"
}


def value_text(value: Value) -> str:
    """Return a value as it is written on a command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


LISTED = ", ".join(f"{name}={'|'.join(map(value_text, values))}" for name, values in VALUES.items())


def parse_reading(text: str) -> tuple[str, Value]:
    """Return (name, value) of one NAME=VALUE.

    Raises:
        ValueError: there is no such reading, or it has no such value; the message says what there is.
    """
    name, _, wanted = text.partition("=")
    if name not in VALUES:
        raise ValueError(f"no reading is named {name!r}; known are {', '.join(VALUES)}")
    for value in VALUES[name]:
        if value_text(value) == wanted:
            return name, value
    raise ValueError(f"{name} is {' or '.join(value_text(v) for v in VALUES[name])}, not {wanted!r}")
