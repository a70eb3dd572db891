"""REST: exact signatures, one call at a time, reads repeated, orders never, results typed."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from cstd.clock import SystemClock
from cstd.errors import ConnectivityError, EdgeRefusedError, InvariantError, VenueRejectError
from cstd.venue.fields import FieldError
from cstd.venue.http import Credentials, HttpClient
from cstd.venue.rate import MICRO
from cstd.venue.rest import Outcome, RestLane, RestRequest, sign
from cstd.venue.rest import request as requests
from cstd.venue.rest.lane import QUEUE_MAX
from cstd.venue.rest.models import (
    parse_asset_pairs,
    parse_balances,
    parse_closed_orders,
    parse_depth,
    parse_key_info,
    parse_ohlc,
    parse_open_orders,
    parse_system_status,
    parse_time,
    parse_trade_volume,
    parse_trades_history,
)
from cstd.venue.rest.names import PairNames, asset_name

S = 10**9
PATH, NONCE = "/0/private/AddOrder", 1616492376594
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="  # published example


@pytest.mark.parametrize(("body", "expected"), [
    ("nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
     "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="),
    ('{"nonce":"1616492376594","ordertype":"limit","pair":"XBTUSD","price":37500,"type":"buy","volume":1.25}',
     "BVT3EumzzXSJHlvrinSwICz5uKKlSZPXL9cJIuKqn7ZMhHSbbtXhGdvwoDBmRz6ALXI+GVxFD0ZlGuOmfi2bxA=="),
])
def test_signatures_are_krakens(body: str, expected: str) -> None:
    """The published form vector and its JSON twin, as text and as bytes, with the nonce as number and as text."""
    for nonce in (NONCE, str(NONCE)):
        assert sign(PATH, body, nonce, SECRET) == expected
        assert sign(PATH, body.encode(), nonce, SECRET) == expected


def test_a_bad_secret_is_told_without_repeating_it() -> None:
    """A secret that is not base64 is refused, and not printed."""
    with pytest.raises(ValueError, match="base64") as raised:
        sign(PATH, "", 1, "not*base64")
    assert "not*base64" not in str(raised.value)
    with pytest.raises(ValueError, match="API key"):
        Credentials("bad key\r\n", SECRET)
    assert SECRET not in repr(Credentials("k" * 20, SECRET))


def test_bodies_are_form_encoded_nonce_first() -> None:
    """Every field is encoded once, in order; times are whole seconds; None is left out."""
    request = requests.closed_orders("c1+2", start_ns=1_700_000_000_900_000_000, offset=50)
    assert request.path == "/0/private/ClosedOrders"
    assert request.body(7) == b"nonce=7&trades=true&cl_ord_id=c1%2B2&start=1700000000&ofs=50"
    assert requests.depth("BTC/USD", 25).query() == "pair=BTC%2FUSD&count=25"
    with pytest.raises(InvariantError):
        requests.query_orders(["x"] * 21)
    with pytest.raises(InvariantError):
        requests.depth("BTC/USD", 501)


def ok(result: Any = None, errors: list[str] | None = None) -> bytes:
    """Return a reply's body."""
    return json.dumps({"error": errors or [], "result": result}).encode()


def test_one_call_at_a_time_in_order() -> None:
    """The second request waits for the first one's reply."""
    lane = RestLane("pro")
    first, second = lane.submit(requests.balances(), 0), lane.submit(requests.open_orders(), 0)
    call = lane.next_call(0)
    assert call.request.method == "BalanceEx"
    assert lane.next_call(0) is None
    result = lane.on_reply(call.call_id, 200, ok({"ZUSD": 1.50}, ["WGeneral:Deprecated"]), S)
    assert (result.request_id, result.outcome, result.warnings) == (first, Outcome.DONE, ("WGeneral:Deprecated",))
    assert str(result.result["ZUSD"]) == "1.5"
    call = lane.next_call(S)
    assert lane.on_reply(call.call_id, 200, ok({}), S).request_id == second
    assert len(lane) == 0


ORDER = RestRequest("CancelOrder", True, (("cl_ord_id", "c1"),))
FAILURES = [(0, b"", "reset"), (502, b"<html>", ""), (520, b"", ""), (200, b"<html>", ""), (200, b'{"error":7}', "")]


