"""`cstd handover`: what the next journal must not forget of this one, written by the build that can read it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cstd.cli.flight import run_dir_of
from cstd.clock import SystemClock, utc_text
from cstd.engine.handover import document
from cstd.engine.recovery import Recovered, recover
from cstd.errors import EXIT_OK, OperatorError, UsageError, VerificationError
from cstd.printed import print_row
from cstd.projector.process import state_dir
from cstd.signals.agents.loader import load as load_agents
from cstd.storage import handover_file
from cstd.storage.journal_files import is_being_written, lock_directory
from cstd.storage.journal_signature import KEY_NAME, open_key
from cstd.storage.run_dir import JOURNAL_DIR


def main(args: argparse.Namespace) -> int:
    """Write the handover of a stopped daemon's journal to `args.file` and print what it holds; returns 0.

    Raises:
        UsageError: there is no journal.
        OperatorError: the file is there already and `args.force` is not given, the daemon runs, an order may be open, or
            the journal does not end with a stop.
        VerificationError: this build does not decide what the journal says, or the journal is damaged.
    """
    run_dir = run_dir_of(args)
    journal = run_dir / JOURNAL_DIR
    if not journal.is_dir():
        raise UsageError(f"there is no journal in {run_dir}", suggestion="name the run directory of a daemon, with --run-dir")
    if is_being_written(journal):
        raise OperatorError(f"the daemon of {run_dir} runs", suggestion="stop it first: what it does next would be forgotten")
    path = Path(args.file).resolve()
    if path.exists() and not args.force:
        raise OperatorError(f"{path} exists already: it may be what an earlier upgrade must not forget",
                            suggestion="name another file, or overwrite it with --force")
    with lock_directory(journal):  # so that none starts meanwhile
        row = _hand_over(journal, state_dir(run_dir), path)
    print_row(row, args.output)
    return EXIT_OK


def _hand_over(journal: Path, state: Path, path: Path) -> dict[str, Any]:
    found = recover(journal, load_agents())
    if found.replay.difference_count:
        raise VerificationError("this build does not decide what the journal says: " + "; ".join(found.replay.differences),
                                suggestion="hand over with the build that wrote it")
    if found.place is None:
        raise OperatorError(f"the journal {journal} has no whole block yet", suggestion="start the daemon once, and stop it")
    content = document(found.engine, found.times[1], journal_id=found.place.journal_id.hex(), seq=found.place.last_seq,
                       head_hash=found.place.hash.hex())
    try:
        sealed = handover_file.write(path, content, open_key(state / KEY_NAME), SystemClock().wall_ns())
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}") from error
    return {"file": str(path), "sha256": sealed.sha256, "signed_by": sealed.signed_by, **_told(found)}


def _told(found: Recovered) -> dict[str, Any]:
    """What an operator compares with `cstd status` and `cstd positions` before and after."""
    engine, limits = found.engine, found.engine.risk.limits
    return {"until": utc_text(found.times[1]), "seq": found.place.last_seq if found.place is not None else 0,
            "held": [f"{engine.names[number]}={engine.ledger.positions[number].qty:f}" for number in engine.ledger.held()],
            "level": engine.risk.levels.name, "killed": engine.risk.killed, "paused": engine.risk.paused,
            "limits": sum(len(own) for slot in (limits.changes, limits.reloaded) for own in slot.values())}
