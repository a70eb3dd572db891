"""`cstd replay`: a recording or a journal through the same engine that trades.

A recording (`*.jsonl.zst`) is fed frame by frame, each frame a read batch of its own, with the `rehearsal` strategy; what the
gates let out goes to the simulated venue (docs/simulated-venue.md). A journal directory is fed event by event as it was
recorded; with `--check` every output the engine makes again must be the one in the journal, with `--rescore` the models run again
on the rows that its scores are of (cstd/research/rescore.py). One JSON line per input, or a table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cstd import __version__
from cstd._fast.codes import EventKind, Link
from cstd._fast.journal_scan import Record
from cstd._fast.port import KeptPort, OrderPort
from cstd._fast.recorder import Recorder
from cstd.config import Config, from_canonical_json, load, template
from cstd.engine import Engine
from cstd.engine.boot import boot_payload
from cstd.engine.recovery import Recovered, begin
from cstd.engine.replaying import JournalReplay
from cstd.engine.totals import session_totals
from cstd.errors import ConfigError, CstdError, UsageError, VerificationError
from cstd.orders.simulated_terms import SimulatedVenueSettings
from cstd.printed import aligned
from cstd.research import own_orders, what_if
from cstd.research.scored_market import Scored, no_scores
from cstd.research.simulated_session import (
    Event,
    Frame,
    SimulatedSession,
    settings_of,
    simulated_totals,
    with_assumed_tape,
)
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.agents.loader import load as load_agents
from cstd.signals.code import configured
from cstd.storage.futures_sequence import FuturesSequence
from cstd.storage.journal_reader import Walk, records
from cstd.storage.recordings import Recording, open_recording
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.storage.v1_dialect import V1Dialect

if TYPE_CHECKING:
    from cstd.research.rescore import Rescoring

# Of `--rescore`: registry and key, None as the journal's configuration names them; tolerance in millionths, None for the usual.
Rescored = tuple[Path | None, Path | None, int | None]
PIECE_FRAMES = 5_000  # of a market that is traded anew: so many, and what was decided on them, are held at once


def main(args: argparse.Namespace) -> int:
    """Run the verb; returns 0, or 3 when a recording's checksum or sequence, a compared record or a score does not agree.

    What a journal holds has happened, a venue's wrong checksum too: the daemon has refused that book, and so does the replay.
    """
    worst = 0
    agents = load_agents()
    for name in args.files:
        try:
            row = replay_path(Path(name), agents, check=args.check, assignments=args.set, rescored=_registered(args))
        except VerificationError as error:
            row = {"file": name, "error": str(error)}
            print(f"cstd replay: {name}: {error}", file=sys.stderr)
            worst = 3
        recorded = not Path(name).is_dir()
        if row.get("differences") or (recorded and (row.get("checksums_bad") or row.get("sequences_bad"))):
            worst = 3
        if "rescore" in row and not row["rescore"]["held"]:
            worst = 3
        sys.stdout.write(_table(row) if args.output == "table" else json.dumps(row) + "\n")
        sys.stdout.flush()
    return worst


def _registered(args: argparse.Namespace) -> Rescored | None:
    """Return registry, key and tolerance of `--rescore`, None without it."""
    if args.rescore:
        return args.models, args.models_key, args.tolerance
    given = [name for name in ("models", "models_key", "tolerance") if getattr(args, name) is not None]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} is of --rescore", suggestion="add --rescore, or leave it out")
    return None


def _table(row: dict[str, Any]) -> str:
    """Return one input's row for a terminal."""
    from cstd.research.rescore import text

    found = row.get("rescore")
    shown = [(name, json.dumps(value) if isinstance(value, dict | list) else str(value)) for name, value in row.items()
             if name not in ("rescore", "what_if", "own_orders")]
    told = (text(found) if found is not None else "") + (what_if.text(row["what_if"]) if "what_if" in row else "")
    told += own_orders.text(row["own_orders"]) if row.get("own_orders") else ""
    return "\n".join(aligned(shown)) + "\n" + told


