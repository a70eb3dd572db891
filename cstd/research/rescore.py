"""`cstd replay JOURNAL --rescore`: the models run again on what they were given, their scores beside those in the journal.

A score's input is not in the journal: it is a part of the engine's state, which the journal makes again. Each score names the
record behind which its row was read, and the hash of what the model was given of it. So the replay stops behind these records,
reads the rows as the daemon did, and believes a row only if it has that hash. Rows of bars are made beside the engine, from the
record on behind which the daemon began them (`bars_again`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from cstd._fast import features
from cstd._fast.codes import EventKind
from cstd._fast.journal_scan import Record
from cstd._fast.rerun import first_output
from cstd.engine import Engine
from cstd.engine.replaying import JournalReplay
from cstd.engine.score_events import fill_row, in_millionths
from cstd.engine.scores import WITH_ROW, Told
from cstd.errors import OperatorError, UsageError
from cstd.printed import aligned
from cstd.research.bars_again import BarsAgain, Begun
from cstd.signals import bar_features, registry
from cstd.signals.registry import log as registry_log
from cstd.signals.registry.refusals import RefusedVersionError
from cstd.signals.scorer.model import ScoredModel
from cstd.signals.scorer.rows import ScoreStatus, bar_rows_of, feature_row, row_hashes
from cstd.signals.scorer.sheet import Rows
from cstd.storage.journal_files import Head
from cstd.storage.journal_reader import Walk

# One host gives the same bits each time. Another processor, another runtime or a batch of another size adds in another order:
# float32 then differs by some 1e-7, and a figure beside the middle of two millionths is rounded the other way.
TOLERANCE_E6 = 2
# Why a score was not made again. The first alone is no finding: what its row was read of is not kept any more.
BEFORE, NO_ROW, OTHER_ROW, MODEL, NOT_MADE = "before_first_record", "row_not_journaled", "another_row", "model", "not_made"
REASONS = {
    BEFORE: "its row was read before the first record that is kept, or is of bars of before it",
    NO_ROW: "the journal does not name its row: it is older than this",
    OTHER_ROW: "the row that the journal makes is not the one that was scored",
    MODEL: "its model is not here as it was",
    NOT_MADE: "the model gives no score of this row or horizon",
}


class Place(NamedTuple):
    """Where a row was: the record behind which it was read, its instrument, and of a row of bars which they are."""

    after_seq: int
    number: int
    begun: Begun | None


class Taken(NamedTuple):
    """One score of the journal."""

    number: int
    horizon_s: int
    figures: tuple[int, int, int]  # probability, lower, upper, in millionths
    members: int
    after_seq: int
    row_hash: int
    begun: Begun | None  # of a row of bars

    @property
    def place(self) -> Place:
        """Where its row was."""
        return Place(self.after_seq, self.number, self.begun)


class Opened(NamedTuple):
    """A model, and of which bars its rows are: their length, 0 where they are the engine's own."""

    scored: ScoredModel
    bar_s: int


@dataclass(slots=True)
class Compared:
    """What came of the scores of one model, horizon and instrument; differences in millionths."""

    scores: int = 0
    rescored: int = 0
    equal: int = 0
    above: int = 0
    greatest: list[int] = field(default_factory=lambda: [0, 0, 0])
    worst: dict[str, Any] | None = None

    def add(self, seq: int, taken: Taken, found: Sequence[int], members: int, tolerance_e6: int) -> None:
        """Count one score beside what came out."""
        apart = [abs(ours - theirs) for ours, theirs in zip(found, taken.figures, strict=True)]
        self.rescored += 1
        self.equal += not any(apart) and members == taken.members
        self.above += max(apart) > tolerance_e6 or members != taken.members
        if self.worst is None or max(apart) > max(self.greatest):
            self.worst = {"seq": seq, "taken": _figures(taken.figures, taken.members), "found": _figures(found, members)}
        self.greatest = [max(pair) for pair in zip(self.greatest, apart, strict=True)]


def _figures(values: Sequence[int], members: int) -> dict[str, int]:
    return dict(zip(("probability_e6", "lower_e6", "upper_e6"), values, strict=True)) | {"members": members}


