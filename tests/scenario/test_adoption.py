"""Adoption: coins of the user's become managed at a journal's first start, at the verified bid, and no profit begins with it."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from engine_world import BTC, ETH, Link, S, World, eventually, practice_config, replayed
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_checkpoint import alike, state
from test_exit_policy import CALM, quote
from test_reconcile import round_of
from test_regressions import moved

from cstd._fast.codes import EventKind, ExitReason, IntentKind
from cstd._fast.recorder import Recorder
from cstd.config import Config, load, template
from cstd.daemon.view import LiveView
from cstd.engine import Engine, handover
from cstd.engine.boot import boot_payload
from cstd.engine.checkpoint import dump, restore
from cstd.engine.handover import document
from cstd.errors import ConfigError
from cstd.ledger.nav import Nav, to_money_raw
from cstd.projector.rebuild import rebuild
from cstd.storage.journal import open_journal

BID = Decimal(100_000)
MONEY = 10**8
CAPITAL = 10_000 * MONEY


def config(adopt: str | list[str] = "all", names: tuple[str, ...] = (BTC,), **sections: Any) -> Config:
    """Practice, with coins to take up; no exit policy unless a test asks for one."""
    return practice_config(names, **{"portfolio": {"adopt": adopt}, "exits": {**CALM, "stop_bps": 0}, **sections})


def begun(adopt: str | list[str] = "all", own: str = "0.05", **more: Any) -> World:
    """A world whose account holds so much of the user's own BTC; not booted."""
    world = World(config(adopt), **more)
    world.balances["BTC"] = own
    return world


def told(world: World) -> list[dict[str, Any]]:
    """What the journal says of adoptions."""
    return [json.loads(payload) for kind, _, payload in world.recorder.captured if kind == EventKind.OUT_ADOPTION]


def managed(world: World, number: int = 0) -> Decimal:
    """What is managed of an instrument's base."""
    return world.engine.ledger.positions[number].qty


def conserved(world: World) -> None:
    """Coins are the user's or managed, to the last digit, and the venue holds the sum."""
    balances = world.engine.reconciler.balances
    for position in world.engine.ledger.positions.values():
        assert Decimal(world.balances[position.base]) == position.qty + balances.own[position.base], position.base


def profit(world: World) -> int:
    """What was earned since the beginning, in 10^-8 of the account currency."""
    nav = world.engine.nav
    return nav.nav - nav.capital - nav.contributed


def sold(world: World, number: int = 1) -> int:
    """`cstd flatten` sells what is managed; returns how much."""
    world.command("flatten")
    order = world.exit_order()
    world.reply(order, f"OSOLD-{number}")
    world.fill(order, order["qty_raw"], f"TSOLD{number}", f"OSOLD-{number}", fee="0")
    world.report("filled", order, f"OSOLD-{number}")
    return int(order["qty_raw"])


# What is taken up.


def test_nothing_is_adopted_unless_it_is_asked_for() -> None:
    """The default: the coins stay the user's, and no record tells of them."""
    world = World().ready()
    assert world.cfg.portfolio.adopt == "none"
    assert managed(world) == 0 and not told(world) and world.engine.reconciler.own["BTC"] == Decimal("0.05")


def test_coins_are_taken_up_at_the_verified_bid_and_profit_begins_at_zero() -> None:
    """Managed at what they are worth, journaled with the book; equity has them, and no loss, gain, turnover or cash does."""
    world = begun(own="0.0500000099").ready()
    (row,) = told(world)
    book = world.slot.book
    assert (row["instrument"], row["qty_raw"], row["price"], row["cost"]) == (BTC, 5_000_000, "100000.0", "5000.000000000")
    assert (row["own_before"], row["own_left"], row["tied"]) == ("0.0500000099", "0.0000000099", "0")
    assert 0 < row["book_updates"] <= book.updates and row["book_checksum"] == book.checksum and row["event_seq"] > 0
    position, nav = world.engine.ledger.positions[0], world.engine.nav
    assert (position.qty_raw, position.entry_price(), position.bought_at) == (5_000_000, BID, BID)
    assert position.since_wall_ns > 0
    assert (nav.nav, nav.contributed, nav.peak, nav.day_start) == (CAPITAL + 5_000 * MONEY, 5_000 * MONEY, nav.nav, nav.nav)
    assert profit(world) == nav.day_loss == nav.drawdown_bps == 0
    assert world.engine.ledger.cash_flow == 0 and world.core.turnover_day_acct_raw == 0
    assert world.core.equity_acct_raw == world.core.day_start_equity_acct_raw == CAPITAL   # limits do not grow
    conserved(world)
    view = LiveView(world.engine, pid=1, mono_ns=lambda: world.mono_ns, process=dict)
    assert view.equity()["adopted"] == "5000.00000000" and view.equity()["unrealized_pnl"] == "0.00000000"
    assert world.engine.risk.adoption.shown() == {BTC: "0.05000000 at 100000.0"}