def replay_path(path: Path, agents: LoadedAgents | None, *, check: bool, assignments: Iterable[str] = (),
                rescored: Rescored | None = None) -> dict[str, Any]:
    """Replay one input and return its row.

    Args:
        assignments: `KEY=VALUE` texts: the market of the recording or journal is traded anew with them.
        rescored: for journals: registry and key (None: as the journal's configuration names them), and the greatest
            difference of a score that is none, in millionths; None: scores are not made again.
    """
    changes = list(assignments)
    if path.is_dir():
        if changes and (check or rescored is not None):
            raise UsageError(f"{path}: --set trades the journal's market anew: there is nothing to compare with what is recorded",
                             suggestion="one after the other")
        # A run directory, or a bundle of the flight recorder: the journal in it is meant.
        journal = path / JOURNAL_DIR if (path / JOURNAL_DIR).is_dir() else path
        if changes:
            return replay_market(path, journaled_market(journal), agents, changes) | _own_orders(path, journal, agents, changes)
        return replay_journal(journal, agents, check=check, rescored=rescored)
    if check or rescored is not None:
        word, what = ("--check", "compares a journal directory with what the engine makes of it") if check else (
            "--rescore", "compares the scores of a journal with what the models make of its rows")
        raise UsageError(f"{path}: {word} {what}", suggestion=f"leave {word} out for a recording")
    recording = open_recording(path)
    if recording.api == "futures":
        if changes:
            raise UsageError(f"{path}: --set is for spot recordings: of a futures feed nothing is decided",
                             suggestion="replay it without --set")
        return _replay_futures(recording)
    return replay_recording(path, agents, changes)


# Recordings.


def wire_frames(recording: Recording) -> Iterator[Frame]:
    """(receive time in ns, v2 text) of every received message, v1 translated."""
    dialect = V1Dialect() if recording.api == "v1" else None
    for frame in recording.frames:
        if frame.direction != "rx":
            continue
        text = frame.text if dialect is None else dialect.translate(frame.text)
        if text is not None:
            yield frame.recv_ns, text


def book_subscriptions(frames: Iterable[Frame]) -> dict[str, int]:
    """Depth by name of every acknowledged book subscription, in order of appearance."""
    depths: dict[str, int] = {}
    for _, text in frames:
        if b'"subscribe"' not in text[:400] or b'"depth"' not in text:
            continue
        result = msgspec.json.decode(text).get("result") or {}
        if result.get("channel") == "book" and "symbol" in result:
            depths.setdefault(result["symbol"], result["depth"])
    return depths


def recording_config(names: list[str], depth: int, assignments: Iterable[str] = ()) -> Config:
    """The shipped practice limits over a recording's instruments, no futures feed, changed by `section.key=value` texts."""
    cfg = load([str(template("practice"))], {}, assignments)
    instruments = msgspec.structs.replace(cfg.instruments, names=names, depth=depth)
    return msgspec.structs.replace(cfg, instruments=instruments, futures=None)


@dataclass(frozen=True)
class Market:
    """What others did, and what a run of it begins with.

    Attributes:
        frames: gives (receive time in ns, v2 text) of every public message, from the first one on at each call.
        configured: gives the configuration with `KEY=VALUE` texts applied.
        scored: which scores came with it, None where none can. with_scores: gives the frames with the scores between them.
    """

    frames: Callable[[], Iterator[Frame]]
    configured: Callable[[Iterable[str]], Config]
    scored: Scored | None = None
    with_scores: Callable[[Config], Iterator[Frame | Event]] | None = None

    def rows(self, cfg: Config) -> Iterator[Frame | Event]:
        """Give what a run with this configuration sees."""
        if cfg.strategy.name == "ensemble" and self.with_scores is not None:
            return self.with_scores(cfg)
        return self.frames()


