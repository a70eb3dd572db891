"""What the simulated account answers by REST, in the very parsers of the daemon, and how it is kept and goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cstd.cli.statement import venue_reads
from cstd.config import load, template
from cstd.daemon.paper_account import PaperAccount, read_account
from cstd.errors import InvariantError, OperatorError, VenueRejectError, VerificationError
from cstd.orders.account_reads import READS
from cstd.orders.reconcile import LEDGER, PLAN
from cstd.orders.simulated_history import SimulatedHistory
from cstd.orders.simulated_rest import PAGE, SimulatedRest
from cstd.orders.simulated_terms import SimulatedVenueSettings
from cstd.orders.simulated_venue import SimulatedVenue
from cstd.units import INT64_MAX, NS_PER_S
from cstd.venue.fields import decode_json
from cstd.venue.messages import InstrumentSpec
from cstd.venue.rest import models, request
from cstd.venue.rest.history import ledger_between, orders_between, trades_between

SPEC = InstrumentSpec("BTC/USD", "BTC", "USD", "online", 1, 8, 1, 1, 5_000, 5, Decimal("0.5"))
START_NS = 1_790_000_000 * NS_PER_S
SETTINGS = SimulatedVenueSettings(feed_ns=0, order_out_ns=10_000_000, order_back_ns=10_000_000)
BOOK = ([(600_000, 100_000_000)], [(600_010, 100_000_000)])  # one coin a side, 60,000.0 and 60,001.0
ENCODER = msgspec.json.Encoder(decimal_format="number")
SAYS_NOTHING = ("GetApiKeyInfo", "GetWebSocketsToken", "TradeVolume")  # asked with a key alone; TradeVolume by nobody


class Account:
    """A simulated account on disk, and the venue that it belongs to."""

    def __init__(self, path: Path, now_ns: int = START_NS) -> None:
        self.file = PaperAccount(path)
        self.file.open()
        self.now_ns = now_ns
        self.venue = SimulatedVenue(SETTINGS, {"USD": Decimal(10_000)}, history=self.file.history, now_ns=now_ns)
        self.venue.add_instrument(SPEC, 10)
        self.rest = SimulatedRest(self.file.history, self.venue)

    def book(self) -> None:
        """The market as BOOK has it."""
        self.venue.load_book("BTC/USD", *BOOK, verified=True)

    def send(self, **params: Any) -> None:
        """One add_order, at the venue and judged."""
        whole = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.01"),
                 "limit_price": Decimal("60001.0"), **params}
        self.leave("add_order", whole)
        self.pass_s(1)

    def leave(self, method: str, params: dict[str, Any]) -> None:
        """One request that leaves."""
        self.venue.send(self.now_ns, ENCODER.encode({"method": method, "params": params, "req_id": 1}))

    def pass_s(self, seconds: float) -> None:
        """Time passes at the venue, and what changed is kept."""
        self.now_ns += int(seconds * NS_PER_S)
        self.venue.step(self.now_ns)
        self.keep()

    def keep(self) -> None:
        """What changed is on disk."""
        if records := self.file.history.take():
            self.file.keep(records)

    def ask(self, method: str, **params: str) -> Any:
        """The result of one call. Raises AssertionError with the refusal."""
        reply = decode_json(self.rest.answer(method, params, self.now_ns))
        assert not reply["error"], reply["error"]
        return reply["result"]

    def read(self, asked: request.RestRequest) -> Any:
        """The same for a request of the daemon's."""
        return self.ask(asked.method, **dict(asked.params))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the account is kept."""
    return tmp_path / "paper-account.jsonl"


@pytest.fixture
def account(path: Path) -> Iterator[Account]:
    """An account with a purchase behind it and an order at rest."""
    account = Account(path)
    account.book()
    account.send(cl_ord_id="cp-bought")
    account.send(cl_ord_id="cp-rests", limit_price=Decimal("59990.0"), post_only=True)
    yield account
    account.file.close()


def test_every_private_call_of_the_daemon_has_an_answer(repository: Path) -> None:
    """Whatever asks the private side: rounds, look-ups, margin, pages of history, cancels and exits by REST."""
    known = SimulatedRest(SimulatedHistory(), SimulatedVenue(SETTINGS, {})).methods
    built = set(re.findall(r'_private\("(\w+)"', (repository / "cstd/venue/rest/request.py").read_text()))
    assert built - set(SAYS_NOTHING) <= known
    by_gateway = set(re.findall(r'_cancel_by_rest\("(\w+)"', (repository / "cstd/_fast/gateway.pyx").read_text()))
    assert by_gateway | {"AddOrder"} <= known and len(by_gateway) == 2
    assert {*PLAN, LEDGER, *READS} <= known


def test_what_nobody_answers_is_no_answer(account: Account) -> None:
    """A call without an answer raises: it must not look like an account without orders."""
    with pytest.raises(InvariantError, match="no answer to REST WithdrawStatus"):
        account.ask("WithdrawStatus")


def test_the_daemons_parsers_read_the_answers(account: Account) -> None:
    """Open and closed orders, trades, ledger and balances, to the last digit."""
    (rests,) = models.parse_open_orders(account.ask("OpenOrders", trades="true"))
    assert (rests.cl_ord_id, rests.status, rests.side, rests.limit_price) == ("cp-rests", "open", "buy", Decimal("59990.0"))
    closed, count = models.parse_closed_orders(account.ask("ClosedOrders", ofs="0"))
    assert count == 1 and (closed[0].cl_ord_id, closed[0].status) == ("cp-bought", "closed")
    (trade,), _ = models.parse_trades_history(account.ask("TradesHistory", ofs="0", consolidate_taker="false"))
    assert (trade.order_id, trade.qty, trade.price, trade.cost) == (closed[0].order_id, Decimal("0.01"), Decimal("60001.0"),
                                                                    Decimal("600.01"))
    assert trade.fee == Decimal("2.40004") and not trade.maker and closed[0].trade_ids == (trade.exec_id,)
    entries, _ = models.parse_ledgers(account.ask("Ledgers", ofs="0"))
    assert [(row.name, row.balance) for row in entries] == [("USD", Decimal("9397.58996")), ("BTC", Decimal("0.01"))]
    assert models.parse_ledgers(account.ask("Ledgers", asset="XBT"))[1] == 1
    held = {row.name: row for row in models.parse_balances(account.ask("BalanceEx"))}
    assert held["USD"].balance == Decimal("9397.58996") and held["USD"].hold_trade > 599
    assert held["BTC"].balance == Decimal("0.01")
    assert account.ask("OpenPositions") == {}
    assert account.ask("QueryOrders", txid=rests.order_id)[rests.order_id]["cl_ord_id"] == "cp-rests"


def test_a_statement_can_be_made_of_it(account: Account) -> None:
    """The history's readers get every row, whatever is open."""
    span = (START_NS, account.now_ns + NS_PER_S)
    assert len(trades_between(account.read, *span)) == 1 and len(ledger_between(account.read, *span)) == 2
    assert [row.status for row in orders_between(account.read, *span, opened_from_ns=START_NS)] == ["closed", "open"]


