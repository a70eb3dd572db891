/* What the fifteen gates read and write: Limits, GateInput, DecisionRow, and the reasons a gate gives.
 *
 * Units by suffix. _acct_raw: account currency in 10^-8. _mbps: thousandths of a basis point. _bps: basis points.
 * _ns: nanoseconds. _e2 _e4 _e8: the number times that power of ten. _raw alone: the instrument's own raw units.
 *
 * Arithmetic cannot overflow: prices and quantities outside CSTD_PRICE_RAW_MAX and CSTD_QTY_RAW_MAX are refused before
 * they are multiplied, everything wider is checked (csrc/gates_math.h).
 */
#ifndef CSTD_GATES_TYPES_H
#define CSTD_GATES_TYPES_H
#include <stdint.h>

#include "layout.h"

/* Twice a price (the sum of bid and ask) times 10^7 stays below 2^65, and that times a quantity below 2^127. The
 * largest raw prices of Kraken's pairs are near 10^9, so the bound costs nothing: 2^40 is 1.1 × 10^12. */
#define CSTD_PRICE_RAW_MAX (1LL << 40)
#define CSTD_QTY_RAW_MAX (1LL << 61)
#define CSTD_LEVEL_COUNT 5
#define CSTD_POLICY_GATES 7
#define CSTD_RISK_GATES 8
#define CSTD_GATES 15

/* Codes of cstd/_fast/codes.pxd as C sees them; a test holds the two equal. */
#define CSTD_SELL (-1)
#define CSTD_BUY 1
#define CSTD_OPENING 0
#define CSTD_EXIT 1
#define CSTD_REFUSE 0
#define CSTD_APPROVE 1
#define CSTD_REDUCE 2
#define CSTD_GTC 0
#define CSTD_GTD 1
#define CSTD_IOC 2

/* Escalation (systems 9). Stored in rows and journaled: a number keeps its meaning. */
enum { CSTD_LEVEL_NORMAL, CSTD_LEVEL_WARNING, CSTD_LEVEL_CRITICAL, CSTD_LEVEL_EMERGENCY, CSTD_LEVEL_SHUTDOWN };

/* codes.TradingState: what the daemon's state allows, folded to what the kill-switch gate asks. */
enum { CSTD_TRADING_READY, CSTD_TRADING_PAUSED, CSTD_TRADING_NOT_READY, CSTD_TRADING_HALTED, CSTD_TRADING_PARITY_HALT };

/* Gate codes: 1-7 policy, 11-18 risk; 20 is the bound on exits (systems 6.1), which is no gate but can refuse. */
enum {
    CSTD_GATE_NONE = 0,
    CSTD_GATE_IDEMPOTENCY = 1,
    CSTD_GATE_SPREAD = 2,
    CSTD_GATE_DEPTH = 3,
    CSTD_GATE_VOLUME = 4,
    CSTD_GATE_SLIPPAGE = 5,
    CSTD_GATE_TIME_IN_FORCE = 6,
    CSTD_GATE_PRICE = 7,
    CSTD_GATE_KILL_SWITCH = 11,
    CSTD_GATE_DATA_GAP = 12,
    CSTD_GATE_DAY_LOSS = 13,
    CSTD_GATE_DRAWDOWN = 14,
    CSTD_GATE_POSITION_COUNT = 15,
    CSTD_GATE_TOTAL_EXPOSURE = 16,
    CSTD_GATE_POSITION_SIZE = 17,
    CSTD_GATE_CORRELATION = 18,
    CSTD_GATE_MANAGED_BOUND = 20,
};

