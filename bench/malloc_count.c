/* Counts what a process asks of malloc: preloaded (LD_PRELOAD) by tests and by bench/soak.py.
 *
 * Calls of malloc, calloc, realloc, aligned_alloc and posix_memalign are passed on to libc and counted, by the process as
 * a whole and by the calling thread. With PYTHONMALLOC=malloc every object of Python that takes memory is among them.
 * Where MALLOC_COUNT_FILE names a file, the process's counts are kept in it (two uint64: calls, bytes), so that another
 * process can watch them; a child process writes to none. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

typedef struct {
    uint64_t calls, bytes;
} counts;

static counts own;
static counts *total = &own;
static _Thread_local counts of_thread __attribute__((tls_model("initial-exec")));

static void count(size_t bytes) {
    __atomic_fetch_add(&total->calls, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&total->bytes, bytes, __ATOMIC_RELAXED);
    of_thread.calls++;
    of_thread.bytes += bytes;
}

__attribute__((constructor)) static void watch(void) {
    const char *path = getenv("MALLOC_COUNT_FILE");
    if (!path) {
        return;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && ftruncate(fd, sizeof own) == 0) {
        counts *shared = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (shared != MAP_FAILED) {
            *shared = own;
            total = shared;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    unsetenv("MALLOC_COUNT_FILE");
}

uint64_t malloc_calls_of_thread(void) { return of_thread.calls; }
uint64_t malloc_bytes_of_thread(void) { return of_thread.bytes; }

void *malloc(size_t n) {
    count(n);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    count(n * size);
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t n) {
    count(n);
    return __libc_realloc(old, n);
}

void *aligned_alloc(size_t alignment, size_t n) {
    count(n);
    return __libc_memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n) {
    count(n);
    void *p = __libc_memalign(alignment, n);
    if (!p) {
        return ENOMEM;
    }
    *out = p;
    return 0;
}
