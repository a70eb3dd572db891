"""The first start of a journal that goes on where another one stopped: `handover.json` beside it, looked at and taken.

The document is journaled in the boot event itself: a crash leaves a journal that has both, or neither. Only then does the
file take another name, and a start that finds it although its journal has it already does that alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cstd._fast.codes import EventKind
from cstd._fast.recorder import Recorder
from cstd.config import Config
from cstd.engine import Engine
from cstd.engine.boot import boot_payload, next_epoch
from cstd.engine.handover import OTHER_BUILD, differences, read
from cstd.errors import OperatorError
from cstd.signals.code import Configured
from cstd.storage.journal_files import sync_directory
from cstd.storage.run_dir import HANDOVER_FILE, JOURNAL_DIR, TAKEN_FILE

if TYPE_CHECKING:
    from cstd.storage.handover_file import Sealed

PARTS_OF_RING = 4  # the journal takes no record longer than this part of its ring


def first_words(cfg: Config, engine: Engine, ours: Configured, run_dir: Path, wall_ns: int) -> bytes:
    """Return the boot event of a start, with the handover that waits for it.

    Raises:
        OperatorError: the handover is for another configuration, for an empty journal, or of another schema.
        VerificationError: it is not what was sealed.
    """
    state = (run_dir / JOURNAL_DIR).resolve().parent
    path = state / HANDOVER_FILE
    last, handover = engine.boot_epoch, None
    if path.exists():
        from cstd.storage.handover_file import prove  # cryptography, which no other start needs
        from cstd.storage.journal_signature import KEY_NAME

        sealed = prove(path, state / KEY_NAME)
        if engine.handed_over is None or engine.handed_over.sha256 != sealed.sha256:
            last, handover = _look_at(path, sealed, cfg, engine)
    payload = boot_payload(cfg, next_epoch(last, wall_ns), ours.agents, ours.strategy, handover)
    if handover is not None:
        _try(path, payload, engine, cfg, wall_ns)
    return payload


def _look_at(path: Path, sealed: Sealed, cfg: Config, engine: Engine) -> tuple[int, dict[str, Any]]:
    """Return the last boot epoch of a handover and what the boot event holds of it."""
    if engine.cfg is not None:
        raise OperatorError(f"{path} is for an empty journal, and this one has begun",
                            suggestion="move the journal away, or the handover where this journal is the one to go on with")
    given = read(sealed.content)
    found = differences(given, cfg)
    if found:
        raise OperatorError(f"{path} cannot be taken: " + "; ".join(found), suggestion="change what differs, or " + OTHER_BUILD)
    return given.boot_epoch, {"sha256": sealed.sha256, "signed_by": sealed.signed_by, "content": sealed.content}


def _try(path: Path, payload: bytes, engine: Engine, cfg: Config, wall_ns: int) -> None:
    """Boot an engine that is thrown away: what it cannot take must not be journaled."""
    if len(payload) * PARTS_OF_RING > cfg.journal.ring_bytes:
        raise OperatorError(f"{path} has {len(payload)} bytes, more than a quarter of journal.ring_bytes"
                            f" = {cfg.journal.ring_bytes}", suggestion="a larger ring")
    trial = Engine(Recorder(), engine.agents)
    trial.code = engine.code
    trial.core.event(EventKind.EVENT_BOOT, 0, wall_ns, wall_ns, payload)
    if trial.core.fault is not None:
        raise OperatorError(f"{path} cannot be taken: {trial.core.fault}", suggestion=OTHER_BUILD)


def put_aside(run_dir: Path, engine: Engine) -> None:
    """The journal has the handover, on disk: its file is not looked at again."""
    path = (run_dir / JOURNAL_DIR).resolve().parent / HANDOVER_FILE
    if engine.handed_over is not None and path.exists():
        path.replace(path.with_name(TAKEN_FILE))
        sync_directory(path.parent)