/* Why a gate did not pass; 0 is "it passed". Journaled: append only. */
enum {
    CSTD_WHY_PASSED = 0,
    CSTD_WHY_OVER_LIMIT = 1,       /* the gate's own inequality: value beyond limit */
    CSTD_WHY_BAD_INPUT = 2,        /* a sentinel, a negative or out-of-domain number */
    CSTD_WHY_OVERFLOW = 3,         /* the arithmetic would not fit */
    CSTD_WHY_NO_BOOK = 4,          /* a side is empty, or the book is crossed */
    CSTD_WHY_WARMING_UP = 5,       /* not enough history yet */
    CSTD_WHY_ID_SEEN = 6,
    CSTD_WHY_UNKNOWN_PENDING = 7,
    CSTD_WHY_DUPLICATE = 8,
    CSTD_WHY_INSTRUMENT_RATE = 9,  /* parents per instrument and hour */
    CSTD_WHY_MINUTE_RATE = 10,     /* parents per minute in all */
    CSTD_WHY_TURNOVER = 11,
    CSTD_WHY_LOSING_STREAK = 12,
    CSTD_WHY_DEPTH_FLOOR = 13,     /* visible value below the absolute floor */
    CSTD_WHY_ORDER_SHARE = 14,     /* order above its share of the mean minute */
    CSTD_WHY_BOOK_TOO_THIN = 15,   /* the visible exit side cannot take the quantity */
    CSTD_WHY_SLIPPAGE_DAY = 16,
    CSTD_WHY_SLIPPAGE_P95 = 17,
    CSTD_WHY_NOT_POST_ONLY = 18,
    CSTD_WHY_WRONG_TIF = 19,
    CSTD_WHY_DEADLINE = 20,
    CSTD_WHY_LIFETIME = 21,
    CSTD_WHY_OFF_TICK = 22,
    CSTD_WHY_OFF_LOT = 23,
    /* 24: a price outside the venue's own limits, which Kraken has none of; never given */
    CSTD_WHY_BELOW_MINIMUM = 25,   /* below the venue's minimum quantity or cost */
    CSTD_WHY_CROSSING = 26,
    CSTD_WHY_REFERENCE = 27,       /* too far from the reference price */
    CSTD_WHY_NO_REFERENCE = 28,    /* one is configured and there is none */
    CSTD_WHY_COLLAR = 29,          /* an exit beyond its collar */
    CSTD_WHY_KILLED = 30,
    CSTD_WHY_PAUSED = 31,
    CSTD_WHY_NOT_READY = 32,
    CSTD_WHY_HALTED = 33,
    CSTD_WHY_PARITY_HALT = 34,
    CSTD_WHY_LEVEL = 35,           /* an escalation level that loss and drawdown do not explain (any more) */
    CSTD_WHY_BOOK_UNVERIFIED = 36,
    CSTD_WHY_BOOK_FAULT = 37,
    CSTD_WHY_STALE = 38,           /* no evidence that the quote is current */
    CSTD_WHY_SILENT = 39,
    CSTD_WHY_VENUE_STATE = 40,
    CSTD_WHY_INSTRUMENT_STATE = 41,
    CSTD_WHY_PRIVATE_STREAM = 42,
    CSTD_WHY_CONVERSION = 43,
    CSTD_WHY_CLOCK = 44,
    CSTD_WHY_LOSS_AMOUNT = 45,     /* the absolute amount in account currency */
    CSTD_WHY_LONG_ONLY = 46,
    CSTD_WHY_TOO_SMALL = 47,       /* what the caps leave is below the reduction floor or the venue's minimum */
    CSTD_WHY_ABOVE_MANAGED = 48,   /* an exit above managed free quantity */
    CSTD_WHY_COUNT = 49,
};

