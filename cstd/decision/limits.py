"""From the configuration to the limits that the compiled gates compare with, and back to money for the operator.

Everything becomes an int64 exactly: a value that would need rounding, or does not fit, is a configuration error.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from cstd._fast.gates import LIMITS_DTYPE
from cstd.config import Config
from cstd.config.limit_keys import for_instrument
from cstd.errors import ConfigError
from cstd.units import BPS_PER_UNIT, INT64_MAX, NS_PER_MS, NS_PER_S, format_decimal, from_raw, to_raw

MONEY_PRECISION = 8
MBPS_DIGITS = 3  # thousandths of a basis point
# A deadline is a property of the venue's matching engine, not a taste: 1 to 2 s (systems 8, gate 6).
DEADLINE_MIN_NS = 1 * NS_PER_S
DEADLINE_MAX_NS = 2 * NS_PER_S


def _scaled(key: str, value: Decimal | int, digits: int) -> int:
    """Return value × 10^digits as an int64."""
    try:
        raw = to_raw(Decimal(value), digits)
    except ValueError as error:
        raise ConfigError(f"{key} = {value}: {error}", suggestion=f"use at most {digits} decimals") from None
    if not 0 <= raw <= INT64_MAX:
        most = format_decimal(from_raw(INT64_MAX, digits))
        raise ConfigError(f"{key} = {value} does not fit", suggestion=f"at most {most}")
    return raw


def _policy(cfg: Config) -> dict[str, int]:
    policy = cfg.policy
    mbps = {
        "spread_max_mbps": "spread_bps_max", "depth_band_mbps": "depth_band_bps", "exit_cost_max_mbps": "exit_cost_bps_max",
        "slippage_day_max_mbps": "slippage_day_bps_max", "slippage_p95_max_mbps": "slippage_p95_bps_max",
        "price_band_mbps": "price_band_bps_max", "reference_band_mbps": "reference_band_bps_max",
    }
    seconds = {
        "dedupe_window_ns": "dedupe_window_s", "lifetime_max_ns": "lifetime_s_max",
        "rest_price_after_ns": "rest_price_after_s", "rest_age_max_ns": "rest_price_age_s_max",
    }
    money = {"depth_min_acct_raw": "depth_value_min", "volume_hour_min_acct_raw": "volume_hour_min"}
    groups = ((mbps, MBPS_DIGITS), (seconds, 9), (money, MONEY_PRECISION))
    values = {
        field: _scaled(f"policy.{key}", getattr(policy, key), digits)
        for names, digits in groups for field, key in names.items()
    }
    return values | {
        "parents_instrument_hour_max": policy.parents_per_instrument_hour_max,
        "parents_minute_max": policy.parents_per_minute_max,
        "turnover_day_max_bps": _scaled("policy.turnover_equity_multiple_max", policy.turnover_equity_multiple_max, 4),
        "losing_round_trips_max": policy.losing_round_trips_max,
        "depth_multiple_e2": _scaled("policy.depth_multiple_min", policy.depth_multiple_min, 2),
        "volume_share_max_bps": _scaled("policy.volume_minute_frac_max", policy.volume_minute_frac_max, 4),
        "slippage_p95_fills_min": policy.slippage_p95_fills_min,
        "deadline_min_ns": DEADLINE_MIN_NS,
        "deadline_max_ns": DEADLINE_MAX_NS,
        "collar_max_mbps": max(*cfg.exits.collar_steps_bps, cfg.exits.collar_urgent_bps, cfg.exits.blind_collar_bps) * 1000,
    }


def _risk(cfg: Config) -> dict[str, int | tuple[int, ...]]:
    risk = cfg.risk
    warning_e4 = _scaled("risk.size_warning_frac", risk.size_warning_frac, 4)
    return {
        "evidence_age_max_ns": _scaled("risk.evidence_s", risk.evidence_s, 9),
        "silent_max_ns": _scaled("risk.silence_s", risk.silence_s, 9),
        "unverified_grace_ns": risk.grace_ms * NS_PER_MS,
        "clock_offset_max_ns": risk.clock_offset_ms_max * NS_PER_MS,
        "day_loss_bps": (risk.day_loss_warning_bps, risk.day_loss_critical_bps, risk.day_loss_emergency_bps,
                         risk.day_loss_shutdown_bps),
        "day_loss_max_acct_raw": _scaled("risk.day_loss_max", risk.day_loss_max, MONEY_PRECISION),
        "drawdown_bps": (risk.drawdown_warning_bps, risk.drawdown_critical_bps, risk.drawdown_emergency_bps,
                         risk.drawdown_shutdown_bps),
        "positions_max": risk.positions_max,
        "exposure_max_bps": risk.exposure_bps_max,
        "position_max_bps": risk.position_bps_max,
        "cluster_max_bps": risk.cluster_bps_max,
        "level_size_e4": (BPS_PER_UNIT, warning_e4, 0, 0, 0),
        "reduce_min_bps": risk.reduce_bps_min,
    }


def limits_row(cfg: Config, instrument: str) -> np.ndarray:
    """Return the gate limits that the configuration gives one instrument: shape (), dtype LIMITS_DTYPE.

    Args:
        cfg: the configuration.
        instrument: its name; every instrument has a row of its own in the engine.

    Raises:
        ConfigError: a value does not fit an int64 at its scale.
    """
    return limits_in_force(for_instrument(cfg, instrument), instrument)


def limits_in_force(cfg: Config, instrument: str) -> np.ndarray:
    """Return the gate limits that the keys of `cfg` stand for as they are: shape (), dtype LIMITS_DTYPE.

    Args:
        cfg: the limits, an instrument's own ones in their place already.
        instrument: whose they are, for the error.

    Raises:
        ConfigError: a value does not fit an int64 at its scale.
    """
    values: dict[str, int | tuple[int, ...]] = {**_policy(cfg), **_risk(cfg)}
    row = np.zeros((), dtype=LIMITS_DTYPE)
    missing = set(LIMITS_DTYPE.names or ()) ^ set(values)
    if missing:  # a limit that is never set would be 0, or one set in vain would not hold
        raise ConfigError(f"{instrument}: gate limits without a configuration key, or the reverse: {sorted(missing)}")
    for field, value in values.items():
        row[field] = value
    return row


def limits_in_money(cfg: Config, equity: Decimal | None = None) -> list[dict[str, str]]:
    """Return every share of equity as an amount, for `cstd config check`.

    Args:
        cfg: the configuration.
        equity: what the shares are of; the allocated capital when None.

    Returns:
        rows of key, limit (as configured, with its unit), amount (plain digits) and currency.
    """
    base = cfg.account.capital if equity is None else equity
    risk, policy = cfg.risk, cfg.policy
    rows: list[tuple[str, str, Decimal]] = []
    for key in ("exposure_bps_max", "position_bps_max", "cluster_bps_max", "day_loss_warning_bps", "day_loss_critical_bps",
                "day_loss_emergency_bps", "day_loss_shutdown_bps", "drawdown_warning_bps", "drawdown_critical_bps",
                "drawdown_emergency_bps", "drawdown_shutdown_bps"):
        bps = getattr(risk, key)
        rows.append((f"risk.{key}", f"{bps} bps of equity", base * bps / BPS_PER_UNIT))
    rows.append(("risk.day_loss_max", "amount", risk.day_loss_max))
    turnover = policy.turnover_equity_multiple_max
    rows.append(("policy.turnover_equity_multiple_max", f"{turnover} × equity a day", base * turnover))
    rows.append(("policy.slippage_day_bps_max", f"{policy.slippage_day_bps_max} bps of the day's starting equity",
                 base * policy.slippage_day_bps_max / BPS_PER_UNIT))
    rows.append(("policy.depth_value_min", "amount", policy.depth_value_min))
    rows.append(("policy.volume_hour_min", "amount", policy.volume_hour_min))
    cent = Decimal("0.01")
    return [{"key": key, "limit": limit, "amount": format_decimal(amount.quantize(cent)), "currency": cfg.account.currency}
            for key, limit, amount in rows]


def correlation_rule(cfg: Config) -> tuple[float, float, int, int, int, int]:
    """Return how it is measured what moves together, as Core.set_correlations takes it."""
    risk = cfg.risk
    return (float(risk.correlation_min), float(risk.correlation_leave), risk.correlation_span_bars,
            risk.correlation_returns_min, risk.correlation_leave_bars, risk.correlation_prior_returns)
