/* The journal's writer thread: ring to segment files, without the GIL and without a Python object.
 *
 * Owns the segment and head files. Takes what the producer published, 64 KiB to a block (a partial
 * block once it is sync_interval old), chains the block hashes, and calls fdatasync in groups. An
 * I/O error is latched where everybody sees it and the bytes stay in the ring; a failed write is
 * tried again every 200 ms, a failed fdatasync never, because the kernel may have dropped the pages.
 */
#define _GNU_SOURCE
#include "journal_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "journal_hash.h"
#include "sha256.h"

/* Polling costs the producer nothing, where waking a sleeper costs it a system call per record.
 * 2 ms is 1 % of what a 64 MiB ring holds at the fastest rate seen, 4 ms is 2 %. On a virtual machine a wake-up of an idle
 * processor is charged to who wakes, 1.4 % of a core at each 2 ms: a writer that has found nothing for 0.2 s looks half as often. */
#define POLL_NS 2000000
#define IDLE_POLL_NS 4000000
#define IDLE_POLLS 100
#define RETRY_NS 200000000
#define NAME_BYTES 32
#define UNFINISHED_NAME "segment.new"

static int64_t mono_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t wall_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void segment_name(char name[NAME_BYTES], uint64_t number) {
    snprintf(name, NAME_BYTES, "segment-%06llu.cstd", (unsigned long long)number);
}

/* Write all of the pieces at `offset`, or return an errno with the file cut back to `offset`: the
 * next attempt, or the next start, then finds no half block. */
static int write_all(int fd, uint64_t offset, const void *first, size_t first_bytes,
                     const void *second, size_t second_bytes) {
    const size_t total = first_bytes + second_bytes;
    size_t done = 0;
    while (done < total) {
        struct iovec piece[2];
        int pieces = 0;
        if (done < first_bytes) {
            piece[pieces].iov_base = (uint8_t *)(uintptr_t)first + done;
            piece[pieces++].iov_len = first_bytes - done;
        }
        if (second_bytes) {
            size_t skip = done > first_bytes ? done - first_bytes : 0;
            piece[pieces].iov_base = (uint8_t *)(uintptr_t)second + skip;
            piece[pieces++].iov_len = second_bytes - skip;
        }
        ssize_t n = pwritev(fd, piece, pieces, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            int error = n < 0 ? errno : ENOSPC;
            if (ftruncate(fd, (off_t)offset) != 0) {
                error = errno;
            }
            return error;
        }
        done += (size_t)n;
    }
    return 0;
}

/* A file system without fallocate (some network ones) is used without the reserve; a full one is an error. */
static int reserve(int fd, uint64_t bytes) {
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0) {
        return 0;
    }
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}

int cstd_ring_create(const char *path, uint64_t data_bytes, const uint8_t journal_id[16],
                     const uint8_t boot_id[16]) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    /* Every page is made now: touching a page that the full tmpfs cannot give is a SIGBUS later. */
    int error = posix_fallocate(fd, 0, (off_t)(CSTD_RING_HEADER_BYTES + data_bytes));
    if (!error) {
        cstd_ring ring;
        memset(&ring, 0, sizeof ring);
        ring.magic = CSTD_RING_MAGIC;
        ring.version = CSTD_JOURNAL_VERSION;
        ring.header_bytes = CSTD_RING_HEADER_BYTES;
        ring.data_bytes = data_bytes;
        memcpy(ring.journal_id, journal_id, 16);
        memcpy(ring.boot_id, boot_id, 16);
        error = write_all(fd, 0, &ring, sizeof ring, NULL, 0);
    }
    if (close(fd) != 0 && !error) {
        error = errno;
    }
    if (error) {
        unlink(path);
    }
    return error;
}

