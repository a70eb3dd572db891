"""JournalReplay: a journal's events through an engine again, its outputs compared one by one."""

from __future__ import annotations

import msgspec

from cstd._fast.codes import EventKind
from cstd._fast.core import Core
from cstd._fast.journal_scan import Record
from cstd._fast.rerun import first_output, rerun
from cstd.engine.flow import Engine
from cstd.errors import VerificationError
from cstd.signals.code import MissingCodeError

DIFFERENCES_SHOWN = 3


def apply_event(core: Core, kind: int, tag: int, mono_ns: int, wall_ns: int, payload: bytes) -> None:
    """Give one event to the core by the door that its kind came in by."""
    if kind == EventKind.EVENT_FRAME:
        core.frame(tag, payload, mono_ns, wall_ns)
    elif kind == EventKind.EVENT_BATCH_END:
        core.batch_end(tag, mono_ns, wall_ns)
    elif kind == EventKind.EVENT_TIMER:
        core.timer(mono_ns, wall_ns)
    else:
        core.event(kind, tag, mono_ns, wall_ns, payload)


def _version_of(seq: int, payload: bytes) -> str:
    """Return the version of cstd that a boot names; raises VerificationError where the record holds no boot's words."""
    try:
        return str(msgspec.json.decode(payload)["version"])
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise VerificationError(f"record {seq}: what was journaled as a start is no start: {error}") from None


class JournalReplay:
    """Feeds a journal's events to an engine and compares the outputs.

    Also the daemon's recovery: what the journal's last event should have put out and a crash cut off is in `missing`.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.recorder.captured = []
        self.differences: list[str] = []
        self.difference_count = 0
        self.versions: list[str] = []  # of cstd that the journal's boots name, each once
        self.events = 0
        self.outputs = 0

    @property
    def missing(self) -> list[tuple[int, int, bytes]]:
        """Outputs that the engine made and the journal does not hold (yet)."""
        captured = self.engine.recorder.captured
        return captured if captured is not None else []

    def take(self, batch: list[Record]) -> None:
        """Feed records in order, as many as there are of a journal or of a part of it."""
        at = 0
        while at < len(batch):
            at, events, outputs = rerun(self.engine.core, batch, at)
            self.events += events
            self.outputs += outputs
            if self.engine.core.needs_python:
                self.engine.discard_outgoing()
            elif at < len(batch):
                record = batch[at]
                self.feed(record.seq, record.kind, record.tag, record.mono_ns, record.wall_ns, record.payload)
                at += 1

    def feed(self, seq: int, kind: int, tag: int, mono_ns: int, wall_ns: int, payload: bytes) -> None:
        """Feed one record: an event is processed, an output compared with what the engine put out.

        Raises:
            MissingCodeError: a boot names agents or a strategy that are not here.
        """
        if kind >= first_output:
            self._compare(seq, kind, tag, payload)
            return
        if self.missing:
            self._differ(seq, f"the engine put out {len(self.missing)} records more than the journal holds here")
            self.missing.clear()
        self.events += 1
        if kind == EventKind.EVENT_BOOT:
            version = _version_of(seq, payload)
            self.versions += [version] if version not in self.versions else []
        apply_event(self.engine.core, kind, tag, mono_ns, wall_ns, payload)
        self.engine.discard_outgoing()
        if kind == EventKind.EVENT_BOOT and isinstance(self.engine.core.fault, MissingCodeError):
            missing = self.engine.core.fault
            raise MissingCodeError(f"record {seq}, a start: {missing.message}", suggestion=missing.suggestion)

    def _compare(self, seq: int, kind: int, tag: int, payload: bytes) -> None:
        self.outputs += 1
        if not self.missing:
            self._differ(seq, f"the journal holds an output of kind {kind} that the engine does not make")
            return
        ours = self.missing.pop(0)
        if ours != (kind, tag, payload):
            self._differ(seq, f"output of kind {kind} differs (the engine makes kind {ours[0]})")

    def _differ(self, seq: int, what: str) -> None:
        self.difference_count += 1
        if len(self.differences) < DIFFERENCES_SHOWN:
            self.differences.append(f"record {seq}: {what}")