def recorded_market(path: Path) -> Market:
    """Return the market of a recording, under the shipped practice limits."""
    frames = list(wire_frames(open_recording(path)))
    depths = book_subscriptions(frames)
    if not depths:
        raise UsageError(f"{path} holds no acknowledged book subscription")
    return Market(frames.__iter__, lambda assignments: recording_config(list(depths), max(depths.values()), assignments))


def journaled_market(path: Path) -> Market:
    """Return the market that a journal's daemon saw, under the configuration of its last start.

    A day of it is larger than a host's memory: each run reads it anew, up to the record that was the last at first.
    """
    boot, subscribed, last_seq, scored = b"", False, 0, Scored()
    for record in records(path):
        last_seq = record.seq
        if record.kind == EventKind.EVENT_BOOT:
            boot = bytes(record.payload)
        elif record.kind == EventKind.EVENT_SCORES:
            scored.note(record.payload)
        elif not subscribed and _is_market(record):
            subscribed = bool(book_subscriptions([(0, bytes(record.payload))]))
    if not boot or not subscribed:
        raise UsageError(f"{path} holds no start with an acknowledged book subscription")
    raw = bytes(msgspec.json.decode(boot, type=_Boot).config)
    scored.names = from_canonical_json(raw).instruments.names
    return Market(lambda: _public_frames(path, last_seq), lambda assignments: from_canonical_json(raw, assignments), scored,
                  lambda cfg: _scored_frames(path, last_seq, scored, cfg.instruments.names))


def _public_frames(path: Path, last_seq: int) -> Iterator[Frame]:
    return (row for row in _scored_frames(path, last_seq, Scored(), []) if not isinstance(row, Event))


def _scored_frames(path: Path, last_seq: int, scored: Scored, names: list[str]) -> Iterator[Frame | Event]:
    """Yield the public frames of a journal, and between them the scores of some instruments, as events of our one clock."""
    last_ns = 0
    for record in itertools.takewhile(lambda record: record.seq <= last_seq, records(path)):
        if _is_market(record):
            last_ns = max(last_ns, record.wall_ns)  # a clock that was set back is no order of events
            yield last_ns, bytes(record.payload)
        elif record.kind == EventKind.EVENT_SCORES and last_ns and names:
            last_ns = max(last_ns, record.wall_ns)
            yield Event(last_ns, scored.told(record.payload, names, last_ns - record.mono_ns), EventKind.EVENT_SCORES)


def _is_market(record: Record) -> bool:
    return record.kind == EventKind.EVENT_FRAME and record.tag == Link.LINK_PUBLIC


class _Boot(msgspec.Struct):
    config: msgspec.Raw


def start_recording(path: Path, agents: LoadedAgents | None, strategy: str | None = None, *, port: OrderPort | None = None,
                    assignments: Iterable[str] = ()) -> tuple[Engine, list[Frame]]:
    """An engine booted for a recording, and the recording's frames. port: where order frames go, None for nowhere."""
    market = recorded_market(path)
    return start_market(market, agents, strategy, port=port, assignments=assignments), list(market.frames())


def start_market(market: Market, agents: LoadedAgents | None, strategy: str | None = None, *, port: OrderPort | None = None,
                 assignments: Iterable[str] = ()) -> Engine:
    """An engine booted for a market, before its first frame.

    Raises:
        UsageError: the strategy trades on scores, and none that it could trade on come with this market.
    """
    cfg = msgspec.structs.replace(market.configured(assignments), futures=None)  # a market is the spot socket's alone
    if (strategy or cfg.strategy.name) == "ensemble" and (why := no_scores(market.scored, cfg)):
        raise UsageError(f"the ensemble trades on scores, and {why}: it would do nothing",
                         suggestion="--set strategy.name= another one; --rescore compares the scores of a journal")
    ours = configured(cfg)
    if cfg.agents.dir:
        agents = ours.agents
    recorder = Recorder()
    recorder.digest_passes = True
    engine = Engine(recorder, agents, port, inferring=True, strategy=strategy)
    engine.code = ours.code()
    first_ns = next(market.frames())[0]
    engine.core.event(EventKind.EVENT_BOOT, 0, first_ns, first_ns, boot_payload(cfg, 1, agents, ours.strategy))
    _raise_fault(engine)
    engine.stand_in()
    return engine


