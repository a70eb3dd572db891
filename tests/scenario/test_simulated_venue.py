"""The simulated venue: request bytes in, Kraken's private bytes out, and no fill that book and tape do not prove."""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from typing import Any

import pytest

from cstd.errors import UsageError
from cstd.orders.simulated_frames import time_text
from cstd.orders.simulated_queue import QueuePosition, behind_probability
from cstd.orders.simulated_terms import LatencyRow, SimulatedVenueSettings
from cstd.orders.simulated_venue import CHANNELS, SimulatedVenue
from cstd.units import INT64_MAX, NS_PER_MS, NS_PER_S, format_raw
from cstd.venue.messages import ExecutionsMessage, InstrumentSpec, Malformed, Unknown, decode_private
from cstd.venue.private import PrivateMachine

NAME = "BTC/USD"
BEGAN_NS = 1_785_000_000 * NS_PER_S
SPEC = InstrumentSpec(name=NAME, base="BTC", quote="USD", status="online", price_precision=1, qty_precision=4,
                      price_increment_raw=5, qty_increment_raw=1, qty_min_raw=10, cost_precision=5, cost_min=Decimal("0.5"))
AT_ONCE = {"feed_ns": 0, "order_out_ns": 0, "order_back_ns": 0}


class Exchange:
    """The simulated venue over one small book in raw units: bids from 1000.0 down, asks from 1001.0 up, 1.0 on each."""

    def __init__(self, **settings: Any) -> None:
        self.venue = SimulatedVenue(SimulatedVenueSettings(**{**AT_ONCE, **settings}),
                                    {"USD": Decimal(100_000), "BTC": Decimal(50)}, CHANNELS)
        self.venue.add_instrument(SPEC, 10)
        self.now_ns = BEGAN_NS
        self.bids = {10_000 - 10 * n: 10_000 for n in range(5)}
        self.asks = {10_010 + 10 * n: 10_000 for n in range(5)}
        self.req_id = 0
        self.said: list[dict[str, Any]] = []
        self.book("snapshot", self.bids.items(), self.asks.items())

    def book(self, kind: str, bids: Any = (), asks: Any = (), checksum: int | None = None) -> None:
        """A book frame with the right checksum, or with another."""
        bids, asks = list(bids), list(asks)
        for levels, changes in ((self.bids, bids), (self.asks, asks)):
            levels.update(changes)
            for price in [price for price, qty in levels.items() if not qty]:
                del levels[price]
        text = "".join(f"{p}{q}" for p, q in [*sorted(self.asks.items())[:10], *sorted(self.bids.items(), reverse=True)[:10]])
        sides = [",".join(f'{{"price":{format_raw(p, 1)},"qty":{format_raw(q, 4)}}}' for p, q in side) for side in (bids, asks)]
        self.market(f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{NAME}","bids":[{sides[0]}],"asks":[{sides[1]}],'
                    f'"checksum":{zlib.crc32(text.encode()) if checksum is None else checksum},'
                    f'"timestamp":"{time_text(self.now_ns)}"}}]}}')

    def trade(self, side: str, price_raw: int, qty_raw: int) -> None:
        """One match of others; `side` is the taker's."""
        self.market(f'{{"channel":"trade","type":"update","data":[{{"symbol":"{NAME}","side":"{side}","price":'
                    f'{format_raw(price_raw, 1)},"qty":{format_raw(qty_raw, 4)},"ord_type":"limit","trade_id":1,'
                    f'"timestamp":"{time_text(self.now_ns)}"}}]}}')

    def market(self, frame: str) -> None:
        """A public frame, a millisecond later."""
        self.wait(NS_PER_MS)
        self.venue.market(self.now_ns, frame.encode())

    def wait(self, span_ns: int) -> None:
        """Let time pass."""
        self.now_ns += span_ns
        self.venue.step(self.now_ns)

    def ask(self, method: str, **params: Any) -> list[dict[str, Any]]:
        """Send a request and return what the venue says at once."""
        self.req_id += 1
        request = {"method": method, "params": {**params, "token": "t"}, "req_id": self.req_id}
        self.venue.send(self.now_ns, json.dumps(request).encode())
        self.venue.step(self.now_ns)
        return self.hear()

    def add(self, side: str, price: float, qty: float, cl_ord_id: str = "a", **more: Any) -> list[dict[str, Any]]:
        """Send a limit order."""
        return self.ask("add_order", order_type="limit", side=side, symbol=NAME, order_qty=qty, limit_price=price,
                        cl_ord_id=cl_ord_id, **more)

    def hear(self) -> list[dict[str, Any]]:
        """Everything that the venue has said since the last time; each frame is one that the client's decoder knows."""
        frames = [frame for _, frame in self.venue.take_replies(INT64_MAX - 1)]
        for frame in frames:
            assert not any(isinstance(message, (Malformed, Unknown)) for message in decode_private(frame)), frame
        heard = [json.loads(frame) for frame in frames]
        self.said += heard
        return heard

    def reports(self) -> list[tuple[str, ...]]:
        """(exec_type, last_qty, last_price) of fills and (exec_type, reason) of ends, since the last time."""
        return reports(self.hear())