int cstd_segment_create(int directory_fd, uint64_t number, uint64_t first_index, uint64_t first_seq,
                        const uint8_t journal_id[16], const uint8_t prev[32], uint64_t segment_bytes,
                        uint8_t hash_out[32], int *fd_out) {
    char name[NAME_BYTES];
    segment_name(name, number);
    if (faccessat(directory_fd, name, F_OK, 0) == 0) {
        return EEXIST;
    }
    /* Made under another name: a reader, and a start after a crash, see a segment with its header or none. */
    int fd = openat(directory_fd, UNFINISHED_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    cstd_segment header;
    memset(&header, 0, sizeof header);
    header.magic = CSTD_SEGMENT_MAGIC;
    header.version = CSTD_JOURNAL_VERSION;
    header.header_bytes = sizeof header;
    header.number = number;
    header.first_index = first_index;
    header.first_seq = first_seq;
    header.created_wall_ns = wall_ns();
    memcpy(header.journal_id, journal_id, 16);
    memcpy(header.prev, prev, 32);
    cstd_sha256 sha;
    cstd_sha256_init(&sha);
    cstd_sha256_update(&sha, &header, offsetof(cstd_segment, hash));
    cstd_sha256_final(&sha, header.hash);
    int error = reserve(fd, segment_bytes);
    if (!error) {
        error = write_all(fd, 0, &header, sizeof header, NULL, 0);
    }
    if (!error && (fsync(fd) != 0 || renameat(directory_fd, UNFINISHED_NAME, directory_fd, name) != 0 ||
                   fsync(directory_fd) != 0)) {
        error = errno;
    }
    if (error) {
        close(fd);
        unlinkat(directory_fd, UNFINISHED_NAME, 0);
        return error;
    }
    memcpy(hash_out, header.hash, 32);
    *fd_out = fd;
    return 0;
}

/* Only after fdatasync: the head never promises what a power loss could take. Not synced itself, an
 * old head promises less and is as good. */
static int write_head(cstd_journal *j) {
    cstd_head head;
    memset(&head, 0, sizeof head);
    head.magic = CSTD_HEAD_MAGIC;
    head.version = CSTD_JOURNAL_VERSION;
    head.segment = j->segment;
    head.segment_bytes = j->segment_offset;
    head.index = j->next_index - 1;
    head.last_seq = j->unwritten_seq - 1;
    memcpy(head.journal_id, j->journal_id, 16);
    memcpy(head.hash, j->prev, 32);
    head.crc32c = cstd_crc32c(0, (uint8_t *)&head + offsetof(cstd_head, segment),
                              sizeof head - offsetof(cstd_head, segment));
    return write_all(j->head_fd, 0, &head, sizeof head, NULL, 0);
}

static int sync_segment(cstd_journal *j) {
    int64_t begin = mono_ns();
    if (fdatasync(j->segment_fd) != 0) {
        j->sync_failed = errno;
        return errno;
    }
    uint64_t took = (uint64_t)(mono_ns() - begin);
    if (took > j->sync_ns_max) {
        __atomic_store_n(&j->sync_ns_max, took, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&j->syncs, j->syncs + 1, __ATOMIC_RELAXED);
    int error = write_head(j);
    if (error) {
        return error;
    }
    __atomic_store_n(&j->synced, j->written, __ATOMIC_RELEASE);
    __atomic_store_n(&j->synced_seq, j->unwritten_seq - 1, __ATOMIC_RELAXED);
    __atomic_store_n(&j->ring->synced_seq, j->unwritten_seq - 1, __ATOMIC_RELAXED);
    __atomic_store_n(&j->ring->synced, j->written, __ATOMIC_RELEASE);
    return 0;
}

/* The full segment is synced and its unused reserve given back before the next one exists. */
static int rotate(cstd_journal *j) {
    int fd, error = sync_segment(j);
    if (error) {
        return error;
    }
    if (ftruncate(j->segment_fd, (off_t)j->segment_offset) != 0) {
        return errno;
    }
    uint8_t hash[32];
    error = cstd_segment_create(j->directory_fd, j->segment + 1, j->next_index, j->unwritten_seq,
                                j->journal_id, j->prev, j->segment_bytes, hash, &fd);
    if (error) {
        return error;
    }
    close(j->segment_fd);
    j->segment_fd = fd;
    j->segment++;
    j->segment_offset = sizeof(cstd_segment);
    memcpy(j->prev, hash, 32);
    __atomic_store_n(&j->segments, j->segments + 1, __ATOMIC_RELAXED);
    return 0;
}

/* Bytes of whole records for the next block, and how many; the records' own checksums are proven
 * here once more, so that memory gone bad is found before it is hashed into the chain. */
static int gather(const cstd_journal *j, uint64_t head, uint64_t *bytes, uint64_t *count) {
    uint64_t take = 0, n = 0;
    const uint8_t *at = j->data + (j->written & (j->capacity - 1));
    while (j->written + take < head) {
        const cstd_record *record = (const cstd_record *)(at + take);
        uint64_t total = cstd_record_bytes(record->payload_bytes);
        if (record->payload_bytes > j->payload_max || total > head - j->written - take) {
            return EBADMSG;
        }
        if (take && take + total > CSTD_BLOCK_PAYLOAD_MAX) {
            break;
        }
        if (record->seq != j->unwritten_seq + n ||
            record->crc32c != cstd_crc32c(0, at + take + 4, total - 4)) {
            return EBADMSG;
        }
        take += total;
        n++;
    }
    *bytes = take;
    *count = n;
    return 0;
}

static int write_block(cstd_journal *j, uint64_t bytes, uint64_t count) {
    const uint8_t *payload = j->data + (j->written & (j->capacity - 1));
    uint64_t total = sizeof(cstd_block) + bytes;
    if (j->segment_offset + total > j->segment_bytes && j->segment_offset > sizeof(cstd_segment)) {
        int error = rotate(j);
        if (error) {
            return error;
        }
    }
    cstd_block block;
    block.magic = CSTD_BLOCK_MAGIC;
    block.payload_bytes = (uint32_t)bytes;
    block.first_seq = j->unwritten_seq;
    block.last_seq = j->unwritten_seq + count - 1;
    block.index = j->next_index;
    memcpy(block.prev, j->prev, 32);
    cstd_block_hash(&block, payload, block.hash);
    int error = write_all(j->segment_fd, j->segment_offset, &block, sizeof block, payload, bytes);
    if (error) {
        return error;
    }
    memcpy(j->prev, block.hash, 32);
    j->segment_offset += total;
    j->next_index++;
    j->unwritten_seq += count;
    __atomic_store_n(&j->file_bytes, j->file_bytes + total, __ATOMIC_RELAXED);
    __atomic_store_n(&j->blocks, j->blocks + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&j->written, j->written + bytes, __ATOMIC_RELEASE);
    __atomic_store_n(&j->ring->written, j->written, __ATOMIC_RELEASE);
    return 0;
}

static int write_blocks(cstd_journal *j, uint64_t head, int partial_too) {
    while (j->written < head && (partial_too || head - j->written >= CSTD_BLOCK_PAYLOAD_MAX)) {
        uint64_t bytes = 0, count = 0;
        int error = gather(j, head, &bytes, &count);
        if (!error) {
            error = write_block(j, bytes, count);
        }
        if (error) {
            return error;
        }
    }
    return 0;
}

static void note_outcome(cstd_journal *j, int error, int64_t now) {
    __atomic_store_n(&j->failing, error, __ATOMIC_RELAXED);
    if (!error) {
        return;
    }
    __atomic_store_n(&j->error_count, j->error_count + 1, __ATOMIC_RELAXED);
    if (!j->writer_error) {
        __atomic_store_n(&j->writer_error, error, __ATOMIC_RELEASE);
    }
    j->retry_at_ns = now + RETRY_NS;
}

/* One turn: write what is due, sync what is due. Returns 0 when it may be called again, else an
 * errno that ends the thread: after a failed fdatasync, or with records that are not what was appended. */
static int turn(cstd_journal *j, uint64_t head, int asked, int64_t now) {
    if (head == j->synced) {
        __atomic_store_n(&j->unsynced_since_ns, 0, __ATOMIC_RELAXED);
        j->pending_since_ns = 0;
        return 0;
    }
    if (!j->unsynced_since_ns) {
        __atomic_store_n(&j->unsynced_since_ns, now, __ATOMIC_RELAXED);
    }
    if (head > j->written && !j->pending_since_ns) {
        j->pending_since_ns = now;
    }
    int due = asked || (j->pending_since_ns && now - j->pending_since_ns >= j->sync_interval_ns);
    int error = write_blocks(j, head, due);
    note_outcome(j, error, now);
    if (error) {
        return error == EBADMSG ? error : j->sync_failed;
    }
    if (due) {
        j->pending_since_ns = 0;
    }
    if (j->written > j->synced && (due || now - j->last_sync_ns >= j->sync_interval_ns)) {
        j->last_sync_ns = now;
        error = sync_segment(j);
        note_outcome(j, error, now);
        if (!error) {
            __atomic_store_n(&j->unsynced_since_ns, j->written == head ? 0 : now, __ATOMIC_RELAXED);
        }
    }
    return j->sync_failed;
}

static void *writer_main(void *argument) {
    cstd_journal *j = argument;
    int fatal = 0, idle = 0;
    uint64_t seen = 0;
    pthread_mutex_lock(&j->lock);
    while (!fatal) {
        int stopping = j->stopping;
        uint64_t wanted = j->sync_wanted;
        pthread_mutex_unlock(&j->lock);
        uint64_t head = __atomic_load_n(&j->ring->head, __ATOMIC_ACQUIRE);
        int64_t now = mono_ns();
        idle = head == seen ? idle + (idle < IDLE_POLLS) : 0;
        seen = head;
        if (now >= j->retry_at_ns || stopping) {
            fatal = turn(j, head, stopping || wanted > j->synced, now);
        }
        pthread_mutex_lock(&j->lock);
        if (j->failing || wanted <= j->synced) {
            pthread_cond_broadcast(&j->from_writer);
        }
        if (stopping && (head == j->synced || j->failing)) {
            break;
        }
        if (!fatal && !j->stopping && j->sync_wanted == wanted) {
            struct timespec until;
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_nsec += idle < IDLE_POLLS ? POLL_NS : IDLE_POLL_NS;
            if (until.tv_nsec >= 1000000000) {
                until.tv_nsec -= 1000000000;
                until.tv_sec++;
            }
            pthread_cond_timedwait(&j->to_writer, &j->lock, &until);
        }
    }
    j->stopped = 1;
    pthread_cond_broadcast(&j->from_writer);
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* The data pages twice in a row, so that a record that passes the end is still one piece of memory. */
static int map_ring(cstd_journal *j, const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    cstd_ring seen;
    int error = pread(fd, &seen, sizeof seen, 0) == (ssize_t)sizeof seen ? 0 : EBADMSG;
    struct stat info;
    if (!error && (fstat(fd, &info) != 0 || seen.magic != CSTD_RING_MAGIC ||
                   seen.data_bytes & (seen.data_bytes - 1) || seen.data_bytes < 4096 ||
                   (uint64_t)info.st_size != CSTD_RING_HEADER_BYTES + seen.data_bytes)) {
        error = EBADMSG;
    }
    if (error) {
        close(fd);
        return error;
    }
    size_t bytes = CSTD_RING_HEADER_BYTES + 2 * seen.data_bytes;
    uint8_t *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        close(fd);
        return errno;
    }
    const int shared = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
    if (mmap(base, CSTD_RING_HEADER_BYTES + seen.data_bytes, PROT_READ | PROT_WRITE, shared, fd, 0) ==
            MAP_FAILED ||
        mmap(base + CSTD_RING_HEADER_BYTES + seen.data_bytes, seen.data_bytes, PROT_READ | PROT_WRITE,
             shared, fd, CSTD_RING_HEADER_BYTES) == MAP_FAILED) {
        error = errno;
        munmap(base, bytes);
        close(fd);
        return error;
    }
    close(fd);
    j->ring = (cstd_ring *)base;
    j->data = base + CSTD_RING_HEADER_BYTES;
    j->capacity = seen.data_bytes;
    j->ring_map_bytes = bytes;
    return 0;
}

static int open_files(cstd_journal *j, const char *directory) {
    j->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->directory_fd < 0) {
        return errno;
    }
    char name[NAME_BYTES];
    segment_name(name, j->segment);
    j->segment_fd = openat(j->directory_fd, name, O_RDWR | O_CLOEXEC);
    j->head_fd = openat(j->directory_fd, "head.cstd", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->segment_fd < 0 || j->head_fd < 0) {
        return errno;
    }
    /* What follows the last good block is a torn tail; the caller has looked and reported it. */
    if (ftruncate(j->segment_fd, (off_t)j->segment_offset) != 0) {
        return errno;
    }
    return reserve(j->segment_fd, j->segment_bytes);
}

static int start_thread(cstd_journal *j) {
    pthread_condattr_t monotonic;
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&j->to_writer, &monotonic);
    pthread_cond_init(&j->from_writer, &monotonic);
    pthread_condattr_destroy(&monotonic);
    /* Signals belong to the Python thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&j->thread, NULL, writer_main, j);
    if (!error) {
        pthread_setname_np(j->thread, "cstd-journal");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    j->started = error == 0;
    return error;
}

static void release(cstd_journal *j) {
    if (j->ring) {
        munmap(j->ring, j->ring_map_bytes);
    }
    if (j->segment_fd >= 0) {
        close(j->segment_fd);
    }
    if (j->head_fd >= 0) {
        close(j->head_fd);
    }
    if (j->directory_fd >= 0) {
        close(j->directory_fd);
    }
    free(j);
}

static void take_start(cstd_journal *j, const cstd_journal_start *start) {
    j->directory_fd = j->segment_fd = j->head_fd = -1;
    j->next_seq = start->next_seq;
    j->unwritten_seq = start->unwritten_seq;
    j->synced_seq = start->unwritten_seq - 1;
    j->head = j->head_at_open = start->ring_head;
    j->written = j->synced = j->synced_seen = start->ring_written;
    j->segment = start->segment;
    j->segment_offset = start->segment_offset;
    j->next_index = start->next_index;
    j->segment_bytes = start->segment_bytes;
    j->sync_interval_ns = start->sync_interval_ns;
    j->segments = 1;
    memcpy(j->prev, start->prev, 32);
    memcpy(j->journal_id, start->journal_id, 16);
}

int cstd_journal_open(const cstd_journal_start *start, cstd_journal **out) {
    cstd_journal *j = calloc(1, sizeof *j);
    if (!j) {
        return ENOMEM;
    }
    take_start(j, start);
    int error = map_ring(j, start->ring_path);
    if (!error && memcmp(j->ring->journal_id, start->journal_id, 16) != 0) {
        error = EBADMSG;
    }
    if (!error) {
        error = open_files(j, start->directory);
    }
    if (!error) {
        j->payload_max = j->capacity / 4;
        /* What the segments hold from an earlier life is synced now, before the ring forgets it. */
        error = sync_segment(j);
    }
    if (!error && (fsync(j->head_fd) != 0 || fsync(j->directory_fd) != 0)) {
        error = errno; /* a new head file has a name that a power loss must not take */
    }
    if (!error) {
        __atomic_store_n(&j->ring->written, j->written, __ATOMIC_RELAXED);
        __atomic_store_n(&j->ring->head, j->head, __ATOMIC_RELEASE);
        j->last_sync_ns = mono_ns();
        error = start_thread(j);
    }
    if (error) {
        release(j);
        return error;
    }
    *out = j;
    return 0;
}

