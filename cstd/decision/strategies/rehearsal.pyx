"""`rehearsal`: wants long and flat in turn, so that everything between a frame and a fill is exercised.

It joins the best bid with a fixed part of equity, holds, and exits, over and over. It has no opinion about the market:
it exists for practice and replay, and the configuration refuses it in paper and live.

`bench` wishes to open on every pass with a new episode; the benchmark uses it to have an intent on every frame.
"""
from libc.stdint cimport int64_t

from cstd._fast.codes cimport EXIT, OPENING
from cstd._fast.strategy cimport StrategyView, Wish, cstd_qty_for

# Words of the state row.
cdef enum:
    PHASE = 0
    SINCE_NS = 1        # wall time the phase began
    EPISODE = 2
    CYCLES = 3
    TRIED_NS = 4        # last wish for an opening
    ENDED_SEEN = 5      # openings_ended when the last opening was wished for

cdef enum:
    FLAT = 0
    WANT_LONG = 1
    LONG = 2
    WANT_FLAT = 3

# Words of the parameter row; decision/limits order is checked by a test through PARAMS.
cdef enum:
    SIZE_PPM = 0            # of equity, in millionths
    LIFETIME_NS = 1
    HOLD_NS = 2
    FLAT_NS = 3
    FLAT_LONG_NS = 4
    SHORT_CYCLES = 5
    RETRY_NS = 6

PARAMS = ("size_ppm", "lifetime_ns", "hold_ns", "flat_ns", "flat_long_ns", "short_cycles", "retry_ns")


cdef inline void enter(int64_t *state, int phase, int64_t now_ns) noexcept nogil:
    state[PHASE] = phase
    state[SINCE_NS] = now_ns


cdef inline int wish_long(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil:
    """One attempt to open: join the best bid. A refused wish is repeated at most once per retry interval."""
    cdef int64_t notional = view.equity_acct_raw / 1000000 * view.params[SIZE_PPM]
    if 0 <= view.now_wall_ns - state[TRIED_NS] < view.params[RETRY_NS]:  # a try in the future: the clock went back
        return 0
    state[TRIED_NS] = view.now_wall_ns
    state[ENDED_SEEN] = view.openings_ended
    wish.kind = OPENING
    wish.price_raw = view.bid_raw
    wish.qty_raw = cstd_qty_for(notional, view.rate_e8, view.bid_raw, view.price_scale, view.qty_scale, view.lot_raw)
    wish.lifetime_ns = view.params[LIFETIME_NS]
    wish.episode = state[EPISODE]
    wish.urgency = 0
    return 1


cdef int rehearsal(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil:
    """Advance the cycle flat -> want long -> long -> want flat and fill in a wish when there is one."""
    cdef int64_t waited
    cdef bint held = view.sellable
    if state[SINCE_NS] == 0:
        enter(state, FLAT, view.now_wall_ns)
    elif state[SINCE_NS] > view.now_wall_ns:
        state[SINCE_NS] = view.now_wall_ns  # the clock went back: what was waited is not known, the wait begins again
    waited = view.now_wall_ns - state[SINCE_NS]
    if state[PHASE] == FLAT:
        if held:
            enter(state, LONG, view.now_wall_ns)
        elif waited >= (view.params[FLAT_NS] if state[CYCLES] < view.params[SHORT_CYCLES]
                        else view.params[FLAT_LONG_NS]):
            state[EPISODE] = max(state[EPISODE], view.episode) + 1  # a state that began anew goes on counting
            state[TRIED_NS] = 0
            state[ENDED_SEEN] = view.openings_ended
            enter(state, WANT_LONG, view.now_wall_ns)
        else:
            return 0
    if state[PHASE] == WANT_LONG:
        if view.openings_live:
            return 0
        if held:
            enter(state, LONG, view.now_wall_ns)
            return 0
        if view.openings_ended != state[ENDED_SEEN]:
            # The opening ended with nothing (or only dust) filled: the next attempt is a new episode.
            state[EPISODE] += 1
            state[ENDED_SEEN] = view.openings_ended
        return wish_long(view, state, wish)
    if state[PHASE] == LONG:
        if waited < view.params[HOLD_NS]:
            return 0
        enter(state, WANT_FLAT, view.now_wall_ns)
    if not held and not view.exits_live:
        state[CYCLES] += 1
        enter(state, FLAT, view.now_wall_ns)
        return 0
    if view.exits_live or view.openings_live or not held:
        return 0
    wish.kind = EXIT
    wish.qty_raw = view.position_qty_raw
    wish.price_raw = 0
    wish.lifetime_ns = 0
    wish.episode = state[EPISODE]
    wish.urgency = 0
    return 1


cdef int bench(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil:
    """Wish to open one lot-rounded size at the best bid on every pass, each time as a new episode."""
    state[EPISODE] += 1
    state[TRIED_NS] = 0
    return wish_long(view, state, wish)


def address(str name):
    """Address of a strategy's compiled function as an int, for the engine.

    Raises KeyError: the name is none of `names()`.
    """
    if name == "rehearsal":
        return <size_t>&rehearsal
    if name == "bench":
        return <size_t>&bench
    raise KeyError(name)


def names():
    """Names that `address` knows."""
    return ("rehearsal", "bench")
