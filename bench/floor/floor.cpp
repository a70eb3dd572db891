// The floor: the work of one frame written straight down in C++, for the processor it is compiled on.
//
// The same work as the compiled path of cstd: scan the frame, apply it to a book, compare the CRC32 on every message,
// keep the order-flow sums and the feature row, let the microstructure agent vote; with an order: wish, fifteen gates with
// value, limit and verdict each, client order id, order bytes, the row and the frame copied away as on a record. Left out
// is what a daemon has besides: bounds checks, other kinds of frames, live orders, the tolerant path. Compiled with
// -DFLOOR_MANY it has as many instruments as snapshots name, looked up by a name of seven letters.
// Nothing of cstd's own code is used, so that a slow idea there is not measured against itself.
//
//   floor FRAMES decision|order ROUNDS     FRAMES: repeated (uint32 length, bytes), little-endian; one JSON object on stdout
#include <immintrin.h>
#include <x86intrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace {

#ifndef FLOOR_DEPTH
#define FLOOR_DEPTH 25
#endif
#ifndef FLOOR_PRICE_DIGITS
#define FLOOR_PRICE_DIGITS 1
#endif
#ifndef FLOOR_CAPACITY
#define FLOOR_CAPACITY 4096
#endif
#ifdef FLOOR_MANY
constexpr bool MANY = true;
#else
constexpr bool MANY = false;
#endif

constexpr int64_t power(int n) { return n ? 10 * power(n - 1) : 1; }

constexpr int DEPTH = FLOOR_DEPTH, PRICE_DIGITS = FLOOR_PRICE_DIGITS, QTY_DIGITS = 8, LEVELS_MAX = 1280, CAPACITY = FLOOR_CAPACITY;
constexpr int64_t PRICE_SCALE = power(PRICE_DIGITS), QTY_SCALE = power(QTY_DIGITS);
constexpr int64_t MONEY = 100'000'000, STEP_NS = 10'000'000, SECOND = 1'000'000'000;

struct Wire {
    int64_t price, qty;
};

struct Update {
    bool snapshot;
    int instrument = 0;
    int n_bids, n_asks;
    uint32_t checksum;
    int64_t exch_ns;
    Wire bids[LEVELS_MAX], asks[LEVELS_MAX];
};

// Scanner.

const char *digits(const char *p, int64_t *value) {
    int64_t v = *value;
    for (unsigned d; (d = static_cast<unsigned char>(*p) - '0') < 10; p++) {
        v = v * 10 + d;
    }
    *value = v;
    return p;
}

constexpr int64_t POWERS[] = {1,       10,       100,       1'000,       10'000,
                              100'000, 1'000'000, 10'000'000, 100'000'000, 1'000'000'000};

const char *decimal(const char *p, int precision, int64_t *out) {
    int64_t value = 0;
    p = digits(p, &value);
    int missing = precision;
    if (*p == '.') {
        const char *from = ++p;
        p = digits(p, &value);
        missing -= static_cast<int>(p - from);
    }
    *out = value * POWERS[missing];
    return p;
}

const char *levels(const char *p, Wire *to, int *count) {
    int n = 0;
    if (*p != ']') {
        for (;;) {
            p = decimal(p + 9, PRICE_DIGITS, &to[n].price);  // {"price":
            p = decimal(p + 7, QTY_DIGITS, &to[n].qty);      // ,"qty":
            n++;
            if (p[1] == ']') {
                p++;
                break;
            }
            p += 2;
        }
    }
    *count = n;
    return p + 1;
}

int two(const char *p) { return (p[0] - '0') * 10 + p[1] - '0'; }

struct Clock {
    char date[10] = {};
    int64_t day_ns = 0;
    int64_t at(const char *p) {
        if (memcmp(p, date, 10) != 0) {
            memcpy(date, p, 10);
            tm parts{};
            parts.tm_year = two(p) * 100 + two(p + 2) - 1900;
            parts.tm_mon = two(p + 5) - 1;
            parts.tm_mday = two(p + 8);
            day_ns = timegm(&parts) * SECOND;
        }
        int64_t fraction = 0;
        const char *from = p + 20, *after = digits(from, &fraction);
        return day_ns + (two(p + 11) * 3600 + two(p + 14) * 60 + two(p + 17)) * SECOND +
               fraction * POWERS[9 - (after - from)];
    }
};