def test_limits_do_not_grow_where_there_is_less_cash_than_capital() -> None:
    """Coins are no cash: what the account could pay for before, it can after."""
    world = begun("none")
    world.balances["USD"] = "500"
    before = world.ready().core.equity_acct_raw
    world = begun()
    world.balances["USD"] = "500"
    world.ready()
    assert managed(world) == Decimal("0.05") and world.core.equity_acct_raw == before == 500 * MONEY


def test_a_loss_of_adopted_coins_is_a_loss() -> None:
    """Ten per cent off the price: five hundred of loss, of what is managed; equity for limits shrinks by the same."""
    world = begun().ready()
    quote(world, 900_000)
    world.run(1)
    nav = world.engine.nav
    assert profit(world) == -nav.day_loss == -500 * MONEY
    assert nav.day_loss_bps == nav.drawdown_bps == 334      # of fifteen thousand
    assert world.core.equity_acct_raw == CAPITAL - 500 * MONEY


@pytest.mark.parametrize("price_raw", [900_000, 1_000_000, 1_100_001])
def test_flatten_sells_what_was_adopted_and_profit_is_the_prices_move(price_raw: int) -> None:
    """To the last unit of it, and none of the rest; what it brought over the bid of then is profit, or loss."""
    world = begun(own="0.0500000099").ready()
    quote(world, price_raw)
    assert sold(world) == 5_000_000
    world.run(70)
    assert managed(world) == 0 and Decimal(world.balances["BTC"]) == Decimal("0.0000000099")
    brought = world.engine.ledger.cash_flow
    assert profit(world) == to_money_raw(brought) - 5_000 * MONEY
    assert world.engine.ledger.positions[0].realized == brought - 5_000
    assert world.engine.reconciler.agreed and world.engine.state == "paused", world.engine.state_reason
    conserved(world)


def test_the_stop_watches_what_was_adopted() -> None:
    """Its entry is the price of the adoption, and the exit says why."""
    world = World(config(exits={**CALM, "stop_bps": 200}))
    world.ready()
    assert world.slot.exit_watch()[0] == 2 * 980_000
    quote(world, 979_000)
    quote(world, 978_999)
    (order,) = world.live(IntentKind.EXIT)
    assert (order["qty_raw"], order["exit_reason"]) == (5_000_000, ExitReason.EXIT_STOP)


def test_less_than_the_venues_minimum_is_dust() -> None:
    """Taken up, valued, not counted as a position, and nothing is sent for it."""
    world = begun(own="0.00000900").ready()
    assert world.slot.is_dust() and managed(world) == Decimal("0.00000900") and world.engine.nav.contributed == 90_000_000
    world.command("flatten")
    world.run(5)
    assert not world.live()
    conserved(world)


@pytest.mark.parametrize(("adopt", "held"), [
    ("all", ("0.05", "2")), (["BTC"], ("0.05", "0")), (["ETH/USD"], ("0", "2")), (["ETH", "BTC/USD"], ("0.05", "2")),
    ([], ("0", "0"))])
