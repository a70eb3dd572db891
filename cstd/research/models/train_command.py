"""`cstd train`: the command: reads bars, trains, writes the version and its report."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cstd.clock import utc_parse
from cstd.errors import UsageError
from cstd.research.models import dataset, folds, report, stored, training
from cstd.research.models.evaluation import Span, time_of
from cstd.research.models.labels import Costs
from cstd.signals import registry
from cstd.signals.registry.card import NAME
from cstd.units import NS_PER_S

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
        found = training.train(series, args.horizon, settings, fits, judged_before(root))
    card = training.card_of(args.name, "0000", dataset.utc(int(time.time())), series, found, settings)
    files = {name: content for one in found.values() for name, content in one.files.items()}
    if key is None:
        folder = registry.put_unsigned(root, args.name, card, files)
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


def judged_before(root: Path) -> list[Span]:
    """Return what was held out of each version below a folder, one span to a version; one that cannot be told is of all time."""
    spans = []
    for path in sorted(root.glob(f"*/[0-9][0-9][0-9][0-9]/{stored.CARD}")):
        try:
            found = [part["metrics"]["held_out"] for part in json.loads(path.read_bytes())["horizons"].values()]
            spans.append((min(utc_parse(one["from"]) for one in found) // NS_PER_S,
                          max(utc_parse(one["to"]) for one in found) // NS_PER_S))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            spans.append((0, 1 << 40))
    return spans


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
