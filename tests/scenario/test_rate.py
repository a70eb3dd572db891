"""The venue's rate counter: openings and amends wait at 80 % of it, exits and cancels never, and the venue's word counts."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from engine_world import BTC, ETH, S, World, eventually, practice_config, replayed
from test_amend import OID, TIGHT_BPS, looked_up
from test_order_reports import noted
from test_rest_cancels import cancels, down, pass_without_private

from cstd._fast.codes import IntentKind, Link, OrderAction, OrderState
from cstd.decision.limits import limits_row
from cstd.storage.journal import open_journal
from cstd.venue.rate import LOCAL_LIMIT_PERCENT, MICRO, TRADING_TIERS, amend_cost, cancel_cost
from tests.kernels.oracle_rate import TradingRate

LIMITED = "EOrder:Rate limit exceeded"
FOREIGN_ID = "OZZZZZ-ZZZZZ-ZZZZZZ"


def eager(tier: str = "starter", journal: Any = None) -> World:
    """A ready engine whose strategy wishes to open at every pass, with nothing but the rate counter against it."""
    cfg = practice_config(venue={"tier": tier})
    world = World(cfg, strategy="bench", journal=journal).ready()
    limits = limits_row(cfg, BTC).copy()
    limits["parents_instrument_hour_max"] = limits["parents_minute_max"] = 1 << 40
    world.core.set_limits(0, limits)
    return world


def adds(world: World) -> int:
    """Openings and exits sent so far."""
    return len(world.order_frames(OrderAction.ACTION_ADD))


def open_and_lose(world: World, passes: int) -> int:
    """Passes without time between them, in which the venue takes and cancels each opening; returns how many were sent."""
    before = adds(world)
    for _ in range(passes):
        for order in world.live():
            world.report("canceled", order, cum_qty="0")
        world.tick()
    return adds(world) - before


def points(world: World, number: int = 0) -> float:
    """The counter of an instrument at the time of the last event."""
    return float(world.core.slots[number].rate_micro(world.mono_ns) / MICRO)


def word(world: World, value: float, **fields: Any) -> None:
    """The venue tells its counter with a report about an order of another program."""
    world.executions({"exec_type": "new", "order_id": FOREIGN_ID, "timestamp": "2026-09-21T14:13:20.000000Z",
                      "ratecount": value, **fields})
    world.pump()


@pytest.fixture
def resting() -> tuple[World, dict[str, Any]]:
    """A ready engine with one opening that rests at the venue."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    return world, order


