"""The strategy interface for Python: its sizes, the names of the view's words, and the quantity of a notional."""
from libc.stdint cimport int64_t

from cstd._fast.strategy cimport STRATEGY_PARAMS, STRATEGY_STATE_WORDS, cstd_qty_for

cdef extern from *:
    """
    #include "strategy.h"
    static const char *const cstd_view_names[] = { CSTD_VIEW(CSTD_VIEW_NAME) };
    """
    const char *const cstd_view_names[]
    int CSTD_VIEW_WORDS, CSTD_STRATEGY_ABI, CSTD_STRATEGY_STATE_WORDS, CSTD_STRATEGY_PARAMS, CSTD_WISH_WORDS

assert (STRATEGY_STATE_WORDS, STRATEGY_PARAMS) == (CSTD_STRATEGY_STATE_WORDS, CSTD_STRATEGY_PARAMS)

abi = CSTD_STRATEGY_ABI
state_words = STRATEGY_STATE_WORDS
params_max = STRATEGY_PARAMS
wish_words = CSTD_WISH_WORDS
VIEW_NAMES = tuple([cstd_view_names[i].decode().upper() for i in range(CSTD_VIEW_WORDS)])


def qty_for(int64_t notional_acct_raw, int64_t rate_e8, int64_t price_raw, int64_t price_scale, int64_t qty_scale,
            int64_t lot_raw):
    """Lots that a notional buys at a price, rounded down, as the built-in strategies have it; 0 out of range."""
    return cstd_qty_for(notional_acct_raw, rate_e8, price_raw, price_scale, qty_scale, lot_raw)
