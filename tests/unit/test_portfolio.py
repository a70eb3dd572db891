"""Portfolio weights for research: what they promise, and what they refuse."""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.errors import OperatorError
from cstd.research import portfolio, weights
from cstd.research.portfolio import Matrix

METHODS = (portfolio.hierarchical_risk_parity, portfolio.minimum_variance)


def moves(seed: int, count: int, times: int = 200, common: float = 0.6) -> Matrix:
    """Returns of instruments that share one factor, each with its own size."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 1, (times, count))
    made: Matrix = (common * rng.normal(0, 1, (times, 1)) + np.sqrt(1 - common**2) * own) * rng.uniform(0.001, 0.05, count)
    return made


def naive_intensity(returns: Matrix) -> float:
    """Ledoit and Wolf's intensity, sum by sum as the paper's appendix has it."""
    x = returns - returns.mean(axis=0)
    times, count = x.shape
    s = x.T @ x / times
    every = list(itertools.product(range(count), repeat=2))
    mean = np.mean([s[i, j] / np.sqrt(s[i, i] * s[j, j]) for i, j in every if i != j])
    f = np.array([[s[i, i] if i == j else mean * np.sqrt(s[i, i] * s[j, j]) for j in range(count)] for i in range(count)])
    pi = {(i, j): np.mean([(x[t, i] * x[t, j] - s[i, j]) ** 2 for t in range(times)]) for i, j in every}

    def theta(k: int, i: int, j: int) -> float:
        return float(np.mean([(x[t, k] ** 2 - s[k, k]) * (x[t, i] * x[t, j] - s[i, j]) for t in range(times)]))

    rho = sum(pi[i, i] for i in range(count)) + sum(
        mean / 2 * (np.sqrt(s[j, j] / s[i, i]) * theta(i, i, j) + np.sqrt(s[i, i] / s[j, j]) * theta(j, i, j))
        for i, j in every if i != j)
    gamma = sum((f[i, j] - s[i, j]) ** 2 for i, j in every)
    return float(min(1.0, max(0.0, (sum(pi.values()) - rho) / gamma / times)))


@pytest.mark.parametrize(("seed", "count", "times"), [(1, 2, 40), (2, 4, 60), (3, 6, 35)])
def test_the_shrinkage_is_that_of_the_paper(seed: int, count: int, times: int) -> None:
    """The intensity agrees with the paper's sums; the covariance lies between the sample and the common correlation."""
    returns = moves(seed, count, times)
    found = portfolio.shrunk_covariance(returns)
    # Two instruments have one correlation, which is its own mean: the sample is its target.
    assert found.shrinkage == pytest.approx(1.0 if count == 2 else naive_intensity(returns), abs=1e-9)
    sample = np.cov(returns.T, bias=True)
    assert np.diag(found.matrix) == pytest.approx(np.diag(sample))
    assert np.linalg.eigvalsh(found.matrix)[0] > 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 12), common=st.sampled_from([0.0, 0.6, 0.95]),
       method=st.sampled_from(METHODS))
def test_weights_are_a_portfolio(seed: int, count: int, common: float, method: object) -> None:
    """None is negative, they sum to one, and another unit of the returns changes nothing."""
    covariance = portfolio.shrunk_covariance(moves(seed, count, common=common)).matrix
    found = method(covariance)  # type: ignore[operator]
    assert found.shape == (count,) and (found >= 0).all() and found.sum() == pytest.approx(1.0, abs=1e-12)
    assert method(covariance * 1e4) == pytest.approx(found, abs=1e-9)  # type: ignore[operator]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 12), common=st.sampled_from([0.0, 0.6, 0.95, 0.999]))
def test_no_other_weights_have_less_variance(seed: int, count: int, common: float) -> None:
    """What is held has one slope of the variance, what is not held none lower: the conditions of the optimum."""
    covariance = portfolio.shrunk_covariance(moves(seed, count, common=common)).matrix
    found = portfolio.minimum_variance(covariance)
    slopes = covariance @ found
    variance = found @ slopes
    assert slopes[found > 1e-12] == pytest.approx(variance, rel=1e-6)
    assert (slopes >= variance * (1 - 1e-6)).all()
    others = np.random.default_rng(seed).dirichlet(np.ones(count), 50)
    assert (np.einsum("ij,jk,ik->i", others, covariance, others) >= variance * (1 - 1e-9)).all()


@pytest.mark.parametrize("method", METHODS)
def test_unrelated_risks_are_weighted_by_their_inverse_variance(method: object) -> None:
    """With no correlation both methods come to the same: four times the variance, a quarter of the weight."""
    found = method(np.diag([1.0, 4.0, 4.0, 16.0]))  # type: ignore[operator]
    assert found == pytest.approx(np.array([16, 4, 4, 1]) / 25)


