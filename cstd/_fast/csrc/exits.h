/* When a position is left: thresholds made of what the ledger says, and the run of verified mids beyond the stop. Integers
 * only. Written by orders.exit_policy (the thresholds) and by the engine (the rest). */
#ifndef CSTD_EXITS_H
#define CSTD_EXITS_H
#include <stdint.h>

/* A stop needs two verified mids in a row at or beyond it, or one that nothing verified has taken back for so long. */
#define CSTD_STOP_HITS 2
#define CSTD_STOP_RUN_NS 1000000000LL

/* codes.ExitReason, in order of precedence. */
#define CSTD_EXIT_STOP 1
#define CSTD_EXIT_TARGET 2
#define CSTD_EXIT_TIME 3
#define CSTD_EXIT_ESCALATION 6 /* comes after them, and after the strategy's own wish */

typedef struct {
    int64_t stop2_raw;     /* bid + ask at which the position is stopped; 0: no stop, or nothing held */
    int64_t target_raw;    /* best bid at which it has made what it was for; 0: none */
    int64_t until_wall_ns; /* when its time is over; 0: never */
    int64_t hit_since_ns;  /* monotonic time at which the run began */
    int64_t hits;          /* verified mids of the run, up to CSTD_STOP_HITS; 0: there is none */
    int64_t reason;        /* why it is being left, until nothing is left to sell; 0: it is not */
} cstd_exit_watch;

/* A verified mid above the stop ends the run, and nothing else does: a book that cannot be used says nothing about a price. */
static inline void cstd_exit_on_mid(cstd_exit_watch *watch, int64_t mid2_raw, int64_t now_ns)
{
    if (mid2_raw > watch->stop2_raw) {
        watch->hits = 0;
        return;
    }
    if (watch->hits == 0)
        watch->hit_since_ns = now_ns;
    if (++watch->hits >= CSTD_STOP_HITS) {
        watch->hits = CSTD_STOP_HITS;
        watch->reason = CSTD_EXIT_STOP;
    }
}

static inline void cstd_exit_on_time(cstd_exit_watch *watch, int64_t now_ns)
{
    if (watch->hits && now_ns - watch->hit_since_ns >= CSTD_STOP_RUN_NS)
        watch->reason = CSTD_EXIT_STOP;
}

/* Why the position is to be left now, 0 where it stays. bid_raw: of a verified book, 0 without one. */
static inline int64_t cstd_exit_due(cstd_exit_watch *watch, int64_t bid_raw, int64_t wall_ns, int escalated)
{
    int last = watch->reason == 0 || watch->reason == CSTD_EXIT_ESCALATION;
    if (watch->reason == CSTD_EXIT_STOP)
        return watch->reason;
    if (watch->target_raw && bid_raw >= watch->target_raw)
        watch->reason = CSTD_EXIT_TARGET;
    else if (last && watch->until_wall_ns && wall_ns >= watch->until_wall_ns)
        watch->reason = CSTD_EXIT_TIME;
    else if (watch->reason == 0 && escalated)
        watch->reason = CSTD_EXIT_ESCALATION;
    return watch->reason;
}
#endif
