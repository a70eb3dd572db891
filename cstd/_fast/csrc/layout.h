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

/* A side is kept best-last: level[first] is the worst kept level, level[end - 1] the best. */
typedef struct {
    cstd_level *level;
    int first;
    int end;
    int capacity;
    uint64_t version; /* counts changes of any level */
    int top_changed;  /* one of the levels that the checksum covers */
    int own_marked;   /* some level may hold own_qty_raw */
} cstd_side;
#endif
