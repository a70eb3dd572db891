"""Cash: each round of look-ups compares it with the venue's balance, to the last digit; what nothing explains halts openings."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from engine_world import S, World, eventually, next_order, time_text
from test_reconcile import OID, found, opened, rest_order, round_of
from test_regressions import moved

from cstd._fast.codes import EventKind, Link, OrderAction
from cstd.orders.balances import Balances
from cstd.orders.reconcile import Finding
from cstd.venue.messages import BalancesMessage, decode_private


@pytest.fixture
def world() -> World:
    """A ready engine with the rehearsal strategy."""
    return World(strategy="rehearsal").ready()


def rounds(world: World, count: int = 4) -> None:
    """So many whole rounds of look-ups."""
    for _ in range(count):
        round_of(world)


NAMES = {"ZUSD": "USD", "XXBT": "BTC"}


def ledger_row(world: World, asset: str, kind: str, amount: str, ref_id: str = "R1", fee: str = "0",
               balance: str = "") -> dict[str, Any]:
    """A row of the venue's ledger as REST has it, with the balance after it: what the venue holds now, where none is given."""
    return {"refid": ref_id, "time": world.now_ns / S, "type": kind, "subtype": "", "aclass": "currency", "asset": asset,
            "amount": amount, "fee": fee, "balance": balance or world.balances[NAMES[asset]]}


def filled(world: World, exec_id: str = "T1", fee: str | None = None) -> dict[str, Any]:
    """The first opening, filled at once."""
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], exec_id, fee=fee)
    world.report("filled", order)
    world.engine.risk.paused = True
    return order


def entry_told(world: World, exec_id: str, amount: Decimal, fee: Decimal) -> None:
    """The balances channel tells what the venue's ledger booked in cash of an execution."""
    world.say_balances({"asset": "USD", "asset_class": "currency", "type": "trade", "category": "trade", "amount": f"{amount:f}",
                        "fee": f"{fee:f}", "balance": world.balances["USD"], "ledger_id": f"L{exec_id}", "ref_id": exec_id,
                        "timestamp": time_text(world.now_ns), "wallet_type": "spot", "wallet_id": "main"})
    world.pump()


@pytest.mark.parametrize("amount", ["-250", "250", "-0.00001", "0.00000001"])
def test_cash_that_moves_without_an_entry_halts_openings(world: World, amount: str) -> None:
    """The smallest amount, either way: said with its asset, counted once, halted; and ready again once it is back."""
    world.move_balance("USD", Decimal(amount))
    rounds(world)
    assert world.engine.state == "halted"
    assert f"USD {Decimal(amount):+f}" in (world.engine.state_reason or "")
    assert found(world, Finding.BALANCE) == 1
    assert not world.engine.reconciler.agreed
    assert any("USD" in text for text in world.engine.reconciler.differences)
    sent = world.counters()["orders"]
    world.run(40)
    assert world.counters()["orders"] == sent, "nothing opens"
    world.move_balance("USD", -Decimal(amount))
    rounds(world, 1)
    eventually(world, lambda: world.engine.state == "ready")
    world.sound()


def held_with_cash_off(world: World) -> None:
    """The first opening has filled, and then cash went that nothing explains."""
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.report("filled", order)
    world.move_balance("USD", Decimal(-3))
    round_of(world)
    assert found(world, Finding.BALANCE) == 1 and not world.engine.reconciler.trusted


def test_a_position_is_sold_though_cash_differs(world: World) -> None:
    """An exit is not trapped by cash that nothing explains."""
    held_with_cash_off(world)
    assert b'"side":"sell"' in next_order(world, 60)


def test_a_position_is_sold_by_rest_though_cash_differs(world: World) -> None:
    """Cash that nothing explains, then the private socket goes and REST answers no look-up: the exit leaves by REST."""
    held_with_cash_off(world)
    world.link(Link.LINK_PRIVATE, up=False, reason="cut")
    world.answering = False
    for _ in range(240):
        world.step()
        world.tick()
        if world.order_frames(OrderAction.ACTION_EXIT_REST):
            return
    raise AssertionError("no exit by REST")


