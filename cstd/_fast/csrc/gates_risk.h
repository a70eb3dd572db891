/* Risk guard, gates 1-8 (systems 9), codes 11-18. Each function judges one gate and writes its value, limit, reason. */
#ifndef CSTD_GATES_RISK_H
#define CSTD_GATES_RISK_H
#include "gates_policy.h"

static inline void cstd_risk_result(const cstd_case *c, int gate, int why, int64_t value, int64_t limit) {
    int i = gate - CSTD_GATE_KILL_SWITCH;
    c->row->risk_value[i] = value;
    c->row->risk_limit[i] = limit;
    c->row->reason[CSTD_POLICY_GATES + i] = (int8_t)why;
    c->facts->failed |= (unsigned)(why != CSTD_WHY_PASSED) << (CSTD_POLICY_GATES + i);
}

static inline int cstd_level_of(const cstd_gate_input *input) {
    return input->level < 0 || input->level >= CSTD_LEVEL_COUNT ? CSTD_LEVEL_SHUTDOWN : input->level;
}

/* Gate 13 and 14, day loss and drawdown.
 * Reads: day_loss_bps (the worse of the UTC day and the last 24 h), day_loss_acct_raw, drawdown_bps from the peak.
 * Passes when: the value is below the critical threshold, and the loss below the absolute amount. The smallest number
 * there is stands for a loss that was never computed, and no value lies above its peak: both refuse.
 * Limit: risk.day_loss_critical_bps 500, risk.day_loss_max, risk.drawdown_critical_bps 1000. On fail: refuse; what
 * stands is sold by the exit policy at the level's urgency. A profit is a negative loss and passes. */
static inline void cstd_gate_day_loss(const cstd_case *c) {
    int64_t value = c->input->day_loss_bps, limit = c->limits->day_loss_bps[1];
    int why = value < limit ? CSTD_WHY_PASSED : CSTD_WHY_OVER_LIMIT;
    if (value == INT64_MIN || c->input->day_loss_acct_raw == INT64_MIN) {
        why = CSTD_WHY_BAD_INPUT;
    } else if (!why && c->input->day_loss_acct_raw >= c->limits->day_loss_max_acct_raw) {
        why = CSTD_WHY_LOSS_AMOUNT, value = c->input->day_loss_acct_raw, limit = c->limits->day_loss_max_acct_raw;
    }
    cstd_risk_result(c, CSTD_GATE_DAY_LOSS, why, value, limit);
}

static inline void cstd_gate_drawdown(const cstd_case *c) {
    int64_t value = c->input->drawdown_bps, limit = c->limits->drawdown_bps[1];
    int why = value < limit ? CSTD_WHY_PASSED : CSTD_WHY_OVER_LIMIT;
    if (value < 0) {
        why = CSTD_WHY_BAD_INPUT;
    }
    cstd_risk_result(c, CSTD_GATE_DRAWDOWN, why, value, limit);
}

/* Gate 11, kill switch.
 * Reads: kill_latched, trading_state, level.
 * Passes when: nothing is latched, the daemon is ready, and the level leaves openings a size. A level that day loss or
 * drawdown explains is theirs; here it fails when it stays latched after they recovered, or came from a condition.
 * Limit: none but the operator. On fail: refuse. Runs after gates 13 and 14. */
static inline void cstd_gate_kill_switch(const cstd_case *c) {
    static const int8_t by_state[] = {CSTD_WHY_PASSED, CSTD_WHY_PAUSED, CSTD_WHY_NOT_READY, CSTD_WHY_HALTED,
                                      CSTD_WHY_PARITY_HALT};
    const cstd_gate_input *in = c->input;
    int level = cstd_level_of(in);
    int explained = (c->facts->failed >> (CSTD_POLICY_GATES + 2) & 3) != 0;
    int known = in->trading_state >= 0 && in->trading_state < (int)sizeof by_state;
    int why = known ? by_state[in->trading_state] : CSTD_WHY_BAD_INPUT;
    if (in->kill_latched) {
        why = CSTD_WHY_KILLED;
    } else if (!why && c->limits->level_size_e4[level] <= 0 && !explained) {
        why = CSTD_WHY_LEVEL;
    }
    cstd_risk_result(c, CSTD_GATE_KILL_SWITCH, why, level, CSTD_LEVEL_WARNING);
}

/* Gate 12, data gap.
 * Reads: the book's state and fault, evidence_age_ns, silent_for_ns, venue, instrument, private stream, conversion,
 * clock_offset_ns.
 * Passes when: the book is verified and without fault, its quote has evidence from the last evidence_age_max_ns, the
 * instrument was heard within silent_max_ns, venue and instrument are online, the private stream is up and
 * reconciled, the conversion path is fresh and the clock agrees within clock_offset_max_ns.
 * Limit: risk.evidence_s 5, risk.silence_s 300, risk.clock_offset_ms_max 250. On fail: refuse; a resting
 * order has unverified_grace_ns when an unverified book is all that is wrong, so that condition comes last. */
