"""Training from bars to files: exact, repeatable, resumable; it finds a signal that is there and none where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd.cli.app import main
from cstd.errors import OperatorError, VerificationError
from cstd.research.models import dataset, ensemble, evaluation, extras, labels, members, skill, stored, train_command, training
from cstd.signals import bar_features
from tests.models.walks import walk, write
from tests.schemas import assert_fits

Trend = tuple[dataset.Series, dict[str, training.Horizon]]
SMALL = training.Settings(seed=3, trials=2, trees_max=10, names=("lightgbm", "logistic"), provenance="synthetic")
NOTHING = training.Fits(None)
RANDOM = np.random.default_rng(11)
FEATURES = RANDOM.normal(size=(600, len(bar_features.NAMES))).astype(np.float32)
EVENT = (FEATURES[:, 0] + RANDOM.normal(size=600) > 0).astype(float)
PARAMS: dict[str, members.Params] = {
    "lightgbm": {"trees": 10, "leaves": 7, "rate": 0.1, "leaf_rows_min": 20, "l2": 1.0},
    "xgboost": {"trees": 10, "depth": 3, "rate": 0.1, "child_weight_min": 5.0, "l2": 1.0},
    "logistic": {"inverse_l2": 0.1}, "mlp": {"hidden": 4, "l2": 0.01}}


def blocks_of_drift(bars: int, size: float) -> np.ndarray:
    """Drifts that stay for two days each: a trend that the features can see."""
    signs = np.random.default_rng(9).choice([-1.0, 1.0], bars // 48 + 1)
    return np.repeat(signs, 48)[:bars] * size


def card(series: dataset.Series, found: dict[str, training.Horizon], settings: training.Settings = SMALL) -> dict[str, Any]:
    return training.card_of("walks", "0001", "2024-01-01T00:00:00Z", [series], found, settings)


def files(found: dict[str, training.Horizon]) -> dict[str, bytes]:
    return {name: content for one in found.values() for name, content in one.files.items()}


@pytest.mark.parametrize("name", members.NAMES)
def test_each_member_is_the_same_as_onnx(name: str) -> None:
    """Probabilities of the exported graph are the native ones; fitting again gives the same bytes."""
    member = members.fit(name, PARAMS[name], FEATURES, EVENT, 5)
    content = member.export()
    assert members.check_export(member, content, FEATURES) <= members.EXPORT_ERROR_MAX
    assert members.fit(name, PARAMS[name], FEATURES, EVENT, 5).export() == content
    sets = [used.domain for used in extras.need("onnx").load_from_string(content).opset_import]
    assert sets == sorted(sets)  # and not in the order of a hash, which is another one in each process
    assert skill.auc(member.predict(FEATURES), EVENT) > 0.6


def test_a_row_on_a_threshold_goes_the_same_way() -> None:
    """LightGBM's thresholds between neighbouring float32 values: none goes left natively and right as ONNX."""
    column = np.nextafter(np.float32(1.0), np.float32(2.0)), np.float32(1.0)
    rows = np.where(RANDOM.uniform(size=(600, 1)) < 0.5, *column).astype(np.float32)
    event = (rows[:, 0] > 1.0).astype(float)
    member = members.fit("lightgbm", PARAMS["lightgbm"], rows, event, 1)
    members.check_export(member, member.export(), rows)
    assert member.predict(rows)[event == 1].min() > member.predict(rows)[event == 0].max()


def test_an_export_that_differs_is_refused() -> None:
    """Another model's file is no export of this one."""
    one, other = (members.fit("logistic", {"inverse_l2": l2}, FEATURES, EVENT, 5) for l2 in (0.1, 0.001))
    with pytest.raises(VerificationError, match="logistic as ONNX differs by"):
        members.check_export(one, other.export(), FEATURES)


