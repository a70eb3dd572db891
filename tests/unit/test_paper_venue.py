"""The simulated venue in Kraken's place: answers when they are due, on disk before they are told, and none that is made up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cstd._fast.codes import BookState
from cstd._fast.sink import RecordingSink
from cstd.clock import SystemClock
from cstd.config import load, template
from cstd.daemon import paper
from cstd.daemon.paper import PaperConnector, PaperHttp, PaperVenue
from cstd.daemon.paper_account import read_account
from cstd.errors import InvariantError, VerificationError
from cstd.orders.simulated_history import FORM, ArrivedRecord, StartRecord
from cstd.orders.simulated_terms import SimulatedVenueSettings
from cstd.orders.simulated_venue import SimulatedVenue
from cstd.storage.run_dir import PAPER_FILE
from cstd.units import INT64_MAX
from cstd.venue.messages import InstrumentSpec
from cstd.venue.paper_link import PaperLink, PublicTap
from cstd.venue.rest.request import RestRequest, balances, open_orders

BTC = InstrumentSpec("BTC/USD", "BTC", "USD", "online", 1, 8, 1, 1, 5_000, 5, Decimal("0.5"))
PING = b'{"method":"ping","req_id":1500000001}'
BALANCES = b'{"method":"subscribe","params":{"channel":"balances","snapshot":true,"token":""},"req_id":1500000002}'
BUY = (b'{"method":"add_order","params":{"order_type":"limit","side":"buy","symbol":"BTC/USD","order_qty":0.01,'
       b'"limit_price":60001.0,"cl_ord_id":"cp1","token":""},"req_id":1}')
QUICK = {"CSTD__SIMULATED_VENUE__FEED_NS": "1000000", "CSTD__SIMULATED_VENUE__ORDER_OUT_NS": "1000000",
         "CSTD__SIMULATED_VENUE__ORDER_BACK_NS": "1000000"}


class Book:
    """The engine's book: one coin a side."""

    depth, state = 10, BookState.BOOK_VERIFIED

    def levels(self, side: int, _depth: int) -> list[tuple[int, int, int]]:
        """Price, quantity, and what is ours."""
        return [(600_000 if side == 1 else 600_010, 100_000_000, 0)]


class Sink(RecordingSink):
    """The engine's core."""

    slots = (SimpleNamespace(book=Book()),)


class Bench:
    """A venue, its link and its connector, on the running loop."""

    def __init__(self, tmp_path: Path, *, booked: tuple[str, ...] = (), **environ: str) -> None:
        self.cfg = load([str(template("paper"))], {**QUICK, **environ})
        self.core = Sink()
        self.faults: list[Exception] = []
        engine: Any = SimpleNamespace(core=self.core, names=("BTC/USD",), feed=SimpleNamespace(specs={"BTC/USD": BTC}),
                                      ledger=SimpleNamespace(fills=dict.fromkeys(booked)))
        self.venue = PaperVenue(engine, self.cfg, tmp_path, SystemClock(), self.faults.append)
        self.told: list[str] = []
        self.link = self.venue.make_link(lambda: None)
        self.connector = PaperConnector(self.venue, self.link, on_up=lambda _link: self.told.append("up"),
                                        on_down=lambda _link, reason: self.told.append(reason))

    @property
    def frames(self) -> list[dict[str, Any]]:
        """What came back, in order."""
        return [msgspec.json.decode(frame) for _, frame, _, _ in self.core.frames]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something."""
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.001)


def on_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario on a loop of its own."""
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_an_answer_comes_when_it_is_due_and_the_venue_says_first_that_it_is_online(tmp_path: Path) -> None:
    """A ping comes back after both ways and no sooner."""
    async def scenario() -> None:
        bench = Bench(tmp_path, CSTD__SIMULATED_VENUE__ORDER_OUT_NS="30000000")
        bench.connector.start()
        assert bench.told == ["up"] and bench.frames[0]["data"][0]["system"] == "online"
        sent_s = time.monotonic()
        assert bench.connector.send_control(PING)
        await bench.until(lambda: any(frame.get("method") == "pong" for frame in bench.frames))
        assert time.monotonic() - sent_s >= 0.031
        await bench.connector.stop()
        assert bench.told == ["up", "stopping"] and not bench.connector.send_control(PING)
        bench.venue.close()
    on_loop(scenario)


