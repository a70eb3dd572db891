"""The exit policy's part of a decision pass: stop before target before time before escalation, each until nothing is left.

Purpose: turn what csrc/exits.h finds due into wishes to sell, one at a time, and count exits by their reason.
Takes: an instrument's watch, whose thresholds orders.exit_policy writes. Gives: wishes to the gateway, which alone makes
order frames of them.

Invariants held here: while a position is being left, nothing of its instrument opens; an exit is wished for only when none
is on its way, but for a stop, and the gates cut each to what is managed and free; the reason changes only to one that comes before it.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from cstd._fast.approvals cimport ApprovalGateway
from cstd._fast.codes cimport BOOK_VERIFIED, DROP_LEAVING, EXIT, EXIT_STOP, OPENING, ORDER_PARTIAL, ORDER_SENT
from cstd._fast.exit_watch cimport exit_due
from cstd._fast.gates cimport GATE_NONE, LEVEL_EMERGENCY
from cstd._fast.gateway cimport COLLAR_STEPS, COUNT_ORDERS, COUNT_PULLED
from cstd._fast.orders cimport OrderRow
from cstd._fast.slot cimport InstrumentSlot, sellable
from cstd._fast.strategy cimport StrategyView, Wish

cdef extern from "zero.h" nogil:
    void cstd_zero(void *to, size_t n)


cdef class ExitGateway(ApprovalGateway):
    """The gateway with its exits by reason. Arguments as Gateway."""

    def __cinit__(self, *args):
        memset(self.exits_by, 0, sizeof(self.exits_by))

    def set_collar(self, steps_mbps, int64_t wait_ns):
        """Exit collar steps in thousandths of a bps, widest last, and the wait before the next step."""
        cdef int i
        if not 0 < len(steps_mbps) <= COLLAR_STEPS:
            raise ValueError(f"1 to {COLLAR_STEPS} collar steps, got {len(steps_mbps)}")
        for i in range(len(steps_mbps)):
            self.collar_mbps[i] = steps_mbps[i]
        self.collar_count = len(steps_mbps)
        self.collar_wait_ns = wait_ns

    cdef bint _leave(self, InstrumentSlot slot, const StrategyView *view) noexcept:
        """Wish to sell what the policy wants sold. True: the position is being left, and nobody else is asked.

        An operator's flatten sells too, and stands before all but the stop, which waits for no opening to end.
        """
        cdef Wish wish
        cdef int reason
        cdef bint held = sellable(slot)
        cdef bint escalated
        if slot.watch.reason == 0 and not held:
            return False
        escalated = self.level >= <int>LEVEL_EMERGENCY
        reason = <int>exit_due(&slot.watch, slot.book.best_bid() if slot.book.state == BOOK_VERIFIED else 0, self.wall_ns, escalated)
        if reason == 0 or (slot.flatten and reason != EXIT_STOP):
            return False
        if not held and view.openings_live == 0 and view.exits_live == 0 and view.quotes_live == 0:
            slot.watch.reason = 0
            return False
        if view.openings_live or view.quotes_live:
            self._pull(slot, True, True, DROP_LEAVING)
        # An exit on its way is waited for. A stop sells besides it what it leaves free, which the gates find out. Of what
        # rests on the ask all is free once the venue has said that it is canceled; what is free now does not wait for it.
        if held and (view.exits_live == 0 or reason == EXIT_STOP):
            cstd_zero(&wish, sizeof(wish))
            wish.qty_raw = slot.position_qty_raw
            wish.urgency = reason == EXIT_STOP or escalated
            self._exit(slot, &wish, reason)
        return True

    cdef void _exit(self, InstrumentSlot slot, Wish *wish, int reason) noexcept:
        """Wish to sell, for a reason, which goes with the decision and the order."""
        cdef int64_t before = self.counters[COUNT_ORDERS]
        wish.kind = EXIT
        wish.reason = reason
        self._intend(slot, wish)
        self.exits_by[reason] += self.counters[COUNT_ORDERS] - before

    cdef void _pull(self, InstrumentSlot slot, bint bids, bint asks, int why) noexcept:
        """Cancel what rests of an instrument: openings, with those that wait, sells, or both. What of an opening is filled
        meanwhile is held, and what of a sell is filled needs no exit. why: codes.ApprovalDrop, of those that wait."""
        cdef int i
        cdef OrderRow *order
        if bids and self.waiting.live:
            self._drop_waiting(slot.number, why)
        for i in range(self.orders.live_count):
            order = &self.orders.rows[self.orders.live[i]]
            if (order.instrument == slot.number and not order.cancel_sent
                    and (bids if order.kind == OPENING else asks and order.post_only) and ORDER_SENT <= order.state <= ORDER_PARTIAL):
                self.counters[COUNT_PULLED] += 1
                self._cancel(self.orders.live[i], GATE_NONE)

    def exit_counts(self):
        """Exits that left so far, by codes.ExitReason."""
        cdef int i
        return [self.exits_by[i] for i in range(EXIT_REASONS)]
