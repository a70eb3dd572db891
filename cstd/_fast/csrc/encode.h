/* Order frames as bytes, formatted by hand: snprintf alone would cost more than the whole path (about 530 ns).
 *
 * Only the engine module includes this (a test holds that): no other code, and nothing in Python, can make an order
 * frame. Frames are built without the session token; token_at tells the link where it belongs. */
#ifndef CSTD_ENCODE_H
#define CSTD_ENCODE_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "digits.h"

typedef struct {
    char name[24]; /* wire name of the instrument, JSON-safe */
    int name_n;
    int price_precision;
    int qty_precision;
} cstd_wire_instrument;

typedef struct {
    int side;          /* 1 buy, -1 sell */
    int time_in_force; /* codes.TimeInForce */
    int post_only;
    int64_t price_raw;
    int64_t qty_raw;
    int64_t expire_wall_ns;   /* GTD */
    int64_t deadline_wall_ns; /* 0 = none */
    int64_t clock_ahead_ns;   /* how far the clock that the deadline was counted by is ahead of the venue's */
    int64_t req_id;
    const char *cl_ord_id; /* 18 characters */
} cstd_order_terms;

#define CSTD_FRAME_MAX 576 /* the longest frame has about 420 bytes; copies of a fixed size reach a little further */
#define CSTD_PUT(to, text)                                                                                      \
    do {                                                                                                        \
        memcpy(to, text, sizeof(text) - 1);                                                                     \
        to += sizeof(text) - 1;                                                                                 \
    } while (0)

static inline char *cstd_put_u64(char *to, uint64_t v)
{
    return to + cstd_digits(v, to);
}

/* raw x 10^-precision with all its decimals, as the venue prints numbers; precision at most 18. */
static inline char *cstd_put_fixed(char *to, int64_t raw, int precision)
{
    uint64_t v = (uint64_t)raw, whole, scale;
    int n;
    if (!precision)
        return cstd_put_u64(to, v);
    scale = cstd_digit_floor[precision];
    whole = v / scale;
    v -= whole * scale;
    to = cstd_put_u64(to, whole);
    memcpy(to, ".000000000000000000", 19); /* the zeros before the fraction's own digits */
    n = cstd_digit_count(v);
    cstd_write_digits(v, n, to + 1 + precision - n);
    return to + 1 + precision;
}

static inline char *cstd_put_2(char *to, unsigned v)
{
    memcpy(to, cstd_pairs + 2 * v, 2);
    return to + 2;
}

/* The date of one day as text; a day lasts for many orders, and its date takes ten divisions. */
typedef struct {
    int64_t day; /* days since 1970-01-01, 0 before first use */
    char text[11];
} cstd_day_text;

static void cstd_day_set(cstd_day_text *cache, int64_t days)
{
    /* civil date from days, eras of 400 years from March */
    int64_t z = days + 719468;
    int64_t era = z / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    unsigned day = doy - (153 * mp + 2) / 5 + 1;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;
    unsigned year = (unsigned)(yoe + era * 400 + (month <= 2));
    char *to = cache->text;
    to = cstd_put_2(to, year / 100);
    to = cstd_put_2(to, year % 100);
    *to++ = '-';
    to = cstd_put_2(to, month);
    *to++ = '-';
    to = cstd_put_2(to, day);
    *to = 'T';
    cache->day = days;
}

/* "2026-08-02T03:35:51Z" of a wall time, with millis "2026-08-02T03:35:51.120Z". */
static inline char *cstd_put_time(char *to, int64_t wall_ns, int millis, cstd_day_text *cache)
{
    int64_t ms = wall_ns / 1000000LL;
    int64_t days = ms / 86400000LL;
    unsigned rest = (unsigned)(ms - days * 86400000LL);
    unsigned fraction = rest % 1000;
    rest /= 1000;
    if (cache->day != days)
        cstd_day_set(cache, days);
    memcpy(to, cache->text, 11);
    to += 11;
    to = cstd_put_2(to, rest / 3600);
    *to++ = ':';
    to = cstd_put_2(to, rest / 60 % 60);
    *to++ = ':';
    to = cstd_put_2(to, rest % 60);
    if (millis) {
        *to++ = '.';
        *to++ = (char)('0' + fraction / 100);
        to = cstd_put_2(to, fraction % 100);
    }
    *to++ = 'Z';
    return to;
}

static inline size_t cstd_close_frame(char *start, char *to, int64_t req_id, size_t *token_at)
{
    CSTD_PUT(to, ",\"token\":\"");
    *token_at = (size_t)(to - start);
    CSTD_PUT(to, "\"},\"req_id\":");
    to = cstd_put_u64(to, (uint64_t)req_id);
    *to++ = '}';
    return (size_t)(to - start);
}