def snapshots(bench: Bench) -> list[dict[str, Any]]:
    """The snapshots of balances that came."""
    return [frame for frame in bench.frames if (frame.get("channel"), frame.get("type")) == ("balances", "snapshot")]


def test_an_order_meets_the_engines_book_and_is_on_disk_when_it_is_told(tmp_path: Path) -> None:
    """Reply, reports and ledger come back; the file has the execution already; public frames are wanted while it is out."""
    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.connector.start()
        bench.connector.send_control(BALANCES)
        await bench.until(lambda: snapshots(bench))  # heartbeats come between
        (first,) = snapshots(bench)[0]["data"]
        assert first == {**first, "asset": "USD", "balance": 10_000}
        bench.venue._on_sent(time.time_ns(), BUY)
        assert bench.venue.tap.wanted
        assert [record.frame for record in read_account(tmp_path / PAPER_FILE)[0].arriving] == [BUY]
        kept = len((tmp_path / PAPER_FILE).read_bytes())
        await bench.until(lambda: read_account(tmp_path / PAPER_FILE)[0].fills)
        history, whole = read_account(tmp_path / PAPER_FILE)
        assert whole > kept and len(history.fills) == 1 and not history.arriving
        assert history.balances == {"USD": Decimal("9397.58996"), "BTC": Decimal("0.01")}
        bench.venue.close()
    on_loop(scenario)


def test_a_host_that_slept_hears_one_heartbeat() -> None:
    """And not one for each second of the night."""
    venue = SimulatedVenue(SimulatedVenueSettings(heartbeat_ns=10**9), {"USD": Decimal(1)})
    venue.send(0, BALANCES)
    venue.step(10**9)
    venue.take_replies(INT64_MAX)
    venue.step(8 * 3600 * 10**9)
    assert len(venue.take_replies(INT64_MAX)) == 1
    assert 0 < venue.next_due_ns - 8 * 3600 * 10**9 <= 10**9, "and the next in its turn"


def test_what_the_disk_refuses_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link goes down with the reason and stays down, and nothing is answered by REST either."""
    monkeypatch.setattr(paper, "RECONNECT_S", 0.01)

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.connector.start()

        def full(*_words: object, **_options: object) -> None:
            raise OSError(28, "no space left")

        bench.venue._on_sent(time.time_ns(), BUY)
        monkeypatch.setattr(bench.venue._account, "keep", full)
        await bench.until(lambda: len(bench.told) == 2)
        await asyncio.sleep(0.05)
        assert "no space left" in bench.told[1] and len(bench.told) == 2 and len(bench.frames) == 1
        assert len(bench.faults) == 1 and not bench.link.up
        reply = bench.venue.answer(open_orders())
        assert reply.status == 0 and "no space left" in reply.transport_error
        bench.venue.close()
    on_loop(scenario)


def test_a_session_that_ends_begins_again_without_its_subscriptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed by the engine: down with its reason, up again, and a channel has to be subscribed anew."""
    monkeypatch.setattr(paper, "RECONNECT_S", 0.01)

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.connector.start()
        for number in (1, 2):
            bench.connector.send_control(BALANCES)
            await bench.until(lambda n=number: len(snapshots(bench)) == n)  # type: ignore[misc]
            bench.connector.close("silent")
            await bench.until(lambda n=number: bench.told[n * 2 - 1:] == ["silent", "up"])  # type: ignore[misc]
        assert bench.told == ["up", "silent", "up", "silent", "up"] and bench.connector.attempt_count == 3
        bench.venue.close()
    on_loop(scenario)