@pytest.mark.parametrize("word", ["behind", "stalled"])
def test_a_position_is_sold_though_the_private_link_lags(world: World, word: str) -> None:
    """A link that brings or takes less than it should holds openings, and no exit."""
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.report("filled", order)
    world.event(EventKind.EVENT_LINK, Link.LINK_PRIVATE, json.dumps({word: True}).encode())
    assert b'"side":"sell"' in next_order(world, 60)
    assert world.engine.state == "reconciling"


def test_fills_fees_deposits_and_withdrawals_are_explained_exactly(world: World) -> None:
    """A fill with its fee and the user's moves beside it: no difference in any round, and what is his follows his moves."""
    filled(world)
    moved(world, "USD", "deposit", "5000")
    moved(world, "USD", "withdrawal", "-3000.5", fee="5", ledger_id="L2")
    moved(world, "USD", "deposit", "0.00000001", ledger_id="L3")
    rounds(world)
    assert world.engine.reconciler.agreed and world.engine.reconciler.differences == []
    assert world.engine.reconciler.balances.cash.own == Decimal("11994.50000001")
    world.sound()


def test_the_user_may_take_out_more_than_he_put_in(world: World) -> None:
    """Profits are his: a withdrawal beyond what he had brought is a flow like another."""
    moved(world, "USD", "withdrawal", "-10000")
    moved(world, "USD", "withdrawal", "-1", ledger_id="L2")
    rounds(world)
    assert world.engine.reconciler.agreed
    assert world.engine.reconciler.balances.cash.own == Decimal(-1)


@pytest.mark.parametrize("told_later", [False, True])
@pytest.mark.parametrize(("asset", "name"), [("ZUSD", "USD"), ("XXBT", "BTC")])
def test_a_deposit_that_the_channel_missed_is_found_in_the_ledger(world: World, asset: str, name: str, told_later: bool) -> None:
    """Money and coins that came while nobody was told: the venue's ledger explains them, nothing halts, and they count once."""
    world.step()
    world.engine.risk.paused = True
    world.move_balance(name, Decimal("0.5"))
    world.rest["Ledgers"] = {"ledger": {"L1": ledger_row(world, asset, "deposit", "0.5")}, "count": 1}
    rounds(world, 2)
    assert ("Ledgers" in {method for method, _ in world.asked}) and world.engine.reconciler.agreed
    if told_later:
        world.move_balance(name, Decimal("-0.5"))
        moved(world, name, "deposit", "0.5")
    rounds(world, 3)
    assert world.engine.reconciler.agreed and world.engine.state == "paused"
    assert found(world, Finding.BALANCE) == 1, "it was a difference until the ledger was read"
    world.sound()


@pytest.mark.parametrize("skew_s", [-3600, -1, 0, 1, 3600])
@pytest.mark.parametrize(("asset", "name"), [("ZUSD", "USD"), ("XXBT", "BTC")])
def test_no_clock_decides_which_moves_came_since(world: World, asset: str, name: str, skew_s: int) -> None:
    """The venue dates a deposit that nobody was told of an hour before or after our clock, beside one that was there before."""
    before = ledger_row(world, asset, "deposit", "0.01", "R0")
    world.engine.risk.paused = True
    world.step()
    world.move_balance(name, Decimal("0.5"))
    rows = {"L1": ledger_row(world, asset, "deposit", "0.5"), "L0": before}
    for row in rows.values():
        row["time"] += skew_s
    world.rest["Ledgers"] = {"ledger": rows, "count": 2}
    own = world.engine.reconciler.balances
    rounds(world, 3)
    assert world.engine.reconciler.agreed and world.engine.state == "paused"
    assert (own.cash.own if name == "USD" else own.own["BTC"]) == Decimal(world.balances[name])


@pytest.mark.parametrize(("asset", "name"), [("ZUSD", "USD"), ("XXBT", "BTC")])
def test_a_deposit_of_before_that_the_channel_tells_late_counts_once(world: World, asset: str, name: str) -> None:
    """It is in the balance that agreed; the channel was slow. The ledger shows that it came before that balance."""
    world.engine.risk.paused = True
    world.rest["Ledgers"] = {"ledger": {"L1": ledger_row(world, asset, "deposit", "0.02")}, "count": 1}
    moved(world, name, "deposit", "0.02")
    world.move_balance(name, Decimal("-0.02"))
    rounds(world, 3)
    assert world.engine.reconciler.agreed and world.engine.state == "paused"
    assert found(world, Finding.BALANCE) == 1
    moved(world, name, "deposit", "0.02")
    world.move_balance(name, Decimal("-0.02"))
    rounds(world, 1)
    assert world.engine.reconciler.agreed, "told once more it changes nothing"


