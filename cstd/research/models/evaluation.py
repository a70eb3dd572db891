"""`cstd evaluate`: what a stored model was worth on bars that it was not trained on, beside the baselines it has to beat.

The verdict: *holds* only where the model beats every baseline (`failures` is empty) on enough that does not overlap, at costs
that are no less than everybody's (`too_little` is empty); *not assessable* where it beats them on too little, or where there are
fewer than WINDOWS_MIN windows; *rejected* otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cstd.clock import utc_parse
from cstd.errors import OperatorError, UsageError
from cstd.research.models import dataset, labels, regimes, skill, stored
from cstd.research.models.dataset import Floats, Ints
from cstd.research.models.labels import Costs, Sample
from cstd.signals import registry
from cstd.signals.registry import log as registry_log
from cstd.units import NS_PER_S

GATE = 0.80
PRODUCTION = "production"
WINDOWS_MIN = 300
BLOCKS_MIN = 60  # of a bootstrap: with fewer its intervals are too narrow
TRADES_MIN = 100  # at the gate that do not overlap: a few that won are no record
DEFLATED_SHARPE_MIN = 0.95
COVERAGE_ROWS_MIN = 30  # of a regime, before its share is told
Metrics = dict[str, Any]
Flags = NDArray[np.bool_]
Span = tuple[int, int]  # unix seconds, the end not included


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
    event, net, decided_s = sample.event, sample.net, sample.rows.decided_s
    block = skill.blocks(decided_s, sample.horizon_s)
    constant, rates = _constant(sample, window)
    loss = (scored.probability - event) ** 2
    brier, brier_ci = skill.skill(loss, constant, block) if constant.sum() else (None, None)
    by_ewma = pinball_loss(net, *ewma_quantiles(sample, window, ewma, costs))
    pinball, pinball_ci = skill.skill(pinball_loss(net, scored.lower, scored.upper), by_ewma, block)
    inside = (net >= scored.lower) & (net <= scored.upper)
    traded = would_trade(scored)
    found: Metrics = {
        "n": len(sample), "independent_windows": skill.independent_windows(decided_s, sample.horizon_s),
        "blocks": len(np.unique(block)),
        "brier_skill": brier, "brier_skill_ci": brier_ci, "pinball_skill": pinball, "pinball_skill_ci": pinball_ci,
        "ece": skill.debiased_ece(scored.probability, event), "auc": skill.auc(scored.probability, event),
        "coverage": float(inside.mean()), "coverage_by_regime": _by_regime(sample, inside),
        "highest_probability": float(scored.probability.max()),
        **_hits(sample, scored.probability >= GATE), **_money(sample, traded, window, trials),
        "costs_below_default": below_default(costs),
        "baselines": {
            "no_trade": _no_trade(sample, traded, window),
            "buy_and_hold": _buy_and_hold(window, costs),
            "last_return": _last_return(sample, window, loss, constant, block),
            "ewma_volatility": {"pinball": float(by_ewma.mean()), **ewma},
            "constant": {"rate": float(event.mean()), "rates": rates, "brier": float(constant.mean())},
        },
    }
    found["verdict"] = verdict(found)
    rounded: Metrics = _rounded(found)
    return rounded


def would_trade(scored: stored.Scored) -> Flags:
    """Return which rows would have been traded: sure enough, and with an interval of the net return that is above zero."""
    return np.asarray((scored.probability >= GATE) & (scored.lower > 0))


def below_default(costs: Costs) -> bool:
    """Whether a cost is less than what everybody pays: the first tier's fees, the default half spread and lifetime."""
    default = Costs().card()
    return any(value < default[name] for name, value in costs.card().items())


def verdict(found: Mapping[str, Any]) -> str:
    """Return what the figures of a horizon come to."""
    if found["independent_windows"] < WINDOWS_MIN:
        return "not assessable"
    if failures(found):
        return "rejected"
    return "not assessable" if too_little(found) else "holds"


def failures(found: Mapping[str, Any]) -> list[str]:
    """Return which of the baselines a horizon was not shown to beat."""
    baselines = found["baselines"]
    hit_rate, held = found["hit_rate_ci"], baselines["buy_and_hold"]["net"]
    beaten = {
        "base rate": _above(found["brier_skill_ci"]),
        "last return": _above(baselines["last_return"]["model_skill_ci"]),
        "EWMA volatility": _above(found["pinball_skill_ci"]),
        "no trade": found["trades"] > 0 and _above(baselines["no_trade"]["ci"]),
        "buy and hold": held is not None and found["net"] > held,
        "break-even": hit_rate is not None and hit_rate[0] > found["break_even"],
        "luck": found["deflated_sharpe"] is not None and found["deflated_sharpe"] > DEFLATED_SHARPE_MIN,
    }
    return [name for name, is_so in beaten.items() if not is_so]


