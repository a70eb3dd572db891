"""The binary interface of a strategy, see csrc/strategy.h. Wishes become intents; only gates let them out."""
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef enum:
    STRATEGY_STATE_WORDS = 32   # both as in the header: strategy.pyx compares them
    STRATEGY_PARAMS = 16

cdef extern from "strategy.h" nogil:
    enum:
        WISH_OPEN "CSTD_WISH_OPEN"
        WISH_EXIT "CSTD_WISH_EXIT"
        WISH_QUOTE "CSTD_WISH_QUOTE"
        WISH_CANCEL_BID "CSTD_WISH_CANCEL_BID"
        WISH_CANCEL_ASK "CSTD_WISH_CANCEL_ASK"
        WISH_CANCEL_BOTH "CSTD_WISH_CANCEL_BOTH"

    ctypedef struct StrategyView "cstd_strategy_view":
        int64_t now_mono_ns
        int64_t now_wall_ns
        int64_t bid_raw
        int64_t ask_raw
        int64_t tick_raw
        int64_t lot_raw
        int64_t price_scale
        int64_t qty_scale
        int64_t rate_e8
        int64_t equity_acct_raw
        int64_t position_qty_raw
        int64_t sellable
        int64_t openings_live
        int64_t exits_live
        int64_t openings_ended
        int64_t episode
        int64_t vote_count
        int64_t vote_sum_ppm
        int64_t verified
        int64_t instrument
        int64_t passes_timer
        int64_t quotes_live
        int64_t quoted_qty_raw
        int64_t quote_price_raw
        int64_t opening_price_raw
        const int64_t *params
        const double *features
        const uint64_t *valid

    ctypedef struct Wish "cstd_wish":
        int64_t qty_raw
        int64_t price_raw
        int64_t lifetime_ns
        int64_t episode
        int32_t kind
        int32_t urgency
        int32_t reason

    int64_t cstd_qty_for(int64_t notional_acct_raw, int64_t rate_e8, int64_t price_raw, int64_t price_scale,
                         int64_t qty_scale, int64_t lot_raw)

# Returns 1 when the wish is filled in, 0 for nothing; a user's own: negative for a fault.
ctypedef int (*strategy_fn)(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil
