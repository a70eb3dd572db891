"""`cstd weights`: how to spread capital over instruments, from files of bars."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cstd.errors import OperatorError
from cstd.research import bar_file, portfolio
from cstd.research.models import dataset

S_PER_YEAR = 365 * 86_400


def files_of(paths: list[str]) -> dict[str, Path]:
    """Return bar files by the instrument that their name says, in order; a folder stands for the bar files in it.

    Raises:
        OperatorError: a folder holds none, two files have the same name, or one is of a practice session or not authentic.
    """
    found: dict[str, Path] = {}
    for file in dataset.files(paths):
        name = file.name.removesuffix(".gz").removesuffix(".csv")
        if name in found:
            raise OperatorError(f"{found[name]} and {file} are of the same instrument by their names")
        if (provenance := dataset.provenance_of(file)) != dataset.AUTHENTIC:
            raise OperatorError(f"{file} is {provenance} data: weights are made of authentic bars alone")
        found[name] = file
    return found


def common_returns(bars: dict[str, bar_file.Bars]) -> tuple[portfolio.Matrix, int]:
    """Return the returns of the times in which every instrument has a bar and the one before it, and the interval in seconds.

    Raises:
        OperatorError: bars of different length.
    """
    intervals = {name: of.interval_s() for name, of in bars.items()}
    interval_s = min(intervals.values())
    for name, of in intervals.items():
        if of != interval_s:
            raise OperatorError(f"{name} has bars of {of} s, another one of {interval_s} s", suggestion="use bars of one length")
    closes = [dict(zip(of.time_s, of.close, strict=True)) for of in bars.values()]
    times = sorted(time for time in set.intersection(*(set(of) for of in closes))
                   if all(time - interval_s in of for of in closes))
    moves = [portfolio.returns_of(np.array([[of[time - interval_s] for time in times], [of[time] for time in times]]))[0]
             for of in closes]
    return np.array(moves).T, interval_s


def weights(paths: list[str], method: str) -> dict[str, Any]:
    """Return the weights and what they are made from.

    Raises:
        OperatorError: files that cannot be read, too little in common, or risks that cannot be told apart.
    """
    files = files_of(paths)
    if len(files) < 2:
        raise OperatorError("weights are of two instruments or more", suggestion="give more files to --bars")
    returns, interval_s = common_returns({name: bar_file.read(path) for name, path in files.items()})
    covariance = portfolio.shrunk_covariance(returns)
    found = (portfolio.hierarchical_risk_parity if method == "hrp" else portfolio.minimum_variance)(covariance.matrix)
    year = np.sqrt(S_PER_YEAR / interval_s)
    deviations = np.sqrt(np.diag(covariance.matrix))
    return {
        "method": method, "returns": len(returns), "interval_s": interval_s, "shrinkage": round(covariance.shrinkage, 6),
        "correlation_mean": round(covariance.correlation_mean, 6),
        "volatility": round(float(np.sqrt(found @ covariance.matrix @ found) * year), 6),
        "weights": [{"instrument": name, "weight": round(float(weight), 6), "volatility": round(float(deviation * year), 6)}
                    for name, weight, deviation in zip(files, found, deviations, strict=True)],
    }


def main(args: argparse.Namespace) -> int:
    """Run the verb.

    Raises:
        OperatorError: as `weights`.
    """
    found = weights(args.bars, args.method)
    if args.output == "json":
        sys.stdout.write(json.dumps(found, separators=(",", ":"), allow_nan=False) + "\n")
        return 0
    lines = [f"{row['instrument']:<20} {row['weight']:>9.4%}  volatility {row['volatility']:.1%} a year"
             for row in found["weights"]]
    made = f"from {found['returns']} common returns of {found['interval_s']} s"
    shrunk = f"shrunk by {found['shrinkage']:.3f} toward a correlation of {found['correlation_mean']:.3f}"
    lines += [f"together             volatility {found['volatility']:.1%} a year, {made},", f"                     {shrunk}"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
