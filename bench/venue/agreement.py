"""How often the simulated venue and hftbacktest agree on what becomes of the same orders on the same tape.

    python bench/venue/agreement.py [--orders N] [--queue MODEL] [--seed N] [--result FILE]

Orders are drawn by a seed: immediate ones that cross or just miss, and post-only ones at, in and behind the touch, which are
canceled after a while. Both are given the same latencies and queue model, and each order has the market to itself. They agree
on an order when what was filled of it is equal, and the first and last fill are at most one market event apart.

What is made the same: impact is off, for hftbacktest has none, and a price that moves through a resting order fills the whole
of it (`agree`; `agree_shown` is with the venue's default, no more than shows). hftbacktest's book has no subscribed depth: it is
told of the levels within the window, by the plain book of bench/peers/truth.py. The recordings have next to no trades, so each
is compared as it is and with drawn trades between its frames; and there is a drawn market whose prices stand, so that queues
decide. docs/simulated-venue.md says what is left different.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import random
import subprocess
import sys
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent.parent
for folder in (BENCH, BENCH / "peers"):
    sys.path.insert(0, str(folder))

import environments  # noqa: E402 - scripts of the folders above
import result as results  # noqa: E402
import truth  # noqa: E402

from cstd.orders.simulated_terms import SimulatedVenueSettings  # noqa: E402
from cstd.orders.simulated_venue import SimulatedVenue  # noqa: E402
from cstd.research.replay import book_subscriptions, wire_frames  # noqa: E402
from cstd.storage.recordings import open_recording  # noqa: E402
from cstd.units import NS_PER_MS, NS_PER_S, NS_PER_US, format_raw  # noqa: E402
from cstd.venue.messages import ExecutionsMessage, InstrumentSpec, decode_private  # noqa: E402

SCRIPT = Path(__file__).with_name("hftbacktest_fills.py")
WINDOW = 50       # levels a side that hftbacktest is told of: its book walks tick by tick
FEED_NS, OUT_NS, BACK_NS = 20 * NS_PER_MS, 20 * NS_PER_MS, 20 * NS_PER_MS
RUN_S_MAX = 300
TRADES_FRAC = 0.2  # of book frames have a drawn trade behind them
DRAWN = "drawn-market"
DRAWN_FRAMES = 3_000
QUEUES = ("risk_averse", "power", "power2", "power3", "log", "log2")
QUEUES_USUAL = ("risk_averse", "power", "log")
TAPES = {
    "kraken-v2-btcusd-d25-20260802": ("BTC/USD",),
    "kraken-v2-ethusd-xrpusd-d25-20260802": ("ETH/USD", "XRP/USD"),
    "kraken-v2-btcusd-d10-20260801": ("BTC/USD",),
    "kraken-v1-spot-20210405": ("DASH/EUR",),
    DRAWN: ("DRAWN/USD",),
}

Change = tuple[int, int]  # the matching engine's time, filled so far in raw units


@dataclass
class Tape:
    """One instrument of a recording: its frames, hftbacktest's events, and the window after each frame."""

    name: str
    depth: int
    digits: tuple[int, int] = (0, 0)
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    events: list[list[Any]] = field(default_factory=list)
    windows: list[dict[str, list[tuple[int, int]]]] = field(default_factory=list)


def tape_of(frames: list[tuple[int, bytes]], name: str, depth: int, source: random.Random | None) -> Tape:
    """Convert the frames of one instrument. source: draws trades between them, for the recordings have next to none."""
    tape, book = Tape(name, depth), truth.TruthBook(depth)
    shadow: dict[str, dict[int, int]] = {"bids": {}, "asks": {}}
    whole = iter(frames)
    drawn: list[tuple[int, bytes]] = []
    while row := drawn.pop() if drawn else next(whole, None):
        recv_ns, text = row
        if f'"symbol":"{name}"'.encode() not in text:
            continue
        if text.startswith(b'{"channel":"book"'):
            kind, data = truth.book_of(text) or ("", {})
            if kind == "snapshot" and not tape.frames:
                level = data["bids"][0]
                tape.digits = tuple(-int(level[key].as_tuple().exponent) for key in ("price", "qty"))  # type: ignore[assignment]
            book.apply(kind, data)
            tape.events += [["depth", side, recv_ns, *level] for side, level in _changes(tape, book, shadow)]
        elif text.startswith(b'{"channel":"trade","type":"update"'):
            for row in truth.parse(text)["data"]:
                tape.events.append(["trade", 1 if row["side"] == "buy" else -1, recv_ns, _raw(row["price"], tape.digits[0]),
                                    _raw(row["qty"], tape.digits[1])])
        else:
            continue
        tape.frames.append((recv_ns, text))
        tape.windows.append({side: _levels(tape, book, side) for side in shadow})
        if source is not None and text.startswith(b'{"channel":"book"') and source.random() < TRADES_FRAC:
            drawn.append((recv_ns, _drawn_trade(tape, source)))
    return tape


