"""`cstd schema [NAME]`: JSON Schemas of the configuration and of everything that a verb prints with `-o json`.

Made of the types that the program itself has (`cstd.config.schema`, `cstd.ops.view`, `cstd.cli.outputs`), so that there is
nothing that could lag behind them.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cstd import __version__
from cstd.errors import UsageError

if TYPE_CHECKING:
    from cstd.config.schema import Bounds

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """One schema: what it is of; a function that returns the types one of which it is, or the schema itself."""

    gives: str
    types: Callable[[], tuple[Any, ...] | JsonDict]


def _outputs(*names: str) -> Callable[[], tuple[Any, ...]]:
    """Return what gives types of `cstd.cli.outputs`, a list for `Row[]`: msgspec is imported when one is asked for."""
    def types() -> tuple[Any, ...]:
        from cstd.cli import outputs

        return tuple(list[getattr(outputs, name[:-2])] if name.endswith("[]") else getattr(outputs, name) for name in names)  # type: ignore[misc]

    return types


def _view(*names: str) -> Callable[[], tuple[Any, ...]]:
    """Return what gives types of `cstd.ops.view`; `Order[]` is a list of them."""
    def types() -> tuple[Any, ...]:
        from cstd.ops import view

        return tuple(list[getattr(view, name[:-2])] if name.endswith("[]") else getattr(view, name) for name in names)  # type: ignore[misc]

    return types


def _opportunities() -> tuple[Any, ...]:
    from cstd.ops.opportunity_shapes import Opportunity

    return (list[Opportunity],)


def _models(*names: str) -> Callable[[], tuple[Any, ...]]:
    """Return what gives types of `cstd.cli.models_outputs`, a list for `Row[]`."""
    def types() -> tuple[Any, ...]:
        from cstd.cli import models_outputs

        return tuple(list[getattr(models_outputs, name[:-2])] if name.endswith("[]") else getattr(models_outputs, name)  # type: ignore[misc]
                     for name in names)

    return types


def _execution() -> tuple[Any, ...]:
    from cstd.ops.execution import ExecutionQuality

    return (ExecutionQuality,)


def _performance() -> tuple[Any, ...]:
    from cstd.ops.performance import Change

    return (Change,)


def _reloaded() -> tuple[Any, ...]:
    from cstd.daemon.reload import Reloaded

    return (Reloaded,)


def _audit() -> tuple[Any, ...]:
    from cstd.cli.audit import AuditRow

    return (AuditRow,)


def _journal_record() -> tuple[Any, ...]:
    from cstd.storage.journal_show import JournalRecord

    return (JournalRecord,)


def _jobs() -> tuple[Any, ...]:
    from cstd.jobs.records import JobRow

    return (list[JobRow],)


def _trained() -> tuple[Any, ...]:
    from cstd.cli.train_outputs import Trained

    return (Trained,)


def _evaluated() -> tuple[Any, ...]:
    from cstd.cli.train_outputs import Evaluated

    return (Evaluated,)


def _manifest() -> tuple[Any, ...]:
    from cstd.signals.agents.build import Manifest

    return (Manifest,)


def _strategy_manifest() -> tuple[Any, ...]:
    from cstd.signals.agents.build import StrategyManifest

    return (StrategyManifest,)


def _features() -> JsonDict:
    from cstd._fast import indicators

    number = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    names = ("time", *indicators.NAMES)
    return {"type": "object", "description": "One bar: every indicator, null where it is not ready.", "required": list(names),
            "properties": {"time": {"type": "number"}} | dict.fromkeys(indicators.NAMES, number)}


def _config() -> JsonDict:
    from cstd.config.schema import Config

    return table(Config)


SCHEMAS: dict[str, Named] = {
    "config": Named("a configuration file, as TOML has it", _config),
    "error": Named("an error of any verb, on stderr", _outputs("Error")),
    "summary": Named("summary.json, and the last line of `make run`", _outputs("Summary")),
    "run": Named("the last line of `cstd run --for`", _outputs("Summary")),
    "replay": Named("each line", _outputs("Replay", "ReplayFailed")),
    "bench": Named("", _outputs("Bench")),
    "features": Named("each line", _features),
    "weights": Named("", _outputs("Weights")),
    "train": Named("the version that was written", _trained),
    "evaluate": Named("", _evaluated),
    "journal verify": Named("", _outputs("JournalProven", "JournalBroken")),
    "journal show": Named("each line", _journal_record),
    "journal checkpoint": Named("", _outputs("JournalCheckpoint")),
    "alerts": Named("what fires, or with --acks what was acknowledged", _outputs("Alert[]", "AlertAck[]")),
    "alerts ack": Named("", _outputs("AlertAcked[]")),
    "backup": Named("", _outputs("Backup")),
    "restore": Named("", _outputs("Restored")),
    "handover": Named("", _outputs("HandedOver")),
    "statement": Named("the statement, or with --verify what was proven",
                       _outputs("Statement", "StatementProven", "StatementBroken")),
    "audit": Named("each line", _audit),
    "jobs list": Named("", _jobs),
    "jobs run": Named("the last attempt", _outputs("JobRun")),
    "flight list": Named("", _outputs("FlightBundle[]")),
    "flight save": Named("", _outputs("FlightSaved")),
    "db rebuild": Named("", _outputs("DbRebuild")),
    "config check": Named("", _outputs("ConfigGood", "ConfigBad")),
    "config show": Named("", _outputs("ConfigShow")),
    "agents build": Named("the manifest", _manifest),
    "strategy build": Named("the manifest", _strategy_manifest),
    "models list": Named("", _models("Models")),
    "models show": Named("", _models("ModelShown")),
    "models verify": Named("", _models("ModelVerified[]")),
    "models sign": Named("the step that was logged", _models("ModelStep[]")),
    "models promote": Named("the steps that were logged", _models("ModelStep[]")),
    "models rollback": Named("the steps that were logged", _models("ModelStep[]")),
    "models drift": Named("", _models("ModelDriftChecked")),
    "models diff": Named("", _models("ModelDifference[]")),
    "chaos": Named("", _outputs("Chaos")),
    "doctor": Named("", _outputs("Doctor")),
    "live-check": Named("", _outputs("LiveCheck")),
    "status": Named("", _view("Status")),
    "positions": Named("", _view("Position[]")),
    "orders": Named("", _view("Order[]")),
    "fills": Named("", _view("Fill[]")),
    "gates": Named("", _view("Gate[]")),
    "clusters": Named("", _view("Clusters")),
    "opportunities": Named("by horizon, the best first", _opportunities),
    "limits": Named("", _view("Limit[]")),
    "limits set": Named("", _view("ChangedLimit")),
    "limits reset": Named("", _view("EndedLimit")),
    "limits rebase-peak": Named("", _view("RebasedPeak")),
    "why": Named("one decision, with --count several, with --since a summary", _view("Decision", "Decision[]", "Refusals")),
    "execution": Named("", _execution),
    "performance": Named("", _performance),
    "reload": Named("", _reloaded),
    "pause": Named("", _outputs("Done")),
    "resume": Named("", _outputs("Done")),
    "kill": Named("", _outputs("Done")),
    "flatten": Named("", _outputs("Done")),
    "approve": Named("the answer, or with --list what waits", _view("ApprovalAnswered", "Approval[]")),
    "decline": Named("", _view("ApprovalAnswered")),
    "page token": Named("", _view("PageToken")),
}


def names() -> tuple[str, ...]:
    """Return what there is a schema of."""
    return tuple(SCHEMAS)


def _name(words: list[str]) -> str:
    """Return the name that words of a command line mean: of a verb of two words they may be joined by a dash."""
    name = " ".join(words)
    spaced = name.replace("-", " ")
    return next((known for known in SCHEMAS if known.replace("-", " ") == spaced), spaced)


def schema(name: str) -> JsonDict:
    """Return one schema, JSON Schema 2020-12.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in SCHEMAS:
        near = difflib.get_close_matches(name, SCHEMAS, n=1)
        raise UsageError(f"there is no schema of {name!r}",
                         suggestion=f"did you mean {near[0]}?" if near else "cstd schema lists the names")
    found = SCHEMAS[name].types()
    title = {"$schema": DIALECT, "title": name if name in ("config", "error", "summary") else f"cstd {name} -o json",
             "$comment": f"cstd {__version__}"}
    if isinstance(found, dict):
        return title | found
    import msgspec

    schemas, components = msgspec.json.schema_components(found, ref_template="#/$defs/{name}")
    body = schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}
    return title | body | {"$defs": components}


