"""One verified version with its sessions: from rows of features to rows of scores, all instruments at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cstd.errors import OperatorError
from cstd.signals.joining import calibrated, interval, stacked
from cstd.signals.registry import Verified
from cstd.signals.registry.card import Horizon, horizon_s
from cstd.signals.scorer.rows import SCORE_ROW, VALID_WORD_BITS, VOTES_MAX, ScoreStatus, row_hashes
from cstd.signals.scorer.sessions import Device, Matrix, MemberSession, open_member
from cstd.signals.scorer.sheet import Rows

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Scored:
    name: str
    horizon: Horizon
    members: tuple[MemberSession, ...]


class ScoredModel:
    """A version, opened. Horizons that did not hold on their card are not scored.

    Args:
        found: the version, verified. Its bytes are what is opened, no path.
        names: the columns of the rows that will come.

    Raises:
        OperatorError: the rows lack a feature, no horizon holds, or a session cannot be opened as asked.
    """

    def __init__(self, found: Verified, names: Sequence[str], device: Device, threads: int) -> None:
        self.card = found.card
        self.card_sha256 = found.card_sha256
        self._model = np.frombuffer(bytes.fromhex(found.card_sha256), np.uint8)
        self._columns = _columns(found.card.features, names)
        count = len(found.card.features)
        self.horizons = tuple(
            _Scored(name, horizon, tuple(open_member(member, found.files[member.file], count, device, threads)
                                         for member in horizon.members))
            for name, horizon in found.card.horizons.items() if horizon.verdict == "holds")
        if not self.horizons:
            raise OperatorError(f"no horizon of {found.card.name} {found.card.version} holds: nothing of it can be scored")

    def matrix(self, rows: Rows) -> tuple[Matrix, Flags, Flags]:
        """Return the model's features of each row as float32, whether all are valid, and whether all are numbers."""
        columns = self._columns
        bits = rows["valid"][:, columns // VALID_WORD_BITS] >> (columns % VALID_WORD_BITS).astype(np.uint64)
        ready = np.all(bits & np.uint64(1), axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            matrix = rows["values"][:, columns].astype(np.float32)
        return matrix, ready, np.all(np.isfinite(matrix), axis=1)

    def score(self, rows: Rows, mono_ns: int, wall_ns: int) -> Rows:
        """Return a row of scores for each row and horizon, in that order; those without all features say why."""
        scores = np.zeros(len(rows) * len(self.horizons), SCORE_ROW)
        matrix, ready, finite = self.matrix(rows)
        usable = np.flatnonzero(ready & finite)
        hashes = row_hashes(matrix[usable])
        for number, scored in enumerate(self.horizons):
            part = scores[number::len(self.horizons)]
            for name in ("instrument", "event_mono_ns", "event_wall_ns", "after_seq"):
                part[name] = rows[name]
            part["row_hash"][usable] = hashes
            part["horizon_s"], part["model"] = horizon_s(scored.name), self._model
            part["scored_mono_ns"], part["scored_wall_ns"] = mono_ns, wall_ns
            part["status"] = np.where(ready, np.where(finite, ScoreStatus.SCORED, ScoreStatus.NOT_FINITE), ScoreStatus.NOT_READY)
            if len(usable):
                self._score_horizon(scored, np.ascontiguousarray(matrix[usable]), part, usable)
        return scores

    def _score_horizon(self, scored: _Scored, matrix: Matrix, part: Rows, usable: NDArray[np.intp]) -> None:
        found = {member.name: member.probabilities(matrix) for member in scored.members}
        joined = stacked(scored.horizon.stack, found)
        probability = calibrated(scored.horizon.calibration, joined)
        lower, upper = interval(scored.horizon.conformal, probability)
        # What is below 0 or above 1 is no probability: the logarithms of the stack would make it a certain one.
        good = np.isfinite(probability) & np.all([(one >= 0) & (one <= 1) for one in found.values()], axis=0)
        for name, values in (("probability", probability), ("lower", lower), ("upper", upper), ("stacked", joined)):
            part[name][usable] = np.where(good, values, 0.0)
        for at, values in zip(range(VOTES_MAX), found.values(), strict=False):
            part["votes"][usable, at] = np.where(good, values, 0.0)
        part["members"][usable] = np.where(good, len(found), 0)
        part["status"][usable] = np.where(good, ScoreStatus.SCORED, ScoreStatus.NOT_FINITE)

    def ensembles(self) -> list[tuple[int, str, list[str]]]:
        """Return each horizon in seconds, how it is calibrated, and the names of its members."""
        return [(horizon_s(scored.name), type(scored.horizon.calibration).__name__.lower(),
                 [member.name for member in scored.members]) for scored in self.horizons]

    def told(self) -> list[dict[str, object]]:
        """Return what each session runs on, for the status."""
        return [{"horizon": scored.name, "member": member.name, "form": member.form, "providers": list(member.providers),
                 "nodes": member.placement} for scored in self.horizons for member in scored.members]


def _columns(features: Sequence[str], names: Sequence[str]) -> NDArray[np.intp]:
    place = {name: number for number, name in enumerate(names)}
    missing = [name for name in features if name not in place]
    if missing:
        raise OperatorError(f"the rows lack {len(missing)} of the model's {len(features)} features: {', '.join(missing[:5])}")
    return np.array([place[name] for name in features], np.intp)
