"""Bind plain tables to the structs of `schema`, collecting every problem instead of stopping at the first.

msgspec's own conversion reports one error and knows neither the file nor the nearest key, so the walk is ours; the
structs stay the one description of what exists.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from cstd.config.problems import Problem
from cstd.config.schema import Bounds, Config, Pattern, PolicyConfig, RiskConfig
from cstd.units import format_decimal, parse_decimal

# Keys people reach for that are left out on purpose, and why.
_FORBIDDEN = (
    (re.compile(r"(.*_)?(api_?)?(key|secret|token|password|passphrase|private_?key)"),
     "secrets are never read from a configuration file",
     "set KRAKEN_API_KEY and KRAKEN_API_SECRET in the environment, or use systemd credentials"),
    (re.compile(r"(.*_)?(url|uri|host|endpoints?)(_.*)?|(rest|ws|ws_public|ws_private|futures)(_url|_host)?"),
     "the mode fixes the endpoints: no configuration can point paper or live at another host",
     "remove it; choose the venue by `mode`"),
    (re.compile(r".*(tls|ssl|verify|insecure|cert).*"), "TLS verification cannot be configured away", "remove it"),
    (re.compile(r".*(bypass|skip_gates?|disable_gates?|no_risk|force_orders?).*"),
     "no order leaves except through the gates: there is no bypass", "remove it"),
)
_WRONG = object()
# A number with its unit, as people write it; the unit is in the key's name.
_WITH_UNIT = re.compile(r"[-+]?[\d.,_ ]*\d\s*(%|bps?|ns|us|ms|s|sec|min|m|h|d|k|[kmg]i?b|usd|eur|\$)", re.IGNORECASE)


class Binder:
    """Turns one merged table into structs. `origins` maps a dotted key to the file that set it last."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._origins = origins

    def origin(self, key: str) -> str:
        """Return the file that set the key, or the list that it is an entry of, or something in the table around it."""
        key = re.sub(r"\[\d+\]$", "", key)
        while key:
            if key in self._origins:
                return self._origins[key]
            key = key.rpartition(".")[0]
        return ""

    def report(self, key: str, reason: str, *, value: object = None, limit: str = "", suggestion: str = "") -> object:
        """Note a problem; returns the mark of a value that cannot be used."""
        self.problems.append(Problem(key=key, reason=reason, file=self.origin(key), value=show(value), limit=limit,
                                     suggestion=suggestion))
        return _WRONG

    def struct(self, kind: type[msgspec.Struct], table: object, key: str) -> Any:
        """Return a `kind` made of the table, or the mark of a value that cannot be used."""
        if not isinstance(table, Mapping):
            return self.report(key, "must be a table", value=table, suggestion=f"write [{key}]")
        hints = get_type_hints(kind, include_extras=True)
        for name in table:
            if name not in hints:
                self._unknown(name, hints, key)
        values = {}
        for field in msgspec.structs.fields(kind):
            dotted = f"{key}.{field.name}" if key else field.name
            if field.name in table:
                values[field.name] = self.value(hints[field.name], table[field.name], dotted)
            elif field.required:
                self._missing(hints[field.name], dotted)
                values[field.name] = _WRONG
        return _WRONG if any(value is _WRONG for value in values.values()) else kind(**values)

    def field(self, kind: type[msgspec.Struct], name: str, value: object, key: str) -> object:
        """Return the value as one field of a `kind` takes it, or the mark of a value that cannot be used."""
        return self.value(get_type_hints(kind, include_extras=True)[name], value, key)

    def value(self, hint: Any, value: object, key: str) -> object:
        """Return the value as the type that the hint asks for."""
        marks: tuple[object, ...] = ()
        if get_origin(hint) in (Union, UnionType):
            parts = [part for part in get_args(hint) if part is not NoneType]
            hint = next((part for part in parts if isinstance(value, list) and get_origin(part) is list), parts[0])
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            marks = tuple(extras)
        origin = get_origin(hint)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(hint, value, key)
        if origin is list:
            return self._list(get_args(hint)[0], value, key)
        if origin is dict:
            return self._tables(get_args(hint)[1], value, key)
        if origin is Literal:
            return self._choice(get_args(hint), value, key)
        return self._leaf(hint, marks, value, key)

    def _list(self, item: Any, value: object, key: str) -> object:
        if not isinstance(value, list):
            return self.report(key, "must be a list", value=value, suggestion="write it in [ ]")
        items = [self.value(item, entry, f"{key}[{index}]") for index, entry in enumerate(value)]
        return _WRONG if any(entry is _WRONG for entry in items) else items

    def _tables(self, item: Any, value: object, key: str) -> object:
        if not isinstance(value, Mapping):
            return self.report(key, "must be a table", value=value, suggestion=f"write [{key}.NAME]")
        tables = {name: self.value(item, entry, f"{key}.{name}") for name, entry in value.items()}
        return _WRONG if any(table is _WRONG for table in tables.values()) else tables

    def _choice(self, choices: tuple[object, ...], value: object, key: str) -> object:
        if any(value == choice and type(value) is type(choice) for choice in choices):
            return value
        near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
        return self.report(key, "is not one of the choices", value=value, limit=", ".join(map(str, choices)),
                           suggestion=f"did you mean {near[0]}?" if near else "")

    def _leaf(self, kind: type, marks: tuple[object, ...], value: object, key: str) -> object:
        converted = _CONVERTERS[kind](value)
        if converted is None:
            with_unit = kind in (int, Decimal) and isinstance(value, str) and _WITH_UNIT.fullmatch(value)
            return self.report(key, f"must be {_WORDS[kind]}", value=value, limit=_TRUTHS if kind is bool else allowed(marks),
                               suggestion="write the number alone: the unit is in the key's name" if with_unit else "")
        for mark in marks:
            if isinstance(mark, Bounds) and (reason := out_of_bounds(mark, converted)):
                return self.report(key, reason, value=converted, limit=allowed(marks))
            if isinstance(mark, Pattern) and not re.fullmatch(mark.regex, str(converted)):
                upper = str(converted).upper().replace("-", "/")
                return self.report(key, "has the wrong form", value=converted, limit=mark.words,
                                   suggestion=f"did you mean {upper}?" if re.fullmatch(mark.regex, upper) else "")
        return converted

    def _unknown(self, name: str, known: Mapping[str, object], key: str) -> None:
        dotted = f"{key}.{name}" if key else name
        for pattern, reason, suggestion in _FORBIDDEN:
            if pattern.fullmatch(name.lower()):
                self.report(dotted, f"unknown key: {reason}", suggestion=suggestion)
                return
        if key.startswith("overrides.") and name in _general(key):
            self.report(dotted, "is the whole account's or every exit's: an instrument has none of its own",
                        limit=", ".join(known), suggestion="remove it")
            return
        if home := _home_of(name, key):
            self.report(dotted, "unknown key", limit=f"the keys of {f'[{key}]' if key else 'the top level'}", suggestion=home)
            return
        near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
        self.report(dotted, "unknown key", limit=f"the keys of {f'[{key}]' if key else 'the top level'}",
                    suggestion=f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}")

    def _missing(self, hint: Any, key: str) -> None:
        is_table = isinstance(hint, type) and issubclass(hint, msgspec.Struct)
        where = f"add [{key}]" if is_table else f"add {key.rpartition('.')[2]}"
        self.report(key, "required key is missing: it has no default", suggestion=f"{where}; the shipped files show it")