@pytest.fixture
def holding() -> World:
    """A ready engine that holds what its first opening bought."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    assert not world.live()
    return world


# Openings.


@pytest.mark.parametrize("tier", sorted(TRADING_TIERS))
def test_openings_end_at_four_fifths_of_the_threshold(tier: str) -> None:
    """Each costs a point; none is sent beyond the limit, each that waits is counted, and none of them is an intent."""
    world = eager(tier)
    limit = TRADING_TIERS[tier].threshold * LOCAL_LIMIT_PERCENT // 100
    open_and_lose(world, limit + 40)
    assert adds(world) == points(world) == limit
    assert world.counters()["rate_held"] == world.slot.rate_held >= 39
    intents = world.counters()["intents"]
    world.tick()
    assert world.counters()["intents"] == intents
    assert world.core.rate_episodes == 1
    world.sound()


def test_decay_lets_openings_go_on_one_by_one() -> None:
    """The starter tier gives back a point a second: one opening more a second, until the counter has fallen far enough."""
    world = eager()
    open_and_lose(world, 80)
    before = adds(world)
    for _ in range(10):
        world.step(1.0)
        open_and_lose(world, 3)
    assert 9 <= adds(world) - before <= 11
    world.sound()


def test_an_episode_is_told_once_and_ends_with_half_the_limit() -> None:
    """The log is told when openings begin to wait and when that is over, not with each pass."""
    world = eager()
    open_and_lose(world, 80)
    assert world.engine.tracker.rates.waits(0) == "rate counter at 48.0 of 48"
    for _ in range(5):
        world.step(0.25)
        open_and_lose(world, 3)
    begun = noted(world, "openings wait")
    assert len(begun) == 1 and begun[0]["instrument"] == BTC and "of 48" in begun[0]["reason"]
    world.core.set_strategy(0, 0, [])
    world.run(23)
    assert not noted(world, "openings go on"), points(world)
    world.run(3)
    assert len(noted(world, "openings go on")) == 1
    assert world.engine.tracker.rates.waits(0) is None and not world.slot.rate_episode
    world.sound()


def test_the_counter_is_the_models(resting: tuple[World, dict[str, Any]]) -> None:
    """An add, an amend and a cancel cost what the exact model says at their ages, with what decays between them."""
    world, order = resting
    model = TradingRate("pro")
    model.charge(BTC, 1, order["sent_mono_ns"])
    world.run(1)
    limits = limits_row(world.cfg, BTC).copy()
    limits["position_max_bps"] = TIGHT_BPS
    world.core.set_limits(0, limits)
    world.tick()
    (frame,) = world.order_frames(OrderAction.ACTION_AMEND)
    model.charge(BTC, amend_cost(world.mono_ns - order["sent_mono_ns"]), world.mono_ns)
    assert world.slot.rate_micro(world.mono_ns) == model.points_micro(BTC, world.mono_ns) > 0
    amended_ns = world.mono_ns
    world.report("amended", order, order_qty=str(json.loads(frame, parse_float=Decimal)["params"]["order_qty"]))
    for _ in range(24):
        world.step()
        world.tick()
    assert not world.order_frames(OrderAction.ACTION_CANCEL)
    world.command("pause")
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    model.charge(BTC, cancel_cost(world.mono_ns - amended_ns), world.mono_ns)
    assert cancel_cost(world.mono_ns - amended_ns) == 6, "the age is that of the amend"
    assert world.slot.rate_micro(world.mono_ns) == model.points_micro(BTC, world.mono_ns)
    world.sound()


def test_an_amend_that_must_wait_is_a_cancel(resting: tuple[World, dict[str, Any]]) -> None:
    """What its gates would not let pass does not rest on for want of points: the order is pulled from the reserve."""
    world, order = resting
    word(world, 143, symbol=BTC)
    limits = limits_row(world.cfg, BTC).copy()
    limits["position_max_bps"] = TIGHT_BPS
    world.core.set_limits(0, limits)
    world.tick()
    assert not world.order_frames(OrderAction.ACTION_AMEND)
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    assert json.loads(frame)["params"]["cl_ord_id"] == [order["cl_ord_id"]]
    assert world.counters()["rate_held"] == 1
    world.sound()


# What is never held back.


def test_an_exit_leaves_whatever_the_counter_shows(holding: World) -> None:
    """Nothing of ours holds an exit: at the venue's threshold and beyond it, it is sent."""
    for _ in range(200):
        word(holding, 400, symbol=BTC)
        holding.step()
        holding.tick()
        if holding.live(IntentKind.EXIT):
            break
    assert len(holding.live(IntentKind.EXIT)) == 1
    assert points(holding) >= 400
    holding.sound()


@pytest.mark.parametrize("verb", ["pause", "kill"])
def test_a_cancel_and_a_kill_leave_whatever_the_counter_shows(resting: tuple[World, dict[str, Any]], verb: str) -> None:
    """Cancels draw on the reserve and beyond it; a kill of an account of our own sends its cancel of all orders as well."""
    world, order = resting
    word(world, 180, symbol=BTC)
    world.command(verb, reason="test")
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    assert json.loads(frame)["params"]["cl_ord_id"] == [order["cl_ord_id"]]
    assert len(world.order_frames(OrderAction.ACTION_CANCEL_ALL)) == int(verb == "kill")
    assert points(world) == 188 + int(verb == "kill")
    world.sound()


def test_a_refresh_of_the_switch_costs_a_point_for_each_pair_with_an_order(resting: tuple[World, dict[str, Any]]) -> None:
    """The venue charges it like a cancel of all orders; without a live order there is nothing to charge."""
    world, order = resting
    world.run(5)
    level, refreshed = points(world), 0
    for _ in range(200):
        before = world.engine.private.deadman.armed_until_ns
        world.step()
        refreshed = int(world.engine.private.deadman.armed_until_ns != before)
        if refreshed:
            break
        level = points(world)
    assert refreshed and world.live()
    assert points(world) == pytest.approx(max(0.0, level - 3.75 * 0.25) + 1)
    world.report("canceled", order, cum_qty="0")
    world.sound()


# The venue's word.


def test_the_venues_word_raises_the_counter_and_never_lowers_it() -> None:
    """Orders of other programs show in it, for their own pair alone; a report without a pair counts where the pair is known."""
    world = World(practice_config((BTC, ETH)), strategy="none").ready()
    word(world, 99)
    assert points(world) == points(world, 1) == 0, "nobody knows of which pair it is"
    word(world, 50.5, symbol=ETH)
    assert (points(world), points(world, 1)) == (0, 50.5)
    word(world, 60)
    assert (points(world), points(world, 1)) == (0, 60), "the order's pair is known from its first report"
    word(world, 10)
    assert points(world, 1) == 60
    word(world, 1e15)
    assert points(world, 1) == 1000, "no venue counts so far: what cannot be meant holds openings for a while, not for ever"
    world.executions({"exec_type": "new", "order_id": "OTHER", "timestamp": "2026-09-21T14:13:20.000000Z", "symbol": BTC,
                      "ratecounter": 7})
    assert points(world) == 7, "by its other name"
    assert world.engine.tracker.foreign_count == 6
    world.sound()