@pytest.mark.parametrize(("status", "body", "error"), FAILURES)
def test_an_order_behind_a_failure_is_unknown(status: int, body: bytes, error: str) -> None:
    """A transport failure or an unreadable reply never repeats an order."""
    lane = RestLane("pro")
    lane.submit(ORDER, 0)
    call = lane.next_call(0)
    result = lane.on_reply(call.call_id, status, body, S, transport_error=error)
    assert (result.outcome, result.attempt_count) == (Outcome.UNKNOWN, 1)
    assert lane.next_call(100 * S) is None


@pytest.mark.parametrize(("status", "body", "error"), FAILURES)
def test_a_read_behind_a_failure_is_repeated_four_times(status: int, body: bytes, error: str) -> None:
    """After 1, 2 and 4 s, then it is refused with the reason."""
    lane = RestLane("pro")
    lane.submit(requests.balances(), 0)
    now_ns, result, starts = 0, None, []
    while result is None:
        call = lane.next_call(now_ns)
        if call is None:
            now_ns += S // 10
            continue
        starts.append(now_ns)
        result = lane.on_reply(call.call_id, status, body, now_ns, transport_error=error)
    assert starts == [0, 1 * S, 3 * S, 7 * S]
    assert (result.outcome, result.attempt_count) == (Outcome.REFUSED, 4)


@pytest.mark.parametrize(("error", "outcome"), [
    ("EOrder:Insufficient funds", Outcome.REFUSED),
    ("EOrder:Unknown order", Outcome.REFUSED),
    ("EAPI:Invalid nonce", Outcome.UNKNOWN),
    ("EService:Busy", Outcome.UNKNOWN),
    ("EService:Unavailable", Outcome.UNKNOWN),
    ("EService:Timeout", Outcome.UNKNOWN),
    ("EGeneral:Internal error", Outcome.UNKNOWN),
    ("EMoon:new", Outcome.UNKNOWN),
])
def test_order_errors_say_refused_or_unknown(error: str, outcome: Outcome) -> None:
    """A clear no is refused; anything server-side or new is unknown; neither is repeated."""
    lane = RestLane("pro")
    lane.submit(ORDER, 0)
    call = lane.next_call(0)
    assert lane.on_reply(call.call_id, 200, ok(errors=[error]), 0).outcome is outcome
    assert len(lane) == 0


def test_timeouts_and_late_replies() -> None:
    """An overdue order is unknown; its late reply is counted and is not taken for the next call's."""
    lane = RestLane("pro")
    lane.submit(ORDER, 0)
    lane.submit(requests.balances(), 0)
    late = lane.next_call(0)
    assert lane.on_timer(late.timeout_ns - 1) is None
    assert lane.on_timer(late.timeout_ns).outcome is Outcome.UNKNOWN
    call = lane.next_call(late.timeout_ns)
    assert lane.on_reply(late.call_id, 200, ok({"count": 1}), late.timeout_ns) is None
    assert lane.late_count == 1
    assert lane.on_reply(call.call_id, 200, ok({}), late.timeout_ns).outcome is Outcome.DONE


def test_errors_that_more_calls_make_worse_hold_the_lane() -> None:
    """A rate error waits 5 s at least, a lockout 15 min, a throttle until its time; a nonce error repeats once."""
    def after(error: str, wall_ns: int = 0) -> tuple[int, bool]:
        lane = RestLane("pro")
        lane.submit(requests.balances(), 0)
        call = lane.next_call(0)
        finished = lane.on_reply(call.call_id, 200, ok(errors=[error]), 0, wall_ns=wall_ns) is not None
        lane.submit(requests.open_orders(), 0)
        now_ns = 0
        while (call := lane.next_call(now_ns)) is None:
            now_ns += S // 4
        return now_ns, finished

    assert after("EAPI:Rate limit exceeded") == (5 * S, False)
    assert after("EGeneral:Temporary lockout") == (900 * S, True)
    assert after("EAPI:Invalid nonce") == (0, False)
    lane = RestLane("pro")
    lane.submit(requests.balances(), 0)
    call = lane.next_call(0)
    assert lane.on_reply(call.call_id, 200, ok(errors=["EService:Throttled: 107"]), 0, wall_ns=100 * S) is None
    assert lane.next_call(7 * S - 1) is None
    call = lane.next_call(7 * S)
    assert lane.on_reply(call.call_id, 200, ok(errors=["EAPI:Invalid nonce"]), 7 * S) is None
    call = lane.next_call(7 * S)
    assert lane.on_reply(call.call_id, 200, ok(errors=["EAPI:Invalid nonce"]), 7 * S).outcome is Outcome.REFUSED


