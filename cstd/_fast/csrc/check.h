/* Invariants of the compiled path, checked in the debug build alone (CSTD_DEBUG=1): a broken one ends the process with
 * its name. A release trusts what its tests and this build have shown. */
#ifndef CSTD_CHECK_H
#define CSTD_CHECK_H
#ifdef CSTD_DEBUG
#include <stdio.h>
#include <stdlib.h>
#define CSTD_CHECKED 1
#define cstd_check(holds, what)                                                                                      \
    do {                                                                                                             \
        if (!(holds)) {                                                                                              \
            fprintf(stderr, "cstd: broken invariant: %s (%s:%d)\n", (const char *)(what), __FILE__, __LINE__);       \
            fflush(stderr);                                                                                          \
            abort();                                                                                                 \
        }                                                                                                            \
    } while (0)
#else
#define CSTD_CHECKED 0
#define cstd_check(holds, what) ((void)(what))
#endif
#endif