/* Every limit of the fifteen gates; one per instrument, because an instrument may override. */
typedef struct {
    /* policy 1 */
    int64_t dedupe_window_ns; /* read by the engine, which sets dedupe_hit */
    int64_t parents_instrument_hour_max;
    int64_t parents_minute_max;
    int64_t turnover_day_max_bps; /* of equity */
    int64_t losing_round_trips_max;
    /* policy 2-4 */
    int64_t spread_max_mbps;
    int64_t depth_band_mbps;
    int64_t depth_min_acct_raw;
    int64_t depth_multiple_e2; /* of the notional */
    int64_t volume_hour_min_acct_raw;
    int64_t volume_share_max_bps; /* of the mean minute */
    /* policy 5 */
    int64_t exit_cost_max_mbps;
    int64_t slippage_day_max_mbps; /* of the day's starting equity */
    int64_t slippage_p95_max_mbps;
    int64_t slippage_p95_fills_min;
    /* policy 6, 7 */
    int64_t deadline_min_ns;
    int64_t deadline_max_ns;
    int64_t lifetime_max_ns;
    int64_t price_band_mbps;
    int64_t reference_band_mbps;
    int64_t collar_max_mbps;
    int64_t rest_price_after_ns; /* an exit may price from REST once the book is unverified for longer */
    int64_t rest_age_max_ns;
    /* risk 2 */
    int64_t evidence_age_max_ns;
    int64_t silent_max_ns;
    int64_t unverified_grace_ns; /* for a resting order that is re-judged */
    int64_t clock_offset_max_ns;
    /* risk 3, 4: warning, critical, emergency, shutdown */
    int64_t day_loss_bps[4];
    int64_t day_loss_max_acct_raw;
    int64_t drawdown_bps[4];
    /* risk 5-8, of equity */
    int64_t positions_max;
    int64_t exposure_max_bps;
    int64_t position_max_bps;
    int64_t cluster_max_bps;
    /* sizes by level, and the smallest part of a request that is still worth sending */
    int64_t level_size_e4[CSTD_LEVEL_COUNT];
    int64_t reduce_min_bps;
} cstd_limits;

/* One intent as the engine sees it. Everything about other orders leaves this order out. */
typedef struct {
    const cstd_side *bids;
    const cstd_side *asks;

    int64_t price_raw;
    int64_t qty_raw;
    int64_t qty_wanted_raw; /* before the level's size multiplier; 0 = qty_raw */
    int64_t price_scale;    /* 10^price_precision */
    int64_t qty_scale;      /* 10^qty_precision */
    int64_t tick_raw;
    int64_t lot_raw;
    int64_t qty_min_raw;
    int64_t cost_min_quote_e8; /* venue's minimum cost, quote currency in 10^-8 */
    int64_t deadline_ns;       /* after now */
    int64_t lifetime_ns;       /* until the order expires, after now */
    int64_t now_wall_ns;
    int64_t now_mono_ns;
    int64_t episode;

    int64_t unverified_for_ns; /* 0 while verified */
    int64_t evidence_age_ns;
    int64_t silent_for_ns;
    int64_t clock_offset_ns; /* 0 in the replay of a recording, which does not judge it */
    int64_t conversion_rate_e8; /* account currency per unit of quote currency */
    int64_t conversion_haircut_bps;
    int64_t rest_bid_raw; /* best bid of the last REST depth snapshot; 0 = none */
    int64_t rest_age_ns;
    int64_t last_verified_bid_raw; /* 0 = none */
    int64_t collar_mbps;           /* of this exit's urgency */

    int64_t parents_instrument_hour;
    int64_t parents_minute;
    int64_t turnover_day_acct_raw;
    int64_t losing_round_trips;
    int64_t volume_hour_acct_raw;
    int64_t markout_allowance_mbps;
    int64_t slippage_day_acct_raw; /* positive = paid */
    int64_t day_start_equity_acct_raw;
    int64_t slippage_p95_mbps;
    int64_t slippage_fills;
    int64_t reference_price_raw; /* of the futures feed's index; 0 = none that counts */

    int64_t equity_acct_raw; /* min(allocated capital, account) */
    int64_t day_loss_bps;    /* the worse of UTC day and 24 h; negative = profit */
    int64_t day_loss_acct_raw;
    int64_t drawdown_bps;
    int64_t positions_count;
    int64_t exposure_acct_raw; /* positions + open + UNKNOWN */
    int64_t asset_exposure_acct_raw;
    int64_t cluster_exposure_acct_raw;
    int64_t managed_free_qty_raw; /* managed less open and UNKNOWN sells */

    int32_t instrument;
    int32_t strategy_code;

    int8_t kind;          /* codes.IntentKind */
    int8_t side;          /* codes.Side */
    int8_t time_in_force; /* codes.TimeInForce */
    int8_t book_fault;    /* codes.BookFault */
    int8_t level;         /* the higher of latched and conditional */
    int8_t trading_state; /* codes.TradingState */
    uint8_t post_only;
    uint8_t rejudge; /* a resting order, or an amend of one */
    uint8_t book_verified;
    uint8_t venue_online;
    uint8_t instrument_online;
    uint8_t private_up;
    uint8_t private_ready;
    uint8_t conversion_ok;
    uint8_t id_seen;
    uint8_t same_unknown;
    uint8_t dedupe_hit;
    uint8_t instrument_off;
    uint8_t volume_ready;
    uint8_t reference_required;
    uint8_t kill_latched;
    uint8_t instrument_has_position;
    uint8_t spare[2];
} cstd_gate_input;

