"""The binary interface of a strategy: what it sees, what it may wish for. Wishes become intents; only gates let them out."""
from libc.stdint cimport int32_t, int64_t

cdef enum:
    STRATEGY_STATE_WORDS = 32
    STRATEGY_PARAMS = 16

# One instrument at one decision pass. Quantities and prices in the instrument's raw units, money in 10**-8 of the
# account currency. Everything here is derived from journaled events.
cdef struct StrategyView:
    int64_t now_mono_ns
    int64_t now_wall_ns
    int64_t bid_raw
    int64_t ask_raw
    int64_t tick_raw
    int64_t lot_raw
    int64_t price_scale
    int64_t qty_scale
    int64_t rate_e8                 # account currency per unit of quote currency
    int64_t equity_acct_raw
    int64_t position_qty_raw        # managed inventory, dust included
    int64_t openings_live           # openings not in a final state, UNKNOWN included
    int64_t exits_live
    int64_t openings_ended          # how many openings reached a final state so far
    int64_t vote_count              # agents whose vote counts now
    double vote_sum                 # sum of direction x confidence over them
    int32_t sellable                # 1 where the venue takes an order for what is held: else it is flat, but for dust
    int32_t instrument
    int32_t passes_timer            # 1 when a timer, not a frame, caused the pass
    const int64_t *params

cdef struct Wish:
    int64_t qty_raw
    int64_t price_raw               # openings: the price to join; exits: ignored, the collar decides
    int64_t lifetime_ns
    int64_t episode
    int32_t kind                    # codes.IntentKind
    int32_t urgency                 # exits: 0 calm, 1 urgent (starts at the second collar step)
    int32_t reason                  # exits: codes.ExitReason, the engine's to set

# Returns 1 when the wish is filled in, 0 for nothing.
ctypedef int (*strategy_fn)(const StrategyView *view, int64_t *state, Wish *wish) noexcept nogil
