"""The scorer process: started and watched by the trading process, which can live without it.

    python -m cstd.signals.scorer --run-dir .run/current --models models --name hourly --parent PID

It reads the sheet of features, scores all instruments with the production version in one batch, and writes the sheet of
scores. What it may not or cannot score with it says in the note of that sheet, and stays: every half minute it looks again at
the registry, and whether the features began anew (a daemon that was started again). Without a version that verifies nothing is
scored, so the scores grow old, and who uses them abstains.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cstd.child import exit_code_of, follow_parent
from cstd.clock import Clock, SystemClock
from cstd.errors import OperatorError
from cstd.signals import registry
from cstd.signals.registry import log as registry_log
from cstd.signals.registry.card import HORIZONS_MAX
from cstd.signals.registry.refusals import RefusedVersionError, refuse
from cstd.signals.scorer.drifting import Drifting, window_file
from cstd.signals.scorer.model import ScoredModel
from cstd.signals.scorer.rows import (
    BARS_FILE,
    FEATURES_FILE,
    SCORE_ROW,
    SCORES_FILE,
    BarRowsWanted,
    bar_rows_of,
    feature_row,
)
from cstd.signals.scorer.sheet import SheetReader, SheetWriter

SIGNALS = (signal.SIGTERM, signal.SIGINT)
POLL_S = 0.02
LOOK_AGAIN_S = 30.0
WARM_RUNS = 3
REASON_CHARS_MAX = 500
NEEDED = {"instrument", "event_mono_ns", "event_wall_ns", "after_seq", "valid", "values"}  # of a row of features


class Scorer:
    """The work of the process, a turn at a time.

    Args:
        run_dir: where both sheets lie.
        models, name: the registry and the model whose production version scores.
        key: path of the key, None for systemd's credential.
    """

    def __init__(self, run_dir: Path, models: Path, name: str, key: Path | None, *, device: Any = "cpu", threads: int = 1,
                 clock: Clock | None = None) -> None:
        self._run_dir, self._models, self._name, self._key = run_dir, models, name, key
        self._device, self._threads = device, threads
        self._clock = clock or SystemClock()
        self._features: SheetReader | None = None
        self._scores: SheetWriter | None = None
        self._bars: SheetReader | None = None
        self._wanted: BarRowsWanted | None = None  # rows of bars that the model reads, None where it reads the engine's
        self._model: ScoredModel | None = None
        self._drifting: Drifting | None = None
        self._seen = 0
        self._looked_ns: int | None = None
        self._log = (0, registry_log.NO_HASH)  # lines and head of the registry's log as it was last read
        self._note: dict[str, Any] = {}
        self._batches = self._torn_reads = 0

    def turn(self) -> bool:
        """Score what is new; returns whether there was something."""
        if not self._has_features():
            return False
        self._look_at_model()
        if self._model is None:
            return False
        sheet = self._features if self._wanted is None else self._sheet_of_bars(self._wanted)
        if sheet is None or sheet.version == self._seen:
            return False
        try:
            self._score(sheet, self._model)
        except OperatorError as error:
            self._refuse(error.message, "")
            return False
        return True

    def _sheet_of_bars(self, wanted: BarRowsWanted) -> SheetReader | None:
        """Return the sheet of the rows that the model reads, None until the trading process writes one."""
        if self._bars is not None and self._bars.replaced():
            self._forget_bars()
        if self._bars is None and (self._run_dir / BARS_FILE).exists():
            try:
                self._bars, self._seen = SheetReader(self._run_dir / BARS_FILE), 0  # its names tell whether it is the one
            except OperatorError:
                return None  # replaced just now
        return self._bars if self._bars is not None and self._bars.names == wanted.features else None

    def _forget_bars(self) -> None:
        if self._bars is not None:
            self._bars.close()
            self._bars = None

    def _has_features(self) -> bool:
        """Whether there is a sheet of features; a new one, of a daemon that was started again, is taken up."""
        if self._features is not None and not (self._due() and self._features.replaced()):
            return True
        if self._features is not None:
            self._features.close()
            self._features = self._model = self._looked_ns = None
            self._forget_bars()
        try:
            self._features = SheetReader(self._run_dir / FEATURES_FILE)
        except OperatorError as error:
            self._tell("waiting", error.message)
            return False
        if not set(self._features.row_type.names or ()) >= NEEDED:
            raise OperatorError(f"{self._features.path} holds no features")
        self._seen = 0
        if self._scores is None or self._scores.rows_max < self._features.rows_max * HORIZONS_MAX:
            self._scores = SheetWriter(self._run_dir / SCORES_FILE, SCORE_ROW, self._features.rows_max * HORIZONS_MAX)
        return True

    def _due(self) -> bool:
        return self._looked_ns is None or self._clock.mono_ns() - self._looked_ns >= LOOK_AGAIN_S * 1e9

    def _look_at_model(self) -> None:
        """Now and then: whether the production version is another, or is one no more."""
        if not self._due():
            return
        self._looked_ns = self._clock.mono_ns()
        try:
            key = registry.read_key(self._key)
            log = self._read_log(key)
            version = log.in_production(self._name)
            if self._model is None or version is None or self._model.card_sha256 != log.of(self._name, version)[0].card_sha256:
                self._model = None
                self._open(registry.production(self._models, self._name, key, log))
        except RefusedVersionError as error:
            self._refuse(error.message, error.reason)
        except OperatorError as error:
            self._refuse(error.message, "")

    def _read_log(self, key: bytes) -> registry_log.Log:
        """Return the registry's log; one that does not go on from what was read before was put back.

        Raises:
            RefusedVersionError: log, truncated.
            OperatorError: it cannot be read.
        """
        log = registry_log.read(self._models, key)
        count, head = self._log
        if not log.extends(count, head):
            raise refuse("truncated" if len(log.lines) < count else "log",
                         f"the log had {count} lines up to {head[:16]} while this scorer ran, and does not go on from there",
                         suggestion="cstd models list; start the scorer again once it is known who put the log back")
        self._log = len(log.lines), log.head
        return log

    def _open(self, found: registry.Verified) -> None:
        assert self._features is not None
        self._tell("opening", f"{found.card.name} {found.card.version}")
        wanted = bar_rows_of(found.card, self._features.names)
        names = self._features.names if wanted is None else wanted.features
        model = ScoredModel(found, names, self._device, self._threads)
        began_ns = self._clock.mono_ns()
        for _ in range(WARM_RUNS):  # the first runs allocate; they are no scores
            model.score(self._warm_rows(len(names)), 0, 0)
        warm_ns = (self._clock.mono_ns() - began_ns) // WARM_RUNS
        self._forget_bars()
        self._model, self._wanted, self._seen = model, wanted, 0
        self._tell("ready", "", version=found.card.version, model=found.card_sha256, sessions=model.told(), warm_ns=warm_ns,
                   bars=msgspec.to_builtins(wanted), stage="production", verdict=found.card.verdict, horizons=model.ensembles())

    def _warm_rows(self, columns: int) -> Any:
        assert self._features is not None
        rows = np.zeros(self._features.rows_max, feature_row(columns))
        rows["valid"] = np.uint64(2**64 - 1)
        return rows

    def _refuse(self, message: str, reason: str) -> None:
        self._model = None
        if self._note.get("reason") != message[:REASON_CHARS_MAX]:
            sys.stderr.write(f"cstd scorer: refused: {message}\n")
        self._tell("refused", message, refusal=reason)

    def _tell(self, state: str, reason: str, **fields: Any) -> None:
        """Say how it stands, with no scores; a reader sees that there are none."""
        note = {"state": state, "reason": reason[:REASON_CHARS_MAX], "pid": os.getpid(), "name": self._name,
                "device": self._device, "threads": self._threads, **fields}
        if note != self._note:
            self._note = note
            if self._scores is not None:
                with self._scores.writing(0, self._told()):
                    pass

    def _told(self, took_ns: int = 0, rows: int = 0) -> dict[str, Any]:
        torn = self._features.torn_reads if self._features is not None else 0
        return {**self._note, "batches": self._batches, "batch_ns": took_ns, "batch_rows": rows, "torn_reads": torn}

    def _score(self, features: SheetReader, model: ScoredModel) -> None:
        assert self._scores is not None
        self._seen, rows, told = features.read()
        if self._wanted is not None and (told.get("bar_s"), told.get("features_hash")) != (
                self._wanted.bar_s, self._wanted.features_hash):
            return  # rows of another length of bars, that a model before asked for
        began_ns = self._clock.mono_ns()
        scores = model.score(rows, began_ns, self._clock.wall_ns())
        drifting = self._drifting_of(model, tuple(told.get("instruments", ())))
        matrix, ready, _ = model.matrix(rows)
        drifting.mark(rows, matrix, ready, scores)
        took_ns = self._clock.mono_ns() - began_ns
        self._batches += 1
        # Which rows of bars these are, where they are such: who put them there may have begun others by now.
        note = {**self._told(took_ns, len(rows)), "begun_seq": told.get("begun_seq", 0),
                "drift": {"windows": drifting.said, "left_out": drifting.left_out},
                "worst_features": _worst_features(model, scores)}
        with self._scores.writing(len(scores), note) as out:
            out[:] = scores
        drifting.save(self._clock.mono_ns(), at_once=False)  # a disk that is slow holds no score up

    def _drifting_of(self, model: ScoredModel, instruments: tuple[str, ...]) -> Drifting:
        """Return the windows of a model and these instruments: those that go on, or those that were kept."""
        found = self._drifting
        if found is None or found.card_sha256 != model.card_sha256 or found.instruments != instruments:
            self._keep_windows()
            found = self._drifting = Drifting(model.card, model.card_sha256, window_file(self._run_dir, self._name), instruments)
        return found

    def _keep_windows(self) -> None:
        if self._drifting is not None:
            self._drifting.save(self._clock.mono_ns(), at_once=True)

    def close(self) -> None:
        """Say that it ends, keep what drift is measured by, and unmap the sheets."""
        self._keep_windows()
        self._tell("stopped", "")
        for sheet in (self._features, self._bars, self._scores):
            if sheet is not None:
                sheet.close()


def _worst_features(model: ScoredModel, scores: Any) -> dict[str, str]:
    """Return the names of the features that rows of scores name by their place."""
    return {str(at): model.card.features[at] for at in np.unique(scores["drift_feature"]).tolist() if at >= 0}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scorer process; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cstd.signals.scorer", description="Score instruments with a model.")
    parser.add_argument("--run-dir", required=True, type=Path, help="the daemon's run directory")
    parser.add_argument("--models", required=True, type=Path, metavar="DIR", help="the registry")
    parser.add_argument("--name", required=True, help="the model whose production version scores")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the registry's key (default: systemd's credential)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU, for one batch")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process does")
    args = parser.parse_args(argv)
    asked: list[int] = []
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: asked.append(number))

    def run() -> None:
        if args.parent is not None:
            follow_parent(args.parent)
        scorer = Scorer(args.run_dir, args.models, args.name, args.key, device=args.device, threads=args.threads)
        while not asked:
            if not scorer.turn():
                time.sleep(POLL_S)
        scorer.close()

    return exit_code_of("scorer", run)
