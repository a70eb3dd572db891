"""The verb `cstd chaos`: which faults, in which order, what is printed, and that nothing is left behind."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from cstd.chaos.campaign import FAILED, NOT_RUN, PASSED, Outcome, kills, play
from cstd.chaos.faults import FAULTS, KillNine
from cstd.chaos.tally import Table, new_tally, read_tally, write_tally
from cstd.config import load, template
from cstd.errors import EXIT_FAILURE, EXIT_OK, EXIT_VERIFICATION, UsageError

SEED_BITS = 31


class EndedError(BaseException):
    """A signal asked for the end; not an Exception, so that nothing on the way takes it for a broken promise."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _on_signal(number: int, _frame: object) -> NoReturn:
    """End once; what is cleaned up after that is bounded in time and not interrupted again."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise EndedError(number)


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(f"cstd chaos: {text}\n")
    sys.stderr.flush()


def chosen(text: str | None) -> list[str]:
    """Return the faults that a list names, all of them without one.

    Raises:
        UsageError: one is unknown.
    """
    names = list(FAULTS) if text is None else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise UsageError(f"there is no fault {unknown[0]!r}", suggestion=f"there are {', '.join(FAULTS)}")
    return list(dict.fromkeys(names))


def practice_config(given: str | None) -> tuple[Path, int]:
    """Return the configuration file, and how many of the exchange's instruments it takes.

    Raises:
        UsageError: its mode is not practice: faults are for throw-away sessions alone.
    """
    from cstd.practice.instruments import DEFAULTS

    path = Path(given) if given is not None else template("practice")
    config = load([str(path)], os.environ)
    if config.mode != "practice":
        raise UsageError(f"faults are for mode practice, {path} has {config.mode}: a configured session is never touched",
                         suggestion="leave -c out")
    known = [instrument.name for instrument in DEFAULTS]
    missing = [name for name in config.instruments.names if name not in known]
    if missing:
        raise UsageError(f"the practice exchange has no {missing[0]}", suggestion=f"it has {', '.join(known)}")
    return path.resolve(), max(known.index(name) for name in config.instruments.names) + 1


def main(args: argparse.Namespace) -> int:
    """Run the verb; returns 0 when all that ran passed, 3 when a promise broke, 128 + the number of a signal that ended it.

    1 when nothing ran, or with --must-run when something did not.
    """
    names = chosen(args.faults)
    if args.tally and KillNine.name not in names:
        raise UsageError("--tally counts kills, and kill9 is not among the faults", suggestion="add kill9 to --faults")
    config, instruments = practice_config(args.config)
    tally_path = Path(args.tally) if args.tally else None
    tally = read_tally(tally_path) if tally_path else new_tally()
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), "big") >> (32 - SEED_BITS)
    say(f"seed {seed}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)
    outcomes: list[Outcome] = []
    try:
        for name in names:
            if name == KillNine.name:
                outcome = kills(args.kills, _next_seed(tally, seed), tally, say, lambda: _save(tally_path, tally), config=config,
                                instruments=instruments)
            else:
                fault = FAULTS[name]()
                fault.must_be_real = args.must_run
                outcome = play(fault, seed, say, config=config, instruments=instruments)
            _tell(outcome)
            outcomes.append(outcome)
    except EndedError as ended:
        say(f"{ended}: ended, everything was taken away; what was under way is not counted")
        return 128 + ended.number
    _print(outcomes, seed, tally, as_json=args.output == "json")
    missing = [f"{outcome.fault} ({outcome.reason})" for outcome in outcomes if outcome.result == NOT_RUN]
    if missing:
        say(f"not run here: {'; '.join(missing)}" + (", and --must-run requires them" if args.must_run else ""))
    return _code(outcomes, must_run=args.must_run)


def _next_seed(tally: Table, seed: int) -> int:
    """A campaign goes on with the seed after its last one."""
    return int(tally["seeds"][-1]) + 1 if tally["seeds"] else seed


def _save(path: Path | None, tally: Table) -> None:
    if path is not None:
        write_tally(path, tally)


def _tell(outcome: Outcome) -> None:
    say(f"{outcome.fault}: {outcome.result}" + (f", {outcome.reason}" if outcome.reason else ""))
    if outcome.result == FAILED:
        kept = f", kept in {outcome.directory}" if outcome.directory else ""
        say(f"{outcome.fault}: seed {outcome.seed} (again: cstd chaos --faults {outcome.fault} --seed {outcome.seed}){kept}")


def _code(outcomes: list[Outcome], *, must_run: bool) -> int:
    results = {outcome.result for outcome in outcomes}
    if FAILED in results:
        return EXIT_VERIFICATION
    if must_run and NOT_RUN in results:
        return EXIT_FAILURE
    return EXIT_OK if PASSED in results else EXIT_FAILURE


def _print(outcomes: list[Outcome], seed: int, tally: Table, *, as_json: bool) -> None:
    if as_json:
        counts = {result: sum(outcome.result == result for outcome in outcomes) for result in (PASSED, FAILED, NOT_RUN)}
        faults = [outcome.table() for outcome in outcomes]
        sys.stdout.write(json.dumps({"seed": seed, **counts, "faults": faults, "tally": tally}) + "\n")
        return
    head = ("fault", "result", "times", "orders", "fills", "ready max", "seconds", "")
    rows = [(o.fault, o.result, str(o.strikes), str(o.orders), str(o.fills), f"{max(o.ready_s, default=0.0):.1f} s",
             f"{o.seconds:.0f}", o.reason.splitlines()[0] if o.reason else "") for o in outcomes]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