def test_a_report_of_ours_needs_no_pair(resting: tuple[World, dict[str, Any]]) -> None:
    """Sparse reports of our own orders, and of those that have ended, count for their pair."""
    world, order = resting
    world.report("new", order, ratecount=70)
    assert points(world) == 70
    world.report("canceled", order, cum_qty="0", ratecount=80)
    assert points(world) == 80
    world.report("restated", order, ratecount=90)
    assert points(world) == 90
    world.sound()


def test_openings_wait_for_what_other_programs_used() -> None:
    """Without an order of ours, the venue's word alone holds openings until it has decayed to the limit."""
    world = eager("pro")
    open_and_lose(world, 1)
    word(world, 150, symbol=BTC)
    assert open_and_lose(world, 5) == 0
    before = adds(world)
    world.step(1.75)  # 143.4
    open_and_lose(world, 5)
    assert adds(world) == before
    world.step(0.25)  # 142.5, and a point for the opening
    open_and_lose(world, 5)
    assert adds(world) == before + 1
    world.sound()


def test_the_tier_is_the_venues() -> None:
    """Before a word it is the configured one; the subscription's answer replaces it, an unknown one at its strictest."""
    world = World(practice_config(venue={"tier": "starter"}), strategy="none")
    world.rate_count_max = 125
    world.ready()
    assert world.slot.rate_limits() == (125 * MICRO, 100 * MICRO, 2_340_000)
    world.rate_count_max = 100
    world.link(Link.LINK_PRIVATE, up=False)
    world.link(Link.LINK_PRIVATE, up=True)
    assert world.slot.rate_limits() == (100 * MICRO, 80 * MICRO, 1_000_000)
    assert len(noted(world, "the venue told a rate threshold of no known tier")) == 1
    world.rate_count_max = None
    world.boot(epoch=2)
    assert world.slot.rate_limits() == (60 * MICRO, 48 * MICRO, 1_000_000)
    world.sound()


# Refusals.


def test_an_opening_that_the_venue_refuses_for_its_rate_closes_openings_until_it_has_decayed() -> None:
    """The venue's counter is at its threshold then: a fifth of it must go before the next opening."""
    world = eager()
    open_and_lose(world, 1)
    (order,) = world.live()
    world.refuse(order["req_id"], LIMITED)
    assert points(world) == 60
    assert world.engine.tracker.rates.refused_count == 1
    before = adds(world)
    open_and_lose(world, 5)
    world.step(12.75)
    open_and_lose(world, 5)
    assert adds(world) == before
    world.step(0.25)
    open_and_lose(world, 5)
    assert adds(world) == before + 1
    world.sound()


def test_a_refusal_of_the_account_counts_for_every_pair() -> None:
    """The variant for the whole account names no pair."""
    world = World(practice_config((BTC, ETH)), strategy="rehearsal").ready()
    for _ in range(200):
        if world.live():
            break
        world.step()
        world.tick()
        world.tick(ETH)
    world.refuse(world.live()[0]["req_id"], "EOrder:Domain rate limit exceeded")
    assert points(world) == points(world, 1) == 180
    world.sound()


def test_an_exit_that_the_venue_refuses_for_its_rate_goes_again(holding: World) -> None:
    """After two seconds of decay, then four; no ban, no end of the wish."""
    def live_exit() -> bool:
        holding.tick()
        return bool(holding.live(IntentKind.EXIT))
    times = []
    for _ in range(3):
        eventually(holding, live_exit)
        (order,) = holding.live(IntentKind.EXIT)
        times.append(order["sent_mono_ns"])
        holding.refuse(order["req_id"], LIMITED)
        assert not holding.live()
    assert 2 * S <= times[1] - times[0] <= 3 * S and 4 * S <= times[2] - times[1] <= 5 * S
    assert holding.engine.tracker.rates.refused_count == 3
    holding.sound()


