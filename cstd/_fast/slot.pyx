"""InstrumentSlot: book, bars, features, evidence, churn and strategy state of one instrument.

Owns: nothing of its own initiative; the engine is the one writer. It exists so that a decision pass finds everything
about an instrument in one place. Position fields are written only when the ledger has booked a fill.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from cstd._fast.book cimport Book
from cstd._fast.features cimport features_init
from cstd._fast.rate cimport ADD_POINTS, Rate, amend_points, cancel_points, rate_admits, rate_charge, rate_raise, rate_settle
from cstd._fast.strategy cimport STRATEGY_STATE_WORDS

cdef extern from "gates_math.h" nogil:
    bint cstd_cost_reaches(int64_t price_raw, int64_t qty_raw, int64_t least_e8, int64_t price_scale, int64_t qty_scale)

cdef enum:
    EXIT_WAIT_MAX_NS = 32000000000      # what a refused exit waits at most


cdef int64_t window_count(EventWindow *window, int64_t now_ns, int64_t span_ns) noexcept nogil:
    """Events younger than span_ns; older ones are dropped. Amortised constant time."""
    while window.tail < window.head and now_ns - window.times_ns[window.tail % PARENTS_MAX] >= span_ns:
        window.tail += 1
    return window.head - window.tail


cdef void window_add(EventWindow *window, int64_t now_ns) noexcept nogil:
    """Remember one event; the ring's oldest makes room, which only a limit above PARENTS_MAX could notice."""
    if window.head - window.tail >= PARENTS_MAX:
        window.tail += 1
    window.times_ns[window.head % PARENTS_MAX] = now_ns
    window.head += 1