def test_a_library_that_is_not_there_names_the_extra() -> None:
    """What to install is said."""
    with pytest.raises(OperatorError) as refused:
        extras.need("no_such_library")
    assert refused.value.suggestion == "pip install 'cstd[train]'"


@pytest.fixture(scope="module")
def trend() -> Trend:
    """A market whose trend can be seen, and what training made of it."""
    series = walk(7_500, seed=21, vol=0.003, drift=blocks_of_drift(7_500, 0.004))
    return series, training.train([series], ["4h"], SMALL, NOTHING)


def test_a_signal_that_is_there_is_found_and_holds(trend: Trend) -> None:
    """Skill, trades at the gate that earn, and hits about as often as was said."""
    metrics = trend[1]["4h"].card["metrics"]
    assert metrics["verdict"] == "holds"
    assert metrics["brier_skill_ci"][0] > 0.2 and metrics["trades"] > 50
    assert metrics["hit_rate_at_gate"] > 0.8 and metrics["baselines"]["no_trade"]["ci"][0] > 0
    assert metrics["coverage"] == pytest.approx(0.9, abs=0.05)


def test_where_there_is_no_signal_the_model_is_rejected() -> None:
    """A random walk: enough windows to judge by, no skill that its interval would not deny, nothing earned."""
    series = walk(7_500, seed=22)
    found = training.train([series], ["4h"], SMALL, NOTHING)
    metrics = found["4h"].card["metrics"]
    assert metrics["independent_windows"] >= evaluation.WINDOWS_MIN
    assert metrics["verdict"] == card(series, found)["verdict"] == "rejected"
    assert metrics["brier_skill_ci"][0] <= 0
    assert metrics["auc"] == pytest.approx(0.5, abs=0.08)


def test_random_signals_earn_minus_the_costs() -> None:
    """On a walk the mean of all trades is what a trade costs, within its interval: filling and leaving give nothing away."""
    series = walk(6_000, seed=23, within=200)
    sample = labels.label(dataset.rows([series]), [series], "4h", labels.Costs())
    chosen = np.random.default_rng(1).uniform(size=len(sample)) < 0.5
    low, high = skill.ratio_interval(sample.net[chosen], np.ones(int(chosen.sum())),
                                     skill.blocks(sample.rows.decided_s[chosen], sample.horizon_s))
    assert low <= evaluation.cost_of_a_trade(labels.Costs().card()) <= high
    assert high - low < 0.004


def test_the_same_bars_and_seed_give_the_same_bytes(trend: Trend) -> None:
    """Card and files; another seed gives another card."""
    short = replace_bars(trend[0], 1_500)
    once, again = (training.train([short], ["4h"], SMALL, NOTHING) for _ in range(2))
    assert json.dumps(card(short, once), sort_keys=True) == json.dumps(card(short, again), sort_keys=True)
    assert files(once) == files(again) != {}
    other = training.train([short], ["4h"], replace(SMALL, seed=4), NOTHING)
    assert card(short, other, replace(SMALL, seed=4)) != card(short, once)


def replace_bars(series: dataset.Series, bars: int) -> dataset.Series:
    columns = ("time_s", "open", "high", "low", "close", "volume")
    return replace(series, **{name: getattr(series, name)[:bars] for name in columns})


class EndedError(Exception):
    """A run that was ended from outside."""


