"""Equity, day loss and drawdown from marks; integers in 10^-8 of the account currency.

Day loss is the worse of the UTC day and the last 24 hours; drawdown is from the persisted peak (the journal persists it:
recovery replays every mark). Longs are marked at the bid. Rounding is against us.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from cstd.units import divide

MONEY_PRECISION = 8
NS_PER_DAY = 86_400_000_000_000
SAMPLE_NS = 60_000_000_000
SLIPPAGE_FILLS_MAX = 10_000


def to_money_raw(value: Decimal) -> int:
    """Return a decimal amount in 10^-8, rounded toward minus infinity."""
    return int(value.scaleb(MONEY_PRECISION).to_integral_value(rounding="ROUND_FLOOR"))


class Nav:
    """Net asset value of the allocated capital and the losses measured on it. One writer: the engine.

    Attributes (all in 10^-8 account currency, or bps): nav, peak, day_start; contributed: what adopted coins were worth when
    they were; equity = min(capital, nav - contributed, account - contributed), so that limits that are shares of it grow with
    no coin of the user's, and shrink with every loss.
    """

    def __init__(self, capital: Decimal) -> None:
        self.capital = to_money_raw(capital)
        self.nav = self.capital
        self.equity = self.capital
        self.contributed = 0
        self.peak = self.capital
        self.day_start = self.capital
        self.day_loss = 0
        self.day_loss_bps = 0
        self.drawdown_bps = 0
        self._day = -1
        self._samples: deque[tuple[int, int]] = deque()

    def mark(self, cash_flow: Decimal, positions: Decimal, account: Decimal | None, wall_ns: int) -> None:
        """Take one mark: cash flow so far, value of positions at the bid, the venue's account value if known."""
        self.nav = self.capital + to_money_raw(cash_flow) + to_money_raw(positions)
        self.equity = min(self.capital, self.nav - self.contributed)
        if account is not None:
            self.equity = min(self.equity, to_money_raw(account) - self.contributed)
        day = wall_ns // NS_PER_DAY
        if day != self._day:
            self._day = day
            self.day_start = self.nav
        self.peak = max(self.peak, self.nav)
        self._sample(wall_ns)
        self.day_loss, self.day_loss_bps, self.drawdown_bps = self.losses(self.nav)

    def losses(self, nav: int) -> tuple[int, int, int]:
        """Return (day loss, in bps, drawdown in bps) of a value measured as the last mark's is."""
        reference = self._samples[0][1] if self._samples else self.nav
        base = max(self.day_start, reference)
        loss = base - nav
        return (loss, divide(loss * 10_000, base, "up") if base > 0 else 10_000,
                divide((self.peak - nav) * 10_000, self.peak, "up") if self.peak > 0 else 10_000)

    def rebase_peak(self) -> None:
        """Measure drawdown from the value of the last mark on."""
        self.peak, self.drawdown_bps = self.nav, 0

    def take_flow(self, value: int) -> None:
        """Coins came in that are worth so much at the bid: what losses are measured from moves with them, and profit does not.

        The mark that has them in its positions comes next.
        """
        self.contributed += value
        self.peak += value
        self.day_start += value
        self._samples = deque((wall_ns, nav + value) for wall_ns, nav in self._samples)

    def _sample(self, wall_ns: int) -> None:
        """Keep one value a minute for 24 hours; the oldest is what the last 24 hours are measured from."""
        if not self._samples or wall_ns - self._samples[-1][0] >= SAMPLE_NS:
            self._samples.append((wall_ns, self.nav))
        while self._samples and wall_ns - self._samples[0][0] > NS_PER_DAY:
            self._samples.popleft()


class Slippage:
    """Signed slippage of our fills against the mid at decision; positive is cost."""

    def __init__(self) -> None:
        self.day_raw = 0
        self._day = -1
        self._fills: deque[tuple[int, int]] = deque(maxlen=SLIPPAGE_FILLS_MAX)

    def add(self, *, side: int, price: Decimal, mid: Decimal, cost: Decimal, wall_ns: int) -> Decimal:
        """Add one fill; returns its slippage in bps (positive = cost)."""
        bps = (price - mid) * side * 10_000 / mid
        if wall_ns // NS_PER_DAY != self._day:
            self._day = wall_ns // NS_PER_DAY
            self.day_raw = 0
        self.day_raw += to_money_raw(cost * (price - mid) * side / price)
        self._fills.append((wall_ns, int((bps * 1000).to_integral_value(rounding="ROUND_CEILING"))))
        return bps

    def day(self, wall_ns: int) -> int:
        """Slippage paid on the UTC day of wall_ns, 10^-8 account currency."""
        return self.day_raw if wall_ns // NS_PER_DAY == self._day else 0

    def p95(self, wall_ns: int) -> tuple[int, int]:
        """(95th percentile in thousandths of a bps, number of fills) over the last 24 hours."""
        while self._fills and wall_ns - self._fills[0][0] > NS_PER_DAY:
            self._fills.popleft()
        if not self._fills:
            return 0, 0
        values = sorted(value for _, value in self._fills)
        return values[min(len(values) - 1, (95 * len(values)) // 100)], len(values)