// Numbers of instruments by name; a name that is not known yet gets the next number.
struct Names {
    static constexpr size_t N = 4096;
    std::vector<uint64_t> keys = std::vector<uint64_t>(N);
    std::vector<int> numbers = std::vector<int>(N);
    int count = 0;
    int find(const char *name) {
        uint64_t key;
        memcpy(&key, name, 8);  // seven letters and the quote after them
        size_t at = key * 0x9E3779B97F4A7C15ULL >> 52;
        while (keys[at] != key) {
            if (keys[at] == 0) {
                keys[at] = key;
                numbers[at] = count++;
                break;
            }
            at = (at + 1) % N;
        }
        return numbers[at];
    }
};

// 1: a book frame. 0: another one.
int scan(const char *p, size_t n, Update *out, Clock *clock, Names *names) {
    constexpr char HEAD[] = "{\"channel\":\"book\",\"type\":\"";
    constexpr char NAME[] = "BTC/USD\",\"bids\":[";
    if (n < 120 || memcmp(p, HEAD, sizeof HEAD - 1) != 0) {
        return 0;
    }
    p += sizeof HEAD - 1;
    out->snapshot = *p == 's';
    p += out->snapshot ? 29 : 27;  // snapshot","data":[{"symbol":"
    if (MANY) {
        out->instrument = names->find(p);
    } else if (memcmp(p, NAME, sizeof NAME - 1) != 0) {
        return 0;
    }
    p = levels(p + sizeof NAME - 1, out->bids, &out->n_bids);
    p = levels(p + 9, out->asks, &out->n_asks);  // ,"asks":[
    int64_t checksum = 0;
    p = digits(p + 12, &checksum);  // ,"checksum":
    out->checksum = static_cast<uint32_t>(checksum);
    out->exch_ns = clock->at(p + 14);  // ,"timestamp":"
    return 1;
}

// Book.

struct Level {
    int64_t price, qty;
    uint8_t n_price, n_all;
    char text[38];
};

struct Pairs {
    char text[200];
    Pairs() {
        for (int i = 0; i < 100; i++) {
            text[2 * i] = static_cast<char>('0' + i / 10), text[2 * i + 1] = static_cast<char>('0' + i % 10);
        }
    }
};
const Pairs PAIRS;

// The last `n` digits of v, two at a time, ending before `end`.
void write_back(char *end, uint64_t v, int n) {
    for (; n >= 2; n -= 2, v /= 100) {
        end -= 2;
        memcpy(end, PAIRS.text + 2 * (v % 100), 2);
    }
    if (n) {
        end[-1] = static_cast<char>('0' + v % 10);
    }
}

char *write_number(char *to, uint64_t v) {
    int n = 1;
    for (uint64_t bound = 10; v >= bound && n < 19; bound *= 10) {
        n++;
    }
    write_back(to + n, v, n);
    return to + n;
}

template <int SIGN>  // +1 bids, -1 asks; the best level is last
struct Side {
    std::vector<Level> store = std::vector<Level>(CAPACITY);
    Level *level = store.data();
    int first = CAPACITY / 2, end = CAPACITY / 2;
    bool top_changed = true, changed = true;

    Level &best() { return level[end - 1]; }

    void clear() {
        first = end = CAPACITY / 2;
        top_changed = changed = true;
    }

    void put(const Wire &update) {
        int i = end - 1;
        changed = true;
        if (i >= first && SIGN * level[first].price > SIGN * update.price) {
            i = first - 1;
        } else {
            while (i >= first && SIGN * level[i].price > SIGN * update.price) {
                i--;
            }
        }
        bool there = i >= first && level[i].price == update.price;
        if (!there && update.qty == 0) {
            return;
        }
        if (there && update.qty == 0) {
            top_changed |= end - i <= 10;
            if (i - first < end - i) {
                memmove(level + first + 1, level + first, (i - first) * sizeof(Level));
                first++;
            } else {
                end--;
                memmove(level + i, level + i + 1, (end - i) * sizeof(Level));
            }
            return;
        }
        if (!there) {
            i++;
            if (i - first < end - i) {
                memmove(level + first - 1, level + first, (i - first) * sizeof(Level));
                first--, i--;
            } else {
                memmove(level + i + 1, level + i, (end - i) * sizeof(Level));
                end++;
            }
            level[i].price = update.price;
            level[i].n_price = static_cast<uint8_t>(write_number(level[i].text, update.price) - level[i].text);
        }
        level[i].qty = update.qty;
        char *text = level[i].text;
        level[i].n_all = static_cast<uint8_t>(write_number(text + level[i].n_price, update.qty) - text);
        top_changed |= end - i <= 10;
    }