def test_a_statement_reads_it_where_no_daemon_runs(account: Account, path: Path) -> None:
    """In mode paper the venue's side is the file beside the journal: no key is wanted, and nobody is asked."""
    (path.parent / "journal").mkdir()
    with venue_reads(load([str(template("paper"))], {}), path.parent, path.parent / "no.sock") as read:
        assert models.parse_closed_orders(read(request.closed_orders()))[1] == 1
        with pytest.raises(VenueRejectError, match="ofs"):
            read(request.RestRequest("ClosedOrders", True, (("ofs", "-1"),)))


def test_pages_are_of_fifty_newest_first(account: Account) -> None:
    """As Kraken's: rows beyond the first page come by offset, the count is of all."""
    for number in range(PAGE):
        account.send(cl_ord_id=f"cp-{number}", order_qty=Decimal("0.0001"))
    first, rest = (account.ask("ClosedOrders", ofs=offset) for offset in ("0", str(PAGE)))
    assert (len(first["closed"]), len(rest["closed"]), first["count"]) == (PAGE, 1, PAGE + 1)
    assert next(iter(rest["closed"].values()))["cl_ord_id"] == "cp-bought"


class Looked(list[Any]):
    """A list that counts what is looked at one by one."""

    count = 0

    def __getitem__(self, place: Any) -> Any:
        """Count one; a part of it is no list that counts."""
        self.count += 1
        return super().__getitem__(place)


@pytest.fixture
def long_history(account: Account) -> SimulatedHistory:
    """A thousand orders that were filled, a second after each other and each open for up to a minute, some in one moment."""
    history = account.file.history
    (order,) = history.ended
    (fill,) = history.executions
    for number in range(1_000):
        name, opened_ns = f"OSIM00-00000-{number + 100:06}", START_NS + number * NS_PER_S
        closed_ns = opened_ns + number * 7919 % 60 * NS_PER_S
        history.apply((
            msgspec.structs.replace(order, order_id=name, opened_ns=opened_ns, closed_ns=0, status="open"),
            msgspec.structs.replace(fill, exec_id=f"T{number}", order_id=name, at_ns=closed_ns),
            msgspec.structs.replace(history.entries[0], ledger_id=f"L{number}", ref_id=f"T{number}", at_ns=closed_ns),
            msgspec.structs.replace(order, order_id=name, opened_ns=opened_ns, closed_ns=closed_ns)))
    return history


