"""Recovery: an engine as its journal left it, from the newest checkpoint that this build can read, or from the first record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cstd._fast.recorder import Recorder
from cstd.engine.checkpoint import build_id, restore
from cstd.engine.flow import Engine
from cstd.engine.replaying import JournalReplay
from cstd.errors import OperatorError, VerificationError
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.code import Code, code_of
from cstd.storage import checkpoints
from cstd.storage.checkpoints import Checkpoint
from cstd.storage.journal_files import Head, segment_paths
from cstd.storage.journal_reader import Walk


@dataclass(slots=True)
class Recovered:
    """An engine at the end of its journal.

    checkpoint: what it began with, None for the journal's first record. times: monotonic and wall time of the last record.
    place: behind the last whole block that was read, None when there was none. unusable: checkpoints that could not be
    used, each with the reason.
    """

    engine: Engine
    replay: JournalReplay
    checkpoint: Checkpoint | None = None
    times: tuple[int, int] = (0, 0)
    place: Head | None = None
    unusable: list[str] = field(default_factory=list)

    @property
    def start(self) -> Head | None:
        """Where reading begins, None for the journal's beginning."""
        return self.checkpoint.place if self.checkpoint is not None else None


def recover(directory: Path, agents: LoadedAgents | None, *, include_ring: bool = True) -> Recovered:
    """Return an engine that has replayed the journal, and what the replay found.

    Raises:
        OperatorError: the oldest records were removed, and no checkpoint can be used in their place.
        VerificationError: the journal is not what was written.
    """
    found = begin(directory, agents)
    walk = Walk(directory, include_ring=include_ring, start=found.start)
    for batch in walk.batches():
        found.replay.take(batch)
        found.times = (batch[-1].mono_ns, batch[-1].wall_ns)
    found.place = walk.place() or found.start
    return found


def begin(directory: Path, agents: LoadedAgents | None, *, whole: bool = False, before_seq: int | None = None,
          make: Callable[[Recorder, LoadedAgents | None], Engine] = Engine) -> Recovered:
    """Return an engine from which the journal can be replayed.

    Args:
        directory: the journal.
        agents: those that are tried first; what else a boot names is looked for beside the journal.
        whole: begin as early as possible, at the first record if it is still there; else as late as possible.
        before_seq: but at a checkpoint before this record.
        make: makes the engine, one that tells more of its replay for example.

    Raises:
        OperatorError: the oldest records were removed, and no checkpoint can be used in their place.
    """
    segments = segment_paths(directory) if directory.is_dir() else []
    cut = bool(segments) and segments[0][0] > 1
    paths = checkpoints.paths(directory) if directory.is_dir() else []
    if whole:
        paths = paths if cut else []
    else:
        paths = [path for path in reversed(paths) if before_seq is None or checkpoints.seq_of(path) < before_seq]
    found = _at_checkpoint(paths, agents, make, code_of(directory))
    if cut and found.checkpoint is None:
        raise OperatorError(
            f"the oldest segments of the journal {directory} were removed, and none of its checkpoints can be used:"
            f" {'; '.join(found.unusable) or 'there is none'}",
            suggestion="start the build that wrote it; or, with nothing open at the venue, move the directory away")
    return found


def _at_checkpoint(paths: Sequence[Path], agents: LoadedAgents | None,
                   make: Callable[[Recorder, LoadedAgents | None], Engine], code: Code) -> Recovered:
    """Return an engine at the first of the checkpoints that can be used, a fresh one when none can."""
    unusable: list[str] = []
    for path in paths:
        engine = _made(make, agents, code)
        try:
            checkpoint, state = checkpoints.read(path)
            replay = JournalReplay(engine)
            if checkpoint.build != build_id():
                raise ValueError(f"written by build {checkpoint.build[:12]}, this is {build_id()[:12]}")
            engine.agents = code.agents(checkpoint.agents, agents)
            engine.recorder.captured = restore(engine, state)
        except (FileNotFoundError, ValueError, VerificationError) as error:  # one may be superseded and removed meanwhile
            unusable.append(f"{path.name}: {error}")
            continue
        return Recovered(engine, replay, checkpoint, (checkpoint.mono_ns, checkpoint.wall_ns), unusable=unusable)
    engine = _made(make, agents, code)
    return Recovered(engine, JournalReplay(engine), unusable=unusable)


def _made(make: Callable[[Recorder, LoadedAgents | None], Engine], agents: LoadedAgents | None, code: Code) -> Engine:
    engine = make(Recorder(), agents)
    engine.code = code
    return engine
