"""Fit the order flow to authentic v2 recordings and write `flow_params.json` with its provenance.

Run: `CSTD_DATA=... python -m cstd.practice.fit`. Market orders cannot be fitted: v2 recordings hold no trades. Their rate is
set in `flow.py`, and the measured volume of the generated market is checked by a test.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import zstandard

from cstd.practice.exchange import Exchange
from cstd.practice.flow import PARAMS_PATH, Flow, load_shapes
from cstd.practice.history import HistoryShape
from cstd.practice.instruments import DEFAULTS, first
from cstd.practice.market import Market, Trade
from cstd.practice.wire import NS_PER_S, parse_rfc3339_ns

QUANTILES = tuple(n / 20 for n in range(21))
RANK_BUCKETS = ("touch", "near", "deep")  # ranks 0, 1 to 4, 5 and deeper
MEASURE_S = 600
MEASURE_FROM_NS = 1_790_000_000 * NS_PER_S
DEPTH_TRUSTED = 22  # the last ranks of a depth-25 window change because levels leave and re-enter it


def bucket(rank: int) -> str:
    """Return the name of the bucket a rank belongs to."""
    return RANK_BUCKETS[0] if rank == 0 else RANK_BUCKETS[1] if rank < 5 else RANK_BUCKETS[2]


@dataclass
class Observed:
    """What was counted of one instrument."""

    times_s: list[float] = field(default_factory=list)
    spread_bps: list[float] = field(default_factory=list)
    mid_steps_bps: list[float] = field(default_factory=list)
    ranks: list[float] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    gaps_bps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    entries: int = 0
    bids: dict[float, float] = field(default_factory=dict)
    asks: dict[float, float] = field(default_factory=dict)
    mid: float = 0.0


def messages(path: Path) -> Iterator[dict[str, object]]:
    """Yield the received book messages of a recording."""
    with path.open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file)):
            row = json.loads(line)
            if row.get("d") == "rx":
                message = json.loads(row["m"])
                if message.get("channel") == "book":
                    yield message


def _apply(
    seen: Observed, side: dict[float, float], levels: list[dict[str, float]], *, best_first: bool, counted: bool
) -> None:
    for level in levels:
        price, qty = level["price"], level["qty"]
        known = price in side
        prices = sorted(side, reverse=best_first)
        rank = sum(1 for p in prices if (p > price if best_first else p < price))
        if counted and rank < DEPTH_TRUSTED:
            kind = "remove" if qty == 0 else "resize" if known else "insert"
            if kind != "remove" or known:
                seen.kinds[kind] += 1
                seen.ranks.append(float(rank))
        seen.entries += counted
        if qty == 0:
            side.pop(price, None)
        else:
            side[price] = qty


def _observe(seen: Observed, entry: dict[str, object], *, counted: bool, depth: int) -> None:
    for side, word, best_first in ((seen.bids, "bids", True), (seen.asks, "asks", False)):
        _apply(seen, side, entry[word], best_first=best_first, counted=counted)  # type: ignore[arg-type]
        for price in sorted(side, reverse=best_first)[depth:]:
            del side[price]
    bids, asks = sorted(seen.bids, reverse=True), sorted(seen.asks)
    mid = (bids[0] + asks[0]) / 2
    if counted:
        seen.times_s.append((parse_rfc3339_ns(str(entry["timestamp"])) or 0) / 1e9)
        seen.spread_bps.append((asks[0] - bids[0]) / mid * 1e4)
        if mid != seen.mid and seen.mid:
            seen.mid_steps_bps.append((mid / seen.mid - 1) * 1e4)
    if len(seen.times_s) % 10 == 0:  # shape of the book: every tenth message is enough
        for side, prices in ((seen.bids, bids), (seen.asks, asks)):
            for rank, price in enumerate(prices[:DEPTH_TRUSTED]):
                seen.values[bucket(rank)].append(side[price] * price)
                if rank:
                    seen.gaps_bps[bucket(rank)].append(abs(price - prices[rank - 1]) / mid * 1e4)
    seen.mid = mid


def quantiles(values: list[float]) -> list[float]:
    """Return the values at 21 equally spaced probabilities, to six digits."""
    ordered = sorted(values)
    return [float(f"{ordered[round(q * (len(ordered) - 1))]:.6g}") for q in QUANTILES]


def fano(times_s: list[float], window_s: float) -> float:
    """Return variance over mean of the counts in windows of `window_s`."""
    counts: dict[int, int] = defaultdict(int)
    for t in times_s:
        counts[int((t - times_s[0]) / window_s)] += 1
    n = int((times_s[-1] - times_s[0]) / window_s)
    rows = [counts[k] for k in range(n)]
    mean = sum(rows) / n
    return sum((r - mean) ** 2 for r in rows) / n / mean


def hawkes(times_s: list[float]) -> tuple[float, float]:
    """Return (branching ratio, decay per second) of an exponential Hawkes process, from the Fano factor at 0.1 s and 2 s.

    F(T) = 1 + n(2-n)/(1-n)^2 * (1 - (1-exp(-aT))/(aT)) with a = decay * (1-n); F at 2 s stands for its limit.
    """
    branching = min(0.8, max(0.0, 1 - 1 / math.sqrt(max(1.0, fano(times_s, 2.0)))))
    if branching == 0:
        return 0.0, 1.0
    limit = branching * (2 - branching) / (1 - branching) ** 2
    target = min(0.99, max(0.01, (fano(times_s, 0.1) - 1) / limit))
    low, high = 1e-3, 1e4
    for _ in range(80):
        middle = math.sqrt(low * high)
        x = middle * 0.1
        low, high = (middle, high) if 1 - (1 - math.exp(-x)) / x < target else (low, middle)
    return branching, low / (1 - branching)


def summary(seen: Observed) -> dict[str, object]:
    """Return the fitted parameters of one instrument."""
    span_s = seen.times_s[-1] - seen.times_s[0]
    branching, decay = hawkes(seen.times_s)
    total = sum(seen.kinds.values())
    steps = seen.mid_steps_bps
    flips = sum(1 for a, b in pairwise(steps) if a * b < 0)
    return {
        "messages_per_s": round(len(seen.times_s) / span_s, 3),
        "entries_per_message": round(seen.entries / len(seen.times_s), 3),
        "hawkes_branching": round(branching, 4),
        "hawkes_decay_per_s": round(decay, 4),
        "mid_moves_per_s": round(len(steps) / span_s, 3),
        "mid_step_bps_quantiles": quantiles([abs(s) for s in steps]),
        "mid_reversal_frac": round(flips / max(1, len(steps) - 1), 4),
        "spread_bps_quantiles": quantiles(seen.spread_bps),
        "rank_quantiles": quantiles(seen.ranks),
        "kind_frac": {k: round(v / total, 4) for k, v in sorted(seen.kinds.items())},
        "gap_bps_quantiles": {k: quantiles(v) for k, v in sorted(seen.gaps_bps.items())},
        "level_value_quantiles": {k: quantiles(v) for k, v in sorted(seen.values.items())},
    }


def fit(paths: list[Path]) -> dict[str, object]:
    """Return the content of flow_params.json for these recordings."""
    seen: dict[str, Observed] = defaultdict(Observed)
    for path in paths:
        for message in messages(path):
            for entry in message["data"]:  # type: ignore[attr-defined]
                one = seen[entry["symbol"]]
                snapshot = message["type"] == "snapshot"
                if snapshot:
                    one.bids.clear()
                    one.asks.clear()
                _observe(one, entry, counted=not snapshot, depth=25)
    return {
        "provenance": {
            "method": "python -m cstd.practice.fit: counts, time-free quantiles at 21 probabilities, Hawkes by Fano factors",
            "files": [{"name": p.name, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in paths],
            "not_fitted": "market orders and their sizes: these recordings hold no trades",
        },
        "instruments": {name: summary(one) for name, one in sorted(seen.items())},
    }


def measure(name: str) -> dict[str, float]:
    """Run the fitted flow of a default instrument for virtual minutes; return its traded value and trades per minute."""
    instruments, assets = first(len(DEFAULTS))
    shapes = load_shapes()
    empty = HistoryShape(0.01, 1, 1.0)
    exchange = Exchange(
        instruments,
        assets,
        seed=1,
        id_seed=1,
        tier="pro",
        wall_ns=MEASURE_FROM_NS,
        history={i.name: empty for i in instruments},
    )
    market = exchange.markets[name]
    counted = [0.0, 0]

    def count(_: Market, trades: list[Trade], __: int) -> None:
        counted[0] += sum(float(market.instrument.value(t.price_raw, t.qty_raw)) for t in trades)
        counted[1] += len(trades)

    market.on_publish.append(count)
    flow = Flow(market, shapes[market.instrument.shape], seed=1, start_ns=MEASURE_FROM_NS)
    for second in range(1, MEASURE_S + 1):
        flow.advance(MEASURE_FROM_NS + second * NS_PER_S)
    per_minute = 60 / MEASURE_S
    return {
        "traded_value_per_min": float(f"{counted[0] * per_minute:.4g}"),
        "trades_per_min": round(counted[1] * per_minute, 1),
    }


def main() -> int:
    """Fit and write; returns the exit code."""
    data = os.environ.get("CSTD_DATA")
    if not data:
        print("CSTD_DATA does not name the folder of recordings", file=sys.stderr)
        return 1
    # The depth-10 recording is left out: its shallow window hides most of what happens below rank 10.
    paths = [p for p in sorted(Path(data, "recordings").glob("*v2*.jsonl.zst")) if "-d25-" in p.name]
    params = fit(paths)
    PARAMS_PATH.write_text(json.dumps(params, indent=1) + "\n")  # the flow that is measured next reads it
    params["measured"] = {i.name: measure(i.name) for i in DEFAULTS}
    PARAMS_PATH.write_text(json.dumps(params, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
