"""The trading process's side of the scorer: features out, scores in, a child process that it can live without.

Nothing here decides. What the scorer wrote becomes an event of the engine, a bounded part each tick: scores, or that its model
gives none any more. What it did not write makes the scores that are known older, and there is no other way to notice that
it is gone, nor any need of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from cstd._fast import features
from cstd.config.schema import ScorerConfig
from cstd.daemon.bar_rows_shown import BarRowsShown
from cstd.daemon.children import Child, scorer_child
from cstd.daemon.opportunities import Unscored
from cstd.engine import Engine
from cstd.engine.bar_rows import BarRows
from cstd.engine.score_events import fill_row, payload_of
from cstd.errors import OperatorError
from cstd.ops import view_models as shapes
from cstd.signals.scorer.rows import BARS_FILE, FEATURES_FILE, SCORE_ROW, SCORES_FILE, BarRowsWanted, ScoreStatus, feature_row
from cstd.signals.scorer.sheet import Rows, SheetReader, SheetWriter
from cstd.units import NS_PER_S

INSTRUMENTS_PER_TICK = 64  # a row costs some microseconds; a thousand at once would hold up the loop
ROWS_PER_EVENT = 256
LOOK_NS = NS_PER_S  # for the file of a scorer that was started anew


class Scoring:
    """Features to the scorer, its scores to the engine.

    Args:
        cfg: None or not enabled: nothing is started, written or read.
        run_dir: where both sheets lie. engine: whose rows they are.
        log, on_spawn: see `children.Child`.
    """

    def __init__(self, cfg: ScorerConfig | None, run_dir: Path, engine: Engine, log: Any,
                 on_spawn: Callable[[int], None]) -> None:
        self._cfg = cfg if cfg is not None and cfg.enabled else None
        self._run_dir, self._engine, self._log = run_dir, engine, log
        self._child: Child | None = scorer_child(run_dir, self._cfg, log, on_spawn) if self._cfg is not None else None
        self._features: SheetWriter | None = None
        self._scores: SheetReader | None = None
        self._filling: Iterator[None] | None = None
        self._bars: BarRows | None = None
        self._bars_shown: BarRowsShown | None = None
        self._bars_sheet: SheetWriter | None = None
        self._bars_written = 0  # changes that the sheet has
        self._next_ns = self._look_ns = 0
        self._seen = 0
        self._waiting: list[dict[str, Any]] = []
        self._note: dict[str, Any] = {}
        self.unscored = Unscored()  # of the newest sheet
        self._model: str | None = None  # whose scores went to the engine last
        self._event_count = 0

    @property
    def started(self) -> bool:
        """Whether the process was started in this run."""
        return self._child is not None and self._child.started

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.alive

    async def start(self) -> None:
        """Start the process, where the configuration wants one; trading does not depend on whether that can be done."""
        if self._child is None:
            return
        try:
            # What a run before has left is of another clock.
            for name in (SCORES_FILE, BARS_FILE):
                (self._run_dir / name).unlink(missing_ok=True)
            self._features = SheetWriter(self._run_dir / FEATURES_FILE, feature_row(features.feature_count),
                                         len(self._engine.names), features.NAMES)
            await self._child.start()
        except (OSError, OperatorError) as error:
            self._log.error("the scorer cannot be started", error=str(error))

    def tick(self, mono_ns: int) -> bytes | None:
        """Write the next part of the features and look for scores; returns the payload of an event, or None."""
        if self._features is None or self._cfg is None:
            return None
        self._write_features(self._features, mono_ns, self._cfg.interval_s * NS_PER_S)
        self._write_bars()
        try:
            self._look(mono_ns)
        except OperatorError as error:
            self._log.warning("scores cannot be read", error=error.message)
            self._forget_sheet()
        if not self._waiting:
            return None
        self._event_count += 1
        return json.dumps(self._waiting.pop(0), separators=(",", ":")).encode()

    def _write_features(self, sheet: SheetWriter, mono_ns: int, interval_ns: int) -> None:
        if self._filling is None and mono_ns >= self._next_ns:
            self._next_ns = mono_ns + interval_ns
            self._filling = self._fill(sheet)
        if self._filling is not None and next(self._filling, self) is self:
            self._filling = None

    def _fill(self, sheet: SheetWriter) -> Iterator[None]:
        """Write one row an instrument, a part a tick; a reader sees them when the last is there."""
        slots = self._engine.core.slots
        with sheet.writing(len(slots), {"instruments": self._engine.names}) as rows:
            for number in range(len(slots)):
                fill_row(rows[number:number + 1], self._engine, number)
                if number % INSTRUMENTS_PER_TICK == INSTRUMENTS_PER_TICK - 1:
                    yield

    def _write_bars(self) -> None:
        """Let closed bars become rows. A sheet is scored whole: it is written once a tick changes no row more."""
        if self._bars is None or self._bars_shown is None or self._bars_sheet is None:
            return
        before = self._bars.change_count
        self._bars.tick()
        self._bars_shown.tick()
        if self._bars_written != before == self._bars.change_count:
            wanted, self._bars_written = self._bars.wanted, before
            note = {"bar_s": wanted.bar_s, "features_hash": wanted.features_hash, "begun_seq": self._bars.begun_seq,
                    "instruments": self._engine.names}
            with self._bars_sheet.writing(len(self._bars.rows), note) as out:
                out[:] = self._bars.rows

    def _want_bars(self, told: Any) -> None:
        """Begin the rows of bars that the scorer asks for in its note; None: its model reads none."""
        wanted = msgspec.convert(told, BarRowsWanted) if told is not None else None
        if self._bars is not None and self._bars.wanted == wanted:
            return
        self._close_bars()
        if wanted is not None:
            bars = BarRows(self._engine, wanted)
            self._bars_sheet = SheetWriter(self._run_dir / BARS_FILE, feature_row(len(wanted.features)), len(self._engine.names),
                                           wanted.features)
            self._bars, self._bars_shown, self._bars_written = bars, BarRowsShown(self._engine, bars), 0

    def _close_bars(self) -> None:
        if self._bars_sheet is not None:
            self._bars_sheet.close()
        self._bars = self._bars_shown = self._bars_sheet = None

    def _look(self, mono_ns: int) -> None:
        """Take the scores of a new sheet apart into events; look now and then for the file of another process."""
        if mono_ns >= self._look_ns:
            self._look_ns = mono_ns + LOOK_NS
            if self._scores is not None and self._scores.replaced():
                self._forget_sheet()
            if self._scores is None and (self._run_dir / SCORES_FILE).exists():
                self._scores = SheetReader(self._run_dir / SCORES_FILE, SCORE_ROW)
        if self._scores is None or self._scores.version == self._seen or self._waiting:
            return
        self._seen, rows, self._note = self._scores.read()
        try:
            if self._note.get("state") == "ready":
                self._want_bars(self._note.get("bars"))
        except (OperatorError, msgspec.ValidationError) as error:
            self._log.warning("rows of bars cannot be computed", error=str(error))
        self.unscored = _unscored(rows[rows["status"] != ScoreStatus.SCORED], self._note)
        usable = rows[rows["status"] == ScoreStatus.SCORED]
        self._note_model(bytes(usable["model"][0]).hex() if len(usable) else None)
        for start in range(0, len(usable), ROWS_PER_EVENT):
            self._waiting.append(payload_of(usable[start:start + ROWS_PER_EVENT], self._note))

    def _note_model(self, scores: str | None) -> None:
        """Have the scores of a model taken back that gives none any more: it was withdrawn, refused, or another is in its place.

        scores: the model of the rows that just came, None where none did. A model that is ready and has none is between two.
        """
        ready = self._note.get("state") == "ready" and self._note.get("model", self._model) == self._model
        if self._model is not None and self._model != scores and not (scores is None and ready):
            self._waiting.append({"model": self._model, "rows": [], "withdrawn": True})
            self._model = None
        self._model = scores or self._model

    def _forget_sheet(self) -> None:
        if self._scores is not None:
            self._scores.close()
        self._scores, self._seen = None, 0

    def status(self) -> shapes.Scorer:
        """Return what the scorer says of itself, whether it lives, and what came of it."""
        told, child = self._note, self._child
        state = "off" if child is None else "down" if child.started and not child.alive else told.get("state", "starting")
        drift = told.get("drift", {})
        return {
            "drift_windows": drift.get("windows", ""), "drift_left_out": drift.get("left_out", 0),
            "state": state, "reason": told.get("reason", ""), "version": told.get("version"), "alive": self.alive,
            "rows": self._bars_shown.said if self._bars_shown is not None else "",
            "restarts": child.restart_count if child is not None else 0, "events": self._event_count, "name": told.get("name"),
            "card_sha256": told.get("model"), "device": told.get("device"), "threads": told.get("threads"),
            "warm_ns": told.get("warm_ns"), "batches": told.get("batches", 0), "batch_rows": told.get("batch_rows", 0),
            "batch_ns": told.get("batch_ns", 0), "sessions": told.get("sessions", [])}

    def bar_rows(self) -> shapes.BarRows | None:
        """Return what is computed of closed bars, None where the scorer's model reads none."""
        return self._bars_shown.status if self._bars_shown is not None else None

    async def stop(self) -> None:
        """End the process and unmap the sheets; they stay."""
        if self._child is not None:
            await self._child.stop()
        self._filling = None
        self._close_bars()
        self._forget_sheet()
        if self._features is not None:
            self._features.close()
            self._features = None


def _unscored(rows: Rows, note: dict[str, Any]) -> Unscored:
    """Return why rows of a sheet have no probability, and which horizons its model has."""
    pairs = zip(rows["instrument"].tolist(), rows["horizon_s"].tolist(), strict=True)
    horizons = tuple(horizon_s for horizon_s, _, _ in note.get("horizons", ()))
    return Unscored(horizons, dict(zip(pairs, rows["status"].tolist(), strict=True)))
