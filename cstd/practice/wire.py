"""Text of Kraken's wire: fixed-point numbers, timestamps, identifiers and JSON with bare numbers.

Prices and quantities are int raw (value times 10**precision) inside, and printed with all their decimals, trailing zeros
included, because clients build the book checksum from that text.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from random import Random

import orjson

NS_PER_S = 1_000_000_000
_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # base 32: what Kraken's ids look like


def raw_text(raw: int, precision: int) -> str:
    """Return `raw` * 10**-precision with exactly `precision` decimals."""
    if precision == 0:
        return str(raw)
    sign = "-" if raw < 0 else ""
    whole, part = divmod(abs(raw), 10**precision)
    return f"{sign}{whole}.{part:0{precision}d}"


def float_text(raw: int, precision: int) -> str:
    """Return the same value as a client's float library prints small ones: 5.1e-05 below 0.0001, else as `raw_text`."""
    digits = str(abs(raw))
    exponent = len(digits) - 1 - precision
    if not raw or exponent >= -4:
        return raw_text(raw, precision)
    part = digits[1:].rstrip("0")
    return f"{'-' if raw < 0 else ''}{digits[0]}{'.' if part else ''}{part}e-{-exponent:02d}"


def raw_number(raw: int, precision: int) -> orjson.Fragment:
    """Return a bare JSON number of `raw` * 10**-precision, trailing zeros kept."""
    return orjson.Fragment(raw_text(raw, precision))


def decimal_text(value: Decimal, places_min: int = 0) -> str:
    """Return `value` in fixed-point notation with at least `places_min` decimals and no needless zeros beyond them."""
    text = format(value, "f")
    whole, _, part = text.partition(".")
    part = part.rstrip("0").ljust(places_min, "0")
    return f"{whole}.{part}" if part else whole


def decimal_number(value: Decimal, places_min: int = 1) -> orjson.Fragment:
    """Return a bare JSON number of `value` in fixed-point notation."""
    return orjson.Fragment(decimal_text(value, places_min))


def raw_decimal(raw: int, precision: int) -> Decimal:
    """Return `raw` * 10**-precision as an exact Decimal."""
    return Decimal(raw).scaleb(-precision)


def decimal_raw(value: Decimal, precision: int) -> int | None:
    """Return `value` as int raw, or None if it has more decimals than `precision` (trailing zeros do not count)."""
    scaled = value.scaleb(precision)
    whole = int(scaled)
    return whole if scaled == whole else None


@lru_cache(maxsize=64)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339_us(wall_ns: int) -> str:
    """Return a UTC timestamp with microseconds, as most of v2 prints them."""
    seconds, part_ns = divmod(wall_ns, NS_PER_S)
    return f"{_second_text(seconds)}.{part_ns // 1000:06d}Z"


def rfc3339_ns(wall_ns: int) -> str:
    """Return a UTC timestamp with nanoseconds, as the `ohlc` channel prints them."""
    seconds, part_ns = divmod(wall_ns, NS_PER_S)
    return f"{_second_text(seconds)}.{part_ns:09d}Z"


def rfc3339_s(wall_ns: int) -> str:
    """Return a UTC timestamp in whole seconds, as cancel_all_orders_after prints them."""
    return f"{_second_text(wall_ns // NS_PER_S)}Z"


def parse_rfc3339_ns(text: str) -> int | None:
    """Return nanoseconds since the epoch of an RFC 3339 text with a zone, or None if it is not one."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        return None
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * NS_PER_S + moment.microsecond * 1000


def seconds_text(wall_ns: int, places: int = 4) -> str:
    """Return unix seconds with `places` decimals, as REST prints order and trade times."""
    return raw_text(wall_ns // 10 ** (9 - places), places)


class Ids:
    """Makes Kraken-shaped identifiers, unique within the process.

    Owns a random source of its own: ids must differ between two runs with the same flow seed, or a client's memory of the
    first run would take fills of the second for known ones.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - ids of a rehearsal; the API secret is made elsewhere
        self._given: set[str] = set()

    def make(self, prefix: str) -> str:
        """Return a new id like OXXXXX-XXXXX-XXXXXX whose first letter is `prefix`."""
        while True:
            text = "".join(self._random.choices(_ID_ALPHABET, k=16))
            new = f"{prefix}{text[:5]}-{text[5:10]}-{text[10:]}"
            if new not in self._given:
                self._given.add(new)
                return new

    def connection_id(self) -> int:
        """Return a connection id of 64 bits; Kraken's exceed 2**53."""
        return self._random.getrandbits(64) | 1 << 63

    def token(self) -> str:
        """Return a websocket token of 43 characters."""
        alphabet = _ID_ALPHABET + _ID_ALPHABET.lower() + "0189"
        return "".join(self._random.choices(alphabet, k=43))


def dumps(message: object) -> str:
    """Return `message` as compact JSON text."""
    return orjson.dumps(message).decode()


class Exponent(Decimal):
    """A number that was written with an exponent."""


def _number(text: str) -> Decimal:
    return Exponent(text) if "e" in text or "E" in text else Decimal(text)


def loads(text: str | bytes) -> object:
    """Parse JSON with every number exact (int, Decimal, or Exponent as it was written); raises ValueError if it is not JSON."""
    return json.loads(text, parse_float=_number)
