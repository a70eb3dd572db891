"""Openings that wait for an operator: what waits, who answers, when it is over, and that it counts until then."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_world import BTC, ETH, S, World, practice_config, replayed
from test_checkpoint import alike, state

from cstd._fast import image
from cstd._fast.codes import ApprovalDrop, EventKind, IntentKind, Link, OrderAction
from cstd._fast.gates import DECISION_DTYPE, EscalationLevel
from cstd._fast.recorder import Recorder
from cstd.decision.why import ASKED_GIVEN, ASKED_NO_ROOM, ASKED_WAITS, BY_CODE, explain, waterfall
from cstd.engine import Engine, checkpoint
from cstd.engine.replaying import JournalReplay
from cstd.orders.approvals import COUNT_WORDS, DROP_WORDS
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records

LASTS_S = 30
MONEY = 10**8
WORDS_OF_DROPS = {"DROP_PAUSE": "pause", "DROP_KILL": "kill", "DROP_HALT": "halt", "DROP_STOP": "stop", "DROP_LEVEL": "level",
                  "DROP_START": "start", "DROP_LEAVING": "leaving", "DROP_FLATTEN": "flatten", "DROP_DIGITS": "digits",
                  "DROP_STRATEGY": "strategy"}


def world_that_asks(above: str = "0", names: tuple[str, ...] = (BTC,), strategy: str | None = "rehearsal", journal: Any = None,
                    **sections: dict[str, Any]) -> World:
    """A ready daemon whose openings above a value wait half a minute for an operator."""
    asks = {"above": above, "expires_s": Decimal(LASTS_S)}
    return World(practice_config(names, approve=asks, **sections), strategy=strategy, journal=journal).ready()


def waiting(world: World) -> list[dict[str, int]]:
    """What waits."""
    return list(world.core.waiting_rows())


def waits(world: World, count: int = 1) -> dict[str, int]:
    """Let time and books go on until so many wait; returns the last of them."""
    for _ in range(400):
        if len(waiting(world)) >= count:
            return waiting(world)[-1]
        world.step()
        for name in world.names:
            world.tick(name)
    raise AssertionError(f"{len(waiting(world))} wait")


def answer(world: World, verb: str, row: dict[str, int]) -> dict[str, Any]:
    """An operator's word on one that waits."""
    return world.command(verb, id=str(row["intent_seq"]))


def counts(world: World) -> dict[str, int]:
    """How many were asked for, and what came."""
    return {COUNT_WORDS[code]: number for code, number in enumerate(world.core.waiting_counts()) if number}


def adds(world: World) -> list[bytes]:
    """Orders that left."""
    return world.order_frames(OrderAction.ACTION_ADD)


def decided(world: World) -> list[Any]:
    """Decision rows, oldest first."""
    return [np.frombuffer(raw, dtype=DECISION_DTYPE)[0] for raw in world.core.decision_rows(1024)]


def told(world: World) -> list[dict[str, Any]]:
    """What the journal says of those that ended."""
    return [json.loads(payload) for kind, _, payload in world.recorder.captured if kind == EventKind.OUT_APPROVAL]


def at_expiry(world: World, row: dict[str, int], off_ns: int) -> None:
    """Let time pass until `off_ns` behind the moment at which the row expires; no timer runs in the last quarter second."""
    while world.mono_ns + S // 4 < row["expires_mono_ns"]:
        world.step()
        world.tick()
    world.now_ns += row["expires_mono_ns"] + off_ns - world.mono_ns
    world.core.frame(Link.LINK_PUBLIC, b'{"channel":"heartbeat"}', world.mono_ns, world.now_ns)


# What waits.


