"""The futures feed in the engine: gate 7's reference price, from the socket to the verdict; docs/futures.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cstd._fast.codes import EventKind, IntentKind, Link
from cstd._fast.gates import DECISION_DTYPE, Gate, Why
from cstd._fast.recorder import Recorder
from cstd.config import Config
from cstd.config.schema import FuturesConfig
from cstd.decision.why import explain, waterfall
from cstd.engine import Engine
from cstd.engine.boot import boot_payload
from cstd.engine.checkpoint import dump, restore
from cstd.market.reference import INVALID
from cstd.storage.journal import open_journal
from tests.scenario.engine_world import BTC, ETH, START_NS, S, World, practice_config, replayed
from tests.venue.test_venue_futures import ticker

PRODUCTS = {BTC: "PF_XBTUSD", ETH: "PF_ETHUSD"}
NEAR, FAR = "100000.04", "102000"  # an opening joins the bid of 100,000.0; policy.reference_band_bps_max is 100
AGE_S = 5


def config(names: tuple[str, ...] = (BTC,), *, reference: bool = True, named: tuple[str, ...] = (BTC, ETH)) -> Config:
    """The practice configuration with a futures feed."""
    told = FuturesConfig(names={name: PRODUCTS[name] for name in named}, reference=reference, age_ms_max=AGE_S * 1000)
    return msgspec.structs.replace(practice_config(names), futures=told)


class FuturesWorld(World):
    """A world whose venue speaks for the futures feed as well.

    Attributes:
        index: what it tells of each product, once a step; None: nothing. requests: what it was asked.
    """

    def __init__(self, cfg: Config | None = None, *, index: str | None = NEAR, strategy: str = "rehearsal",
                 journal: Any = None) -> None:
        super().__init__(cfg or config(), strategy=strategy, journal=journal)
        self.index = dict.fromkeys(PRODUCTS.values(), index)
        self.fields: dict[str, Any] = {}
        self.requests: list[dict[str, Any]] = []
        self.subscribed: list[str] = []

    def boot(self, epoch: int = 1) -> FuturesWorld:
        """As the others; then the futures socket comes up."""
        super().boot(epoch)
        self.link(Link.LINK_FUTURES, up=True)
        return self

    def link(self, link: int, *, up: bool, reason: str = "") -> None:
        """Subscriptions end with their connection."""
        if link == Link.LINK_FUTURES:
            self.subscribed.clear()
        super().link(link, up=up, reason=reason)

    def _answer(self, link: int, request: dict[str, Any]) -> None:
        if link != Link.LINK_FUTURES:
            super()._answer(link, request)
            return
        self.requests.append(request)
        self._send(link, {**request, "event": request["event"] + "d"})
        for product in request.get("product_ids", []):
            if request["event"] == "subscribe":
                self.subscribed.append(product)
                self.tell(product)
            else:
                self.subscribed.remove(product)

    def tell(self, product: str = "PF_XBTUSD", **fields: Any) -> None:
        """The feed tells of a product, unless it has nothing to tell."""
        if (index := self.index[product]) is not None:
            told = {"index": json.loads(index), "pair": f"{product[3:-3]}:USD", **self.fields, **fields}
            self._raw(Link.LINK_FUTURES, ticker(product, self.now_ns // 1_000_000, **told))

    def step(self, seconds: float = 0.25) -> None:
        """Time passes; the feed tells of each product that is subscribed."""
        super().step(seconds)
        for product in list(self.subscribed):
            self.tell(product)
        self.pump()

    def openings(self, seconds: float = 10.0) -> list[Any]:
        """Let time and the book go on until something was decided about an opening; returns the rows of all of them."""
        for _ in range(int(seconds * 4)):
            self.step()
            self.tick()
            rows = [row for row in self.rows() if row["kind"] == IntentKind.OPENING]
            if rows:
                return rows
        raise AssertionError("nothing was wished for")

    def rows(self) -> list[Any]:
        """Every decision row."""
        return [np.frombuffer(raw, dtype=DECISION_DTYPE)[0] for raw in self.core.decision_rows(1000)]

    def price(self, name: str = BTC) -> int:
        """The reference price that counts now, 0 for none."""
        return self.engine.futures.references.price_raw(name, self.mono_ns)


def why(row: Any) -> Why:
    """What gate 7 said."""
    return Why(int(row["reason"][Gate.GATE_PRICE - 1]))



def test_an_opening_near_the_index_is_sent() -> None:
    """Within the band of its reference price an opening goes out; the price is the index in the instrument's digits."""
    world = FuturesWorld().ready()
    assert world.price() == 1_000_000  # 100,000.04 to the nearest tenth
    assert why(world.openings()[0]) == Why.WHY_PASSED
    assert [order["kind"] for order in world.live()] == [IntentKind.OPENING]
    assert [request.get("product_ids") for request in world.requests] == [None, ["PF_XBTUSD"]]
    world.sound()