def test_a_list_names_assets_or_instruments(adopt: str | list[str], held: tuple[str, str]) -> None:
    """Each by either of its names; what is not named stays the user's."""
    world = World(config(adopt, (BTC, ETH)))
    world.balances["ETH"] = "2"
    world.ready()
    assert (managed(world), managed(world, 1)) == tuple(map(Decimal, held))
    conserved(world)


# What is not.


def theirs(pair: str = "XBTUSD", side: str = "sell", vol: str = "0.03", vol_exec: str = "0.01") -> dict[str, Any]:
    """An open order of another program."""
    return {"status": "open", "vol": vol, "vol_exec": vol_exec, "opentm": 1.0,
            "descr": {"pair": pair, "type": side, "price": "120000", "ordertype": "limit"}}


@pytest.mark.parametrize(("order", "hold", "taken"), [
    (theirs(), "0", "0.03"), (theirs(), "0.02", "0.03"), (theirs("XBTEUR"), "0.02", "0.03"), (theirs(side="buy"), "0", "0.05"),
    (theirs(vol="9"), "0.05", "0")])
def test_coins_in_open_orders_of_others_are_not_adopted(order: dict[str, Any], hold: str, taken: str) -> None:
    """By the venue's word of what is tied up, and by what the open orders say themselves; they stay the user's for good."""
    world = begun()
    world.rest["OpenOrders"] = {"open": {"OTHEIRS-1": order}}
    world.rest["BalanceEx"] = lambda _: {asset: {"balance": total, "hold_trade": hold if asset == "BTC" else "0"}
                                         for asset, total in world.balances.items()}
    world.ready()
    assert managed(world) == Decimal(taken) and len(told(world)) == 1
    conserved(world)
    world.rest["OpenOrders"], hold = {"open": {}}, "0"
    round_of(world)
    assert managed(world) == Decimal(taken) and len(told(world)) == 1


def test_staked_and_earning_coins_are_another_asset() -> None:
    """What the venue lists under a suffixed name cannot be sold, and is not looked at."""
    world = begun()
    world.balances |= {"BTC.F": "1", "XBT.M": "2", "ETH.S": "3"}
    world.ready()
    assert managed(world) == Decimal("0.05")


def test_a_deposit_after_it_stays_the_users() -> None:
    """Once is once."""
    world = begun().ready()
    moved(world, "BTC", "deposit", "0.01", ledger_id="L1")
    round_of(world)
    assert managed(world) == Decimal("0.05") and world.engine.reconciler.own["BTC"] == Decimal("0.01")
    conserved(world)
    assert profit(world) == 0


def test_an_open_order_that_cannot_be_read_keeps_it_waiting() -> None:
    """What is tied up is not known then: said, counted, and nothing is taken up."""
    world = begun()
    world.rest["OpenOrders"] = {"open": {"OTHEIRS-1": theirs() | {"vol": None}}}
    world.ready()
    assert managed(world) == 0 and "cannot be read" in world.engine.risk.adoption.waiting[0]
    world.rest["OpenOrders"] = {"open": {}}
    round_of(world)
    assert managed(world) == Decimal("0.05")


def test_a_deposit_while_it_waits_stays_the_users() -> None:
    """What is taken up is what was there in the first round that agreed, less what has left meanwhile."""
    world = begun()
    world.rest["OpenOrders"] = {"open": {"OTHEIRS-1": theirs() | {"vol": None}}}
    world.ready()
    assert managed(world) == 0
    moved(world, "BTC", "deposit", "0.01", ledger_id="L1")
    world.rest["OpenOrders"] = {"open": {}}
    round_of(world)
    assert managed(world) == Decimal("0.05") and world.engine.reconciler.own["BTC"] == Decimal("0.01")
    conserved(world)


# Waiting.