def reports(heard: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What executions say in a few words."""
    rows = [row for message in heard if message.get("channel") == "executions" for row in message["data"]]
    return [(row["exec_type"], row["last_qty"], row["last_price"]) if row["exec_type"] == "trade"
            else (row["exec_type"], *filter(None, [row.get("reason")])) for row in rows]


def fees(heard: list[dict[str, Any]]) -> list[Any]:
    """Fees of each fill."""
    return [row["fees"] for message in heard if message.get("channel") == "executions" for row in message["data"]
            if "fees" in row]


# Taking.


def test_a_taker_fills_level_by_level_and_an_ioc_leaves_no_remainder() -> None:
    """2.5 sold down to 999.0 find 1.0 on each of two levels; the rest is canceled, fees are the taker's, balances move."""
    exchange = Exchange()
    heard = exchange.add("sell", 999.0, 2.5, time_in_force="ioc")
    assert heard[0]["success"] and heard[0]["result"]["cl_ord_id"] == "a"
    assert reports(heard) == [("pending_new",), ("new",), ("trade", 1.0, 1000.0), ("trade", 1.0, 999.0),
                              ("canceled", "Immediate or cancel")]
    assert fees(heard) == [[{"asset": "USD", "qty": 4.0}], [{"asset": "USD", "qty": 3.996}]]
    assert exchange.venue.balances == {"USD": Decimal("101991.004"), "BTC": Decimal(48)}
    assert [message["sequence"] for message in heard if message.get("channel") == "executions"] == [2, 3, 4, 5, 6]
    legs = [row for message in heard if message.get("channel") == "balances" for row in message["data"]]
    assert [(row["asset"], row["amount"], row["fee"]) for row in legs[:2]] == [("BTC", -1.0, 0), ("USD", 1000.0, 4.0)]


def test_what_we_took_stays_taken_until_the_level_is_told_again() -> None:
    """A second taker finds nothing where the first was; a frame that names the level ends that. Without impact it is there."""
    exchange = Exchange()
    exchange.add("sell", 1000.0, 1, time_in_force="ioc")
    assert reports(exchange.add("sell", 1000.0, 1, "b", time_in_force="ioc"))[-1] == ("canceled", "Immediate or cancel")
    assert not exchange.venue.idle
    exchange.book("update", [(9_990, 20_000)])
    assert reports(exchange.add("sell", 1000.0, 1, "c", time_in_force="ioc"))[-1] == ("canceled", "Immediate or cancel")
    exchange.book("update", [(10_000, 5_000)])
    assert ("trade", 0.5, 1000.0) in reports(exchange.add("sell", 1000.0, 1, "d", time_in_force="ioc"))
    exchange.book("update", [(10_000, 5_001)])
    assert exchange.venue.idle
    easy = Exchange(impact=False)
    for number in range(2):
        assert ("filled",) in reports(easy.add("sell", 1000.0, 1, f"e{number}", time_in_force="ioc"))


def test_fill_or_kill_takes_all_or_nothing() -> None:
    """Too little within the limit: nothing; enough: everything."""
    exchange = Exchange()
    assert reports(exchange.add("buy", 1001.0, 1.5, time_in_force="fok"))[-1] == ("canceled", "Fill or kill")
    assert reports(exchange.add("buy", 1002.0, 1.5, time_in_force="fok"))[-3:] == [
        ("trade", 1.0, 1001.0), ("trade", 0.5, 1002.0), ("filled",)]


def test_the_part_of_a_limit_order_that_does_not_cross_rests() -> None:
    """1.0 is taken; the rest stands alone at its price, with nothing before it."""
    exchange = Exchange()
    assert reports(exchange.add("buy", 1001.0, 1.5))[-1] == ("trade", 1.0, 1001.0)
    exchange.book("update", [], [(10_010, 0)])
    exchange.trade("sell", 10_010, 2_000)
    assert exchange.reports() == [("trade", 0.2, 1001.0)]


def test_a_post_only_order_that_would_take_is_accepted_and_then_canceled() -> None:
    """Success is acceptance: the report says what became of it."""
    heard = Exchange().add("buy", 1001.0, 1, post_only=True)
    assert heard[0]["success"] and reports(heard) == [("pending_new",), ("new",), ("canceled", "Post only order")]


# Resting.


def test_a_trade_at_our_price_reaches_us_behind_the_whole_queue() -> None:
    """1.0 stood before us: the first 0.6 pass us by, of the next 0.6 we get 0.2, and the maker's fee is charged."""
    exchange = Exchange()
    exchange.add("buy", 1000.0, 0.5, post_only=True)
    exchange.trade("sell", 10_000, 6_000)
    assert exchange.reports() == []
    exchange.trade("sell", 10_000, 6_000)
    (report,) = [row for message in exchange.hear() if message.get("channel") == "executions" for row in message["data"]]
    assert (report["last_qty"], report["order_status"], report["liquidity_ind"]) == (0.2, "partially_filled", "m")
    assert report["fees"] == [{"asset": "USD", "qty": 0.5}]
    exchange.trade("buy", 10_000, 90_000)
    assert exchange.reports() == [], "a buyer does not meet a buyer"
    exchange.trade("sell", 10_000, 3_000)
    assert exchange.reports() == [("trade", 0.3, 1000.0), ("filled",)]
    assert exchange.venue.idle


def test_a_trade_through_our_price_fills_no_more_than_it_shows() -> None:
    """Price before time: what traded lower would have met us first, and there was 0.3 of it."""
    exchange = Exchange()
    exchange.add("buy", 1000.0, 0.5)
    exchange.trade("sell", 9_990, 3_000)
    assert exchange.reports() == [("trade", 0.3, 1000.0)]


def test_the_other_side_coming_to_our_price_fills_us() -> None:
    """An ask that shows at our bid would have met us on its way; no more of it than shows."""
    exchange = Exchange()
    exchange.add("buy", 1000.0, 0.5)
    exchange.book("update", [(10_000, 0)], [(10_000, 2_000)])
    assert exchange.reports() == [("trade", 0.2, 1000.0)]
    exchange.book("update", [], [(10_005, 2_000)])
    assert exchange.reports() == []


def test_a_price_that_moves_through_an_order_may_be_told_to_fill_it_whole() -> None:
    """hftbacktest's assumption, for comparisons: whatever the quantity of the trade, or what shows."""
    exchange = Exchange(through="whole")
    exchange.add("buy", 1000.0, 0.5)
    exchange.trade("sell", 9_990, 1)
    assert exchange.reports() == [("trade", 0.5, 1000.0), ("filled",)]
    exchange.add("buy", 1000.0, 0.5, "b")
    exchange.book("update", [(10_000, 0)], [(10_000, 1)])
    assert exchange.reports() == [("trade", 0.5, 1000.0), ("filled",)]
    assert reports(exchange.add("buy", 1000.0, 0.5, "c", time_in_force="ioc"))[-1] == ("canceled", "Immediate or cancel")


def test_two_orders_of_ours_do_not_share_one_trade() -> None:
    """With impact a trade is given out once, the better price first."""
    exchange = Exchange()
    exchange.add("buy", 1000.0, 0.5, "low")
    exchange.add("buy", 1000.5, 0.5, "high")
    exchange.trade("sell", 9_990, 7_000)
    assert exchange.reports() == [("trade", 0.5, 1000.5), ("filled",), ("trade", 0.2, 1000.0)]


def test_a_cancel_before_us_counts_only_when_less_is_left_than_stood_there() -> None:
    """Risk-averse: 0.4 canceled of 1.0 before us leaves 0.6; 0.4 more behind us changed nothing before."""
    exchange = Exchange()
    exchange.add("buy", 1000.0, 0.5)
    exchange.book("update", [(10_000, 14_000)])
    exchange.book("update", [(10_000, 11_000)])
    exchange.trade("sell", 10_000, 10_000)
    assert exchange.reports() == []
    other = Exchange()
    other.add("buy", 1000.0, 0.5)
    other.book("update", [(10_000, 6_000)])
    other.trade("sell", 10_000, 7_000)
    assert other.reports() == [("trade", 0.1, 1000.0)]


def test_the_probabilistic_models_move_us_forward_by_their_share_of_a_cancel() -> None:
    """By hftbacktest's formulas: front 1.0, back 1.0, 0.5 canceled; f is a cube or a logarithm."""
    one = Decimal(1)
    assert behind_probability("power", Decimal(3), one, one) == Decimal("0.5")
    assert behind_probability("power", Decimal(2), one, Decimal(3)) == Decimal("0.9")
    assert behind_probability("power2", Decimal(2), one, one) == Decimal("0.25")
    assert behind_probability("power3", Decimal(2), one, one) == Decimal("0.75")
    assert behind_probability("log", one, one, one) == Decimal("0.5")
    assert round(behind_probability("log2", one, one, one), 6) == Decimal("0.630930")
    assert behind_probability("power", one, Decimal(0), Decimal(0)) == 1
    fronts = {}
    for model in ("risk_averse", "power", "power2", "power3", "log"):
        queue = QueuePosition(model, Decimal(3), 4, 10_000)
        queue.on_shown(20_000)
        queue.on_shown(15_000)
        fronts[model] = queue.front_raw
    assert fronts == {"risk_averse": 10_000, "power": 7_500, "power2": 5_625, "power3": 9_375, "log": 7_500}


def test_a_trade_is_not_counted_again_as_a_cancel() -> None:
    """The level's next change contains the trade; what it shrank by beyond that was canceled."""
    queue = QueuePosition("power", Decimal(1), 0, 100)
    queue.on_shown(200)
    assert queue.on_trade(50) == 0
    queue.on_shown(150)
    assert queue.front_raw == 50
    queue.on_trade(10)
    queue.on_shown(120)
    assert queue.front_raw is not None
    assert round(queue.front_raw, 6) == Decimal("34.666667"), "of 20 canceled 40/150 stood before us"
    assert queue.on_trade(36) == 1, "whole units only"


def test_a_level_that_left_the_window_keeps_its_queue() -> None:
    """Nobody tells of levels below the depth: what stood before us there still does."""
    exchange = Exchange()
    exchange.book("update", [(9_950 - 10 * n, 10_000) for n in range(5)])
    exchange.add("buy", 991.0, 0.5)
    exchange.book("update", [(10_005, 10_000)])
    exchange.bids.pop(9_910)
    exchange.trade("sell", 9_910, 10_000)
    assert exchange.reports() == []
    exchange.trade("sell", 9_910, 1_000)
    assert exchange.reports() == [("trade", 0.1, 991.0)]


# A book that is not verified.


def test_an_unverified_book_fills_nothing_and_a_trade_through_us_still_does() -> None:
    """No taker, no queue, no crossing by a book that is not believed; a price that traded through ours proves itself."""
    exchange = Exchange()
    exchange.add("buy", 1000.0, 0.5, "rests")
    exchange.book("update", [(10_000, 0)], [(10_000, 5_000)], checksum=1)
    assert exchange.reports() == []
    assert reports(exchange.add("buy", 1010.0, 1, "b", time_in_force="ioc"))[-1] == ("canceled", "Immediate or cancel")
    assert reports(exchange.add("buy", 900.0, 1, "c", post_only=True))[-1] == ("canceled", "Post only order")
    exchange.trade("sell", 10_000, 90_000)
    assert exchange.reports() == []
    exchange.trade("sell", 9_990, 1_000)
    assert exchange.reports() == [("trade", 0.1, 1000.0)]
    exchange.bids, exchange.asks = {10_000: 3_000}, {10_010: 3_000}
    exchange.book("snapshot", exchange.bids.items(), exchange.asks.items())
    exchange.trade("sell", 10_000, 4_000)
    assert exchange.reports() == [("trade", 0.1, 1000.0)], "0.3 before us, as the snapshot shows"


def test_a_snapshot_without_a_checksum_is_believed_with_the_next_frame_that_has_one() -> None:
    """Older captures tell none with the snapshot; a frame that does not agree ends the book until the next snapshot."""
    exchange = Exchange()
    exchange.bids, exchange.asks = {10_000: 3_000}, {10_010: 3_000}
    exchange.market(f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"{NAME}","bids":[{{"price":1000.0,"qty":0.3}}],'
                    f'"asks":[{{"price":1001.0,"qty":0.3}}]}}]}}')
    assert reports(exchange.add("buy", 1001.0, 0.1, "a", time_in_force="ioc"))[-1] == ("canceled", "Immediate or cancel")
    exchange.book("update", [(10_000, 2_000)])
    assert ("filled",) in reports(exchange.add("buy", 1001.0, 0.1, "b", time_in_force="ioc"))
    exchange.book("update", [(10_000, 1_000)], checksum=1)
    exchange.book("update", [(10_000, 2_000)])
    assert reports(exchange.add("buy", 1001.0, 0.1, "c", time_in_force="ioc"))[-1] == ("canceled", "Immediate or cancel")


# Requests.


@pytest.mark.parametrize(("changes", "error"), [
    ({"symbol": "NO/USD"}, "EQuery:Unknown asset pair"),
    ({"order_type": "market"}, "EGeneral:Invalid arguments:ordertype"),
    ({"side": "both"}, "EGeneral:Invalid arguments:side"),
    ({"order_qty": 0.0009}, "EGeneral:Invalid arguments:volume minimum not met"),
    ({"order_qty": 0.001, "limit_price": 499.5}, "EOrder:Cost minimum not met"),
    ({"order_qty": 0.00001}, "EGeneral:Invalid arguments:volume"),
    ({"limit_price": 1000.3}, "EOrder:Tick size check failed"),
    ({"limit_price": 0}, "EOrder:Invalid price"),
    ({"order_qty": 100}, "EOrder:Insufficient funds"),
    ({"side": "sell", "limit_price": 1100.0, "order_qty": 50.1}, "EOrder:Insufficient funds"),
    ({"deadline": "2020-01-01T00:00:00.000Z"}, "EService:Deadline elapsed"),
    ({"cl_ord_id": "open"}, "EGeneral:Invalid arguments:cl_ord_id not unique"),
    ({"price": 1}, "Unsupported field: 'price' for the given msg type: add order"),
])
def test_an_order_is_refused_in_the_venues_words(changes: dict[str, Any], error: str) -> None:
    """Success is false, the text is the protocol's, and nothing opens."""
    exchange = Exchange()
    exchange.add("buy", 900.0, 1, "open")
    order = {"order_type": "limit", "side": "buy", "symbol": NAME, "order_qty": 1, "limit_price": 1000.0, "cl_ord_id": "x"}
    heard = exchange.ask("add_order", **{**order, **changes})
    assert [(row["success"], row["error"], row["req_id"]) for row in heard] == [(False, error, 2)]
    assert len(exchange.venue.orders) == 1 and exchange.venue.refusals == {error: 1}


def test_an_id_is_free_again_when_its_order_has_ended() -> None:
    """The venue knows duplicates of open orders only."""
    exchange = Exchange()
    exchange.add("buy", 900.0, 1)
    exchange.ask("cancel_order", cl_ord_id=["a"])
    assert exchange.add("buy", 900.0, 1)[0]["success"]


def test_each_cancel_has_a_reply_of_its_own() -> None:
    """Open: done; ended: Unknown order; never there: Invalid order; all with the request's id."""
    exchange = Exchange()
    exchange.add("buy", 900.0, 1, "one")
    exchange.add("buy", 901.0, 1, "two")
    exchange.ask("cancel_order", cl_ord_id=["one"])
    heard = exchange.ask("cancel_order", cl_ord_id=["two", "one", "none"])
    assert [(row.get("result"), row.get("error"), row["req_id"]) for row in heard if "method" in row] == [
        ({"cl_ord_id": "two"}, None, 4), (None, "EOrder:Unknown order", 4), (None, "EOrder:Invalid order", 4)]
    assert reports(heard) == [("canceled", "User requested")]
    assert exchange.ask("cancel_all")[0]["result"] == {"count": 0}


def test_an_amend_to_less_keeps_the_place_and_to_more_or_another_price_loses_it() -> None:
    """The queue before us stays, or is the whole level again."""
    exchange = Exchange()
    for cl_ord_id in ("less", "more"):
        exchange.add("buy", 1000.0, 0.5, cl_ord_id)
    exchange.trade("sell", 10_000, 9_000)
    heard = exchange.ask("amend_order", cl_ord_id="less", order_qty=0.2, limit_price=1000.0, post_only=True)
    assert heard[0]["result"]["cl_ord_id"] == "less" and reports(heard) == [("amended", "User requested")]
    exchange.ask("amend_order", cl_ord_id="more", order_qty=0.6)
    exchange.trade("sell", 10_000, 2_000)
    assert exchange.reports() == [("trade", 0.1, 1000.0)], "0.1 was left before the first"
    assert exchange.ask("amend_order", cl_ord_id="more", order_qty=0.6, limit_price=1001.0, post_only=True)[0]["error"] == \
        "EOrder:Post only order"
    assert exchange.ask("amend_order", cl_ord_id="more", order_qty=900)[0]["error"] == "EOrder:Insufficient funds"
    assert reports(exchange.ask("amend_order", cl_ord_id="less", order_qty=0.1)) == [("canceled", "User requested")]
    assert exchange.ask("amend_order", cl_ord_id="less", order_qty=0.1)[0]["error"] == "EOrder:Unknown order"


def test_a_good_till_date_order_expires_and_the_switch_cancels_all() -> None:
    """At its time, and not before; a switch that was set anew fires from the last setting; 0 disarms it."""
    exchange = Exchange()
    exchange.add("buy", 900.0, 1, time_in_force="gtd", expire_time=time_text(exchange.now_ns + 2 * NS_PER_S))
    exchange.add("buy", 901.0, 1, "b")
    exchange.wait(NS_PER_S)
    assert exchange.reports() == []
    exchange.wait(NS_PER_S)
    assert exchange.reports() == [("expired", "Order expired")]
    assert exchange.ask("cancel_all_orders_after", timeout=60)[0]["result"]["triggerTime"] != "0"
    exchange.wait(59 * NS_PER_S)
    exchange.ask("cancel_all_orders_after", timeout=60)
    exchange.wait(59 * NS_PER_S)
    assert exchange.reports() == []
    exchange.wait(NS_PER_S)
    assert exchange.reports() == [("canceled", "Dead man's switch")]
    exchange.add("buy", 901.0, 1, "c")
    exchange.ask("cancel_all_orders_after", timeout=1)
    assert exchange.ask("cancel_all_orders_after", timeout=0)[0]["result"]["triggerTime"] == "0"
    exchange.wait(60 * NS_PER_S)
    assert exchange.reports() == []


@pytest.mark.parametrize(("stp_type", "left"), [("cancel_newest", {"rests"}), ("cancel_oldest", set()), ("cancel_both", set())])
def test_our_own_orders_do_not_trade_with_each_other(stp_type: str, left: set[str]) -> None:
    """The one that the newer order names goes; an exit cancels an opening that stands in its way and takes what is behind."""
    exchange = Exchange()
    exchange.add("buy", 1000.5, 0.5, "rests")
    heard = exchange.add("sell", 1000.0, 0.5, "exit", time_in_force="ioc", stp_type=stp_type)
    assert ("canceled", "Self trade prevention") in reports(heard)
    assert (("filled",) in reports(heard)) == (stp_type == "cancel_oldest")
    assert {order.terms.cl_ord_id for order in exchange.venue.orders.values()} == left


def test_fees_follow_the_volume_of_thirty_days() -> None:
    """The tier is that of what was traded before each fill."""
    exchange = Exchange(volume_30d=Decimal(9_500))
    heard = exchange.add("buy", 1002.0, 2, time_in_force="ioc")
    assert [paid[0]["qty"] for paid in fees(heard)] == [4.004, 3.507]
    assert Exchange(fee_tiers=((0, 1, 2),)).add("buy", 1001.0, 1, time_in_force="ioc")[4]["data"][0]["fee"] == 0


@pytest.mark.parametrize("frame", [b"no json", b"[]", b'{"method":7}', b'{"method":"edit_order","req_id":1}',
                                   b'{"method":"add_order","params":[],"req_id":1}',
                                   b'{"method":"cancel_order","params":{},"req_id":1}',
                                   b'{"method":"cancel_order","params":{"cl_ord_id":"a"},"req_id":1}',
                                   b'{"method":"cancel_all_orders_after","params":{"timeout":true},"req_id":1}',
                                   b'{"method":"subscribe","params":{"channel":"book"},"req_id":1}',
                                   b'{"method":"amend_order","params":{"cl_ord_id":"a"},"req_id":1}',
                                   b'{"method":"amend_order","params":{"cl_ord_id":[],"order_qty":1},"req_id":1}',
                                   b'{"method":"add_order","params":{"symbol":"BTC/USD","order_type":"limit","side":[]}}',
                                   b'{"method":"add_order","params":{"symbol":{}},"req_id":1}'])
def test_a_request_that_cannot_be_meant_is_refused_and_nothing_breaks(frame: bytes) -> None:
    """One refusal each; the venue goes on."""
    exchange = Exchange()
    exchange.venue.send(exchange.now_ns, frame)
    exchange.wait(1)
    (answer,) = exchange.hear()
    assert answer["success"] is False and answer["error"]
    assert exchange.add("buy", 900.0, 1)[0]["success"]


# Time.


def test_latencies_are_those_of_the_settings_and_requests_come_after_market_data_of_their_time() -> None:
    """Sent at t, matched at t + out against the book of that nanosecond, heard at t + out + back."""
    exchange = Exchange(order_out_ns=30 * NS_PER_MS, order_back_ns=5 * NS_PER_MS)
    sent_ns = exchange.now_ns
    assert exchange.add("buy", 1001.0, 1, time_in_force="ioc") == []
    exchange.wait(30 * NS_PER_MS - 1)
    assert exchange.venue.next_reply_ns == INT64_MAX
    exchange.now_ns = sent_ns + 29 * NS_PER_MS
    exchange.asks = {10_020: 10_000}
    exchange.venue.load_book(NAME, exchange.bids.items(), exchange.asks.items(), verified=True)
    exchange.wait(NS_PER_MS)
    assert exchange.venue.take_replies(sent_ns + 35 * NS_PER_MS - 1) == []
    assert exchange.venue.next_reply_ns == sent_ns + 35 * NS_PER_MS
    assert exchange.reports()[-1] == ("canceled", "Immediate or cancel")


def test_recorded_latencies_are_linear_between_their_rows() -> None:
    """Before the first and behind the last row the nearest one holds."""
    settings = SimulatedVenueSettings(recorded=(LatencyRow(100, 10, 1), LatencyRow(200, 30, 3)))
    assert [settings.out_ns(at) for at in (0, 100, 150, 200, 999)] == [10, 10, 20, 30, 30]
    assert [settings.back_ns(at) for at in (0, 100, 150, 200, 999)] == [1, 1, 2, 3, 3]
    for wrong in ({"order_out_ns": -1}, {"queue_n": Decimal(0)}, {"fee_tiers": ()}, {"fee_tiers": ((1, 1, 1),)},
                  {"recorded": (LatencyRow(2, 1, 1), LatencyRow(1, 1, 1))}, {"recorded": (LatencyRow(1, -1, 1),)},
                  {"feed_ns": 10**23}, {"rate_count_max": 0}, {"rate_count_max": -10**20}, {"fee_tiers": ((0, -10**11, 1),)},
                  {"fee_tiers": ((0, 1, 10_001),)}):
        with pytest.raises(UsageError):
            SimulatedVenueSettings(**wrong)


def test_the_socket_delivers_in_order_whatever_the_latencies() -> None:
    """A request that leaves later does not arrive earlier, and an answer does not overtake the one before it."""
    rows = (LatencyRow(BEGAN_NS, 50 * NS_PER_MS, 50 * NS_PER_MS), LatencyRow(BEGAN_NS + 60 * NS_PER_MS, 0, 0))
    exchange = Exchange(recorded=rows)
    for number in range(6):
        exchange.add("buy", 900.0, 1, f"o{number}")
        exchange.wait(10 * NS_PER_MS)
    exchange.wait(NS_PER_S)
    exchange.hear()
    replies = [row["result"]["cl_ord_id"] for row in exchange.said if row.get("method") == "add_order"]
    assert replies == [f"o{number}" for number in range(6)]
    times = [row["time_in"] for row in exchange.said if row.get("method") == "add_order"]
    assert times == sorted(times)


# The private channels.


def test_the_private_machine_takes_it_for_the_venue() -> None:
    """Subscribed by the machine's own frames: snapshots, tier, an armed switch, sequences without a gap, heartbeats."""
    exchange = Exchange(heartbeat_ns=NS_PER_S)
    exchange.venue = SimulatedVenue(exchange.venue.settings, {"USD": Decimal(5_000)})
    exchange.venue.add_instrument(SPEC, 10)
    exchange.venue.load_book(NAME, exchange.bids.items(), exchange.asks.items(), verified=True)
    machine = PrivateMachine()
    outcomes: list[Any] = []

    def talk() -> None:
        for frame in machine.take_out():
            exchange.venue.send(exchange.now_ns, frame)
        exchange.wait(NS_PER_MS)
        for at_ns, frame in exchange.venue.take_replies(exchange.now_ns):
            for message in decode_private(frame):
                machine.on_frame_seen(at_ns)
                outcomes.extend(machine.on_message(message, at_ns))

    machine.on_up(exchange.now_ns)
    machine.arm(60, exchange.now_ns)
    for _ in range(3):
        talk()
    assert machine.ready and machine.deadman.armed(exchange.now_ns) and machine.rate_count_max == 180
    exchange.venue.send(exchange.now_ns, json.dumps({"method": "add_order", "params": {
        "order_type": "limit", "side": "buy", "symbol": NAME, "order_qty": 1, "limit_price": 1001.0, "cl_ord_id": "z",
        "token": ""}, "req_id": 5}).encode())
    talk()
    reports_ = [report for outcome in outcomes if isinstance(outcome, ExecutionsMessage) for report in outcome.reports]
    assert [report.exec_type for report in reports_] == ["pending_new", "new", "trade", "filled"]
    for _ in range(8):
        exchange.wait(NS_PER_S)
        talk()
        machine.on_timer(exchange.now_ns)
    assert machine.want_close is None and machine.alive(exchange.now_ns) and machine.gap_count == 0
    machine.renew_executions(exchange.now_ns)
    outcomes.clear()
    for _ in range(4):
        talk()
    again = [report for outcome in outcomes if isinstance(outcome, ExecutionsMessage) for report in outcome.reports]
    assert [report.exec_id for report in again] == ["TSIMEX-00000-000001"], "a snapshot repeats the fills"
    assert machine.ready and machine.malformed_count == machine.unknown_count == 0
