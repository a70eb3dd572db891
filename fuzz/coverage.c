/* Counters of the compiled code for libFuzzer. gcc knows only the older callback, one call per basic block; each caller
 * gets one of 65,536 counters by a hash of its place. Preload it; run.py tells libFuzzer where the counters are. */
#include <stddef.h>
#include <stdint.h>

#define COUNTERS 65536
static uint8_t counters[COUNTERS];
static struct { uintptr_t pc, flags; } places[COUNTERS];

void __sanitizer_cov_trace_pc(void)
{
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);
    counters[(pc * 0x9E3779B97F4A7C15ull) >> 48]++;
}

void cstd_coverage_register(void (*counters_init)(uint8_t *, uint8_t *), void (*places_init)(const void *, const void *))
{
    size_t i;
    for (i = 0; i < COUNTERS; i++)
        places[i].pc = i + 1;
    counters_init(counters, counters + COUNTERS);
    places_init(places, places + COUNTERS);
}