def too_little(found: Mapping[str, Any]) -> list[str]:
    """Return of what there is too little to say that a horizon holds."""
    short = {"blocks": found["blocks"] < BLOCKS_MIN, "trades": found["independent_trades"] < TRADES_MIN,
             "costs": found["costs_below_default"]}
    return [name for name, is_so in short.items() if is_so]


def _above(interval: Sequence[float] | None) -> bool:
    return interval is not None and interval[0] > 0


def _constant(sample: Sample, window: Window) -> tuple[Floats, dict[str, float]]:
    """Return the squared error of saying the base rate of a row's own instrument, and the rates.

    One rate for all would be beaten by knowing which instrument moves more.
    """
    event = sample.event
    forecast, rates = np.zeros(len(event)), {}
    for name, mine in _by_instrument(sample, window):
        forecast[mine] = rates[name] = float(event[mine].mean())
    return (forecast - event) ** 2, rates


def _by_instrument(sample: Sample, window: Window) -> Iterator[tuple[str, Flags]]:
    """Yield each instrument that has rows, and which these are."""
    names = np.array([one.instrument for one in window.series])[sample.rows.series]
    for name in np.unique(names).tolist():
        yield name, names == name


def _hits(sample: Sample, sure: Flags) -> Metrics:
    """Return how often those were right whose probability is at the gate, and how often they have to be to lose nothing."""
    if not sure.any():
        return {"hit_rate_at_gate": None, "hit_rate_ci": None, "break_even": None}
    net, hit = sample.net[sure], sample.event[sure] == 1
    share, count = float(hit.mean()), skill.independent_windows(sample.rows.decided_s[sure], sample.horizon_s)
    # Where none of them lost, a loss is taken to be as large as elsewhere.
    losses = net[~hit] if not hit.all() else sample.net[sample.event == 0]
    lost, won = float(-losses.mean()) if len(losses) else 0.0, float(net[hit].mean()) if hit.any() else 0.0
    return {"hit_rate_at_gate": share, "hit_rate_ci": skill.wilson(share * count, count),
            "break_even": lost / (lost + won) if lost + won > 0 else 1.0}


def _money(sample: Sample, traded: Flags, window: Window, trials: int) -> Metrics:
    """Return what the trades at the gate came to; Sharpe ratios are of those that do not overlap, one result to a time."""
    trades, slots = int(traded.sum()), slot_count(sample, window)
    daily = _daily(sample, traded, window)
    times, place = np.unique(sample.rows.decided_s[traded], return_inverse=True)
    means = np.bincount(place, sample.net[traded], len(times)) / np.bincount(place, minlength=len(times))
    picked = skill.apart(times, sample.horizon_s)
    alone = skill.by_day(means[picked], times[picked], window.days, 1.0)
    return {"trades": trades, "independent_trades": int(picked.sum()), "turnover": 2 * trades / slots / len(daily),
            "net": float(daily.sum()), "net_sharpe": skill.sharpe(alone), "deflated_sharpe": skill.deflated_sharpe(alone, trials)}


def _no_trade(sample: Sample, traded: Flags, window: Window) -> Metrics:
    """Return what the trades earned a day above no trade, with its interval by blocks of days."""
    daily = _daily(sample, traded, window)
    days = np.arange(window.days[0], window.days[1] + 1) * skill.DAY_S
    return {"net_per_day": float(daily.mean()),
            "ci": skill.ratio_interval(daily, np.ones(len(daily)), skill.blocks(days, sample.horizon_s))}


def _daily(sample: Sample, traded: Flags, window: Window) -> Floats:
    return skill.by_day(sample.net[traded], sample.rows.decided_s[traded], window.days, slot_count(sample, window))


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


def _last_return(sample: Sample, window: Window, loss: Floats, constant: Floats, block: Ints) -> Metrics:
    """Return what the sign of the last bar's return is worth as a forecast, its two rates of each instrument known, and the model
    beside it.
    """
    event, risen = sample.event, sample.rows.last_return > 0
    forecast = np.zeros(len(event))
    for _, mine in _by_instrument(sample, window):
        for side in (mine & risen, mine & ~risen):
            if side.any():
                forecast[side] = event[side].mean()
    own = (forecast - event) ** 2
    model, model_ci = skill.skill(loss, own, block) if own.sum() else (None, None)
    return {"brier_skill": 1 - float(own.sum() / constant.sum()) if constant.sum() else None, "model_skill": model,
            "model_skill_ci": model_ci}


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
    if not model.card["training"]["bars"]:
        raise OperatorError(f"the card of {folder} names no bars, so how long those are that it reads is not known")
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