def test_orders_overtake_reads_and_the_queue_is_bounded() -> None:
    """An order goes first; beyond 64 requests the lane refuses and counts; the counter spaces reads out."""
    lane = RestLane("starter")
    for _ in range(QUEUE_MAX - 1):
        assert lane.submit(requests.balances(), 0)
    assert lane.submit(ORDER, 0)
    assert lane.submit(ORDER, 0) is None
    assert lane.refused_count == 1
    call = lane.next_call(0)
    assert call.request.is_order
    lane.on_reply(call.call_id, 200, ok({}), 0)
    sent = 0
    while (call := lane.next_call(0)) is not None:
        lane.on_reply(call.call_id, 200, ok({}), 0)
        sent += 1
    assert sent == 12, "three points of fifteen are left for the look that proves a kill"


def test_a_read_ahead_of_others_has_the_reserve_and_a_place_in_a_full_queue() -> None:
    """It leaves before older reads and after orders, the reserve is its alone, and no queue is too full for it."""
    lane = RestLane("starter")
    for _ in range(QUEUE_MAX - 1):
        lane.submit(requests.balances(), 0)
    lane.submit(ORDER, 0)
    ahead = lane.submit_ahead(requests.open_orders(), 0, from_reserve=True)
    assert ahead and lane.refused_count == 0
    methods = []
    while (call := lane.next_call(0)) is not None:
        methods.append(call.request.method)
        lane.on_reply(call.call_id, 200, ok({}), 0)
    assert methods == ["CancelOrder", "OpenOrders", *["BalanceEx"] * 11]
    for count in range(1, 4):
        lane.submit_ahead(requests.open_orders(), 0, from_reserve=True)
        call = lane.next_call(0)
        assert call.request.method == "OpenOrders" and lane.rate.points_micro(0) == (12 + count) * MICRO
        lane.on_reply(call.call_id, 200, ok({}), 0)
    lane.submit_ahead(requests.open_orders(), 0, from_reserve=True)
    assert lane.next_call(0) is None, "the venue would refuse it"
    assert lane.next_call(4 * S).request.method == "OpenOrders"


ORDER_ROW = {
    "refid": None, "userref": 0, "cl_ord_id": "c1", "status": "canceled", "opentm": 1688666559.8974, "starttm": 0,
    "expiretm": 0, "closetm": "1688666560.5", "reason": "User requested",
    "descr": {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "30010.0", "price2": "0",
              "leverage": "none", "order": "x", "close": ""},
    "vol": "1.25000000", "vol_exec": "0.37500000", "cost": "11253.7", "fee": "0.00000", "price": "30010.0",
    "misc": "partial,touched", "oflags": "fciq", "trades": ["TCCCTY-WE2O6-P3NB37"],
}


def decoded(value: Any) -> Any:
    """Return a value as the lane decodes it."""
    from cstd.venue.fields import decode_json

    return decode_json(json.dumps(value).encode())


def test_orders_are_typed() -> None:
    """Quantities are exact, 0 times mean never, lists are split."""
    [row] = parse_open_orders(decoded({"open": {"OQ": ORDER_ROW}}))
    assert (row.order_id, row.pair, row.side, row.filled_qty) == ("OQ", "XBTUSD", "buy", Decimal("0.375"))
    assert (row.opened_ns, row.closed_ns, row.expires_ns) == (1688666559897400000, 1688666560500000000, None)
    assert (row.misc, row.trade_ids) == (("partial", "touched"), ("TCCCTY-WE2O6-P3NB37",))
    rows, count = parse_closed_orders(decoded({"closed": {"OQ": ORDER_ROW}, "count": 51}))
    assert (rows, count) == ((row,), 51)
    for broken in ({"open": []}, {}, {"open": {"OQ": {}}}, {"open": {"OQ": ORDER_ROW | {"vol": "x"}}}, None):
        with pytest.raises(FieldError):
            parse_open_orders(decoded(broken))


