/* The binary interface of a strategy: what it sees, what it may wish for. The engine and every strategy that is compiled
 * ahead of time (cstd/signals/agents/aot.py) are built with this one file; a change of it is another CSTD_STRATEGY_ABI. */
#ifndef CSTD_STRATEGY_H
#define CSTD_STRATEGY_H

#include <stdint.h>

enum {
    CSTD_STRATEGY_ABI = 2,
    CSTD_STRATEGY_STATE_WORDS = 32,
    CSTD_STRATEGY_PARAMS = 16,
    CSTD_WISH_WORDS = 5,
};

/* One instrument at one decision pass. Quantities and prices in the instrument's raw units, money in 10**-8 of the account
 * currency. Everything here is derived from journaled events. All words are int64_t: a kernel is given them as one array. */
#define CSTD_VIEW(WORD)                                                                             \
    WORD(now_mono_ns)                                                                               \
    WORD(now_wall_ns)                                                                               \
    WORD(bid_raw)                                                                                   \
    WORD(ask_raw)                                                                                   \
    WORD(tick_raw)                                                                                  \
    WORD(lot_raw)                                                                                   \
    WORD(price_scale)                                                                               \
    WORD(qty_scale)                                                                                 \
    WORD(rate_e8)           /* account currency per unit of quote currency */                       \
    WORD(equity_acct_raw)                                                                           \
    WORD(position_qty_raw)  /* managed inventory, dust included */                                  \
    WORD(sellable)          /* 1 where the venue takes an order for what is held */                 \
    WORD(openings_live)     /* openings not in a final state, UNKNOWN included */                   \
    WORD(exits_live)        /* exits that are leaving; resting quotes are not among them */         \
    WORD(openings_ended)    /* how many openings reached a final state so far */                    \
    WORD(episode)           /* of the last opening that left, 0 for none */                         \
    WORD(vote_count)        /* agents whose vote counts now */                                      \
    WORD(vote_sum_ppm)      /* sum of direction x confidence over them, in millionths */            \
    WORD(verified)          /* 1 where the book can be used; else bid and ask are the last good bid */ \
    WORD(instrument)                                                                                \
    WORD(passes_timer)      /* 1 when a timer, not a frame, caused the pass */                      \
    WORD(quotes_live)       /* sells that rest, not in a final state, UNKNOWN included */           \
    WORD(quoted_qty_raw)    /* what they may still sell: no other sell is made of it */             \
    WORD(quote_price_raw)   /* of the newest of them, 0 for none */                                 \
    WORD(opening_price_raw) /* of the newest live opening, 0 for none */

#define CSTD_VIEW_MEMBER(name) int64_t name;
#define CSTD_VIEW_COUNTED(name) +1
#define CSTD_VIEW_NAME(name) #name,

enum { CSTD_VIEW_WORDS = 0 CSTD_VIEW(CSTD_VIEW_COUNTED) };

typedef struct {
    CSTD_VIEW(CSTD_VIEW_MEMBER)
    const int64_t *params;
    const double *features;
    const uint64_t *valid;
} cstd_strategy_view;

/* What a wish is for. The first two are codes.IntentKind. */
enum {
    CSTD_WISH_OPEN = 0,
    CSTD_WISH_EXIT = 1,
    CSTD_WISH_QUOTE = 2,      /* a post-only sell of managed inventory that rests */
    CSTD_WISH_CANCEL_BID = 3, /* cancels pass no gate */
    CSTD_WISH_CANCEL_ASK = 4,
    CSTD_WISH_CANCEL_BOTH = 5,
};

typedef struct {
    int64_t qty_raw;
    int64_t price_raw;      /* openings: the price to join; quotes: the price to rest at; exits: ignored, the collar decides */
    int64_t lifetime_ns;
    int64_t episode;
    int32_t kind;           /* CSTD_WISH_... */
    int32_t urgency;        /* exits: 0 calm, 1 urgent (starts at the second collar step) */
    int32_t reason;         /* exits: codes.ExitReason, the engine's to set */
} cstd_wish;

/* a x b / c rounded down; 64-bit where the product fits, because a 128-bit division costs three times as much. */
static inline int64_t cstd_muldiv(int64_t a, int64_t b, int64_t c)
{
    int64_t narrow;
    __int128 wide;
    if (!__builtin_mul_overflow(a, b, &narrow))
        return narrow / c;
    wide = (__int128)a * b / c;
    return wide > INT64_MAX ? -1 : (int64_t)wide;
}

/* Lots that a notional buys at a price, rounded down; 0 when anything is out of range. */
static inline int64_t cstd_qty_for(int64_t notional_acct_raw, int64_t rate_e8, int64_t price_raw, int64_t price_scale,
                                   int64_t qty_scale, int64_t lot_raw)
{
    int64_t quote_e8, qty;
    if (notional_acct_raw <= 0 || rate_e8 <= 0 || price_raw <= 0 || price_raw == INT64_MAX || lot_raw <= 0)
        return 0;
    quote_e8 = rate_e8 == 100000000 ? notional_acct_raw : cstd_muldiv(notional_acct_raw, 100000000, rate_e8);
    if (quote_e8 <= 0)
        return 0;
    qty = cstd_muldiv(quote_e8, qty_scale, price_raw); /* price_raw = price x price_scale */
    if (qty <= 0)
        return 0;
    qty = cstd_muldiv(qty, price_scale, 100000000);
    if (qty <= 0)
        return 0;
    return lot_raw == 1 ? qty : qty - qty % lot_raw;
}

#endif
