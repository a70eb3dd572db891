"""An intent that passes all fifteen gates by a wide margin, as plain dicts: tests change one thing at a time."""

from __future__ import annotations

import numpy as np

from cstd._fast import codes, gates

S = 1_000_000_000
USD = 100_000_000

# BTC/USD-like: price with 1 decimal, quantity with 8. Bid 100,000.0, ask 100,000.1.
BIDS = [(1_000_000 - 10 * i, 50_000_000) for i in range(25)]
ASKS = [(1_000_001 + 10 * i, 50_000_000) for i in range(25)]


def limits(**changes: object) -> dict:
    """Return the limits of the shipped live configuration, in the units of the compiled struct."""
    base: dict = {
        "dedupe_window_ns": 3600 * S, "parents_instrument_hour_max": 6, "parents_minute_max": 30,
        "turnover_day_max_bps": 20_000, "losing_round_trips_max": 4, "spread_max_mbps": 45_000,
        "depth_band_mbps": 25_000, "depth_min_acct_raw": 10_000 * USD, "depth_multiple_e2": 500,
        "volume_hour_min_acct_raw": 100_000 * USD, "volume_share_max_bps": 1_000, "exit_cost_max_mbps": 25_000,
        "slippage_day_max_mbps": 20_000, "slippage_p95_max_mbps": 30_000, "slippage_p95_fills_min": 20,
        "deadline_min_ns": S, "deadline_max_ns": 2 * S, "lifetime_max_ns": 60 * S, "price_band_mbps": 100_000,
        "reference_band_mbps": 100_000, "collar_max_mbps": 200_000, "rest_price_after_ns": 2 * S,
        "rest_age_max_ns": 2 * S, "evidence_age_max_ns": 5 * S, "silent_max_ns": 300 * S, "unverified_grace_ns": S,
        "clock_offset_max_ns": 250_000_000, "day_loss_bps": (300, 500, 650, 800), "day_loss_max_acct_raw": 500 * USD,
        "drawdown_bps": (500, 1000, 1250, 1500), "positions_max": 10, "exposure_max_bps": 1_500,
        "position_max_bps": 200, "cluster_max_bps": 600, "level_size_e4": (10_000, 7_500, 0, 0, 0),
        "reduce_min_bps": 1_000,
    }
    unknown = set(changes) - set(base)
    assert not unknown, unknown
    return {**base, **changes}


def opening(**changes: object) -> dict:
    """Return a buy of 0.001 BTC (100 USD, 1 % of equity) that joins the best bid."""
    base: dict = {
        "kind": int(codes.IntentKind.OPENING), "side": int(codes.Side.BUY),
        "time_in_force": int(codes.TimeInForce.GTD), "post_only": 1,
        "price_raw": 1_000_000, "qty_raw": 100_000, "qty_wanted_raw": 0, "price_scale": 10, "qty_scale": 10**8,
        "tick_raw": 1, "lot_raw": 1, "qty_min_raw": 5_000, "cost_min_quote_e8": USD // 2,
        "deadline_ns": S, "lifetime_ns": 20 * S, "now_wall_ns": 1_700_000_000 * S,
        "now_mono_ns": 77 * S, "episode": 3, "unverified_for_ns": 0, "evidence_age_ns": 1_000_000,
        "silent_for_ns": 1_000_000, "clock_offset_ns": 0, "conversion_rate_e8": 10**8, "conversion_haircut_bps": 0,
        "rest_bid_raw": 0, "rest_age_ns": 0, "last_verified_bid_raw": 1_000_000, "collar_mbps": 25_000,
        "parents_instrument_hour": 0, "parents_minute": 0, "turnover_day_acct_raw": 0, "losing_round_trips": 0,
        "volume_hour_acct_raw": 10_000_000 * USD, "markout_allowance_mbps": 1_000, "slippage_day_acct_raw": 0,
        "day_start_equity_acct_raw": 10_000 * USD, "slippage_p95_mbps": 0, "slippage_fills": 0,
        "reference_price_raw": 0, "equity_acct_raw": 10_000 * USD, "day_loss_bps": 0, "day_loss_acct_raw": 0,
        "drawdown_bps": 0, "positions_count": 0, "exposure_acct_raw": 0, "asset_exposure_acct_raw": 0,
        "cluster_exposure_acct_raw": 0, "managed_free_qty_raw": 0, "instrument": 0, "strategy_code": 1,
        "book_fault": 0, "level": 0, "trading_state": 0, "rejudge": 0, "book_verified": 1, "venue_online": 1,
        "instrument_online": 1, "private_up": 1, "private_ready": 1, "conversion_ok": 1, "id_seen": 0,
        "same_unknown": 0, "dedupe_hit": 0, "instrument_off": 0, "volume_ready": 1, "reference_required": 0,
        "kill_latched": 0, "instrument_has_position": 0,
    }
    unknown = set(changes) - set(base)
    assert not unknown, unknown
    return {**base, **changes}


def exit_sell(**changes: object) -> dict:
    """Return an IOC sale of 0.001 managed BTC at the best bid."""
    return opening(**{
        "kind": int(codes.IntentKind.EXIT), "side": int(codes.Side.SELL),
        "time_in_force": int(codes.TimeInForce.IOC), "post_only": 0,
        "lifetime_ns": 0, "managed_free_qty_raw": 100_000, **changes,
    })


def limits_record(values: dict) -> np.ndarray:
    """Return the limits as the compiled struct."""
    row = np.zeros((), dtype=gates.LIMITS_DTYPE)
    for name, value in values.items():
        row[name] = value
    return row


def judge(intent: dict, limit: dict | None = None, *, bids: list | None = None, asks: list | None = None,
          reduce: bool = True) -> np.void:
    """Return the decision row of one intent."""
    rows = gates.evaluate_rows(gates.gate_input(**intent), limits_record(limit or limits()),
                               BIDS if bids is None else bids, ASKS if asks is None else asks, reduce=reduce)
    return rows[0]