def test_an_unverified_book_makes_it_wait_counted_and_said() -> None:
    """No price is made up. Once the book is verified the balances are looked at again, soon, and it costs the bid of then."""
    world = World(config("all", (BTC, ETH)))
    world.balances["ETH"] = "2"
    snapshot = world.books[ETH].snapshot
    world.books[ETH].snapshot = lambda wall_ns: world.books[ETH].frame(    # type: ignore[method-assign] -- a wrong checksum
        "snapshot", sorted(world.books[ETH].bids.items(), reverse=True), sorted(world.books[ETH].asks.items()), wall_ns, 1)
    said: list[Any] = []
    for attempt in ("boot", "run"):
        world.boot() if attempt == "boot" else world.run(3)
        said += [note for note in world.engine.notes if note[1] == "adoption waits"]
    adoption = world.engine.risk.adoption
    assert not world.verified(1) and adoption.waiting == {1: "its book is not verified"} and adoption.wait_count >= 1
    assert said and said[0][2] == {"instrument": ETH, "why": "its book is not verified"}
    assert managed(world) == Decimal("0.05") and managed(world, 1) == 0
    assert len(adoption.waiting) == 1
    world.books[ETH].snapshot = snapshot    # type: ignore[method-assign]
    eventually(world, lambda: world.verified(1))
    eventually(world, lambda: managed(world, 1) == 2)
    assert adoption.waiting == {} and told(world)[-1]["price"] == "3000.00"
    assert profit(world) == 0
    conserved(world)


def test_balances_that_do_not_agree_make_it_wait() -> None:
    """What is the user's is not known then."""
    world = begun()
    world.books[BTC].snapshot = lambda wall_ns: world.books[BTC].frame("snapshot", [], [], wall_ns)    # type: ignore[method-assign]
    world.boot()
    world.move_balance("BTC", Decimal("0.01"))
    del world.books[BTC].snapshot
    eventually(world, lambda: world.verified())
    for _ in range(3):
        round_of(world)
    assert managed(world) == 0 and not told(world)
    world.move_balance("BTC", Decimal("-0.01"))
    for _ in range(2):
        round_of(world)
    assert managed(world) == Decimal("0.05")


# Kept.


def test_a_restart_keeps_it_and_takes_up_nothing_more() -> None:
    """Also with another word in the configuration, which is told that it comes too late."""
    world = begun("all").ready()
    for epoch, adopt in ((2, "all"), (3, "none")):
        world.cfg = config(adopt)
        world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, epoch, None))
        notes = [note for note in world.engine.notes if "first start" in note[1]]
        world.link(Link.LINK_PUBLIC, up=True)
        world.link(Link.LINK_PRIVATE, up=True)
        eventually(world, lambda: world.engine.state == "ready")
        assert managed(world) == Decimal("0.05") and len(told(world)) == 1 and profit(world) == 0
        assert bool(notes) == (adopt == "none")


def test_a_journal_that_has_begun_adopts_nothing() -> None:
    """A key that is set later counts for the next journal alone."""
    world = begun("none").ready()
    world.cfg = config("all")
    world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, 2, None))
    world.link(Link.LINK_PUBLIC, up=True)
    world.link(Link.LINK_PRIVATE, up=True)
    eventually(world, lambda: world.engine.state == "ready")
    assert managed(world) == 0 and not told(world)


def test_what_waits_goes_on_waiting_after_a_restart() -> None:
    """The first start asked for it; that it came to nothing before the process ended changes nothing."""
    world = begun()
    world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, 1, None))
    world.boot(2)
    assert managed(world) == Decimal("0.05") and len(told(world)) == 1


def test_replay_and_checkpoint_have_it(tmp_path: Path) -> None:
    """Every record is made again, the adoption's too; a checkpoint goes on from it, and what was adopted is sold once."""
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = begun(journal=journal, strategy="rehearsal").ready()
        assert managed(world) == Decimal("0.05")
        engine = Engine(Recorder(), None)
        engine.recorder.captured = restore(engine, dump(world.engine))
        assert alike(state(engine), state(world.engine)) == [] and engine.nav.contributed == 5_000 * MONEY
        sold(world)
        world.run(2)
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert again.differences == [] and again.engine.nav.nav == world.engine.nav.nav
    assert again.engine.risk.adoption.taken == world.engine.risk.adoption.taken