class Registered:
    """Versions by the hash of their card, opened when a score of theirs is met first.

    Args:
        root, key: the registry and its key's file; None: as the journal's configuration names them.
    """

    def __init__(self, root: Path | None, key: Path | None) -> None:
        self._root, self._key = root, key
        self._opened: dict[str, Opened | None] = {}
        self.told: list[dict[str, str | None]] = []

    def of(self, card_sha256: str, engine: Engine) -> Opened | None:
        """Return the model of a card, None where it is not here as it was; `told` says why.

        Raises:
            OperatorError: the registry or its key cannot be read, or there is no runtime.
            UsageError: neither the command line nor the journal names a registry.
        """
        if card_sha256 not in self._opened:
            self._opened[card_sha256] = self._open(card_sha256, engine)
        return self._opened[card_sha256]

    def _open(self, card_sha256: str, engine: Engine) -> Opened | None:
        root, key = self._place(engine)
        log = registry_log.read(root, key)
        step = next((step for step in log.steps if step.card_sha256 == card_sha256), None)
        told: dict[str, str | None] = {"model": card_sha256, "name": step.name if step else None,
                                       "version": step.version if step else None, "problem": None}
        self.told.append(told)
        if step is None:
            told["problem"] = f"no version in {root} has this card"
            return None
        try:
            found = registry.verify(root, step.name, step.version, key, log)
        except RefusedVersionError as error:
            told["problem"] = error.message
            return None
        try:
            wanted = bar_rows_of(found.card, features.NAMES)
        except OperatorError as error:
            told["problem"] = error.message
            return None
        names = bar_features.NAMES if wanted is not None else features.NAMES
        if missing := sorted(set(found.card.features) - set(names)):
            told["problem"] = f"the rows of this build lack {len(missing)} of its features: {', '.join(missing[:5])}"
            return None
        return Opened(ScoredModel(found, names, "cpu", 1), wanted.bar_s if wanted is not None else 0)

    def _place(self, engine: Engine) -> tuple[Path, bytes]:
        named = engine.cfg.scorer if engine.cfg is not None else None
        root = self._root or (Path(named.models) if named is not None else None)
        if root is None:
            raise UsageError("the journal's configuration names no registry",
                             suggestion="name it: --models DIR --models-key FILE")
        if not root.is_dir():
            raise OperatorError(f"there is no registry {root}", suggestion="name it: --models DIR --models-key FILE")
        return root, registry.read_key(self._key or (named.key if named is not None and named.key else None))


