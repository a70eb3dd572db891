"""The order flow on virtual time: same seed, same market; deep, tight and busy enough to rehearse on; fitted as it says."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path

import pytest
from practice_world import START_NS, build_exchange

from cstd.practice import fit
from cstd.practice.exchange import Exchange
from cstd.practice.flow import PARAMS_PATH, Flow, load_shapes
from cstd.practice.instruments import DEFAULTS, first
from cstd.practice.market import Market, Trade
from cstd.practice.matching import BUY, SELL
from cstd.practice.public_ws import BookWindow
from cstd.practice.requests import AddRequest
from cstd.practice.wire import NS_PER_S

NAMES = [i.name for i in DEFAULTS]


def flowing(name: str, seed: int = 1, count: int = 5) -> tuple[Exchange, Flow]:
    """Return an exchange and the flow of one of its markets."""
    exchange = build_exchange(count)
    market = exchange.markets[name]
    return exchange, Flow(market, load_shapes()[market.instrument.shape], seed=seed, start_ns=START_NS)


def visible_value(market: Market, side: int, bps: int) -> Decimal:
    """Return the value resting within `bps` of the mid on one side, in quote."""
    book = market.book
    mid = Decimal(book.bids.best_raw() + book.asks.best_raw()) / 2  # type: ignore[operator]
    levels = book.side(side)
    near = [p for p in levels.prices(1000) if abs(p - mid) <= mid * bps / 10_000]
    return sum((market.instrument.value(p, levels.totals[p]) for p in near), Decimal(0))


def test_the_same_seed_makes_the_same_market() -> None:
    """Two runs with one seed print the same tape; another seed prints another."""
    tapes = []
    for seed in (3, 3, 4):
        _, flow = flowing("BTC/USD", seed)
        for second in range(1, 21):
            flow.advance(START_NS + second * NS_PER_S)
        tapes.append([(t.price_raw, t.qty_raw, t.side) for t in flow.market.tape])
    assert tapes[0] == tapes[1] != tapes[2]
    assert len(tapes[0]) > 20


@pytest.mark.parametrize("name", NAMES)
def test_market_is_fit_to_rehearse_on(name: str) -> None:
    """Over a minute: never crossed, at least 100 levels, tight, deep within 25 bps, busy as recorded, traded as promised."""
    _, flow = flowing(name)
    market, shape = flow.market, flow.shape
    window = BookWindow(market, 25)
    messages, traded = [0], [Decimal(0)]

    def count(_: Market, trades: list[Trade], wall_ns: int) -> None:
        messages[0] += window.update(wall_ns) is not None
        traded[0] += sum((market.instrument.value(t.price_raw, t.qty_raw) for t in trades), Decimal(0))

    market.on_publish.append(count)
    for tenth in range(1, 601):
        flow.advance(START_NS + tenth * NS_PER_S // 10)
        bids, asks = market.book.bids, market.book.asks
        bid_raw, ask_raw = bids.best_raw(), asks.best_raw()
        assert bid_raw is not None
        assert ask_raw is not None
        assert 0 < (ask_raw - bid_raw) * 10_000 < 30 * bid_raw
        assert min(len(bids.keys), len(asks.keys)) >= 100
        assert visible_value(market, BUY, 25) > 20_000
        assert visible_value(market, SELL, 25) > 20_000
    assert messages[0] / 60 == pytest.approx(shape.messages_per_s, rel=0.35)
    assert traded[0] >= 10 * Decimal(shape.touch_value_median)
    assert float(traded[0]) == pytest.approx(measured(name), rel=0.6)


def measured(name: str) -> float:
    """Return the value per minute that the generated history trades."""
    return json.loads(PARAMS_PATH.read_text())["measured"][name]["traded_value_per_min"]


@pytest.mark.parametrize("name", ["BTC/USD", "ETH/USD"])
def test_an_opening_that_joins_the_touch_fills_within_ten_seconds(name: str) -> None:
    """At the default seed, twelve joins in a row on both sides each fill within 10 s."""
    exchange, flow = flowing(name, seed=1)
    market, instrument = flow.market, flow.market.instrument
    exchange.account.balances[instrument.base] = Decimal(100)
    now_ns = START_NS
    for join in range(12):
        now_ns += 2 * NS_PER_S
        flow.advance(now_ns)
        side = BUY if join % 2 == 0 else SELL
        best_raw = market.book.side(side).best_raw()
        assert best_raw is not None
        price = Decimal(best_raw).scaleb(-instrument.price_precision)
        qty = (Decimal(25) / price).quantize(Decimal("1e-8"))
        joined_ns = now_ns
        order = exchange.desk.add(AddRequest(instrument, side, "limit", qty=qty, limit_price=price, post_only=True), now_ns)
        while order.is_open:
            now_ns += NS_PER_S // 20
            flow.advance(now_ns)
            assert now_ns - joined_ns <= 10 * NS_PER_S, f"join {join} waited more than 10 s"
        assert order.status == "filled"


def test_a_higher_rate_means_more_messages_not_fewer_takes() -> None:
    """--rate scales the book's churn."""
    counts = []
    for rate in (10.0, 200.0):
        exchange = build_exchange(1)
        market = exchange.markets["BTC/USD"]
        flow = Flow(market, load_shapes()["BTC/USD"], seed=1, start_ns=START_NS, rate_per_s=rate)
        counts.append(sum(flow.advance(START_NS + n * NS_PER_S // 2) for n in range(1, 41)))
    assert counts[0] / 20 == pytest.approx(10 / 0.73, rel=0.5)
    assert counts[1] / 20 == pytest.approx(200 / 0.73, rel=0.5)


def test_a_long_stall_is_not_made_up_for() -> None:
    """After an hour asleep the flow goes on from now."""
    _, flow = flowing("BTC/USD")
    assert flow.advance(START_NS + 3600 * NS_PER_S) < 200
    assert flow.due_ns > START_NS + 3600 * NS_PER_S


def test_invented_instruments_are_the_same_every_time_and_tradable() -> None:
    """Instruments beyond the known five are deterministic, distinct, and have a working market."""
    assert first(12) == first(12)
    instruments, assets = first(12)
    assert len({i.name for i in instruments}) == 12
    assert {i.base for i in instruments} <= {a.code for a in assets}
    _, flow = flowing(instruments[11].name, count=12)
    flow.advance(START_NS + NS_PER_S)
    assert visible_value(flow.market, BUY, 25) > 10_000
    assert visible_value(flow.market, SELL, 25) > 10_000


def test_parameters_name_their_source() -> None:
    """The fitted file says from which recordings, with hashes, and what was not fitted."""
    provenance = json.loads(PARAMS_PATH.read_text())["provenance"]
    assert all(len(f["sha256"]) == 64 and f["name"].endswith(".jsonl.zst") for f in provenance["files"])
    assert "market orders" in provenance["not_fitted"]


def test_the_fit_is_reproducible_from_the_recordings(data_dir: Path) -> None:
    """Fitting the named recordings again gives the committed parameters."""
    committed = json.loads(PARAMS_PATH.read_text())
    paths = [data_dir / "recordings" / f["name"] for f in committed["provenance"]["files"]]
    for path, row in zip(paths, committed["provenance"]["files"], strict=True):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
    again = json.loads(json.dumps(fit.fit(paths)))
    assert again["instruments"] == committed["instruments"]