def test_an_opening_that_all_gates_let_pass_waits_and_nothing_leaves() -> None:
    """It is on record as approved by the gates and marked, no order exists, and the strategy wishes for no second one."""
    world = world_that_asks()
    row = waits(world)
    last = decided(world)[-1]
    assert (last["intent_seq"], last["rest"], last["order_slot"]) == (row["intent_seq"], ASKED_WAITS, -1)
    said = explain(last, world.engine.feed.specs[BTC])
    assert said["verdict"] in ("approve", "reduce") and said["approval"] == "waits" and "cstd approve" in waterfall(said)
    intents = world.counters()["intents"]
    for _ in range(40):
        world.step()
        world.tick()
    assert adds(world) == [] and world.live() == [] and world.counters()["intents"] == intents
    assert counts(world) == {"asked": 1}


def test_without_a_value_nothing_waits() -> None:
    """Shipped, the key is empty: an opening leaves as the gates let it out, and its row says nothing of an operator."""
    world = world_that_asks(above="")
    world.first_order()
    assert counts(world) == {} and decided(world)[-1]["rest"] == 0


@pytest.mark.parametrize(("off", "asked"), [(0, 0), (1, 0), (-1, 1)])
def test_only_what_is_above_the_value_waits(off: int, asked: int) -> None:
    """At the value and just under it an opening leaves; by the least amount above it one waits."""
    notional = waits(world_that_asks())["notional_acct_raw"]
    world = world_that_asks(above=f"{Decimal(notional + off) / MONEY:.8f}")
    for _ in range(60):
        if adds(world) or waiting(world):
            break
        world.step()
        world.tick()
    assert (len(adds(world)), len(waiting(world))) == (1 - asked, asked)


def test_what_the_gates_refuse_does_not_wait() -> None:
    """An operator is asked about nothing that could not be sent."""
    world = world_that_asks(policy={"spread_bps_max": Decimal("0.001")})
    for _ in range(60):
        world.step()
        world.tick()
    assert world.counters()["refused"] > 0 and counts(world) == {}


def test_exits_never_wait() -> None:
    """With every opening to be approved, what is held is sold unasked."""
    world = world_that_asks()
    answer(world, "approve", waits(world))
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    exit_order = world.exit_order()
    assert exit_order["kind"] == IntentKind.EXIT and counts(world) == {"asked": 1, "approved": 1, "sent": 1}


def test_as_many_wait_as_may_and_no_more() -> None:
    """Sixteen wait; the next is on record as one that there was no room for, is counted, and never sent."""
    wide = {"positions_max": 100, "exposure_bps_max": 5000, "position_bps_max": 5000, "cluster_bps_max": 5000}
    world = world_that_asks(strategy="bench", risk=wide)
    for _ in range(40):
        world.tick()
    assert len(waiting(world)) == 16 and adds(world) == []
    assert counts(world)["asked"] == 16 and counts(world)["no_room"] > 0
    last = decided(world)[-1]
    assert last["rest"] == ASKED_NO_ROOM and explain(last, world.engine.feed.specs[BTC])["approval"] == "no_room"


# Answers.


def test_approved_it_is_judged_again_and_sent() -> None:
    """In the next pass of its instrument a second decision stands behind the first, and one order leaves, at its price."""
    world = world_that_asks()
    row = waits(world)
    said = answer(world, "approve", row)
    assert (said["id"], said["answer"], said["instrument"]) == (row["intent_seq"], "approved", BTC) and adds(world) == []
    world.step()
    (frame,) = adds(world)
    order = world.live()[0]
    assert (order["qty_raw"], order["price_raw"]) == (row["qty_raw"], row["price_raw"])
    assert order["cl_ord_id"].encode() in frame
    last = decided(world)[-1]
    assert last["rest"] == ASKED_GIVEN and last["intent_seq"] == row["intent_seq"] + 1 == order["intent_seq"]
    world.step()
    assert told(world) == [{"id": row["intent_seq"], "ended": "sent", "why": None, "judged": order["intent_seq"],
                            "instrument": BTC}]
    assert counts(world) == {"asked": 1, "approved": 1, "sent": 1} and waiting(world) == []
    for _ in range(8):
        world.step()
    assert len(adds(world)) == 1