    char *tokens(char *to) const {
        for (int i = end - 1; i >= std::max(first, end - 10); i--) {
            memcpy(to, level[i].text, 38);
            to += level[i].n_all;
        }
        return to;
    }
};

// CRC-32 by carry-less multiplication (Intel's paper on PCLMULQDQ, 2009); the rest by table.
struct Crc {
    uint32_t table[256];
    Crc() {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) {
                c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
            }
            table[i] = c;
        }
    }
    uint32_t operator()(const char *data, size_t n) const {
        const uint8_t *p = reinterpret_cast<const uint8_t *>(data);
        uint32_t crc = 0xFFFFFFFFu;
        if (n >= 64) {
            size_t folded = n & ~size_t{15};
            crc = fold(crc, p, folded);
            p += folded;
            n -= folded;
        }
        for (; n; n--) {
            crc = table[(crc ^ *p++) & 255] ^ (crc >> 8);
        }
        return ~crc;
    }
    static __m128i step(__m128i x, __m128i k, __m128i next) {
        return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11)), next);
    }
    static __m128i load(const uint8_t *p) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p)); }
    static uint32_t fold(uint32_t crc, const uint8_t *p, size_t n) {
        const __m128i by4 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), by1 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
        const __m128i k5 = _mm_set_epi64x(0, 0x0163cd6124), poly = _mm_set_epi64x(0x01f7011641, 0x01db710641);
        const __m128i low = _mm_setr_epi32(-1, 0, -1, 0);
        __m128i x[4];
        for (int i = 0; i < 4; i++) {
            x[i] = load(p + 16 * i);
        }
        x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128(static_cast<int>(crc)));
        for (p += 64, n -= 64; n >= 64; p += 64, n -= 64) {
            for (int i = 0; i < 4; i++) {
                x[i] = step(x[i], by4, load(p + 16 * i));
            }
        }
        __m128i a = step(step(step(x[0], by1, x[1]), by1, x[2]), by1, x[3]);
        for (; n; p += 16, n -= 16) {
            a = step(a, by1, load(p));
        }
        a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by1, 0x10));
        a = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(a, low), k5, 0x00), _mm_srli_si128(a, 4));
        __m128i t = _mm_clmulepi64_si128(_mm_and_si128(a, low), poly, 0x10);
        t = _mm_clmulepi64_si128(_mm_and_si128(t, low), poly, 0x00);
        return static_cast<uint32_t>(_mm_extract_epi32(_mm_xor_si128(a, t), 1));
    }
};

const Crc CRC;

struct Book {
    Side<1> bids;
    Side<-1> asks;
    char tokens[1024];
    size_t asks_n = 0;
    uint32_t checksum = 0;
    int64_t exch_ns = 0;

    bool apply(const Update &u) {
        if (u.snapshot) {
            bids.clear();
            asks.clear();
        }
        for (int i = 0; i < u.n_bids; i++) {
            bids.put(u.bids[i]);
        }
        for (int i = 0; i < u.n_asks; i++) {
            asks.put(u.asks[i]);
        }
        bids.first = std::max(bids.first, bids.end - DEPTH);
        asks.first = std::max(asks.first, asks.end - DEPTH);
        if (bids.top_changed || asks.top_changed) {
            if (asks.top_changed) {
                asks_n = asks.tokens(tokens) - tokens;
            }
            checksum = CRC(tokens, bids.tokens(tokens + asks_n) - tokens);
            bids.top_changed = asks.top_changed = false;
        }
        exch_ns = std::max(exch_ns, u.exch_ns);
        return checksum == u.checksum && bids.end > bids.first && asks.end > asks.first &&
               bids.best().price < asks.best().price;
    }
};

