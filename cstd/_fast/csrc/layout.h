/* Constants and structs shared by the compiled modules; layout.pxd gives Cython their shape. */
#ifndef CSTD_LAYOUT_H
#define CSTD_LAYOUT_H
#include <stdint.h>

#define CSTD_NO_BID INT64_MIN
#define CSTD_NO_ASK INT64_MAX
/* Account-currency money in compiled code: int64 in units of 10^-8. */
#define CSTD_MONEY_SCALE 100000000LL

/* One level of one side. digits holds the checksum tokens of price and quantity (the raw integers in decimal), each
 * made once when it changes, so that the checksum only concatenates. */
typedef struct {
    int64_t price_raw;
    int64_t qty_raw;
    int64_t own_qty_raw;
    double value; /* price_raw x qty_raw, made with the tokens: the feature row sums it at every level */
    uint8_t n_digits;
    uint8_t n_price_digits;
    char digits[38];
} cstd_level;

/* A side is kept best-last: level[first] is the worst kept level, level[end - 1] the best. Its total is exact and follows
 * every change, so that a band that holds the whole side need not be summed. */
typedef struct {
    cstd_level *level;
    int first;
    int end;
    int capacity;
    uint64_t version; /* counts changes of any level */
    int top_changed;  /* one of the levels that the checksum covers */
    int own_marked;   /* some level may hold own_qty_raw */
    uint64_t total_low, total_high; /* sum of price_raw x qty_raw over all levels, 128 bits */
    uint64_t prices_seen;           /* bits of (price_raw - 1), and of qty_raw, of every level since the side was empty: */
    uint64_t quantities_seen;       /* what is inside the domain here was inside it at every level */
} cstd_side;

/* Adds price x change of quantity to the total. */
static inline __attribute__((unused)) void cstd_total_add(cstd_side *side, int64_t price_raw, int64_t change_raw) {
    unsigned __int128 total = (unsigned __int128)side->total_high << 64 | side->total_low;
    total += (unsigned __int128)((__int128)price_raw * change_raw);
    side->total_low = (uint64_t)total;
    side->total_high = (uint64_t)(total >> 64);
}

/* A level came into the side or changed its quantity. */
static inline __attribute__((unused)) void cstd_total_seen(cstd_side *side, int64_t price_raw, int64_t qty_raw) {
    side->prices_seen |= (uint64_t)price_raw - 1;
    side->quantities_seen |= (uint64_t)qty_raw;
}

static inline __attribute__((unused)) void cstd_total_clear(cstd_side *side) {
    side->total_low = side->total_high = side->prices_seen = side->quantities_seen = 0;
}

/* The total as the nearest double, or its neighbour. */
static inline __attribute__((unused)) double cstd_total_value(const cstd_side *side) {
    return (double)side->total_high * 18446744073709551616.0 + (double)side->total_low;
}
#endif