static inline void cstd_gate_data_gap(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    const cstd_limits *lim = c->limits;
    int64_t value = in->evidence_age_ns, limit = lim->evidence_age_max_ns;
    int why = CSTD_WHY_PASSED;
    if (in->evidence_age_ns < 0 || in->silent_for_ns < 0 || in->unverified_for_ns < 0) {
        why = CSTD_WHY_BAD_INPUT;
    } else if (!in->venue_online) {
        why = CSTD_WHY_VENUE_STATE;
    } else if (!in->instrument_online) {
        why = CSTD_WHY_INSTRUMENT_STATE;
    } else if (!in->private_up || !in->private_ready) {
        why = CSTD_WHY_PRIVATE_STREAM;
    } else if (!in->conversion_ok) {
        why = CSTD_WHY_CONVERSION;
    } else if (in->clock_offset_ns > lim->clock_offset_max_ns || in->clock_offset_ns < -lim->clock_offset_max_ns) {
        why = CSTD_WHY_CLOCK, value = in->clock_offset_ns, limit = lim->clock_offset_max_ns;
    } else if (in->silent_for_ns >= lim->silent_max_ns) {
        why = CSTD_WHY_SILENT, value = in->silent_for_ns, limit = lim->silent_max_ns;
    } else if (in->evidence_age_ns > lim->evidence_age_max_ns) {
        why = CSTD_WHY_STALE;
    } else if (!in->book_verified) {
        why = CSTD_WHY_BOOK_UNVERIFIED;
        value = in->unverified_for_ns, limit = in->rejudge ? lim->unverified_grace_ns : 0;
    } else if (in->book_fault) {
        why = CSTD_WHY_BOOK_FAULT, value = in->book_fault, limit = 0;
    }
    cstd_risk_result(c, CSTD_GATE_DATA_GAP, why, value, limit);
}

/* Gate 15, position count.
 * Reads: positions_count, instrument_has_position. Passes when: a new position is not one too many; adding to one
 * that is there makes none. Limit: risk.positions_max, 10. On fail: refuse. */
static inline void cstd_gate_position_count(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    int adds = in->kind == CSTD_OPENING && !in->instrument_has_position;
    int64_t value = cstd_add_saturated(in->positions_count, adds);
    int why = value <= c->limits->positions_max ? CSTD_WHY_PASSED : CSTD_WHY_OVER_LIMIT;
    if (in->positions_count < 0) {
        why = CSTD_WHY_BAD_INPUT;
    }
    cstd_risk_result(c, CSTD_GATE_POSITION_COUNT, why, value, c->limits->positions_max);
}

/* Gates 16-18, exposure in money: what stands (open and UNKNOWN orders included) plus this must stay within a share
 * of equity. Returns the cap on this order's notional. */
static inline int64_t
cstd_gate_share(const cstd_case *c, int gate, int64_t standing, int64_t max_bps, int refused_why) {
    int64_t limit = cstd_bps_of(c->input->equity_acct_raw, max_bps);
    int64_t adds = c->input->kind == CSTD_OPENING ? c->facts->notional : 0; /* an exit adds nothing */
    int64_t value = cstd_add_saturated(standing, adds);
    int why = refused_why ? refused_why : c->facts->money_why;
    if (!why && standing < 0) {
        why = CSTD_WHY_BAD_INPUT;
    } else if (!why && value > limit) {
        why = CSTD_WHY_OVER_LIMIT;
    }
    cstd_risk_result(c, gate, why, value, limit);
    return cstd_max64(limit - cstd_max64(standing, 0), 0);
}

/* Gate 16, total exposure.
 * Reads: exposure_acct_raw, the notional, equity. Passes when: exposure + notional <= exposure_max_bps of equity.
 * Limit: risk.exposure_bps_max, 15 %. On fail: reduce. */
static inline void cstd_gate_total_exposure(const cstd_case *c) {
    int64_t standing = c->input->exposure_acct_raw, max_bps = c->limits->exposure_max_bps;
    c->facts->cap_exposure = cstd_gate_share(c, CSTD_GATE_TOTAL_EXPOSURE, standing, max_bps, CSTD_WHY_PASSED);
}

/* Gate 17, position size.
 * Reads: asset_exposure_acct_raw, the notional, equity, side. Passes when: asset exposure + notional <=
 * position_max_bps of equity, and it is a long: a cash account has no shorts, so a short's cap is nothing.
 * Limit: risk.position_bps_max, 2 %. On fail: reduce. */
static inline void cstd_gate_position_size(const cstd_case *c) {
    int short_why = c->input->kind == CSTD_OPENING && c->input->side != CSTD_BUY ? CSTD_WHY_LONG_ONLY : 0;
    int64_t standing = c->input->asset_exposure_acct_raw, max_bps = c->limits->position_max_bps;
    c->facts->cap_position = cstd_gate_share(c, CSTD_GATE_POSITION_SIZE, standing, max_bps, short_why);
}

/* Gate 18, correlation.
 * Reads: cluster_exposure_acct_raw (assets whose returns correlate at 0.7 or more; no history counts as 1), the
 * notional, equity. Passes when: cluster exposure + notional <= cluster_max_bps of equity.
 * Limit: risk.cluster_bps_max, 6 %. On fail: reduce. */
static inline void cstd_gate_correlation(const cstd_case *c) {
    int64_t standing = c->input->cluster_exposure_acct_raw, max_bps = c->limits->cluster_max_bps;
    c->facts->cap_cluster = cstd_gate_share(c, CSTD_GATE_CORRELATION, standing, max_bps, CSTD_WHY_PASSED);
}
#endif
