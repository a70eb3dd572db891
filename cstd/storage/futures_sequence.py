"""Sequence numbers of the futures feed: each product's book and trades count up by one, without a gap.

The futures book has no checksum, so its sequence is the only proof that a recording is whole. The snapshot of a
product sets the number that its first change must follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cstd.errors import VerificationError
from cstd.storage.recordings import Frame

PLACES_MAX = 100  # a recording that is broken everywhere is told apart by its first hundred places


@dataclass(frozen=True, slots=True)
class Gap:
    """A message whose sequence number does not follow the one before it."""

    message: int
    feed: str
    product_id: str
    expected_seq: int | None
    found_seq: int


@dataclass(slots=True)
class SequenceReport:
    """What was counted: book changes in `sequences_*`, trades beside them, the first gaps in `places`."""

    messages: int = 0
    sequences_ok: int = 0
    sequences_bad: int = 0
    trades_ok: int = 0
    trades_bad: int = 0
    places: list[Gap] = field(default_factory=list)


class FuturesSequence:
    """Follows one futures feed message by message."""

    def __init__(self) -> None:
        self.report = SequenceReport()
        self._last: dict[tuple[str, str], int] = {}

    def take(self, text: bytes) -> None:
        """Count one received message; raises VerificationError when it is not JSON or lacks what its feed has."""
        self.report.messages += 1
        try:
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise VerificationError(f"futures message {self.report.messages}: not JSON ({error})") from None
        if not isinstance(message, dict) or "event" in message:
            return
        feed = message.get("feed")
        if feed in ("book", "trade"):
            self._step(feed, _product(message, self.report.messages), _seq(message, self.report.messages))
        elif feed == "book_snapshot":
            self._last["book", _product(message, self.report.messages)] = _seq(message, self.report.messages)
        elif feed == "trade_snapshot":
            self._take_trade_snapshot(message)

    def _take_trade_snapshot(self, message: dict[str, Any]) -> None:
        trades = message.get("trades")
        if isinstance(trades, list) and trades:
            product = _product(message, self.report.messages)
            self._last["trade", product] = max(_seq(trade, self.report.messages) for trade in trades)

    def _step(self, feed: str, product: str, seq: int) -> None:
        """Compare with the number before, and go on from the number found: one gap is one fault."""
        before = self._last.get((feed, product))
        self._last[feed, product] = seq
        good = before is not None and seq == before + 1
        if feed == "book":
            self.report.sequences_ok += good
            self.report.sequences_bad += not good
        else:
            self.report.trades_ok += good
            self.report.trades_bad += not good
        if not good and len(self.report.places) < PLACES_MAX:
            expected = None if before is None else before + 1
            self.report.places.append(Gap(self.report.messages, feed, product, expected, seq))


def check(frames: Iterable[Frame]) -> SequenceReport:
    """Return the report of a recording's received messages."""
    sequence = FuturesSequence()
    for frame in frames:
        if frame.direction == "rx":
            sequence.take(frame.text)
    return sequence.report


def _product(message: dict[str, Any], number: int) -> str:
    product = message.get("product_id")
    if not isinstance(product, str):
        raise VerificationError(f"futures message {number} has no product_id")
    return product


def _seq(message: Any, number: int) -> int:
    seq = message.get("seq") if isinstance(message, dict) else None
    if not isinstance(seq, int) or isinstance(seq, bool):
        raise VerificationError(f"futures message {number} has no sequence number")
    return seq
