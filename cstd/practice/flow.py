"""The other participants: a seeded order flow whose rates, spreads and depth are fitted to authentic recordings.

A reference price wanders: a slow anchor, and fast steps around it with the fitted sizes and rate. Participants quote around
it: they insert, resize and remove levels by the fitted ranks and values, arriving as an exponential Hawkes process. When the
reference moves through resting quotes, some of them are pulled and the rest is taken. Takers that no recording could be
fitted for arrive at a set rate and consume about what stands at the touch.

Everything is drawn from one seeded source per instrument, and time is given: the same seed makes the same market.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from random import Random

from cstd.practice.history import HistoryShape
from cstd.practice.instruments import Instrument
from cstd.practice.market import Market
from cstd.practice.matching import BUY, SELL, BookSide, Resting
from cstd.practice.wire import NS_PER_S

PARAMS_PATH = Path(__file__).with_name("flow_params.json")

LEVELS_PER_SIDE = 160  # above 100, so that a depth-100 window is always full
GAP_GROWTH_PER_RANK = 0.03  # beyond the 25 levels the recordings show, gaps widen
RANK_SEEN = 22  # ranks the fit trusts
DEEP_FRAC = 0.37  # events below rank 25: 49 messages/s were counted at depth 100 where 31 were at depth 25
VISIBLE_FRAC = 0.73  # of all events: those that change the best 25 levels, measured
TAKES_PER_S = 1.2  # set, not fitted; with the value per take it gives more than 10 x the touch per minute
TAKE_OF_TOUCH_MEDIAN = 1.1  # a take's value as a multiple of what stands at the touch
TAKE_OF_TOUCH_SIGMA = 0.8
TAKE_VALUE_MAX_OF_MEDIAN = 20.0
SWEEP_STEPS = 2.0  # a taker's limit, in mean steps of the mid from the best price it meets
PULLED_FRAC = 0.9  # of the quotes the reference moves through: pulled rather than taken
FAST_STEPS = 2.5  # how many mean steps the fast part leads away from the anchor before it turns back
DAILY_VOL_FRAC = 0.003  # of the anchor: a calm day
HISTORY_VOL_FRAC = 0.02  # of the generated past: an ordinary day
# Of takers: those that go as deep as an order of the account, so that one the market left behind still fills.
REACH_FRAC = 0.9
REACH_BPS = 2.0  # and how far from the best price they look for it: this, or as many ticks as the next line says
REACH_TICKS = 4
HEAL_FRAC = 0.6  # chance per event that a spread wider than the one drawn is closed
CATCH_UP_NS = NS_PER_S  # after a stall longer than this the flow goes on from now instead of making up for it
_DAY_NS = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class FlowShape:
    """Fitted parameters of one instrument; quantile lists are at equally spaced probabilities."""

    messages_per_s: float
    branching: float
    decay_per_s: float
    mid_moves_per_s: float
    mid_step_bps: list[float]
    spread_bps: list[float]
    ranks: list[float]
    kinds: dict[str, float]
    gaps_bps: dict[str, list[float]]
    values: dict[str, list[float]]

    @property
    def touch_value_median(self) -> float:
        """Return the median value at the touch, in quote currency."""
        row = self.values["touch"]
        return row[len(row) // 2]


def load_shapes(path: Path = PARAMS_PATH) -> dict[str, FlowShape]:
    """Return the fitted shapes by instrument name."""
    rows = json.loads(path.read_text())["instruments"]
    return {
        name: FlowShape(
            messages_per_s=r["messages_per_s"],
            branching=r["hawkes_branching"],
            decay_per_s=r["hawkes_decay_per_s"],
            mid_moves_per_s=r["mid_moves_per_s"],
            mid_step_bps=r["mid_step_bps_quantiles"],
            spread_bps=r["spread_bps_quantiles"],
            ranks=r["rank_quantiles"],
            kinds=r["kind_frac"],
            gaps_bps=r["gap_bps_quantiles"],
            values=r["level_value_quantiles"],
        )
        for name, r in rows.items()
    }


def history_shape(instrument: Instrument, path: Path = PARAMS_PATH) -> HistoryShape:
    """Return what the generated past must look like to join the flow: the volume the flow was measured to trade."""
    measured = json.loads(path.read_text())["measured"]
    row = measured.get(instrument.name, measured[instrument.shape])
    price = instrument.start_raw / 10**instrument.price_precision
    qty_raw = int(row["traded_value_per_min"] / price * 10**instrument.qty_precision)
    return HistoryShape(HISTORY_VOL_FRAC, qty_raw, row["trades_per_min"])


def draw(random: Random, quantiles: list[float]) -> float:
    """Return a draw from the distribution whose equally spaced quantiles are given, linear between them."""
    at = random.random() * (len(quantiles) - 1)
    k = int(at)
    return quantiles[k] + (quantiles[k + 1] - quantiles[k]) * (at - k)


class Flow:
    """The participants of one market. `due_ns` is when `step` wants to be called next."""

    def __init__(self, market: Market, shape: FlowShape, *, seed: int, start_ns: int, rate_per_s: float | None = None) -> None:
        self.market = market
        self.shape = shape
        self._random = Random(f"{seed} flow {market.instrument.name}")
        self._tick = market.instrument.tick_raw
        self._scale = 10 ** (market.instrument.price_precision + market.instrument.qty_precision)
        visible = rate_per_s if rate_per_s is not None else shape.messages_per_s
        self._event_rate = visible / VISIBLE_FRAC
        self._take_frac = min(0.5, TAKES_PER_S / self._event_rate)
        self._move_frac = min(0.4, shape.mid_moves_per_s / self._event_rate)
        self._base_rate = self._event_rate * (1 - shape.branching)
        self._excitation = 0.0
        self._mean_step_bps = sum(shape.mid_step_bps) / len(shape.mid_step_bps)
        self._fast_bps = FAST_STEPS * self._mean_step_bps
        # Where a tick is coarser than the gaps the shape was fitted with, one level stands for several.
        tick_bps = 1e4 * self._tick / market.last_raw
        self._value_scale = max(1.0, tick_bps * len(shape.gaps_bps["deep"]) / sum(shape.gaps_bps["deep"]))
        self._anchor = float(market.last_raw)
        self._reference = self._anchor
        self._at_ns = start_ns
        self._seed_book()
        self.due_ns = start_ns + self._gap_ns()

    # --- arrivals -----------------------------------------------------------------------------------------------------

    def _gap_ns(self) -> int:
        """Return the time to the next arrival of the Hawkes process, by thinning."""
        waited_s, decay = 0.0, self.shape.decay_per_s
        while True:
            bound = self._base_rate + self._excitation
            step_s = self._random.expovariate(bound)
            waited_s += step_s
            self._excitation *= math.exp(-decay * step_s)
            if self._random.random() * bound <= self._base_rate + self._excitation:
                self._excitation += self.shape.branching * decay
                return int(waited_s * NS_PER_S)

    def advance(self, wall_ns: int) -> int:
        """Let everything that is due by `wall_ns` happen; return how many events that were."""
        if wall_ns - self.due_ns > CATCH_UP_NS:
            self.due_ns = wall_ns
        count = 0
        while self.due_ns <= wall_ns:
            self.step(self.due_ns)
            self.due_ns += self._gap_ns()
            count += 1
        return count

    def pause_until(self, wall_ns: int) -> None:
        """Let nothing happen before `wall_ns`."""
        self.due_ns = wall_ns

    def step(self, wall_ns: int) -> None:
        """One event at `wall_ns`, published when complete."""
        self._drift(wall_ns)
        kind = self._random.random()
        if kind < self._take_frac:
            self._take(wall_ns)
        elif kind < self._take_frac + self._move_frac:
            self._move(wall_ns)
        elif not self._heal(wall_ns):
            self._change(wall_ns)
        self._keep_depth()
        self.market.publish(wall_ns)

    def _drift(self, wall_ns: int) -> None:
        elapsed = max(0, wall_ns - self._at_ns) / _DAY_NS
        self._at_ns = wall_ns
        moved = math.exp(self._random.gauss(0.0, DAILY_VOL_FRAC * math.sqrt(elapsed)))
        self._anchor *= moved
        self._reference *= moved

    # --- prices and quantities ------------------------------------------------------------------------------------------

    def _on_grid(self, price: float) -> int:
        return max(self._tick, round(price / self._tick) * self._tick)

    def _quotes(self) -> tuple[int, int]:
        """Return the (bid, ask) the participants would quote now, at least a tick apart."""
        half = self._reference * draw(self._random, self.shape.spread_bps) / 2e4
        bid_raw = self._on_grid(self._reference - half)
        return bid_raw, max(bid_raw + self._tick, self._on_grid(self._reference + half))

    @staticmethod
    def _bucket(rank: int) -> str:
        return "touch" if rank == 0 else "near" if rank < 5 else "deep"

    def _qty_raw(self, rank: int, price_raw: int) -> int:
        value = self._value_scale * draw(self._random, self.shape.values[self._bucket(rank)])
        return max(1, int(value * self._scale / price_raw))

    def _gap_raw(self, rank: int) -> int:
        """Return the distance from level `rank` - 1 to level `rank`, in raw price."""
        bps = draw(self._random, self.shape.gaps_bps["near" if rank < 5 else "deep"])
        bps *= 1 + GAP_GROWTH_PER_RANK * max(0, rank - RANK_SEEN)
        return max(self._tick, self._on_grid(self._reference * bps / 1e4))

    def _rank(self) -> int:
        if self._random.random() < DEEP_FRAC:
            return self._random.randrange(RANK_SEEN, LEVELS_PER_SIDE)
        return int(draw(self._random, self.shape.ranks))

    # --- placing --------------------------------------------------------------------------------------------------------

    def _limit(self, side: int, price_raw: int, qty_raw: int, wall_ns: int) -> None:
        """A participant's limit order: takes what it crosses, rests the remainder."""
        if self.market.book.crosses(side, price_raw):
            taken, _ = self.market.execute(side, price_raw, qty_raw, wall_ns, ord_type="limit")
            qty_raw = taken.leaves_raw
        if qty_raw:
            self.market.rest(Resting(side, price_raw, qty_raw))

    def _seed_book(self) -> None:
        bid_raw, ask_raw = self._quotes()
        for side, best_raw in ((BUY, bid_raw), (SELL, ask_raw)):
            price_raw = best_raw
            for rank in range(LEVELS_PER_SIDE):
                if price_raw <= 0:
                    break
                self.market.rest(Resting(side, price_raw, self._qty_raw(rank, price_raw)))
                price_raw -= side * self._gap_raw(rank + 1)

    def _keep_depth(self) -> None:
        """Hold each side near its number of levels: extend the far end, drop what is far beyond it."""
        for side in (self.market.book.bids, self.market.book.asks):
            direction = -side.sign
            while len(side.keys) < LEVELS_PER_SIDE - 20:
                if side.keys:
                    rank = len(side.keys)
                    price_raw = side.sign * side.keys[-1] - direction * self._gap_raw(rank)
                else:
                    rank = 0
                    price_raw = self._quotes()[0 if direction == BUY else 1]
                if price_raw <= 0:
                    break
                self.market.rest(Resting(direction, price_raw, self._qty_raw(rank, price_raw)))
            while len(side.keys) > LEVELS_PER_SIDE + 20 and self._remove_level(side, side.sign * side.keys[-1]):
                pass

    def _remove_level(self, side: BookSide, price_raw: int) -> bool:
        """Cancel the participants' orders of a level; return False if there were none."""
        orders = [o for o in side.orders(price_raw) if o.owner is None]
        for order in orders:
            side.remove(order)
        return bool(orders)

    # --- events ---------------------------------------------------------------------------------------------------------

    def _take(self, wall_ns: int) -> None:
        side = BUY if self._random.random() < 0.5 else SELL
        opposite = self.market.book.side(-side)
        best_raw = opposite.best_raw()
        if best_raw is None:
            return
        multiple = TAKE_OF_TOUCH_MEDIAN * math.exp(self._random.gauss(0.0, TAKE_OF_TOUCH_SIGMA))
        most_raw = int(TAKE_VALUE_MAX_OF_MEDIAN * self.shape.touch_value_median * self._scale / best_raw)
        floor_raw = int(self.shape.touch_value_median * self._random.random() * self._scale / best_raw)
        qty_raw = max(1, floor_raw, min(most_raw, int(opposite.totals[best_raw] * multiple)))
        limit_raw = best_raw + side * max(self._tick, int(best_raw * SWEEP_STEPS * self._mean_step_bps / 1e4))
        if self._random.random() < REACH_FRAC:
            reach_raw, reach_qty_raw = self._reach(opposite)
            if reach_qty_raw > qty_raw:
                limit_raw, qty_raw = reach_raw, reach_qty_raw
        self.market.execute(side, limit_raw, qty_raw, wall_ns)

    def _reach(self, side: BookSide) -> tuple[int, int]:
        """Return (price, quantity down to it) of the account's best order within reach; quantity 0 if there is none."""
        best_key = side.keys[0]
        reach_raw = max(REACH_TICKS * self._tick, int(abs(best_key) * REACH_BPS / 1e4))
        total_raw = 0
        for key in side.keys:
            if key - best_key > reach_raw:
                break
            orders = side.orders(side.sign * key)
            total_raw += sum(o.leaves_raw for o in orders)
            if any(o.owner is not None for o in orders):
                return side.sign * key, total_raw
        return 0, 0

    def _move(self, wall_ns: int) -> None:
        """Step the reference; quotes on its wrong side are pulled or taken, and the new touch is quoted."""
        away_bps = (self._reference / self._anchor - 1) * 1e4
        up = self._random.random() < 0.5 - max(-0.45, min(0.45, away_bps / (2 * self._fast_bps)))
        step = draw(self._random, self.shape.mid_step_bps) / 1e4
        self._reference *= 1 + (step if up else -step)
        bid_raw, ask_raw = self._quotes()
        for side, first_allowed_raw in ((SELL, ask_raw), (BUY, bid_raw)):
            self._clear_through(side, first_allowed_raw, wall_ns)
        for side, price_raw in ((BUY, bid_raw), (SELL, ask_raw)):
            if self.market.book.side(side).best_raw() != price_raw:
                self._limit(side, price_raw, self._qty_raw(0, price_raw), wall_ns)

    def _clear_through(self, side: int, first_allowed_raw: int, wall_ns: int) -> None:
        """Remove every order of `side` that is better than `first_allowed_raw`: part is pulled, the rest taken."""
        resting = self.market.book.side(side)
        left_raw = 0
        for price_raw in resting.prices(len(resting.keys)):
            if (price_raw - first_allowed_raw) * side <= 0:
                break
            for order in resting.orders(price_raw):
                if order.owner is None and self._random.random() < PULLED_FRAC:
                    resting.remove(order)
                else:
                    left_raw += order.leaves_raw
        if left_raw:
            self.market.execute(-side, first_allowed_raw + side * self._tick, left_raw, wall_ns)

    def _heal(self, wall_ns: int) -> bool:
        """Close a spread that is wider than the participants would quote; return True if that was this event."""
        book = self.market.book
        bid_raw, ask_raw = self._quotes()
        best_bid_raw, best_ask_raw = book.bids.best_raw(), book.asks.best_raw()
        bid_open = best_bid_raw is None or best_bid_raw < bid_raw
        ask_open = best_ask_raw is None or best_ask_raw > ask_raw
        if not (bid_open or ask_open) or self._random.random() > HEAL_FRAC:
            return False
        side = BUY if bid_open and (not ask_open or self._random.random() < 0.5) else SELL
        price_raw = bid_raw if side == BUY else ask_raw
        self._limit(side, price_raw, self._qty_raw(0, price_raw), wall_ns)
        return True

    def _change(self, wall_ns: int) -> None:
        """Insert, resize or remove at a fitted rank; the mix leans back to the wanted number of levels."""
        side = BUY if self._random.random() < 0.5 else SELL
        levels = self.market.book.side(side)
        rank = min(self._rank(), len(levels.keys) - 1)
        if rank < 0:
            return
        price_raw = levels.sign * levels.keys[rank]
        kinds = self.shape.kinds
        lean = (LEVELS_PER_SIDE - len(levels.keys)) / LEVELS_PER_SIDE
        insert = kinds["insert"] * (1 + lean * 4)
        kind = self._random.random()
        if kind < insert:
            self._insert(side, levels, rank, price_raw, wall_ns)
        elif kind < kinds["insert"] + kinds["remove"]:
            self._remove_level(levels, price_raw)
        else:
            self._resize(side, levels, rank, price_raw)

    def _insert(self, side: int, levels: BookSide, rank: int, price_raw: int, wall_ns: int) -> None:
        """Quote between this level and the next worse one; where there is no room, join this level."""
        if rank + 1 < len(levels.keys):
            room = abs(levels.sign * levels.keys[rank + 1] - price_raw) // self._tick
            if room > 1:
                price_raw -= side * self._tick * self._random.randrange(1, room)
        self._limit(side, price_raw, self._qty_raw(rank, price_raw), wall_ns)

    def _resize(self, side: int, levels: BookSide, rank: int, price_raw: int) -> None:
        """Give a level a fresh quantity: a smaller one thins the queue, a larger one joins its end."""
        orders = [o for o in levels.orders(price_raw) if o.owner is None]
        wanted_raw = self._qty_raw(rank, price_raw)
        have_raw = sum(o.visible_raw for o in orders)
        if wanted_raw > have_raw:
            self.market.rest(Resting(side, price_raw, wanted_raw - have_raw))
            return
        self._random.shuffle(orders)  # who leaves may stand before or behind the account's order
        for order in orders:
            cut_raw = min(have_raw - wanted_raw, order.visible_raw)
            have_raw -= cut_raw
            if cut_raw == order.visible_raw:
                levels.remove(order)
            elif cut_raw:
                order.visible_raw -= cut_raw
                levels.totals[price_raw] -= cut_raw
