"""Which instruments move together, from their closed five-minute bars.

Purpose: say for every two instruments whether they are *linked*, and for an intent which of the instruments with exposure
belong to its cluster. Takes: bars as they close, and the history that was loaded. Gives: the members of a cluster.

**A return** needs two bars in consecutive intervals; **a pair** takes it when the other instrument has one of the same
interval. Nothing is filled forward: a coin that nobody traded has not stood still, it has said nothing. A common return is
taken when the second of the two bars closes, so that what is known of a pair follows from the two streams of bars and not
from which of them was quicker.

**The reading** of a pair is the exponentially weighted correlation of its common returns around zero (weight 2/(span + 1)
for the newest, as many returns as `span` of equal weight would have), shrunk toward 1: `prior` returns that agree wholly
are counted in. Pairs with fewer than `returns_min` have no reading and count as 1, and so do those whose last common return
is more than `span` intervals old, whose price never moved, or whose arithmetic is no number. That a return is too old is
looked at when either of the two closes a bar, and for one instrument a tick where neither does.

**A link** exists until it is measured away. It begins at a reading of `enter` or more, at once; it ends when `leave_bars`
readings in a row lie below `leave`. The count of low readings does not depend on whether a link exists, so a lower
threshold or a longer wait never leaves fewer links: tightening never admits more.

**A cluster** is what an instrument reaches over links through instruments that have exposure (a position or an opening on
its way). It is the same from whichever of its members one asks.

**Doubles decide a link**: a deviation from the rule that what a gate reads is quantised to an integer before it is compared.
`_step` compares products of sums as they are, because a correlation on a grid would be a quotient and a root of the same sums
and have the same edge one step further. What the rule is for holds: the sums are additions and products in one order, of
integers of the book's own scale, without contraction and without libm, so that a replay links the same at the same record; and
the gate itself compares integers, of which a link only says whose they are.

No clock, no libm (the square root is the processor's), no allocation after start. A closed bar costs one step for each
other instrument; loading history one pass over both rings for each; a tick one look at the pairs of one instrument.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from cpython.list cimport PyList_GET_ITEM

from cstd._fast.bars cimport BAR_CAPACITY, Bar, BarRing, BarSeries
from cstd._fast.slot cimport InstrumentSlot

cdef extern from "fmath.h" nogil:
    double fast_sqrt "cstd_sqrt"(double x)
    double absolute "cstd_abs"(double x)

cdef extern from *:
    """
    static inline int cstd_lowest_bit(uint64_t word) { return __builtin_ctzll(word); }
    #define CSTD_BAR_NS 300000000000LL
    """
    int lowest_bit "cstd_lowest_bit"(uint64_t word) noexcept nogil
    int64_t BAR_NS "CSTD_BAR_NS"

cdef enum:
    M5 = 1                      # bars.Interval
    COUNT_MAX = 65535

# Common returns that the bars kept in memory can show: two bars make the first one.
returns_max = SPAN_MAX
assert SPAN_MAX == BAR_CAPACITY - 1


cdef inline double change(const Bar *before, const Bar *bar) noexcept nogil:
    return <double>(bar.close_raw - before.close_raw) / <double>before.close_raw


cdef inline bint return_of(BarSeries bars, int back, double *out) noexcept nogil:
    """The simple return of a closed bar; whether there is one."""
    cdef const Bar *bar = bars.closed_bar(M5, back)
    cdef const Bar *before = bars.closed_bar(M5, back + 1)
    if bar == NULL or before == NULL or bar.start_ns - before.start_ns != BAR_NS:
        return False
    out[0] = change(before, bar)
    return True


cdef inline double signed_square(double x) noexcept nogil:
    return x * absolute(x)


cdef class Correlations:
    """Links between instruments. The engine is the only writer."""

    def __cinit__(self):
        memset(self.pairs, 0, sizeof(self.pairs))
        memset(self.links, 0, sizeof(self.links))
        memset(&self.rule, 0, sizeof(self.rule))
        memset(self.enter_at, 0, sizeof(self.enter_at))
        memset(self.leave_at, 0, sizeof(self.leave_at))
        memset(self.closed_at, 0xFF, sizeof(self.closed_at))
        memset(self.seen, 0, sizeof(self.seen))
        memset(self.has_return, 0, sizeof(self.has_return))
        memset(self.latest, 0, sizeof(self.latest))
        memset(self.exposed, 0, sizeof(self.exposed))
        memset(self.members, 0, sizeof(self.members))

    def __dealloc__(self):
        cdef int i
        for i in range(INSTRUMENTS_MAX):
            free(self.pairs[i])
            free(self.links[i])
        free(self.kept)

    cdef int add(self, int number) except -1:
        """Take in the next instrument, linked with all."""
        self.links[number] = <uint64_t *>calloc(MEMBER_WORDS, sizeof(uint64_t))
        self.count = number + 1
        self.words = (self.count + 63) // 64
        free(self.kept)
        self.kept = <uint64_t *>calloc(MEMBERS_KEPT * self.words, sizeof(uint64_t))
        if self.links[number] == NULL or self.kept == NULL:
            raise MemoryError("links of instruments")
        memset(self.links[number], 0xFF, MEMBER_WORDS * sizeof(uint64_t))
        return self.make_room() if self.on else 0

    cdef int make_room(self) except -1:
        """Allocate the pairs of the instruments that have none yet."""
        cdef int i
        for i in range(1, self.count):
            if self.pairs[i] == NULL:
                self.pairs[i] = <Pair *>calloc(i, sizeof(Pair))
                if self.pairs[i] == NULL:
                    raise MemoryError("pairs of instruments")
        return 0

    def tune(self, list slots not None, double enter, double leave, int64_t span, int64_t returns_min, int64_t leave_bars,
             int64_t prior):
        """Measure by these rules from now on; others than before begin with the bars that are in memory. enter 0: off.

        enter, leave: readings. span, returns_min, leave_bars, prior: counts of returns. Raises MemoryError.
        """
        cdef Link rule
        cdef int i
        memset(&rule, 0, sizeof(rule))
        rule.keep = <double>(span - 1) / <double>(span + 1)
        rule.enter = enter
        rule.leave = leave
        rule.prior = <double>prior
        rule.span = span
        rule.returns_min = max(returns_min, 1)
        rule.leave_bars = leave_bars
        if self.on == (enter > 0) and (not self.on or (
                rule.enter == self.rule.enter and rule.leave == self.rule.leave and rule.span == self.rule.span
                and rule.prior == self.rule.prior and rule.returns_min == self.rule.returns_min
                and rule.leave_bars == self.rule.leave_bars)):
            return
        if not 2 <= span <= SPAN_MAX:
            raise ValueError(f"a span of {span} returns, 2 to {SPAN_MAX} can be shown")
        self.on = enter > 0
        self.rule = rule
        for i in range(1, SPAN_MAX + 1):
            self.enter_at[i] = signed_square(((i + rule.prior) * enter - rule.prior) / i)
            self.leave_at[i] = signed_square(((i + rule.prior) * leave - rule.prior) / i)
        if self.on:
            self.make_room()
        for i in range(self.count):
            memset(self.links[i], 0xFF, MEMBER_WORDS * sizeof(uint64_t))
        self.apart = 0
        self.version += 1
        for i in range(self.count if self.on else 0):
            self._rebuild_all(slots, i, i)

    cdef void forget(self, int number) noexcept:
        """What was known of an instrument is of another scale: it is linked with all."""
        cdef int i
        self.version += 1
        self.closed_at[number] = -1
        self.seen[number] = 0
        self.has_return[number] = False
        for i in range(self.count if self.on else 0):
            if i != number:
                self._begin_pair(self._pair(number, i), number, i)

    cdef void bar_closed(self, list slots, int number) noexcept:
        """Take the five-minute bars that have closed since the last call."""
        cdef InstrumentSlot slot = <InstrumentSlot>PyList_GET_ITEM(slots, number)
        cdef int64_t closed = slot.bars.ring[<int>M5].closed
        if not self.on:
            return
        if closed - self.seen[number] > BAR_CAPACITY:
            self.seen[number] = closed - BAR_CAPACITY
        while self.seen[number] < closed:
            self.version += 1
            self.seen[number] += 1
            self._take(slots, number, <int>(closed - self.seen[number]))

    cdef void age(self, int64_t turn, int64_t wall_ns) noexcept nogil:
        """Begin the pairs of one instrument anew whose last common return is too old, closes there a bar or not.

        turn: another number each time, so that every instrument has its own. wall_ns: the interval before the one under way
        has closed, and with it whatever bar it has.
        """
        cdef int i, number
        cdef int32_t at = <int32_t>(wall_ns // BAR_NS) - 1
        if not self.on or self.count == 0:
            return
        number = <int>(turn % self.count)
        for i in range(number):
            if self.pairs[number][i].returns and at - self.pairs[number][i].last > self.rule.span:
                self._begin_pair(&self.pairs[number][i], number, i)
                self.version += 1

    cdef void history_loaded(self, list slots, int number) noexcept:
        """Measure every pair of an instrument anew from the bars in memory, of which older ones were missing."""
        if self.on:
            self._rebuild_all(slots, number, self.count)

    cdef void _note_newest(self, list slots, int number) noexcept:
        cdef InstrumentSlot slot = <InstrumentSlot>PyList_GET_ITEM(slots, number)
        cdef const Bar *bar = slot.bars.closed_bar(M5, 0)
        self.seen[number] = slot.bars.ring[<int>M5].closed
        self.closed_at[number] = <int32_t>(bar.start_ns // BAR_NS) if bar != NULL else -1
        self.has_return[number] = return_of(slot.bars, 0, &self.latest[number])

    cdef void _take(self, list slots, int number, int back) noexcept:
        """Take one closed bar: a step for each instrument that has a return of the same interval already."""
        cdef BarSeries bars = (<InstrumentSlot>PyList_GET_ITEM(slots, number)).bars
        cdef BarSeries others
        cdef int32_t at = <int32_t>(bars.closed_bar(M5, back).start_ns // BAR_NS)
        cdef double own = 0.0
        cdef double other = 0.0
        cdef bint has = return_of(bars, back, &own)
        cdef bint met
        cdef int i, older
        cdef const Bar *bar
        cdef Pair *pair
        self.closed_at[number] = at
        self.has_return[number] = has
        self.latest[number] = own
        for i in range(self.count):
            if i == number:
                continue
            pair = self._pair(number, i)
            met = False
            if has and self.closed_at[i] == at:
                met = self.has_return[i]
                other = self.latest[i]
            elif has and self.closed_at[i] > at:
                # The other one is ahead: what it did in this interval is in its bars.
                others = (<InstrumentSlot>PyList_GET_ITEM(slots, i)).bars
                older = 1
                bar = others.closed_bar(M5, older)
                while bar != NULL and bar.start_ns // BAR_NS > at:
                    older += 1
                    bar = others.closed_bar(M5, older)
                met = bar != NULL and bar.start_ns // BAR_NS == at and return_of(others, older, &other)
            if met:
                self._step(pair, number, i, at, own, other)
            elif pair.returns and at - pair.last > self.rule.span:
                self._begin_pair(pair, number, i)

    cdef void _rebuild_all(self, list slots, int number, int below) noexcept:
        """Measure the pairs of an instrument with those whose numbers are below `below` anew."""
        cdef BarSeries bars = (<InstrumentSlot>PyList_GET_ITEM(slots, number)).bars
        cdef int i
        for i in range(below):
            if i != number:
                self._rebuild(&bars.ring[<int>M5], &(<InstrumentSlot>PyList_GET_ITEM(slots, i)).bars.ring[<int>M5], number, i)
        self._note_newest(slots, number)
        self.version += 1

    cdef void _rebuild(self, BarRing *ours, BarRing *theirs, int a, int b) noexcept nogil:
        """Measure one pair anew from the bars of both that are in memory, by one walk along both rings."""
        cdef int64_t i = max(ours.closed - BAR_CAPACITY, <int64_t>0) + 1
        cdef int64_t j = max(theirs.closed - BAR_CAPACITY, <int64_t>0) + 1
        cdef const Bar *own
        cdef const Bar *other
        cdef const Bar *own_before
        cdef const Bar *other_before
        cdef Pair *pair = self._pair(a, b)
        self._begin_pair(pair, a, b)
        while i < ours.closed and j < theirs.closed:
            own = &ours.bar[i % BAR_CAPACITY]
            other = &theirs.bar[j % BAR_CAPACITY]
            if own.start_ns == other.start_ns:
                own_before = &ours.bar[(i - 1) % BAR_CAPACITY]
                other_before = &theirs.bar[(j - 1) % BAR_CAPACITY]
                if own.start_ns - own_before.start_ns == BAR_NS and other.start_ns - other_before.start_ns == BAR_NS:
                    self._step(pair, a, b, <int32_t>(own.start_ns // BAR_NS), change(own_before, own), change(other_before, other))
                i += 1
                j += 1
            elif own.start_ns < other.start_ns:
                i += 1
            else:
                j += 1

    cdef void _step(self, Pair *pair, int a, int b, int32_t at, double own, double other) noexcept nogil:
        """Take a common return of a and b, then link them or not by what they read now."""
        cdef double swap, square, scale
        cdef int64_t weight
        if a < b:
            swap = own
            own = other
            other = swap
        if pair.returns:
            if at <= pair.last:
                return
            if at - pair.last > self.rule.span:
                self._begin_pair(pair, a, b)
        pair.own_square = self.rule.keep * pair.own_square + own * own
        pair.other_square = self.rule.keep * pair.other_square + other * other
        pair.product = self.rule.keep * pair.product + own * other
        pair.last = at
        pair.returns += pair.returns < COUNT_MAX
        if pair.returns < self.rule.returns_min:
            return
        # Compared by squares, without a root or a quotient. In these words what is no number links, and counts as high.
        weight = min(<int64_t>pair.returns, self.rule.span)
        square = pair.product * absolute(pair.product)
        scale = pair.own_square * pair.other_square
        if square < self.leave_at[weight] * scale:
            pair.below += pair.below < COUNT_MAX
        else:
            pair.below = 0
        if not square < self.enter_at[weight] * scale:
            self._link(a, b, True)
        elif pair.below >= self.rule.leave_bars:
            self._link(a, b, False)

    cdef void _begin_pair(self, Pair *pair, int a, int b) noexcept nogil:
        """No history counts as 1."""
        memset(pair, 0, sizeof(Pair))
        self._link(a, b, True)

    cdef double _reading(self, const Pair *pair) noexcept nogil:
        """The shrunk correlation of a pair, for those who look on."""
        cdef double weight = <double>(pair.returns if pair.returns < self.rule.span else self.rule.span)
        cdef double scale = fast_sqrt(pair.own_square * pair.other_square)
        if not scale > 0.0:
            return 1.0
        return (weight * (pair.product / scale) + self.rule.prior) / (weight + self.rule.prior)

    cdef Pair *_pair(self, int a, int b) noexcept nogil:
        return &self.pairs[a][b] if a > b else &self.pairs[b][a]

    cdef void _link(self, int a, int b, bint linked) noexcept nogil:
        cdef uint64_t bit = <uint64_t>1 << (b & 63)
        if ((self.links[a][b >> 6] & bit) != 0) == linked:
            return
        self.apart += -1 if linked else 1
        self.links[a][b >> 6] ^= bit
        self.links[b][a >> 6] ^= <uint64_t>1 << (a & 63)

    # The cluster of an intent: begin, expose each instrument with exposure, gather.

    cdef void begin(self) noexcept nogil:
        if self.words == 1:     # up to 64 instruments: no call for the one word
            self.exposed[0] = 0
            return
        memset(self.exposed, 0, self.words * sizeof(uint64_t))

    cdef void expose(self, int number) noexcept nogil:
        self.exposed[number >> 6] |= <uint64_t>1 << (number & 63)

    cdef void gather(self, int number) noexcept nogil:
        """Find the cluster of an instrument: itself, and what has exposure that it reaches over links."""
        cdef int head = 0
        cdef int tail = 1
        cdef int i
        cdef uint64_t found
        cdef uint64_t *row
        if self.apart == 0 and self.words == 1:
            self.members[0] = self.exposed[0] | <uint64_t>1 << number
            return
        if self.apart == 0:
            memcpy(self.members, self.exposed, self.words * sizeof(uint64_t))
            self.members[number >> 6] |= <uint64_t>1 << (number & 63)
            return
        memset(self.members, 0, self.words * sizeof(uint64_t))
        self.members[number >> 6] = <uint64_t>1 << (number & 63)
        self.queue[0] = number
        while head < tail:
            row = self.links[self.queue[head]]
            head += 1
            for i in range(self.words):
                found = row[i] & self.exposed[i] & ~self.members[i]
                self.members[i] |= found
                while found:
                    self.queue[tail] = i * 64 + lowest_bit(found)
                    tail += 1
                    found &= found - 1

    cdef bint is_member(self, int number) noexcept nogil:
        return (self.members[number >> 6] >> (number & 63)) & 1

    cdef void keep(self, int64_t decision) noexcept nogil:
        """Keep the members found last with a decision, for display."""
        if self.words == 1:
            self.kept[decision & (MEMBERS_KEPT - 1)] = self.members[0]
            return
        memcpy(self.kept + (decision & (MEMBERS_KEPT - 1)) * self.words, self.members, self.words * sizeof(uint64_t))

    # What others look at.

    def linked(self, int a, int b):
        """Whether two instruments count as moving together."""
        self._check(a, b)
        return bool(self.links[a][b >> 6] >> (b & 63) & 1)

    def pair(self, int a, int b):
        """(linked, reading, common returns, low readings in a row); the reading is None while there is none."""
        cdef Pair *pair
        self._check(a, b)
        if not self.on:
            return True, None, 0, 0
        pair = self._pair(a, b)
        reading = self._reading(pair) if pair.returns >= self.rule.returns_min else None
        return self.linked(a, b), reading, pair.returns, pair.below

    def cluster(self, int number, exposed):
        """Numbers of the cluster of an instrument, itself included, where `exposed` are those with exposure; ascending."""
        cdef int other
        self._check(number, number)
        self.begin()
        for other in exposed:
            self._check(other, other)
            self.expose(other)
        self.gather(number)
        return [other for other in range(self.count) if self.is_member(other)]

    def members_of(self, int64_t decision):
        """Numbers of the instruments in the cluster of a decision that is kept, ascending."""
        cdef uint64_t *row = self.kept + (decision & (MEMBERS_KEPT - 1)) * self.words
        cdef int i
        if self.count == 1:
            return [0]  # nobody gathers the cluster of the only one
        return [i for i in range(self.count) if row[i >> 6] >> (i & 63) & 1]

    def _check(self, int a, int b):
        if not (0 <= a < self.count and 0 <= b < self.count):
            raise IndexError(f"instruments {a} and {b} of {self.count}")


def pair_bytes():
    """Bytes that two instruments take together."""
    return sizeof(Pair)
