"""PublicFeed: messages of the public socket that the scanner does not take, applied to the compiled core.

Rare kinds (instrument, ohlc, status) always come here; book, trade and ticker only in an unusual shape. Numbers are exact
decimals until they are raw integers; what does not fit the instrument's precision blocks it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from cstd._fast.codes import BookFault, Side
from cstd.units import INT64_MAX, to_raw
from cstd.venue.messages import BookMessage, InstrumentSpec, InstrumentUpdate, OhlcMessage, OhlcRow, TickerMessage, Trade

if TYPE_CHECKING:
    from cstd._fast.core import Core

INTERVALS = {1: 0, 5: 1, 60: 2}
NS_PER_MIN = 60_000_000_000
MONEY_PRECISION = 8
CHECKSUM_MAX = 2**32 - 1
PRECISION_MAX = 15   # the scanner's
SIDES = {"buy": Side.BUY, "sell": Side.SELL}
UNLISTED = "unlisted"   # our word for the status of what the venue's list no longer has


class PublicFeed:
    """Apply decoded public messages. One writer: the engine.

    Args:
        core: the compiled core, with a slot for each of `names` in order.
        names: configured instruments.
        currency: the account's; an instrument quoted in another has no conversion, and the gates refuse it.
        count_in: called with number, base, quote and precisions of an instrument whose rules are in force.
        digits: (price, quantity) precision that an instrument's orders and inventory are counted in, None for none yet.
        infer_precision: take the precision from a snapshot's digits where no instrument message came (recordings only).

    Attributes:
        specs: trading rules by name, as the venue gave them or inferred. Those of a name that has left the venue's list
            stay, with the status UNLISTED: what is held is valued and sold by them.
        unlisted_count: how often a configured name left the list. notes: (level, event, fields) to be logged.
        inferred: names whose precision was inferred.
        history_rows: bars of history taken, by (name, interval in minutes).
    """

    def __init__(self, core: Core, names: tuple[str, ...], currency: str, *, infer_precision: bool,
                 digits: Callable[[int], tuple[int, int] | None],
                 count_in: Callable[[int, str, str, int, int], None]) -> None:
        self.core = core
        self.currency = currency
        self.numbers = {name: number for number, name in enumerate(names)}
        self.infer_precision = infer_precision
        self.specs: dict[str, InstrumentSpec] = {}
        self.inferred: set[str] = set()
        self.history_rows: dict[tuple[str, int], int] = {}
        self.unknown_name_count = 0
        self.unlisted_count = 0
        self.notes: list[tuple[str, str, dict[str, Any]]] = []
        self._blocked: set[str] = set()
        self._digits = digits
        self._count_in = count_in
        self._waiting: dict[str, InstrumentSpec] = {}   # rules with other digits than those in force

    def on_instrument(self, update: InstrumentUpdate) -> None:
        """Take trading rules: a snapshot lists every instrument that there is, an update those that changed."""
        for name in update.left(self.specs.keys() - self.inferred):
            self._unlist(name)
        for name in update.skipped:
            if name in self.numbers:
                self._block(name)
        for spec in update.listed():
            if spec.name in self.numbers:
                self._configure(spec)
                if spec.name in self._waiting:
                    self.notes.append(("warning", "new digits wait for what is counted in the old ones",
                                       {"instrument": spec.name}))

    def _unlist(self, name: str) -> None:
        """Renamed or delisted: nothing is opened, what rests is pulled, and what is held keeps its rules and digits."""
        self._waiting.pop(name, None)
        spec, number = self.specs[name], self.numbers[name]
        if spec.status == UNLISTED:
            return
        self.specs[name] = msgspec.structs.replace(spec, status=UNLISTED)
        self.core.slots[number].online = False
        self.core.book_fault(number, BookFault.FAULT_VENUE_STATE)
        self.core.drop_book(number, BookFault.FAULT_VENUE_STATE)
        self.unlisted_count += 1
        self.notes.append(("error", "instrument left the venue's list: renamed or delisted", {"instrument": name}))

    def _block(self, name: str) -> None:
        """Rules that cannot be read or meant: what was known is no longer true, and digits mean nothing without them."""
        self.specs.pop(name, None)
        self._blocked.add(name)
        self.core.slots[self.numbers[name]].configured = False
        self.core.book_fault(self.numbers[name], BookFault.FAULT_PRECISION_UNKNOWN)

    def _configure(self, spec: InstrumentSpec) -> None:
        """Give the core an instrument's rules; the instrument is blocked where they cannot be meant."""
        number = self.numbers[spec.name]
        self._waiting.pop(spec.name, None)
        digits = (spec.price_precision, spec.qty_precision)
        if self._digits(number) not in (None, digits) and min(digits) >= 0 and max(digits) <= PRECISION_MAX:
            self._waiting[spec.name] = spec
            self.core.drop_book(number, BookFault.FAULT_PRECISION_UNKNOWN)
        else:
            self._apply(number, spec)

    def take_waiting(self, may_change: Callable[[int], bool]) -> list[str]:
        """Change digits where no order is left that is counted in the old ones; returns the names that waited for it.

        Until then openings are held back and pulled, because there is no verified book. For a timer: positions are
        marked in the new digits before the next pass.
        """
        ripe = {name: spec for name, spec in self._waiting.items() if may_change(self.numbers[name])}
        for name, spec in ripe.items():
            del self._waiting[name]
            self._blocked.add(name)  # its book needs a snapshot
            self._apply(self.numbers[name], spec)
        return list(ripe)

    def _apply(self, number: int, spec: InstrumentSpec) -> None:
        known = self.specs.get(spec.name)
        if spec != known:
            try:
                self.core.configure(
                    number, spec.price_precision, spec.qty_precision, spec.price_increment_raw, spec.qty_increment_raw,
                    spec.qty_min_raw, to_raw(spec.cost_min, MONEY_PRECISION),
                    10**MONEY_PRECISION if spec.quote == self.currency else 0,
                )
            except (ValueError, OverflowError):
                self.core.count_malformed()
                self._block(spec.name)
                return
            if spec.name in self._blocked:
                # Updates were lost while it was blocked: its book needs a snapshot, which this asks for.
                self._blocked.discard(spec.name)
                self.core.book_fault(number, BookFault.FAULT_PRECISION_UNKNOWN)
            elif known is not None and known.status == UNLISTED:
                # A snapshot that was on its way when the name left is of the time before.
                self.core.drop_book(number, BookFault.FAULT_NO_SNAPSHOT)
                self.notes.append(("info", "instrument is in the venue's list again", {"instrument": spec.name}))
        self.core.slots[number].online = spec.status == "online"
        self.specs[spec.name] = spec
        self._count_in(number, spec.base, spec.quote, spec.price_precision, spec.qty_precision)

    def on_book(self, message: BookMessage) -> None:
        """Apply a book message; the first snapshot of a recording may tell the precision."""
        number = self._number(message.name)
        if number is None:
            return
        if self.infer_precision and message.snapshot and message.name not in self.specs:
            self._infer(message)
        spec = self.specs.get(message.name)
        if spec is None:
            self.core.book_fault(number, BookFault.FAULT_PRECISION_UNKNOWN)
            return
        exch_ns = message.timestamp_ns or 0
        if not 0 <= (message.checksum or 0) <= CHECKSUM_MAX or not 0 <= exch_ns <= INT64_MAX:
            self.core.count_malformed()
            self.core.book_fault(number, BookFault.FAULT_MALFORMED)
            return
        try:
            bids = _levels(message.bids, spec)
            asks = _levels(message.asks, spec)
        except ValueError:
            self.core.book_fault(number, BookFault.FAULT_EXCESS_DIGITS)
            return
        self.core.apply_book(number, message.snapshot, bids, asks, message.checksum, exch_ns)

    def _infer(self, message: BookMessage) -> None:
        """Precision as the number of digits in a snapshot: the venue prints all of them, zeros included."""
        levels = message.bids + message.asks
        if not levels:
            return
        price_precision = max(-int(price.as_tuple().exponent) for price, _ in levels)
        qty_precision = max(-int(qty.as_tuple().exponent) for _, qty in levels)
        base, _, quote = message.name.partition("/")
        self.inferred.add(message.name)
        self._configure(InstrumentSpec(
            name=message.name, base=base, quote=quote, status="online", price_precision=max(price_precision, 0),
            qty_precision=max(qty_precision, 0), price_increment_raw=1, qty_increment_raw=1, qty_min_raw=1,
            cost_precision=0, cost_min=Decimal(0),
        ))

    def on_trades(self, trades: tuple[Trade, ...]) -> None:
        """Apply trades from the tolerant path."""
        for trade in trades:
            number = self._number(trade.name)
            spec = self.specs.get(trade.name)
            if number is None or spec is None:
                continue
            try:
                price_raw = _raw(trade.price, spec.price_precision)
                qty_raw = _raw(trade.qty, spec.qty_precision)
            except ValueError:
                self.core.count_malformed()
                continue
            side = SIDES.get(trade.side)
            if side is None or not -1 <= trade.trade_id <= INT64_MAX or not 0 <= trade.timestamp_ns <= INT64_MAX:
                self.core.count_malformed()
                continue
            self.core.apply_trade(number, side, price_raw, qty_raw, trade.trade_id, trade.timestamp_ns)

    def on_ticker(self, message: TickerMessage) -> None:
        """Apply a ticker from the tolerant path; without a whole top of book it is no evidence."""
        number = self._number(message.name)
        spec = self.specs.get(message.name)
        if number is None or spec is None:
            return
        fields = (message.bid, message.bid_qty, message.ask, message.ask_qty)
        if any(value is None for value in fields):
            return
        precisions = (spec.price_precision, spec.qty_precision) * 2
        try:
            bid, bid_qty, ask, ask_qty = [_raw(value, precision) for value, precision in zip(fields, precisions, strict=True)
                                          if value is not None]
        except ValueError:
            self.core.count_malformed()
            return
        try:
            last_raw = _raw(message.last, spec.price_precision) if message.last is not None else 0
        except ValueError:
            last_raw = 0    # the statistics of the day prove nothing of the quote
        self.core.apply_ticker(number, bid, bid_qty, ask, ask_qty, last_raw)

    def on_ohlc(self, message: OhlcMessage, wall_ns: int) -> None:
        """Load a snapshot's rows as history. Updates are not used: bars are built from trades."""
        if not message.snapshot:
            return
        groups: dict[tuple[str, int], list[OhlcRow]] = {}
        for row in message.rows:
            groups.setdefault((row.name, row.interval_min), []).append(row)
        for (name, minutes), rows in groups.items():
            number = self._number(name)
            if number is None or minutes not in INTERVALS or name not in self.specs:
                continue
            rows.sort(key=lambda row: row.begin_ns)
            loaded = [self._load(number, row, wall_ns) for row in rows]
            taken = sum(row or 0 for row in loaded)
            self.history_rows[name, minutes] = self.history_rows.get((name, minutes), 0) + taken
            if None not in loaded:
                self.core.history_loaded(number, INTERVALS[minutes], rows[0].begin_ns, wall_ns,
                                         rows[-1].begin_ns + minutes * NS_PER_MIN > wall_ns)
            if taken:
                self.core.bars_loaded(number, INTERVALS[minutes])

    def _load(self, number: int, row: OhlcRow, wall_ns: int) -> int | None:
        """Load a row; returns 1 where it was taken, 0 where it was not needed, None where it cannot be read."""
        spec = self.specs[row.name]
        try:
            open_raw, high_raw, low_raw, close_raw = (
                _raw(value, spec.price_precision) for value in (row.open, row.high, row.low, row.close))
            qty_raw = _raw(row.volume, spec.qty_precision)
        except ValueError:
            self.core.count_malformed()
            return None
        value = (row.vwap if row.vwap is not None else row.close) * row.volume
        if value < 0 or not 0 <= row.trade_count <= INT64_MAX or not 0 <= row.begin_ns <= INT64_MAX:
            self.core.count_malformed()
            return None
        value_raw = min(int(value.scaleb(MONEY_PRECISION)), INT64_MAX)
        forming = row.begin_ns + row.interval_min * NS_PER_MIN > wall_ns
        return int(self.core.load_bar(number, INTERVALS[row.interval_min], forming, row.begin_ns, open_raw, high_raw,
                                      low_raw, close_raw, qty_raw, value_raw, row.trade_count, wall_ns))

    def _number(self, name: str) -> int | None:
        number = self.numbers.get(name)
        if number is None:
            self.unknown_name_count += 1
        return number


def _raw(value: Decimal, precision: int) -> int:
    """Raw integer of a number that is not negative; ValueError where digits exceed the precision or it an int64."""
    raw = to_raw(value, precision)
    if not 0 <= raw <= INT64_MAX:
        raise ValueError(f"{value} does not fit an int64")
    return raw


def _levels(levels: tuple[tuple[Decimal, Decimal], ...], spec: InstrumentSpec) -> list[tuple[int, int]]:
    """Raw levels; ValueError as `_raw`."""
    return [(_raw(price, spec.price_precision), _raw(qty, spec.qty_precision)) for price, qty in levels]