class Rescoring:
    """Feeds a journal to a replay and compares the scores on the way.

    Args:
        journal: the directory. start: where the replay begins, None for its first record.
        registered: where the models are. tolerance_e6: the greatest difference that is none, in millionths.
    """

    def __init__(self, journal: Path, start: Head | None, registered: Registered, tolerance_e6: int) -> None:
        self._first_seq = start.last_seq if start is not None else 0
        self._registered, self._tolerance_e6 = registered, tolerance_e6
        self._last_seq = 0
        self._uses: defaultdict[int, Counter[Place]] = defaultdict(Counter)
        self._rows: dict[Place, Rows] = {}
        self._bars = BarsAgain()
        self._begins: set[int] = set()  # records behind which rows of bars were begun
        self._found: dict[tuple[str, int, int], Compared] = {}
        self._names: tuple[str, ...] = ()
        self._not_rescored: Counter[str] = Counter()
        for batch in Walk(journal, start=start).batches():
            self._note(batch)

    def _note(self, batch: list[Record]) -> None:
        """Note how often the row of an instrument behind a record is going to be asked for: after that it is forgotten."""
        self._last_seq = batch[-1].seq
        for record in batch:
            if record.kind == EventKind.EVENT_SCORES:
                for taken in _taken(record.payload)[1]:
                    if taken.after_seq:
                        self._uses[taken.after_seq][taken.place] += 1
                        if taken.begun is not None:
                            self._bars.want(taken.begun, taken.after_seq)
                            self._begins.add(taken.begun.seq)

    def begin(self, engine: Engine) -> None:
        """Keep what was read just where the replay begins, and begin the rows of bars that were begun until then."""
        self._bars.begin(engine, self._first_seq, earlier=True)
        if self._first_seq in self._uses:
            self._keep(engine, self._first_seq)

    def take(self, replay: JournalReplay, batch: list[Record]) -> None:
        """Feed records in order, and look at the engine behind those that a score names."""
        at = 0
        for index, record in enumerate(batch):
            if record.kind < first_output and (self._bars.due or (self._bars.rows and record.seq - 1 in self._uses)):
                replay.take(batch[at:index])
                at = index
                self._keep_bars(record.seq - 1)
            is_scores = record.kind == EventKind.EVENT_SCORES and record.seq <= self._last_seq
            if is_scores or self._stops_behind(record):
                replay.take(batch[at:index + 1])
                at = index + 1
                if is_scores:
                    self._rescore(replay.engine, record)
                self._look(replay.engine, record)
        replay.take(batch[at:])

    def _stops_behind(self, record: Record) -> bool:
        return (record.seq in self._uses or record.seq in self._begins
                or (bool(self._bars.rows) and record.kind in (EventKind.EVENT_TIMER, EventKind.EVENT_BOOT)))

    def _look(self, engine: Engine, record: Record) -> None:
        """Do behind a record what the daemon did there."""
        if record.kind == EventKind.EVENT_BOOT:
            self._bars.boot()
        elif record.kind == EventKind.EVENT_TIMER:
            self._bars.timer()
        if record.seq in self._uses:
            self._keep(engine, record.seq)
        if record.seq in self._begins:
            self._bars.begin(engine, record.seq)

    def _keep(self, engine: Engine, seq: int) -> None:
        for place in self._uses[seq]:
            if place.begun is None and 0 <= place.number < len(engine.core.slots):
                row = np.zeros(1, feature_row(features.feature_count))
                fill_row(row, engine, place.number)
                self._rows[place] = row

    def _keep_bars(self, seq: int) -> None:
        """Before the next event: what the daemon did behind a timer, and the rows that scores are of."""
        self._bars.tick()
        if seq in self._uses:
            for place in self._uses[seq]:
                if place.begun is not None and (row := self._bars.row(place.begun, place.number)) is not None:
                    self._rows[place] = row
            self._bars.end(seq)

    def _rescore(self, engine: Engine, record: Record) -> None:
        """Score the rows of one event in one batch, as they were, and compare."""
        self._names = engine.names
        model_sha256, scores = _taken(record.payload)
        rows: dict[Place, Rows] = {}
        usable = []
        for taken in scores:
            self._of(model_sha256, taken).scores += 1
            row = self._used(taken)
            if row is None:
                self._not_rescored[self._why_not(taken)] += 1
            else:
                usable.append(taken)
                rows[taken.place] = row
        if not usable:
            return
        model = self._registered.of(model_sha256, engine)
        if model is None:
            self._not_rescored[MODEL] += len(usable)
            return
        begun = usable[0].begun  # one event is of rows of one kind
        if model.bar_s != (begun.bar_s if begun is not None else 0):
            self._not_rescored[OTHER_ROW] += len(usable)
            return
        found = _scored(model.scored, rows)
        for taken in usable:
            self._compare(record.seq, model_sha256, taken, found[taken.place])

    def _used(self, taken: Taken) -> Rows | None:
        """Return the row that a score is of; after its last use it is forgotten."""
        place = taken.place
        row = self._rows.get(place)
        uses = self._uses.get(taken.after_seq)
        if uses is not None:
            uses[place] -= 1
            if not uses[place]:
                self._rows.pop(place, None)
        return row

    def _why_not(self, taken: Taken) -> str:
        if not taken.after_seq:
            return NO_ROW
        first = taken.begun.seq if taken.begun is not None else taken.after_seq
        return BEFORE if 0 < first < self._first_seq else OTHER_ROW

    def _compare(self, seq: int, model_sha256: str, taken: Taken, found: _Row) -> None:
        if found.row_hash != taken.row_hash:
            self._not_rescored[self._why_not(taken)] += 1
        elif (made := found.by_horizon.get(taken.horizon_s)) is None:
            self._not_rescored[NOT_MADE] += 1
        else:
            self._of(model_sha256, taken).add(seq, taken, made[:3], made[3], self._tolerance_e6)

    def _of(self, model_sha256: str, taken: Taken) -> Compared:
        return self._found.setdefault((model_sha256, taken.horizon_s, taken.number), Compared())

    def result(self) -> dict[str, Any]:
        """Return what was found, by model, horizon and instrument."""
        known = {one["model"]: one for one in self._registered.told}
        rows = []
        for (model, horizon_s, number), found in sorted(self._found.items()):
            probability, lower, upper = found.greatest
            rows.append({
                "model": model, "name": known.get(model, {}).get("name"), "version": known.get(model, {}).get("version"),
                "horizon_s": horizon_s, "instrument": self._names[number] if 0 <= number < len(self._names) else str(number),
                "scores": found.scores, "rescored": found.rescored, "equal": found.equal, "above": found.above,
                "greatest_probability_e6": probability, "greatest_interval_e6": max(lower, upper), "worst": found.worst})
        total = {name: sum(getattr(found, name) for found in self._found.values())
                 for name in ("scores", "rescored", "equal", "above")}
        greatest = max((max(found.greatest) for found in self._found.values()), default=0)
        return {**total, "greatest_e6": greatest, "tolerance_e6": self._tolerance_e6,
                "not_rescored": {reason: self._not_rescored[reason] for reason in REASONS},
                "held": self.held(), "models": self._registered.told, "rows": rows}

    def held(self) -> bool:
        """Whether every score came out again; those whose row is not kept any more apart."""
        return (not any(found.above for found in self._found.values())
                and all(reason == BEFORE for reason, count in self._not_rescored.items() if count))


