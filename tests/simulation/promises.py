"""Promises that are judged as an order leaves and as it arrives, by what the venue has and by what was sent.

The engine's own flags and tables are what these must not trust: a book is computed again from the frames that the client read,
and what is open, held and allowed is counted from the venue's account and the configuration.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from cstd._fast.codes import EventKind, Link, Side, Verdict
from cstd._fast.gates import DECISION_DTYPE, Gate

if TYPE_CHECKING:
    from cstd.practice.instruments import Instrument
    from tests.simulation.simulated import Simulation

CHECKSUM_LEVELS = 10
EQUITY_TOLERANCE = Decimal("1.05")  # equity and price move while an order is under way


class BrokenPromiseError(AssertionError):
    """What the daemon did and must not. `kind`: which promise; two failures of one kind may have one cause."""

    def __init__(self, kind: str, detail: object = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


def promise(kept: bool, kind: str, detail: object = "") -> None:
    """Raise where a promise is not kept."""
    if not kept:
        raise BrokenPromiseError(kind, detail)


class OwnBook:
    """A book computed from its messages as the venue documents it: levels, cut to the depth, and the CRC over the top ten."""

    def __init__(self, depth: int, price_digits: int, qty_digits: int) -> None:
        self._depth = depth
        self._digits = price_digits, qty_digits
        self._sides: dict[str, dict[int, int]] = {"bids": {}, "asks": {}}

    def apply(self, entry: dict[str, Any], *, snapshot: bool) -> int:
        """Take one entry of a book message; returns the checksum of what the book is then."""
        for name, side in self._sides.items():
            if snapshot:
                side.clear()
            for level in entry.get(name, ()):
                price, qty = (int(level[key].scaleb(digits)) for key, digits in zip(("price", "qty"), self._digits, strict=True))
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)
            for price in sorted(side, reverse=name == "bids")[self._depth:]:
                del side[price]
        tokens = "".join(f"{price}{qty}" for name in ("asks", "bids") for price, qty in self.top(name))
        return zlib.crc32(tokens.encode())

    def top(self, name: str) -> list[tuple[int, int]]:
        """The best ten levels of `bids` or `asks`, best first, as (price_raw, qty_raw)."""
        side = self._sides[name]
        return [(price, side[price]) for price in sorted(side, reverse=name == "bids")[:CHECKSUM_LEVELS]]


def book_frames(journal: list[Any], symbol: str) -> list[dict[str, Any]]:
    """What the client has read of a book on its present connection, from the last snapshot on; empty without one."""
    frames = []
    head, named = b'{"channel":"book"', f'"symbol":"{symbol}"'.encode()
    for kind, tag, _, _, payload in reversed(journal):
        if kind == EventKind.EVENT_LINK and tag == Link.LINK_PUBLIC:
            break
        if (kind, tag) == (EventKind.EVENT_FRAME, Link.LINK_PUBLIC) and payload.startswith(head) and named in payload:
            frames.append(parse(payload))
            if frames[-1]["type"] == "snapshot":
                return frames[::-1]
    return []


def parse(payload: bytes) -> Any:
    """Return a message with its numbers exact."""
    return json.loads(payload, parse_float=Decimal, parse_int=Decimal)


def check_book(world: Simulation, symbol: str, journal: list[Any]) -> None:
    """At an opening's frame: each message since the last snapshot verifies, and the engine's book is what they make."""
    instrument = world.exchange.instruments[symbol]
    book = OwnBook(world.cfg.instruments.depth, instrument.price_precision, instrument.qty_precision)
    frames = book_frames(journal, symbol)
    promise(bool(frames), "an opening on a book that no snapshot began", symbol)
    for frame in frames:
        for entry in frame["data"]:
            computed = book.apply(entry, snapshot=frame["type"] == "snapshot")
            promise(computed == int(entry["checksum"]), "an opening on a book that does not verify", (symbol, frame["type"]))
    engine_book = world.engine.core.slots[world.engine.tracker.numbers[symbol]].book
    for side, name in ((Side.BUY, "bids"), (Side.SELL, "asks")):
        levels = [level[:2] for level in engine_book.levels(side, CHECKSUM_LEVELS)]
        promise(levels == book.top(name), "an opening on another book than was sent", (symbol, name, levels, book.top(name)))


GATES = tuple(sorted(int(gate) for gate in Gate if gate not in (Gate.GATE_NONE, Gate.GATE_MANAGED_BOUND)))


def counted(payloads: Iterable[bytes]) -> Counter[str]:
    """What the counters of gates and verdicts must be, by the decision records of a journal alone.

    Records of resting orders that were judged again are no intents: they have counters of their own.
    """
    found: Counter[str] = Counter()
    for payload in payloads:
        row = np.frombuffer(payload, DECISION_DTYPE)[0]
        if row["rejudge"]:
            continue
        found["intents"] += 1
        found[{Verdict.APPROVE: "approved", Verdict.REDUCE: "reduced"}.get(row["verdict"], "refused")] += 1
        if row["verdict"] == Verdict.REFUSE:
            found[f"{row['first_failing']} first"] += 1
        for n, gate in enumerate(GATES):
            noted = int(row["recorded_mask"]) >> n & 1
            result = "passed" if row["reason"][n] == 0 else "noted" if noted else "failed"
            found[f"{gate} {result}"] += 1
    return found


def shown(engine: Any) -> Counter[str]:
    """The same as the engine counts it; what is 0 is left out, as in a Counter's comparison."""
    values = engine.core.counter_values()
    _, first, failed, noted = engine.core.fault_counts()
    found = Counter({name: values[name] for name in ("intents", "approved", "reduced", "refused")})
    found.update({f"{gate} first": n for gate, n in enumerate(first)})
    for gate in GATES:
        found.update({f"{gate} failed": failed[gate], f"{gate} noted": noted[gate],
                      f"{gate} passed": values["intents"] - failed[gate] - noted[gate]})
    return found