/* add_order. The buffer must hold CSTD_FRAME_MAX bytes; returns the length. */
static inline size_t cstd_encode_add(char *buffer, const cstd_wire_instrument *i, const cstd_order_terms *o,
                                     cstd_day_text *day, size_t *token_at)
{
    char *to = buffer;
    CSTD_PUT(to, "{\"method\":\"add_order\",\"params\":{\"order_type\":\"limit\",\"side\":\"");
    if (o->side > 0)
        CSTD_PUT(to, "buy");
    else
        CSTD_PUT(to, "sell");
    CSTD_PUT(to, "\",\"symbol\":\"");
    memcpy(to, i->name, sizeof(i->name)); /* the rest is overwritten */
    to += i->name_n;
    CSTD_PUT(to, "\",\"order_qty\":");
    to = cstd_put_fixed(to, o->qty_raw, i->qty_precision);
    CSTD_PUT(to, ",\"limit_price\":");
    to = cstd_put_fixed(to, o->price_raw, i->price_precision);
    if (o->time_in_force == 2) {
        CSTD_PUT(to, ",\"time_in_force\":\"ioc\"");
    } else if (o->time_in_force == 1) {
        CSTD_PUT(to, ",\"time_in_force\":\"gtd\",\"expire_time\":\"");
        to = cstd_put_time(to, o->expire_wall_ns, 0, day);
        *to++ = '"';
    } else {
        CSTD_PUT(to, ",\"time_in_force\":\"gtc\"");
    }
    if (o->post_only)
        CSTD_PUT(to, ",\"post_only\":true,\"stp_type\":\"cancel_newest\"");
    else
        CSTD_PUT(to, ",\"stp_type\":\"cancel_oldest\"");
    CSTD_PUT(to, ",\"fee_preference\":\"quote\",\"cl_ord_id\":\"");
    memcpy(to, o->cl_ord_id, 18);
    to += 18;
    *to++ = '"';
    if (o->deadline_wall_ns) {
        CSTD_PUT(to, ",\"deadline\":\"");
        to = cstd_put_time(to, o->deadline_wall_ns - o->clock_ahead_ns, 1, day);
        *to++ = '"';
    }
    return cstd_close_frame(buffer, to, o->req_id, token_at);
}

/* AddOrder of an exit by REST, as "AddOrder?name=value&...". There is no other order that this can say: it sells, and
 * what is not taken at once is canceled. No value needs escaping here; the HTTP client escapes what it sends. */
static inline size_t cstd_encode_exit_rest(char *buffer, const cstd_wire_instrument *i, const cstd_order_terms *o,
                                           cstd_day_text *day)
{
    char *to = buffer;
    CSTD_PUT(to, "AddOrder?pair=");
    memcpy(to, i->name, sizeof(i->name)); /* the rest is overwritten */
    to += i->name_n;
    CSTD_PUT(to, "&type=sell&ordertype=limit&volume=");
    to = cstd_put_fixed(to, o->qty_raw, i->qty_precision);
    CSTD_PUT(to, "&price=");
    to = cstd_put_fixed(to, o->price_raw, i->price_precision);
    CSTD_PUT(to, "&timeinforce=IOC&stptype=cancel-oldest&oflags=fciq&cl_ord_id=");
    memcpy(to, o->cl_ord_id, 18);
    to += 18;
    CSTD_PUT(to, "&deadline=");
    to = cstd_put_time(to, o->deadline_wall_ns - o->clock_ahead_ns, 1, day);
    return (size_t)(to - buffer);
}

/* amend_order in place: the new total quantity, filled part included, and the price; it never takes. */
static inline size_t cstd_encode_amend(char *buffer, const cstd_wire_instrument *i, const cstd_order_terms *o,
                                       cstd_day_text *day, size_t *token_at)
{
    char *to = buffer;
    CSTD_PUT(to, "{\"method\":\"amend_order\",\"params\":{\"cl_ord_id\":\"");
    memcpy(to, o->cl_ord_id, 18);
    to += 18;
    CSTD_PUT(to, "\",\"order_qty\":");
    to = cstd_put_fixed(to, o->qty_raw, i->qty_precision);
    CSTD_PUT(to, ",\"limit_price\":");
    to = cstd_put_fixed(to, o->price_raw, i->price_precision);
    CSTD_PUT(to, ",\"post_only\":true,\"deadline\":\"");
    to = cstd_put_time(to, o->deadline_wall_ns, 1, day);
    *to++ = '"';
    return cstd_close_frame(buffer, to, o->req_id, token_at);
}

/* cancel_all: every order of the account, hand-placed ones too. */
static inline size_t cstd_encode_cancel_all(char *buffer, int64_t req_id, size_t *token_at)
{
    char *to = buffer;
    CSTD_PUT(to, "{\"method\":\"cancel_all\",\"params\":{\"token\":\"");
    *token_at = (size_t)(to - buffer);
    CSTD_PUT(to, "\"},\"req_id\":");
    to = cstd_put_u64(to, (uint64_t)req_id);
    *to++ = '}';
    return (size_t)(to - buffer);
}

/* cancel_order of one order by its client order id. */
static inline size_t cstd_encode_cancel(char *buffer, const char *cl_ord_id, int64_t req_id, size_t *token_at)
{
    char *to = buffer;
    CSTD_PUT(to, "{\"method\":\"cancel_order\",\"params\":{\"cl_ord_id\":[\"");
    memcpy(to, cl_ord_id, 18);
    to += 18;
    CSTD_PUT(to, "\"]");
    return cstd_close_frame(buffer, to, req_id, token_at);
}
#endif