def replay_recording(path: Path, agents: LoadedAgents | None, assignments: Iterable[str] = ()) -> dict[str, Any]:
    """Replay a v2 or v1 recording, with the simulated venue behind its orders."""
    return replay_market(path, recorded_market(path), agents, assignments)


def replay_market(path: Path, market: Market, agents: LoadedAgents | None, assignments: Iterable[str]) -> dict[str, Any]:
    """Trade a market on the simulated venue; with changed limits also without them, and what they came to."""
    settings, volume_hour, changes = settings_of(assignments)
    changed = what_if.limit_changes(changes)
    now = what_if.Decided() if changed else None
    session, frames, took_ns = _traded(market, volume_hour, agents, settings, changes, now)
    engine = session.engine
    row = _row(path, engine, frames, took_ns, precision="inferred" if engine.feed.inferred else "instrument")
    row |= simulated_totals(session) | {"volume_hour": None if volume_hour is None else str(volume_hour)}
    if now is None:
        return row
    before = what_if.Decided()
    without, *_ = _traded(market, volume_hour, agents, settings, [text for text in changes if text not in changed], before)
    return row | {"what_if": what_if.compared(changed, (before, session_totals(without.engine)["equity"]), (now, row["equity"]))}


def _own_orders(path: Path, journal: Path, agents: LoadedAgents | None, assignments: Iterable[str]) -> dict[str, Any]:
    """Return the part of the row about the journal's own orders, {} where no limit is changed; one that is another's work is
    told, not judged."""
    *_, changes = settings_of(assignments)
    changed = what_if.limit_changes(changes)
    if not changed:
        return {}
    try:
        return {"own_orders": own_orders.own_orders(journal, agents, changed, [text for text in changes if text not in changed])}
    except (ConfigError, VerificationError) as error:  # of an earlier start than the one that the market is traded by
        print(f"cstd replay: {path}: {error}", file=sys.stderr)
        return {"own_orders": None, "own_orders_refused": str(error)}


def _traded(market: Market, volume_hour: Decimal | None, agents: LoadedAgents | None, settings: SimulatedVenueSettings,
            changes: list[str], decided: what_if.Decided | None) -> tuple[SimulatedSession, int, int]:
    """Run a market to its end; returns the session, its frames and the ns it took. decided: where its decisions go, or None."""
    port = KeptPort()
    engine = start_market(market, agents, port=port, assignments=changes)
    assert engine.cfg is not None
    session = SimulatedSession(engine, port, settings, {engine.cfg.account.currency: engine.cfg.account.capital})
    if decided is not None:
        engine.recorder.captured = []
    frames = market.rows(engine.cfg)
    if volume_hour is not None:
        frames = with_assumed_tape(frames, volume_hour)
    count = 0
    began_ns = time.perf_counter_ns()
    while piece := list(itertools.islice(frames, PIECE_FRAMES)):
        count += sum(not isinstance(row, Event) for row in piece)
        session.run(piece, last=False)
        if decided is not None:
            decided.take(engine)
    session.run([])
    if decided is not None:
        decided.take(engine)
    took_ns = time.perf_counter_ns() - began_ns
    _raise_fault(engine)
    return session, count, took_ns


def _replay_futures(recording: Recording) -> dict[str, Any]:
    """Verify the sequence numbers of a futures recording."""
    sequence = FuturesSequence()
    frames = 0
    began_ns = time.perf_counter_ns()
    for frame in recording.frames:
        if frame.direction == "rx":
            frames += 1
            sequence.take(frame.text)
    took_ns = time.perf_counter_ns() - began_ns
    report = sequence.report
    return {
        "file": str(recording.path), "frames": frames, "book_updates": 0, "checksums_ok": 0, "checksums_bad": 0,
        "sequences_ok": report.sequences_ok, "sequences_bad": report.sequences_bad, "resyncs": 0, "intents": 0,
        "orders": 0, "shadowed": 0, "digest": "", "frames_per_s": frames * 1_000_000_000 // max(took_ns, 1), "precision": "none",
    }


