/* The text of a client order id. It makes no order frame: that is encode.h. */
#ifndef CSTD_CLIENT_ID_H
#define CSTD_CLIENT_ID_H
#include <stdint.h>

/* Client order id: two-character owner prefix and 16 base-36 characters. The 32-byte hash's first two big-endian
 * 64-bit words give eight characters each (value modulo 36^8, most significant first). */
static inline void cstd_client_order_id(const char prefix[2], const uint8_t hash[32], char out[18])
{
    out[0] = prefix[0];
    out[1] = prefix[1];
    for (int half = 0; half < 2; half++) {
        uint64_t v = 0;
        for (int k = 0; k < 8; k++)
            v = (v << 8) | hash[8 * half + k];
        v %= 2821109907456ULL; /* 36^8 */
        for (int k = 7; k >= 0; k--) {
            unsigned digit = (unsigned)(v % 36);
            out[2 + 8 * half + k] = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
            v /= 36;
        }
    }
}
#endif
