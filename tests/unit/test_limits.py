"""Limits of the configuration become the gates' integers exactly, or not at all."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from cstd import config
from cstd._fast.gates import LIMITS_DTYPE
from cstd.config import Config
from cstd.decision.limits import limits_in_money, limits_row
from cstd.errors import ConfigError

ROOT = Path(__file__).parents[2]
S = 1_000_000_000
USD = 100_000_000


def load(name: str) -> Config:
    """A shipped configuration."""
    return config.load([str(ROOT / "config" / f"{name}.toml")], {})


def changed(cfg: Config, section: str, **values: object) -> Config:
    """The configuration with some keys of one section changed, checks of loading left out."""
    replaced = msgspec.structs.replace(getattr(cfg, section), **values)
    return msgspec.structs.replace(cfg, **{section: replaced})


def test_live_limits_are_those_of_the_rules() -> None:
    """config/live.toml gives the fifteen gates the defaults of systems 8 and 9, in the struct's units."""
    row = limits_row(load("live"), "BTC/USD")
    expected = {
        "dedupe_window_ns": 3600 * S, "parents_instrument_hour_max": 6, "parents_minute_max": 30,
        "turnover_day_max_bps": 20_000,
        "losing_round_trips_max": 4, "spread_max_mbps": 45_000, "depth_band_mbps": 25_000, "depth_min_acct_raw": 10_000 * USD,
        "depth_multiple_e2": 500, "volume_hour_min_acct_raw": 100_000 * USD, "volume_share_max_bps": 1_000,
        "exit_cost_max_mbps": 25_000, "slippage_day_max_mbps": 20_000, "slippage_p95_max_mbps": 30_000,
        "slippage_p95_fills_min": 20, "deadline_min_ns": S, "deadline_max_ns": 2 * S, "lifetime_max_ns": 60 * S,
        "price_band_mbps": 100_000, "reference_band_mbps": 100_000, "collar_max_mbps": 200_000, "rest_price_after_ns": 2 * S,
        "rest_age_max_ns": 2 * S, "evidence_age_max_ns": 5 * S, "silent_max_ns": 300 * S, "unverified_grace_ns": S,
        "clock_offset_max_ns": 250_000_000, "positions_max": 10, "exposure_max_bps": 1_500, "position_max_bps": 200,
        "cluster_max_bps": 600, "reduce_min_bps": 1_000,
    }
    assert {name: int(row[name]) for name in expected} == expected
    assert row["day_loss_bps"].tolist() == [300, 500, 650, 800]
    assert row["drawdown_bps"].tolist() == [500, 1000, 1250, 1500]
    assert row["level_size_e4"].tolist() == [10_000, 7_500, 0, 0, 0]
    assert set(expected) | {"day_loss_bps", "drawdown_bps", "level_size_e4", "day_loss_max_acct_raw"} == set(LIMITS_DTYPE.names)


@pytest.mark.parametrize("name", ["practice", "paper", "live"])
def test_every_shipped_configuration_has_limits(name: str) -> None:
    """Each starting point gives every instrument a row in which no limit is negative and every maximum is set."""
    cfg = load(name)
    for instrument in cfg.instruments.names:
        row = limits_row(cfg, instrument)
        for field in LIMITS_DTYPE.names:
            assert (row[field] >= 0).all(), field
            assert row[field].any(), field


def test_practice_differs_from_live_where_the_design_says() -> None:
    """Churn limits are wide in practice; every limit on market and risk is live's."""
    practice, live = (limits_row(load(name), "BTC/USD") for name in ("practice", "live"))
    wide = {"parents_instrument_hour_max": 400, "losing_round_trips_max": 1_000, "turnover_day_max_bps": 500_000}
    assert {name: int(practice[name]) for name in wide} == wide
    for name in set(LIMITS_DTYPE.names) - set(wide) - {"day_loss_max_acct_raw"}:
        assert practice[name].tolist() == live[name].tolist(), name


def test_fractions_of_a_unit_survive_exactly() -> None:
    """A thousandth of a basis point and 10^-8 of money reach the gates as they were written."""
    cfg = changed(load("live"), "policy", spread_bps_max=Decimal("0.001"), depth_value_min=Decimal("0.00000001"))
    row = limits_row(cfg, "BTC/USD")
    assert (row["spread_max_mbps"], row["depth_min_acct_raw"]) == (1, 1)


@pytest.mark.parametrize(("section", "key", "value"), [
    ("policy", "spread_bps_max", Decimal("0.0001")), ("policy", "depth_value_min", Decimal("1e11")),
    ("policy", "depth_value_min", Decimal("0.000000001")), ("risk", "day_loss_max", Decimal(-1)),
    ("policy", "turnover_equity_multiple_max", Decimal("0.00001")), ("risk", "evidence_s", Decimal("1e-10")),
    ("risk", "size_warning_frac", Decimal("0.12345")), ("policy", "depth_value_min", Decimal("NaN")),
])
def test_what_does_not_fit_is_a_configuration_error(section: str, key: str, value: Decimal) -> None:
    """Nothing is rounded, wrapped or cut: the error names the key and the value."""
    with pytest.raises(ConfigError, match=key) as error:
        limits_row(changed(load("live"), section, **{key: value}), "BTC/USD")
    assert error.value.exit_code == 78
    assert str(value) in str(error.value)


def test_limits_in_money() -> None:
    """Shares of equity are shown as amounts of the capital, or of the equity that is asked about."""
    rows = {row["key"]: row for row in limits_in_money(load("live"))}
    assert rows["risk.position_bps_max"]["amount"] == "20.00"
    assert rows["risk.exposure_bps_max"]["amount"] == "150.00"
    assert rows["policy.turnover_equity_multiple_max"]["amount"] == "2000.00"
    assert {row["currency"] for row in rows.values()} == {"USD"}
    half = {row["key"]: row for row in limits_in_money(load("live"), Decimal(500))}
    assert half["risk.position_bps_max"]["amount"] == "10.00"
    assert half["risk.day_loss_max"]["amount"] == "80.00"