def _drawn_trade(tape: Tape, source: random.Random) -> bytes:
    """A trade at one of the best levels of what is shown, of a part of it or of somewhat more."""
    side = source.choice(("bids", "asks"))
    level = tape.windows[-1][side][source.choice((0, 0, 0, 0, 0, 1, 2))]
    qty_raw = max(1, int(level[1] * source.choice((0.05, 0.3, 0.7, 1.2))))
    return _trade_frame(tape.name, tape.digits, side, level[0], qty_raw)


def _trade_frame(name: str, digits: tuple[int, int], side: str, price_raw: int, qty_raw: int) -> bytes:
    taker = "sell" if side == "bids" else "buy"
    return (f'{{"channel":"trade","type":"update","data":[{{"symbol":"{name}","side":"{taker}",'
            f'"price":{format_raw(price_raw, digits[0])},"qty":{format_raw(qty_raw, digits[1])},"ord_type":"limit",'
            f'"trade_id":1,"timestamp":"2026-01-01T00:00:00.000000Z"}}]}}').encode()


def _raw(value: Decimal, precision: int) -> int:
    return int(value.scaleb(precision))


def _levels(tape: Tape, book: Any, side: str) -> list[tuple[int, int]]:
    return [(_raw(price, tape.digits[0]), _raw(qty, tape.digits[1])) for price, qty in book.levels(side, min(WINDOW, tape.depth))]


def _changes(tape: Tape, book: Any, shadow: dict[str, dict[int, int]]) -> list[tuple[int, tuple[int, int]]]:
    """What differs within the window now; removals first, so that no side runs into levels that are still to go."""
    changes = []
    for name, side in (("bids", 1), ("asks", -1)):
        window, known = dict(_levels(tape, book, name)), shadow[name]
        worst = (min if side > 0 else max)(window) if len(window) >= min(WINDOW, tape.depth) else None
        gone = [price for price in known if price not in window and (worst is None or (price - worst) * side >= 0)]
        for price in gone:
            del known[price]
            changes.append((side, (price, 0)))
        changes += [(side, (price, qty)) for price, qty in window.items() if known.get(price) != qty]
        known.update(window)
    return sorted(changes, key=lambda change: change[1][1] > 0)


def drawn_market(source: random.Random) -> list[tuple[int, bytes]]:
    """A market of ten levels a side at prices that stand: what joins, cancels and trades at them is drawn; queues decide."""
    sides = {"bids": {10_000 - n: 1_000_000 for n in range(10)}, "asks": {10_001 + n: 1_000_000 for n in range(10)}}
    at_ns = 1_700_000_000 * NS_PER_S
    frames = [(at_ns, _book_frame("snapshot", sides, sides))]
    for _ in range(DRAWN_FRAMES):
        at_ns += source.randrange(5, 40) * NS_PER_MS + source.randrange(1000)
        side = source.choice(("bids", "asks"))
        best = (max if side == "bids" else min)(sides[side])
        price = best if source.random() < 0.7 else source.choice(sorted(sides[side]))
        shown, what = sides[side][price], source.choice(("join", "cancel", "cancel", "trade"))
        qty = source.randrange(1_000, 60_000)
        if what == "trade" and price == best and shown > 2 * qty:
            frames.append((at_ns, _trade_frame("DRAWN/USD", (2, 4), side, price, qty)))
        sides[side][price] = shown - qty if what != "join" and shown > 2 * qty else shown + 2 * qty
        frames.append((at_ns, _book_frame("update", {side: {price: sides[side][price]}}, sides)))
    return frames