/* One judged intent. The gates write the first part, whole, on every call; the engine writes the second. No byte is
 * padding, so a row can be hashed as it lies. Bit i of a mask is gate i + 1 of its kind; recorded_mask has the policy
 * gates in bits 0-6 and the risk gates in bits 7-14, as reason[] has. */
typedef struct {
    int64_t decided_wall_ns;
    int64_t episode;
    int64_t policy_value[CSTD_POLICY_GATES];
    int64_t policy_limit[CSTD_POLICY_GATES];
    int64_t risk_value[CSTD_RISK_GATES];
    int64_t risk_limit[CSTD_RISK_GATES];
    int64_t qty_requested_raw;
    int64_t qty_final_raw;          /* 0 when refused */
    int64_t counterfactual_qty_raw; /* the largest quantity, up to the request, that would have passed */
    int64_t managed_free_qty_raw;
    int64_t price_raw;
    int64_t bid_raw; /* best of others; layout.NO_BID when there is none */
    int64_t ask_raw; /* best of others; layout.NO_ASK when there is none */
    int64_t mid2_raw; /* bid + ask; 0 when there is no mid */
    int64_t equity_acct_raw;
    int64_t notional_acct_raw;
    int64_t depth_acct_raw; /* visible value of the exit side within the band */
    int64_t exit_cost_mbps; /* walk of the exit side against mid, without allowance */
    int32_t instrument;
    int32_t strategy;
    uint16_t policy_pass_mask;
    uint16_t risk_pass_mask;
    uint16_t recorded_mask; /* failed, but cannot refuse this intent */
    int16_t size_multiplier_e4;
    int8_t reason[CSTD_GATES];
    int8_t kind;
    int8_t side;
    int8_t verdict;
    int8_t first_failing; /* gate code; 0 = none */
    int8_t reduced_by;    /* gate code whose cap decided a reduction; 0 = none */
    int8_t verdict_reason; /* CSTD_WHY_TOO_SMALL, _ABOVE_MANAGED, _LEVEL or the first failing gate's reason */
    int8_t level;
    int8_t rejudge;
    int8_t time_in_force;

    int64_t event_seq;
    int64_t intent_seq;
    uint32_t checksum;
    int32_t order_slot;
    uint16_t child;
    uint16_t attempt;
    char cl_ord_id[18];
    uint8_t config_hash8[8];
    uint8_t agents_hash8[8];
    uint8_t shadow; /* decided without sending */
    uint8_t rest;   /* exits; bit 0: goes by REST, bit 1: priced from a REST snapshot, bits 4-7: codes.ExitReason.
                     * openings; bit 2: waits for an operator, bit 3: one had approved it, both: no room to wait */
} cstd_decision_row;

_Static_assert(sizeof(cstd_decision_row) <= 512, "a decision row outgrew 512 bytes");
#endif