def test_a_cancel_that_the_venue_refuses_for_its_rate_goes_again(resting: tuple[World, dict[str, Any]]) -> None:
    """As soon as that many points must have decayed, then after twice as long; a kill waits for it and is over with it."""
    world, order = resting
    world.rest["OpenOrders"] = {"open": {OID: looked_up(order, "open")}}
    world.command("kill", reason="test")
    for count, wait_s in ((1, 2.25), (2, 4.5)):  # eight points at 3.75 a second, in steps of a quarter; then twice as long
        sent = len(world.order_frames(OrderAction.ACTION_CANCEL))
        assert sent == count
        world.refuse(json.loads(world.order_frames(OrderAction.ACTION_CANCEL)[-1])["req_id"], LIMITED, "cancel_order")
        assert world.live()[0]["state"] == OrderState.ORDER_OPEN and points(world) >= 180
        refused_ns = world.now_ns
        world.run(wait_s - 0.5)
        assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == sent, "not with every pass"
        eventually(world, lambda n=sent: len(world.order_frames(OrderAction.ACTION_CANCEL)) > n, 5)
        assert (world.now_ns - refused_ns) / S == wait_s
    assert world.engine.tracker.rates.refused_count == 2
    world.rest["OpenOrders"] = {"open": {}}
    world.report("canceled", order, cum_qty="0")
    eventually(world, lambda: world.engine.risk.kill_shown_empty_ns is not None, 30)
    assert world.engine.risk.kill_shown_empty_ns is not None and not world.live()
    world.sound()


def test_a_cancel_by_rest_is_refused_and_goes_again() -> None:
    """The counter is the account's, whichever way a request goes; the cancel waits for its points, then goes by REST again."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    world.rest["CancelOrder"] = LIMITED
    down(world)
    pass_without_private(world, 3.5)
    assert len(cancels(world)) == 1 and world.engine.tracker.rates.cancel_waits(order["cl_ord_id"])
    assert points(world) > 178
    world.rest["CancelOrder"] = {"count": 1}
    pass_without_private(world, 1)
    assert len(cancels(world)) == 1
    pass_without_private(world, 1.5)
    assert len(cancels(world)) == 2
    world.sound()


# Restart and replay.


def test_an_exit_goes_again_where_the_hosts_clock_began_anew(holding: World) -> None:
    """A time to wait for is one of the clock that it was read from: after the host's restart it would lie days ahead."""
    def live_exit() -> bool:
        holding.tick()
        return bool(holding.live(IntentKind.EXIT))
    eventually(holding, live_exit)
    holding.refuse(holding.live(IntentKind.EXIT)[0]["req_id"], LIMITED)
    holding.wall_step_ns += 60 * S
    holding.boot(epoch=2)
    assert holding.slot.exit_not_before_ns <= holding.mono_ns
    eventually(holding, live_exit)
    holding.sound()


def test_a_restart_keeps_the_counter() -> None:
    """The next boot finds what stood, less what has decayed; where the host's clock began anew, all of what stood."""
    world = World(practice_config(venue={"tier": "starter"}), strategy="none").ready()
    word(world, 55, symbol=BTC)
    began_ns = world.mono_ns
    world.boot(epoch=2)
    assert points(world) == 55 - (world.mono_ns - began_ns) / S > 40
    began_ns = world.mono_ns
    world.wall_step_ns += 40 * S
    anew_ns = world.mono_ns
    world.boot(epoch=3)
    assert world.mono_ns < began_ns
    assert points(world) == 55 - (world.mono_ns - anew_ns) / S > 40
    world.sound()


def test_a_journal_replays_to_the_same_counter(tmp_path: Path) -> None:
    """Held openings, the venue's words, refusals and a restart: every output is made again, and the counter stands the same."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = World(practice_config(venue={"tier": "starter"}), strategy="rehearsal", journal=journal).ready()
        order = world.first_order()
        world.reply(order)
        world.report("new", order, ratecount=47)
        world.command("pause")
        world.refuse(json.loads(world.order_frames(OrderAction.ACTION_CANCEL)[-1])["req_id"], LIMITED, "cancel_order")
        world.run(9)
        assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 2
        world.report("canceled", order, cum_qty="0", ratecount=58.25)
        world.command("resume")
        for _ in range(40):
            world.step()
            world.tick()
        assert world.counters()["rate_held"] > 0 and adds(world) >= 1
        world.boot(epoch=2)
        word(world, 33.125, symbol=BTC)
        world.run(3)
        world.sound()
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert (again.difference_count, again.missing) == (0, []), again.differences
    slot = again.engine.core.slots[0]
    assert slot.rate_micro(world.mono_ns) == world.slot.rate_micro(world.mono_ns) > 0
    assert slot.rate_held == world.slot.rate_held
    assert again.engine.tracker.rates.refused_count == 1
