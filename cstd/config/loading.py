"""From TOML files and the environment to one `Config`, or to all problems at once."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from cstd.config.binding import UNUSABLE, Binder
from cstd.config.checks import cross_check
from cstd.config.problems import Problem, config_error
from cstd.config.schema import Config
from cstd.errors import UsageError

ENV_PREFIX = "CSTD__"
FILE_BYTES_MAX = 1 << 20
SCHEMA = 1  # of the keys; schema.py has the same
_ALMOST = re.compile(rf"CSTD_({'|'.join(field.name.upper() for field in msgspec.structs.fields(Config))})(?:_|$)")

Table = dict[str, Any]


class Layers:
    """Tables merged in order, later over earlier, with the origin of each key."""

    def __init__(self) -> None:
        self.table: Table = {}
        self.origins: dict[str, str] = {}
        self.problems: list[Problem] = []

    def add_file(self, path: str) -> None:
        """Merge one TOML file."""
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            self.problems.append(Problem(file=path, key="(file)", reason=f"cannot be read: {error.strerror}",
                                         suggestion="the shipped files are config/practice.toml, paper.toml, live.toml"))
            return
        try:
            if len(raw) > FILE_BYTES_MAX:
                raise ValueError(f"is larger than {FILE_BYTES_MAX} bytes")
            table = tomllib.loads(raw.decode("utf-8"), parse_float=Decimal)
        except ValueError as error:  # not UTF-8, not TOML
            self.problems.append(Problem(file=path, key="(file)", reason=f"is not valid TOML: {error}"))
            return
        if (version := table.get("schema", SCHEMA)) != SCHEMA:
            # Of keys with another meaning nothing is read: it would be taken for what this version means by them.
            self.problems.append(Problem(file=path, key="schema", value=str(version), reason="is no version that this cstd knows",
                                         limit=str(SCHEMA), suggestion="use the cstd that it was written for, or write it anew "
                                         "from the shipped files"))
            return
        self.merge(table, path)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Merge `CSTD__SECTION__KEY` variables, in the order of their names."""
        for name in sorted(environ):
            path = name[len(ENV_PREFIX):].lower().split("__")
            if name.startswith(ENV_PREFIX) and not all(path):
                self.problems.append(Problem(file=name, key=name, reason="names no key", limit="CSTD__SECTION__KEY"))
            elif name.startswith(ENV_PREFIX):
                self.set(path, environ[name], name)
            elif almost := _ALMOST.match(name):
                # It would be passed over in silence, and a limit that somebody thinks is set would not be.
                meant = f"{ENV_PREFIX}{almost[1]}__{name[almost.end():].lstrip('_')}"
                self.problems.append(Problem(file=name, key=name, reason="is not read", limit="CSTD__SECTION__KEY",
                                             suggestion=f"did you mean {meant}?"))

    def add_assignments(self, assignments: Iterable[str]) -> None:
        """Merge `section.key=value` texts of the command line."""
        for text in assignments:
            key, equals, value = text.partition("=")
            if not equals or not all(key.split(".")):
                raise UsageError(f"--set {text!r} is not KEY=VALUE", suggestion="for example --set risk.positions_max=5")
            self.set(key.strip().split("."), value.strip(), f"--set {key.strip()}")

    def set(self, path: list[str], text: str, origin: str) -> None:
        """Merge one value given as text."""
        value = text if _wants_text(path) and not text.startswith(('"', "'")) else parse_value(text)
        table: Table = {path[-1]: value}
        for name in reversed(path[:-1]):
            table = {name: table}
        self.merge(table, origin)

    def merge(self, table: Table, origin: str) -> None:
        """Merge a table: tables deeply, all else replaced."""
        _merge(self.table, table, origin, self.origins, "")


def _merge(into: Table, table: Table, origin: str, origins: dict[str, str], prefix: str) -> None:
    for name, value in table.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value, origin, origins, f"{dotted}.")
            continue
        into[name] = _note(value, origin, origins, dotted)


def _note(value: Any, origin: str, origins: dict[str, str], dotted: str) -> Any:
    """Record the origin of a value and of all below it; returns a copy that later merges may change."""
    origins[dotted] = origin
    if not isinstance(value, dict):
        return value
    return {name: _note(inner, origin, origins, f"{dotted}.{name}") for name, inner in value.items()}


def parse_value(text: str) -> Any:
    """Return a text from the environment or the command line as TOML reads it, or as the text it is."""
    try:
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    except ValueError:
        return text


def _wants_text(path: list[str]) -> bool:
    """Tell whether the schema has a text at this path, so that `CSTD__ACCOUNT__OWNER_PREFIX=42` stays one."""
    kind: Any = Config
    for name in path:
        found = {field.name: field.type for field in msgspec.structs.fields(kind)} if _is_struct(kind) else {}
        kind = _unwrap(found.get(name))
    return kind is str


def _unwrap(kind: Any) -> Any:
    while hasattr(kind, "__metadata__"):
        kind = kind.__origin__
    parts = [part for part in getattr(kind, "__args__", ()) if part is not type(None)]
    return parts[0] if parts and any(_is_struct(part) for part in parts) else kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def bind(layers: Layers, *, related: bool = True) -> Config:
    """Return the configuration of the merged layers; `related` also checks the keys against one another.

    Raises:
        ConfigError: with every problem of files, keys, values and relations.
    """
    problems = list(layers.problems)
    if not problems:
        binder = Binder(layers.origins)
        config: Config = binder.struct(Config, layers.table, "")
        problems += binder.problems
        if config is not UNUSABLE:
            found = cross_check(config) if related else ()
            problems += [msgspec.structs.replace(each, file=binder.origin(each.key)) for each in found]
            if not problems:
                return config
    raise config_error(problems)


def load(paths: list[str], environ: Mapping[str, str], assignments: Iterable[str] = ()) -> Config:
    """Return the effective configuration: files in order (later wins), then the environment, then assignments.

    Args:
        paths: TOML files.
        environ: the process environment; only names that begin with CSTD__ are read.
        assignments: `section.key=value` texts of the command line.

    Raises:
        ConfigError: with every problem found, each with file, key, value, limit, reason and suggestion.
    """
    layers = read_layers(paths, environ)
    layers.add_assignments(assignments)
    return bind(layers)


def read_layers(paths: Iterable[str], environ: Mapping[str, str]) -> Layers:
    """Return files and environment merged, not yet checked, with the origin of each key."""
    layers = Layers()
    files = list(paths)
    if not files:
        raise UsageError("no configuration file given", suggestion="for example -c config/practice.toml")
    for path in files:
        layers.add_file(path)
    layers.add_environment(environ)
    return layers


def from_canonical_json(raw: bytes, assignments: Iterable[str] = ()) -> Config:
    """Return the configuration that `Config.to_canonical_json` wrote, changed by `section.key=value` assignments.

    Unchanged, it is not checked for relations again: it was when it was loaded, and a recording of pairs in several
    currencies has a configuration that no file may have.
    """
    changes = list(assignments)
    layers = Layers()
    layers.merge(_without_nulls(json.loads(raw)), "journal")
    layers.add_assignments(changes)
    return bind(layers, related=bool(changes))


def _without_nulls(table: Table) -> Table:
    """TOML has no null: what is absent is left out."""
    return {name: _without_nulls(value) if isinstance(value, dict) else value
            for name, value in table.items() if value is not None}