def _book_frame(kind: str, told: dict[str, dict[int, int]], sides: dict[str, dict[int, int]]) -> bytes:
    levels = [*sorted(sides["asks"].items()), *sorted(sides["bids"].items(), reverse=True)]
    checksum = zlib.crc32("".join(f"{price}{qty}" for price, qty in levels).encode())
    texts = {side: ",".join(f'{{"price":{format_raw(price, 2)},"qty":{format_raw(qty, 4)}}}'
                            for price, qty in told.get(side, {}).items()) for side in sides}
    return (f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"DRAWN/USD","bids":[{texts["bids"]}],'
            f'"asks":[{texts["asks"]}],"checksum":{checksum},"timestamp":"2026-01-01T00:00:00.000000Z"}}]}}').encode()


@dataclass
class Order:
    """One drawn order, as times of ours."""

    number: int
    at_ns: int
    kind: str
    side: int
    price_raw: int
    qty_raw: int
    cancel_ns: int


def draw(tape: Tape, count: int, source: random.Random) -> list[Order]:
    """Orders at drawn times, priced by what is shown then."""
    orders = []
    first_ns, last_ns = tape.frames[0][0], tape.frames[-1][0]
    times = [recv_ns for recv_ns, _ in tape.frames]
    while len(orders) < count:
        at_ns = source.randrange(first_ns + NS_PER_S, last_ns - 2 * NS_PER_S)
        window = tape.windows[bisect_right(times, at_ns) - 1]
        side = source.choice((1, -1))
        ours, theirs = (window["bids"], window["asks"]) if side > 0 else (window["asks"], window["bids"])
        if len(ours) < 8 or len(theirs) < 8:
            continue
        if source.random() < 0.4:
            price_raw, _ = theirs[source.choice((0, 0, 0, 1, 2, 4))]
            if source.random() < 0.2:
                price_raw -= side * source.choice((1, 2, 5))
            kind, qty_raw = "ioc", int(theirs[0][1] * source.choice((0.1, 0.5, 1, 1.5, 4)))
        else:
            price_raw, shown_raw = ours[source.choice((0, 0, 0, 1, 1, 2, 3))]
            if source.random() < 0.3:
                price_raw = ours[0][0] + side * source.randrange(1, max(2, abs(theirs[0][0] - ours[0][0])))
            kind, qty_raw = "post_only", int(shown_raw * source.choice((0.01, 0.05, 0.3)))
        orders.append(Order(len(orders) + 1, at_ns, kind, side, price_raw, max(1, qty_raw),
                            at_ns + int(source.choice((0.5, 2, 10, 40)) * NS_PER_S)))
    return orders


def ours(tape: Tape, orders: list[Order], settings: SimulatedVenueSettings) -> dict[int, list[Change]]:
    """Changes of each order on a simulated venue of its own, which has seen the market from the beginning."""
    price_precision, qty_precision = tape.digits
    before = SimulatedVenue(settings, {"BASE": Decimal(10**12), "QUOTE": Decimal(10**18)}, ("executions",))
    before.add_instrument(InstrumentSpec(
        name=tape.name, base="BASE", quote="QUOTE", status="online", price_precision=price_precision,
        qty_precision=qty_precision, price_increment_raw=1, qty_increment_raw=1, qty_min_raw=1, cost_precision=0,
        cost_min=Decimal(0)), tape.depth)
    changes = {}
    seen = 0
    for order in sorted(orders, key=lambda order: order.at_ns):
        while tape.frames[seen][0] <= order.at_ns:
            before.market(tape.frames[seen][0] - FEED_NS, tape.frames[seen][1])
            seen += 1
        changes[order.number] = _play(copy.deepcopy(before), tape, order, seen)
    return changes


