"""`cstd train`: the command: reads bars, trains, writes the version and its report."""

from __future__ import annotations

import argparse
import json
import math
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cstd.errors import OperatorError, UsageError
from cstd.research.models import dataset, folds, report, stored, training
from cstd.research.models.evaluation import time_of
from cstd.research.models.labels import Costs
from cstd.signals import registry
from cstd.signals.registry.card import NAME, VERSION

STATE = ".training"


def main(args: argparse.Namespace) -> int:
    """Run the verb: write models/NAME/VERSION and print what came out."""
    if not NAME.fullmatch(args.name):
        raise UsageError(f"{args.name!r} is no name of a model: a-z, 0-9, - and _, at most 48")
    key = registry.read_key(args.key) if args.key else None
    costs = Costs(args.maker_bps, args.taker_bps, args.half_spread_bps)
    settings = training.Settings(args.seed, args.trials, search_s=args.search_s, costs=costs)
    from_s, to_s = (time_of(text, option) if text else None for text, option in ((args.from_, "--from"), (args.to, "--to")))
    series = dataset.read(args.bars, now_s=int(time.time()), from_s=from_s, to_s=to_s)
    root = Path(args.out)
    state = root / STATE / args.name
    with _progress(len(args.horizon) * fits_of(settings)) as tell:
        fits = training.fits_in(state, training.inputs_digest(series, settings, args.horizon), resume=args.resume, tell=tell)
        found = training.train(series, args.horizon, settings, fits)
    card = training.card_of(args.name, "0000", dataset.utc(int(time.time())), series, found, settings)
    files = {name: content for one in found.values() for name, content in one.files.items()}
    if key is None:
        folder = write_unsigned(root, args.name, card, files)
    else:
        folder = registry.write_version(root, args.name, card, files, key)
    page = folder.with_suffix(".html")
    page.write_text(report.page(f"{args.name} {folder.name}", found), "utf-8")
    shutil.rmtree(state, ignore_errors=True)
    _print(args, folder, page, card)
    return 0


def fits_of(settings: training.Settings) -> int:
    """Return how many fits a horizon takes, at most."""
    splits = math.comb(folds.GROUPS, folds.TEST_GROUPS)
    return len(settings.names) * (settings.trials * folds.FOLDS + 1) + splits * min(settings.trials, training.CHOICES_MAX)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show on stderr what is fitted and how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=total)

        def tell(what: str) -> None:
            horizon, name, *_, place = what.split()
            progress.update(task, advance=1, description=f"{horizon} {name} {place}")

        yield tell


def write_unsigned(root: Path, name: str, card: dict[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write a version under the next number, whole or not at all; without a signature it can be evaluated and not promoted.

    Raises:
        OperatorError: the folder cannot be written.
    """
    model = root / name
    new = model / f".new-{secrets.token_hex(4)}"
    try:
        new.mkdir(parents=True)
        used = [int(path.name) for path in model.iterdir() if VERSION.fullmatch(path.name)]
        version = f"{max(used, default=0) + 1:04}"
        for file, content in files.items():
            (new / file).write_bytes(content)
        (new / stored.CARD).write_bytes((json.dumps(card | {"version": version}, sort_keys=True, indent=1) + "\n").encode())
        new.rename(model / version)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise OperatorError(f"{model} cannot be written: {error.strerror or error}") from None
    return model / version


def _print(args: argparse.Namespace, folder: Path, page: Path, card: Mapping[str, Any]) -> None:
    names = ("n", "independent_windows", "brier_skill", "brier_skill_ci", "trades", "verdict")
    found = {"model": f"{folder.parent.name}/{folder.name}", "folder": str(folder), "report": str(page),
             "signed": args.key is not None, "verdict": card["verdict"],
             "horizons": {horizon: {name: part["metrics"][name] for name in names} for horizon, part in card["horizons"].items()}}
    if args.output == "json":
        sys.stdout.write(json.dumps(found, allow_nan=False) + "\n")
        return
    sys.stdout.write(f"{folder}: {card['verdict']}\n{page}\n")
    for horizon, part in found["horizons"].items():
        sys.stdout.write(f"{horizon}: " + ", ".join(f"{name} {part[name]}" for name in names) + "\n")
