"""`cstd journal checkpoint DIR`: the engine's state at the journal's end, so that the next start need not replay it all.

Runs beside the daemon, which starts it at intervals, or by hand. It is a replay from the last checkpoint on, at the lowest
priority, and compares every output with the journal's as every replay does: a checkpoint is only written of decisions that
were made again, all the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from cstd.child import follow_parent, stand_back
from cstd.engine.checkpoint import build_id, dump
from cstd.engine.recovery import Recovered, recover
from cstd.errors import CstdError, OperatorError, VerificationError
from cstd.printed import print_row
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.agents.loader import load as load_agents
from cstd.storage import checkpoints
from cstd.storage.checkpoints import Checkpoint
from cstd.units import NS_PER_MS


def bring_up_to_date(directory: Path, agents: LoadedAgents | None, *, keep_bytes: int = 0,
                     needed_from_seq: int | None = None) -> dict[str, Any]:
    """Write a checkpoint of the journal's last whole block, then remove what is not needed any more.

    Args:
        directory: the journal; it may be written meanwhile.
        agents: those that the journal was decided with.
        keep_bytes, needed_from_seq: see `checkpoints.trim`.

    Returns:
        seq: the last record in it; records: replayed for it; bytes: of its file; removed: names of files; took_ms.

    Raises:
        OperatorError: the engine is in a state that nothing can go on from, or there is no block yet.
        VerificationError: the journal is not what was written, or this build decides otherwise than it says.
    """
    began_ns = time.monotonic_ns()
    found = recover(directory, agents, include_ring=False)
    if found.replay.difference_count:
        raise VerificationError("this build does not decide what the journal says: " + "; ".join(found.replay.differences))
    if found.place is None:
        raise OperatorError(f"the journal {directory} has no whole block yet", suggestion="try again in a moment")
    try:
        path = _write(directory, found)
        removed = [path.name for path in checkpoints.trim(directory, keep_bytes, needed_from_seq)]
    except OSError as error:
        raise OperatorError(f"the checkpoint of {directory} cannot be written: {error}",
                            suggestion="check free space and rights of the directory") from error
    return {"seq": found.place.last_seq, "records": found.replay.events + found.replay.outputs, "bytes": path.stat().st_size,
            "removed": removed, "took_ms": (time.monotonic_ns() - began_ns) // NS_PER_MS}


def _write(directory: Path, found: Recovered) -> Path:
    assert found.place is not None
    try:
        state = dump(found.engine)
    except ValueError as error:
        raise OperatorError(f"no checkpoint can be made here: {error}", suggestion="the next one may be") from error
    agents = found.engine.agents
    return checkpoints.write(directory, Checkpoint(
        found.place, build_id(), agents.sha256 if agents is not None else "", *found.times), state)


def main(args: argparse.Namespace) -> int:
    """Run the verb; returns 0."""
    row = bring_up_to_date(Path(args.dir), load_agents(), keep_bytes=args.keep_bytes)
    print_row(row, args.output)
    return 0


def child(argv: list[str]) -> int:
    """The daemon's child: as `main`, at the lowest priority, errors in one line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="cstd.daemon.checkpointer")
    parser.add_argument("dir")
    parser.add_argument("--keep-bytes", type=int, default=0)
    parser.add_argument("--needed-from-seq", type=int)
    parser.add_argument("--parent", type=int, required=True)
    args = parser.parse_args(argv)
    stand_back()
    try:
        follow_parent(args.parent)
        row = bring_up_to_date(Path(args.dir), load_agents(), keep_bytes=args.keep_bytes, needed_from_seq=args.needed_from_seq)
        sys.stdout.write(json.dumps(row) + "\n")
    except CstdError as error:
        sys.stderr.write(error.message + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(child(sys.argv[1:]))
