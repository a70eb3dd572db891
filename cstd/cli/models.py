"""`cstd models list|show|verify|sign|promote|rollback|diff`: the registry of models, by hand.

They look at files alone; the daemon need not run. Nothing of a card is shown before its signature was checked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cstd.cli.models_outputs import ModelDifference, Models, ModelShown, ModelStep, ModelVerified, ModelVersion
from cstd.cli.users import own_name
from cstd.errors import EXIT_OK, EXIT_VERIFICATION, OperatorError
from cstd.ops.confirm import confirm
from cstd.printed import aligned
from cstd.signals import registry
from cstd.signals.registry import log as registry_log
from cstd.signals.registry.log import Log, Step
from cstd.signals.scorer.rows import rows_said

ABSENT = "(not there)"
SHOWN_CHARS = 60


def list_versions(args: argparse.Namespace) -> int:
    """Print every version with its state; returns 0, also where one does not verify: its row says so.

    Raises:
        RefusedVersionError: the log does not hold, so that no state is known.
    """
    root, key = _opened(args)
    log = registry_log.read(root, key)
    rows = [_row(root, name, version, key, log) for name, version in _chosen(root, log, args.model)]
    found = Models(versions=rows, log_lines=len(log.steps), log_head=log.head)
    if args.output == "json":
        return _print_json(found)
    columns = ("model", "version", "state", "verdict", "horizons", "members", "rows", "created", "problem")
    _print_table(columns, [[row[name] for name in columns] for row in rows])  # type: ignore[literal-required]
    sys.stdout.write(f"log: {len(log.steps)} lines, head {log.head}\n")
    return EXIT_OK


def _opened(args: argparse.Namespace) -> tuple[Path, bytes]:
    return Path(args.models), registry.read_key(args.key)


def _chosen(root: Path, log: Log, model: str | None) -> list[tuple[str, str]]:
    """Return the versions that there are or that the log knows, of one model or of all."""
    known = {*registry.versions(root), *((step.name, step.version) for step in log.steps)}
    chosen = sorted(pair for pair in known if model in (None, pair[0]))
    if model is not None and not chosen:
        raise OperatorError(f"there is no model {model[:64]!r} in {root}", suggestion="cstd models list")
    return chosen


def _row(root: Path, name: str, version: str, key: bytes, log: Log) -> ModelVersion:
    row = ModelVersion(model=name, version=version, state=log.state(name, version), verified=False, problem=None, verdict=None,
                       created=None, horizons=[], members=None, features=None, rows=None, card_sha256=None)
    try:
        found = registry.verify(root, name, version, key, log)
    except (registry.RefusedVersionError, OperatorError) as error:
        row["problem"] = error.message
        return row
    card = found.card
    return ModelVersion(model=name, version=version, state=row["state"], verified=True, problem=None, verdict=card.verdict,
                        created=card.created, horizons=list(card.horizons), members=sum(1 for _ in card.members()),
                        features=len(card.features), rows=rows_said(card), card_sha256=found.card_sha256)


def show(args: argparse.Namespace) -> int:
    """Print a version's card and its way through the states; returns 0.

    Raises:
        RefusedVersionError: it does not verify.
    """
    root, key = _opened(args)
    log = registry_log.read(root, key)
    version = args.version or log.in_production(args.model)
    if version is None:
        _chosen(root, log, args.model)
        raise OperatorError(f"no version of {args.model} is in production", suggestion="name one: cstd models list")
    found = registry.verify(root, args.model, version, key, log)
    shown = ModelShown(model=args.model, version=version, state=log.state(args.model, version), folder=str(found.folder),
                       card_sha256=found.card_sha256, rows=rows_said(found.card), card=msgspec.to_builtins(found.card),
                       steps=[_step(step) for step in log.of(args.model, version)])
    if args.output == "json":
        return _print_json(shown)
    head = {name: shown[name] for name in ("model", "version", "state", "folder", "card_sha256", "rows")}
    _print_table((), [[name, value] for name, value in (head | _flat(shown["card"])).items()])
    sys.stdout.write("\n")
    _print_table(("seq", "when", "who", "from", "to", "reason"),
                 [[step["seq"], step["when"], step["who"], step["from_state"], step["to_state"], step["reason"]]
                  for step in shown["steps"]])
    return EXIT_OK


def _step(step: Step) -> ModelStep:
    return ModelStep(seq=step.seq, action=step.action, version=step.version, from_state=step.from_ or None, to_state=step.to,
                     who=step.who, when=step.when, reason=step.reason)


def verify(args: argparse.Namespace) -> int:
    """Print of each version whether it is what was registered; returns 0, or 3 where one is not."""
    root, key = _opened(args)
    log = registry_log.read(root, key)
    chosen = [(args.model, args.version)] if args.version else _chosen(root, log, args.model)
    rows = [_verified(root, name, version, key, log) for name, version in chosen]
    if args.output == "json":
        _print_json(rows)
    else:
        _print_table(("model", "version", "ok", "reason", "message"), [list(row.values()) for row in rows])
    return EXIT_OK if all(row["ok"] for row in rows) else EXIT_VERIFICATION


def _verified(root: Path, name: str, version: str, key: bytes, log: Log) -> ModelVerified:
    try:
        registry.verify(root, name, version, key, log)
    except registry.RefusedVersionError as error:
        return ModelVerified(model=name, version=version, ok=False, reason=error.reason, message=error.message)
    except OperatorError as error:
        return ModelVerified(model=name, version=version, ok=False, reason="unreadable", message=error.message)
    return ModelVerified(model=name, version=version, ok=True, reason=None, message=None)


def sign(args: argparse.Namespace) -> int:
    """Sign and register a version that was trained without the key; returns 0.

    Raises:
        RefusedVersionError: it would not verify, or is registered.
    """
    root, key = _opened(args)
    confirm(f"sign {args.model} {args.version} as it lies in {root}? Whoever signs vouches for where it came from.", yes=args.yes)
    step = registry.sign_version(root, args.model, args.version, key, who=_who(args), when=_now(), reason=args.reason)
    return _print_steps(args, [step])


def promote(args: argparse.Namespace) -> int:
    """Move a version to another state; returns 0.

    Raises:
        RefusedVersionError: it does not verify, did not beat its baselines, or there is no such step.
    """
    root, key = _opened(args)
    log = registry_log.read(root, key)
    state = log.state(args.model, args.version)
    to = args.to or (registry_log.NEXT.get(state) if state else None)
    confirm(f"move {args.model} {args.version} from {state or 'nowhere'} to {to or 'nowhere'}?", yes=args.yes)
    steps = registry.promote(root, args.model, args.version, key, to=args.to, who=_who(args), when=_now(), reason=args.reason)
    return _print_steps(args, steps)


def rollback(args: argparse.Namespace) -> int:
    """Put the production version aside and the one before it back; returns 0.

    Raises:
        RefusedVersionError: there is none that still verifies.
    """
    root, key = _opened(args)
    confirm(f"put the production version of {args.model} aside, and the one before it back?", yes=args.yes)
    return _print_steps(args, registry.rollback(root, args.model, key, who=_who(args), when=_now(), reason=args.reason))


def _who(args: argparse.Namespace) -> str:
    return str(args.by or own_name())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _print_steps(args: argparse.Namespace, steps: Sequence[Step]) -> int:
    rows = [_step(step) for step in steps]
    if args.output == "json":
        return _print_json(rows)
    for row in rows:
        sys.stdout.write(f"{args.model} {row['version']}: {row['from_state'] or 'unsigned'} -> {row['to_state']}\n")
    return EXIT_OK


def drift(args: argparse.Namespace) -> int:
    """Print whether the model that scores has drifted; returns 0, or 3 where that asks for something."""
    from cstd.cli import models_drift  # asks the daemon; nothing else here does

    return models_drift.run(args)


def diff(args: argparse.Namespace) -> int:
    """Print where the cards of two versions differ, files by their hashes; returns 0.

    Raises:
        RefusedVersionError: one of them does not verify.
    """
    root, key = _opened(args)
    log = registry_log.read(root, key)
    cards = [_flat(msgspec.to_builtins(registry.verify(root, args.model, version, key, log).card))
             for version in (args.version, args.other)]
    rows = [ModelDifference(key=name, version=cards[0].get(name), other=cards[1].get(name))
            for name in sorted({*cards[0], *cards[1]}) if cards[0].get(name, ABSENT) != cards[1].get(name, ABSENT)]
    if args.output == "json":
        return _print_json(rows)
    _print_table(("key", args.version, args.other), [[row["key"], row["version"], row["other"]] for row in rows])
    return EXIT_OK


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return a card as one row of leaves: `horizons.1h.stack.intercept`; members go by their names, lists of numbers whole."""
    if isinstance(value, dict):
        pairs: Iterable[tuple[str, Any]] = value.items()
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        pairs = ((str(item.get("name", item.get("file", number))), item) for number, item in enumerate(value))
    else:
        return {prefix: value}
    return {name: leaf for key, item in pairs for name, leaf in _flat(item, f"{prefix}.{key}" if prefix else key).items()}


def _print_json(found: object) -> int:
    sys.stdout.write(json.dumps(found) + "\n")
    return EXIT_OK


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    cells = [[_cell(value) for value in row] for row in rows]
    lines = [list(columns), *cells] if columns else cells
    sys.stdout.writelines(f"{line}\n" for line in (aligned(lines) if lines else ()))


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= SHOWN_CHARS or " " in text else text[:SHOWN_CHARS - 1] + "…"