def test_a_run_that_was_ended_goes_on(trend: Trend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fitted is not fitted again, and the outcome is that of a run in one piece; other inputs share nothing."""
    series = [replace_bars(trend[0], 1_500)]
    whole = training.train(series, ["4h"], SMALL, NOTHING)
    fit, fitted = members.fit, []

    def counted(name: str, *rest: Any) -> members.Member:
        if len(fitted) == 12:
            raise EndedError
        fitted.append(name)
        return fit(name, *rest)

    digest = training.inputs_digest(series, SMALL, ["4h"])
    monkeypatch.setattr(members, "fit", counted)
    with pytest.raises(EndedError):
        training.train(series, ["4h"], SMALL, training.fits_in(tmp_path, digest, resume=False, tell=lambda _what: None))
    assert len(list((tmp_path / digest).glob("*.npy"))) == 12
    monkeypatch.setattr(members, "fit", lambda name, *rest: fitted.append(name) or fit(name, *rest))
    told: list[str] = []
    resumed = training.train(series, ["4h"], SMALL, training.fits_in(tmp_path, digest, resume=True, tell=told.append))
    assert len(fitted) == len(told)  # each fit that was told of was made once, in the two runs together
    assert (card(series[0], resumed), files(resumed)) == (card(series[0], whole), files(whole))
    assert training.inputs_digest(series, replace(SMALL, seed=4), ["4h"]) != digest


def test_a_member_is_kept_only_if_it_helps(trend: Trend) -> None:
    """Beside one that knows more, a copy of it and noise are left out."""
    series = trend[0]
    sample = labels.label(dataset.rows([series]), [series], "4h", labels.Costs())
    search = training.Search("4h", sample, SMALL, NOTHING)
    event = sample.event[search.tested]
    good = ensemble.sigmoid(2 * (event - 0.5) + np.random.default_rng(5).normal(size=len(event)))
    noise = np.random.default_rng(6).uniform(0.3, 0.7, len(event))
    found = {name: ({}, p, 0.0) for name, p in (("noise", noise), ("good", good), ("copy", good.copy()))}
    assert len(search.select(found)) == 1 and search.select(found)[0] in ("good", "copy")


def test_too_few_trades_are_said(trend: Trend) -> None:
    """How many there are, and how many are needed."""
    with pytest.raises(OperatorError, match="at least 50 that did and 50 that did not are needed"):
        training.train([replace_bars(trend[0], 200)], ["4h"], SMALL, NOTHING)


@pytest.fixture
def version(trend: Trend, tmp_path: Path) -> Path:
    """The model of the trend, written."""
    series, found = trend
    return train_command.write_unsigned(tmp_path / "models", "walks", card(series, found), files(found))


def test_what_is_stored_says_what_was_trained(trend: Trend, version: Path) -> None:
    """Read back, the files give the figures of the card again, on the rows that were held out."""
    series, found = trend
    model = stored.read(version)
    one = found["4h"].window
    assert evaluation.evaluate(model, [series], one.from_s, one.to_s)["4h"] == {
        key: value for key, value in model.card["horizons"]["4h"]["metrics"].items()
        if key not in ("assumptions", "search", "held_out", "left_out")}
    assert (version.name, model.card["training"]["provenance"]) == ("0001", "synthetic")


def test_days_that_were_learnt_from_are_not_judged(trend: Trend, version: Path) -> None:
    """One second before the end of training is refused, with the day from which on it may be judged."""
    window = trend[1]["4h"].window
    with pytest.raises(OperatorError) as refused:
        evaluation.evaluate(stored.read(version), [trend[0]], window.from_s - 1, window.to_s)
    assert refused.value.suggestion == f"--from {dataset.utc(window.from_s)}"


@pytest.mark.parametrize("what", ["byte", "missing", "features", "json"])
def test_files_that_are_not_those_of_the_card_are_refused(version: Path, what: str) -> None:
    """A changed byte, a file that is gone, other features, a card that is none."""
    file, path = sorted(version.glob("*.onnx"))[0], version / stored.CARD
    changed = json.loads(path.read_text())
    match what:
        case "byte":
            file.write_bytes(file.read_bytes()[:-1] + b"x")
        case "missing":
            file.unlink()
        case "features":
            changed["features"] = changed["features"][::-1]
            path.write_text(json.dumps(changed))
        case _:
            path.write_text("{")
    with pytest.raises(VerificationError):
        stored.read(version)


def test_the_commands_on_authentic_bars(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`cstd train` writes a signed version and a page, `cstd evaluate` judges it; both print what their schemas say."""
    key = tmp_path / "models.key"
    key.write_text("k" * 64)
    key.chmod(0o600)
    bars = [str(data_dir / f"bars/240m/{name}_240m_2024.csv.gz") for name in ("XBTUSD", "ETHUSD")]
    out = str(tmp_path / "models")
    train = ["train", "--bars", *bars, "--horizon", "24h", "--name", "daily", "--out", out, "--trials", "1", "-o", "json",
             "--key", str(key)]
    assert main(train) == 0
    trained = json.loads(capsys.readouterr().out)
    assert_fits("train", trained)
    assert (trained["model"], trained["verdict"], trained["signed"]) == ("daily/0001", "not assessable", True)
    assert Path(trained["report"]).read_text().count("<h2>24h") == 1
    assert not (tmp_path / "models/.training/daily").exists()
    from_ = stored.read(Path(trained["folder"])).card["training"]["window"]["to"]
    evaluate = ["evaluate", "daily", "--models", out, "--bars", *bars, "--to", "2025-01-01", "-o", "json", "--from"]
    assert main([*evaluate, from_]) == 0
    found = json.loads(capsys.readouterr().out)
    assert_fits("evaluate", found)
    assert found["horizons"]["24h"]["n"] == trained["horizons"]["24h"]["n"]
    assert main([*evaluate, from_, "--key", str(key)]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert main([*evaluate, "2024-02-01"]) == 1
    assert f"--from {from_}" in capsys.readouterr().err
    assert main(["evaluate", "daily/production", *evaluate[2:], from_, "--key", str(key)]) == 1
    assert "0 of daily are in production" in capsys.readouterr().err
    card_path = Path(trained["folder"]) / "card.json"
    card_path.write_text(card_path.read_text().replace('"not assessable"', '"holds"'))
    assert main([*evaluate, from_, "--key", str(key)]) == 3
    assert "forged" in capsys.readouterr().err


def test_wrong_commands_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Synthetic bars, a bad name, a bad day, a model that is not there: exit code and words."""
    path = str(write(tmp_path, walk(300), note="synthetic"))
    for words, code, text in (
            (["train", "--bars", path, "--name", "x", "--out", str(tmp_path)], 1, "is synthetic data"),
            (["train", "--bars", path, "--name", "../x"], 2, "is no name of a model"),
            (["train", "--bars", path, "--name", "x", "--horizon", "2h"], 2, "'2h' is not one of 1h, 4h, 24h"),
            (["train", "--bars", path, "--name", "x", "--from", "soon"], 2, "--from 'soon' is no UTC day or time"),
            (["evaluate", "x", "--models", str(tmp_path), "--bars", path, "--from", "2024-01-01", "--to", "2024-02-01"], 1,
             "there is no model x")):
        assert main(words) == code
        assert text in capsys.readouterr().err


MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.mark.parametrize("folder", sorted(MODELS.glob("*/[0-9]*/")), ids=lambda path: path.parent.name)
def test_a_shipped_model_is_whole_and_says_what_docs_say(folder: Path, repository: Path) -> None:
    """Its files are those of its card, it reads what this version computes, it was made of authentic bars, and it runs."""
    model = stored.read(folder)
    assert model.card["training"]["provenance"] == "authentic"
    page = (repository / "docs/models.md").read_text("utf-8")
    for horizon, part in model.card["horizons"].items():
        scored = model.score(horizon, FEATURES)
        assert ((scored.probability > 0) & (scored.probability < 1)).all() and (scored.lower < scored.upper).all()
        metrics = part["metrics"]
        low, high = metrics["brier_skill_ci"]
        assert (f"| `{folder.parent.name}` {horizon} | {metrics['n']:,} | {metrics['independent_windows']:,} | "
                f"{metrics['brier_skill']:.3f} ({low:.3f} to {high:.3f}) |") in page
