"""`cstd train`: bars to a model version: features, labels, folds, search, stack, calibration, interval, held-out figures, files.

The last HELD_OUT of the time is judged once, by the exported files, and chooses nothing. Everything before it is learnt from:
each member's parameters are searched for by walk-forward log loss; a member is kept only if it makes the stack better out of
sample. Stack, calibration and interval are fitted on predictions of rows that the predicting member had not learnt from: the
calibration on all folds but the last, the interval on the last, so that its rows made no calibration. All folds chose the
parameters and the members, and the stack of the card is fitted on them all: only what is held out is untouched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import cstd
from cstd._fast import indicators
from cstd.errors import OperatorError
from cstd.research.models import dataset, ensemble, evaluation, folds, labels, members, skill, stored
from cstd.research.models.dataset import Floats, Ints
from cstd.research.models.extras import need
from cstd.research.models.labels import Costs, Sample
from cstd.signals import bar_features, drift
from cstd.signals.registry import features_hash
from cstd.signals.registry.card import worst

HELD_OUT = 0.2
TRAIN_ROWS_MIN = 200
FOLDS_MIN = 3  # the first has no stack before it, the last makes the interval: one is left for the calibration
CALIBRATION_ROWS_MIN = 50  # of the part that the candidates are fitted on
EVENTS_MIN = 50
CHOICES_MAX = 8  # configurations that the probability of overfitting is estimated over
CHOICE_ROWS_MAX = 15_000
BETTER = 1e-5  # log loss: what a member has to take off to be kept
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How a model is searched for."""

    seed: int = 1
    trials: int = 8  # of each member
    trees_max: int = 150
    search_s: float | None = None  # a bound in seconds makes the outcome depend on the machine
    names: tuple[str, ...] = members.NAMES
    costs: Costs = field(default_factory=Costs)


@dataclass
class Horizon:
    """What came out for one horizon: its part of the card, its files, and what the report shows of it."""

    card: dict[str, Any]
    files: dict[str, bytes]
    held_out: Sample
    scored: stored.Scored
    importance: dict[str, Floats]
    window: evaluation.Window
    reference: dict[str, Any] | None = None  # of the features, what drift is measured against; the same for each horizon


class Fits:
    """Predictions out of sample, by what they are of; kept in a folder, so that a run that was ended goes on.

    Args:
        folder: where they are kept; None for nowhere.
        tell: is told what is fitted.
    """

    def __init__(self, folder: Path | None, tell: Tell = lambda _what: None) -> None:
        self.folder = folder
        self.tell = tell

    def predictions(self, what: str, make: Callable[[], Floats]) -> Floats:
        """Return what was predicted before under the same name, or predict it now."""
        self.tell(what)
        if self.folder is None:
            return make()
        path = self.folder / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.npy"
        if path.exists():
            return np.asarray(np.load(path, allow_pickle=False), np.float64)
        found = make()
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, found, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)  # whole or not at all: a fold that was cut short is fitted anew
        return found