def test_the_ledger_has_it_in_a_table_of_its_own(tmp_path: Path) -> None:
    """Made from the journal alone: what was taken up, at what, and that it is no profit in any mark."""
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = begun(own="0.0500000099", journal=journal, strategy="rehearsal").ready()
        world.run(61)
        journal.sync()
    found = rebuild(tmp_path / "journal", tmp_path / "ledger.db", None)
    connection = sqlite3.connect(tmp_path / "ledger.db")
    rows = connection.execute("SELECT instrument, asset, qty_raw, qty_precision, price, cost, own_before, own_left, tied"
                              " FROM adoptions").fetchall()
    assert rows == [(BTC, "BTC", 5_000_000, 8, "100000.0", "5000.000000000", "0.0500000099", "0.0000000099", "0")]
    marks = connection.execute("SELECT nav_raw - capital_raw - contributed_raw FROM marks ORDER BY seq").fetchall()
    assert found["adoptions"] == 1 and marks[0] == (0,)
    last = connection.execute("SELECT nav_raw, contributed_raw FROM marks ORDER BY seq DESC LIMIT 1").fetchone()
    assert last[1] == 5_000 * MONEY
    connection.close()


def handed(world: World, content: bytes, cfg: Config) -> World:
    """The build after it, with the same account, begun with what was written down."""
    after = World(cfg)
    after.now_ns, after.books, after.balances = world.now_ns, world.books, world.balances
    after.event(EventKind.EVENT_BOOT, 0, boot_payload(cfg, 2, None, None, {
        "sha256": "33" * 32, "signed_by": "44" * 32, "content": content}))
    after.sound()
    after.link(Link.LINK_PUBLIC, up=True)
    after.link(Link.LINK_PRIVATE, up=True)
    eventually(after, lambda: after.engine.state == "ready")
    return after


def test_a_handover_carries_it_and_what_still_waits() -> None:
    """The next journal manages the same coins, measures losses from the same place, and takes up nothing twice."""
    world = begun().ready()
    quote(world, 990_000)
    world.run(1)
    world.event(EventKind.EVENT_STOP, 0, b"{}")
    eventually(world, world.engine.at_rest)
    content = document(world.engine, world.now_ns, journal_id="11" * 16, seq=7, head_hash="22" * 32)
    after = handed(world, content, config("all"))
    assert managed(after) == Decimal("0.05") and not told(after)
    assert profit(after) == profit(world) == -50 * MONEY and after.engine.nav.contributed == 5_000 * MONEY
    assert after.engine.risk.adoption.taken == world.engine.risk.adoption.taken
    conserved(after)


def test_a_handover_of_a_build_that_knew_no_adoption_is_read() -> None:
    """Nothing was adopted then, and a new journal that goes on from there adopts nothing."""
    world = begun("none").ready()
    world.event(EventKind.EVENT_STOP, 0, b"{}")
    eventually(world, world.engine.at_rest)
    content = json.loads(document(world.engine, world.now_ns, journal_id="11" * 16, seq=7, head_hash="22" * 32))
    del content["adoption"], content["nav"]["contributed"]
    after = handed(world, json.dumps(content).encode(), config("all"))
    assert managed(after) == 0 and after.engine.nav.contributed == 0 and handover.SCHEMA == 1


# Conservation.

WORDS = ("deposit", "withdraw", "rise", "fall", "sell", "resume", "wait", "restart", "unplug")


def act(world: World, number: int, word: str) -> None:
    """One thing that happens; what cannot happen now does not."""
    own = world.engine.reconciler.own.get("BTC", Decimal(0))
    if word == "deposit":
        moved(world, "BTC", "deposit", "0.0123", ledger_id=f"L{number}")
    elif word == "withdraw" and own > Decimal("0.001"):
        moved(world, "BTC", "withdrawal", "-0.0010", ledger_id=f"L{number}")
    elif word in ("rise", "fall"):
        bid_raw = max(world.books[BTC].bids)
        quote(world, bid_raw + (1 if word == "rise" else -1) * bid_raw // 400)
        world.run(1)
    elif word == "sell" and world.engine.state in ("ready", "paused") and not world.slot.is_dust() and not world.live():
        sold(world, number)
    elif word == "resume":
        world.command("resume")
    elif word == "wait":
        world.run(61)
    elif word == "restart":
        world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, number + 10, None))
        world.link(Link.LINK_PUBLIC, up=True)
        world.link(Link.LINK_PRIVATE, up=True)
        world.run(8)
    elif word == "unplug":
        world.link(Link.LINK_PRIVATE, up=False)
        world.link(Link.LINK_PRIVATE, up=True)
        world.run(3)


