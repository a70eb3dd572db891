"""What the gates would say of an opening: a question that changes nothing.

Purpose: judge an opening that nobody wishes for, as the gateway would judge it in the state in which the engine is. Takes: the
engine between two events, an instrument, a share of equity. Gives: a decision row. Nothing is counted, recorded, kept or
numbered, no id is used up, and nothing here can make an order: the encoder is not in this module.

Invariants held here: the gateway fills in what the gates read (`_fill_input`), so that there is no second reading of the
state; what it moves on the way (windows of openings that forget what is old, the sum of the last hour) is put back as it was,
because a wall clock that is stepped back would show the difference. The set of what moves together that the correlations
work with is scratch: each intent begins it anew before it is read.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.string cimport memset

from cstd._fast.bars cimport BarSeries
from cstd._fast.codes cimport BOOK_VERIFIED, BUY, GTD, OPENING
from cstd._fast.core cimport Core
from cstd._fast.gates cimport DecisionRow, GateInput, judge
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.strategy cimport cstd_qty_for

cdef extern from "strategy.h" nogil:
    int64_t cstd_muldiv(int64_t a, int64_t b, int64_t c)

cdef enum:
    PPM = 1000000


def opening(Core core not None, int number, int64_t size_ppm, int64_t lifetime_ns):
    """Judge an opening of a share of equity at the best bid, post-only, of an episode that was never tried.

    Args:
        core: between two events. number: of the instrument.
        size_ppm: of equity, in millionths. lifetime_ns: of the order.

    Returns:
        a decision row as bytes (gates.DECISION_DTYPE), its engine's part 0; None where the share comes to less than a lot.
        Where there is no verified book, the last verified bid stands for the price, as a strategy sees it.

    Raises:
        IndexError: there is no such instrument. ValueError: a share or a lifetime that is not above zero.
    """
    cdef InstrumentSlot slot
    cdef GateInput input
    cdef DecisionRow row
    if not 0 <= number < len(core.slots):
        raise IndexError(f"instrument {number} of {len(core.slots)}")
    if size_ppm <= 0 or lifetime_ns <= 0:
        raise ValueError(f"an opening of {size_ppm} millionths for {lifetime_ns} ns")
    slot = core.slots[number]
    memset(&input, 0, sizeof(input))
    memset(&row, 0, sizeof(row))
    input.price_raw = slot.book.best_bid() if slot.book.state == BOOK_VERIFIED else slot.last_verified_bid_raw
    input.qty_raw = _qty_of(core, slot, size_ppm, input.price_raw)
    if input.price_raw > 0 and input.qty_raw <= 0:
        return None
    _fill(core, slot, &input)
    input.kind = OPENING
    input.side = BUY
    input.lifetime_ns = lifetime_ns
    input.deadline_ns = core.deadline_ns
    input.time_in_force = GTD
    input.post_only = 1
    input.episode = max(slot.last_episode[1], 0) + 1
    input.id_seen = _id_used(core)
    judge(&input, &slot.limits, &row)
    return PyBytes_FromStringAndSize(<const char *>&row, sizeof(row))


cdef int64_t _qty_of(Core core, InstrumentSlot slot, int64_t size_ppm, int64_t price_raw) noexcept:
    """Lots that the share buys, as the ensemble's compiled strategy turns it into a quantity; 0: less than one."""
    cdef int64_t notional = cstd_muldiv(core.equity_acct_raw, size_ppm, PPM) if core.equity_acct_raw > 0 else 0
    return cstd_qty_for(notional, slot.rate_e8, price_raw, slot.price_scale, slot.qty_scale, slot.lot_raw)


cdef void _fill(Core core, InstrumentSlot slot, GateInput *input) noexcept:
    """Have the gateway fill in the state, and put back what that moves."""
    cdef BarSeries bars = slot.bars
    cdef int64_t parents_tail = slot.parents.tail
    cdef int64_t minute_tail = core.minute.tail
    cdef int64_t hour_floor_ns = bars.hour_floor_ns
    cdef int64_t hour_closed = bars.hour_closed
    cdef int64_t hour_sum_acct_raw = bars.hour_sum_acct_raw
    core._fill_input(slot, input, -1)
    slot.parents.tail = parents_tail
    core.minute.tail = minute_tail
    bars.hour_floor_ns = hour_floor_ns
    bars.hour_closed = hour_closed
    bars.hour_sum_acct_raw = hour_sum_acct_raw


cdef bint _id_used(Core core) noexcept:
    """Whether the next intent's client order id was encoded before, as far as it is hashed; or the table of ids is full."""
    cdef bint hashed = core.prepared_seq == core.intent_seq + 1 and core.prepared_epoch == core.boot_epoch
    return (hashed and core._id_seen(core.prepared_key)) or core.id_count >= core.id_count_max
