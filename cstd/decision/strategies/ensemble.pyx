"""`ensemble`: long or flat by what the models' scores say; docs/ensemble.md.

What a score is worth is judged when it comes (decision/ensemble.py), and left in the state row as an aim: until when an
opening may leave, until when what is held is held, how large, and which wish it is. Each pass only compares the clock with
that aim, so a score that is not followed by another ends by itself.
"""
from libc.stdint cimport int64_t

from cstd._fast.codes cimport EXIT, OPENING
from cstd._fast.strategy cimport WISH_CANCEL_BID, StrategyView, Wish, cstd_qty_for

cdef extern from "strategy.h" nogil:
    int64_t cstd_muldiv(int64_t a, int64_t b, int64_t c)

# Words of the state row. Those of AIM, the first ones, are written from outside (InstrumentSlot.aim).
cdef enum:
    OPEN_SINCE_NS = 0   # wall time of the verdict; before it the clock has stepped back, and nothing opens
    OPEN_UNTIL_NS = 1   # wall time; 0: nothing opens
    HOLD_UNTIL_NS = 2   # wall time; 0: nothing is known of what is held
    SIZE_PPM = 3        # of equity, in millionths
    WISH = 4            # its number
    TAKEN = 5           # the last wish that something was bought for: none is opened for again
    SHADOW = 6          # 1: what is wished for is decided and not sent, once for each wish
    EPISODE = 8
    WISH_SEEN = 9
    TRIED_NS = 10
    ENDED_SEEN = 11     # openings_ended when the last opening was wished for

AIM = ("open_since_ns", "open_until_ns", "hold_until_ns", "size_ppm", "wish", "taken", "shadow")

# Words of the parameter row, in the order of PARAMS.
cdef enum:
    LIFETIME_NS = 0     # of an opening
    RETRY_NS = 1
    UNKNOWN_NS = 2      # how long something is held of which no score is known

PARAMS = ("lifetime_ns", "retry_ns", "unknown_ns")


cdef inline int leave(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil:
    """Flat is wanted: what rests is canceled, what is held is sold."""
    if view.openings_live:
        wish.kind = WISH_CANCEL_BID
        return 1
    if not view.sellable or view.exits_live:
        return 0
    wish.kind = EXIT
    wish.qty_raw = view.position_qty_raw
    wish.episode = state[EPISODE]
    return 1


cdef inline int open_long(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil:
    """One attempt to open: join the best bid. A refused wish is repeated at most once per retry interval."""
    cdef int64_t notional
    if 0 <= view.now_wall_ns - state[TRIED_NS] < view.params[RETRY_NS]:  # a try in the future: the clock went back
        return 0
    notional = cstd_muldiv(view.equity_acct_raw, state[SIZE_PPM], 1000000) if view.equity_acct_raw > 0 else 0
    wish.qty_raw = cstd_qty_for(notional, view.rate_e8, view.bid_raw, view.price_scale, view.qty_scale, view.lot_raw)
    if wish.qty_raw <= 0:
        return 0
    state[TRIED_NS] = view.now_wall_ns
    if state[EPISODE] == 0 or state[WISH] != state[WISH_SEEN] or view.openings_ended != state[ENDED_SEEN]:
        # A new wish, or the opening before ended with nothing filled.
        state[EPISODE] = max(state[EPISODE], view.episode) + 1
        state[WISH_SEEN] = state[WISH]
        state[ENDED_SEEN] = view.openings_ended
    wish.kind = OPENING
    wish.price_raw = view.bid_raw
    wish.lifetime_ns = view.params[LIFETIME_NS]
    wish.episode = state[EPISODE]
    return 1


cdef int ensemble(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil:
    """Fill in the wish that the aim asks for at this time."""
    cdef bint may_open
    if view.sellable:
        state[TAKEN] = state[WISH]  # what is held is this wish's, whichever bought it
        if state[HOLD_UNTIL_NS] == 0:
            # Of another strategy, or of a journal before this one: held for the life of a score, unless one says otherwise.
            state[HOLD_UNTIL_NS] = view.now_wall_ns + view.params[UNKNOWN_NS]
    if view.now_wall_ns >= state[HOLD_UNTIL_NS]:
        return leave(view, state, wish)
    may_open = (state[SIZE_PPM] > 0 and state[OPEN_SINCE_NS] <= view.now_wall_ns < state[OPEN_UNTIL_NS])
    if view.openings_live:
        if may_open and not state[SHADOW]:
            return 0
        wish.kind = WISH_CANCEL_BID
        return 1
    if not may_open or state[TAKEN] == state[WISH] or view.exits_live:
        return 0
    if state[SHADOW] and state[WISH] == state[WISH_SEEN]:
        return 0
    return open_long(view, state, wish)


def address():
    """Address of the compiled function as an int, for the engine."""
    return <size_t>&ensemble
