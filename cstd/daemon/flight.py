"""The flight recorder: the last minute of a session as one bundle that `cstd replay` opens.

Made from files alone, by a process that trades nothing: the daemon's child on a halt or a kill, the child of the next start
after a crash, `cstd flight save` by hand. What it reads is there anyway: the journal holds every frame and decision, the
board what the daemon showed last. So nothing is recorded for it, and it can be made of a process that is gone.

A bundle holds `journal/` (journal_copy.py), `code/` (compiled agents and strategies that it names), `config.json` (canonical),
`metrics.prom` and `board.json` (the board's last state), `log.jsonl` (the end of the log) and `manifest.json`, which says what
it is, what is missing, and the SHA-256 of each.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cstd import __version__
from cstd.child import follow_parent, stand_back
from cstd.clock import utc_text
from cstd.config import load_credentials
from cstd.config.loading import from_canonical_json
from cstd.daemon import flight_folder
from cstd.daemon.flight_folder import BOARD_FILE, BOARD_LEFT_FILE, CRASH, HAND, MANIFEST_FILE
from cstd.engine import Engine
from cstd.engine.checkpoint import build_id, dump
from cstd.engine.recovery import begin, recover
from cstd.errors import CstdError, OperatorError, VerificationError
from cstd.ops.board import REGIONS, BoardReader
from cstd.ops.logs import Redactor
from cstd.ops.metrics import BoardCollector
from cstd.ops.sight import Sight
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.agents.loader import load as load_agents
from cstd.signals.code import code_dir, copy_code
from cstd.storage import checkpoints
from cstd.storage.checkpoints import Checkpoint
from cstd.storage.journal_copy import Part, copy_bytes, copy_part, signatures_of, survey
from cstd.storage.journal_files import Head, put_in_place, segment_paths, sync_directory
from cstd.storage.journal_reader import Walk
from cstd.storage.journal_signature import Signature
from cstd.storage.run_dir import CODE_DIR, JOURNAL_DIR
from cstd.units import NS_PER_MS, NS_PER_S

FORMAT = 1
SPAN_S = 60
FILE_MODE = 0o600
TRIES = 3
CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.prom"
STATE_FILE = "board.json"
LOG_FILE = "log.jsonl"
DAEMON_LOG = "daemon.log"  # where `make run` has the daemon's stderr
LOG_BYTES_MAX = 256 << 10  # of the log's end
OTHER_BYTES = 4 << 20  # of a bundle beside the segments: board, log, checkpoint
# Where the journal does not say: see the schema.
BUNDLES_MAX = 8
DISK_FREE_BYTES_MIN = 2**29


@dataclass(frozen=True, slots=True)
class Ask:
    """What a bundle is wanted of.

    at_seq: the record before which the last minute is wanted, None: the last one. until_seq: nothing after this record.
    bundles_max, disk_free_bytes_min: None: as the configuration in the journal has them.
    pid: of the daemon, for its log; None where none runs.
    """

    run_dir: Path
    kind: str
    reason: str
    at_seq: int | None = None
    until_seq: int | None = None
    bundles_max: int | None = None
    disk_free_bytes_min: int | None = None
    pid: int | None = None


def save(ask: Ask) -> dict[str, Any]:
    """Make a bundle and return what its manifest says of it in one row; {"wait_s": ...} when it is too soon for one.

    Raises:
        UsageError: there is no journal in the run directory.
        OperatorError: it cannot be written, it would leave less of the disk than the floor, or there is nothing to save.
        VerificationError: the journal is not what was written.
    """
    began_ns = time.monotonic_ns()
    folder = flight_folder.flight_dir(ask.run_dir)
    try:
        signatures = signatures_of(ask.run_dir / JOURNAL_DIR)
        with flight_folder.take_lock(folder):
            flight_folder.remove_unfinished(folder)
            wait_s = flight_folder.due_in_s(folder, time.time_ns()) if ask.kind != HAND else 0.0
            if wait_s:
                return {"wait_s": wait_s}
            maker, path = _made(ask, folder, signatures)
            maker.check(path)
            removed = flight_folder.make_room(folder, path, maker.bundles_max)
    except OSError as error:
        raise OperatorError(f"no bundle can be made in {folder}: {error}",
                            suggestion="look at its rights and at what is free there, or be the daemon's user") from error
    return {**summary(path), "removed": removed, "took_ms": (time.monotonic_ns() - began_ns) // NS_PER_MS}


def _made(ask: Ask, folder: Path, signatures: list[Signature]) -> tuple[_Maker, Path]:
    """Make a bundle; begins again where the daemon removes a checkpoint or a segment that it no longer needs meanwhile."""
    tries = 0
    while True:
        tries += 1
        try:
            maker = _Maker(ask, folder, signatures)
            return maker, maker.make()
        except FileNotFoundError:
            if tries == TRIES:
                raise


class _JournalTold(msgspec.Struct):
    covered_s: float | None = None
    replay_from_seq: int | None = None
    last_seq: int | None = None


class _CheckTold(msgspec.Struct):
    differences: int | None = None
    error: str | None = None


class _FileTold(msgspec.Struct):
    bytes: int


class _Told(msgspec.Struct):
    """What a manifest says of its bundle."""

    kind: str | None = None
    made: str | None = None
    ends: str | None = None
    reason: str | None = None
    journal: _JournalTold = msgspec.field(default_factory=_JournalTold)
    check: _CheckTold | None = None
    files: list[_FileTold] = msgspec.field(default_factory=list)
    missing: list[str] | None = None


def summary(path: Path) -> dict[str, Any]:
    """Return a bundle in one row; what its manifest does not say is None, all of it where it is no manifest of ours."""
    try:
        told = msgspec.convert(flight_folder.Bundle(path, "", 0).manifest(), _Told)
    except msgspec.ValidationError:
        told = _Told()
    journal, check = told.journal, told.check or _CheckTold()
    return {"path": str(path), "kind": told.kind, "made": told.made, "ends": told.ends, "reason": told.reason,
            "covered_s": journal.covered_s, "first_seq": journal.replay_from_seq, "last_seq": journal.last_seq,
            "differences": check.differences, "check_error": check.error, "bytes": sum(file.bytes for file in told.files),
            "missing": told.missing}


class _Maker:
    """One bundle on its way."""

    def __init__(self, ask: Ask, folder: Path, signatures: list[Signature]) -> None:
        self._ask = ask
        self._folder = folder
        self._signatures = signatures
        self._journal = ask.run_dir / JOURNAL_DIR
        self._agents: LoadedAgents | None = load_agents()
        self._missing: list[str] = []
        self._part, self._base = self._find_part()
        self._boot = self._last_boot()
        self._redactor = self._make_redactor()
        self.bundles_max, self._floor_bytes = self._limits()

    # What there is.

    def _find_part(self) -> tuple[Part, Path | None]:
        """Return what to copy, and the checkpoint that reading began at; as few records as hold the last minute."""
        found: tuple[Part, Path | None] | None = None
        for path, start in self._starts():
            part = survey(self._journal, start, SPAN_S * NS_PER_S, at_seq=self._ask.at_seq, until_seq=self._ask.until_seq)
            if found is None or part.covered_ns > found[0].covered_ns:
                found = part, path
            if part.covered_ns >= SPAN_S * NS_PER_S:
                break
        if found is None:
            raise OperatorError(f"no checkpoint in {self._journal} can be read, and its oldest segments were removed",
                                suggestion="see `cstd journal verify`")
        return found

    def _starts(self) -> Iterator[tuple[Path | None, Checkpoint | None]]:
        """Yield where reading may begin, latest first: checkpoints of this build, the first record, checkpoints of others."""
        wanted = [seq for seq in (self._ask.at_seq, self._ask.until_seq) if seq is not None]
        others: list[tuple[Path, Checkpoint]] = []
        for path in reversed(checkpoints.paths(self._journal)):
            if wanted and checkpoints.seq_of(path) >= min(wanted):
                continue
            try:
                found = checkpoints.read(path)[0]
            except FileNotFoundError:
                continue  # newer ones have superseded it meanwhile
            except (OSError, VerificationError) as error:
                self._missing.append(f"{path}: {error}")
                continue
            if found.build == build_id():
                yield path, found
            else:
                others.append((path, found))
        segments = segment_paths(self._journal)
        if not segments or segments[0][0] == 1:
            yield None, None
        yield from others

    def _last_boot(self) -> dict[str, Any]:
        """Return the payload of the start that the bundle is of: configuration, version, agents; {} where none can be had."""
        if self._part.boot is not None:
            return dict(json.loads(self._part.boot))
        try:
            engine = begin(self._journal, self._agents, before_seq=self._part.end.last_seq + 1).engine
        except CstdError as error:
            self._missing.append(f"configuration: {error.message}")
            return {}
        if engine.cfg is None:
            self._missing.append("configuration: no daemon has started here")
            return {}
        return {"version": __version__, "boot_epoch": engine.boot_epoch, "mode": engine.cfg.mode,
                "config": json.loads(engine.cfg.to_canonical_json()), "config_hash": engine.config_hash,
                "agents": {"sha256": _agents_sha256(engine)}}

    def _limits(self) -> tuple[int, int]:
        bundles_max, floor_bytes = BUNDLES_MAX, DISK_FREE_BYTES_MIN
        with contextlib.suppress(CstdError):
            if "config" in self._boot:
                cfg = from_canonical_json(json.dumps(self._boot["config"]).encode())
                bundles_max, floor_bytes = cfg.flight.bundles_max, cfg.journal.disk_free_bytes_min
        ask = self._ask
        return (bundles_max if ask.bundles_max is None else ask.bundles_max,
                floor_bytes if ask.disk_free_bytes_min is None else ask.disk_free_bytes_min)

    # Writing.

    def make(self) -> Path:
        """Write the bundle and give it its name."""
        unfinished = self._folder / f"{flight_folder.UNFINISHED}{os.getpid()}"
        try:
            (unfinished / JOURNAL_DIR).mkdir(mode=0o700, parents=True)
            unfinished.chmod(0o700)
            copy_code(code_dir(self._journal), unfinished / CODE_DIR)
            start = self._write_journal(unfinished / JOURNAL_DIR)
            self._write_config(unfinished)
            self._write_board(unfinished)
            self._write_log(unfinished)
            wall_ns = time.time_ns()
            self._write_manifest(unfinished, start, wall_ns)
            path = flight_folder.free_name(self._folder, self._ask.kind, wall_ns)
            unfinished.replace(path)
            sync_directory(self._folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        if self._ask.kind == CRASH:
            flight_folder.remove_put_aside(self._ask.run_dir)
        return path

    def _write_journal(self, target: Path) -> Head | None:
        """Copy the part, with a checkpoint where it does not begin at the first record; returns where a replay begins."""
        start, window = self._part.start, self._part.window
        nearer = window is not None and window.segment > (start.segment if start is not None else 1)
        if nearer and window is not None:
            self._need_room(window.segment)
            try:
                start = self._write_checkpoint(target, window)
            except (CstdError, ValueError) as error:
                self._missing.append(f"a start nearer to the end: {error}")
                nearer = False
        first = start.segment if start is not None else 1
        if not nearer:
            self._need_room(first)
            if first > 1 and self._base is not None:
                put_in_place(target / self._base.name, self._base.read_bytes(), mode=FILE_MODE)
        copy_part(self._journal, target, first, self._part.end, self._part.ring, self._signatures)
        return start if first > 1 else None

    def _need_room(self, first: int) -> None:
        """Refuse a bundle that would leave less free than trading needs; segments count as if they were not compressed."""
        needed = copy_bytes(self._journal, first, self._part.end) + OTHER_BYTES
        free = shutil.disk_usage(self._folder).free
        if free - needed < self._floor_bytes:
            raise OperatorError(
                f"a bundle of up to {needed:,} bytes would leave less than journal.disk_free_bytes_min ="
                f" {self._floor_bytes:,} of the {free:,} bytes that are free in {self._folder}",
                suggestion="free space there, or remove old bundles")

    def _write_checkpoint(self, target: Path, window: Head) -> Head:
        """Replay to the block where the last minute begins, and write the engine's state there; returns its place."""
        first = self._part.start is None
        found = begin(self._journal, self._agents, whole=first,
                      before_seq=None if self._part.start is None else self._part.start.last_seq + 1)
        walk = Walk(self._journal, include_ring=False, start=found.start)
        for batch in walk.batches():
            found.replay.take(batch)
            found.times = (batch[-1].mono_ns, batch[-1].wall_ns)
            if batch[-1].seq >= window.last_seq:
                break
        if found.replay.difference_count:
            raise VerificationError("this build does not decide what the journal says: " + "; ".join(found.replay.differences))
        checkpoints.write(target, Checkpoint(window, build_id(), _agents_sha256(found.engine), *found.times), dump(found.engine))
        return window

    def _write_config(self, target: Path) -> None:
        if "config" in self._boot:
            text = json.dumps(self._boot["config"], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
            put_in_place(target / CONFIG_FILE, text.encode(), mode=FILE_MODE)

    def _write_board(self, target: Path) -> None:
        """Write the metrics and all else that the daemon showed last."""
        try:
            sight = Sight(BoardReader(self._ask.run_dir / (BOARD_LEFT_FILE if self._ask.kind == CRASH else BOARD_FILE)))
        except OperatorError as error:
            self._missing.append(f"metrics: {error.message}")
            return
        try:
            regions = b",".join(json.dumps(name).encode() + b":" + sight.raw(name)[1] for name in REGIONS)
            put_in_place(target / STATE_FILE, b"{" + regions + b"}\n", mode=FILE_MODE)
            put_in_place(target / METRICS_FILE, _exposition(sight), mode=FILE_MODE)
        except (CstdError, KeyError, TypeError, ValueError) as error:
            self._missing.append(f"metrics: {type(error).__name__}: {error}")
        finally:
            sight.close()

    def _write_log(self, target: Path) -> None:
        path = log_path(self._ask.run_dir, self._ask.pid)
        if path is None:
            self._missing.append("log: it goes to no file")
            return
        try:
            lines = log_tail(path)
        except OSError as error:
            self._missing.append(f"log: {path}: {error}")
            return
        put_in_place(target / LOG_FILE, "".join(self._redactor.text(line) + "\n" for line in lines).encode(), mode=FILE_MODE)

    def _make_redactor(self) -> Redactor:
        """Return what takes the venue's key out of texts that are not the daemon's own: a traceback, a reason."""
        redactor = Redactor()
        try:
            known = load_credentials(self._boot.get("mode", ""), self._ask.run_dir, os.environ)
            redactor.register(known.api_key, known.api_secret)
        except CstdError as error:
            self._missing.append(f"redaction: log and reason were not searched for the venue's key: {error.message}")
        return redactor

    def _write_manifest(self, target: Path, start: Head | None, wall_ns: int) -> None:
        part, boot = self._part, self._boot
        listed = [path for path in sorted(target.rglob("*")) if path.is_file()]
        manifest = {
            "format": FORMAT, "kind": self._ask.kind, "reason": self._redactor.text(self._ask.reason),
            "made": utc_text(wall_ns), "ends": utc_text(part.wall_ns), "version": boot.get("version"), "mode": boot.get("mode"),
            "boot_epoch": boot.get("boot_epoch"), "config_hash": boot.get("config_hash"),
            "agents_sha256": boot.get("agents", {}).get("sha256"),
            "strategy": boot.get("strategy"), "made_by": {"version": __version__, "build": build_id()},
            "journal": {
                "journal_id": part.end.journal_id.hex(), "head_hash": part.end.hash.hex(), "at_seq": self._ask.at_seq,
                "replay_from_seq": start.last_seq + 1 if start is not None else 1, "last_seq": part.last_seq,
                "ring_records": part.ring_records, "wanted_s": SPAN_S, "covered_s": part.covered_ns / NS_PER_S,
            },
            "missing": self._missing, "check": None,
            "files": [{"name": str(path.relative_to(target)), "bytes": path.stat().st_size,
                       "sha256": _sha256(path)} for path in listed],
        }
        _put_manifest(target, manifest)

    def check(self, path: Path) -> None:
        """Replay the bundle as `cstd replay DIR --check` does, and have its manifest say what came of it."""
        check: dict[str, Any]
        try:
            found = recover(path / JOURNAL_DIR, self._agents)
            check = {"differences": found.replay.difference_count, "events": found.replay.events, "outputs": found.replay.outputs}
            if found.replay.differences:
                check["error"] = "; ".join(found.replay.differences)
        except CstdError as error:
            check = {"differences": None, "error": error.message}
        manifest = json.loads((path / MANIFEST_FILE).read_bytes())
        _put_manifest(path, {**manifest, "check": check})


def _agents_sha256(engine: Engine) -> str:
    return engine.agents.sha256 if engine.agents is not None else ""


def _put_manifest(path: Path, manifest: dict[str, Any]) -> None:
    put_in_place(path / MANIFEST_FILE, (json.dumps(manifest, indent=1) + "\n").encode(), mode=FILE_MODE)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _exposition(sight: Sight) -> bytes:
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import generate_latest

    registry = CollectorRegistry()
    registry.register(BoardCollector(sight, stale_too=True))
    return bytes(generate_latest(registry))


def log_path(run_dir: Path, pid: int | None) -> Path | None:
    """Return the file that a daemon logs to: what its stderr is, or the one that `make run` made; None where there is none."""
    if pid is not None:
        with contextlib.suppress(OSError):
            path = Path(f"/proc/{pid}/fd/2")
            if stat.S_ISREG(path.stat().st_mode):
                return path
    path = run_dir / DAEMON_LOG
    return path if path.is_file() else None


def log_tail(path: Path) -> list[str]:
    """Return the lines that are whole in the last LOG_BYTES_MAX bytes of a file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_BYTES_MAX))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return lines[1:] if size > LOG_BYTES_MAX else lines


def child(argv: list[str]) -> int:
    """The daemon's child: makes one bundle at the lowest priority, errors in one line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="cstd.daemon.flight")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--kind", choices=flight_folder.KINDS, required=True)
    parser.add_argument("--reason", default="")
    for name in ("--at-seq", "--until-seq", "--bundles-max", "--disk-free-bytes-min"):
        parser.add_argument(name, type=int)
    parser.add_argument("--parent", type=int, required=True)
    args = parser.parse_args(argv)
    stand_back()
    try:
        follow_parent(args.parent)
        row = save(Ask(args.run_dir, args.kind, args.reason, args.at_seq, args.until_seq, args.bundles_max,
                       args.disk_free_bytes_min, args.parent))
        sys.stdout.write(json.dumps(row) + "\n")
    except CstdError as error:
        sys.stderr.write(f"{error.message}{'; ' if error.suggestion else ''}{error.suggestion}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(child(sys.argv[1:]))
