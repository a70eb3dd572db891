"""The guide's strategy of both sides against the practice exchange, on the virtual clock: both fill, faults break no promise."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from cstd._fast.codes import ExitReason, Side
from cstd.config import Config
from cstd.config.schema import OwnStrategyConfig
from cstd.signals.agents.loader import LoadedStrategy, load_strategy
from tests.simulation.faults import ABSENT_LONG_S, ABSENT_S, is_patient, is_watched, tier_of
from tests.simulation.simulated import Simulation, configuration
from tests.strategies import built, guide

# Short lives, so that much of a quote's happens within a seed; the fitted market is wilder than the example's own limit.
PARAMS = {"lifetime_s": 6, "atr_mbps_max": 1_000_000}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> LoadedStrategy:
    """The example of docs/strategies.md that quotes both sides, built."""
    source = guide("strategies.md", "## Quotes on both sides")
    return load_strategy(built(tmp_path_factory.mktemp("both_sides"), "both_sides", source))


def quoting(seed: int) -> Config:
    """The seed's configuration with it, and room for what it may hold beside one more bid."""
    cfg = configuration(ABSENT_LONG_S if is_patient(seed) else ABSENT_S, watched=is_watched(seed), tier=tier_of(seed))
    strategy = msgspec.structs.replace(cfg.strategy, name="own", own=OwnStrategyConfig(dir="both_sides", params=PARAMS))
    return msgspec.structs.replace(cfg, strategy=strategy, risk=msgspec.structs.replace(cfg.risk, position_bps_max=60))


def fills(simulation: Simulation) -> Counter[tuple[int, int, str]]:
    """How often each side was filled, for which reason, and as what."""
    return Counter((fill.side, fill.exit_reason, fill.liquidity) for fill in simulation.engine.ledger.fills.values())


def test_both_sides_fill_against_the_practice_exchange(own: LoadedStrategy) -> None:
    """Without a fault: buys and sells, each as a maker; bids follow the market, and the strategy has no fault."""
    seen: Counter[tuple[int, int, str]] = Counter()
    counters: Counter[str] = Counter()
    for seed in (1, 2, 3):
        simulation = Simulation(seed, (), cfg=quoting(seed), own=own).run(30)
        seen += fills(simulation)
        counters.update(simulation.engine.core.counter_values())
    assert seen[Side.BUY, 0, "maker"] >= 5 and seen[Side.SELL, ExitReason.EXIT_QUOTE, "maker"] >= 5, seen
    assert not any(liquidity == "taker" and reason == ExitReason.EXIT_QUOTE for _, reason, liquidity in seen)
    assert counters["follows"] > 0 and counters["strategy_faults"] == 0


def test_faults_break_no_promise_while_it_quotes(own: LoadedStrategy) -> None:
    """Crashes, lost replies and broken sockets over quotes: never more is sold than is managed, and each journal replays."""
    seen: Counter[tuple[int, int, str]] = Counter()
    for seed in range(100, 112):
        seen += fills(Simulation(seed, cfg=quoting(seed), own=own).run(20))
    assert seen[Side.SELL, ExitReason.EXIT_QUOTE, "maker"] > 0, seen
