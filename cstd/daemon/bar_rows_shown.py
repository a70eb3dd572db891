"""What the daemon shows of rows of bars: which are computed, and of each instrument why there is none."""

from __future__ import annotations

from collections import Counter

from cstd.engine import Engine
from cstd.engine.bar_rows import BarRows
from cstd.ops import view_models as shapes
from cstd.units import NS_PER_S

INSTRUMENTS_SHOWN = 200
SHOW_NS = NS_PER_S  # made anew so often, not at each question


class BarRowsShown:
    """What is shown, at most a second old.

    Attributes:
        status, said: what is computed, and of each instrument why it is not; the same in a line.
    """

    def __init__(self, engine: Engine, rows: BarRows) -> None:
        self._engine, self._rows = engine, rows
        self._show()

    def tick(self) -> None:
        """Make it anew where it is older than SHOW_NS."""
        if self._engine.core.mono_ns - self._shown_ns >= SHOW_NS:
            self._show()

    def _show(self) -> None:
        self._shown_ns = self._engine.core.mono_ns
        reasons = self._rows.reasons()
        self.status = self._status(reasons)
        self.said = self._said(reasons)

    def _status(self, reasons: list[str]) -> shapes.BarRows:
        rows, wanted = self._rows, self._rows.wanted
        shown: list[shapes.BarRow] = []
        for number, name in enumerate(self._engine.names[:INSTRUMENTS_SHOWN]):
            state = rows.state(number)
            shown.append({"instrument": name, "reason": state.reason, "bars": state.bars, "first_s": state.first_s})
        return {"bar_s": wanted.bar_s, "features": len(wanted.features), "features_hash": wanted.features_hash,
                "ready": reasons.count(""), "rows": rows.row_count, "abstained": dict(rows.abstained), "instruments": shown}

    def _said(self, reasons: list[str]) -> str:
        waits = [row["first_s"] for row in self.status["instruments"] if row["first_s"]]
        line = f"bars of {self._rows.wanted.bar_s // 60} min: {reasons.count('')} of {len(reasons)} instruments"
        for reason, count in sorted(Counter(filter(None, reasons)).items()):
            line += f"; {count} {reason}"
        return line + (f"; next in {min(waits)} s at the earliest" if waits else "")
