"""The card of a model version: what it was made of, what it is made up of, and what it is worth.

`card.json` is plain JSON with sorted keys. The structs here are its whole form: an unknown key is refused, so that nothing
can be said on a card that nobody reads.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Literal

import msgspec

from cstd.signals.registry.reference import Reference, problem_of
from cstd.signals.registry.refusals import refuse

CARD_SCHEMA = 1
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
VERSION = re.compile(r"[0-9]{4}")
FILE = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*\.onnx")
HORIZON = re.compile(r"[1-9][0-9]{0,2}[mhd]")
FEATURES_MAX = 1_024
HORIZONS_MAX = 8  # of a model, and of an instrument in the engine
MEMBERS_MAX = 32
UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}

Verdict = Literal["holds", "rejected", "not assessable"]
WORST_FIRST: tuple[Verdict, ...] = ("rejected", "not assessable", "holds")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict of a whole: that of its worst part."""
    return min(verdicts, key=WORST_FIRST.index)


def horizon_s(name: str) -> int:
    """Return a horizon such as 1h in seconds."""
    return int(name[:-1]) * UNITS_S[name[-1]]


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of a horizon. Its ONNX takes float32 (rows, features) and gives the probability of the event."""

    name: str
    file: str
    sha256: str
    kind: Literal["tree", "linear", "network"]


class Stack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How members become one: logit(p) = intercept + sum of weight times logit(p of the member)."""

    weights: dict[str, float]
    intercept: float = 0.0


class Isotonic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="method", tag="isotonic"):
    """A non-decreasing broken line through (x, y); flat outside."""

    x: list[float]
    y: list[float]


class Platt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="method", tag="platt"):
    """logit(q) = a logit(p) + b."""

    a: float
    b: float


class Beta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="method", tag="beta"):
    """logit(q) = a ln p - b ln(1 - p) + c."""

    a: float
    b: float
    c: float


class Conformal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An interval of the net return, as a fraction of the notional, that holds the outcome with probability `level`.

    `lower` and `upper` are one number each, or one for each band of the calibrated probability that `edges` divide.
    """

    level: float
    lower: float | list[float]
    upper: float | list[float]
    edges: list[float] = []


class Horizon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The members of one horizon, what joins them, and what was found of them out of sample."""

    members: list[Member]
    stack: Stack
    calibration: Isotonic | Platt | Beta
    conformal: Conformal
    metrics: dict[str, Any]
    verdict: Verdict