# A configuration file.


def table(kind: Any) -> JsonDict:
    """Return the schema of a table of the configuration: its keys, their bounds and defaults; no others are allowed."""
    from typing import get_type_hints

    import msgspec

    hints = get_type_hints(kind, include_extras=True)
    fields = msgspec.structs.fields(kind)
    properties = {}
    for field in fields:
        properties[field.name] = value(hints[field.name])
        if isinstance(field.default, str | int | list) and not isinstance(field.default, msgspec.Struct):
            properties[field.name]["default"] = field.default
    return {"type": "object", "description": (kind.__doc__ or "").strip(), "properties": properties,
            "required": [field.name for field in fields if field.required], "additionalProperties": False}


def value(hint: Any) -> JsonDict:
    """Return the schema of a value: as TOML writes it; a decimal may be a number or a text."""
    from decimal import Decimal
    from types import NoneType, UnionType
    from typing import Annotated, Literal, Union, get_args, get_origin

    import msgspec

    marks: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        marks = tuple(extras)
    if get_origin(hint) in (Union, UnionType):
        parts = [value(part) for part in get_args(hint) if part is not NoneType]
        return parts[0] if len(parts) == 1 else {"anyOf": parts}
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": value(get_args(hint)[1])}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return table(hint)
    if get_origin(hint) is list:
        return {"type": "array", "items": value(get_args(hint)[0])}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    kinds: dict[Any, JsonDict] = {bool: {"type": "boolean"}, int: {"type": "integer"}, str: {"type": "string"},
                                  Decimal: {"type": ["number", "string"]}}
    plain = kinds[hint]
    for mark in marks:
        plain = plain | _bounds(mark)
    return plain


def _bounds(mark: Any) -> JsonDict:
    from cstd.config.schema import Pattern

    if isinstance(mark, Pattern):
        return {"pattern": f"^(?:{mark.regex})$", "description": mark.words}
    return _interval(mark)


def _interval(bounds: Bounds) -> JsonDict:
    """Return an interval as JSON Schema has it; it says nothing of a number that is written as a text."""
    lower = "exclusiveMinimum" if bounds.above else "minimum"
    return {lower: int(bounds.low), "maximum": int(bounds.high), "description": bounds.why}


def main(args: argparse.Namespace) -> int:
    """Print one schema, or the names of all."""
    if not args.of:
        width = max(map(len, SCHEMAS))
        for name, named in SCHEMAS.items():
            sys.stdout.write(f"{name:<{width}}  {named.gives or f'what `cstd {name} -o json` prints'}\n")
        return 0
    sys.stdout.write(json.dumps(schema(_name(args.of)), indent=1) + "\n")
    return 0
