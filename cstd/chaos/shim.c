/* Preloaded into a daemon by `cstd chaos`: its wall clock is as far from the host's, and its syncs fail, as a shared file says.
 *
 * The file is the one that CSTD_CHAOS_CONTROL names, three int64 that host.py writes: how far the wall clock is ahead in ns,
 * the errno of a sync or 0, and how many syncs have failed by it, which is counted here. Monotonic clocks are left alone.
 * Without the file nothing is changed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

struct control {
    int64_t wall_offset_ns;
    int64_t sync_errno;
    int64_t sync_failures;
};

static struct control *control;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CSTD_CHAOS_CONTROL");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        control = mapped;
}

/* The C library's own; asked for at the first use, because other libraries begin before this one. */
static void find_real(void)
{
    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
}

static int64_t wall_offset_ns(void)
{
    return control != NULL ? __atomic_load_n(&control->wall_offset_ns, __ATOMIC_RELAXED) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    if (real_clock_gettime == NULL)
        find_real();
    int failed = real_clock_gettime(clock, at);
    if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = (int64_t)at->tv_sec * NS_PER_S + at->tv_nsec + wall_offset_ns();
        at->tv_sec = ns / NS_PER_S;
        at->tv_nsec = ns % NS_PER_S;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return (time_t)-1;
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* Whether a sync is to fail; it sets errno. */
static int fails(void)
{
    int64_t number = control != NULL ? __atomic_load_n(&control->sync_errno, __ATOMIC_RELAXED) : 0;
    if (number == 0)
        return 0;
    __atomic_add_fetch(&control->sync_failures, 1, __ATOMIC_RELAXED);
    errno = (int)number;
    return 1;
}

int fsync(int fd)
{
    if (real_fsync == NULL)
        find_real();
    return fails() ? -1 : real_fsync(fd);
}

int fdatasync(int fd)
{
    if (real_fdatasync == NULL)
        find_real();
    return fails() ? -1 : real_fdatasync(fd);
}
