"""`cstd evaluate`: what a stored model was worth on bars that it was not trained on, beside the baselines it has to beat.

The verdict: *holds* only where the Brier skill's interval is above zero and what the trades at the gate earned is above what no
trade earns, with its interval; *not assessable* below WINDOWS_MIN windows that do not overlap; *rejected* otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cstd.clock import utc_parse
from cstd.errors import OperatorError, UsageError
from cstd.research.models import dataset, labels, regimes, skill, stored
from cstd.research.models.dataset import Floats
from cstd.research.models.labels import Costs, Sample
from cstd.signals import registry
from cstd.signals.registry import log as registry_log
from cstd.units import NS_PER_S

GATE = 0.80
PRODUCTION = "production"
WINDOWS_MIN = 300
COVERAGE_ROWS_MIN = 30  # of a regime, before its share is told
Metrics = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """A span of time in unix seconds, its end not included, with the series that were traded in it."""

    series: Sequence[dataset.Series]
    from_s: int
    to_s: int

    @property
    def days(self) -> tuple[int, int]:
        """First and last UTC day."""
        return self.from_s // skill.DAY_S, (self.to_s - 1) // skill.DAY_S


def measure(sample: Sample, scored: stored.Scored, window: Window, ewma: Mapping[str, float], trials: int,
            costs: Costs) -> Metrics:
    """Return everything that `cstd evaluate` prints of a horizon.

    Args:
        sample: rows with their outcomes, none of them learnt from.
        scored: what the model says of them.
        window: the span that they are from.
        ewma: z_lower and z_upper, the quantiles of a gross return in units of EWMA volatility, from before the span.
        trials: how many models were tried before this one.
        costs: what the outcomes are net of.
    """
    event, net = sample.event, sample.net
    block = skill.blocks(sample.rows.decided_s, sample.horizon_s)
    rate = float(event.mean())
    constant, loss = (rate - event) ** 2, (scored.probability - event) ** 2
    brier, brier_ci = skill.skill(loss, constant, block) if 0 < rate < 1 else (None, None)
    by_ewma = pinball_loss(net, *ewma_quantiles(sample, window, ewma, costs))
    pinball, _ = skill.skill(pinball_loss(net, scored.lower, scored.upper), by_ewma, block)
    at_gate = scored.probability >= GATE
    hits = float(event[at_gate].sum())
    apart = skill.independent_windows(sample.rows.decided_s[at_gate], sample.horizon_s)
    trades = int(at_gate.sum())
    slots = slot_count(sample, window)
    daily = skill.by_day(net[at_gate], sample.rows.decided_s[at_gate], window.days, slots)
    day_ci = skill.ratio_interval(daily, np.ones(len(daily)), np.arange(len(daily)) // max(1, sample.horizon_s // skill.DAY_S))
    inside = (net >= scored.lower) & (net <= scored.upper)
    found: Metrics = {
        "n": len(sample), "independent_windows": skill.independent_windows(sample.rows.decided_s, sample.horizon_s),
        "brier_skill": brier, "brier_skill_ci": brier_ci, "pinball_skill": pinball,
        "ece": skill.debiased_ece(scored.probability, event), "auc": skill.auc(scored.probability, event),
        "coverage": float(inside.mean()), "coverage_by_regime": _by_regime(sample, inside),
        "hit_rate_at_gate": hits / trades if trades else None,
        "hit_rate_ci": skill.wilson(hits / trades * apart, apart) if trades else None,
        "trades": trades, "turnover": 2 * trades / slots / len(daily),
        "net_sharpe": skill.sharpe(daily), "deflated_sharpe": skill.deflated_sharpe(daily, trials),
        "baselines": {
            "no_trade": {"net_per_day": float(daily.mean()), "ci": day_ci},
            "buy_and_hold": _buy_and_hold(window, costs),
            "last_return": _last_return(sample, loss, constant),
            "ewma_volatility": {"pinball": float(by_ewma.mean()), **ewma},
            "constant": {"rate": rate, "brier": float(constant.mean())},
        },
    }
    found["verdict"] = verdict(found)
    rounded: Metrics = _rounded(found)
    return rounded


def verdict(found: Mapping[str, Any]) -> str:
    """Return what the figures of a horizon come to."""
    if found["independent_windows"] < WINDOWS_MIN:
        return "not assessable"
    skilled = found["brier_skill_ci"] is not None and found["brier_skill_ci"][0] > 0
    earns = found["trades"] > 0 and found["baselines"]["no_trade"]["ci"][0] > 0
    return "holds" if skilled and earns else "rejected"


def overall(verdicts: Sequence[str]) -> str:
    """Return the verdict of a model: it holds where every horizon does."""
    return next((word for word in ("rejected", "not assessable") if word in verdicts), "holds")


def slot_count(sample: Sample, window: Window) -> float:
    """Return into how many parts capital is divided so that every decision can have one: as many as are open at once."""
    step_s = window.series[0].interval_s
    at_once = sample.horizon_s // (step_s * labels.stride(sample.horizon_s, step_s))
    return float(at_once * len({int(place) for place in np.unique(sample.rows.series)} or {0}))


def pinball_loss(net: Floats, lower: Floats, upper: Floats, level: float = 0.90) -> Floats:
    """Return the pinball loss of both ends of an interval."""
    return skill.pinball(lower, net, (1 - level) / 2) + skill.pinball(upper, net, (1 + level) / 2)


def fit_ewma(sample: Sample, window: Window, costs: Costs, level: float = 0.90) -> dict[str, float]:
    """Return the quantiles of the gross return in units of EWMA volatility over the horizon: the baseline for intervals."""
    gross = np.log((1 + sample.net) / (1 + _unchanged(costs)))
    z = gross / np.maximum(_vol(sample, window), 1e-9)
    low, high = np.quantile(z, [(1 - level) / 2, (1 + level) / 2])
    ends: dict[str, float] = _rounded({"z_lower": float(low), "z_upper": float(high)})  # as the card will have them
    return ends


def ewma_quantiles(sample: Sample, window: Window, ewma: Mapping[str, float], costs: Costs) -> tuple[Floats, Floats]:
    """Return the interval of the net return that EWMA volatility alone gives."""
    vol = _vol(sample, window)
    lower, upper = ((1 + _unchanged(costs)) * np.exp(ewma[end] * vol) - 1 for end in ("z_lower", "z_upper"))
    return lower, upper


def _vol(sample: Sample, window: Window) -> Floats:
    return np.asarray(sample.rows.ewma_vol * np.sqrt(sample.horizon_s / window.series[0].interval_s), np.float64)


def _unchanged(costs: Costs) -> float:
    """Return the net return of a trade at a price that does not move: what it costs."""
    return float(costs.net(np.ones(1), np.ones(1))[0])


def cost_of_a_trade(assumptions: Mapping[str, Any]) -> float:
    """Return the net return of a trade at a price that does not move, by the assumptions of a card."""
    return _unchanged(Costs(**assumptions))


def _by_regime(sample: Sample, inside: np.ndarray) -> dict[str, float | None]:
    shares = {}
    for place, name in enumerate(regimes.NAMES):
        there = sample.rows.regime == place
        shares[name] = float(inside[there].mean()) if there.sum() >= COVERAGE_ROWS_MIN else None
    return shares


def _last_return(sample: Sample, loss: Floats, constant: Floats) -> dict[str, float | None]:
    """Return what the sign of the last bar's return is worth as a forecast, its two rates known, and the model beside it."""
    event, risen = sample.event, sample.rows.last_return > 0
    forecast = np.zeros(len(event))
    for side in (risen, ~risen):
        if side.any():
            forecast[side] = event[side].mean()
    own = float(((forecast - event) ** 2).sum())
    return {"brier_skill": 1 - own / float(constant.sum()) if constant.sum() else None,
            "model_skill": 1 - float(loss.sum()) / own if own else None}


