"""Openings that wait for an operator: the word of one, expiry, and the wish that is judged again.

Purpose: let an operator decide about what the gates have let pass, and nobody else; docs/approve.md. Takes: the number of a
waiting intent, from a journaled command. Gives: in the next decision pass of its instrument the same wish again, to the
gateway, which judges it by all gates as it judges any other; what became of each, to orders.approvals.

Invariants held here: an approval makes no order, it lets a waiting wish be judged again, once; nothing that has ended comes
back; nothing is sent of more than was shown, nor at another price. Each end counts as the end of an opening with nothing
filled, so that the strategy goes on.
"""
from libc.stdint cimport int64_t

from cstd._fast.codes cimport (
    APPROVAL_DECLINED, APPROVAL_DROPPED, APPROVAL_EXPIRED, APPROVAL_GIVEN, APPROVAL_REFUSED, APPROVAL_SENT, APPROVAL_WAITS, BOOK_VERIFIED,
    OPENING,
)
from cstd._fast.gateway cimport COUNT_ORDERS, COUNT_RATE_HELD, DECISIONS_KEPT, Gateway
from cstd._fast.rate cimport ADD_POINTS, rate_admits
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.strategy cimport Wish
from cstd._fast.waiting cimport WAITING_MAX, WAITING_STATES, Waiting

cdef extern from "zero.h" nogil:
    void cstd_zero(void *to, size_t n)


cdef class ApprovalGateway(Gateway):
    """The gateway with its waiting openings. Arguments as Gateway."""

    cdef bint _take_up(self, InstrumentSlot slot) noexcept:
        """Judge an approved opening again, at its own price and at most at the size that was shown; send what passes.

        True: one was approved, and this pass asks nobody else. Where the venue's counter has no room it goes on waiting.
        """
        cdef int index = self.waiting.given(slot.number, self.mono_ns) if slot.book.state == BOOK_VERIFIED else -1
        cdef int64_t before = self.counters[COUNT_ORDERS]
        cdef int64_t decided = self.decision_count
        cdef int gate = 0       # of a decision that is not on record nothing is told
        cdef Waiting *entry
        cdef Wish wish
        if index < 0 or not self._room(slot, ADD_POINTS):
            return index >= 0
        entry = &self.waiting.rows[index]
        cstd_zero(&wish, sizeof(wish))
        wish.kind = OPENING
        wish.qty_raw = entry.qty_raw
        wish.price_raw = entry.price_raw
        wish.lifetime_ns = entry.lifetime_ns
        wish.episode = entry.episode
        self.taken = index
        self._intend(slot, &wish)
        self.taken = -1
        entry.judged_seq = self.intent_seq
        if self.decision_count != decided:
            gate = self.decisions[decided % DECISIONS_KEPT].first_failing
        if self.counters[COUNT_ORDERS] != before:
            self._end_waiting(index, APPROVAL_SENT, 0)
        else:
            self._end_waiting(index, APPROVAL_REFUSED, gate)
        return True

    cdef bint _room(self, InstrumentSlot slot, int64_t points) noexcept:
        """Whether the venue's rate counter has room for an opening or amend; counted where it has none. No exit and no
        cancel asks: what is kept free is theirs."""
        if rate_admits(&slot.rate, points, self.mono_ns):
            return True
        self.counters[COUNT_RATE_HELD] += 1
        slot.rate_held += 1
        if not slot.rate_episode:
            slot.rate_episode = True
            self.rate_episodes += 1
        return False

    cdef void _end_waiting(self, int index, int state, int why) noexcept:
        cdef InstrumentSlot slot = self.slots[self.waiting.rows[index].instrument]
        self.waiting.end(index, state, why)
        # What was sent ends as an order does.
        slot.openings_ended += state != APPROVAL_SENT

    cdef void _drop_waiting(self, int instrument, int why) noexcept:
        """Nothing that waits of an instrument, or with -1 of any, is to be sent any more."""
        cdef int i
        for i in range(WAITING_MAX):
            if (APPROVAL_WAITS <= self.waiting.rows[i].state <= APPROVAL_GIVEN
                    and (instrument < 0 or self.waiting.rows[i].instrument == instrument)):
                self._end_waiting(i, APPROVAL_DROPPED, why)

    # For orders.approvals, the one caller.

    def set_approvals(self, int64_t above_acct_raw, int64_t lasts_ns):
        """Openings of more than so much wait, each for so long; -1: none does."""
        self.waiting.above_acct_raw = above_acct_raw
        self.waiting.lasts_ns = lasts_ns

    def answer_waiting(self, int64_t intent_seq, bint approved):
        """Take an operator's word on a waiting opening; returns whether it waited for one, and has not expired."""
        cdef int i
        for i in range(WAITING_MAX):
            if self.waiting.rows[i].intent_seq == intent_seq and self.waiting.rows[i].state == APPROVAL_WAITS:
                if self.mono_ns >= self.waiting.rows[i].expires_mono_ns:
                    return False
                if approved:
                    self.waiting.rows[i].state = APPROVAL_GIVEN
                    self.waiting.counts[<int>APPROVAL_GIVEN] += 1
                else:
                    self._end_waiting(i, APPROVAL_DECLINED, 0)
                return True
        return False

    def expire_waiting(self):
        """End what has waited for as long as it may."""
        cdef int i
        for i in range(WAITING_MAX):
            if (APPROVAL_WAITS <= self.waiting.rows[i].state <= APPROVAL_GIVEN
                    and self.mono_ns >= self.waiting.rows[i].expires_mono_ns):
                self._end_waiting(i, APPROVAL_EXPIRED, 0)

    def drop_waiting(self, int why):
        """Nothing that waits is to be sent any more. why: codes.ApprovalDrop."""
        self._drop_waiting(-1, why)

    def take_ended(self):
        """What has waited and ended since the last call, in the order of the intents; each is told once."""
        cdef int i
        ended = []
        for i in range(WAITING_MAX):
            if self.waiting.rows[i].state > APPROVAL_GIVEN and not self.waiting.rows[i].told:
                self.waiting.rows[i].told = 1
                ended.append(self._waiting_row(i))
        return sorted(ended, key=_intent_seq)

    def waiting_rows(self):
        """What waits, the oldest first, as dicts of plain values (raw integers)."""
        cdef int i
        return sorted([self._waiting_row(i) for i in range(WAITING_MAX)
                       if APPROVAL_WAITS <= self.waiting.rows[i].state <= APPROVAL_GIVEN], key=_intent_seq)

    def waiting_counts(self):
        """How many were entered, approved, and ended how, by codes.ApprovalState."""
        cdef int i
        return [self.waiting.counts[i] for i in range(WAITING_STATES)]

    def waiting_live(self):
        """How many wait."""
        return self.waiting.live

    def _waiting_row(self, int i):
        return self.waiting.rows[i]


def _intent_seq(row):
    return row["intent_seq"]
