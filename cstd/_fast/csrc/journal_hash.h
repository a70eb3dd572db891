/* The hash of a journal block: SHA-256 of its first 64 bytes and of the striped digest (stripes.h) of its payload.
 *
 * One SHA-256 over the payload would be bound by the chain of its own rounds. In a burst that was half of all CPU time
 * of the daemon, in a thread that has to share two cores with the rest of it. */
#ifndef CSTD_JOURNAL_HASH_H
#define CSTD_JOURNAL_HASH_H

#include "journal_writer.h"
#include "stripes.h"

static inline void cstd_block_hash(const cstd_block *block, const void *payload, uint8_t out[32]) {
    cstd_stripes stripes;
    cstd_sha256 sha;
    uint8_t digest[32];
    cstd_stripes_init(&stripes);
    const size_t taken = cstd_stripes_update(&stripes, (const uint8_t *)payload, block->payload_bytes);
    cstd_stripes_final(&stripes, (const uint8_t *)payload + taken, block->payload_bytes - taken, digest);
    cstd_sha256_init(&sha);
    cstd_sha256_update(&sha, block, offsetof(cstd_block, hash));
    cstd_sha256_update(&sha, digest, sizeof digest);
    cstd_sha256_final(&sha, out);
}

#endif