def test_private_calls_never_leave_and_only_the_gateways_change_orders(tmp_path: Path) -> None:
    """Answered here without a connection; a call nobody can answer is a fault that is said, and no empty account."""
    async def scenario() -> None:
        bench = Bench(tmp_path)
        http = PaperHttp("http://127.0.0.1:9", bench.venue, clock=SystemClock())
        reply = await http.call(balances(), 10**9)
        assert reply.status == 200 and msgspec.json.decode(reply.body)["result"]["USD"]["balance"] == "10000"
        with pytest.raises(InvariantError, match="outside the gateway"):
            await http.call(RestRequest("CancelAll", True), 10**9)
        with pytest.raises(InvariantError, match="outside the gateway"):
            await http.call(RestRequest("WithdrawStatus", True), 10**9)
        unknown = await http.call(RestRequest("GetWebSocketsToken", True), 10**9)
        assert (unknown.status, unknown.body) == (0, b"") and "no answer to REST" in str(bench.faults[0])
        assert bench.venue.broken
        assert http._session is None
        bench.venue.close()
    on_loop(scenario)


def test_a_fault_of_the_venue_during_a_call_breaks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one in its own time does: said once, no answer made up then or later, the link down."""
    async def scenario() -> None:
        bench = Bench(tmp_path)
        http = PaperHttp("http://127.0.0.1:9", bench.venue, clock=SystemClock())

        def fail(_now_ns: int) -> None:
            raise InvariantError("a defect")

        monkeypatch.setattr(bench.venue.venue, "step", fail)
        for _ in range(2):
            reply = await http.call(balances(), 10**9)
            assert (reply.status, reply.body) == (0, b"") and "a defect" in reply.transport_error
        assert [str(error) for error in bench.faults] == ["a defect"]
        assert "a defect" in bench.venue.broken
        bench.venue.close()
    on_loop(scenario)


@pytest.mark.parametrize(("lines", "number"), [
    ([b"[]"], 1), ([b'[{"is":"\xff"}]'], 1), ([b"START", msgspec.json.encode([ArrivedRecord()])], 2), ([b"START", b"{"], 2)],
    ids=["nothing", "no UTF-8", "arrived and never sent", "no records"])
def test_an_account_that_is_none_is_refused_by_its_line(lines: list[bytes], number: int, tmp_path: Path) -> None:
    """Exit 3 with file and line, whatever is wrong in it."""
    start = msgspec.json.encode([StartRecord(FORM, 0, {})])
    (tmp_path / PAPER_FILE).write_bytes(b"".join(line.replace(b"START", start) + b"\n" for line in lines))
    with pytest.raises(VerificationError, match=f"line {number}: "):
        read_account(tmp_path / PAPER_FILE)


def test_a_journal_with_other_fills_is_refused(tmp_path: Path) -> None:
    """An execution that the simulated account never had: of two sessions."""
    with pytest.raises(VerificationError, match="1 fills"):
        Bench(tmp_path, booked=("TSIMEX-00000-000001",))
    assert not (tmp_path / PAPER_FILE).exists(), "nothing is begun beside it"


def test_copies_of_public_frames_are_kept_while_they_are_wanted() -> None:
    """Every frame goes on to the core; copies come after the read, with the wall's time, and only of what was wanted."""
    core, kept = RecordingSink(), []
    tap = PublicTap(core)
    tap.on_frames = kept.append
    link = PaperLink(tap)
    link.connect()
    link.receive([b"{}"])
    tap.wanted = True
    before_ns = time.time_ns()
    link.receive([b"[1]", b"[2]"])
    tap.wanted = False
    link.receive([b"[3]"])
    assert [frame for _, frame, _, _ in core.frames] == [b"{}", b"[1]", b"[2]", b"[3]"]
    assert [[frame for _, frame in frames] for frames in kept] == [[b"[1]", b"[2]"]]
    assert before_ns - 10**6 <= kept[0][0][0] <= time.time_ns()
