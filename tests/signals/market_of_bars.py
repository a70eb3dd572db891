"""A market for tests of rows of bars: bars as the venue has them, a tape that can be lost, and the core's own bars of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cstd._fast import bars
from cstd.daemon.bar_rows_shown import BarRowsShown
from cstd.engine.bar_rows import BarRows
from cstd.engine.scores import Scores
from cstd.research.models import dataset
from cstd.signals import bar_features
from cstd.signals.registry import features_hash
from cstd.signals.scorer.rows import BARS_S, BarRowsWanted

S = 10**9
MONO_BEHIND_NS = 1_000_000 * S  # the monotonic clock is another one


@dataclass(frozen=True)
class Trade:
    """One trade, raw."""

    ns: int
    price_raw: int
    qty_raw: int


def wanted(bar_s: int, features: tuple[str, ...] = bar_features.NAMES) -> BarRowsWanted:
    """What a scorer asks for."""
    return BarRowsWanted(bar_s, features, features_hash(features))


def of_trades(trades: list[Trade], step_ns: int) -> list[tuple[int, ...]]:
    """The venue's rows of bars: start, open, high, low, close, quantity, value, trades."""
    groups: dict[int, list[Trade]] = {}
    for trade in trades:
        groups.setdefault(trade.ns // step_ns * step_ns, []).append(trade)
    return [(start, group[0].price_raw, max(one.price_raw for one in group), min(one.price_raw for one in group),
             group[-1].price_raw, sum(one.qty_raw for one in group), 1, len(group)) for start, group in sorted(groups.items())]


class Market:
    """One instrument: the core's bars of it, clocks, and the rows that the daemon would compute.

    digits: of prices and quantities.
    """

    def __init__(self, bar_s: int, digits: tuple[int, int], now_ns: int) -> None:
        self.bar_s, self.step_ns, self.digits = bar_s, bar_s * S, digits
        self.interval = BARS_S.index(bar_s)
        self.bars = bars.BarSeries(*digits)
        self.frame_ns = now_ns
        self.core = SimpleNamespace(slots=[SimpleNamespace(bars=self.bars)], wall_ns=now_ns, mono_ns=now_ns - MONO_BEHIND_NS,
                                    last_frame_ns=lambda _link: self.frame_ns - MONO_BEHIND_NS)
        self.behind = False  # frames wait to be read
        self.engine: Any = SimpleNamespace(core=self.core, names=("BTC/USD",), scores=Scores(),
                                           congestion=SimpleNamespace(busy=lambda _link: self.behind),
                                           recorder=SimpleNamespace(seq=0))
        self.engine.scores.boot(0, self.core.mono_ns)
        self.rows = BarRows(self.engine, wanted(bar_s))
        self.shown = BarRowsShown(self.engine, self.rows)

    @property
    def now_ns(self) -> int:
        """Wall time."""
        return int(self.core.wall_ns)

    def pass_to(self, now_ns: int, *, frames: bool = True) -> None:
        """Time passes; bars whose time is over close. frames: the socket brings some."""
        self.core.wall_ns, self.core.mono_ns = now_ns, now_ns - MONO_BEHIND_NS
        if frames:
            self.frame_ns = now_ns
        self.bars.pass_time(now_ns)

    def trade(self, trade: Trade) -> None:
        """A trade comes when it is made."""
        self.pass_to(max(trade.ns, self.now_ns))
        self.bars.trade(trade.price_raw, trade.qty_raw, trade.ns)

    def history(self, trades: list[Trade]) -> None:
        """The venue tells its bars up to now, the last one as it forms."""
        told = of_trades([trade for trade in trades if trade.ns <= self.now_ns], self.step_ns)[-720:]
        forming = bool(told) and told[-1][0] + self.step_ns > self.now_ns
        for row in told[:-1] if forming else told:
            self.bars.load(self.interval, row)
        if forming:
            self.bars.load_open(self.interval, told[-1], self.now_ns)
        if told:
            self.bars.history(self.interval, told[0][0], self.now_ns, forming)

    def settle(self) -> None:
        """Ticks until nothing is left to push."""
        for _ in range(60):
            self.rows.tick()
            self.shown.tick()

    @property
    def reason(self) -> str:
        """Why there is no row, "" where there is one."""
        self.core.mono_ns += 2 * S  # what is shown is a second old at most
        self.shown.tick()
        self.core.mono_ns -= 2 * S
        return self.shown.status["instruments"][0]["reason"]

    def row(self) -> tuple[int, bytes] | None:
        """The row that the scorer would read: the time of the decision and its float32 bytes; None where there is none."""
        row = self.rows.rows[0]
        if not row["valid"].any():
            return None
        return int(row["event_wall_ns"]) // S, row["values"].astype("f4").tobytes()


def decimals(raw: int, digits: int) -> str:
    """A raw number as a bar file has it."""
    text = f"{raw:0{digits + 1}d}"
    return f"{text[:-digits]}.{text[-digits:]}" if digits else text


def trained(folder: Path, rows: list[tuple[int, ...]], bar_s: int, digits: tuple[int, int]) -> dict[int, bytes]:
    """What training makes of bars, through a file: rows of float32 by the time of their decision."""
    price, qty = digits
    path = folder / "XBTUSD_bars.csv"
    path.write_text("".join(
        f"{start // S},{decimals(o, price)},{decimals(h, price)},{decimals(low, price)},{decimals(c, price)},"
        f"{decimals(volume, qty)},{count}\n" for start, o, h, low, c, volume, _, count in rows))
    series = dataset.read([path], now_s=2**32)
    assert series[0].interval_s == bar_s
    found = dataset.rows(series)
    return dict(zip(found.decided_s.tolist(), (row.tobytes() for row in found.features), strict=True))