def test_a_trade_of_another_hand_of_before_that_is_told_late_counts_once(world: World) -> None:
    """Its cash is in the balance that agreed, and the history still lists it."""
    world.engine.risk.paused = True
    world.rest["TradesHistory"] = {"count": 1, "trades": {"TX": {
        "ordertxid": "OXXXXX-XXXXX-XXXXXX", "pair": "XRPUSD", "time": world.now_ns / S, "type": "sell", "price": "1",
        "vol": "100", "cost": "100", "fee": "0.5", "maker": True}}}
    world.rest["Ledgers"] = {"ledger": {"LTX": ledger_row(world, "ZUSD", "trade", "100", "TX", "0.5")}, "count": 1}
    own = world.engine.reconciler.balances.cash.own
    for _ in range(2):
        entry_told(world, "TX", Decimal(100), Decimal("0.5"))
        rounds(world, 3)
        assert world.engine.reconciler.agreed and world.engine.reconciler.balances.cash.own == own
    assert found(world, Finding.BALANCE) == 1


def test_a_move_and_a_fill_that_make_up_for_each_other_are_told_apart(world: World) -> None:
    """A fill, and a withdrawal of just as much that nobody was told of: the balance is again what it was when it agreed. The
    entry of a fill that was booked since tells that the withdrawal came since too."""
    order = world.first_order()
    qty = Decimal(order["qty_raw"]).scaleb(-8)
    rows = {"L0": ledger_row(world, "XXBT", "deposit", "0.05")}
    world.move_balance("BTC", -qty)
    rows = {"L1": ledger_row(world, "XXBT", "withdrawal", f"{-qty}"), **rows}
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.report("filled", order)
    world.engine.risk.paused = True
    rows = {"LT1": ledger_row(world, "XXBT", "trade", f"{qty}", "T1"), **rows}
    assert Decimal(rows["LT1"]["balance"]) == Decimal(rows["L0"]["balance"])
    world.rest["Ledgers"] = {"ledger": rows, "count": len(rows)}
    rounds(world, 3)
    assert world.engine.reconciler.agreed and world.engine.reconciler.own["BTC"] == Decimal("0.05") - qty
    world.sound()


def test_the_ledger_is_read_back_to_the_balance_that_agreed(world: World) -> None:
    """A hundred and ten entries came while nobody was told: page after page, newest first, and none beyond the one asked for."""
    world.engine.risk.paused = True
    world.step()
    rows = []
    for number in range(300):
        if number >= 190:
            world.move_balance("USD", Decimal("0.5"))
        balance = world.balances["USD"] if number >= 189 else str(5_000 + number)
        rows.append((f"L{number:03d}", ledger_row(world, "ZUSD", "deposit", "0.5", balance=balance)))
    rows.reverse()
    world.rest["Ledgers"] = lambda params: {
        "ledger": dict(rows[int(params["ofs"]):int(params["ofs"]) + 50]), "count": len(rows)}
    world.asked.clear()
    rounds(world, 2)
    assert world.engine.reconciler.agreed and world.engine.reconciler.balances.cash.own == Decimal(10_055)
    assert [params["ofs"] for method, params in world.asked if method == "Ledgers"] == ["0", "50", "100"]


def test_a_long_ledger_is_read_once_while_a_difference_stands(world: World) -> None:
    """Two hundred entries since the balance that agreed, and cash that none explains: each further round asks for one page."""
    world.engine.risk.paused = True
    world.step()
    rows = [("L0", ledger_row(world, "ZUSD", "deposit", "1"))]
    for number in range(1, 201):
        world.move_balance("USD", Decimal("0.5"))
        rows.insert(0, (f"L{number}", ledger_row(world, "ZUSD", "deposit", "0.5")))
    world.move_balance("USD", Decimal("-7"))
    world.rest["Ledgers"] = lambda params: {
        "ledger": dict(rows[int(params["ofs"]):int(params["ofs"]) + 50]), "count": len(rows)}
    world.asked.clear()
    rounds(world, 3)
    assert "USD -7" in world.engine.reconciler.balances.mismatch
    first = [params["ofs"] for method, params in world.asked if method == "Ledgers"]
    assert first == ["0", "50", "100", "150", "0"]
    world.move_balance("USD", Decimal("0.25"))
    rows.insert(0, ("L201", ledger_row(world, "ZUSD", "deposit", "0.25")))
    rounds(world, 2)
    assert world.engine.state == "halted" and world.engine.state_reason.startswith("balances: USD -7.0")
    assert world.engine.reconciler.balances.cash.own == Decimal("10100.25")