@pytest.mark.control("price.reference")
def test_an_opening_away_from_the_index_is_refused_and_its_row_says_how_far() -> None:
    """A book that was moved away from the index is no price to buy at."""
    world = FuturesWorld(index=FAR).ready()
    row = world.openings()[0]
    assert why(row) == Why.WHY_REFERENCE and row["first_failing"] == Gate.GATE_PRICE and not world.live()
    told = explain(row, world.engine.feed.specs[BTC], currency="USD")
    gate = next(gate for gate in told["gates"] if gate["name"] == "price")  # type: ignore[attr-defined]
    assert (gate["key"], gate["value"], gate["limit"], gate["unit"]) == ("policy.reference_band_bps_max", "196.079", "100", "bps")
    assert "refused by price (reference)" in waterfall(told)


@pytest.mark.control("price.no_reference")
@pytest.mark.parametrize(("index", "fields", "counted"), [
    (None, {}, None), (NEAR, {"index": None}, "no_index"), ("0", {}, "not_positive"), ("-100000", {}, "not_positive"),
    ("1e13", {}, "beyond_domain"), ("0.04", {}, "beyond_domain"), (NEAR, {"pair": "XBT:EUR"}, "other_quote"),
    (NEAR, {"index": "NaN"}, None), (NEAR, {"time": "late"}, None),
])
def test_without_an_authentic_index_an_opening_is_refused(index: str | None, fields: dict[str, Any],
                                                          counted: str | None) -> None:
    """Nothing told, nothing that is a price, a price in another currency: there is no reference, and nothing opens."""
    world = FuturesWorld(index=index)
    world.fields = fields
    world.ready()
    row = world.openings()[0]
    assert why(row) == Why.WHY_NO_REFERENCE and not world.live()
    invalid = world.engine.futures.references.invalid
    assert {reason for reason in INVALID if invalid[reason]} == ({counted} if counted else set())
    assert "passes with a current index price of the futures feed" in waterfall(
        explain(row, world.engine.feed.specs[BTC], currency="USD"))
    world.sound()


def test_an_index_counts_for_so_long_and_no_longer() -> None:
    """At futures.age_ms_max it counts, one nanosecond later it does not, though nothing came in between."""
    world = FuturesWorld().ready()
    world.subscribed.clear()
    heard_ns = world.engine.futures.references.tickers["PF_XBTUSD"][1]
    references = world.engine.futures.references
    assert references.price_raw(BTC, heard_ns + AGE_S * S) == 1_000_000
    assert references.price_raw(BTC, heard_ns + AGE_S * S + 1) == 0
    for past_ns, said in ((0, Why.WHY_PASSED), (1, Why.WHY_NO_REFERENCE)):
        world = FuturesWorld(strategy="bench").ready()
        world.subscribed.clear()
        heard_ns = world.engine.futures.references.tickers["PF_XBTUSD"][1]
        world.now_ns = heard_ns + START_NS - 77 * S + AGE_S * S + past_ns
        world.tick()
        assert why(world.rows()[-1]) == said, past_ns


@pytest.mark.parametrize("fault", ["silence", "link", "gap", "malformed"])
def test_what_breaks_the_feed_pulls_what_rests_and_opens_nothing(fault: str) -> None:
    """A resting opening whose reference is gone is canceled in the next pass; with the feed back, openings go on."""
    world = FuturesWorld().ready()
    order = world.first_order()
    world.reply(order)
    if fault == "silence":
        world.index["PF_XBTUSD"] = None
        world.run(AGE_S + 0.5)
    elif fault == "link":
        world.link(Link.LINK_FUTURES, up=False, reason="cut")
    elif fault == "gap":
        world.answering = False
        world.tell(seq=4)
        world.now_ns += S
        world.tell(seq=6)
    else:
        world._raw(Link.LINK_FUTURES, ticker(index="many"))
    assert world.price() == 0
    world.tick()
    assert world.core.order(order["index"])["cancel_sent"]
    assert why(world.rows()[-1]) == Why.WHY_NO_REFERENCE
    world.answering = True
    world.sound()