class Bars(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of bars that a model was trained on."""

    file: str
    sha256: str
    rows: int
    from_: str = msgspec.field(name="from")
    to: str
    instrument: str
    interval_s: int


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From when to when, UTC."""

    from_: str = msgspec.field(name="from")
    to: str


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model was made from. Data of the practice exchange is never among it."""

    bars: list[Bars]
    window: Window
    seed: int
    provenance: Literal["authentic"]


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole card. `verdict` is what decides whether it can be promoted: that of the worst horizon, or less."""

    schema: Literal[1] = msgspec.field(name="schema")
    name: str
    version: str
    created: str
    features: list[str]
    features_hash: str
    dtype: str
    horizons: dict[str, Horizon]
    training: Training
    verdict: Verdict
    reference: Reference | None = None  # what drift is measured against; cards of before it have none

    def members(self) -> Iterator[Member]:
        """Yield the members of all horizons."""
        for horizon in self.horizons.values():
            yield from horizon.members


def features_hash(features: Iterable[str]) -> str:
    """Return the SHA-256 of the names in their order, in hex: two models with one hash read the same row."""
    return hashlib.sha256("\n".join(features).encode()).hexdigest()


def decode(raw: bytes) -> Card:
    """Return the card, its form and its inner agreement checked; whose it is and its files are not this function's.

    Raises:
        RefusedVersionError: malformed, name, features, features_hash, dtype, path, horizon.
    """
    try:
        card = msgspec.json.decode(raw, type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refuse("malformed", f"the card cannot be read: {error}") from error
    if not NAME.fullmatch(card.name) or not VERSION.fullmatch(card.version):
        raise refuse("name", f"{card.name!r} {card.version!r} name no version of a model")
    _check_features(card)
    _check_files(card)
    if card.reference is not None and (wrong := problem_of(card.reference, card.features)):
        raise refuse("features", f"the reference of the features does not hold: {wrong}")
    if not 0 < len(card.horizons) <= HORIZONS_MAX:
        raise refuse("horizon", f"1 to {HORIZONS_MAX} horizons are needed, not {len(card.horizons)}")
    for name, horizon in card.horizons.items():
        if problem := _problem_of_horizon(name, horizon):
            raise refuse("horizon", f"horizon {name[:16]!r}: {problem}")
    if len({horizon_s(name) for name in card.horizons}) != len(card.horizons):
        raise refuse("horizon", "two horizons are of one length, and scores could not be told apart")
    one = worst(horizon.verdict for horizon in card.horizons.values())
    if worst((card.verdict, one)) != card.verdict:
        raise refuse("horizon", f"the whole is {card.verdict!r}, and one of its horizons {one!r}: the worst decides")
    return card


def _check_features(card: Card) -> None:
    names = card.features
    if not 0 < len(names) <= FEATURES_MAX or len(set(names)) != len(names) or any(not n or not n.isprintable() for n in names):
        raise refuse("features", f"1 to {FEATURES_MAX} features of different names are needed, not {len(names)}")
    if card.features_hash != features_hash(names):
        raise refuse("features_hash", "the hash is of other features, or of another order, than the card names")
    if card.dtype != "float32":
        raise refuse("dtype", f"rows are float32, not {card.dtype[:16]!r}")


def _check_files(card: Card) -> None:
    files = [member.file for member in card.members()]
    for name in files:
        if not FILE.fullmatch(name):
            raise refuse("path", f"{name[:64]!r} is no name of a file in the version's own folder")
    if len(set(files)) != len(files):
        raise refuse("path", "two members have one file")


def _problem_of_horizon(name: str, horizon: Horizon) -> str:
    """Return what is wrong with a horizon, "" when nothing is."""
    names = [member.name for member in horizon.members]
    conformal = horizon.conformal
    bands = len(conformal.edges) + 1
    problems = {
        "its name is not such as 1h, 30m or 2d": not HORIZON.fullmatch(name),
        f"1 to {MEMBERS_MAX} members are needed": not 0 < len(names) <= MEMBERS_MAX,
        "two members have one name": len(set(names)) != len(names),
        "the stack's weights are not of its members": set(horizon.stack.weights) != set(names),
        "a number is not finite": not all(map(math.isfinite, _numbers(horizon))),
        "a weight of the stack is negative": any(weight < 0 for weight in horizon.stack.weights.values()),
        "the line of its calibration does not rise": not _is_rising(horizon.calibration),
        "an interval's level is a probability": not 0 < conformal.level < 1,
        "its interval's edges do not rise": not _rises(conformal.edges, strictly=True),
        "an interval is needed for each band": any(len(as_list(end)) != bands for end in (conformal.lower, conformal.upper)),
        "its interval is upside down": any(low > high for low, high in zip(as_list(conformal.lower), as_list(conformal.upper),
                                                                           strict=False)),
    }
    return next((problem for problem, holds in problems.items() if holds), "")


def as_list(value: float | list[float]) -> list[float]:
    """Return a number as a list of one, a list as it is."""
    return value if isinstance(value, list) else [value]


def _numbers(horizon: Horizon) -> Iterator[float]:
    yield from horizon.stack.weights.values()
    yield horizon.stack.intercept
    for part in (horizon.calibration, horizon.conformal):
        for value in msgspec.structs.astuple(part):
            yield from as_list(value)


def _is_rising(calibration: Isotonic | Platt | Beta) -> bool:
    """Whether a higher probability of the stack never makes a lower one."""
    if isinstance(calibration, Isotonic):
        return _is_line(calibration)
    if isinstance(calibration, Platt):
        return calibration.a >= 0
    return min(calibration.a, calibration.b) >= 0


def _is_line(line: Isotonic) -> bool:
    return (len(line.x) == len(line.y) > 0 and _rises(line.x, strictly=True) and _rises(line.y)
            and all(0 <= y <= 1 for y in line.y))


def _rises(values: list[float], *, strictly: bool = False) -> bool:
    return all(a < b if strictly else a <= b for a, b in pairwise(values))