def test_declined_it_is_over_and_the_next_wish_is_a_new_episode() -> None:
    """Nothing leaves; for the strategy an opening ended with nothing filled, and it may wish anew."""
    world = world_that_asks()
    row = waits(world)
    assert answer(world, "decline", row)["answer"] == "declined"
    assert waiting(world) == [] and told(world)[0]["ended"] == "declined"
    again = waits(world)
    assert again["episode"] == row["episode"] + 1 and adds(world) == []
    assert "declined" in answer(world, "approve", row)["message"] and adds(world) == []


@pytest.mark.parametrize("verb", ["approve", "decline"])
@pytest.mark.parametrize("id_", ["999", "", "1; kill", "-1", "0"])
def test_a_forged_answer_says_that_nothing_waits(verb: str, id_: str) -> None:
    """An id that waits for nobody is an error of the operator's, and lets nothing out; also one that is empty or no number."""
    world = world_that_asks()
    waits(world)
    said = world.command(verb, id=id_)
    assert said["error"] == "operator" and "waits" in said["message"]
    world.run(2)
    assert adds(world) == [] and len(waiting(world)) == 1


def test_one_approval_lets_one_order_out() -> None:
    """A second approval of the same opening is an error, before it is judged again and after."""
    world = world_that_asks()
    row = waits(world)
    answer(world, "approve", row)
    assert "approved already" in answer(world, "approve", row)["message"]
    world.step()
    assert "waits no more: sent" in answer(world, "approve", row)["message"]
    world.run(3)
    assert len(adds(world)) == 1


# Its end by time.


@pytest.mark.parametrize(("off_ns", "sent"), [(-1, 1), (0, 0), (1, 0)])
def test_an_approval_counts_until_the_moment_of_expiry(off_ns: int, sent: int) -> None:
    """Just before, an operator's word is taken and the pass sends; at the moment and after it, it has expired."""
    world = world_that_asks()
    row = waits(world)
    at_expiry(world, row, off_ns)
    said = answer(world, "approve", row)
    assert ("answer" in said) == bool(sent) and (sent or "expired" in said["message"])
    world.tick()
    assert len(adds(world)) == sent
    world.step()
    assert counts(world).get("expired", 0) == 1 - sent
    assert row["intent_seq"] not in [left["intent_seq"] for left in waiting(world)]


def test_it_expires_by_the_engines_clock_alone() -> None:
    """The first timer at or after the moment ends it, whatever the wall clock does meanwhile; the end is recorded and counted."""
    world = world_that_asks()
    row = waits(world)
    world.step_wall(-7200 * S)
    while world.mono_ns + S // 4 < row["expires_mono_ns"]:
        world.step()
    assert len(waiting(world)) == 1
    world.step()
    assert waiting(world) == [] and told(world)[-1]["ended"] == "expired" and counts(world)["expired"] == 1


def test_an_approved_one_that_finds_no_pass_expires_too() -> None:
    """With the book unverified no pass takes it up; when the book is back after its time, nothing is sent of it."""
    world = world_that_asks()
    row = waits(world)
    world.link(Link.LINK_PUBLIC, up=False, reason="test")
    answer(world, "approve", row)
    world.run_on(Link.LINK_PRIVATE, LASTS_S + 1)
    assert adds(world) == [] and counts(world)["expired"] == 1
    assert "expired" in answer(world, "approve", row)["message"]


# The gates have the last word.


@pytest.mark.parametrize("gate", ["price", "spread", "total_exposure"])
def test_what_a_gate_refuses_at_the_approval_is_not_sent(gate: str) -> None:
    """A book that came down to the price, a spread or a limit that narrowed: refused with the gate, and never tried again."""
    world = world_that_asks(journal=None)
    row = waits(world)
    if gate == "price":
        book = world.books[BTC]
        asks = sorted(book.asks)
        world.book(BTC, [(price, 0) for price in sorted(book.bids, reverse=True)[:2]], [(row["price_raw"] - 3, asks[0])])
    elif gate == "spread":
        world.command("limits_set", key="policy.spread_bps_max", value="0.001")
    else:
        world.command("limits_set", key="risk.exposure_bps_max", value="1")
    answer(world, "approve", row)
    world.step()
    last = decided(world)[-1]
    assert adds(world) == [] and last["rest"] == ASKED_GIVEN and BY_CODE[int(last["first_failing"])].name == gate
    world.step()
    assert told(world)[-1] == {"id": row["intent_seq"], "ended": "refused", "why": gate, "instrument": BTC,
                               "judged": int(last["intent_seq"])}
    assert counts(world)["refused"] == 1 and f"({gate})" in answer(world, "approve", row)["message"]


