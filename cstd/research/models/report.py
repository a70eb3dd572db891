"""The page of a training run: what was held out, drawn. One HTML file that needs no network."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from cstd.research.models import evaluation, regimes, skill
from cstd.research.models.training import Horizon
from cstd.signals import bar_features

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
CURVES = (0.5, 0.65, 0.8)
FEATURES_SHOWN = 15
BINS = 10


def page(title: str, found: Mapping[str, Horizon]) -> str:
    """Return the page of a version: six charts and the figures for each horizon."""
    parts = [f"<h1>{html.escape(title)}</h1>",
             "<p>Judged on rows that chose nothing, by the exported files. Returns are after fees and half a spread.</p>"]
    first = True
    for horizon, one in found.items():
        parts.append(f"<h2>{horizon}: {one.card['verdict']}</h2><pre>{html.escape(_figures(one))}</pre>")
        for figure in (_equity(one), _calibration(one), _coverage(one), _importance(one), _instruments(one), _turnover(one)):
            parts.append(figure.to_html(full_html=False, include_plotlyjs=first, default_height=380))
            first = False
    return ("<!doctype html><meta charset='utf-8'><title>" + html.escape(title) + "</title><style>body{font-family:sans-serif;"
            "max-width:1000px;margin:auto}</style>" + "".join(parts))


def _figures(one: Horizon) -> str:
    metrics = one.card["metrics"]
    names = ("n", "independent_windows", "blocks", "brier_skill", "brier_skill_ci", "pinball_skill", "pinball_skill_ci", "ece",
             "auc", "coverage", "hit_rate_at_gate", "hit_rate_ci", "break_even", "trades", "independent_trades", "turnover",
             "net", "net_sharpe", "deflated_sharpe", "costs_below_default", "baselines", "search")
    return "\n".join(f"{name:<22}{metrics[name]}" for name in names)


def _figure(title: str, x: str, y: str) -> Any:
    from plotly import graph_objects

    return graph_objects.Figure(layout={"title": title, "xaxis": {"title": x}, "yaxis": {"title": y}, "template": "plotly_white"})


def _daily(one: Horizon, threshold: float) -> np.ndarray:
    chosen = one.scored.probability >= threshold
    return skill.by_day(one.held_out.net[chosen], one.held_out.rows.decided_s[chosen], one.window.days,
                        evaluation.slot_count(one.held_out, one.window))


def _equity(one: Horizon) -> Any:
    figure = _figure("Equity after fees, by the least probability that is traded", "", "sum of daily returns")
    first, last = one.window.days
    days = np.arange(first, last + 1).astype("datetime64[D]").astype(str).tolist()
    for threshold in CURVES:
        figure.add_scatter(x=days, y=np.cumsum(_daily(one, threshold)).tolist(), name=f"p >= {threshold}")
    return figure


def _calibration(one: Horizon) -> Any:
    figure = _figure("Calibration: what came, by what was said", "probability", "share that earned")
    order = np.argsort(one.scored.probability, kind="stable")
    bins = [rows for rows in np.array_split(order, BINS) if len(rows)]
    figure.add_scatter(x=[float(one.scored.probability[rows].mean()) for rows in bins],
                       y=[float(one.held_out.event[rows].mean()) for rows in bins], mode="markers+lines", name="held out")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot"}, name="perfect")
    return figure


def _coverage(one: Horizon) -> Any:
    figure = _figure("Share of outcomes inside the 90 % interval, by regime", "", "share")
    shares = one.card["metrics"]["coverage_by_regime"]
    figure.add_bar(x=list(regimes.NAMES), y=[shares[name] for name in regimes.NAMES])
    figure.add_hline(y=one.card["conformal"]["level"], line_dash="dot")
    return figure


def _importance(one: Horizon) -> Any:
    figure = _figure("What counts, as a share of each member's whole", "share", "")
    shares = {name: gains / gains.sum() for name, gains in one.importance.items() if gains.sum() > 0}
    total = sum(shares.values()) if shares else np.zeros(len(bar_features.NAMES))
    top = np.argsort(total)[-FEATURES_SHOWN:]
    for name, share in shares.items():
        figure.add_bar(x=share[top].tolist(), y=[bar_features.NAMES[i] for i in top], orientation="h", name=name)
    return figure


def _instruments(one: Horizon) -> Any:
    figure = _figure("By instrument: Brier skill over its own base rate", "", "skill")
    names, values = [], []
    for place, series in enumerate(one.window.series):
        mine = one.held_out.rows.series == place
        event = one.held_out.event[mine]
        if len(event) and 0 < event.mean() < 1:
            names.append(f"{series.instrument} ({len(event)})")
            loss = ((one.scored.probability[mine] - event) ** 2).sum()
            values.append(float(1 - loss / ((event.mean() - event) ** 2).sum()))
    figure.add_bar(x=names, y=values)
    return figure


def _turnover(one: Horizon) -> Any:
    figure = _figure("Turnover against cost, by the least probability that is traded", "turnover a day, parts of capital",
                     "return a day")
    costs = -float(evaluation.cost_of_a_trade(one.card["metrics"]["assumptions"]))
    slots = evaluation.slot_count(one.held_out, one.window)
    points = []
    for threshold in THRESHOLDS:
        daily = _daily(one, threshold)
        trades = int((one.scored.probability >= threshold).sum())
        points.append((2 * trades / slots / len(daily), float(daily.mean()), trades * costs / slots / len(daily), threshold))
    turnover, net, cost, thresholds = (list(column) for column in zip(*points, strict=True))
    labels = [f"p >= {threshold}" for threshold in thresholds]
    figure.add_scatter(x=turnover, y=net, text=labels, mode="markers+lines+text", name="net")
    figure.add_scatter(x=turnover, y=cost, mode="markers+lines", name="fees and spread")
    return figure