cdef class InstrumentSlot:
    """One instrument. depth: subscribed book depth. bars_per_year factors are the indicators' own."""

    def __cinit__(self, int number, bytes name, int depth):
        self.number = number
        self.name = name
        self.book = Book(depth)
        if len(name) >= <Py_ssize_t>sizeof(self.wire.name):
            raise ValueError(f"instrument name {name!r} is too long")
        memset(&self.wire, 0, sizeof(self.wire))
        memcpy(self.wire.name, <const char *>self.name, len(name))
        self.wire.name_n = len(name)
        memset(self.row, 0, sizeof(self.row))
        memset(self.valid, 0, sizeof(self.valid))
        memset(self.strategy_state, 0, sizeof(self.strategy_state))
        memset(&self.parents, 0, sizeof(self.parents))
        memset(&self.rate, 0, sizeof(self.rate))    # a limit of 0: nothing opens before a tier is known
        memset(self.agent_state, 0, sizeof(self.agent_state))
        memset(self.votes, 0, sizeof(self.votes))
        memset(self.vote_status, 0, sizeof(self.vote_status))
        memset(&self.limits, 0, sizeof(self.limits))
        memset(&self.watch, 0, sizeof(self.watch))
        features_init(&self.features)
        self.last_trade_id = -1
        self.last_episode[0] = self.last_episode[1] = -1
        self.price_scale = self.qty_scale = 1
        self.tick_raw = self.lot_raw = 1
        self.price_unit = self.qty_unit = 1.0
        self.unverified_since_ns = 0
        self.online = True
        self.bars_changed = True

    def feature_row(self):
        """(values, valid words) of the current feature row; for display."""
        cdef int i
        return [self.row[i] for i in range(FEATURE_COUNT)], (self.valid[0], self.valid[1])

    cdef bint takes(self, int64_t price_raw, int64_t qty_raw) noexcept nogil:
        """Whether the venue takes an order of this size: by its minimum quantity and its minimum cost."""
        return (qty_raw > 0 and qty_raw >= self.qty_min_raw
                and cstd_cost_reaches(price_raw, qty_raw, self.cost_min_e8, self.price_scale, self.qty_scale))

    cdef int64_t least_lots(self) noexcept nogil:
        """The least quantity of an order, whatever it costs."""
        return self.qty_min_raw if self.qty_min_raw > self.lot_raw else self.lot_raw

    cdef void quote_ended(self, bint refused, int64_t now_ns) noexcept nogil:
        """A sell that rested has ended: of the collar's steps it says nothing. What the venue refused waits before the next."""
        self.quote_refusals = self.quote_refusals + 1 if refused else 0
        if refused:
            self.quote_not_before_ns = now_ns + (<int64_t>1 << min(self.quote_refusals, 5)) * 1000000000

    cpdef bint too_little(self, int64_t qty_raw) noexcept:
        """Whether the venue takes no order for so much, in whole lots, at the last verified bid."""
        if qty_raw < self.least_lots():
            return True
        if self.last_verified_bid_raw <= 0:
            return False
        return not self.takes(self.last_verified_bid_raw, qty_raw - qty_raw % self.lot_raw)

    cpdef bint is_dust(self) noexcept:
        """Whether what is held is too little to sell; nothing held is."""
        return self.too_little(self.position_qty_raw)

    # What decides on this instrument. core.Core is the one caller, at a boot.

    def begin_strategy(self, bint fresh):
        """Count faults from now on; another strategy than before (fresh) begins with an empty state."""
        self.strategy_faults = self.strategy_fault_run = 0
        if fresh:
            memset(self.strategy_state, 0, sizeof(self.strategy_state))

    def aim(self, words):
        """Leave a strategy what it is to want, in the first words of its state. engine.ensemble is the one caller."""
        cdef int i
        if len(words) > STRATEGY_STATE_WORDS:
            raise ValueError(f"{len(words)} words, at most {STRATEGY_STATE_WORDS}")
        for i in range(len(words)):
            self.strategy_state[i] = words[i]

    def aimed(self, int count):
        """The first words of the strategy's state."""
        return [self.strategy_state[i] for i in range(min(count, <int>STRATEGY_STATE_WORDS))]

    def forget_agents(self):
        """Forget votes, faults and state of agents that are no more."""
        memset(self.agent_state, 0, sizeof(self.agent_state))
        memset(self.votes, 0, sizeof(self.votes))
        memset(self.vote_status, 0, sizeof(self.vote_status))
        memset(self.agent_faults, 0, sizeof(self.agent_faults))

    def follow(self, int64_t ticks, int64_t amends_max):
        """Let openings that joined the best bid follow it once it has moved by so many ticks, each so often; 0: never."""
        self.follow_ticks = ticks
        self.follow_amends_max = amends_max

    # When the position is left. orders.exit_policy is the one caller.

    def watch_exit(self, int64_t stop2_raw, int64_t target_raw, int64_t until_wall_ns):
        """Watch for a stop (bid + ask at or below it), a target (best bid), the end of its time; 0 for none of each.

        A lower stop is another question: a run of mids beyond the one before begins anew.
        """
        if stop2_raw < self.watch.stop2_raw:
            self.watch.hits = 0
        self.watch.stop2_raw = stop2_raw
        self.watch.target_raw = target_raw
        self.watch.until_wall_ns = until_wall_ns

    def watch_anew(self):
        """Nothing was seen for an unknown time (a boot): a run of mids beyond the stop begins anew."""
        self.watch.hits = 0

    def exit_watch(self):
        """(bid + ask that stops, target bid, end of its time in wall time, codes.ExitReason while it is being left)."""
        return self.watch.stop2_raw, self.watch.target_raw, self.watch.until_wall_ns, self.watch.reason

    # The venue's rate counter, in micro-points, at monotonic times. orders.rate_counters is the one caller.

    def rate_tune(self, int64_t threshold_micro, int64_t limit_micro, int64_t decay_micro_per_s, int64_t now_ns):
        """Count by another tier from now on; what stands stays."""
        if (threshold_micro, limit_micro, decay_micro_per_s) == self.rate_limits():
            return
        rate_settle(&self.rate, now_ns)
        self.rate.remainder = 0
        self.rate.threshold_micro = threshold_micro
        self.rate.limit_micro = limit_micro
        self.rate.decay_micro_per_s = decay_micro_per_s

    def rebase(self, int64_t now_ns):
        """Go on from now_ns where the clock began anew (the host restarted): what the counter shows stays, and an exit does
        not wait for a time of the old clock."""
        if self.rate.updated_ns > now_ns:
            self.rate.updated_ns = now_ns
        if self.exit_not_before_ns - now_ns > <int64_t>EXIT_WAIT_MAX_NS:
            self.exit_not_before_ns = now_ns
        if self.quote_not_before_ns - now_ns > <int64_t>EXIT_WAIT_MAX_NS:
            self.quote_not_before_ns = now_ns
        if self.watch.hit_since_ns > now_ns:
            self.watch.hit_since_ns = now_ns

    def rate_charge(self, int64_t points, int64_t now_ns):
        """Charge a request that does not name an order."""
        rate_charge(&self.rate, points, now_ns)

    def rate_raise(self, int64_t level_micro, int64_t now_ns):
        """Take the venue's word, where it is more than what stands."""
        rate_raise(&self.rate, level_micro, now_ns)

    def rate_micro(self, int64_t now_ns):
        """What stands at now_ns; reading changes nothing."""
        cdef Rate seen = self.rate
        rate_settle(&seen, now_ns)
        return seen.level_micro

    def rate_admits(self, int64_t points, int64_t now_ns):
        """Whether an opening or amend of so many points may leave; reading changes nothing."""
        cdef Rate seen = self.rate
        return bool(rate_admits(&seen, points, now_ns))

    def rate_points(self, int64_t age_ns):
        """Points of an add, an amend and a cancel at an order's age."""
        return ADD_POINTS, amend_points(age_ns), cancel_points(age_ns)

    def rate_limits(self):
        """(threshold, limit of openings and amends, decay a second)."""
        return self.rate.threshold_micro, self.rate.limit_micro, self.rate.decay_micro_per_s