// Features and the agent.

struct Sums {
    double qty_1, qty_5, qty_10, value_10, near, far, distance_10;
};

template <int SIGN>
void walk(const Side<SIGN> &side, double mid, Sums *out) {
    const double near = mid * (1 - SIGN * 10e-4), far = mid * (1 - SIGN * 25e-4);
    double qty = 0, value = 0, within_near = 0, within_far = 0;
    int n = 0;
    for (int i = side.end - 1; i >= side.first; i--, n++) {
        double price = static_cast<double>(side.level[i].price);
        if (SIGN * price < SIGN * far && n >= 10) {
            break;
        }
        double q = static_cast<double>(side.level[i].qty), v = q * price;
        within_near += SIGN * price >= SIGN * near ? v : 0;
        within_far += SIGN * price >= SIGN * far ? v : 0;
        if (n < 10) {
            qty += q;
            value += v;
            if (n == 0) {
                out->qty_1 = qty;
            }
            if (n <= 4) {
                out->qty_5 = qty;
            }
            out->distance_10 = SIGN * (mid - price);
        }
    }
    out->qty_10 = qty;
    out->value_10 = value;
    out->near = within_near;
    out->far = within_far;
}

struct Features {
    enum { SPREAD, IMB_1, IMB_5, IMB_10, WMID, OFI, OFI_1S, OFI_10S, D_B10, D_A10, D_B25, D_A25, SLOPE_B, SLOPE_A, COUNT };
    double row[COUNT] = {};
    Sums b{}, a{};
    int64_t mid2 = 0, bid = 0, ask = 0, bid_qty = 0, ask_qty = 0, last_ns = 0, since_ns = 0;
    double net_1s = 0, gross_1s = 0, net_10s = 0, gross_10s = 0, flow[5] = {};

    void decay(int64_t now) {
        double f60 = std::exp(static_cast<double>(now - last_ns) * (-1.0 / 60e9));
        last_ns = now;
        double f2 = f60 * f60, f10 = f2 * f2 * f2, f20 = f10 * f10, f1 = f20 * f20 * f20 * f20 * f20;
        net_1s *= f1, gross_1s *= f1, net_10s *= f10, gross_10s *= f10;
        flow[0] *= f10, flow[1] *= f10, flow[2] *= f60, flow[3] *= f60, flow[4] *= f60;
    }

    void on_book(Book &book, int64_t now) {
        const double unit = 1.0 / (PRICE_SCALE * static_cast<double>(QTY_SCALE));
        const Level &top_bid = book.bids.best(), &top_ask = book.asks.best();
        const double mid = 0.5 * (static_cast<double>(top_bid.price) + static_cast<double>(top_ask.price));
        const bool moved = mid2 != top_bid.price + top_ask.price;
        mid2 = top_bid.price + top_ask.price;
        if (moved || book.bids.changed) {
            walk(book.bids, mid, &b);
            book.bids.changed = false;
        }
        if (moved || book.asks.changed) {
            walk(book.asks, mid, &a);
            book.asks.changed = false;
        }
        row[SPREAD] = static_cast<double>(top_ask.price - top_bid.price) / mid * 1e4;
        row[IMB_1] = (b.qty_1 - a.qty_1) / (b.qty_1 + a.qty_1);
        row[IMB_5] = (b.qty_5 - a.qty_5) / (b.qty_5 + a.qty_5);
        row[IMB_10] = (b.qty_10 - a.qty_10) / (b.qty_10 + a.qty_10);
        row[WMID] = row[IMB_1] * 0.5 * row[SPREAD];
        row[D_B10] = b.near * unit, row[D_A10] = a.near * unit, row[D_B25] = b.far * unit, row[D_A25] = a.far * unit;
        row[SLOPE_B] = b.value_10 * unit * mid / (b.distance_10 * 1e4);
        row[SLOPE_A] = a.value_10 * unit * mid / (a.distance_10 * 1e4);
        decay(now);
        order_flow(top_bid, top_ask, now);
    }

