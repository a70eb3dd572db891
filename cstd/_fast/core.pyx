"""Core: the compiled engine as Python sees it.

Purpose: configure the engine, feed it events that are not frames, apply what the tolerant path decoded, move orders and
positions, and read what happened. Nothing here can make an order frame: the gateway's methods are not callable from
Python, and what is here reaches them only through wishes, `cancel_order` and the operator's flatten flag.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memcpy, memset

from cstd._fast.bars cimport BarSeries
from cstd._fast.codes cimport (
    ACTION_ADD, ACTION_AMEND, ACTION_CANCEL, APPROVAL_GIVEN, BUY, DROP_DIGITS, EVENT_TIMER, EXIT, FAULT_NO_SNAPSHOT, FAULT_PRECISION_UNKNOWN, OPENING, ORDER_CANCEL_PENDING, ORDER_FREE, ORDER_REJECTED, ORDER_UNKNOWN, REFUSE,
)
from cstd._fast.engine cimport FastEngine, agent_fn
from cstd._fast.features cimport copy_indicators, on_book_break, on_tape_begin, set_vpin_bucket
from cstd._fast.gates cimport DecisionRow, Limits
from cstd._fast.gateway cimport (
    BOOK_FAULTS, COUNT_MALFORMED, COUNT_RESYNCS, COUNT_TIMERS, DECISIONS_KEPT, GATE_CODES, TAPE_KEPT,
)
from cstd._fast.hist cimport cycles
from cstd._fast.indicators cimport BarIndicators
from cstd._fast.orders cimport ORDERS_MAX, OrderRow
from cstd._fast.port cimport OrderPort
from cstd._fast.slot cimport AGENTS_MAX, InstrumentSlot
from cstd._fast.strategy cimport STRATEGY_PARAMS, strategy_fn
from cstd._fast.waiting cimport WAITING_MAX
from cstd._fast.wire cimport INSTRUMENTS_MAX, WireTrade

from cstd._fast.gateway import COUNTERS

cdef enum:
    SECOND_NS = 1000000000      # a constant, so that dividing by it is not a division

# Instruments that a tick looks at in turn. Touching one that rests costs about a microsecond of cache misses: a thousand at
# once would hold up the frames behind them. Sixty-four a tick of 100 ms reach a thousand within 1.6 s.
timer_turn = TIMER_TURN

cdef enum:
    VPIN_BUCKETS_A_DAY = 50     # the customary number: a bucket is a fiftieth of a day's volume
    HOURS_A_DAY = 24


cdef int64_t _day_qty_raw(InstrumentSlot slot) noexcept:
    """Quantity traded in the last 24 closed hourly bars; 0 when there are fewer, which leaves VPIN not ready."""
    cdef int64_t total = 0
    cdef int back
    if slot.bars.closed_count(2) < HOURS_A_DAY:
        return 0
    for back in range(HOURS_A_DAY):
        total += slot.bars.closed_bar(2, back).qty_raw
    return total


cdef extern from "check.h" nogil:
    void cstd_check(bint holds, const char *what)


POW10 = tuple(10 ** n for n in range(19))


cdef class Core(FastEngine):
    """The engine's Python face; one per process. Arguments as Gateway: recorder, lifecycle table, order port."""

    # Configuration, at boot.

    def set_identity(self, bytes prefix, bytes account_hash8, int64_t boot_epoch, bytes config_hash8,
                     bytes agents_hash8):
        """Owner prefix (2 bytes), account and configuration hashes (8 bytes each) and the boot epoch."""
        if len(prefix) != 2 or len(account_hash8) != 8 or len(config_hash8) != 8 or len(agents_hash8) != 8:
            raise ValueError("identity fields have fixed lengths: 2, 8, 8, 8")
        memcpy(self.prefix, <const char *>prefix, 2)
        memcpy(self.account_hash, <const char *>account_hash8, 8)
        memcpy(self.config_hash8, <const char *>config_hash8, 8)
        memcpy(self.agents_hash8, <const char *>agents_hash8, 8)
        self.boot_epoch = boot_epoch

    def set_strategy(self, int code, size_t address, params, *, bint own=False, bint fresh=False):
        """Strategy by code and address of its compiled function; params: up to 16 integers. Address 0: none.

        own: a user's, whose wishes are looked at first. fresh: another than before. What stopped its openings is over.
        """
        cdef int i
        if len(params) > STRATEGY_PARAMS:
            raise ValueError(f"{len(params)} strategy parameters, at most {STRATEGY_PARAMS}")
        memset(self.params, 0, sizeof(self.params))
        for i in range(len(params)):
            self.params[i] = params[i]
        self.strategy = <strategy_fn>address
        self.strategy_code = code
        self.strategy_own = own
        for slot in self.slots:
            slot.begin_strategy(fresh)

    def set_agents(self, addresses, per_bar, *, bint fresh=False):
        """Agents by address of their compiled kernels; per_bar: True for those called at bar close; fresh: others than before."""
        cdef int i
        cdef size_t address
        if len(addresses) > AGENTS_MAX or len(addresses) != len(per_bar):
            raise ValueError(f"{len(addresses)} agents, at most {AGENTS_MAX}")
        for i in range(len(addresses)):
            address = addresses[i]
            if address == 0:
                raise ValueError(f"agent {i} has no address")
            self.agents[i] = <agent_fn>address
            self.agent_per_bar[i] = bool(per_bar[i])
        self.agent_count = len(addresses)
        for slot in self.slots if fresh else ():
            slot.forget_agents()

    def reserve_ids(self):
        """Make room in the table of client order ids, as every timer does. Raises MemoryError."""
        if self._grow_ids() != 0:
            raise MemoryError("client order ids")

    def set_port(self, OrderPort port):
        """Where order frames go from now on."""
        self.port = port

    def add_slot(self, bytes name, int depth):
        """Add an instrument, not configured yet; returns its number."""
        cdef int number = len(self.slots)
        if number >= INSTRUMENTS_MAX:
            raise ValueError(f"more than {INSTRUMENTS_MAX} instruments")
        slot = InstrumentSlot(number, name, depth)
        slot.bars = BarSeries(0, 0)
        slot.m1 = BarIndicators(<int64_t>60 * SECOND_NS)
        slot.m5 = BarIndicators(<int64_t>300 * SECOND_NS)
        slot.h1 = BarIndicators(<int64_t>3600 * SECOND_NS)
        self.slots.append(slot)
        self.correlations.add(number)
        self.scanner.set_instrument(number, name, 0, 0)
        return number

    def configure(self, int number, int price_precision, int qty_precision, int64_t tick_raw, int64_t lot_raw,
                  int64_t qty_min_raw, int64_t cost_min_e8, int64_t rate_e8):
        """Set an instrument's trading rules. A change of precision drops its book and its bars.

        rate_e8: account currency per unit of quote currency in 10**-8.
        """
        cdef InstrumentSlot slot = self.slots[number]
        cdef int i
        if tick_raw <= 0 or lot_raw <= 0 or qty_min_raw < 0:
            raise ValueError(f"increments of {slot.name!r} must be positive: {tick_raw}, {lot_raw}, {qty_min_raw}")
        cdef bint rescaled = (slot.wire.price_precision != price_precision
                              or slot.wire.qty_precision != qty_precision)
        self.scanner.set_instrument(number, slot.name, price_precision, qty_precision)
        if rescaled or not slot.configured:
            # Updates were lost, or what is held has another scale: the book waits for a snapshot.
            self.drop_book(number, FAULT_NO_SNAPSHOT)
        if rescaled:
            if self.waiting.live:
                self._drop_waiting(number, DROP_DIGITS)
            for i in range(TAPE_KEPT):
                if self.tape[i].instrument == number:
                    self.tape[i].instrument = -1  # printed in the new digits it would be another trade
            # The mark of a position keeps its value: the last bid changes its scale with its digits.
            slot.rest_bid_raw = slot.reference_raw = slot.watch.stop2_raw = slot.watch.target_raw = slot.watch.hits = 0
            slot.last_verified_bid_raw = (slot.last_verified_bid_raw * POW10[price_precision]
                                          // POW10[slot.wire.price_precision])
            slot.last_trade_raw = 0
            slot.bars = BarSeries(price_precision, qty_precision)
            self.correlations.forget(number)
            slot.m1 = BarIndicators(<int64_t>60 * SECOND_NS)
            slot.m5 = BarIndicators(<int64_t>300 * SECOND_NS)
            slot.h1 = BarIndicators(<int64_t>3600 * SECOND_NS)
        slot.wire.price_precision = price_precision
        slot.wire.qty_precision = qty_precision
        slot.price_scale = POW10[price_precision]
        slot.qty_scale = POW10[qty_precision]
        slot.price_unit = 1.0 / slot.price_scale
        slot.qty_unit = 1.0 / slot.qty_scale
        slot.tick_raw = tick_raw
        slot.lot_raw = lot_raw
        slot.qty_min_raw = qty_min_raw
        slot.cost_min_e8 = cost_min_e8
        slot.rate_e8 = rate_e8
        slot.bars.set_rate(rate_e8)
        slot.configured = True

    def set_correlations(self, double enter, double leave, int64_t span, int64_t returns_min, int64_t leave_bars,
                         int64_t prior):
        """How it is measured what moves together, as Correlations.tune; enter 0: not at all."""
        self.correlations.tune(self.slots, enter, leave, span, returns_min, leave_bars, prior)

    def set_limits(self, int number, limits):
        """Gate limits of one instrument: one record of decision.limits (dtype LIMITS_DTYPE)."""
        cdef InstrumentSlot slot = self.slots[number]
        cdef bytes raw = limits.tobytes()
        if len(raw) != sizeof(Limits):
            raise ValueError(f"limits record has {len(raw)} bytes, the gates expect {sizeof(Limits)}")
        memcpy(&slot.limits, <const char *>raw, sizeof(Limits))

    # Events.

    def frame(self, int link, bytes data, int64_t mono_ns, int64_t wall_ns):
        """`on_frame` for replay and tests."""
        return self.on_frame(link, <const char *>data, len(data), mono_ns, wall_ns)

    def batch_end(self, int link, int64_t mono_ns, int64_t wall_ns):
        """`end_batch` for replay and tests."""
        self.end_batch(link, mono_ns, wall_ns)

    def frames(self, int link, list rows):
        """Take frames (recv_ns, bytes), each a read batch of its own; a loop here costs less than two calls a frame."""
        cdef int64_t recv_ns
        cdef bytes data
        for recv_ns, data in rows:
            self.on_frame(link, <const char *>data, len(data), recv_ns, recv_ns)
            self.end_batch(link, recv_ns, recv_ns)

    def event(self, int kind, int tag, int64_t mono_ns, int64_t wall_ns, bytes payload):
        """Record one event that is not a frame and let the handler process it."""
        self.mono_ns = mono_ns
        self.wall_ns = wall_ns
        if self.recorder.input(kind, tag, mono_ns, wall_ns, <const char *>payload, len(payload)) != 0:
            self._halt(None)
        try:
            self.handler.on_event(kind, tag, payload, mono_ns, wall_ns)
        except Exception as error:
            self._halt(error)
        self.recorder.settle()

    def timer(self, int64_t mono_ns, int64_t wall_ns):
        """A tick: let the handler work, then close bars and run passes where time alone may change something.

        Each tick looks at every instrument with a position or a live order, and at TIMER_TURN others in turn. What a batch
        under way has touched has its pass at the end of the batch: until then more of its data is known to wait.
        """
        cdef int i, _turn
        cdef int first = self.touched_count if self.batch_open else 0
        self.mono_ns = mono_ns
        self.wall_ns = wall_ns
        self.counters[COUNT_TIMERS] += 1
        if self.recorder.input(EVENT_TIMER, 0, mono_ns, wall_ns, NULL, 0) != 0:
            self._halt(None)
        for i in range(self.held_count):
            self._time_passes(self.held[i])
        for i in range(self.orders.live_count):
            self._time_passes(self.orders.rows[self.orders.live[i]].instrument)
        for i in range(WAITING_MAX if self.waiting.live else 0):
            if self.waiting.rows[i].state == APPROVAL_GIVEN:
                self._time_passes(self.waiting.rows[i].instrument)
        for _turn in range(min(TIMER_TURN, len(self.slots))):
            self.timer_next = self.timer_next % len(self.slots)
            self._time_passes(self.timer_next)
            self.timer_next += 1
        self.correlations.age(self.counters[COUNT_TIMERS], wall_ns)
        try:
            self.handler.on_timer(mono_ns, wall_ns)
        except Exception as error:
            self._halt(error)
        self._run_passes(first, True)
        self._grow_ids()
        if self.attention:
            self.attention = False
            try:
                self.handler.on_attention(mono_ns, wall_ns)
            except Exception as error:
                self._halt(error)
        self.recorder.settle()

    cdef void _time_passes(self, int number) noexcept:
        """Close the bars of an instrument whose time is over, and have a pass run over it."""
        cdef InstrumentSlot slot = <InstrumentSlot>PyList_GET_ITEM(self.slots, number)
        cdef int closed = slot.bars.on_time(self.wall_ns)
        if closed:
            self._bars_closed(slot, closed)
        self._touch(slot, cycles())

    # The tolerant path.

    def apply_book(self, int number, bint snapshot, list bids, list asks, checksum, int64_t exch_ns):
        """Apply a book message that the scanner did not know; levels are (price_raw, qty_raw). Returns the fault."""
        cdef InstrumentSlot slot = self.slots[number]
        slot.data_mono_ns = self.mono_ns
        slot.frames += 1
        if not slot.configured:
            fault = slot.book.set_fault(FAULT_PRECISION_UNKNOWN)
        else:
            fault = slot.book.apply_levels(snapshot, bids, asks, checksum, exch_ns)
        self._book_judged(slot, fault, checksum is not None)
        self._touch(slot, cycles())
        return fault

    def book_fault(self, int number, int fault):
        """Block an instrument for a reason found outside the scanner."""
        cdef InstrumentSlot slot = self.slots[number]
        slot.book.set_fault(fault)
        self._book_judged(slot, fault, False)
        self._touch(slot, cycles())

    def drop_book(self, int number, int fault):
        """Forget a book (link down, resync): it waits for a snapshot."""
        cdef InstrumentSlot slot = self.slots[number]
        slot.book.clear(fault)
        if slot.unverified_since_ns == 0:
            slot.unverified_since_ns = self.mono_ns
        on_book_break(&slot.features, slot.row, slot.valid)

    def apply_trade(self, int number, int side, int64_t price_raw, int64_t qty_raw, int64_t trade_id, int64_t exch_ns):
        """Apply one trade from the tolerant path; trade_id -1 where the dialect has none."""
        cdef WireTrade *trade = &self.scanner.trades[0]
        cdef InstrumentSlot slot = self.slots[number]
        trade.side = side
        trade.price_raw = price_raw
        trade.qty_raw = qty_raw
        trade.trade_id = trade_id
        trade.exch_ns = exch_ns
        self.scanner.out.n_trades = 1
        self.scanner.out.snapshot = False
        self.scanner.out.excess_digits = 0
        slot.data_mono_ns = self.mono_ns
        self._trades(slot, cycles())

    def apply_ticker(self, int number, int64_t bid_raw, int64_t bid_qty_raw, int64_t ask_raw, int64_t ask_qty_raw,
                     int64_t last_raw=0):
        """Apply a ticker's top of book from the tolerant path."""
        cdef InstrumentSlot slot = self.slots[number]
        self.scanner.out.bid.price_raw = bid_raw
        self.scanner.out.bid.qty_raw = bid_qty_raw
        self.scanner.out.ask.price_raw = ask_raw
        self.scanner.out.ask.qty_raw = ask_qty_raw
        self.scanner.out.excess_digits = 0
        self.scanner.out.last_raw = last_raw
        slot.data_mono_ns = self.mono_ns
        self._ticker(slot)

    def last_frame_ns(self, int link):
        """Monotonic time of a link's last frame, 0 before the first."""
        return self.link_frame_ns[link & 3]

    def volume_hour(self, int number):
        """Traded value of the last 60 minutes in 10**-8 account currency, None while history does not cover them."""
        cdef InstrumentSlot slot = self.slots[number]
        if not slot.bars.hour_ready(self.wall_ns):
            return None
        return slot.bars.value_hour_acct_raw(self.wall_ns)

    def refresh_slow_budget(self, int link):
        """A link came up: what the tolerant path may spend on it is whole again."""
        self.slow_until_ns[link & 3] = 0
        self.flooded[link & 3] = False

    def take_resyncs(self):
        """Numbers of the instruments whose book wants a resync, in order; the wish is taken back."""
        cdef int i
        cdef InstrumentSlot slot
        wanted = []
        for i in range(len(self.slots)):
            slot = <InstrumentSlot>PyList_GET_ITEM(self.slots, i)
            if slot.resync_wanted:
                slot.resync_wanted = False
                wanted.append(i)
        return wanted

    def count_malformed(self):
        """Count a frame that is no valid message."""
        self.counters[COUNT_MALFORMED] += 1

    def count_resync(self):
        """Count a resync that was started."""
        self.counters[COUNT_RESYNCS] += 1

    def tape_begins(self, int number, int64_t from_wall_ns):
        """The trade stream of an instrument is complete from here on; INT64_MAX: it is lost until it begins again."""
        cdef InstrumentSlot slot = self.slots[number]
        slot.bars.begin_tape(from_wall_ns)
        on_tape_begin(&slot.features, self.mono_ns)
        slot.features.has_tape = from_wall_ns != INT64_MAX

    def load_bar(self, int number, int interval, bint forming, int64_t start_ns, int64_t open_raw, int64_t high_raw,
                 int64_t low_raw, int64_t close_raw, int64_t qty_raw, int64_t value_acct_raw, int64_t trades,
                 int64_t as_of_ns):
        """Load one bar of history, oldest first; forming: the last row, complete up to as_of_ns. Returns 1 if taken."""
        cdef InstrumentSlot slot = self.slots[number]
        if forming:
            return slot.bars.load_forming(interval, start_ns, open_raw, high_raw, low_raw, close_raw, qty_raw,
                                          value_acct_raw, trades, as_of_ns)
        return slot.bars.load_bar(interval, start_ns, open_raw, high_raw, low_raw, close_raw, qty_raw, value_acct_raw,
                                  trades)

    def history_loaded(self, int number, int interval, int64_t from_ns, int64_t as_of_ns, bint forming):
        """Say that the rows loaded are the venue's whole history of that time; forming: with a row for its end."""
        cdef InstrumentSlot slot = self.slots[number]
        slot.bars.join_history(interval, from_ns, as_of_ns, forming)

    def bars_loaded(self, int number, int interval):
        """Feed the loaded history of one interval to its indicators."""
        cdef InstrumentSlot slot = self.slots[number]
        cdef BarIndicators indicators = (slot.m1, slot.m5, slot.h1)[interval]
        slot.bars.feed_all(interval, indicators)
        copy_indicators(indicators, interval, slot.row, slot.valid)
        slot.bars_changed = True
        if interval == 1:
            self.correlations.history_loaded(self.slots, number)
        if interval == 2:
            set_vpin_bucket(&slot.features, _day_qty_raw(slot) / VPIN_BUCKETS_A_DAY)

    # Orders and positions.

    def find_order(self, bytes cl_ord_id):
        """Table index of a live order by client order id, -1 if it is none of ours."""
        return self.orders.find(<const char *>cl_ord_id, len(cl_ord_id))

    def find_request(self, int64_t req_id):
        """(table index, codes.OrderAction) of the live order that a request belongs to; (-1, 0) if none."""
        cdef int i
        cdef OrderRow *row
        for i in range(self.orders.live_count):
            row = &self.orders.rows[self.orders.live[i]]
            if row.req_id == req_id:
                return self.orders.live[i], ACTION_ADD
            if row.cancel_req_id == req_id:
                return self.orders.live[i], ACTION_CANCEL
            if row.amend_req_id == req_id:
                return self.orders.live[i], ACTION_AMEND
        return -1, 0

    def live_orders(self):
        """Table indices of all live orders, oldest first."""
        cdef int i
        return [self.orders.live[i] for i in range(self.orders.live_count)]

    def order(self, int index):
        """One live order as a dict of plain values (raw integers)."""
        cdef OrderRow *row
        if not 0 <= index < ORDERS_MAX or self.orders.rows[index].state == ORDER_FREE:
            raise KeyError(index)
        row = &self.orders.rows[index]
        return {
            "index": index, "cl_ord_id": row.cl_ord_id[:18].decode("ascii"),
            "order_id": (<bytes>row.order_id).decode("ascii"), "instrument": row.instrument, "state": row.state,
            "kind": row.kind, "side": row.side, "time_in_force": row.time_in_force, "post_only": row.post_only,
            "price_raw": row.price_raw, "qty_raw": row.qty_raw, "filled_raw": row.filled_raw,
            "leaves_raw": self.orders.leaves(row), "mid2_raw": row.decided_mid2_raw,
            "sent_mono_ns": row.sent_mono_ns, "sent_wall_ns": row.sent_wall_ns, "expire_wall_ns": row.expire_wall_ns,
            "deadline_wall_ns": row.deadline_wall_ns, "intent_seq": row.intent_seq, "episode": row.episode,
            "req_id": row.req_id, "cancel_sent": row.cancel_sent, "cancel_mono_ns": row.cancel_mono_ns,
            "cancel_reason": row.cancel_reason, "changed_mono_ns": row.changed_mono_ns, "strategy": row.strategy,
            "amend_qty_raw": row.amend_qty_raw, "amend_price_raw": row.amend_price_raw, "amended_mono_ns": row.amended_mono_ns,
            "follows": bool(row.follows), "follow_amends": row.follow_amends, "exit_reason": row.exit_reason,
        }

    def move_order(self, int index, int event):
        """Apply a lifecycle event; returns the new state or -1 where the table has no such step."""
        if not 0 <= index < ORDERS_MAX or self.orders.rows[index].state == ORDER_FREE:
            raise KeyError(index)
        return self.orders.move(index, event, self.mono_ns)

    def set_order_id(self, int index, bytes order_id):
        """Remember the venue's id of an order (at most 23 characters)."""
        if not 0 < len(order_id) < 24:
            raise ValueError(f"venue order id {order_id!r} does not fit")
        memset(self.orders.rows[index].order_id, 0, 24)
        memcpy(self.orders.rows[index].order_id, <const char *>order_id, len(order_id))

    def order_filled(self, int index, int64_t filled_raw):
        """Set an order's total filled quantity (never down)."""
        cstd_check(0 <= index < ORDERS_MAX, b"an order is in the table")
        if filled_raw > self.orders.rows[index].filled_raw:
            self.orders.rows[index].filled_raw = filled_raw

    def cancel_all(self):
        """Cancel every order of the account through the gateway, hand-placed ones too."""
        self._cancel_all()

    def retry_cancel(self, int index):
        """Allow a further cancel of an order whose cancel was refused or unanswered."""
        cstd_check(0 <= index < ORDERS_MAX, b"an order is in the table")
        self.orders.rows[index].cancel_sent = 0

    def cancel_order(self, int index, int reason):
        """Cancel one live order through the gateway; once until `retry_cancel`. Returns False if one is under way."""
        if not 0 <= index < ORDERS_MAX or self.orders.rows[index].state == ORDER_FREE:
            raise KeyError(index)
        if self.orders.rows[index].cancel_sent:
            return False
        self._cancel(index, reason)
        return True

    def adopt_order(self, int number, dict order):
        """Take up an order of ours that the venue shows and the journal lost; it counts as open and is UNKNOWN before."""
        cdef int index = self.orders.take()
        cdef OrderRow *row
        if index < 0:
            raise ValueError("order table is full")
        row = &self.orders.rows[index]
        row.instrument = number
        row.kind = OPENING if order["side"] == BUY else EXIT
        row.side = order["side"]
        row.price_raw = order["price_raw"]
        row.qty_raw = order["qty_raw"]
        row.filled_raw = order["filled_raw"]
        row.sent_mono_ns = row.changed_mono_ns = self.mono_ns
        row.sent_wall_ns = order["opened_wall_ns"]
        row.expire_wall_ns = row.deadline_wall_ns = self.wall_ns
        row.last_verdict = REFUSE
        row.state = ORDER_UNKNOWN
        memcpy(row.cl_ord_id, <const char *>(<bytes>order["cl_ord_id"]), 18)
        return index

    def close_order(self, int index):
        """Take a final order out of the table; tells the strategy and the collar ladder how it ended.

        Raises ValueError: the order is not in a final state.
        """
        cdef OrderRow *row
        cdef InstrumentSlot slot
        last = self.order(index)
        row = &self.orders.rows[index]
        if row.state < ORDER_CANCEL_PENDING + 1 or row.state == ORDER_UNKNOWN:
            raise ValueError(f"order {last['cl_ord_id']} is not final")
        slot = self.slots[row.instrument]
        if row.kind == OPENING:
            slot.openings_ended += 1
        elif row.post_only:
            slot.quote_ended(row.state == ORDER_REJECTED, self.mono_ns)
        else:
            slot.exits_ended += 1
            slot.exit_attempts = slot.exit_attempts + 1 if row.filled_raw == 0 else 0
            slot.exit_wished_mono_ns = 0
            if row.state == ORDER_REJECTED:
                # What the venue refused once it refuses again: asking without a pause only spends the rate counter.
                slot.exit_refusals += 1
                slot.exit_not_before_ns = self.mono_ns + (<int64_t>1 << min(slot.exit_refusals, 5)) * SECOND_NS
            else:
                slot.exit_refusals = 0
        self.orders.release(index)
        return last

    # What others look at.

    def counter_values(self):
        """All counters as {name: value}."""
        cdef int i
        return {COUNTERS[i]: self.counters[i] for i in range(len(COUNTERS))}

    def fault_counts(self):
        """Book faults by BookFault code; by gate code: refusals it was the first to fail of, failures, failures only noted."""
        cdef int i
        return ([self.book_faults[i] for i in range(BOOK_FAULTS)], [self.refused_by[i] for i in range(GATE_CODES)],
                [self.failed_by[i] for i in range(GATE_CODES)], [self.noted_by[i] for i in range(GATE_CODES)])

    def decision_rows(self, int n):
        """The last n decision rows, newest last, as bytes of one DecisionRow each."""
        cdef int64_t i
        cdef int64_t first = self.decision_count - min(n, DECISIONS_KEPT)
        if first < 0:
            first = 0
        return [PyBytes_FromStringAndSize(<char *>&self.decisions[i % DECISIONS_KEPT], sizeof(DecisionRow))
                for i in range(first, self.decision_count)]

    def tape_rows(self, int n):
        """The last n trades, newest last: (wall_ns, instrument, side, price_raw, qty_raw)."""
        cdef int64_t i
        cdef int64_t first = self.tape_count - min(n, TAPE_KEPT)
        if first < 0:
            first = 0
        return [(self.tape[i % TAPE_KEPT].wall_ns, self.tape[i % TAPE_KEPT].instrument, self.tape[i % TAPE_KEPT].side,
                 self.tape[i % TAPE_KEPT].price_raw, self.tape[i % TAPE_KEPT].qty_raw)
                for i in range(first, self.tape_count) if self.tape[i % TAPE_KEPT].instrument >= 0]

    def votes(self, int number):
        """(status, direction, confidence, faults) of each agent on one instrument."""
        cdef int i
        cdef InstrumentSlot slot = self.slots[number]
        return [(slot.vote_status[i], slot.votes[i][0], slot.votes[i][1], slot.agent_faults[i])
                for i in range(self.agent_count)]