@pytest.mark.parametrize("index", [None, FAR])
def test_an_exit_asks_for_no_reference(index: str | None) -> None:
    """What is held is sold whatever the futures feed says, or whether it says anything."""
    world = FuturesWorld().ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.index["PF_XBTUSD"] = index
    if index is None:
        world.link(Link.LINK_FUTURES, up=False)
    world.run(AGE_S + 1)
    leaving = world.exit_order()
    assert leaving["kind"] == IntentKind.EXIT and world.price() == (0 if index is None else 1_020_000)
    assert why(next(row for row in reversed(world.rows()) if row["kind"] == IntentKind.EXIT)) == Why.WHY_PASSED


def test_without_reference_in_the_configuration_an_index_still_bounds_and_its_lack_does_not() -> None:
    """`reference = false`: near an index or without one openings pass; far from one that is there they do not."""
    for index, said in ((None, Why.WHY_PASSED), (NEAR, Why.WHY_PASSED), (FAR, Why.WHY_REFERENCE)):
        world = FuturesWorld(config(reference=False), index=index).ready()
        assert why(world.openings()[0]) == said, index


def test_an_instrument_without_a_product_needs_none_and_one_that_is_not_traded_is_not_asked_for() -> None:
    """The mapping decides, instrument by instrument."""
    world = FuturesWorld(config((BTC, ETH), named=(BTC,)), index=None).ready()
    rows = {int(row["instrument"]): why(row) for row in [*world.openings(), *world.openings(), *world.rows()]}
    assert rows == {0: Why.WHY_NO_REFERENCE, 1: Why.WHY_PASSED}
    assert [slot.reference_required for slot in world.core.slots] == [True, False]


def test_new_digits_make_the_price_before_them_void() -> None:
    """A raw price is one only with the digits that it was made with."""
    world = FuturesWorld(strategy="none").ready()
    assert world.price() == 1_000_000
    spec = world.engine.feed.specs[BTC]
    slot = world.slot
    world.core.configure(0, 2, spec.qty_precision, 1, 1, slot.qty_min_raw, slot.cost_min_e8, slot.rate_e8)
    assert world.price() == 0


def test_a_session_with_a_futures_feed_replays_equal_through_a_checkpoint(tmp_path: Path) -> None:
    """The feed's frames are journaled, so the same verdicts come out again: from the start, and from any checkpoint."""
    journal = open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=2**20, segment_bytes=2**22, sync_interval_ms=1)
    world = FuturesWorld(journal=journal).ready()
    order = world.first_order()
    world.reply(order)
    world.run(2)
    other = Engine(Recorder(), None)
    other.recorder.captured = restore(other, dump(world.engine))
    for row in (other.futures.references, world.engine.futures.references):
        assert row.price_raw(BTC, world.mono_ns) == 1_000_000 and row.required(BTC)
    assert other.futures.references.tickers == world.engine.futures.references.tickers
    assert other.futures.references.specs is other.feed.specs and other.futures.machine.live("PF_XBTUSD")
    world.index["PF_XBTUSD"] = FAR
    world.run(3)
    world.tick()
    digest = world.recorder.hexdigest()
    journal.sync()
    journal.close()
    again = replayed(tmp_path / "journal")
    assert not again.differences and again.engine.recorder.hexdigest() == digest
    assert Why.WHY_REFERENCE in {why(np.frombuffer(raw, dtype=DECISION_DTYPE)[0]) for raw in again.engine.core.decision_rows(100)}


def test_a_boot_forgets_what_the_one_before_was_told() -> None:
    """The index of before the restart is nothing to open by, on any clock; another configuration is in force at once."""
    world = FuturesWorld().ready()
    assert world.price() == 1_000_000
    world.cfg = config(reference=False)
    world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, 2, None, None))
    assert world.price() == 0 and not world.slot.reference_required and not world.engine.futures.machine.up
    world.cfg = practice_config()
    world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, 3, None, None))
    assert world.engine.futures.machine.products == () and world.engine.futures.references.product_of(BTC) is None
    world.sound()


def test_a_flood_of_futures_frames_gives_that_socket_up_and_nothing_else() -> None:
    """More than the tolerant path may take in a time: the socket counts as down, the others go on."""
    world = FuturesWorld(strategy="none").ready()
    world.answering = False
    frame = b'{"feed":"x","fill":"' + b"x" * 3_000_000 + b'"}'
    for _ in range(6):
        world.core.frame(Link.LINK_FUTURES, frame, world.mono_ns, world.now_ns)
    assert not world.engine.futures.machine.up and world.price() == 0
    assert [link for link, _ in world.engine.close_links] == [Link.LINK_FUTURES]
    assert world.engine.public.up and world.engine.private.up
    world.sound()