    void order_flow(const Level &top_bid, const Level &top_ask, int64_t now) {
        double net = 0, touch = static_cast<double>(top_bid.qty) + static_cast<double>(top_ask.qty);
        if (bid) {
            net += top_bid.price >= bid ? static_cast<double>(top_bid.qty) : 0;
            net -= top_bid.price <= bid ? static_cast<double>(bid_qty) : 0;
            net -= top_ask.price <= ask ? static_cast<double>(top_ask.qty) : 0;
            net += top_ask.price >= ask ? static_cast<double>(ask_qty) : 0;
            row[OFI] = net / (touch + static_cast<double>(bid_qty) + static_cast<double>(ask_qty));
        } else {
            since_ns = now;
        }
        net_1s += net, net_10s += net, gross_1s += std::fabs(net), gross_10s += std::fabs(net);
        bid = top_bid.price, bid_qty = top_bid.qty, ask = top_ask.price, ask_qty = top_ask.qty;
        row[OFI_1S] = now - since_ns >= SECOND ? net_1s / (gross_1s + touch) : 0;
        row[OFI_10S] = now - since_ns >= 10 * SECOND ? net_10s / (gross_10s + touch) : 0;
    }
};

struct Agent {
    double score = 0, vote = 0, strength = 0;
    int64_t updates = 0;
    static double clamp(double x) { return std::min(1.0, std::max(-1.0, x)); }
    void on_row(const double *row) {
        if (!(row[Features::SPREAD] > 0 && row[Features::SPREAD] <= 20)) {
            return;
        }
        double flow = 0.5 * clamp(row[Features::OFI_1S]) + 0.5 * clamp(row[Features::OFI_10S]);
        double lean = clamp(2 * row[Features::WMID] / row[Features::SPREAD]);
        score += 0.125 * (0.4 * clamp(row[Features::IMB_5]) + 0.4 * flow + 0.2 * lean - score);
        updates++;
        strength = std::fabs(score);
        vote = strength < 0.25 ? 0 : score > 0 ? 1 : -1;
    }
};

// Wish, gates, order.

struct Window {
    int64_t at[64] = {};
    uint32_t n = 0, oldest = 0;
    int count(int64_t now, int64_t span) {
        while (oldest < n && (n - oldest > 64 || now - at[oldest & 63] >= span)) {
            oldest++;
        }
        return static_cast<int>(n - oldest);
    }
    void add(int64_t now) { at[n++ & 63] = now; }
};

struct Row {
    int64_t seq, wall_ns, price, qty, notional, bid, ask, mid2, value[15], limit[15];
    int8_t why[15];
    uint16_t passed;
    uint32_t checksum;
    char id[18];
};

struct State {
    int64_t equity = 10'000 * MONEY, exposure = 0, day_loss_bps = 0, drawdown_bps = 0, volume_hour = 1'000'000'000 * MONEY;
    int64_t turnover = 0, evidence_ns = 0;
    bool killed = false, venue_online = true, private_up = true;
    int positions = 0, losing = 0;
};

int64_t mbps(uint64_t part, uint64_t whole) { return static_cast<int64_t>((part * 10'000'000 + whole - 1) / whole); }