def _play(venue: SimulatedVenue, tape: Tape, order: Order, at: int) -> list[Change]:
    """Play one order on the frames from index `at` on."""
    venue.send(order.at_ns, _add_frame(tape, order))
    cancel_ns = order.cancel_ns if order.kind == "post_only" else 0
    for recv_ns, text in tape.frames[at:]:
        exchange_ns = recv_ns - FEED_NS
        if cancel_ns and cancel_ns < exchange_ns - OUT_NS:
            venue.send(cancel_ns, b'{"method":"cancel_order","params":{"cl_ord_id":["o"],"token":""},"req_id":2}')
            cancel_ns = 0
        venue.step(exchange_ns - 1)
        if exchange_ns > order.at_ns + OUT_NS and not venue.orders:
            break
        venue.market(exchange_ns, text)
    found = []
    for _, frame in venue.take_replies(tape.frames[-1][0] * 2):
        for message in decode_private(frame):
            if isinstance(message, ExecutionsMessage):
                found += [(report.timestamp_ns or 0, _raw(report.cum_qty or Decimal(0), tape.digits[1]))
                          for report in message.reports if report.exec_type == "trade"]
    return found


def _add_frame(tape: Tape, order: Order) -> bytes:
    terms = '"time_in_force":"ioc"' if order.kind == "ioc" else '"time_in_force":"gtc","post_only":true'
    return (f'{{"method":"add_order","params":{{"order_type":"limit","side":"{"buy" if order.side > 0 else "sell"}",'
            f'"symbol":"{tape.name}","order_qty":{format_raw(order.qty_raw, tape.digits[1])},'
            f'"limit_price":{format_raw(order.price_raw, tape.digits[0])},{terms},"cl_ord_id":"o","token":""}},'
            f'"req_id":1}}').encode()


def theirs(tape: Tape, orders: list[Order], queues: list[str], queue_n: Decimal,
           python: Path) -> tuple[dict[str, dict[int, list[Change] | None]], str]:
    """Changes of each order by hftbacktest for each queue model, None where it fails; and its version."""
    case = {"events": tape.events, "orders": [vars(order) for order in orders], "price_precision": tape.digits[0],
            "qty_precision": tape.digits[1], "feed_ns": FEED_NS, "out_ns": OUT_NS, "back_ns": BACK_NS,
            "base_ns": tape.frames[0][0] - NS_PER_S, "queues": queues, "queue_n": float(queue_n)}
    done = subprocess.run([str(python), str(SCRIPT)], input=json.dumps(case), capture_output=True, text=True, check=False,
                          timeout=RUN_S_MAX)
    if done.returncode != 0:
        raise environments.UnavailableError(f"hftbacktest failed: {environments.reason(done.stderr)}")
    answer = json.loads(done.stdout)
    return {queue: {int(number): _rises(changes) for number, changes in of_queue.items()}
            for queue, of_queue in answer["changes"].items()}, answer["version"]


def _rises(changes: list[Change] | None) -> list[Change] | None:
    """The changes by which more was filled."""
    if changes is None:
        return None
    rises: list[Change] = []
    for at_ns, filled_raw in changes:
        if filled_raw > (rises[-1][1] if rises else 0):
            rises.append((at_ns, filled_raw))
    return rises


def judge(tape: Tape, mine: list[Change], its: list[Change] | None) -> str:
    """"" where both agree, else in what they differ: filled, quantity or time; or that hftbacktest failed."""
    if its is None:
        return "failed"
    if bool(mine) != bool(its):
        return "filled"
    if not mine:
        return ""
    if mine[-1][1] != its[-1][1]:
        return "quantity"
    times = [recv_ns - FEED_NS for recv_ns, _ in tape.frames]
    for ends in (0, -1):
        at, other = mine[ends][0] // NS_PER_US, its[ends][0] // NS_PER_US
        if at != other and abs(_event(times, at) - _event(times, other)) > 1:
            return "time"
    return ""


def _event(times: list[int], at_us: int) -> int:
    """Which market event a time belongs to: the last that is not later, to the microsecond that reports tell."""
    return bisect_right(times, at_us * NS_PER_US + NS_PER_US - 1)