int cstd_journal_sync(cstd_journal *j) { return cstd_journal_sync_within(j, INT64_MAX); }

int cstd_journal_sync_within(cstd_journal *j, int64_t timeout_ns) {
    const int64_t now = mono_ns();
    const int64_t until_ns = timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
    const struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    const uint64_t wanted = __atomic_load_n(&j->ring->head, __ATOMIC_ACQUIRE);
    const uint64_t errors = __atomic_load_n(&j->error_count, __ATOMIC_ACQUIRE);
    int error = 0;
    pthread_mutex_lock(&j->lock);
    if (wanted > j->sync_wanted) {
        j->sync_wanted = wanted;
    }
    pthread_cond_signal(&j->to_writer);
    while (__atomic_load_n(&j->synced, __ATOMIC_ACQUIRE) < wanted) {
        if (j->stopped || (j->failing && j->error_count > errors)) {
            error = j->writer_error ? j->writer_error : ECANCELED;
            break;
        }
        if (pthread_cond_timedwait(&j->from_writer, &j->lock, &until) == ETIMEDOUT) {
            error = ETIMEDOUT;
            break;
        }
    }
    pthread_mutex_unlock(&j->lock);
    return error;
}

int cstd_journal_close(cstd_journal *j) {
    pthread_mutex_lock(&j->lock);
    j->stopping = 1;
    pthread_cond_signal(&j->to_writer);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->thread, NULL);
    int error = j->synced == j->head ? 0 : j->writer_error;
    /* Gives the unused reserve back; the size stays. */
    if (!error && ftruncate(j->segment_fd, (off_t)j->segment_offset) != 0) {
        error = errno;
    }
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->to_writer);
    pthread_cond_destroy(&j->from_writer);
    release(j);
    return error;
}

int64_t cstd_journal_sync_lag_ns(cstd_journal *j) {
    int64_t since = __atomic_load_n(&j->unsynced_since_ns, __ATOMIC_RELAXED);
    return since ? mono_ns() - since : 0;
}