def test_a_ledger_without_the_balance_that_agreed_explains_nothing(world: World) -> None:
    """Its entries do not follow on what was agreed: said so, and what differs halts."""
    world.move_balance("USD", Decimal(5))
    world.rest["Ledgers"] = {"ledger": {"L1": ledger_row(world, "ZUSD", "deposit", "4.99")}, "count": 1}
    rounds(world)
    assert world.engine.state == "halted" and "USD +5" in (world.engine.state_reason or "")
    assert any("does not show the balance that agreed last" in text for _, text, _ in world.engine.notes)


def test_coins_taken_beyond_the_users_own_halt_until_they_are_back(world: World) -> None:
    """He withdraws coins that we manage: told, and still a difference; it ends when as much has come back."""
    filled(world)
    rounds(world, 1)
    own = world.engine.reconciler.own["BTC"]
    moved(world, "BTC", "withdrawal", f"{-own - Decimal('0.00001')}")
    rounds(world)
    assert world.engine.state == "halted" and "BTC -0.00001" in (world.engine.state_reason or "")
    assert any("more than the user's own" in text for text in world.engine.reconciler.differences)
    moved(world, "BTC", "deposit", "0.00001", ledger_id="L2")
    rounds(world, 1)
    assert world.engine.reconciler.agreed and world.engine.reconciler.own["BTC"] == 0
    world.sound()


def test_the_ledger_is_read_only_while_balances_differ(world: World) -> None:
    """Its reads cost two points each: where all agrees there are none."""
    filled(world)
    rounds(world)
    assert "Ledgers" not in {method for method, _ in world.asked}


@pytest.mark.parametrize("answer", ["EGeneral:Permission denied", {"ledger": {"L1": {"asset": 7}}, "count": 1}, {"ledger": []}])
def test_a_ledger_that_cannot_be_read_leaves_the_difference(world: World, answer: Any) -> None:
    """No right to it, or nonsense: rounds go on to their end, and what is not explained halts."""
    world.move_balance("USD", Decimal(5))
    world.rest["Ledgers"] = answer
    rounds(world)
    assert world.engine.state == "halted" and "USD +5" in (world.engine.state_reason or "")
    world.move_balance("USD", Decimal(-5))
    rounds(world, 1)
    eventually(world, lambda: world.engine.state == "ready")


@pytest.mark.parametrize("first", ["fill", "entry"])
def test_what_the_ledger_rounds_is_no_difference_and_no_slack(world: World, first: str) -> None:
    """The ledger has four decimals where the fill has eight: exact by its entry, told before or after the fill. And then a
    hundred-thousandth more is one."""
    order = world.first_order()
    world.reply(order)
    qty, price = Decimal(order["qty_raw"]).scaleb(-8), Decimal(order["price_raw"]).scaleb(-1)
    fee = Decimal("0.06217489")
    amount, booked_fee = -qty * price + Decimal("0.00004"), Decimal("0.0622")
    before = Decimal(world.balances["USD"])
    if first == "entry":
        entry_told(world, "T1", amount, booked_fee)
    world.fill(order, order["qty_raw"], "T1", fee=f"{fee}")
    world.report("filled", order)
    if first == "fill":
        entry_told(world, "T1", amount, booked_fee)
    world.engine.risk.paused = True
    world.balances["USD"] = f"{before + amount - booked_fee:f}"
    rounds(world)
    assert world.engine.reconciler.agreed and world.engine.reconciler.differences == []
    entry_told(world, "T1", amount, booked_fee)
    world.move_balance("USD", Decimal("-0.00001"))
    rounds(world)
    assert world.engine.state == "halted" and "USD -0.00001" in (world.engine.state_reason or "")