def test_no_more_is_sent_than_was_shown() -> None:
    """Cut by the level when it was shown, and the level has fallen since: what leaves is what the operator saw."""
    world = world_that_asks()
    world.engine.risk.levels.loss_level = EscalationLevel.LEVEL_WARNING
    row = waits(world)
    assert row["qty_raw"] < row["wanted_raw"]
    world.engine.risk.levels.loss_level = EscalationLevel.LEVEL_NORMAL
    answer(world, "approve", row)
    world.step()
    assert [order["qty_raw"] for order in world.live()] == [row["qty_raw"]]


def test_the_levels_part_is_taken_once() -> None:
    """What the level had cut is not cut by it a second time, and what it cuts since is."""
    world = world_that_asks()
    world.engine.risk.levels.loss_level = EscalationLevel.LEVEL_WARNING
    row = waits(world)
    answer(world, "approve", row)
    world.step()
    assert [order["qty_raw"] for order in world.live()] == [row["qty_raw"]]
    other = world_that_asks()
    row = waits(other)
    other.engine.risk.levels.loss_level = EscalationLevel.LEVEL_WARNING
    answer(other, "approve", row)
    other.run(0.5)
    assert [order["qty_raw"] for order in other.live()] == [row["qty_raw"] * 3 // 4]


# It counts.


@pytest.mark.parametrize("limit", ["exposure_bps_max", "positions_max"])
def test_what_waits_counts_as_exposure_and_as_a_position(limit: str) -> None:
    """Two openings that fit one by one and not together: the second is cut or refused while the first only waits."""
    tight = {"exposure_bps_max": 40, "cluster_bps_max": 40, "position_bps_max": 40} if limit == "exposure_bps_max" else {
        "positions_max": 1}
    world = world_that_asks(names=(BTC, ETH), risk=tight)
    for _ in range(60):
        world.step()
        world.tick(BTC)
        world.tick(ETH)
    whole = sum(row["notional_acct_raw"] for row in waiting(world))
    if limit == "positions_max":
        assert len(waiting(world)) == 1
        refused = {BY_CODE[int(row["first_failing"])].name for row in decided(world) if row["first_failing"]}
        assert refused == {"position_count"}
    else:
        assert len(waiting(world)) == 2 and whole <= 40 * MONEY
        for row in waiting(world):
            answer(world, "approve", row)
        world.run(1)
        assert len(adds(world)) == 2 and world.core.exposure() <= 40 * MONEY


def test_an_order_that_rests_is_not_pulled_for_one_that_waits() -> None:
    """What is at the venue is judged without what may never be sent."""
    world = world_that_asks(names=(BTC, ETH))
    row = waits(world, 2)
    answer(world, "approve", row)
    world.step()
    (order,) = world.live()
    world.reply(order)
    world.report("new", order)
    room = order["qty_raw"] * order["price_raw"]
    assert room and len(waiting(world)) == 1
    world.command("limits_set", key="risk.exposure_bps_max", value="26")  # the order fits, and not both
    world.tick(world.names[order["instrument"]])
    assert not world.core.order(world.core.live_orders()[0])["cancel_sent"]


# What drops it.


def drop_by(world: World, what: str) -> None:
    """Make something happen that leaves openings no way out."""
    if what == "level":
        world.engine.risk.levels.loss_level = EscalationLevel.LEVEL_CRITICAL
        world.step()
    elif what == "start":
        world.boot(epoch=2)
    elif what == "stop":
        world.event(EventKind.EVENT_STOP, 0, b"{}")
    else:
        world.command(what, **({"reason": "test"} if what == "halt" else {}))


@pytest.mark.parametrize("what", ["kill", "pause", "halt", "flatten", "stop", "level", "start"])
@pytest.mark.parametrize("approved", [False, True])
def test_what_forbids_openings_drops_what_waits(what: str, approved: bool) -> None:
    """Kill, pause, halt, flatten, stop, a restart, and a level without openings: dropped, recorded, counted, never sent."""
    world = world_that_asks()
    row = waits(world)
    if approved:
        answer(world, "approve", row)
    drop_by(world, what)
    assert row["intent_seq"] not in [left["intent_seq"] for left in waiting(world)]
    end = next(end for end in told(world) if end["id"] == row["intent_seq"])
    assert (end["ended"], end["why"]) == ("dropped", what) and counts(world)["dropped"] == 1
    said = answer(world, "approve", row)
    assert said["error"] == "operator" and f"dropped ({what})" in said["message"]
    world.run(2)
    assert adds(world) == []


def test_each_reason_to_drop_has_a_word_of_its_own() -> None:
    """What an operator reads of each, spelled out: a reason that is added is named here as well."""
    drops = [drop for drop in ApprovalDrop if drop]  # none has no word
    assert {int(drop): WORDS_OF_DROPS[drop.name] for drop in drops} == DROP_WORDS
    assert len(set(DROP_WORDS.values())) == len(drops) >= 8


def test_a_fault_of_our_own_drops_what_waits() -> None:
    """The engine halts itself: what waits is dropped at the next timer."""
    world = world_that_asks()
    row = waits(world)
    world.core.fault = RuntimeError("test")
    world.run(0.5)
    assert waiting(world) == [] and told(world)[-1] == {"id": row["intent_seq"], "ended": "dropped", "why": "halt",
                                                        "instrument": BTC, "judged": 0}


# The same again.


def journey(journal: Any) -> World:
    """Asked, approved and sent; declined; expired; dropped by a second boot while another waits."""
    world = world_that_asks(journal=journal)
    answer(world, "approve", waits(world))
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    sold = world.exit_order()
    world.reply(sold, "OEXIT1-AAAAA-AAAAAA")
    world.fill(sold, sold["qty_raw"], "T2", "OEXIT1-AAAAA-AAAAAA")
    answer(world, "decline", waits(world))
    row = waits(world)
    world.run(LASTS_S + 1)
    assert counts(world)["expired"] == 1
    row = waits(world)
    world.boot(epoch=2)
    answer(world, "approve", row)
    waits(world)
    world.sound()
    return world


def test_a_session_with_approvals_replays_and_goes_on_from_any_record(tmp_path: Path) -> None:
    """Every output is made again, and from a checkpoint behind each of sixty records too, whatever waited there."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = journey(journal)
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert again.difference_count == 0, again.differences
    assert again.engine.recorder.hexdigest() == world.engine.recorder.hexdigest()
    assert waiting(world) == again.engine.core.waiting_rows() != []
    rows = list(records(tmp_path / "journal"))
    whole, given = JournalReplay(Engine(Recorder(), None)), []
    for at, row in enumerate(rows, 1):
        whole.feed(row.seq, row.kind, row.tag, row.mono_ns, row.wall_ns, row.payload)
        if at % (len(rows) // 30) == 0 and whole.engine.core.waiting_live():
            given.append((at, checkpoint.dump(whole.engine)))
    assert len(given) >= 5
    for at, taken in given:
        other = JournalReplay(Engine(Recorder(), None))
        other.engine.recorder.captured = checkpoint.restore(other.engine, taken)
        for row in rows[at:]:
            other.feed(row.seq, row.kind, row.tag, row.mono_ns, row.wall_ns, row.payload)
        assert other.difference_count == 0, f"cut behind {at}: {other.differences}"
        assert image.dump(other.engine.core) == image.dump(whole.engine.core)
        assert alike(state(whole.engine), state(other.engine)) == []
