"""What can be traded: the venue's minimums against the limits at an equity and a level, by hand-made numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cstd.cli.app import main
from cstd.cli.tradable import UNKNOWN, Known, Rules, known_from, lines, tradable
from cstd.config import Config, load, template

D = Decimal
# A position is at most 2 % of equity; one rehearsal order is 0.25 %.
BTC = Rules(qty_min=D("0.00005"), cost_min=D("0.5"), lot=D("0.00000001"), state="online", bid=D("64000"))  # 3.20 at least


def config(**environ: str) -> Config:
    """The practice configuration of one instrument."""
    return load([str(template("practice"))], {"CSTD__INSTRUMENTS__NAMES": '["BTC/USD"]', **environ})


def verdict(cfg: Config, rules: Rules | None, equity: str = "10000", level: str = "normal") -> tuple[bool | None, str]:
    """Whether BTC/USD can be traded, and why."""
    row = tradable(cfg, Known("a test", None, D(equity), level, {"BTC/USD": rules} if rules else {}))["instruments"][0]
    return row["tradable"], row["reason"]


@pytest.mark.parametrize(("equity", "can", "part"), [
    ("10000", True, "one position is at most 200.00"), ("1280.001", True, "smallest order costs 3.20"),
    ("1279.99", False, "one rehearsal order is 3.20: every"), ("159.99", False, "it takes an equity of 160"),
])
def test_equity_decides(equity: str, can: bool, part: str) -> None:
    """Below 1,280 the strategy's order is below the minimum, below 160 a whole position is."""
    found = verdict(config(), BTC, equity)
    assert found[0] is can and part in found[1]


def test_the_allocated_capital_bounds_the_equity() -> None:
    """More in the account than is allocated changes nothing."""
    cfg = config(CSTD__ACCOUNT__CAPITAL="1000", CSTD__RISK__DAY_LOSS_MAX="80")
    told = tradable(cfg, Known("a test", None, D("50000"), "normal", {"BTC/USD": BTC}))
    assert (told["equity"], told["position_max"]) == ("1000", "20")
    assert told["instruments"][0]["tradable"] is False


def test_the_largest_order_is_in_whole_lots() -> None:
    """Amounts are those of whole lots: 200 / 64,000 in lots of 0.001 is 0.003, and the least is one lot."""
    row = tradable(config(), Known("a test", None, None, "normal", {"BTC/USD": Rules(D("0.00005"), D("0.5"), D("0.001"), "online",
                                                                                     D("64000"))}))["instruments"][0]
    assert (row["order_max"], row["minimum"]) == ("192", "64")
    assert row["tradable"] is False and "one rehearsal order is 0.00" in row["reason"]


def test_the_minimum_cost_counts_where_it_is_above_the_minimum_quantity() -> None:
    """Six dollars forty at least, although the least quantity is 3.20."""
    row = tradable(config(), Known("a test", None, None, "normal", {"BTC/USD": Rules(
        D("0.00005"), D("6.4"), D("0.00000001"), "online", D("64000"))}))["instruments"][0]
    assert D(row["minimum"]) == D("6.4") and row["tradable"] is True


def test_level_and_venue_decide_too() -> None:
    """From Critical on exits alone; at Warning the order is three quarters; the venue's word on the instrument counts."""
    assert verdict(config(), BTC, level="critical") == (False, "level critical: exits only")
    assert verdict(config(), BTC, "1500")[0] is True
    assert verdict(config(), BTC, "1500", level="warning")[0] is False
    closing = Rules(BTC.qty_min, BTC.cost_min, BTC.lot, "cancel_only", BTC.bid)
    assert verdict(config(), closing)[1] == "the venue has it cancel_only"


def test_what_is_not_known_is_said() -> None:
    """Without a session, of an instrument that the session does not know, without a price: None, and never a number."""
    assert verdict(config(), None) == (None, UNKNOWN)
    told = tradable(config(), Known("a test", rules={"ETH/USD": BTC}))
    assert told["instruments"][0]["reason"] == "that session has not heard of it"
    assert verdict(config(), Rules(BTC.qty_min, BTC.cost_min, BTC.lot, "online", None))[0] is None
    assert "not known offline" in list(lines(tradable(config(), known_from(None)), "USD"))[1]


def test_a_directory_without_a_session_is_a_usage_error(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    """--session names a run directory, or the command says that it does not."""
    assert main(["config", "check", "-c", str(template("practice")), "--session", str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err