def test_a_fill_without_its_entry_is_rounded_once(world: World) -> None:
    """Nobody told what the ledger booked: less than a unit for cost and fee is taken as rounding, once, and never again."""
    filled(world)
    world.move_balance("USD", Decimal("0.00015"))
    rounds(world)
    assert world.engine.reconciler.agreed and world.engine.reconciler.differences == []
    world.move_balance("USD", Decimal("0.00015"))
    rounds(world)
    assert world.engine.state == "halted"


def test_an_entry_beyond_rounding_is_a_difference(world: World) -> None:
    """The venue tells one cost and books another: it is no rounding."""
    order = filled(world)
    cost = Decimal(order["qty_raw"]).scaleb(-8) * Decimal(order["price_raw"]).scaleb(-1)
    entry_told(world, "T1", -cost - Decimal("0.05"), Decimal("0.0625"))
    world.move_balance("USD", Decimal("-0.05"))
    eventually(world, lambda: world.engine.state == "halted", 60)


def test_the_trades_of_another_hand_in_other_pairs_are_followed(world: World) -> None:
    """The user sells what we do not trade: its cash is told by an entry and a trade of an order that is not ours."""
    world.engine.risk.paused = True
    world.move_balance("USD", Decimal("99.5"))
    world.rest["TradesHistory"] = {"count": 1, "trades": {"TX": {
        "ordertxid": "OXXXXX-XXXXX-XXXXXX", "pair": "XRPUSD", "time": world.now_ns / S, "type": "sell", "price": "1",
        "vol": "100", "cost": "100", "fee": "0.5", "maker": True}}}
    world.rest["Ledgers"] = {"ledger": {"LX": ledger_row(world, "ZUSD", "trade", "100", "TX", "0.5")}, "count": 1}
    rounds(world)
    assert world.engine.reconciler.agreed and world.engine.state == "paused"
    assert world.engine.ledger.cash_flow == 0


def test_a_trade_that_proves_to_be_ours_later_counts_once(world: World) -> None:
    """The history shows our trade before the list of orders shows whose it is: booked later, its cash is counted once."""
    order = world.first_order()
    qty = Decimal(order["qty_raw"]).scaleb(-8)
    world.move_balance("BTC", qty)
    world.move_balance("USD", -qty * 100_000)
    trade = {"ordertxid": OID, "pair": "XBTUSD", "time": f"{world.now_ns / S:.4f}", "type": "buy", "price": "100000.0",
             "vol": f"{qty:f}", "cost": f"{qty * 100_000:f}", "fee": "0", "maker": True}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": trade}}
    entry_told(world, "T1", -qty * 100_000, Decimal(0))
    round_of(world)
    assert not world.engine.ledger.fills
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "closed", order["qty_raw"])}}
    world.engine.risk.paused = True
    rounds(world)
    assert list(world.engine.ledger.fills) == ["T1"]
    assert world.engine.reconciler.agreed
    assert world.engine.reconciler.balances.cash.own == Decimal(10_000)


def test_a_fill_on_its_way_is_no_difference(world: World) -> None:
    """Balances of after a fill, lists of before it, and the order live: unknown, not counted, and nothing halts."""
    order = opened(world)
    cost = Decimal(order["qty_raw"]).scaleb(-8) * 100_000
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open")}}
    world.move_balance("BTC", Decimal(order["qty_raw"]).scaleb(-8))
    world.move_balance("USD", -cost)
    rounds(world, 3)
    assert found(world, Finding.BALANCE) == 0 and world.engine.reconciler.trusted


def test_a_resting_order_hides_no_difference_for_long(world: World) -> None:
    """With an order of ours open in every round: a difference that stands for as long as lists may lag is one."""
    order = opened(world)
    row = rest_order(order, "open")
    world.move_balance("USD", Decimal(-7))
    began_ns = world.now_ns
    absent_ns = int(world.cfg.venue.unknown_absent_s * S)
    while not found(world, Finding.BALANCE):
        live = world.live()
        assert live, "an order rests all the time"
        world.rest["OpenOrders"] = {"open": {OID: {**row, "cl_ord_id": live[0]["cl_ord_id"]}}}
        round_of(world)
        assert world.now_ns - began_ns < absent_ns + 60 * S
        if not world.live():
            order = opened(world) if world.engine.state == "ready" else order
    assert world.now_ns - began_ns >= absent_ns


