/* CRC-32C (Castagnoli, reflected, as iSCSI and ext4 use it), header only.
 *
 * SSE4.2's crc32 instruction where cpuid shows it, eight tables otherwise. Chainable: pass the
 * previous result as `crc` to go on, 0 to begin.
 */
#ifndef CSTD_CRC32C_H
#define CSTD_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <nmmintrin.h>
#endif

#define CSTD_CRC32C_POLYNOMIAL 0x82f63b78u

typedef struct {
    uint32_t t[8][256];
} cstd_crc32c_tables;

static __attribute__((noinline, unused)) void cstd_crc32c_fill(cstd_crc32c_tables *tables) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) {
            c = (c >> 1) ^ (CSTD_CRC32C_POLYNOMIAL & (0u - (c & 1)));
        }
        tables->t[0][i] = c;
    }
    for (int k = 1; k < 8; k++) {
        for (int i = 0; i < 256; i++) {
            uint32_t c = tables->t[k - 1][i];
            tables->t[k][i] = (c >> 8) ^ tables->t[0][c & 255];
        }
    }
}

/* The tables are filled at first use; two threads filling them write the same values. */
static __attribute__((noinline, unused)) uint32_t
cstd_crc32c_portable(uint32_t crc, const void *data, size_t n) {
    static cstd_crc32c_tables tables;
    static int ready;
    if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) {
        cstd_crc32c_fill(&tables);
        __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
    }
    const uint8_t *p = (const uint8_t *)data;
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        v ^= c;
        c = tables.t[7][v & 255] ^ tables.t[6][(v >> 8) & 255] ^ tables.t[5][(v >> 16) & 255] ^
            tables.t[4][(v >> 24) & 255] ^ tables.t[3][(v >> 32) & 255] ^
            tables.t[2][(v >> 40) & 255] ^ tables.t[1][(v >> 48) & 255] ^ tables.t[0][v >> 56];
    }
    for (; n; n--, p++) {
        c = (c >> 8) ^ tables.t[0][(c ^ *p) & 255];
    }
    return ~c;
}

#if defined(__x86_64__)
static inline __attribute__((unused, target("sse4.2"))) uint32_t
cstd_crc32c_hardware(uint32_t crc, const void *data, size_t n) {
    const uint8_t *p = (const uint8_t *)data;
    uint64_t c = (uint32_t)~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        c = _mm_crc32_u64(c, v);
    }
    if (n & 4) {
        uint32_t v;
        memcpy(&v, p, 4);
        c = _mm_crc32_u32((uint32_t)c, v);
        p += 4;
    }
    for (n &= 3; n; n--, p++) {
        c = _mm_crc32_u8((uint32_t)c, *p);
    }
    return ~(uint32_t)c;
}
#endif

/* 1 where the instruction exists; asked of cpuid once. */
static inline int cstd_crc32c_has_hardware(void) {
    static int cached = -1;
    int has = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (__builtin_expect(has >= 0, 1)) {
        return has;
    }
    has = 0;
#if defined(__x86_64__)
    unsigned a, b, c = 0, d;
    has = __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 20));
#endif
    __atomic_store_n(&cached, has, __ATOMIC_RELAXED);
    return has;
}

static inline uint32_t cstd_crc32c(uint32_t crc, const void *data, size_t n) {
#if defined(__x86_64__)
    if (__builtin_expect(cstd_crc32c_has_hardware(), 1)) {
        return cstd_crc32c_hardware(crc, data, n);
    }
#endif
    return cstd_crc32c_portable(crc, data, n);
}

#endif
