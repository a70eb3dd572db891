"""Field readers for what Kraken sends: exact numbers, times, text; used on tolerant paths and for REST.

Kraken prints prices as bare numbers, some documented numbers as strings, and small ones with exponents. Every reader
takes all of those and gives a `Decimal` with the digits of the wire, or raises `FieldError`; none goes through float.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from cstd._fast.wire import nests_beyond

NS_PER_S = 1_000_000_000
# A number outside 10^±40 is no price, quantity or money; a huge exponent would expand to as many digits when scaled.
EXPONENT_MAX = 40
DIGITS_MAX = 60
# Kraken's documents nest six deep. A decoder finds the end of thousands only after a stack that evicts the hot path's memory.
NESTING_MAX = 32

# float_hook keeps the digits: 62807.0 stays 62807.0, and 1e-08 is exactly that.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


class FieldError(ValueError):
    """A field is missing or is not what it must be; the text names the field."""


def decode_json(data: bytes) -> Any:
    """Return the JSON document in `data`, with Decimals for numbers that have a point or an exponent.

    Raises:
        FieldError: not UTF-8, not JSON, truncated, or nested deeper than `NESTING_MAX`.
    """
    if nests_beyond(data, NESTING_MAX):
        raise FieldError("nested too deep")
    try:
        return _DECODER.decode(data)
    except UnicodeDecodeError:
        raise FieldError("not UTF-8") from None
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        raise FieldError(f"not JSON: {error}") from None


def decimal_of(value: Any, field: str) -> Decimal:
    """Return a number, given as int, Decimal or text, as a finite Decimal with its own digits."""
    if isinstance(value, str):
        # Decimal() itself takes more than JSON does: underscores, spaces, digits of other scripts.
        if not value.isascii() or "_" in value or value != value.strip():
            raise FieldError(f"{field} is not a number")
        try:
            value = Decimal(value)
        except InvalidOperation:
            raise FieldError(f"{field} is not a number") from None
    elif isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise FieldError(f"{field} is not a finite number")
    digits, exponent = value.as_tuple()[1:]
    # adjusted() of a zero with a huge exponent is huge too, so zeros are bounded as well.
    if len(digits) > DIGITS_MAX or not -EXPONENT_MAX <= int(exponent) <= EXPONENT_MAX:
        raise FieldError(f"{field} has more digits than any price or quantity")
    return value


def decimal_or_none(row: Mapping[str, Any], field: str) -> Decimal | None:
    """Return a number of `row`, or None where it is absent, null or empty text."""
    value = row.get(field)
    return None if value is None or value == "" else decimal_of(value, field)


def required_decimal(row: Mapping[str, Any], field: str) -> Decimal:
    """Return a number that must be there."""
    if field not in row:
        raise FieldError(f"{field} is missing")
    return decimal_of(row[field], field)


def int_of(value: Any, field: str) -> int:
    """Return an integer given as int, integral number or text."""
    number = decimal_of(value, field)
    if number != number.to_integral_value():
        raise FieldError(f"{field} is not an integer")
    return int(number)


def int_or_none(row: Mapping[str, Any], field: str) -> int | None:
    """Return an integer of `row`, or None where it is absent or null."""
    value = row.get(field)
    return None if value is None else int_of(value, field)


def required_int(row: Mapping[str, Any], field: str) -> int:
    """Return an integer that must be there."""
    if field not in row:
        raise FieldError(f"{field} is missing")
    return int_of(row[field], field)


def text_or_none(row: Mapping[str, Any], field: str) -> str | None:
    """Return text of `row`, or None where it is absent, null or of another type."""
    value = row.get(field)
    return value if isinstance(value, str) else None


def required_text(row: Mapping[str, Any], field: str) -> str:
    """Return text that must be there and not be empty."""
    value = row.get(field)
    if not isinstance(value, str) or not value:
        raise FieldError(f"{field} is missing or not text")
    return value


def rows_of(value: Any, field: str) -> list[Mapping[str, Any]]:
    """Return a list of objects; anything else is an error."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise FieldError(f"{field} is not a list of objects")
    return value


