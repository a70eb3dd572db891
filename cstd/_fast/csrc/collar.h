/* What an order is worth, and the price that an exit's collar leaves it. Integers only. */
#ifndef CSTD_COLLAR_H
#define CSTD_COLLAR_H
#include <stdint.h>

/* price x quantity in 10^-8 of the account currency, rounded up (against us), saturating. */
static inline int64_t cstd_value_acct(int64_t price_raw, int64_t qty_raw, int64_t rate_e8, int64_t price_scale,
                                      int64_t qty_scale)
{
    __int128 v;
    if (price_raw <= 0 || qty_raw <= 0 || rate_e8 <= 0)
        return 0;
    v = (__int128)price_raw * qty_raw;
    if (v > ((__int128)1 << 120) / rate_e8)
        return INT64_MAX;
    v *= rate_e8;
    __int128 scale = (__int128)price_scale * qty_scale;
    v = (v + scale - 1) / scale;
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}
/* The collar below a bid, on the tick above it so that the price stays inside. */
static inline int64_t cstd_collar_price(int64_t bid_raw, int64_t collar_mbps, int64_t tick_raw)
{
    __int128 v = (__int128)bid_raw * (10000000 - collar_mbps);
    int64_t p = (int64_t)((v + 9999999) / 10000000);
    int64_t over = p % tick_raw;
    return over ? p + tick_raw - over : p;
}
#endif
