/* The journal: a shared-memory ring that one producer appends to, and the thread that writes it out.
 *
 * All integers are little-endian, as the host; every struct below is a file format and its size is
 * asserted. Bytes move in one direction:
 *
 *   append ──► ring [synced .. written .. head) ──► writer thread ──► segment-NNNNNN.cstd, head.cstd
 *
 *   head     bytes the producer has published   (release store; a record is whole or not there)
 *   written  bytes that are in a segment file   (page cache: survives kill -9)
 *   synced   bytes that fdatasync has confirmed (survive power loss)
 *
 * The producer may overwrite only what is synced, so a failing disk loses nothing that the ring holds.
 * head, written and synced count bytes since the ring was made and never wrap; the place in the ring
 * is the count modulo its size, and the ring is mapped twice in a row so that no record is split.
 */
#ifndef CSTD_JOURNAL_WRITER_H
#define CSTD_JOURNAL_WRITER_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "crc32c.h"

#define CSTD_JOURNAL_VERSION 2u
#define CSTD_RING_MAGIC 0x31474e5244545343ull    /* "CSTDRNG1" */
#define CSTD_SEGMENT_MAGIC 0x3147455344545343ull /* "CSTDSEG1" */
#define CSTD_HEAD_MAGIC 0x3144484544545343ull    /* "CSTDEHD1" */
#define CSTD_BLOCK_MAGIC 0x4b4c4243u             /* "CBLK" */
#define CSTD_RING_HEADER_BYTES 4096u
#define CSTD_BLOCK_PAYLOAD_MAX 65536u /* one larger record makes one larger block */

typedef struct {
    uint32_t crc32c; /* of everything after this field: header, payload, padding */
    uint32_t payload_bytes;
    uint16_t kind;
    uint16_t tag;
    uint32_t version;
    uint64_t seq;
    int64_t recv_mono_ns;
    int64_t recv_wall_ns;
    int64_t spare; /* zero */
} cstd_record;

typedef struct {
    uint32_t magic;
    uint32_t payload_bytes;
    uint64_t first_seq;
    uint64_t last_seq;
    uint64_t index; /* of the block in the whole journal, from 1 */
    uint8_t prev[32];
    uint8_t hash[32]; /* of the 64 bytes before this field and of the payload: journal_hash.h */
} cstd_block;

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t number;      /* from 1 */
    uint64_t first_index; /* of its first block */
    uint64_t first_seq;
    int64_t created_wall_ns;
    uint8_t journal_id[16];
    uint8_t prev[32]; /* hash of the last block before, zeros in the first segment */
    uint8_t hash[32]; /* SHA-256 of the 96 bytes before this field */
} cstd_segment;

/* What is known to be on disk: written after each fdatasync, so it never runs ahead of the segments. */
typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t crc32c; /* of everything after this field */
    uint64_t segment;
    uint64_t segment_bytes;
    uint64_t index;
    uint64_t last_seq;
    uint8_t journal_id[16];
    uint8_t hash[32]; /* of the last block, or of the segment header where it has none */
} cstd_head;

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t data_bytes; /* a power of two */
    uint8_t journal_id[16];
    uint8_t boot_id[16];
    uint8_t gap0[72];
    uint64_t head; /* a cache line for the producer */
    uint8_t gap1[56];
    uint64_t written; /* a cache line for the writer */
    uint64_t synced;
    uint64_t synced_seq;
    uint8_t gap2[40];
} cstd_ring;

_Static_assert(sizeof(cstd_record) == 48, "record header is a file format");
_Static_assert(sizeof(cstd_block) == 96, "block header is a file format");
_Static_assert(sizeof(cstd_segment) == 128, "segment header is a file format");
_Static_assert(sizeof(cstd_head) == 96, "head is a file format");
_Static_assert(sizeof(cstd_ring) == 256 && offsetof(cstd_ring, head) == 128, "ring is a file format");

/* Where to go on: everything the recovery found out. */
typedef struct {
    const char *directory;
    const char *ring_path;
    uint8_t journal_id[16];
    uint64_t segment; /* number of the segment to append to */
    uint64_t segment_offset;
    uint64_t next_index;
    uint8_t prev[32];
    uint64_t next_seq;     /* of the next record appended */
    uint64_t unwritten_seq; /* of the first record that no segment holds */
    uint64_t ring_written; /* ring bytes that the segments already hold */
    uint64_t ring_head;    /* end of the last whole record in the ring */
    uint64_t segment_bytes;
    int64_t sync_interval_ns;
} cstd_journal_start;