class _Row(NamedTuple):
    """What a model makes of one row: the hash of its input, and probability, lower, upper, members by horizon."""

    row_hash: int
    by_horizon: dict[int, tuple[int, int, int, int]]


def _taken(payload: bytes) -> tuple[str, list[Taken]]:
    """Return the model and the scores of an event; what the engine could not read has none."""
    try:
        told = msgspec.json.decode(payload, type=Told)
    except msgspec.DecodeError:
        return "", []
    begun = Begun(*told.bars) if told.bars is not None else None
    taken = []
    for row in told.rows:
        if len(row) in (WITH_ROW, WITH_ROW - 2):
            after_seq, row_hash = row[9:] or (0, 0)
            taken.append(Taken(row[0], row[1], (row[2], row[3], row[4]), row[5], after_seq, row_hash, begun))
    return told.model, taken


def _scored(model: ScoredModel, rows: dict[Place, Rows]) -> dict[Place, _Row]:
    """Score rows in one batch; of one that gives no score the horizon is missing."""
    together = np.concatenate(list(rows.values()))
    hashes = row_hashes(model.matrix(together)[0])
    scores = model.score(together, 0, 0)
    figures = list(zip(*in_millionths(scores), scores["members"].tolist(), strict=True))
    horizons = len(model.horizons)
    found = {}
    for at, place in enumerate(rows):
        span = range(at * horizons, (at + 1) * horizons)
        found[place] = _Row(int(hashes[at]), {int(scores["horizon_s"][index]): figures[index] for index in span
                                              if scores["status"][index] == ScoreStatus.SCORED})
    return found


# As text.


def text(found: dict[str, Any]) -> str:
    """Return the comparison for a terminal."""
    held = "held" if found["held"] else "NOT HELD"
    head = (f"rescored {found['rescored']} of {found['scores']} scores: {found['equal']} equal, {found['above']} further apart "
            f"than {found['tolerance_e6']} millionths, greatest {found['greatest_e6']}: {held}")
    lines = [head]
    lines += [f"not rescored: {count}, {REASONS[reason]}" for reason, count in found["not_rescored"].items() if count]
    lines += [f"model {one['model'][:16]} {one['name'] or ''} {one['version'] or ''}: {one['problem']}"
              for one in found["models"] if one["problem"]]
    rows = [("model", "horizon", "instrument", "scores", "rescored", "equal", "above", "probability", "interval", "worst at")]
    rows += [(f"{row['name']} {row['version']}" if row["name"] else row["model"][:16], f"{row['horizon_s']} s", row["instrument"],
              *(str(row[name]) for name in ("scores", "rescored", "equal", "above", "greatest_probability_e6",
                                            "greatest_interval_e6")),
              str(row["worst"]["seq"]) if row["worst"] and row["equal"] < row["rescored"] else "-") for row in found["rows"]]
    return "\n".join([*lines, *aligned(rows)] if found["rows"] else lines) + "\n"