def test_cash_is_agreed_across_a_restart(world: World) -> None:
    """The next boot goes on with what is the user's: cash that left meanwhile is found by its first rounds."""
    filled(world)
    rounds(world, 1)
    world.move_balance("USD", Decimal("-1.5"))
    world.boot(epoch=2)
    eventually(world, lambda: world.engine.state == "halted", 60)
    assert "USD -1.5" in (world.engine.state_reason or "")
    world.sound()


def balances_of(world: World, coins: str, cash: str) -> dict[str, dict[str, str]]:
    """A reply to BalanceEx."""
    return {"XXBT": {"balance": coins}, "ZUSD": {"balance": cash}}


def test_cash_that_moves_hides_no_coins_that_stay_away(world: World) -> None:
    """Coins off by the same amount for as long as lists may lag, orders live and cash another each time: no coin may be sold."""
    known = world.engine.reconciler.balances
    absent_ns = int(world.cfg.venue.unknown_absent_s * S)
    for number in range(8):
        known.take(balances_of(world, "-0.45", str(10_000 - number % 3)))
        known.compare(quiet=False, mono_ns=world.mono_ns + number * absent_ns // 4)
        assert known.coins_known == (number < 4)
    assert known.mismatch_rounds == 4 and "BTC -0.5" in known.mismatch


def test_cash_told_before_the_first_comparison_counts_once(world: World) -> None:
    """A deposit told between the snapshot of the first round and its end: a difference then, which the ledger explains."""
    before = world.engine.reconciler.balances
    known = Balances(world.engine.tracker, lambda _text: None, S)
    known.on_message(deposit(world, "50"))
    known.take(balances_of(world, "0.05", "10000"))
    assert known.compare(quiet=True, mono_ns=0) == {}
    known.take(balances_of(world, "0.05", "10050"))
    assert known.compare(quiet=True, mono_ns=S) == {"USD": 50}
    row = ledger_row(world, "ZUSD", "deposit", "50", balance="10050") | {"time": Decimal(world.now_ns).scaleb(-9)}
    known.on_ledger({"L1": row}, {}, ())
    assert known.compare(quiet=True, mono_ns=2 * S) == {}
    assert known.cash.own is not None and before.cash.own is not None and known.cash.own - before.cash.own == 50


def deposit(world: World, amount: str) -> BalancesMessage:
    """The balances channel tells of a deposit of cash."""
    entry = {"asset": "USD", "asset_class": "currency", "type": "deposit", "category": "deposit", "amount": amount, "fee": "0",
             "balance": "0", "ledger_id": "L1", "ref_id": "R1", "timestamp": time_text(world.now_ns), "wallet_type": "spot",
             "wallet_id": "main"}
    [message] = decode_private(json.dumps({"channel": "balances", "type": "update", "sequence": 1, "data": [entry]}).encode())
    assert isinstance(message, BalancesMessage)
    return message


@pytest.mark.parametrize("balance", ["NaN", "Infinity", "1e400", "", None])
@pytest.mark.parametrize("asset", ["USD", "BTC"])
def test_a_balance_that_is_no_number_fails_its_round_alone(world: World, asset: str, balance: Any) -> None:
    """Nothing is learned from it, and the next reply is compared as if it had not been."""
    told, failed = world.balances[asset], world.engine.reconciler.failed_count
    world.balances[asset] = balance
    world.engine.tracker.want_reconcile = True
    eventually(world, lambda: world.engine.reconciler.failed_count > failed)
    world.balances[asset] = told
    rounds(world, 2)
    assert world.engine.reconciler.agreed and world.engine.state == "ready"
    assert found(world, Finding.BALANCE) == 0


@pytest.mark.parametrize("kind", ["spend", "receive", "conversion", "sale"])
def test_what_the_user_buys_in_the_app_is_his(world: World, kind: str) -> None:
    """Instant purchases and conversions are entries of their own kinds, and flows like a deposit."""
    moved(world, "USD", kind, "-30")
    rounds(world)
    assert world.engine.reconciler.agreed and world.engine.state == "ready"


def test_cash_that_differs_opens_no_way_by_rest(world: World) -> None:
    """With the socket up all the time, its loss counts from when it is lost."""
    world.move_balance("USD", Decimal(-3))
    rounds(world)
    world.run(10)
    world.link(Link.LINK_PRIVATE, up=False, reason="cut")
    world.run(1)
    assert not world.engine.core.exits_by_rest
    eventually(world, lambda: world.engine.core.exits_by_rest)
