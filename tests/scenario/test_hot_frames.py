"""Hot frames never reach the tolerant path, at any depth, and what they do to orders is what it would have done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import engine_world
import pytest
from engine_world import BTC, World, replayed, time_text

from cstd._fast.codes import Link, OrderState
from cstd.storage.journal import open_journal
from cstd.storage.recordings import open_recording
from cstd.units import format_raw

V2_RECORDINGS = ("kraken-v2-btcusd-d25-20260802", "kraken-v2-ethusd-xrpusd-d25-20260802", "kraken-v2-btcusd-d10-20260801")


def slow_frames(world: World, send: Any) -> int:
    """How many frames of `send()` went to the tolerant path."""
    before = world.counters()["slow_frames"]
    send()
    world.sound()
    return world.counters()["slow_frames"] - before


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
def test_every_depth_is_scanned_in_place(monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    """Snapshots of the full depth and updates of as many levels on both sides are applied and verified without the decoder."""
    monkeypatch.setattr(engine_world, "DEPTH", depth)
    world = World(strategy="none").ready()
    book = world.books[BTC]
    assert slow_frames(world, lambda: world.public(book.snapshot(world.now_ns))) == 0
    assert world.verified()
    assert len(world.slot.book.levels(1, 2000)) == depth
    moved = [(price, qty + 1) for price, qty in book.bids.items()], [(price, 0) for price in sorted(book.asks)[1:]]
    added = [(price - 3, 7) for price in book.bids], [(price + 3, 9) for price in sorted(book.asks)]
    for bids, asks in (moved, added):
        frame = book.update(world.now_ns, bids, asks)
        assert slow_frames(world, lambda frame=frame: world.public(frame)) == 0
        assert world.verified()
    assert [row[:2] for row in world.slot.book.levels(-1, 2000)] == sorted(book.asks.items())


@pytest.mark.parametrize("count", [1, 2, 50, 256])
def test_many_trades_of_one_frame_are_scanned_in_place(count: int) -> None:
    """A snapshot of 50 trades, and a burst of as many as are ever held, are each trade applied once."""
    world = World(strategy="none").ready()
    rows = ",".join(f'{{"symbol":"BTC/USD","side":"sell","price":100000.0,"qty":0.00100000,"ord_type":"limit","trade_id":{n},'
                    f'"timestamp":"{time_text(world.now_ns)}"}}' for n in range(1, count + 1))
    for kind in ("snapshot", "update"):
        frame = f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'.encode()
        assert slow_frames(world, lambda frame=frame: world.public(frame)) == 0
    assert world.counters()["trades"] == count, "what the update repeats is known"


def test_tickers_and_heartbeats_are_scanned_in_place() -> None:
    """The full field list of a ticker, the time and the trade count of newer servers, heartbeats of both links."""
    world = World(strategy="none").ready()
    plain = world.ticker(BTC)
    newer = plain[:-3] + f',"timestamp":"{time_text(world.now_ns)}","trades":71}}]}}'.encode()
    beat = b'{"channel":"heartbeat"}'
    assert slow_frames(world, lambda: (world.public(plain, newer, beat), world.private(beat))) == 0


@pytest.mark.parametrize("recording", V2_RECORDINGS)
def test_no_hot_frame_of_a_recording_is_slow(data_dir: Path, recording: str) -> None:
    """Over a whole recording, what the engine counts as slow is replies and status, not one book or heartbeat."""
    path = data_dir / "recordings" / f"{recording}.jsonl.zst"
    frames = [frame.text for frame in open_recording(path).frames if frame.direction == "rx"]
    cold = [frame for frame in frames if not frame.startswith((b'{"channel":"book"', b'{"channel":"heartbeat"'))]
    world = World(strategy="none").ready()
    world.answering = False  # a resync would be answered by slow replies of our own
    before = world.counters()
    world.public(*frames)
    after = world.counters()
    unknown = after["unknown_instrument"] - before["unknown_instrument"]  # the other instruments of a recording
    assert after["slow_frames"] - before["slow_frames"] == len(cold) + unknown
    assert after["flooded_frames"] == 0


# Orders by the fast and by the tolerant path.


class Spoken(World):
    """The world with its reports in the venue's bare numbers; `spaced`: with a space that only the decoder accepts."""

    def __init__(self, *, spaced: bool, journal: Any = None) -> None:
        super().__init__(strategy=None, journal=journal)
        self.spaced = spaced

    def _raw(self, link: int, frame: bytes) -> None:
        if link == Link.LINK_PRIVATE and self.spaced:
            frame = frame.replace(b":", b": ", 1)
        super()._raw(link, frame)

    def say(self, text: str) -> None:
        """One executions message of one row."""
        self.sequence["executions"] += 1
        self._raw(Link.LINK_PRIVATE, (f'{{"channel":"executions","type":"update","data":[{{{text}}}],'
                                      f'"sequence":{self.sequence["executions"]}}}').encode())
        self.pump()


def life(world: Spoken) -> Spoken:
    """An opening in all its reports, two fills with fees, an amend, and the end of its exit."""
    world.ready()
    order = world.first_order()
    ids = f'"order_id":"OAAAAA-BBBBB-CCCCCC","cl_ord_id":"{order["cl_ord_id"]}"'
    time = f'"timestamp":"{time_text(world.now_ns)}"'
    world.reply(order)
    world.say(f'{ids},"symbol":"BTC/USD","order_qty":{format_raw(order["qty_raw"], 8)},"cum_cost":0.0,"exec_type":"pending_new",'
              f'"side":"buy","order_type":"limit","order_status":"pending_new","fee_ccy_pref":"fciq",{time},"ratecount":1.0')
    world.say(f'{time},"order_status":"new","exec_type":"new",{ids}')
    half = order["qty_raw"] // 2
    price = format_raw(order["price_raw"], 1)
    for number, qty in enumerate((half, order["qty_raw"] - half)):
        world.say(f'{ids},"exec_id":"T{number}","exec_type":"trade","trade_id":{number},"symbol":"BTC/USD","side":"buy",'
                  f'"last_qty":{format_raw(qty, 8)},"last_price":{price},"liquidity_ind":"m","cost":25.12500,{time},'
                  f'"order_status":"partially_filled","fees":[{{"asset":"USD","qty":0.06281}}],"ratecount":0.5')
    world.say(f'{ids},"exec_type":"filled","order_status":"filled",{time}')
    world.run(4)
    world.sound()
    return world


def test_orders_fare_alike_by_both_paths() -> None:
    """Fills, fees to the last digit, history and the digest are the same whichever path read the reports."""
    fast, slow = (life(Spoken(spaced=spaced)) for spaced in (False, True))
    assert fast.counters()["private_scanned"] >= 6
    assert slow.counters()["private_scanned"] == 0
    assert repr(fast.engine.ledger.fills) == repr(slow.engine.ledger.fills)
    assert len(fast.engine.ledger.fills) == 2
    assert fast.engine.tracker.history == slow.engine.tracker.history
    assert next(iter(fast.engine.tracker.history.values()))["state"] == OrderState.ORDER_FILLED
    assert fast.recorder.hexdigest() == slow.recorder.hexdigest()
    assert fast.recorder.captured == slow.recorder.captured


def test_scanned_reports_replay_without_a_difference(tmp_path: Path) -> None:
    """The journal of a session whose reports were scanned in place is made again, output by output."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = life(Spoken(spaced=False, journal=journal))
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert (again.differences, again.engine.recorder.hexdigest()) == ([], world.recorder.hexdigest())
    assert again.engine.core.counter_values()["private_scanned"] == world.counters()["private_scanned"]