typedef struct {
    /* producer */
    uint8_t *data;
    cstd_ring *ring;
    uint64_t capacity;
    uint64_t head;
    uint64_t synced_seen;
    uint64_t next_seq;
    uint64_t records;
    uint64_t full_count;
    uint64_t oversize_count;
    uint64_t payload_max;
    uint64_t head_at_open;
    /* writer; read by others with atomic loads only */
    uint8_t gap[64];
    uint64_t written;
    uint64_t synced;
    uint64_t synced_seq;
    int64_t unsynced_since_ns;
    int writer_error; /* first errno, latched */
    int failing;      /* errno of the last attempt, 0 when it went well */
    uint64_t error_count;
    uint64_t blocks;
    uint64_t segments;
    uint64_t syncs;
    uint64_t sync_ns_max;
    uint64_t file_bytes;
    /* writer's own */
    int directory_fd, segment_fd, head_fd;
    int sync_failed; /* errno of a failed fdatasync: the thread ends, see journal_writer.c */
    uint64_t segment, segment_offset, next_index, unwritten_seq;
    uint64_t segment_bytes;
    int64_t sync_interval_ns, pending_since_ns, last_sync_ns, retry_at_ns;
    uint8_t prev[32];
    uint8_t journal_id[16];
    size_t ring_map_bytes;
    /* between the two */
    pthread_mutex_t lock;
    pthread_cond_t to_writer, from_writer;
    uint64_t sync_wanted;
    int stopping, stopped, started;
    pthread_t thread;
} cstd_journal;

/* All return 0 or an errno. None of them is called on the hot path but cstd_journal_append. */
int cstd_ring_create(const char *path, uint64_t data_bytes, const uint8_t journal_id[16],
                     const uint8_t boot_id[16]);
int cstd_segment_create(int directory_fd, uint64_t number, uint64_t first_index, uint64_t first_seq,
                        const uint8_t journal_id[16], const uint8_t prev[32], uint64_t segment_bytes,
                        uint8_t hash_out[32], int *fd_out);
int cstd_journal_open(const cstd_journal_start *start, cstd_journal **out);
int cstd_journal_sync(cstd_journal *journal);
/* The same, but gives up with ETIMEDOUT after that long; a disk that hangs does not hold the caller. */
int cstd_journal_sync_within(cstd_journal *journal, int64_t timeout_ns);
int cstd_journal_close(cstd_journal *journal); /* writes and syncs the rest, frees everything */
int64_t cstd_journal_sync_lag_ns(cstd_journal *journal);

static inline uint64_t cstd_record_bytes(uint64_t payload_bytes) {
    return sizeof(cstd_record) + ((payload_bytes + 7) & ~7ull);
}

/* Append one record made of two pieces (the second may be empty). 0, or -1 when the ring has no room
 * or the record is larger than a quarter of it; both are counted, and the caller stops trading.
 * Wait-free, no system call; the record is visible to others from the store of head on. */
static inline int cstd_journal_append(cstd_journal *j, uint16_t kind, uint16_t tag, int64_t mono_ns,
                                      int64_t wall_ns, const void *p1, size_t n1, const void *p2,
                                      size_t n2) {
    const uint64_t n = (uint64_t)n1 + n2;
    const uint64_t total = cstd_record_bytes(n);
    if (__builtin_expect(n > j->payload_max || n < n1, 0)) {
        j->oversize_count++;
        return -1;
    }
    if (__builtin_expect(j->head + total - j->synced_seen > j->capacity, 0)) {
        j->synced_seen = __atomic_load_n(&j->ring->synced, __ATOMIC_ACQUIRE);
        if (j->head + total - j->synced_seen > j->capacity) {
            j->full_count++;
            return -1;
        }
    }
    uint8_t *at = j->data + (j->head & (j->capacity - 1));
    const cstd_record record = {.payload_bytes = (uint32_t)n, .kind = kind, .tag = tag, .version = CSTD_JOURNAL_VERSION,
                                .seq = j->next_seq, .recv_mono_ns = mono_ns, .recv_wall_ns = wall_ns};
    static const uint8_t zeros[8];
    /* Over the sources, not over the copy: the ring's lines are cold, and a read of one waits for its memory. */
    uint32_t crc = cstd_crc32c(0, (const uint8_t *)&record + 4, sizeof record - 4);
    crc = cstd_crc32c(crc, p1, n1);
    crc = cstd_crc32c(crc, p2, n2);
    crc = cstd_crc32c(crc, zeros, total - sizeof record - n);
    if (n) {
        memset(at + total - 8, 0, 8); /* padding; the payload is written over it */
    }
    memcpy(at, &record, sizeof record);
    memcpy(at, &crc, sizeof crc);
    if (n1) {
        memcpy(at + sizeof record, p1, n1);
    }
    if (n2) {
        memcpy(at + sizeof record + n1, p2, n2);
    }
    j->next_seq++;
    j->records++;
    j->head += total;
    __atomic_store_n(&j->ring->head, j->head, __ATOMIC_RELEASE);
    return 0;
}

#endif
