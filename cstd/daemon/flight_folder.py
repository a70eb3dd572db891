"""Where the flight recorder's bundles lie, and the bounds they are kept in.

A bundle is a folder, `YYYYMMDDTHHMMSSZ-KIND`, named when it is whole; what is not named yet begins with `.unfinished`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cstd.clock import utc_parse, utc_text
from cstd.errors import OperatorError, UsageError
from cstd.locks import wait_for_lock
from cstd.storage.journal_files import HEAD_SIGNATURE_LEFT_NAME, HEAD_SIGNATURE_NAME
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import NS_PER_S

BOARD_FILE = "board"
BOARD_LEFT_FILE = "board.left"  # of a run that crashed
FLIGHT_DIR = "flight"
MANIFEST_FILE = "manifest.json"
LOCK_FILE = "lock"
UNFINISHED = ".unfinished-"
HALT, KILL, FAULT, CRASH, HAND = KINDS = ("halt", "kill", "fault", "crash", "hand")
APART_NS = 60 * NS_PER_S  # a loop of halts makes one a minute
LOCK_WAIT_S = 30.0
_NAME = re.compile(rf"(\d{{8}}T\d{{6}})Z-({'|'.join(KINDS)})(?:-\d+)?")


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle. wall_ns: when it was made, to a second."""

    path: Path
    kind: str
    wall_ns: int

    def manifest(self) -> dict[str, Any]:
        """Return what it says of itself, {} where that cannot be read."""
        try:
            told = json.loads((self.path / MANIFEST_FILE).read_bytes())
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}


def flight_dir(run_dir: Path) -> Path:
    """Return where a run directory's bundles are: beside the journal, which a service has on a disk.

    Raises:
        UsageError: there is no journal in it. OperatorError: it is another's.
    """
    journal = run_dir / JOURNAL_DIR
    try:
        if journal.is_dir():
            return journal.resolve().parent / FLIGHT_DIR
    except OSError as error:
        raise OperatorError(f"{run_dir} cannot be read: {error.strerror}", suggestion="be the daemon's user") from error
    raise UsageError(f"there is no journal in {run_dir}", suggestion="name the run directory of a daemon, with --run-dir")


def put_aside(run_dir: Path) -> None:
    """Keep what a run that crashed showed and signed last under other names, before this start replaces it."""
    signature = run_dir / JOURNAL_DIR / HEAD_SIGNATURE_NAME
    for path, left in ((run_dir / BOARD_FILE, run_dir / BOARD_LEFT_FILE),
                       (signature, signature.with_name(HEAD_SIGNATURE_LEFT_NAME))):
        with contextlib.suppress(OSError):
            left.unlink(missing_ok=True)
            os.link(path, left)


def remove_put_aside(run_dir: Path) -> None:
    """Remove it again; a bundle holds it."""
    for left in (run_dir / BOARD_LEFT_FILE, run_dir / JOURNAL_DIR / HEAD_SIGNATURE_LEFT_NAME):
        with contextlib.suppress(OSError):
            left.unlink(missing_ok=True)


def bundles(folder: Path) -> list[Bundle]:
    """Return the bundles of a folder, oldest first; none where there is no folder.

    Raises:
        OperatorError: the folder cannot be read.
    """
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OperatorError(f"{folder} cannot be read: {error.strerror}", suggestion="look at its rights") from error
    found = []
    for path in paths:
        if match := _NAME.fullmatch(path.name):
            day, clock = match[1].split("T")
            text = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z"
            with contextlib.suppress(ValueError):  # a month 13: no bundle of ours
                found.append(Bundle(path, match[2], utc_parse(text)))
    return sorted(found, key=_order)


def _order(bundle: Bundle) -> tuple[int, int]:
    with contextlib.suppress(OSError):  # it goes while it is listed
        return bundle.wall_ns, bundle.path.stat().st_mtime_ns
    return bundle.wall_ns, 0


def free_name(folder: Path, kind: str, wall_ns: int) -> Path:
    """Return a name that is not taken yet."""
    text = utc_text(wall_ns)[:19].replace("-", "").replace(":", "")
    path = folder / f"{text}Z-{kind}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{text}Z-{kind}-{number}"
    return path


def due_in_s(folder: Path, now_wall_ns: int) -> float:
    """Return how long the next one that nobody asks for by hand has to wait."""
    made = [bundle.wall_ns for bundle in bundles(folder) if bundle.kind != HAND]
    # One of a time to come was made before the clock was set back.
    newest = max((wall_ns for wall_ns in made if wall_ns <= now_wall_ns), default=0)
    return max(0, newest + APART_NS - now_wall_ns) / NS_PER_S


def take_lock(folder: Path) -> IO[bytes]:
    """Return the held lock of the folder, made if it is not there.

    Raises:
        OperatorError: somebody else makes a bundle for long.
        OSError: the folder cannot be made, or nothing can be written there.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    file = os.fdopen(os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")
    return wait_for_lock(file, LOCK_WAIT_S, OperatorError(f"another process makes a bundle in {folder}",
                                                          suggestion="try again in a moment"))


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed have left; only with the lock held."""
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def make_room(folder: Path, made: Path, count: int) -> list[str]:
    """Remove the oldest bundles beyond `count`, never the one just made; returns their names."""
    others = [bundle.path for bundle in bundles(folder) if bundle.path != made]
    removed = others[:max(0, len(others) + 1 - count)]
    for path in removed:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in removed]
