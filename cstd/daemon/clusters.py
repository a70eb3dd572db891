"""What moves together, as control and sight show it: the clusters of what has exposure, and correlations of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TypeAlias

from cstd._fast.core import Core
from cstd.engine import Engine
from cstd.ledger.nav import MONEY_PRECISION
from cstd.ops import cluster_shapes as shapes
from cstd.units import BPS_PER_UNIT, format_raw

SHOWN_MAX = 16  # instruments whose pairs are shown together: 120 pairs
PAIRS_MAX = 200  # of one instrument


Gathered: TypeAlias = list[tuple[list[int], int]]


class ClustersView:
    """Reads an engine, as rarely as it can.

    Pairs are read anew when a bar has closed or something else has exposure, clusters when an exposure has changed, too; what is
    shown is put together anew when equity has.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gathered: tuple[object, Gathered] | None = None
        self._pairs: tuple[object, list[shapes.CorrelationPair]] | None = None
        self._shown: tuple[object, shapes.Clusters] | None = None

    def __call__(self, instrument: str | None = None) -> shapes.Clusters:
        """Return the clusters, and pairs: of one instrument with all others, or of the first ones with each other."""
        core = self._engine.core
        exposures = core.exposures()
        if instrument is not None:
            number = self._engine.names.index(instrument)
            return self._made(self._gather(exposures), [self._pair(a, b) for a, b in self._pairs_of(number)])
        key = core.correlations.version, tuple(exposures.items()), core.equity_acct_raw
        if self._shown is None or self._shown[0] != key:
            self._shown = key, self._made(self._gather(exposures), self._read_pairs(exposures))
        return self._shown[1]

    def _gather(self, exposures: Mapping[int, int]) -> Gathered:
        key = self._engine.core.correlations.version, tuple(exposures.items())
        if self._gathered is None or self._gathered[0] != key:
            self._gathered = key, clusters_of(self._engine.core, exposures)
        return self._gathered[1]

    def _read_pairs(self, exposures: Mapping[int, int]) -> list[shapes.CorrelationPair]:
        key = self._engine.core.correlations.version, tuple(exposures)
        if self._pairs is None or self._pairs[0] != key:
            self._pairs = key, [self._pair(a, b) for a, b in self._first_pairs(exposures)]
        return self._pairs[1]

    def figures(self) -> dict[str, int]:
        """Counts for the metrics: clusters with exposure, the largest in hundredths of a bps of equity, pairs that are apart."""
        engine = self._engine
        found = self._gather(engine.core.exposures())
        largest = max((exposure for _, exposure in found), default=0)
        equity = engine.core.equity_acct_raw
        return {"clusters": len(found), "cluster_exposure_ppm": largest * 1_000_000 // equity if equity > 0 else 0,
                "correlation_pairs_apart": engine.core.correlations.apart}

    def _made(self, gathered: Gathered, pairs: list[shapes.CorrelationPair]) -> shapes.Clusters:
        engine = self._engine
        core, names = engine.core, engine.names
        equity = core.equity_acct_raw
        risk = engine.cfg.risk if engine.cfg is not None else None
        return {
            "measured": core.correlations.on, "correlation_min": float(risk.correlation_min) if risk else 0.0,
            "correlation_leave": float(risk.correlation_leave) if risk else 0.0,
            "returns_min": risk.correlation_returns_min if risk else 0,
            "instruments": len(names), "pairs_apart": core.correlations.apart,
            "clusters": [{"instruments": [names[number] for number in members],
                          "exposure": format_raw(exposure, MONEY_PRECISION),
                          "exposure_bps": exposure * BPS_PER_UNIT / equity if equity > 0 else None}
                         for members, exposure in gathered],
            "pairs": pairs,
        }

    def _pair(self, a: int, b: int) -> shapes.CorrelationPair:
        linked, reading, returns, _ = self._engine.core.correlations.pair(a, b)
        return {"instrument": self._engine.names[a], "other": self._engine.names[b],
                "correlation": round(reading, 4) if reading is not None else None, "returns": returns,
                "ready": reading is not None, "linked": linked}

    def _first_pairs(self, exposures: Mapping[int, int]) -> list[tuple[int, int]]:
        """Pairs of those with exposure, then of the first configured ones."""
        count = len(self._engine.names)
        first = list(dict.fromkeys([*exposures, *range(min(count, SHOWN_MAX))]))[:SHOWN_MAX]
        return list(combinations(sorted(first), 2))

    def _pairs_of(self, number: int) -> list[tuple[int, int]]:
        """Pairs of one instrument, those that are linked first, then by correlation."""
        def rank(other: int) -> tuple[bool, float]:
            linked, reading, _, _ = self._engine.core.correlations.pair(number, other)
            return not linked, -(reading if reading is not None else 1.0)

        others = sorted((other for other in range(len(self._engine.names)) if other != number), key=rank)
        return [(number, other) for other in others[:PAIRS_MAX]]


def clusters_of(core: Core, exposures: Mapping[int, int]) -> Gathered:
    """Return (numbers, exposure in 10**-8 account currency) of each cluster with exposure, the largest first."""
    left, found = set(exposures), Gathered()
    while left:
        members = core.correlations.cluster(min(left), exposures)
        left -= set(members)
        found.append((members, sum(exposures[number] for number in members)))
    return sorted(found, key=lambda cluster: (-cluster[1], cluster[0]))