# Journals.


def replay_journal(path: Path, agents: LoadedAgents | None, *, check: bool,
                   rescored: Rescored | None = None) -> dict[str, Any]:
    """Replay a journal directory; with `check`, differences make the row carry them; with `rescored`, see `replay_path`."""
    found = begin(path, agents, whole=True)
    engine, replay = found.engine, found.replay
    rescoring = _rescoring(path, found, rescored)
    first_frame = engine.core.counter_values()["frames"]
    began_ns = time.perf_counter_ns()
    for batch in Walk(path, start=found.start).batches():
        if rescoring is None:
            replay.take(batch)
        else:
            rescoring.take(replay, batch)
        if engine.core.fault is not None:
            # Agents or configuration of a boot are not the ones here: nothing after it could be made again.
            boot = max((record.seq for record in batch if record.kind == EventKind.EVENT_BOOT), default=0)
            if boot:
                raise VerificationError(
                    f"record {boot}: this boot cannot be replayed here: {engine.core.fault}{_of_other(replay)}")
    took_ns = time.perf_counter_ns() - began_ns
    row = _row(path, engine, engine.core.counter_values()["frames"], took_ns, precision="instrument")
    if found.start is not None:
        # Totals and digest are the session's, from its start; only what is left of it was computed again.
        row |= {"replayed_from_seq": found.start.last_seq + 1,
                "frames_per_s": (row["frames"] - first_frame) * 1_000_000_000 // max(took_ns, 1)}
    if check:
        row["differences"] = replay.difference_count
        for text in replay.differences:
            print(f"cstd replay: {path}: {text}{_of_other(replay)}", file=sys.stderr)
    return row if rescoring is None else row | {"rescore": rescoring.result()}


def _of_other(replay: JournalReplay) -> str:
    """Return what to say beside a difference of a journal that another version wrote a part of, "" of one of this version."""
    others = [version for version in replay.versions if version != __version__]
    return f" (written by cstd {', '.join(others)}, this is {__version__})" if others else ""


def _rescoring(path: Path, found: Recovered, rescored: Rescored | None) -> Rescoring | None:
    if rescored is None:
        return None
    from cstd.research.rescore import TOLERANCE_E6, Registered, Rescoring  # a replay without it loads nothing of models

    models, key, tolerance_e6 = rescored
    rescoring = Rescoring(path, found.start, Registered(models, key), TOLERANCE_E6 if tolerance_e6 is None else tolerance_e6)
    rescoring.begin(found.engine)
    return rescoring


def _row(path: Path, engine: Engine, frames: int, took_ns: int, *, precision: str) -> dict[str, Any]:
    totals = session_totals(engine)
    return {
        "file": str(path), "frames": frames, "book_updates": totals["book_updates"],
        "checksums_ok": totals["checksums_ok"], "checksums_bad": totals["checksums_bad"], "sequences_ok": 0,
        "sequences_bad": 0, "resyncs": totals["resyncs"], "intents": totals["intents"], "orders": totals["orders"],
        "shadowed": totals["shadowed"],
        "fills": totals["fills"], "refused_by_gate": totals["refused_by_gate"], "equity": totals["equity"],
        "digest": totals["digest"], "frames_per_s": frames * 1_000_000_000 // max(took_ns, 1), "precision": precision,
    }


def _raise_fault(engine: Engine) -> None:
    """A fault of the engine is ours; in a replay it ends the run with its own text."""
    fault = engine.core.fault
    if isinstance(fault, CstdError):
        raise fault
    if fault is not None:
        raise VerificationError(f"the engine failed: {type(fault).__name__}: {fault}") from fault
