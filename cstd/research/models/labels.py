"""What became of the trade that a row would have led to, filled as the simulated venue fills it as far as bars can tell.

The opening is a post-only buy limit at the close of the row's bar. It rests for the lifetime, in whole bars, at least one, and
fills when a bar's low is *below* it: a trade through a price fills what rests there, a trade at it says nothing of the
queue. The exit is a taker at the open of the bar that starts when the horizon is over, counted from the decision, less half a
spread. Without a bar at that time nobody traded, no price is known, and there is no label: nothing is carried forward.

    net = exit x (1 - half spread) x (1 - taker fee) / (limit x (1 + maker fee)) - 1        the event: net > 0

A label is thus conditional on the fill: who is filled is filled more often by a market that falls, and that is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from cstd.errors import OperatorError
from cstd.orders.simulated_terms import FEE_TIERS
from cstd.research.models.dataset import Floats, Ints, Rows, Series

HORIZONS_S = {"1h": 3_600, "4h": 14_400, "24h": 86_400}
HORIZON_BARS_MIN = 4  # with fewer, the bar in which the order fills is most of the horizon
BPS = 1e-4


@dataclass(frozen=True)
class Costs:
    """Fees of the tier, the allowance for the spread at the exit, in basis points; how long an opening rests."""

    maker_bps: float = float(FEE_TIERS[0][1])
    taker_bps: float = float(FEE_TIERS[0][2])
    half_spread_bps: float = 5.0
    lifetime_s: int = 60

    def card(self) -> dict[str, float]:
        """Return what a model's card says of them."""
        return asdict(self)

    def net(self, limit: Floats, exit_price: Floats) -> Floats:
        """Return the net return of trades, as a fraction of what was paid."""
        gained = exit_price * (1 - self.half_spread_bps * BPS) * (1 - self.taker_bps * BPS)
        return np.asarray(gained / (limit * (1 + self.maker_bps * BPS)) - 1, np.float64)


@dataclass
class Sample:
    """Rows whose trade filled and ended, for one horizon."""

    rows: Rows
    net: Floats  # return after fees
    end_s: Ints  # when the trade was over
    horizon_s: int
    left_out: Counter[str]

    def __len__(self) -> int:
        return len(self.net)

    @property
    def event(self) -> Floats:
        """1.0 where the trade earned."""
        return (self.net > 0).astype(np.float64)

    def take(self, chosen: NDArray[np.bool_] | Ints) -> Sample:
        """Return some of it."""
        return Sample(self.rows.take(chosen), self.net[chosen], self.end_s[chosen], self.horizon_s, self.left_out)


def stride(horizon_s: int, interval_s: int) -> int:
    """Return every how many bars a decision is looked at: four to a horizon, for labels that overlap more add next to nothing."""
    return max(1, horizon_s // interval_s // 4)


def label(rows: Rows, series: Sequence[Series], horizon: str, costs: Costs) -> Sample:
    """Return the rows that have a label.

    Raises:
        OperatorError: the bars are too long for the horizon.
    """
    horizon_s, interval_s = HORIZONS_S[horizon], series[0].interval_s
    if horizon_s % interval_s or horizon_s < HORIZON_BARS_MIN * interval_s:
        raise OperatorError(f"horizon {horizon} needs bars of at most {horizon_s // HORIZON_BARS_MIN} s that divide it, "
                            f"these are of {interval_s} s")
    due = rows.decided_s // interval_s % stride(horizon_s, interval_s) == 0
    rows = rows.take(due)
    net = np.full(len(rows), np.nan)
    left_out: Counter[str] = Counter()
    for place, one in enumerate(series):
        mine = np.flatnonzero(rows.series == place)
        net[mine] = _net_of(one, rows.bar[mine], horizon_s, costs, left_out)
    kept = np.flatnonzero(~np.isnan(net))
    return Sample(rows.take(kept), net[kept], rows.decided_s[kept] + horizon_s, horizon_s, left_out)


def _net_of(series: Series, bar: Ints, horizon_s: int, costs: Costs, left_out: Counter[str]) -> Floats:
    """Return the net return of each bar's trade, NaN without one; count the reasons."""
    step = series.interval_s
    slot = (series.time_s - series.time_s[0]) // step
    slots = int(slot[-1]) + 1 + (horizon_s + costs.lifetime_s) // step + 2
    low, open_ = np.full(slots, np.inf), np.full(slots, np.nan)
    low[slot], open_[slot] = series.low, series.open
    limit, at = series.close[bar], slot[bar]
    filled = np.zeros(len(bar), np.bool_)
    for after in range(1, max(1, -(-costs.lifetime_s // step)) + 1):
        filled |= low[at + after] < limit
    exit_slot = at + 1 + horizon_s // step
    beyond = exit_slot > slot[-1]
    exit_price = open_[exit_slot]
    left_out["after the last bar"] += int(beyond.sum())
    left_out["not filled"] += int((~filled & ~beyond).sum())
    left_out["no trade at the exit"] += int((filled & ~beyond & np.isnan(exit_price)).sum())
    return np.where(filled & ~beyond, costs.net(limit, exit_price), np.nan)
