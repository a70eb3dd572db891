"""Where a resting order stands in the queue of its price, from what the book and the tape show: quantities in raw units.

A book by price tells how much rests at a level, not who. When it shrinks without a trade, somebody canceled, and whether he
stood before us or behind us is not known. The models differ in that alone:

- `risk_averse`: every cancel was behind us, until less is left than stood before us.
- `power`, `power2`, `power3`, `log`, `log2`: the part `1 - p` of a cancel was before us, p from the quantities before (front)
  and behind us (back): `f(back) / (f(back) + f(front))` for power and log, `f(back) / f(back + front)` for power2 and log2,
  `1 - f(front / (front + back))` for power3, with f(x) = x^n or ln(1 + x). These are the models of hftbacktest's queue.rs.

What stands before us is an estimate, kept as a decimal of 28 digits, so the same input gives the same digits everywhere; what
a trade leaves to us is a whole number of raw units, rounded down.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Literal

QueueModel = Literal["risk_averse", "power", "power2", "power3", "log", "log2"]

_CONTEXT = Context(prec=28)
_ONE = Decimal(1)
_ZERO = Decimal(0)


def behind_probability(model: QueueModel, n: Decimal, front: Decimal, back: Decimal) -> Decimal:
    """Probability that a cancel was behind us; `front` and `back` in base units, neither below zero."""
    if front == 0:
        return _ONE
    whole = _CONTEXT.add(front, back)
    if model == "power3":
        return _CONTEXT.subtract(_ONE, _CONTEXT.power(_CONTEXT.divide(front, whole), n))
    before, behind = _weight(model, n, front), _weight(model, n, back)
    below = _weight(model, n, whole) if model in ("power2", "log2") else _CONTEXT.add(before, behind)
    return _CONTEXT.divide(behind, below)


def _weight(model: QueueModel, n: Decimal, x: Decimal) -> Decimal:
    if model in ("log", "log2"):
        return _CONTEXT.ln(_CONTEXT.add(_ONE, x))
    return _ZERO if x == 0 else _CONTEXT.power(x, n)


class QueuePosition:
    """One order's place at its price.

    Attributes:
        front_raw: what stands before us, a part of a unit included; None while the level has not been seen: then no trade at our
            price reaches us.
        shown_raw: what the book showed at our price last.
    """

    __slots__ = ("_model", "_n", "_precision", "_traded_raw", "front_raw", "shown_raw")

    def __init__(self, model: QueueModel, n: Decimal, qty_precision: int, shown_raw: int | None) -> None:
        self._model: QueueModel = model
        self._n = n
        self._precision = qty_precision
        self._traded_raw = 0  # since the book last told of this level: its next change contains that much of trades
        self.front_raw: Decimal | None = None if shown_raw is None else Decimal(shown_raw)
        self.shown_raw = shown_raw or 0

    def on_trade(self, qty_raw: int) -> int:
        """Take a trade at our price; returns the part of it that reached us, behind all that stood before us."""
        if self.front_raw is None:
            return 0
        self._traded_raw += qty_raw
        reached = _CONTEXT.subtract(Decimal(qty_raw), self.front_raw)
        self.front_raw = max(_ZERO, -reached)
        return max(0, int(reached))

    def on_shown(self, shown_raw: int) -> None:
        """Take what the book shows at our price now; a level that was not seen before stands before us whole."""
        before, self.shown_raw = self.shown_raw, shown_raw
        traded, self._traded_raw = self._traded_raw, 0
        if self.front_raw is None:
            self.front_raw = Decimal(shown_raw)
            return
        canceled = before - shown_raw - traded
        if self._model != "risk_averse" and canceled >= 0:
            self.front_raw = self._after_cancels(before, canceled)
        self.front_raw = min(self.front_raw, Decimal(shown_raw))

    def forget(self, shown_raw: int | None) -> None:
        """The book was lost and is known again: no change of it is attributed to anybody in between."""
        self._traded_raw = 0
        if shown_raw is not None:
            self.front_raw = Decimal(shown_raw) if self.front_raw is None else min(self.front_raw, Decimal(shown_raw))
            self.shown_raw = shown_raw

    def _after_cancels(self, before_raw: int, canceled_raw: int) -> Decimal:
        assert self.front_raw is not None
        front = self.front_raw
        back = max(_ZERO, _CONTEXT.subtract(Decimal(before_raw), front))
        unit = Decimal(1).scaleb(-self._precision)
        behind = behind_probability(self._model, self._n, _CONTEXT.multiply(front, unit), _CONTEXT.multiply(back, unit))
        ahead = _CONTEXT.multiply(_ONE - behind, Decimal(canceled_raw))
        too_much = min(_CONTEXT.subtract(back, _CONTEXT.multiply(behind, Decimal(canceled_raw))), _ZERO)
        return max(_ZERO, _CONTEXT.add(_CONTEXT.subtract(front, ahead), too_much))
