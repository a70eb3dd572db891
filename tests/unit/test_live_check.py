"""What `cstd live-check` will do, worked out from the venue's minimums before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd.cli.host_checks import OK, PROBLEM, Check
from cstd.cli.live_check import Plan, _planned, main
from cstd.cli.parser import parse
from cstd.config import Config, load, template
from cstd.errors import ConfigError, UsageError
from cstd.venue.rest.models import PairRow

PAIR = PairRow("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC", "USD", 1, 8, Decimal("0.1"), Decimal("0.00005"), Decimal("0.5"), "online")
LIVE = load([str(template("live"))], {})


def planned(cfg: Config, pair: PairRow, ask: str) -> tuple[Check, Plan | None]:
    """The check of an instrument, and the plan where there is one."""
    check, *plan = list(_planned(cfg, "BTC/USD", pair, Decimal(ask)))
    assert isinstance(check, Check)
    return check, plan[0] if plan and isinstance(plan[0], Plan) else None


@given(ask=st.decimals("0.01", "1000000", places=2), qty_min=st.decimals("0.00001", "1000", places=5),
       cost_min=st.decimals("0.5", "20", places=2), position_bps=st.integers(1, 2_000))
def test_the_order_is_near_the_least_and_stays_above_it(ask: Decimal, qty_min: Decimal, cost_min: Decimal,
                                                        position_bps: int) -> None:
    """The opening passes gate 17 whole, its amend is smaller and still above the venue's least, and capital is never raised."""
    cfg = msgspec.structs.replace(LIVE, risk=msgspec.structs.replace(LIVE.risk, position_bps_max=position_bps))
    pair = msgspec.structs.replace(PAIR, qty_min=qty_min, cost_min=cost_min)
    check, plan = planned(cfg, pair, str(ask))
    least = max(qty_min * ask, cost_min)
    if plan is None:
        assert check.state == PROBLEM
        assert cfg.account.capital * position_bps / 10_000 < least * Decimal("2.4") + Decimal("0.01")
        return
    assert check.state == OK
    assert least * 2 < plan.notional <= least * Decimal("2.4") + Decimal("0.01")
    assert plan.capital <= cfg.account.capital
    assert plan.capital * position_bps / 10_000 >= plan.notional
    if plan.amended_bps >= 20:  # below that whole basis points are coarse
        assert least < plan.capital * plan.amended_bps / 10_000 < plan.notional


@pytest.mark.parametrize("pair", [
    msgspec.structs.replace(PAIR, status="cancel_only"),
    msgspec.structs.replace(PAIR, qty_min=None, cost_min=None),
])
def test_no_plan_without_a_least_order(pair: PairRow) -> None:
    """An instrument that takes no openings, or whose minimums the venue does not tell, gets none."""
    check, plan = planned(LIVE, pair, "60000")
    assert (check.state, plan) == (PROBLEM, None)


def test_the_overlay_is_a_configuration(tmp_path: Path) -> None:
    """What is written for the daemon loads, changes what it must and nothing else, and never loosens the day's loss."""
    _, plan = planned(LIVE, PAIR, "60000")
    assert plan is not None
    overlay = tmp_path / "over lay.toml"
    overlay.write_text(plan.overlay(LIVE, tmp_path / "a socket"), encoding="utf-8")
    cfg = load([str(template("live")), str(overlay)], {})
    assert cfg.strategy.name == "ladder"
    assert cfg.account.capital == plan.capital < LIVE.account.capital
    assert cfg.risk.day_loss_max <= LIVE.risk.day_loss_max
    assert msgspec.structs.replace(cfg.risk, day_loss_max=LIVE.risk.day_loss_max) == LIVE.risk
    assert (cfg.policy, cfg.exits, cfg.venue) == (LIVE.policy, LIVE.exits, LIVE.venue)


def test_the_overlay_stands_in_for_a_strategy_of_the_users(tmp_path: Path) -> None:
    """A file that names one of their own is no contradiction; one that asks for the ladder alone is told what it lacks."""
    own = tmp_path / "own.toml"
    own.write_text('[strategy]\nname = "own"\n[strategy.own]\ndir = "mine"\n')
    _, plan = planned(LIVE, PAIR, "60000")
    assert plan is not None
    overlay = tmp_path / "ladder.toml"
    overlay.write_text(plan.overlay(LIVE, tmp_path / "socket"))
    assert load([str(template("live")), str(own), str(overlay)], {}).strategy.name == "ladder"
    with pytest.raises(ConfigError, match=r"strategy\.ladder"):
        load([str(template("live"))], {"CSTD__STRATEGY__NAME": "ladder"})
    overlay.write_text(replace(plan, instrument="DOGE/USD").overlay(LIVE, tmp_path / "socket"))
    with pytest.raises(ConfigError, match=r"strategy\.ladder\.instrument"):
        load([str(template("live")), str(overlay)], {})


def test_paper_has_no_account() -> None:
    """There is nobody to place an order with."""
    args = parse(["live-check", "-c", str(template("paper"))])
    assert args is not None
    with pytest.raises(UsageError, match="paper"):
        main(args)