def check_counts(engine: Any, journal: Iterable[tuple[int, int, int, int, bytes]]) -> None:
    """The engine's counters of gates and verdicts are what counting the journal's decision records gives."""
    recorded = counted(payload for kind, _, _, _, payload in journal if kind == EventKind.OUT_DECISION)
    counters = shown(engine)
    promise(counters == recorded, "counters differ from the records", (+(counters - recorded), +(recorded - counters)))


def check_arrival(world: Simulation, text: str) -> None:
    """As a frame of the daemon arrives at the venue: what it would add to what is open and held there is allowed."""
    if '"add_order"' not in text and '"amend_order"' not in text:
        return
    frame = json.loads(text, parse_float=Decimal)
    params = frame["params"]
    if frame["method"] == "amend_order":
        check_amend(world, params)
    elif params["side"] == "buy":
        check_opening(world, params)


def check_amend(world: Simulation, params: dict[str, Any]) -> None:
    """An order's first amend makes it smaller or moves its price. Later ones may follow one that was denied, and made all the
    same. None takes, none makes it larger, and at another price the position stays within its limit."""
    promise(params["post_only"] is True, "an amend that may take", params)
    for order in world.exchange.account.open.values():
        if order.cl_ord_id == params["cl_ord_id"]:
            qty_raw = int(Decimal(params["order_qty"]).scaleb(order.instrument.qty_precision))
            price_raw = int(Decimal(params["limit_price"]).scaleb(order.instrument.price_precision))
            moved = price_raw != order.limit_raw
            promise(qty_raw < order.qty_raw or order.amended or (moved and qty_raw == order.qty_raw),
                    "an amend makes an order larger", params)
            check_position(world, order.instrument, price_raw if moved else 0, qty_raw - order.filled_raw, params)


def check_opening(world: Simulation, params: dict[str, Any]) -> None:
    """No other opening of its instrument is open, and with what is held and open the position stays within its limit."""
    instrument = world.exchange.instruments[params["symbol"]]
    others = [order for order in open_openings(world, instrument) if order.cl_ord_id not in world.lost_orders]
    promise(not others, "two openings of an instrument at a time", (params["cl_ord_id"], [o.cl_ord_id for o in others]))
    asked_raw = int(Decimal(params["order_qty"]).scaleb(instrument.qty_precision))
    price_raw = int(Decimal(params["limit_price"]).scaleb(instrument.price_precision))
    check_position(world, instrument, price_raw, asked_raw, params)


def check_position(world: Simulation, instrument: Instrument, price_raw: int, asked_raw: int, params: dict[str, Any]) -> None:
    """What is held and what is asked for at a price stay within the limit of a position."""
    account = world.exchange.account
    held_raw = sum(fill.qty_raw * (1 if fill.order.side == Side.BUY else -1) for fill in account.fills
                   if fill.order.instrument.name == instrument.name)
    value = instrument.value(price_raw, held_raw + asked_raw)
    equity = max(Decimal(world.cfg.account.capital), account.balances["USD"])
    allowed = equity * world.cfg.risk.position_bps_max / 10_000 * EQUITY_TOLERANCE
    promise(value <= allowed, "more is bought than a position may be", (params["cl_ord_id"], value, allowed))


def open_openings(world: Simulation, instrument: Instrument) -> Iterator[Any]:
    """Buys of ours that are open at the venue."""
    return (order for order in world.exchange.account.open.values()
            if order.instrument.name == instrument.name and order.side == Side.BUY)
