/* Counters of the compiled code for libFuzzer. gcc knows only the older callback, one call per basic block; each caller
 * gets one of 65,536 counters by a hash of its place. Comparisons are passed on. Preload it; run.py tells it where
 * libFuzzer's functions are: were they global, atheris would take them for a libFuzzer of somebody else. */
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

/* Tail calls, so that libFuzzer sees the comparison's own place as the return address. */
#define PASS_ON(name, type)                                                                                          \
    static void (*to_##name)(type, type);                                                                            \
    void __sanitizer_cov_trace_##name(type a, type b)                                                                \
    {                                                                                                                \
        if (to_##name)                                                                                               \
            to_##name(a, b);                                                                                         \
    }
PASS_ON(cmp1, uint8_t)
PASS_ON(cmp2, uint16_t)
PASS_ON(cmp4, uint32_t)
PASS_ON(cmp8, uint64_t)
PASS_ON(const_cmp1, uint8_t)
PASS_ON(const_cmp2, uint16_t)
PASS_ON(const_cmp4, uint32_t)
PASS_ON(const_cmp8, uint64_t)

void __sanitizer_cov_trace_cmpf(float a, float b) { (void)a, (void)b; }
void __sanitizer_cov_trace_cmpd(double a, double b) { (void)a, (void)b; }

static void (*to_switch)(uint64_t, uint64_t *);
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases)
{
    if (to_switch)
        to_switch(value, cases);
}

/* functions: counters_init, pcs_init, cmp1, 2, 4, 8, const_cmp1, 2, 4, 8, switch. */
void cstd_coverage_register(void **functions)
{
    size_t i;
    for (i = 0; i < COUNTERS; i++)
        places[i].pc = i + 1;
    ((void (*)(uint8_t *, uint8_t *))functions[0])(counters, counters + COUNTERS);
    ((void (*)(const void *, const void *))functions[1])(places, places + COUNTERS);
    to_cmp1 = functions[2];
    to_cmp2 = functions[3];
    to_cmp4 = functions[4];
    to_cmp8 = functions[5];
    to_const_cmp1 = functions[6];
    to_const_cmp2 = functions[7];
    to_const_cmp4 = functions[8];
    to_const_cmp8 = functions[9];
    to_switch = functions[10];
}