// All fifteen, none short-circuited; the order passes when every bit is set.
bool judge(const Book &book, const State &s, Window &hour, Window &minute, int64_t now, bool seen, Row *row) {
    auto put = [row](int gate, int64_t value, int64_t limit, bool pass) {
        row->value[gate] = value;
        row->limit[gate] = limit;
        row->why[gate] = !pass;
        row->passed |= static_cast<uint16_t>(pass << gate);
    };
    const Level &bid = book.bids.level[book.bids.end - 1], &ask = book.asks.level[book.asks.end - 1];
    const int64_t mid2 = bid.price + ask.price;
    constexpr int64_t PER_MONEY = PRICE_SCALE * QTY_SCALE / MONEY;  // this instrument's money, in 64 bits throughout
    const int64_t notional = (row->price * row->qty + PER_MONEY - 1) / PER_MONEY;
    const int64_t edge = (mid2 * (10'000'000 - 25'000) + 19'999'999) / 20'000'000;
    uint64_t value = 0;
    int64_t left = row->qty, cost = INT64_MAX;
    for (int i = book.bids.end - 1; i >= book.bids.first && book.bids.level[i].price >= edge; i--) {
        value += static_cast<uint64_t>(book.bids.level[i].price) * static_cast<uint64_t>(book.bids.level[i].qty);
    }
    uint64_t shortfall = 0;
    for (int i = book.bids.end - 1; i >= book.bids.first && left > 0; i--) {
        int64_t take = std::min(left, book.bids.level[i].qty);
        shortfall += static_cast<uint64_t>(mid2 - 2 * book.bids.level[i].price) * static_cast<uint64_t>(take);
        left -= take;
    }
    if (left == 0) {
        cost = mbps(shortfall / static_cast<uint64_t>(row->qty), static_cast<uint64_t>(mid2));
    }
    const int64_t depth = static_cast<int64_t>(value / PER_MONEY);
    const int64_t share = s.volume_hour / 600, off = std::llabs(2 * row->price - mid2);
    row->passed = 0;
    row->notional = notional;
    row->bid = bid.price, row->ask = ask.price, row->mid2 = mid2;
    put(0, hour.count(now, 3600 * SECOND), INT64_MAX,
        !seen && s.losing < 4 && minute.count(now, 60 * SECOND) < INT32_MAX && s.turnover + notional <= 1'000 * s.equity);
    put(1, mbps(2 * (ask.price - bid.price), mid2), 50'000, mbps(2 * (ask.price - bid.price), mid2) <= 50'000);
    put(2, depth, std::max(10'000 * MONEY, 5 * notional), depth >= std::max(10'000 * MONEY, 5 * notional));
    put(3, s.volume_hour, 100'000 * MONEY, s.volume_hour >= 100'000 * MONEY && notional <= share);
    put(4, cost, 25'000, cost <= 25'000);
    put(5, 1'500'000'000, 2'000'000'000, true);
    put(6, mbps(off, mid2), 100'000, mbps(off, mid2) <= 100'000 && row->price < ask.price);
    put(7, s.killed, 0, !s.killed);
    put(8, now - s.evidence_ns, 5 * SECOND, now - s.evidence_ns <= 5 * SECOND && s.venue_online && s.private_up);
    put(9, s.day_loss_bps, 500, s.day_loss_bps < 500);
    put(10, s.drawdown_bps, 1'000, s.drawdown_bps < 1'000);
    put(11, s.positions + 1, 10, s.positions < 10);
    put(12, s.exposure + notional, s.equity * 15 / 100, s.exposure + notional <= s.equity * 15 / 100);
    put(13, s.exposure + notional, s.equity * 2 / 100, s.exposure + notional <= s.equity * 2 / 100);
    put(14, s.exposure + notional, s.equity * 6 / 100, s.exposure + notional <= s.equity * 6 / 100);
    return row->passed == 0x7FFF;
}

template <size_t N>
char *text(char *to, const char (&s)[N]) {
    memcpy(to, s, N - 1);
    return to + N - 1;
}

char *fixed(char *to, int64_t raw, int precision) {
    int64_t whole = raw / POWERS[precision], rest = raw - whole * POWERS[precision];
    to = write_number(to, whole);
    *to++ = '.';
    write_back(to + precision, rest, precision);
    return to + precision;
}

char *pair(char *to, int v) {
    memcpy(to, PAIRS.text + 2 * v, 2);
    return to + 2;
}

char *moment(char *to, int64_t wall_ns, bool millis, const char *date) {
    int64_t ms = wall_ns / 1'000'000 % 86'400'000, s = ms / 1'000;
    memcpy(to, date, 10);
    to[10] = 'T';
    to = pair(to + 11, static_cast<int>(s / 3600));
    *to++ = ':';
    to = pair(to, static_cast<int>(s / 60 % 60));
    *to++ = ':';
    to = pair(to, static_cast<int>(s % 60));
    if (millis) {
        *to++ = '.';
        *to++ = static_cast<char>('0' + ms % 1'000 / 100);
        to = pair(to, static_cast<int>(ms % 100));
    }
    *to++ = 'Z';
    return to;
}

size_t encode(char *buffer, const Row &row, int64_t req_id, const char *date) {
    char *to = text(buffer, "{\"method\":\"add_order\",\"params\":{\"order_type\":\"limit\",\"side\":\"buy\",\"symbol\":\"BTC/USD\","
                            "\"order_qty\":");
    to = fixed(to, row.qty, QTY_DIGITS);
    to = fixed(text(to, ",\"limit_price\":"), row.price, PRICE_DIGITS);
    to = moment(text(to, ",\"time_in_force\":\"gtd\",\"expire_time\":\""), row.wall_ns + 20 * SECOND, false, date);
    to = text(to, "\",\"post_only\":true,\"stp_type\":\"cancel_newest\",\"fee_preference\":\"quote\",\"cl_ord_id\":\"");
    memcpy(to, row.id, 18);
    to = moment(text(to + 18, "\",\"deadline\":\""), row.wall_ns + 1'500'000'000, true, date);
    to = write_number(text(to, "\",\"token\":\"\"},\"req_id\":"), req_id);
    *to++ = '}';
    return static_cast<size_t>(to - buffer);
}

// SHA-256 of one block: the next order's id, made between frames as in cstd.
void sha256_block(const uint8_t *message, size_t n, uint32_t h[8]) {
    static uint32_t k[64];
    if (!k[0]) {  // the first 32 bits of the fractional parts of the cube roots of the first primes
        for (int prime = 2, at = 0; at < 64; prime++) {
            bool is_prime = true;
            for (int d = 2; d * d <= prime; d++) {
                is_prime &= prime % d != 0;
            }
            if (is_prime) {
                long double root = cbrtl(prime);
                k[at++] = static_cast<uint32_t>((root - floorl(root)) * 4294967296.0L);
            }
        }
    }
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t block[64] = {};
    memcpy(block, message, n);
    block[n] = 0x80;
    block[62] = static_cast<uint8_t>(n * 8 >> 8), block[63] = static_cast<uint8_t>(n * 8);
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++) {
        uint32_t word;
        memcpy(&word, block + 4 * i, 4);
        w[i] = __builtin_bswap32(word);
    }
    auto ror = [](uint32_t x, int by) { return x >> by | x << (32 - by); };
    for (int i = 16; i < 64; i++) {
        w[i] = w[i - 16] + w[i - 7] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
    }
    memcpy(s, initial, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t t2 = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) {
        h[i] = initial[i] + s[i];
    }
}

struct Instrument {
    Book book;
    Features features;
    Agent agent;
    State state;
    Window hour, minute;
};

struct Engine {
    Update update;
    Clock clock;

    Instrument one;
    Names names;
    std::vector<std::unique_ptr<Instrument>> many;
    Row row{};
    char next_id[18], order[1024];
    std::vector<char> record = std::vector<char>(1 << 16);
    size_t recorded = 0, order_n = 0;
    int64_t seq = 0, frames = 0, verified = 0, orders = 0;

    void prepare_id() {
        uint8_t message[32] = {1, 2, 3, 4, 5, 6, 7, 8, 1};
        int64_t next = seq + 1;
        uint32_t h[8];
        memcpy(message + 16, &next, 8);
        sha256_block(message, 32, h);
        memcpy(next_id, "cs", 2);
        for (int half = 0; half < 2; half++) {
            uint64_t v = (static_cast<uint64_t>(h[2 * half]) << 32 | h[2 * half + 1]) % 2'821'109'907'456ULL;
            for (int i = 7; i >= 0; i--, v /= 36) {
                next_id[2 + 8 * half + i] = "0123456789abcdefghijklmnopqrstuvwxyz"[v % 36];
            }
        }
    }

    void keep(const void *data, size_t n) {
        if (recorded + n > record.size()) {
            recorded = 0;
        }
        memcpy(record.data() + recorded, data, n);
        recorded += n;
    }

    // The instrument of the last frame.
    Instrument &at() {
        if (!MANY) {
            return one;
        }
        while (many.size() <= static_cast<size_t>(update.instrument)) {
            many.push_back(std::make_unique<Instrument>());
        }
        return *many[static_cast<size_t>(update.instrument)];
    }

    bool on_frame(const char *data, size_t n, int64_t now) {
        frames++;
        if (!scan(data, n, &update, &clock, &names)) {
            return false;
        }
        auto &[book, features, agent, state, hour, minute] = at();
        if (!book.apply(update)) {
            return false;
        }
        verified++;
        state.evidence_ns = now;
        features.on_book(book, now);
        agent.on_row(features.row);
        return true;
    }

    bool decide(int64_t now) {
        auto &[book, features, agent, state, hour, minute] = at();
        row.seq = ++seq;
        row.wall_ns = now;
        row.price = book.bids.best().price;
        row.qty = state.equity / 1'000'000 * 5'000 * PRICE_SCALE / row.price;
        row.checksum = book.checksum;
        memcpy(row.id, next_id, 18);
        if (!judge(book, state, hour, minute, now, false, &row)) {
            return false;
        }
        order_n = encode(order, row, seq, clock.date);
        return true;
    }

    void sent(int64_t now) {
        keep(&row, sizeof row);
        keep(order, order_n);
        at().hour.add(now);
        at().minute.add(now);
        orders++;
    }
};

uint64_t quantile(std::vector<uint64_t> &samples, double q) {
    size_t at = static_cast<size_t>(q * static_cast<double>(samples.size() - 1));
    std::nth_element(samples.begin(), samples.begin() + static_cast<long>(at), samples.end());
    return samples[at];
}

double ns_per_cycle() {
    auto began = std::chrono::steady_clock::now();
    uint64_t first = __rdtsc();
    double ns = 0;
    while (ns < 50e6) {
        ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began).count();
    }
    return ns / static_cast<double>(__rdtsc() - first);
}

std::vector<std::string> read_frames(const char *path) {
    std::ifstream in(path, std::ios::binary);
    std::vector<std::string> frames;
    for (uint32_t n; in.read(reinterpret_cast<char *>(&n), 4);) {
        std::string frame(n, '\0');
        in.read(frame.data(), n);
        frames.push_back(std::move(frame));
    }
    return frames;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: floor FRAMES decision|order ROUNDS [PAUSE_NS OF_FRAMES]\n");
        return 2;
    }
    const std::vector<std::string> frames = read_frames(argv[1]);
    const bool with_order = strcmp(argv[2], "order") == 0;
    const int rounds = atoi(argv[3]);
    const long pause_ns = argc == 6 ? atol(argv[4]) : 0;
    const size_t paced = argc == 6 ? static_cast<size_t>(atol(argv[5])) : 0;  // so many first frames of each round
    const double scale = ns_per_cycle();
    auto engine = std::make_unique<Engine>();
    std::vector<char> received(1 << 20);
    std::vector<uint64_t> samples;
    int64_t now = 1'785'641'750 * SECOND;
    samples.reserve(frames.size() * static_cast<size_t>(rounds));
    engine->prepare_id();
    for (int round = -3; round < rounds; round++) {
        for (size_t i = 0; i < frames.size() && (!pause_ns || round < 0 || i < paced); i++) {
            const std::string &frame = frames[i];
            now += STEP_NS;
            if (pause_ns && round >= 0) {
                const timespec pause = {0, pause_ns};
                nanosleep(&pause, nullptr);
            }
            memcpy(received.data(), frame.data(), frame.size());
            uint64_t start = __rdtsc();
            bool verified = engine->on_frame(received.data(), frame.size(), now);
            bool ordered = with_order && verified && engine->decide(now);
            uint64_t end = __rdtsc();
            if (round >= 0 && (with_order ? ordered : verified) && !(MANY && engine->update.snapshot)) {
                samples.push_back(end - start);
            }
            if (ordered) {
                engine->sent(now);
                engine->prepare_id();
            }
        }
    }
    auto ns = [&](double q) { return static_cast<double>(quantile(samples, q)) * scale; };
    if (samples.empty()) {
        fprintf(stderr, "floor: no frame led to a sample\n");
        return 1;
    }
    printf("{\"n\": %zu, \"p50_ns\": %.0f, \"p99_ns\": %.0f, \"p999_ns\": %.0f, \"frames\": %ld, \"verified\": %ld, \"orders\": %ld}\n",
           samples.size(), ns(0.5), ns(0.99), ns(0.999), static_cast<long>(engine->frames),
           static_cast<long>(engine->verified), static_cast<long>(engine->orders));
    if (with_order) {
        fprintf(stderr, "%.*s\n", static_cast<int>(engine->order_n), engine->order);
    }
    return 0;
}
