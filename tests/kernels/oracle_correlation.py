"""The links between two instruments as docs/clusters.md says them, in Decimal, from two whole streams of closes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext


@dataclass(frozen=True, slots=True)
class Rule:
    """Arguments of Core.set_correlations."""

    enter: float = 0.7
    leave: float = 0.6
    span: int = 20
    returns_min: int = 8
    leave_bars: int = 3
    prior: int = 4


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of two instruments; `nearest` is how near any reading came to a threshold."""

    linked: bool
    reading: Decimal | None
    returns: int
    below: int
    nearest: Decimal


def returns_of(closes: Mapping[int, int]) -> dict[int, Decimal]:
    """Simple returns by interval; two bars in a row make one."""
    return {at: Decimal(close - closes[at - 1]) / closes[at - 1] for at, close in closes.items() if at - 1 in closes}


def judge(ours: Mapping[int, int], theirs: Mapping[int, int], rule: Rule) -> Found:
    """Take the common returns of two streams of closes (interval to price) in order of time."""
    with localcontext() as context:
        context.prec = 60
        a, b = returns_of(ours), returns_of(theirs)
        keep = Decimal(rule.span - 1) / Decimal(rule.span + 1)
        linked, taken, below, nearest = True, list[int](), 0, Decimal(9)
        reading: Decimal | None = None
        for at in sorted(a.keys() & b.keys()):
            if taken and at - taken[-1] > rule.span:
                linked, taken, below, reading = True, [], 0, None
            taken.append(at)
            if len(taken) < rule.returns_min:
                continue
            # Each return weighs `keep` to the power of how many came after it: not how long ago it was.
            weights = [keep ** (len(taken) - 1 - i) for i in range(len(taken))]
            own = sum((w * a[t] * a[t] for w, t in zip(weights, taken, strict=True)), Decimal(0))
            other = sum((w * b[t] * b[t] for w, t in zip(weights, taken, strict=True)), Decimal(0))
            both = sum((w * a[t] * b[t] for w, t in zip(weights, taken, strict=True)), Decimal(0))
            count = min(len(taken), rule.span)
            reading = Decimal(1) if own * other == 0 else (
                (count * both / (own.sqrt() * other.sqrt()) + rule.prior) / (count + rule.prior))
            enter, leave = Decimal(rule.enter), Decimal(rule.leave)
            nearest = min(nearest, abs(reading - enter), abs(reading - leave))
            below = below + 1 if reading < leave else 0
            if reading >= enter:
                linked = True
            elif below >= rule.leave_bars:
                linked = False
        if taken and max(*ours, *theirs) - taken[-1] > rule.span:  # one of them went on alone
            linked, taken, below, reading = True, [], 0, None
        return Found(linked, reading, len(taken), below, nearest)
