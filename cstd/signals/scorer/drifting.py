"""The scorer's watch over the rows that it scores: each instrument's newest against the card's reference (cstd.signals.drift).

The windows outlive the process: an instrument's last 500 rows are weeks, and a model that was found to have drifted shall not
be whole again by a restart. They lie beside the journal, by the instruments' names, and are of one card: another begins anew.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from cstd.signals.drift import STATES, Drift, Windows
from cstd.signals.registry.card import Card
from cstd.signals.registry.reference import BINS, WINDOW_ROWS
from cstd.signals.scorer.sheet import Rows
from cstd.storage.journal_files import put_in_place
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import NS_PER_S

FOLDER = "drift"
SAVE_NS = 60 * NS_PER_S  # between two writes of the file: what a killed scorer forgets
FILE_BYTES_MAX = 1 << 30
FILE_MODE, FOLDER_MODE = 0o640, 0o750
NOT_ASSESSABLE = Drift("not assessable", 0, 0, 0, "", 0)


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    """The first line of the file; the bins of each instrument in its order follow as bytes."""

    card: str
    window_rows: int
    features: int
    instruments: list[str]
    heads: list[int]
    newest_ns: list[int]
    left_out: int


def window_file(run_dir: Path, name: str) -> Path:
    """Return where a model's windows are kept: beside the journal, which a service has on a disk."""
    return (run_dir / JOURNAL_DIR).resolve().parent / FOLDER / f"{name}.window"


class Drifting:
    """The windows of one version.

    Args:
        card, card_sha256: the version. path: of the file; None: they are kept in memory alone.
        instruments: names, in the order of the rows' numbers.

    Attributes:
        said: what became of the windows of before, in words.
    """

    def __init__(self, card: Card, card_sha256: str, path: Path | None, instruments: Sequence[str]) -> None:
        self.instruments = tuple(instruments)
        self.card_sha256, self._path = card_sha256, path
        self._windows: Windows | None = None
        self._changed = False
        self._saved_ns = 0
        self.said = "the card has no reference: drift is not assessable"
        if card.reference is not None:
            self._windows = Windows(card.reference, card.features, len(self.instruments))
            self.said = self._load(self._windows)

    @property
    def left_out(self) -> int:
        """Rows that were none: a feature was missing, or no number."""
        return self._windows.left_out if self._windows is not None else 0

    def mark(self, rows: Rows, matrix: np.ndarray, ready: np.ndarray, scores: Rows) -> None:
        """Take the rows that were scored, and write into the scores how their instruments stand.

        Args:
            matrix, ready: of the rows, as `ScoredModel.matrix` returns them. scores: all horizons of a row running.
        """
        found = [self._taken(row, matrix[at], bool(ready[at])) for at, row in enumerate(rows)]
        each = len(scores) // len(rows) if len(rows) else 0
        features = {} if self._windows is None else {name: at for at, name in enumerate(self._windows.names)}
        for horizon in range(each):
            part = scores[horizon::each]
            part["drift"] = [STATES.index(one.state) for one in found]
            part["drift_feature"] = [features.get(one.feature, -1) for one in found]
            part["drift_rows"] = [one.rows for one in found]
            for name in ("beyond_e6", "psi_e6", "ks_e6"):
                part[name] = [getattr(one, name) for one in found]

    def _taken(self, row: np.void, values: np.ndarray, ready: bool) -> Drift:
        if self._windows is None:
            return NOT_ASSESSABLE
        number = int(row["instrument"])
        if not 0 <= number < len(self.instruments):
            return NOT_ASSESSABLE
        if row["event_wall_ns"] > 0:
            self._changed |= self._windows.take(number, values if ready else np.full(len(values), np.nan, np.float32),
                                                int(row["event_wall_ns"]))
        return self._windows.drift(number)

    def save(self, mono_ns: int, *, at_once: bool) -> None:
        """Write the windows down where they changed; now and then, or at once."""
        if self._path is None or self._windows is None or not self._changed:
            return
        if not at_once and self._saved_ns and mono_ns - self._saved_ns < SAVE_NS:
            return
        self._saved_ns, windows = mono_ns, self._windows
        head = _Head(self.card_sha256, WINDOW_ROWS, len(windows.names), list(self.instruments), windows.heads.tolist(),
                     windows.newest_ns.tolist(), windows.left_out)
        try:
            self._path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            put_in_place(self._path, msgspec.json.encode(head) + b"\n" + windows.codes.tobytes(), mode=FILE_MODE)
        except OSError as error:
            sys.stderr.write(f"cstd scorer: the windows of drift cannot be kept in {self._path}: {error.strerror}\n")
            return
        self._changed = False

    def _load(self, windows: Windows) -> str:
        """Take up the windows of before; returns what became of them."""
        if self._path is None or not self._path.exists():
            return "begun anew: there was none"
        try:
            if self._path.stat().st_size > FILE_BYTES_MAX:
                return "begun anew: the file is too large"
            line, _, content = self._path.read_bytes().partition(b"\n")
            head = msgspec.json.decode(line, type=_Head)
        except (OSError, ValueError) as error:  # what is no JSON, or another form, is a ValueError
            return f"begun anew: the file cannot be read: {str(error)[:100]}"
        shape = (len(head.instruments), WINDOW_ROWS, len(windows.names))
        if (head.card, head.window_rows, head.features) != (self.card_sha256, *shape[1:]):
            return "begun anew: the windows of before are another version's"
        codes = np.frombuffer(content, np.uint8)
        counts = {len(head.instruments), len(head.heads), len(head.newest_ns)}
        if len(codes) != np.prod(shape) or len(counts) != 1 or np.any(codes >= BINS) or min(head.heads, default=0) < 0:
            return "begun anew: the file is damaged"
        place = {name: number for number, name in enumerate(self.instruments)}
        for at, name in enumerate(head.instruments):
            if name in place:
                windows.codes[place[name]] = codes.reshape(shape)[at]
                windows.heads[place[name]], windows.newest_ns[place[name]] = head.heads[at], head.newest_ns[at]
        windows.left_out = head.left_out
        return "kept"