def test_other_results_are_typed() -> None:
    """Trades, balances, fees, key rights, time and state."""
    [trade], count = parse_trades_history(decoded({"trades": {"T1": {
        "ordertxid": "OQ", "pair": "XXBTZUSD", "time": 1688667796.8802, "type": "buy", "price": "30010.00000",
        "cost": "600.20000", "fee": "0.1", "vol": "0.02", "maker": True, "trade_id": 40274859}}, "count": 1}))
    assert (trade.exec_id, trade.time_ns, trade.maker, count) == ("T1", 1688667796880200000, True, 1)
    [balance] = parse_balances(decoded({"XXBT": {"balance": "1.5", "hold_trade": "0.5"}}))
    assert (balance.name, balance.available) == ("BTC", Decimal("1.0"))
    volume = parse_trade_volume(decoded({"currency": "ZUSD", "volume": "7.5", "fees": {"XXBTZUSD": {"fee": "0.40"}},
                                         "fees_maker": {"XXBTZUSD": {"fee": "0.25"}}}))
    assert (volume.fees[0].taker_percent, volume.fees[0].maker_percent) == (Decimal("0.40"), Decimal("0.25"))
    assert parse_key_info(decoded({"permissions": ["query-funds", "Withdraw-Funds"]})).may_withdraw
    assert not parse_key_info(decoded({"permissions": {"query-funds": True, "withdraw-funds": False}})).may_withdraw
    assert parse_time(decoded({"unixtime": 1688669448})) == 1688669448 * S
    assert parse_system_status(decoded({"status": "online"})) == "online"


def test_ohlc_keeps_the_forming_candle_apart() -> None:
    """The last row is not a bar yet."""
    rows = parse_ohlc(decoded({"BTC/USD": [
        [1790355600, "83732.7", "83969.8", "83612.9", "83765.4", "83766.9", "81.13696690", 5879],
        [1790359200, "83765.3", "84050.3", "83765.3", "84030.6", "83921.9", "53.72114923", 2375]], "last": 1790355600}))
    assert [row.begin_ns for row in rows.completed] == [1790355600 * S]
    assert rows.forming.begin_ns == 1790359200 * S
    assert rows.completed[0].volume == Decimal("81.13696690")


def test_recorded_reference_data_is_read(data_dir: Any) -> None:
    """Kraken's own replies: every pair has a v2 name under all its spellings, and the book is sorted."""
    pairs = decoded(json.loads((data_dir / "reference" / "rest-assetpairs-5-pairs-202607.json").read_text()))["result"]
    names = PairNames(pairs)
    assert {names.name_of(spelling) for spelling in ("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD")} == {"BTC/USD"}
    assert names.name_of("XDGUSD") == "DOGE/USD"
    assert len(parse_asset_pairs(pairs)) == 5
    with pytest.raises(FieldError):
        names.name_of("NOPE")
    depth = (data_dir / "reference" / "rest-depth-btc-202607.json").read_text()
    book = parse_depth(decoded(json.loads(depth))["result"])
    assert book.bids == tuple(sorted(book.bids, key=lambda row: -row[0]))
    assert book.asks == tuple(sorted(book.asks, key=lambda row: row[0]))
    assert book.bids[0][0] < book.asks[0][0]


@pytest.mark.parametrize(("code", "name"), [("XXBT", "BTC"), ("XBT", "BTC"), ("XXDG", "DOGE"), ("ZUSD", "USD"),
                                            ("SOL", "SOL"), ("XBT.M", "BTC.M"), ("XTZ", "XTZ"), ("ZRX", "ZRX")])
def test_asset_names(code: str, name: str) -> None:
    """Only the old ids lose their prefix."""
    assert asset_name(code) == name


class Nonces:
    """Counts up from 1."""

    def __init__(self) -> None:
        self.last = 0

    def take(self, wall_ns: int) -> int:
        self.last += 1
        return self.last


def serve(scenario: Any, handler: Any) -> None:
    """Run a scenario with a client against a loopback HTTP server."""
    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        client = HttpClient(f"http://127.0.0.1:{port}", clock=SystemClock(),
                            credentials=Credentials("k" * 20, SECRET), nonces=Nonces())
        try:
            await scenario(client)
        finally:
            await client.close()
            await runner.cleanup()

    asyncio.run(run())


def test_private_calls_are_signed_and_nonces_arrive_in_order() -> None:
    """The server recomputes each signature over the very bytes it got; ten calls at once arrive in nonce order."""
    seen: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        body = await request.read()
        nonce = int(dict(parse_qsl(body.decode()))["nonce"])
        assert request.headers["API-Sign"] == sign(request.path, body, nonce, SECRET)
        assert request.headers["User-Agent"] == "cstd"
        seen.append(nonce)
        await asyncio.sleep(0.001)
        return web.json_response({"error": [], "result": {}})

    async def scenario(client: HttpClient) -> None:
        replies = await asyncio.gather(*(client.call(requests.open_orders(), S) for _ in range(10)))
        assert [reply.status for reply in replies] == [200] * 10
        assert seen == list(range(1, 11))

    serve(scenario, handler)