@settings(max_examples=25, deadline=None, phases=(Phase.generate,))
@given(st.integers(0, 30_000_000), st.sampled_from(["0", "0.0101", "5"]), st.lists(st.sampled_from(WORDS), max_size=8))
def test_coins_are_conserved_and_only_prices_and_trades_are_profit(own_raw: int, hold: str, history: list[str]) -> None:
    """Whatever the user owns, others tie up, is moved, sold or restarted: the venue's coins are ours plus his, to the last digit.

    And profit is what sales brought above the price of the adoption, and what is still held is worth above it: no move is.
    """
    world = begun(own=f"{Decimal(own_raw).scaleb(-8):.8f}")
    world.rest["BalanceEx"] = lambda _: {asset: {"balance": total, "hold_trade": hold if asset == "BTC" else "0"}
                                         for asset, total in world.balances.items()}
    world.ready()
    assert profit(world) == 0 and len(told(world)) == 1
    adopted = managed(world)
    assert adopted == max(Decimal(own_raw).scaleb(-8) - Decimal(hold), Decimal(0))
    for number, word in enumerate(history, 1):
        act(world, number, word)
        conserved(world)
        ledger, slot = world.engine.ledger, world.slot
        value = Decimal(slot.position_qty_raw * slot.last_verified_bid_raw).scaleb(-9)
        exact = ledger.cash_flow + value - adopted * BID
        assert abs(Decimal(profit(world)).scaleb(-8) - exact) <= Decimal("0.00000001")
    assert len(told(world)) == 1 and world.engine.reconciler.balances.mismatch_rounds == 0
    world.sound()


def test_a_flow_moves_what_losses_are_measured_from() -> None:
    """Peak, day's start and the marks of 24 hours: a loss before it is the same loss after it."""
    nav = Nav(Decimal(1_000))
    for minute, value in enumerate((0, 50, -30)):
        nav.mark(Decimal(0), Decimal(value), None, minute * 60 * S)
    loss = nav.day_loss
    nav.take_flow(500 * MONEY)
    nav.mark(Decimal(0), Decimal(-30 + 500), None, 4 * 60 * S)
    assert nav.day_loss == loss == 30 * MONEY and nav.peak - nav.nav == 80 * MONEY
    assert nav.equity == 970 * MONEY


# The configuration.


@pytest.mark.parametrize(("adopt", "key", "reason", "suggestion"), [
    ('["SOL"]', "portfolio.adopt[0]", "has no instrument in instruments.names", "add its instrument"),
    ('["BTC", "XBT"]', "portfolio.adopt[1]", "has no instrument", "did you mean BTC?"),
    ('["BTC/EUR"]', "portfolio.adopt[0]", "has no instrument", "did you mean BTC?"),
    ('["USD"]', "portfolio.adopt[0]", "is the account currency", "remove it"),
    ('["BTC", "BTC/USD"]', "portfolio.adopt[1]", "is listed twice, as BTC before", "remove one"),
    ('["btc"]', "portfolio.adopt[0]", "has the wrong form", "did you mean BTC?"),
    ('"every"', "portfolio.adopt", "is not one of the choices", ""), ("true", "portfolio.adopt", "is not one of the choices", ""),
    ("[7]", "portfolio.adopt[0]", "must be", "")])
def test_bad_input_is_refused_with_key_and_reason(adopt: str, key: str, reason: str, suggestion: str) -> None:
    """Before a daemon starts: what is named must be there, and must have an instrument that can value and sell it."""
    with pytest.raises(ConfigError) as caught:
        load([str(template("practice"))], {"CSTD__PORTFOLIO__ADOPT": adopt})
    (problem,) = caught.value.problems
    text = str(problem)
    assert key in text and reason in text and suggestion in text
