"""The source of a strategy that buys, holds for some seconds, sells, and fails on demand by its parameter `fails`."""

SOURCE = '''
from cstd.signals.strategies.api import EXIT, NOTHING, OPEN, Strategy, View, Wish, positions
from cstd.signals.strategies.kernels import qty_for, share

PARAMS = {"size_ppm": 2_500, "hold_s": 2, "lifetime_s": 5, "fails": 0, "from_pass": 0}
Param = positions(PARAMS)
PASSES, HELD_NS, TRIED_NS, WISHES = 0, 1, 2, 3


def kernel(view, features, valid, state, params, wish):
    state[PASSES] += 1
    fails = params[Param.FAILS] if state[PASSES] > params[Param.FROM_PASS] else 0
    now_ns = view[View.NOW_WALL_NS]
    if fails == 1:
        raise ValueError
    if fails == 2:
        return 7
    if view[View.SELLABLE]:
        if state[HELD_NS] == 0:
            state[HELD_NS] = now_ns
        if view[View.EXITS_LIVE] or view[View.OPENINGS_LIVE] or now_ns - state[HELD_NS] < params[Param.HOLD_S] * 1_000_000_000:
            return NOTHING
        wish[Wish.QTY_RAW] = view[View.POSITION_QTY_RAW] * (1_000 if fails == 10 else 1)
        return EXIT
    state[HELD_NS] = 0
    if view[View.OPENINGS_LIVE] or not view[View.VERIFIED] or 0 <= now_ns - state[TRIED_NS] < 1_000_000_000:
        return NOTHING
    qty = qty_for(share(view[View.EQUITY_ACCT_RAW], params[Param.SIZE_PPM]), view[View.RATE_E8], view[View.BID_RAW],
                  view[View.PRICE_SCALE], view[View.QTY_SCALE], view[View.LOT_RAW])
    if not 0 < qty <= 10**18:
        return NOTHING
    state[TRIED_NS] = now_ns
    wish[Wish.QTY_RAW] = qty
    wish[Wish.PRICE_RAW] = view[View.BID_RAW]
    wish[Wish.LIFETIME_NS] = params[Param.LIFETIME_S] * 1_000_000_000
    wish[Wish.EPISODE] = view[View.EPISODE] + 1
    if 3 <= fails < 10:
        state[TRIED_NS] = 0
    if fails == 11:
        state[WISHES] += 1
        state[TRIED_NS] = 0
    if fails == 12 or (fails == 11 and state[WISHES] % 3 != 0):
        wish[Wish.QTY_RAW] = 0
    if fails == 3:
        wish[Wish.QTY_RAW] = 0
    if fails == 4:
        wish[Wish.PRICE_RAW] = -5
    if fails == 5:
        wish[Wish.LIFETIME_NS] = 0
    if fails == 6:
        wish[Wish.EPISODE] = -1
    if fails == 7:
        wish[Wish.QTY_RAW] = 2**62
    if fails == 8:
        wish[Wish.URGENCY] = 3
    if fails == 9:
        wish[Wish.LIFETIME_NS] = 2**62
    return OPEN


STRATEGY = Strategy("turns", kernel, params=PARAMS)
'''