def inputs_digest(series: Sequence[dataset.Series], settings: Settings, names: Sequence[str]) -> str:
    """Return the name of all that predictions depend on, beside what each is called.

    That is the bars, the settings, the libraries, and the code that makes features, labels, folds and members.
    """
    parts = [*(f"{one.instrument} {one.sha256} {len(one)} {one.time_s[0]}" for one in series), repr(asdict(settings)), *names,
             cstd.__version__, *(digest_of(path) for path in sources()),
             *(f"{need(library).__version__}" for library in ("lightgbm", "xgboost", "sklearn", "optuna"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def sources() -> list[Path]:
    """Return the files of the code that a prediction comes from, the compiled indicators among them."""
    modules = (bar_features, indicators, dataset, labels, folds, members)
    return [*(Path(str(module.__file__)) for module in modules), Path(__file__)]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fits_in(folder: Path, digest: str, *, resume: bool, tell: Tell) -> Fits:
    """Return the predictions kept below a folder for these inputs; without `resume` what is there is removed."""
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    (folder / digest).mkdir(parents=True, exist_ok=True)
    return Fits(folder / digest, tell)


def train(series: Sequence[dataset.Series], horizons: Sequence[str], settings: Settings, fits: Fits,
          judged: Sequence[evaluation.Span] = ()) -> dict[str, Horizon]:
    """Return what came out, by horizon.

    Args:
        judged: what was held out of each version that was made before: one that overlaps this one's is a look at the same days.

    Raises:
        OperatorError: too few rows or events, bars too long for a horizon, a library missing.
        VerificationError: an exported member differs from the one it was made of.
    """
    rows = dataset.rows(series)
    if not len(rows):
        raise OperatorError(f"no row of features is ready in these bars: {dict(rows.left_out)}")
    cutoff_s = _cutoff(rows)
    window = evaluation.Window(series, cutoff_s, int(rows.decided_s[-1]) + 1)
    looks = 1 + sum(from_s < window.to_s and window.from_s < to_s for from_s, to_s in judged)
    early = rows.take(rows.decided_s < cutoff_s)
    reference = drift.reference_of(bar_features.NAMES, early.features, early.series)
    found = {name: _train_horizon(name, rows, window, settings, fits, looks) for name in horizons}
    return {name: replace(one, reference=reference) for name, one in found.items()}


def _cutoff(rows: dataset.Rows) -> int:
    """Return the time from which on rows are held out, a whole UTC day."""
    first, last = int(rows.decided_s[0]), int(rows.decided_s[-1])
    return (last - int(HELD_OUT * (last - first))) // skill.DAY_S * skill.DAY_S


def _train_horizon(horizon: str, rows: dataset.Rows, window: evaluation.Window, settings: Settings, fits: Fits,
                   looks: int) -> Horizon:
    everything = labels.label(rows, window.series, horizon, settings.costs)
    learnt = everything.take(folds.before(everything, window.from_s))
    held_out = everything.take(everything.rows.decided_s >= window.from_s)
    _require(horizon, learnt, held_out)
    search = Search(horizon, learnt, settings, fits)
    found = search.run()
    kept = search.select(found)
    before = evaluation.Window(window.series, int(learnt.rows.decided_s[0]), window.from_s)
    tested = learnt.take(search.tested)
    card: dict[str, Any] = {"stack": ensemble.fit_stack({name: found[name][1] for name in kept}, tested.event),
                            **search.decide(*search.nested(kept, found)), "members": []}
    files, importance, worst = {}, {}, 0.0
    for name in kept:
        fits.tell(f"{horizon} {name} final")
        member = members.fit(name, found[name][0], learnt.rows.features, learnt.event, settings.seed)
        content = member.export()
        worst = max(worst, members.check_export(member, content, held_out.rows.features))
        files[f"{horizon}.{name}.onnx"], importance[name] = content, member.importance
        card["members"].append({"name": name, "file": f"{horizon}.{name}.onnx", "kind": members.KINDS[name],
                                "sha256": hashlib.sha256(content).hexdigest()})
    scored = stored.Model({"horizons": {horizon: card}}, files).score(horizon, held_out.rows.features)
    trials = settings.trials * len(settings.names) * looks
    metrics = evaluation.measure(held_out, scored, window, evaluation.fit_ewma(tested, before, settings.costs), trials,
                                 settings.costs)
    card["verdict"] = metrics["verdict"]
    card["metrics"] = {
        **metrics, "assumptions": settings.costs.card(),
        "search": {"trials": trials, "looks": looks, "overfitting": search.overfitting(),
                   "log_loss": {name: found[name][2] for name in found}, "export_error": worst, "rows": len(learnt),
                   "events": int(learnt.event.sum())},
        "held_out": {"from": dataset.utc(window.from_s), "to": dataset.utc(window.to_s)},
        "left_out": {**rows.left_out, **everything.left_out},
    }
    return Horizon(card, files, held_out, scored, importance, window)


def _require(horizon: str, learnt: Sample, held_out: Sample) -> None:
    events = int(learnt.event.sum()) if len(learnt) else 0
    if min(events, len(learnt) - events) < EVENTS_MIN:
        raise OperatorError(f"horizon {horizon}: {len(learnt)} trades to learn from, {events} of which earned; at least "
                            f"{EVENTS_MIN} that did and {EVENTS_MIN} that did not are needed", suggestion="name more bars")
    if not len(held_out):
        raise OperatorError(f"horizon {horizon}: no trade is held out to judge by: {dict(held_out.left_out)}")


class Search:
    """The search for one horizon's members.

    Attributes:
        tested: rows that a fold tests, in the order of time; all predictions out of sample are of these.
    """

    def __init__(self, horizon: str, sample: Sample, settings: Settings, fits: Fits) -> None:
        self.horizon, self.sample, self.settings, self.fits = horizon, sample, settings, fits
        self.folds = [(train, test) for train, test in folds.walk_forward(sample) if self._enough(train) and len(test)]
        if len(self.folds) < FOLDS_MIN:
            raise OperatorError(f"horizon {horizon}: {len(sample)} trades are too few for folds in time")
        self.tested = np.concatenate([test for _, test in self.folds])
        self._tried: list[members.Params] = []  # of the first member

    def _enough(self, train: Ints) -> bool:
        events = int(self.sample.event[train].sum())
        return len(train) >= TRAIN_ROWS_MIN and 10 <= events <= len(train) - 10

    def run(self) -> dict[str, tuple[members.Params, Floats, float]]:
        """Return of each member the best parameters, its predictions of the tested rows, and their log loss."""
        return {name: self._best(name) for name in self.settings.names}

    def _best(self, name: str) -> tuple[members.Params, Floats, float]:
        optuna = need("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        found: dict[int, tuple[members.Params, Floats, float]] = {}

        def loss(trial: Any) -> float:
            params = members.suggest(name, trial, self.settings.trees_max)
            predicted = np.concatenate([self._fold(name, params, i) for i in range(len(self.folds))])
            found[trial.number] = params, predicted, ensemble.log_loss(predicted, self.sample.event[self.tested])
            return found[trial.number][2]

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=self.settings.seed))
        study.optimize(loss, n_trials=self.settings.trials, timeout=self.settings.search_s)
        if name == self.settings.names[0]:
            self._tried = [params for params, _, _ in found.values()]
        return found[study.best_trial.number]

    def _fold(self, name: str, params: members.Params, fold: int) -> Floats:
        train, test = self.folds[fold]
        return self._predict(f"{self.horizon} {name} {params} fold {fold}", name, params, train, test)

    def _predict(self, what: str, name: str, params: members.Params, train: Ints, test: Ints) -> Floats:
        def make() -> Floats:
            rows = self.sample.rows.features
            member = members.fit(name, params, rows[train], self.sample.event[train], self.settings.seed)
            return member.predict(rows[test])

        return self.fits.predictions(what, make)

    def nested(self, names: Sequence[str], found: Mapping[str, tuple[members.Params, Floats, float]]) -> tuple[Floats, Ints]:
        """Return the stack's probability of each tested row, by weights from the folds before its own; and the row's fold, -1 for
        those of the first, which has none before it.
        """
        score, of = np.zeros(len(self.tested)), np.full(len(self.tested), -1)
        predicted = {name: found[name][1] for name in names}
        event = self.sample.event[self.tested]
        end_s = self.sample.end_s[self.tested]
        at = len(self.folds[0][1])
        for fold, (_, test) in enumerate(self.folds[1:], 1):
            over = np.arange(len(self.tested)) < at
            over &= end_s + self.sample.horizon_s <= self.sample.rows.decided_s[test[0]]
            stack = ensemble.fit_stack({name: p[over] for name, p in predicted.items()}, event[over])
            here = slice(at, at + len(test))
            score[here] = ensemble.stacked(stack, {name: p[here] for name, p in predicted.items()})
            of[here] = fold
            at += len(test)
        return score, of

    def select(self, found: Mapping[str, tuple[members.Params, Floats, float]]) -> list[str]:
        """Return the members that earn their place: each makes the stack better out of sample than it was without."""
        event = self.sample.event[self.tested]

        def loss(names: Sequence[str]) -> float:
            score, fold = self.nested(names, found)
            return ensemble.log_loss(score[fold >= 0], event[fold >= 0])

        kept: list[str] = []
        best = float("inf")
        while rest := [name for name in found if name not in kept]:
            losses = {name: loss([*kept, name]) for name in rest}
            nearest = min(losses, key=lambda name: losses[name])
            if losses[nearest] >= best - BETTER:
                break
            best = losses[nearest]
            kept.append(nearest)
        return sorted(kept, key=list(found).index)

    def decide(self, score: Floats, fold: Ints) -> dict[str, Any]:
        """Return calibration and interval for a stack's scores of the tested rows.

        The calibration is fitted on all folds but the last, the interval on the last. Between them, and between the part that
        fits the candidates for the calibration and the part that chooses one, trades are purged as between folds.
        """
        tested = self.sample.take(self.tested)
        last = np.flatnonzero(fold == fold.max())
        over = folds.before(tested, int(tested.rows.decided_s[last[0]]))
        rows = np.flatnonzero((fold >= 0) & (fold < fold.max()) & over)  # the first fold has no stack before it
        early = tested.take(rows)
        cut = len(rows) * 2 // 3
        fitting = np.flatnonzero(folds.before(early, int(early.rows.decided_s[cut]))) if len(rows) else rows
        if len(fitting) < CALIBRATION_ROWS_MIN:
            raise OperatorError(f"horizon {self.horizon}: {len(self.sample)} trades are too few for a calibration")
        calibration = ensemble.fit_calibration(score[rows], early.event, fitting, np.arange(cut, len(rows)))
        probability = ensemble.calibrated(calibration, score[last])
        return {"calibration": calibration, "conformal": ensemble.fit_conformal(probability, tested.net[last])}

    def overfitting(self) -> float | None:
        """Return the probability that choosing among what was tried of the first member was overfitting."""
        name, choices = self.settings.names[0], self._tried[:CHOICES_MAX]
        every = -(-len(self.sample) // CHOICE_ROWS_MAX)
        total, count = np.zeros((folds.GROUPS, len(choices))), np.zeros((folds.GROUPS, 1))
        cut = folds.edges(self.sample, folds.GROUPS)
        for split, (train, tests) in enumerate(folds.combinatorial(self.sample)):
            train_ = train[::every]
            if not self._enough(train_) or not all(len(test) for test in tests):
                continue
            groups = [int(np.searchsorted(cut, self.sample.rows.decided_s[test[0]], side="right")) - 1 for test in tests]
            for choice, params in enumerate(choices):
                test = np.concatenate(tests)
                predicted = self._predict(f"{self.horizon} {name} {params} split {split}", name, params, train_, test)
                loss = (predicted - self.sample.event[test]) ** 2
                for group, part in zip(groups, np.split(loss, [len(tests[0])]), strict=True):
                    total[group, choice] += part.mean()
            count[groups] += 1
        there = count[:, 0] > 0
        return skill.overfitting(total[there] / count[there]) if there.sum() >= 2 else None


def card_of(name: str, version: str, created: str, series: Sequence[dataset.Series], found: Mapping[str, Horizon],
            settings: Settings) -> dict[str, Any]:
    """Return the card of a version, without its signature.

    Raises:
        OperatorError: the bars are of different provenance.
    """
    if len(provenances := sorted({one.provenance for one in series})) != 1:
        raise OperatorError(f"bars of different provenance make no model: {', '.join(provenances)}")
    first = min(int(one.time_s[0]) for one in series)
    one = next(iter(found.values()))
    cutoff, reference = one.window.from_s, one.reference
    return {
        "schema": 1, "name": name, "version": version, "created": created,
        "features": list(bar_features.NAMES), "features_hash": features_hash(bar_features.NAMES), "dtype": "float32",
        "horizons": {horizon: one.card for horizon, one in found.items()},
        "training": {"bars": [one.card() for one in series], "window": {"from": dataset.utc(first), "to": dataset.utc(cutoff)},
                     "seed": settings.seed, "provenance": provenances[0]},
        "verdict": worst([one.card["verdict"] for one in found.values()]),
        **({"reference": reference} if reference is not None else {}),
    }