def test_http_failures_are_values() -> None:
    """A 5xx, a redirect, a timeout and a refused connection come back as values; orders are refused outright."""
    async def handler(request: web.Request) -> web.Response:
        if request.path.endswith("Time"):
            await asyncio.sleep(1)
        if request.path.endswith("SystemStatus"):
            raise web.HTTPFound("http://127.0.0.1:1/elsewhere")
        return web.Response(status=503, body=b"busy")

    async def scenario(client: HttpClient) -> None:
        assert (await client.call(requests.balances(), S)).status == 503
        assert (await client.call(requests.system_status(), S)).status == 302
        slow = await client.call(requests.server_time(), S // 20)
        assert (slow.status, slow.transport_error) == (0, "no reply in time")
        with pytest.raises(InvariantError):
            await client.call(ORDER, S)
        nobody = HttpClient("http://127.0.0.1:1", clock=SystemClock())
        assert (await nobody.call(requests.server_time(), S)).transport_error
        await nobody.close()

    serve(scenario, handler)


@pytest.mark.parametrize(("body", "error"), [
    ({"error": ["EAPI:Invalid key"]}, VenueRejectError),
    ({"error": [], "result": {}}, ConnectivityError),
    ({"error": [], "result": {"token": 7}}, ConnectivityError),
    ({"error": [], "result": {"token": "1Dwc4lzSwNWO", "expires": 900}}, None),
])
def test_tokens_are_fetched_or_refused(body: dict[str, Any], error: type[Exception] | None) -> None:
    """A usable token is returned; a refusal carries the venue's code, and either failure is counted."""
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response(body)

    async def scenario(client: HttpClient) -> None:
        if error is None:
            assert await client.fetch_token() == "1Dwc4lzSwNWO"
            assert not client.errors
            return
        with pytest.raises(error):
            await client.fetch_token()
        assert client.errors == {"EAPI:Invalid key" if error is VenueRejectError else "no answer": 1}

    serve(scenario, handler)


@pytest.mark.parametrize("status", [403, 429])
def test_a_refusal_of_the_edge_is_told_with_its_time(status: int) -> None:
    """HTTP 429 and 403 come back with what Retry-After says; of a token they are an error of their own."""
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "40"}, text="error code: 1015")

    async def scenario(client: HttpClient) -> None:
        reply = await client.call(requests.balances(), S)
        assert (reply.status, reply.retry_after_ns) == (status, 40 * S)
        with pytest.raises(EdgeRefusedError) as raised:
            await client.fetch_token()
        assert raised.value.retry_after_ns == 40 * S
        assert client.errors == {"no answer": 1}

    serve(scenario, handler)