@pytest.mark.parametrize("closetime", ["open", "close", "both"])
def test_a_span_shows_what_a_look_at_everything_finds(account: Account, long_history: SimulatedHistory, closetime: str) -> None:
    """Orders by their opening, their end or either, fills and entries; the first excluded, the last included."""
    for first, last in ((-10, 2_000), (100, 160), (990, 1_040), (500, 500), (3_000, 4_000)):
        span = {"start": str(START_NS // NS_PER_S + first), "end": str(START_NS // NS_PER_S + last)}

        def within(*times_ns: int, first: int = first, last: int = last) -> bool:
            return any(first * NS_PER_S < time_ns - START_NS <= last * NS_PER_S for time_ns in times_ns)

        of = {"open": ("opened_ns",), "close": ("closed_ns",), "both": ("opened_ns", "closed_ns")}[closetime]
        expected = [row for row in long_history.orders.values()
                    if row.status != "open" and within(*(getattr(row, name) for name in of))]
        reply = account.ask("ClosedOrders", closetime=closetime, **span)
        assert reply["count"] == len(expected)
        newest = sorted((row.closed_ns for row in expected), reverse=True)[:PAGE]
        assert [long_history.orders[name].closed_ns for name in reply["closed"]] == newest
        assert account.ask("TradesHistory", **span)["count"] == sum(within(row.at_ns) for row in long_history.fills.values())
        assert account.ask("Ledgers", **span)["count"] == sum(within(row.at_ns) for row in long_history.entries)
        assert account.ask("Ledgers", asset="ETH", **span)["count"] == 0


def test_a_round_looks_at_what_is_new_and_not_at_the_whole_account(account: Account, long_history: SimulatedHistory) -> None:
    """The questions of a reconciliation come every minute, on the loop that trades: they cost what is in their span."""
    long_history.ended, long_history.executions = Looked(long_history.ended), Looked(long_history.executions)
    start = str(START_NS // NS_PER_S + 1_050)
    assert account.ask("ClosedOrders", start=start)["count"] < 5
    assert account.ask("TradesHistory", start=start)["count"] < 5
    assert 0 < long_history.ended.count < 30 and 0 < long_history.executions.count < 30


def test_an_id_that_older_books_gave_twice_is_one_order(account: Account) -> None:
    """Its last order counts, in every answer."""
    history = account.file.history
    (order,) = history.ended
    history.apply((msgspec.structs.replace(order, closed_ns=0, status="open"),))
    assert account.ask("ClosedOrders")["count"] == 0 and len(account.ask("OpenOrders")["open"]) == 2
    history.apply((msgspec.structs.replace(order, closed_ns=order.closed_ns + 1, status="canceled"),))
    reply = account.ask("ClosedOrders")
    assert reply["count"] == 1 and [row["status"] for row in reply["closed"].values()] == ["canceled"]


def test_orders_by_rest_are_orders(account: Account) -> None:
    """A cancel of one, an exit as the gateway makes it, a cancel of all, and the refusals."""
    assert account.ask("CancelOrder", cl_ord_id="cp-rests") == {"count": 1}
    account.ask("AddOrder", pair="BTC/USD", type="sell", ordertype="limit", volume="0.01000000", price="59000.0",
                timeinforce="IOC", stptype="cancel-oldest", oflags="fciq", cl_ord_id="cp-sold",
                deadline="2026-12-01T00:00:00.000Z")
    assert account.venue.balances["BTC"] == 0
    account.send(cl_ord_id="cp-again", limit_price=Decimal("59990.0"))
    assert account.ask("CancelAll") == {"count": 1} and account.ask("OpenOrders") == {"open": {}}
    for params in ({"cl_ord_id": "cp-never"}, {}, {"cl_ord_id": "cp-sold", "txid": "x"}):
        assert decode_json(account.rest.answer("CancelOrder", params, account.now_ns))["error"]


def test_the_account_goes_on_where_it_was(account: Account, path: Path) -> None:
    """Opened anew: balances, open orders, history and ids; a trade at the price does not reach what rests before it shows."""
    before = {method: account.ask(method) for method in ("OpenOrders", "ClosedOrders", "TradesHistory", "Ledgers", "BalanceEx")}
    account.leave("cancel_all_orders_after", {"timeout": 60})
    account.pass_s(1)
    again = Account(path, account.now_ns)
    assert {method: again.ask(method) for method in before} == before
    (order,) = again.venue.orders.values()
    assert order.queue is not None and order.queue.front_raw is None and again.venue.next_due_ns < INT64_MAX
    again.book()
    again.send(cl_ord_id="cp-next")
    assert {row["ordertxid"] for row in again.ask("TradesHistory")["trades"].values()} == {"OSIM00-00000-000001",
                                                                                          "OSIM00-00000-000003"}


def test_an_order_that_was_refused_has_no_number(account: Account, path: Path) -> None:
    """Refused for funds before a restart: the order after it and the one after the restart are two, and both rest."""
    account.send(cl_ord_id="cp-too-much", order_qty=Decimal(1))
    assert account.venue.refusals == {"EOrder:Insufficient funds": 1}
    account.send(cl_ord_id="cp-before", limit_price=Decimal("59980.0"))
    again = Account(path, account.now_ns)
    again.send(cl_ord_id="cp-after", limit_price=Decimal("59970.0"))
    assert [order.terms.cl_ord_id for order in again.venue.orders.values()] == ["cp-rests", "cp-before", "cp-after"]
    assert list(again.venue.orders) == [f"OSIM00-00000-{number:06}" for number in (2, 3, 4)]


def test_books_with_a_gap_give_no_id_twice(account: Account, path: Path) -> None:
    """A number without an order, as a refusal used to leave: the next id comes after the greatest, not after how many."""
    path.write_bytes(path.read_bytes().replace(b"OSIM00-00000-000002", b"OSIM00-00000-000007"))
    again = Account(path, account.now_ns)
    again.send(cl_ord_id="cp-after", limit_price=Decimal("59970.0"))
    assert list(again.venue.orders) == ["OSIM00-00000-000007", "OSIM00-00000-000008"]


def test_the_switch_fires_while_nobody_is_there(account: Account, path: Path) -> None:
    """Armed, then a crash: when the time is over the open order is canceled at its time, not at the next start's."""
    account.leave("cancel_all_orders_after", {"timeout": 60})
    account.pass_s(1)
    fires_ns = account.file.history.fires_ns
    again = Account(path, account.now_ns + 600 * NS_PER_S)
    again.venue.step(again.now_ns)
    (row,) = [row for row in again.file.history.orders.values() if row.status == "canceled"]
    assert (row.reason, row.closed_ns, row.terms.cl_ord_id) == ("Dead man's switch", fires_ns, "cp-rests")
    assert not again.venue.orders and again.file.history.fires_ns == INT64_MAX


def test_what_was_sent_arrives_whatever_becomes_of_the_sender(account: Account, path: Path) -> None:
    """A crash between an order's leaving and its arrival: it is at the venue, once."""
    account.leave("add_order", {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.01"),
                                "limit_price": Decimal("59980.0"), "cl_ord_id": "cp-on-its-way"})
    account.leave("subscribe", {"channel": "balances"})
    account.keep()
    assert account.file.history.specs == {"BTC/USD": SPEC}, "a first order of an instrument is understood after a restart, too"
    for _ in range(2):
        again = Account(path, account.now_ns + 5 * NS_PER_S)
        again.venue.step(again.now_ns)
        again.keep()
        assert [order.terms.cl_ord_id for order in again.venue.orders.values()] == ["cp-rests", "cp-on-its-way"]


def test_a_line_that_was_cut_off_was_never_told(account: Account, path: Path) -> None:
    """The torn end of a file goes; any other line that is none is refused."""
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole + last[: len(last) // 2])
    assert read_account(path)[1] == len(whole)
    again = Account(path, account.now_ns)
    assert path.read_bytes() == whole and len(again.venue.orders) == 1
    path.write_bytes(b"[]no\n" + whole)
    with pytest.raises(VerificationError, match="line 1"):
        read_account(path)
    path.write_bytes(whole.replace(b'"form":1', b'"form":2', 1))
    with pytest.raises(OperatorError, match="form"):
        read_account(path)


def test_a_lost_market_fills_nothing(account: Account) -> None:
    """While the public link is down an order that comes finds no book, and what rests is not filled."""
    account.venue.lose_books()
    account.send(cl_ord_id="cp-blind", time_in_force="ioc")
    assert account.venue.fill_count == 1
    assert next(iter(account.ask("ClosedOrders")["closed"].values()))["reason"] == "Immediate or cancel"