def _verdicts(tape: Tape, orders: list[Order], its: dict[int, list[Change] | None], queue: str,
              through: str) -> dict[int, tuple[str, list[Change]]]:
    """What each order comes to beside hftbacktest, and our changes of it."""
    settings = SimulatedVenueSettings(feed_ns=FEED_NS, order_out_ns=OUT_NS, order_back_ns=BACK_NS, impact=False,
                                      queue=queue, through=through)  # type: ignore[arg-type]
    mine = ours(tape, orders, settings)
    return {order.number: (judge(tape, mine[order.number], its[order.number]), mine[order.number]) for order in orders}


def compare(data: Path, recording: str, name: str, count: int, queues: list[str], seed: int, python: Path, *,
            drawn: bool) -> list[dict[str, Any]]:
    """One instrument of one recording with each queue model; drawn: with drawn trades between its frames."""
    source = random.Random(f"{seed}:{recording}:{name}:{drawn}")
    if recording == DRAWN:
        tape = tape_of(drawn_market(source), name, 10, None)
    else:
        frames = list(wire_frames(open_recording(data / "recordings" / f"{recording}.jsonl.zst")))
        tape = tape_of(frames, name, book_subscriptions(frames)[name], source if drawn else None)
    orders = draw(tape, count, source)
    its, version = theirs(tape, orders, queues, SimulatedVenueSettings().queue_n, python)
    rows = []
    for queue in queues:
        verdicts, shown = (_verdicts(tape, orders, its[queue], queue, through) for through in ("whole", "shown"))
        filled = [order for order in orders if its[queue][order.number]]
        failed = sum(changes is None for changes in its[queue].values())
        rows.append({
            "recording": recording, "instrument": name, "queue": queue,
            "trades": sum(row[0] == "trade" for row in tape.events), "trades_drawn": drawn, "orders": count - failed,
            "failed": failed, "agree": sum(not verdict for verdict, _ in verdicts.values()),
            "agree_shown": sum(not verdict for verdict, _ in shown.values()), "filled": len(filled),
            "resting_filled": sum(order.kind == "post_only" for order in filled), "hftbacktest": version,
            "differences": [{"order": vars(order), "in": verdict, "ours": mine, "theirs": its[queue][order.number]}
                            for order in orders for verdict, mine in [verdicts[order.number]] if verdict not in ("", "failed")],
        })
    return rows


def main() -> int:
    """Compare and print; exit 1 where fewer than 99 % agree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=200, help="for each instrument and queue model (200)")
    parser.add_argument("--queue", choices=QUEUES, action="append",
                        help=f"one or more of the queue models ({', '.join(QUEUES_USUAL)})")
    parser.add_argument("--recording", choices=sorted(TAPES), action="append", help="one or more of the recordings (all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--result", type=Path, help="write the figures into this file too")
    args = parser.parse_args()
    data = os.environ.get("CSTD_DATA")
    if not data:
        print("CSTD_DATA is not set: no recordings to compare on", file=sys.stderr)
        return 2
    try:
        python = environments.ready(environments.PEERS["hftbacktest"])
        rows = []
        queues = args.queue or list(QUEUES_USUAL)
        tapes = [(recording, name) for recording in args.recording or TAPES for name in TAPES[recording]]
        for (recording, name), drawn in itertools.product(tapes, (False, True)):
            if recording == DRAWN and not drawn:
                continue
            found = compare(Path(data), recording, name, args.orders, queues, args.seed, python, drawn=drawn)
            for row in found:
                print(f"{recording} {name} {'drawn trades' if drawn else 'as recorded'} {row['queue']}: "
                      f"{row['agree']} of {row['orders']} agree, {row['filled']} filled", file=sys.stderr)
            rows += found
    except environments.UnavailableError as error:
        print(f"hftbacktest: {error}", file=sys.stderr)
        return 2
    figures = summary(rows)
    print(json.dumps(figures, indent=1))
    if args.result:
        results.write(args.result, results.make("simulated-venue", figures, versions={"hftbacktest": rows[0]["hftbacktest"]}))
    return 0 if figures["agree_frac"] >= 0.99 else 1


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """All rows and what they come to."""
    total = {key: sum(row[key] for row in rows) for key in ("orders", "failed", "agree", "agree_shown", "filled",
                                                              "resting_filled")}
    return total | {"agree_frac": round(total["agree"] / total["orders"], 5),
                    "agree_shown_frac": round(total["agree_shown"] / total["orders"], 5), "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