class Refusing:
    """A lane against an edge that refuses: what is asked, when it leaves."""

    def __init__(self) -> None:
        self.lane = RestLane("pro")
        self.now_ns = 0

    def starts(self, request: RestRequest, count: int, *, status: int = 429, told_ns: int = 0) -> list[int]:
        """Have a request refused again and again, whoever repeats it; returns its first starts, in seconds."""
        found: list[int] = []
        while len(found) < count:
            if not len(self.lane):
                self.lane.submit(request, self.now_ns)
            call = self.lane.next_call(self.now_ns)
            if call is None:
                self.now_ns += S
                continue
            found.append(self.now_ns // S)
            self.lane.on_reply(call.call_id, status, b"error code: 1015", self.now_ns, retry_after_ns=told_ns)
        return found

    def leaves_at(self, request: RestRequest) -> int:
        """Submit a request and let it be done; returns when it left, in seconds."""
        self.lane.submit(request, self.now_ns)
        while (call := self.lane.next_call(self.now_ns)) is None:
            self.now_ns += S
        self.lane.on_reply(call.call_id, 200, ok({}), self.now_ns)
        return self.now_ns // S


@pytest.mark.parametrize("request_", [requests.balances(), requests.server_time()], ids=["private", "public"])
@pytest.mark.parametrize("status", [403, 429])
def test_reads_that_the_edge_refuses_wait_growing_times(request_: RestRequest, status: int) -> None:
    """5 s, then twice as long each time, up to ten minutes; it holds all reads, public and private."""
    refusing = Refusing()
    starts = refusing.starts(request_, 10, status=status)
    assert [after - before for before, after in pairwise(starts)] == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    status_row = refusing.lane.status(refusing.now_ns)
    assert (status_row["held_ns"], status_row["hold_reason"]) == (600 * S, f"HTTP {status}")
    for other in (requests.balances(), requests.server_time()):
        assert refusing.lane.submit(other, refusing.now_ns)
    assert refusing.lane.next_call((starts[-1] + 600) * S - 1) is None
    assert refusing.lane.next_call((starts[-1] + 600) * S) is not None


def test_a_read_that_the_edge_lets_through_ends_the_wait_and_not_the_growth() -> None:
    """Every other call refused is no reason to begin with short waits; a quiet time is."""
    refusing = Refusing()
    assert refusing.starts(requests.balances(), 3) == [0, 5, 15]
    assert refusing.leaves_at(requests.balances()) == 35
    assert refusing.lane.status(refusing.now_ns)["held_ns"] == 0
    assert refusing.starts(requests.balances(), 2) == [35, 75]
    assert refusing.leaves_at(requests.balances()) == 155
    refusing.now_ns += 200 * S
    assert refusing.starts(requests.balances(), 2) == [355, 360]


def test_retry_after_makes_the_wait_longer_and_never_shorter() -> None:
    """What the edge says counts where it is more than what would be waited anyway."""
    refusing = Refusing()
    assert refusing.starts(requests.balances(), 2, told_ns=100 * S) == [0, 100]
    assert Refusing().starts(requests.balances(), 3, told_ns=S) == [0, 5, 15]


def test_orders_wait_for_their_own_refusals_alone_and_a_minute_at_most() -> None:
    """Reads that are held for ten minutes hold no order; orders that are refused wait 5, 10 ... 60 s, whatever they are told."""
    refusing = Refusing()
    refusing.starts(requests.balances(), 9)
    refusing.lane = next_lane(refusing.lane)
    assert refusing.starts(ORDER, 1) == [refusing.now_ns // S] == [5 + 10 + 20 + 40 + 80 + 160 + 320 + 600]
    refusing = Refusing()
    starts = refusing.starts(ORDER, 8)
    assert [after - before for before, after in pairwise(starts)] == [5, 10, 20, 40, 60, 60, 60]
    assert Refusing().starts(ORDER, 3, told_ns=3600 * S) == [0, 60, 120]


def test_the_look_ups_of_a_refused_order_wait_no_longer_than_orders() -> None:
    """Only they tell what became of it: a ban that holds reads for ten minutes holds these for one."""
    refusing = Refusing()
    refusing.starts(requests.balances(), 9)
    refusing.lane = next_lane(refusing.lane)
    at_s = refusing.starts(ORDER, 1)[0]
    starts = refusing.starts(requests.balances(), 4)
    assert [start - at_s for start in starts] == [60, 120, 180, 240]


def test_the_look_that_proves_a_kill_waits_a_minute_at_most() -> None:
    """Reads are held for ten minutes: a look goes a minute after the last refusal, its own too, so that it makes no ban last."""
    refusing = Refusing()
    refused_s = refusing.starts(requests.balances(), 9)[-1]
    refusing.lane = next_lane(refusing.lane)
    looked_s = []
    for _ in range(2):
        refusing.lane.submit_ahead(requests.open_orders(), refusing.now_ns, from_reserve=True)
        looked_s += refusing.starts(requests.balances(), 1)
        refusing.lane = next_lane(refusing.lane)
    assert [looked - refused_s for looked in looked_s] == [60, 120]


def next_lane(before: RestLane) -> RestLane:
    """The lane of the next boot: its queue is empty, and what the edge refused is known to it."""
    lane = RestLane("pro")
    lane.take_over(before)
    return lane


def test_public_calls_have_a_burst_and_then_one_a_second() -> None:
    """A start may ask eight times at once; after that public calls are a second apart."""
    lane = RestLane("pro")
    for _ in range(10):
        lane.submit(requests.server_time(), 0)
    now_ns, sent_ns = 0, []
    while len(sent_ns) < 10:
        call = lane.next_call(now_ns)
        if call is None:
            now_ns += S // 10
            continue
        sent_ns.append(now_ns)
        lane.on_reply(call.call_id, 200, ok({}), now_ns)
    assert sent_ns == [0] * 8 + [S, 2 * S]