def _buy_and_hold(window: Window, costs: Costs) -> dict[str, float | None]:
    """Return what equal parts of all instruments earned over the span after fees, and their Sharpe ratio."""
    first, last = window.days
    daily: list[Floats] = []
    total = []
    for one in window.series:
        inside = np.flatnonzero((one.time_s >= window.from_s) & (one.time_s + one.interval_s <= window.to_s))
        if len(inside) < 2:
            continue
        total.append(float(costs.net(one.open[inside[:1]], one.close[inside[-1:]])[0]))
        day = one.time_s[inside] // skill.DAY_S - first
        gained = np.diff(np.log(one.close[inside]), prepend=np.log(one.open[inside[0]]))
        daily.append(np.expm1(np.bincount(day, gained, last - first + 1)))
    if not daily:
        return {"net": None, "sharpe": None}
    return {"net": float(np.mean(total)), "sharpe": skill.sharpe(np.asarray(np.mean(daily, axis=0), np.float64))}


def _rounded(value: Any) -> Any:
    """Return figures to eight digits: what is beyond them is the rounding of sums."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.8g}") if np.isfinite(value) else None
    return value


def evaluate(model: stored.Model, series: Sequence[dataset.Series], from_s: int, to_s: int,
             horizons: Sequence[str] | None = None) -> dict[str, Metrics]:
    """Return the figures of a stored model on bars, by horizon; a row is judged when its decision is in [from_s, to_s).

    Raises:
        OperatorError: it was trained on that time, or there is nothing to judge.
        UsageError: it has no such horizon.
    """
    card = model.card
    trained_to = card["training"]["window"]["to"]
    if from_s * NS_PER_S < utc_parse(trained_to):
        raise OperatorError(f"the model was trained on bars up to {trained_to}: what it says of them proves nothing",
                            suggestion=f"--from {trained_to}")
    if missing := sorted(set(horizons or ()) - set(card["horizons"])):
        raise UsageError(f"the model has no horizon {missing[0]}", suggestion="it has " + ", ".join(sorted(card["horizons"])))
    rows = dataset.rows(series)
    rows = rows.take((rows.decided_s >= from_s) & (rows.decided_s < to_s))
    found = {}
    for horizon in horizons or sorted(card["horizons"], key=labels.HORIZONS_S.__getitem__):
        was = card["horizons"][horizon]["metrics"]
        costs = Costs(**was["assumptions"])
        sample = labels.label(rows, series, horizon, costs)
        if not len(sample):
            raise OperatorError(f"no row of horizon {horizon} has an outcome between --from and --to: {dict(sample.left_out)}")
        ewma = {end: was["baselines"]["ewma_volatility"][end] for end in ("z_lower", "z_upper")}
        found[horizon] = measure(sample, model.score(horizon, sample.rows.features), Window(series, from_s, to_s), ewma,
                                 was["search"]["trials"], costs)
    return found


def time_of(text: str, option: str) -> int:
    """Return the unix seconds of a UTC day or time.

    Raises:
        UsageError: it is none.
    """
    try:
        return utc_parse(text if "T" in text else f"{text}T00:00:00Z") // NS_PER_S
    except ValueError:
        raise UsageError(f"{option} {text!r} is no UTC day or time", suggestion="2024-10-01, or 2024-10-01T12:00:00Z") from None


def find(name: str, root: Path, key: bytes | None) -> Path:
    """Return the folder that a model's name or path means: the newest version where none is named.

    Raises:
        OperatorError: there is no such model.
        UsageError: which version is in production cannot be told without the key.
    """
    path = Path(name)
    if path.name == PRODUCTION:
        return _in_production(name, root, key)
    if (path / stored.CARD).is_file():
        return path
    folder = root / name
    if (folder / stored.CARD).is_file():
        return folder
    found = sorted(one for one in folder.glob("[0-9][0-9][0-9][0-9]") if (one / stored.CARD).is_file()) if folder.is_dir() else []
    if not found:
        raise OperatorError(f"there is no model {name} in {root}, nor a folder with a {stored.CARD} of that name")
    return found[-1]


def _in_production(name: str, root: Path, key: bytes | None) -> Path:
    if key is None:
        raise UsageError("which version is in production stands in the registry's signed log", suggestion="--key FILE")
    log = registry_log.read(root, key)
    models = sorted({step.name for step in log.steps}) if name == PRODUCTION else [str(Path(name).parent)]
    there = [root / model / version for model in models if (version := log.in_production(model)) is not None]
    if len(there) != 1:
        raise OperatorError(f"{len(there)} of {', '.join(models) or 'no models'} are in production in {root}",
                            suggestion="cstd models list; MODEL/production names one")
    return there[0]


def main(args: argparse.Namespace) -> int:
    """Run the verb `cstd evaluate`: print the figures of a model; its signature is checked where a key is named."""
    from_s, to_s = time_of(args.from_, "--from"), time_of(args.to, "--to")
    if from_s >= to_s:
        raise UsageError(f"--from {args.from_} is not before --to {args.to}")
    key = registry.read_key(args.key) if args.key else None
    folder = find(args.model, Path(args.models), key)
    if key is None:
        model = stored.read(folder)
        sys.stderr.write("cstd: without --key the card's signature was not checked\n")
    else:
        model = stored.verified(folder, key)
    interval_s = model.card["training"]["bars"][0]["interval_s"]
    series = dataset.read(args.bars, now_s=int(time.time()), to_s=to_s)
    if series[0].interval_s != interval_s:
        raise OperatorError(f"the model reads bars of {interval_s} s, these are of {series[0].interval_s} s")
    name = f"{model.card['name']}/{model.card['version']}"
    found = evaluate(model, series, from_s, to_s, args.horizon)
    if args.output == "json":
        sys.stdout.write(json.dumps({"model": name, "horizons": found}, allow_nan=False) + "\n")
        return 0
    for horizon, metrics in found.items():
        sys.stdout.write(f"{name} {horizon}: {metrics['verdict']}\n")
        for figure, value in metrics.items():
            if figure not in ("verdict", "baselines", "coverage_by_regime"):
                sys.stdout.write(f"  {figure:<22}{_text(value)}\n")
        for row, shares in (("coverage", metrics["coverage_by_regime"]), *metrics["baselines"].items()):
            sys.stdout.write(f"  {row + ':':<22}" + "  ".join(f"{one} {_text(value)}" for one, value in shares.items()) + "\n")
    return 0


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)