def test_risk_parity_splits_between_groups_first() -> None:
    """Two that move nearly as one share what one of its own would have: order in the list does not matter."""
    matrix = np.array([[1.0, 0.0, 0.98, 0.0], [0.0, 1.0, 0.0, 0.98], [0.98, 0.0, 1.0, 0.0], [0.0, 0.98, 0.0, 1.0]])
    assert portfolio.hierarchical_risk_parity(matrix) == pytest.approx(np.full(4, 0.25))
    assert portfolio._order(np.sqrt((1 - matrix) / 2)) == [0, 2, 1, 3]


def test_least_variance_refuses_what_has_no_risk_and_risk_parity_does_not() -> None:
    """Two that move as one leave a mixture without risk, which is no answer; the other method splits between them."""
    twins = np.array([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(OperatorError, match="move as one"):
        portfolio.minimum_variance(twins)
    assert portfolio.hierarchical_risk_parity(twins) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(("returns", "why"), [
    (moves(1, 3, 29), "29 common returns are too few"),
    (moves(1, 1, 100), "2 to 200 instruments"),
    (np.where(np.arange(300).reshape(100, 3) == 7, np.nan, moves(1, 3, 100)), "not a number"),
    (moves(1, 3, 100) * np.array([1, 0, 1]), "instrument 2 never moved"),
])
def test_what_says_nothing_is_refused_by_name(returns: Matrix, why: str) -> None:
    """Too little, no number, no risk: an error and no weights."""
    with pytest.raises(OperatorError, match=why):
        portfolio.shrunk_covariance(returns)


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.array([[1.0, 0.5], [0.4, 1.0]]), np.array([[1.0, np.nan], [np.nan, 1.0]]),
                                    np.array([[0.0, 0.0], [0.0, 1.0]])])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_covariance_is_refused(method: object, matrix: Matrix) -> None:
    """Not square, not symmetric, no number, no variance."""
    with pytest.raises(OperatorError):
        method(matrix)  # type: ignore[operator]


def write(folder: Path, name: str, closes: dict[int, float]) -> Path:
    """A file of five-minute bars."""
    path = folder / f"{name}.csv"
    path.write_text("".join(f"{300 * at},{close!r},{close!r},{close!r},{close!r},1\n" for at, close in closes.items()))
    return path


def folder_of(tmp_path: Path, times: int = 100, missing: int = -1) -> Path:
    """Three instruments; of the second one bar is missing."""
    changes = moves(5, 3, times)
    for number, name in enumerate(("AAA", "BBB", "CCC")):
        closes = 100 * np.cumprod(1 + changes[:, number])
        write(tmp_path, name, {at: float(close) for at, close in enumerate(closes) if number != 1 or at != missing})
    return tmp_path


@pytest.mark.parametrize("method", portfolio.METHODS)
def test_the_verb_reads_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    """One file an instrument, named after it; a missing bar costs the two returns that need it, in all of them."""
    folder = folder_of(tmp_path, missing=50)
    assert weights.main(argparse.Namespace(bars=[str(folder)], method=method, output="json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["returns"], found["interval_s"]) == (method, 97, 300)
    assert [row["instrument"] for row in found["weights"]] == ["AAA", "BBB", "CCC"]
    assert sum(row["weight"] for row in found["weights"]) == pytest.approx(1.0, abs=1e-5)
    assert weights.main(argparse.Namespace(bars=[str(folder)], method=method, output="table")) == 0
    assert capsys.readouterr().out.count("volatility") == 4


def test_the_verb_refuses_what_it_cannot_weigh(tmp_path: Path) -> None:
    """One instrument, two of one name, nothing in common, other lengths, an empty folder: each by name."""
    folder = folder_of(tmp_path)
    (tmp_path / "empty").mkdir()
    other = write(tmp_path / "empty", "AAA", {1: 5.0})
    later = write(tmp_path, "later", {10_000 + at: 5.0 + at % 3 for at in range(100)})
    wide = tmp_path / "wide.csv"
    wide.write_text("".join(f"{600 * at},5,5,5,5,1\n" for at in range(50)))
    empty = tmp_path / "none"
    empty.mkdir()
    for paths, why in (([folder / "AAA.csv"], "two instruments or more"), ([folder / "AAA.csv", other], "same instrument"),
                       ([folder / "AAA.csv", later], "0 common returns"), ([folder / "AAA.csv", wide], "bars of 600 s"),
                       ([empty], "holds no bar file"), ([folder / "AAA.csv", folder / "gone.csv"], "gone.csv")):
        with pytest.raises(OperatorError, match=why):
            weights.weights([str(path) for path in paths], "hrp")


def test_weights_are_of_authentic_bars_alone(tmp_path: Path) -> None:
    """A note beside the files, as for training, and a session with the practice exchange."""
    folder = folder_of(tmp_path)
    (folder / "BBB.csv.provenance").write_text("synthetic\n")
    with pytest.raises(OperatorError, match=r"BBB\.csv is synthetic data"):
        weights.weights([str(folder)], "hrp")
    (folder / "BBB.csv.provenance").unlink()
    (folder / "practice.json").write_text("{}")
    with pytest.raises(OperatorError, match="is practice data"):
        weights.weights([str(folder)], "hrp")