def mapping_of(value: Any, field: str) -> Mapping[str, Any]:
    """Return an object; anything else is an error."""
    if not isinstance(value, dict):
        raise FieldError(f"{field} is not an object")
    return value


def time_or_none(row: Mapping[str, Any], field: str) -> int | None:
    """Return an RFC 3339 field of `row` in ns since the epoch, or None where it is absent, null or empty."""
    value = row.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise FieldError(f"{field} is not a time")
    return parse_rfc3339_ns(value)


def lenient_time_or_none(row: Mapping[str, Any], field: str) -> int | None:
    """Return a time, or None where it cannot be read: what decides an order's fate is not lost to an odd timestamp."""
    try:
        return time_or_none(row, field)
    except FieldError:
        return None


def text_of(value: object) -> str:
    """Return text as it is, a list of texts (REST's errors) joined, and "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return ""


def seconds_to_ns(value: Any, field: str) -> int:
    """Return a unix time in seconds, given as number or text, in ns; digits below a nanosecond are cut."""
    return int(decimal_of(value, field).scaleb(9))


def parse_rfc3339_ns(value: bytes | str) -> int:
    """Return ns since 1970-01-01 UTC of RFC 3339 text: up to nine fractional digits, "Z" or a numeric offset.

    Digits finer than a nanosecond are cut. A leap second counts as the second after it.

    Raises:
        FieldError: not such a text.
    """
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    head, tail = text[:19], text[19:]
    shape_ok = len(head) == 19 and head[4] == head[7] == "-" and head[10] in "Tt " and head[13] == head[16] == ":"
    digits = head[0:4] + head[5:7] + head[8:10] + head[11:13] + head[14:16] + head[17:19]
    if not (shape_ok and digits.isascii() and digits.isdigit()):
        raise FieldError(f"not an RFC 3339 time: {text[:40]!r}")
    year, month, day = int(head[0:4]), int(head[5:7]), int(head[8:10])
    hour, minute, second = int(head[11:13]), int(head[14:16]), int(head[17:19])
    date_ok = 1 <= month <= 12 and 1 <= day <= _days_in_month(year, month)
    if not (date_ok and hour < 24 and minute < 60 and second <= 60):
        raise FieldError(f"not an RFC 3339 time: {text[:40]!r}")
    fraction_ns, offset_s = _fraction_and_offset(tail, text)
    seconds = _days_from_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s
    return seconds * NS_PER_S + fraction_ns


def _fraction_and_offset(tail: str, text: str) -> tuple[int, int]:
    """Return (ns, offset in seconds) of what follows the whole seconds."""
    fraction_ns = 0
    if tail.startswith("."):
        end = 1
        while end < len(tail) and tail[end] in "0123456789":
            end += 1
        if end == 1:
            raise FieldError(f"not an RFC 3339 time: {text[:40]!r}")
        fraction_ns, tail = int(tail[1:end][:9].ljust(9, "0")), tail[end:]
    if tail in ("Z", "z"):
        return fraction_ns, 0
    digits = tail[1:3] + tail[4:6]
    if len(tail) == 6 and tail[0] in "+-" and tail[3] == ":" and digits.isascii() and digits.isdigit():
        offset_s = int(tail[1:3]) * 3_600 + int(tail[4:6]) * 60
        return fraction_ns, -offset_s if tail[0] == "-" else offset_s
    raise FieldError(f"no time zone in {text[:40]!r}")


def _days_in_month(year: int, month: int) -> int:
    """Return the number of days of a month in the Gregorian calendar."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _days_from_epoch(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01.

    Years are counted from March, so that the leap day is the last of its year, in eras of 400 years (146,097 days);
    1970-01-01 is day 719,468 of that count.
    """
    shifted = year - (month <= 2)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719_468
