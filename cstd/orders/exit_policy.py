"""ExitPolicy: at which prices and when a position is to be left; docs/exits.md.

Thresholds follow from fills, from the configuration and from one reading of the ATR, all of them journaled or derived from
what is: a replay and a checkpoint come to the same raw units. They are written into the instrument's slot, where the
compiled core compares each verified mid with them; what it finds due it sells through the gateway.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from cstd._fast.codes import ExitReason
from cstd.config import Config
from cstd.ledger.positions import Position
from cstd.orders.tracker import OrderTracker
from cstd.units import BPS_PER_UNIT, INT64_MAX, seconds_to_ns

if TYPE_CHECKING:
    from cstd._fast.slot import InstrumentSlot

# A reason as decisions, fills, metrics and the log name it.
REASON_WORDS = {int(reason): reason.name[5:].lower() for reason in ExitReason if reason}


def reason_word(code: int) -> str | None:
    """Return the word of a reason, such as "stop"; None for 0, of what is no exit of ours or older than reasons."""
    return REASON_WORDS.get(code)


@dataclass(slots=True)
class Began:
    """What is kept of the beginning of a position.

    told_ns: the fill's time by the venue, by which it is known again. seen_ns: when the engine first marked it. atr: then, or
    the first that was ready after it; None while there is none.
    """

    told_ns: int
    seen_ns: int
    atr: Decimal | None = None


class ExitPolicy:
    """What is watched for of each position. One writer: the engine.

    Attributes:
        atr_missing_count: positions that began with the hard stop alone because the ATR was not ready.
    """

    def __init__(self, tracker: OrderTracker) -> None:
        self._tracker = tracker
        self._stop_bps = 0
        self._stop_atr_multiple = Decimal(0)
        self._target_bps = 0
        self._horizon_ns = 0
        self._began: dict[int, Began] = {}
        self._said: dict[int, int] = {}  # the reason that the log knows of, while it holds
        self.atr_missing_count = 0

    def configure(self, cfg: Config) -> None:
        """Take the thresholds at a boot. What was beyond a stop when the process ended is looked at anew."""
        self._stop_bps = cfg.exits.stop_bps
        self._stop_atr_multiple = cfg.exits.stop_atr_multiple
        self._target_bps = cfg.exits.target_bps
        self._horizon_ns = seconds_to_ns(cfg.exits.horizon_s)
        for slot in self._tracker.core.slots:
            slot.watch_anew()

    def watch(self, number: int, position: Position, wall_ns: int) -> None:
        """Bring what is watched for of one instrument up to date with its position."""
        slot = self._tracker.core.slots[number]
        if slot.is_dust():
            slot.watch_exit(0, 0, 0)
            if position.qty_raw <= 0:
                self._began.pop(number, None)
        else:
            began = self._beginning(number, position, slot, wall_ns)
            # A time that the venue did not tell, or that is to come, is none.
            since_ns = began.told_ns if 0 < began.told_ns <= began.seen_ns else began.seen_ns
            stop = self._stop(position.bought_at, began.atr)
            unit = Decimal(1).scaleb(position.price_precision)
            target = position.bought_at * (BPS_PER_UNIT + self._target_bps) / BPS_PER_UNIT if self._target_bps else Decimal(0)
            slot.watch_exit(
                _bounded(stop * 2 * unit, ROUND_FLOOR), _bounded(target * unit, ROUND_CEILING),
                since_ns + self._horizon_ns if self._horizon_ns else 0)
        self._say(number, slot)

    def _stop(self, entry: Decimal, atr: Decimal | None) -> Decimal:
        """The price at which a position is stopped: the tighter one of both stops; 0 for none."""
        stops = [Decimal(0)]
        if self._stop_bps:
            stops.append(entry * (BPS_PER_UNIT - self._stop_bps) / BPS_PER_UNIT)
        if self._stop_atr_multiple and atr is not None:
            stops.append(entry - self._stop_atr_multiple * atr)
        return max(stops)

    def _beginning(self, number: int, position: Position, slot: InstrumentSlot, wall_ns: int) -> Began:
        """What is known of a position's beginning. Its ATR stays: a stop must not give way to a market that grows wilder."""
        began = self._began.get(number)
        if began is None or began.told_ns != position.since_wall_ns:
            began = self._began[number] = Began(position.since_wall_ns, wall_ns)
            self.atr_missing_count += bool(self._stop_atr_multiple) and _atr(slot) is None
        if began.atr is None and self._stop_atr_multiple:
            began.atr = _atr(slot)
        return began

    def _say(self, number: int, slot: InstrumentSlot) -> None:
        """Tell the log once that a position is being left, and again where a reason that comes before takes over."""
        stop2_raw, target_raw, _, reason = slot.exit_watch()
        if reason and self._said.get(number) != reason:
            digits = self._tracker.ledger.positions[number].price_precision
            self._tracker.notes.append(("warning" if reason == ExitReason.EXIT_STOP else "info", "exit", {
                "instrument": slot.name.decode(), "reason": reason_word(reason), "bid": _text(slot.last_verified_bid_raw, digits),
                "stop": _text(stop2_raw, digits, 2), "target": _text(target_raw, digits)}))
        self._said[number] = reason


def _atr(slot: InstrumentSlot) -> Decimal | None:
    """The average true range of the five-minute bars in quote, None where it is not ready or no number."""
    value = slot.m5.ready_values().get("atr14", 0.0)
    return Decimal(value) if math.isfinite(value) and value > 0 else None


def _bounded(raw: Decimal, rounding: str) -> int:
    """Return a threshold as a raw integer that the core can hold."""
    return max(0, min(int(raw.to_integral_value(rounding)), INT64_MAX))


def _text(raw: int, digits: int, parts: int = 1) -> str | None:
    return f"{Decimal(raw).scaleb(-digits) / parts:f}" if raw else None