def _general(key: str) -> tuple[str, ...]:
    """Return the keys that the section of an override has in general."""
    kinds: dict[str, type[msgspec.Struct]] = {"policy": PolicyConfig, "risk": RiskConfig}
    kind = kinds.get(key.rpartition(".")[2])
    return kind.__struct_fields__ if kind is not None else ()


def _home_of(name: str, key: str) -> str:
    """Return what to do about a key that is known elsewhere, "" for one that is not."""
    sections = {section: get_type_hints(hint) for section, hint in get_type_hints(Config).items()
                if isinstance(hint, type) and issubclass(hint, msgspec.Struct)}
    homes = [section for section, keys in sections.items() if name in keys and section != key]
    if homes:
        return f"it belongs to [{homes[0]}]"
    # CSTD__RISK_POSITIONS_MAX: the two underscores are one.
    section = next((section for section, keys in sections.items() if not key and name.startswith(f"{section}_")
                    and name[len(section) + 1:] in keys), "")
    return f"it is {name[len(section) + 1:]} in [{section}]" if section else ""


def allowed(marks: tuple[object, ...]) -> str:
    """Return the limits of a value in words, "" where it has none."""
    bounds = next((mark for mark in marks if isinstance(mark, Bounds)), None)
    if bounds is not None:
        return f"{interval(bounds)}, {bounds.why}"
    return next((mark.words for mark in marks if isinstance(mark, Pattern)), "")


def show(value: object) -> str:
    """Return a value as the operator would have written it, "" for none."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format_decimal(value) if value.is_finite() else str(value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)


def interval(bounds: Bounds) -> str:
    """Return the bounds in words."""
    low = f"above {bounds.low}" if bounds.above else f"from {bounds.low}"
    return f"{low} to {bounds.high}"


def out_of_bounds(bounds: Bounds, value: Any) -> str:
    """Return why the number is not allowed, or ""."""
    if value < bounds.low or (bounds.above and value == bounds.low):
        return "is too small"
    if value > bounds.high:
        return "is too large"
    if isinstance(value, Decimal) and -int(value.normalize().as_tuple().exponent) > bounds.places:
        return f"has more than {bounds.places} fractional digits"
    return ""


def _as_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _as_decimal(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, Decimal)):
        decimal = Decimal(value)
    elif isinstance(value, str):
        try:
            decimal = parse_decimal(value)
        except ValueError:
            return None
    else:
        return None
    return decimal if decimal.is_finite() else None


def _as_str(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _as_bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_CONVERTERS: dict[type, Any] = {int: _as_int, Decimal: _as_decimal, str: _as_str, bool: _as_bool}
_TRUTHS = "true or false"
_WORDS = {int: "a whole number", Decimal: "a finite decimal number", str: "a text in quotes", bool: _TRUTHS}
UNUSABLE = _WRONG
