"""`ladder`: what `cstd live-check` trades with: one opening of a fixed notional, well below the best bid, and the next one once
that has ended. What is amended and canceled about it, an operator's commands do. Should it be filled, it is sold again.
"""
from libc.stdint cimport int64_t

from cstd._fast.codes cimport EXIT, OPENING
from cstd._fast.strategy cimport StrategyView, Wish, cstd_qty_for

cdef extern from "strategy.h" nogil:
    int64_t cstd_muldiv(int64_t a, int64_t b, int64_t c)

# Words of the state row.
cdef enum:
    EPISODE = 0
    TRIED_NS = 1
    ENDED_SEEN = 2      # openings_ended when the last opening was wished for

# Words of the parameter row, in the order of PARAMS.
cdef enum:
    INSTRUMENT = 0      # its number: the others are left alone
    NOTIONAL_ACCT_RAW = 1
    BELOW_PPM = 2       # of the best bid, in millionths
    LIFETIME_NS = 3
    RETRY_NS = 4

PARAMS = ("instrument", "notional_acct_raw", "below_ppm", "lifetime_ns", "retry_ns")


cdef int ladder(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil:
    """Fill in the wish for the next opening where none is out, or for the sale of what one of them bought."""
    if view.instrument != view.params[INSTRUMENT] or view.openings_live or view.exits_live:
        return 0
    if view.sellable:
        wish.kind = EXIT
        wish.qty_raw = view.position_qty_raw
        wish.episode = state[EPISODE]
        return 1
    if 0 <= view.now_wall_ns - state[TRIED_NS] < view.params[RETRY_NS]:
        return 0
    state[TRIED_NS] = view.now_wall_ns
    if state[EPISODE] == 0 or view.openings_ended != state[ENDED_SEEN]:
        state[EPISODE] = view.episode + 1
        state[ENDED_SEEN] = view.openings_ended
    wish.kind = OPENING
    wish.price_raw = view.bid_raw - cstd_muldiv(view.bid_raw, view.params[BELOW_PPM], 1000000)
    wish.price_raw -= wish.price_raw % view.tick_raw
    wish.qty_raw = cstd_qty_for(view.params[NOTIONAL_ACCT_RAW], view.rate_e8, wish.price_raw, view.price_scale, view.qty_scale,
                                view.lot_raw)
    wish.lifetime_ns = view.params[LIFETIME_NS]
    wish.episode = state[EPISODE]
    return 1


def address():
    """Address of the compiled function as an int, for the engine."""
    return <size_t>&ladder
