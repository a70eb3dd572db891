/* Judges intents from a file and writes their rows: the gates as they are compiled into the core, without the core.
 *
 *   judge_rows IN OUT
 *
 * IN holds groups: 4 int64 (intents, bids, asks, judged again where a smaller quantity would pass), the limits, the levels
 * (price, qty, own as int64, best first), the inputs. OUT gets one row for each input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gates.h"

static void take(void *to, size_t size, size_t count, FILE *from) {
    if (fread(to, size, count, from) != count) {
        exit(3);
    }
}

static void fill(cstd_side *side, int64_t count, FILE *from) {
    memset(side, 0, sizeof *side);
    side->level = calloc(count ? count : 1, sizeof(cstd_level));
    side->end = side->capacity = (int)count;
    for (int64_t i = count - 1; i >= 0; i--) {
        int64_t level[3];
        take(level, sizeof level, 1, from);
        side->level[i].price_raw = level[0];
        side->level[i].qty_raw = level[1];
        side->level[i].own_qty_raw = level[2];
        cstd_total_add(side, level[0], level[1]);
        cstd_total_seen(side, level[0], level[1]);
        side->own_marked |= level[2] != 0;
    }
}

int main(int argc, char **argv) {
    FILE *from = argc == 3 ? fopen(argv[1], "rb") : NULL, *to = from ? fopen(argv[2], "wb") : NULL;
    int64_t head[4];
    if (!to) {
        return 2;
    }
    while (fread(head, sizeof head, 1, from) == 1) {
        cstd_limits limits;
        cstd_side bids, asks;
        take(&limits, sizeof limits, 1, from);
        fill(&bids, head[1], from);
        fill(&asks, head[2], from);
        for (int64_t i = 0; i < head[0]; i++) {
            cstd_gate_input input;
            cstd_decision_row row;
            memset(&row, 0, sizeof row);
            take(&input, sizeof input, 1, from);
            input.bids = &bids;
            input.asks = &asks;
            if (head[3]) {
                cstd_gates_judge(&input, &limits, &row);
            } else {
                cstd_gates_evaluate(&input, &limits, &row);
            }
            if (fwrite(&row, sizeof row, 1, to) != 1) {
                return 4;
            }
        }
        free(bids.level);
        free(asks.level);
    }
    return fclose(to) ? 4 : 0;
}
