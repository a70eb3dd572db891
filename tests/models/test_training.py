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
from cstd.signals import bar_features, registry
from tests.models.walks import walk, write
from tests.schemas import assert_fits

Trend = tuple[dataset.Series, dict[str, training.Horizon]]
SMALL = training.Settings(seed=3, trials=2, trees_max=10, names=("lightgbm", "logistic"))
NOTHING = training.Fits(None)
FEATURES = np.random.default_rng(11).normal(size=(600, len(bar_features.NAMES))).astype(np.float32)
EVENT = (FEATURES[:, 0] + np.random.default_rng(12).normal(size=600) > 0).astype(float)
PARAMS: dict[str, members.Params] = {
    "lightgbm": {"trees": 10, "leaves": 7, "rate": 0.1, "leaf_rows_min": 20, "l2": 1.0},
    "xgboost": {"trees": 10, "depth": 3, "rate": 0.1, "child_weight_min": 5.0, "l2": 1.0},
    "logistic": {"inverse_l2": 0.1}, "mlp": {"hidden": 4, "l2": 0.01}}


def blocks_of_drift(bars: int, size: float, seed: int = 9) -> np.ndarray:
    """Drifts that stay for 48 bars each: a trend that the features can see."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], bars // 48 + 1)
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
    rows = np.where(np.random.default_rng(13).uniform(size=(600, 1)) < 0.5, *column).astype(np.float32)
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


def test_a_signal_that_is_there_is_found_and_holds() -> None:
    """Six years of a trend that can be seen: skill over every baseline, hits about as often as was said, trades that earn."""
    series = walk(13_200, seed=21, interval_s=4 * 3_600, vol=0.003, drift=blocks_of_drift(13_200, 0.004, seed=5))
    metrics = training.train([series], ["24h"], SMALL, NOTHING)["24h"].card["metrics"]
    assert (evaluation.failures(metrics), evaluation.too_little(metrics), metrics["verdict"]) == ([], [], "holds")
    assert metrics["brier_skill_ci"][0] > 0.2 and metrics["hit_rate_at_gate"] > 0.8
    assert metrics["trades"] > metrics["independent_trades"] >= evaluation.TRADES_MIN
    assert metrics["coverage"] == pytest.approx(0.9, abs=0.05)


def test_a_signal_on_too_little_does_not_hold(trend: Trend) -> None:
    """Two months: skill and hits, and yet no verdict that could be promoted."""
    metrics = trend[1]["4h"].card["metrics"]
    assert metrics["brier_skill_ci"][0] > 0.2 and metrics["hit_rate_ci"][0] > metrics["break_even"]
    assert "blocks" in evaluation.too_little(metrics) and metrics["verdict"] != "holds"


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


def test_the_interval_is_made_of_rows_that_made_no_calibration(trend: Trend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last fold makes the interval; what calibrates is over a horizon before it, and what fits before what chooses."""
    series = trend[0]
    sample = labels.label(dataset.rows([series]), [series], "4h", labels.Costs())
    search = training.Search("4h", sample, SMALL, NOTHING)
    fold = np.concatenate([np.full(len(test), number) for number, (_, test) in enumerate(search.folds)])
    fold[fold == 0] = -1
    decided_s, end_s = sample.rows.decided_s[search.tested], sample.end_s[search.tested] + sample.horizon_s
    seen: dict[str, np.ndarray] = {}

    def calibration(score: np.ndarray, event: np.ndarray, fitting: np.ndarray, choosing: np.ndarray) -> dict[str, Any]:
        seen.update(all=score.astype(int), fitting=score[fitting].astype(int), choosing=score[choosing].astype(int))
        assert np.array_equal(event, sample.event[search.tested][score.astype(int)])
        return {"method": "platt", "a": 1.0, "b": 0.0}

    monkeypatch.setattr(ensemble, "fit_calibration", calibration)
    monkeypatch.setattr(ensemble, "fit_conformal", lambda probability, net: seen.update(net=net))
    search.decide(np.arange(len(fold), dtype=float), fold)  # the score of a row is its place
    last = np.flatnonzero(fold == fold.max())
    assert np.array_equal(seen["net"], sample.net[search.tested][last])
    assert (fold[seen["all"]] >= 0).all() and end_s[seen["all"]].max() <= decided_s[last].min()
    assert end_s[seen["fitting"]].max() <= decided_s[seen["choosing"]].min()
    assert len(seen["fitting"]) > len(seen["choosing"]) > 100


def test_each_look_at_the_same_days_counts_as_all_its_trials(trend: Trend) -> None:
    """Versions whose held-out days overlap multiply the trials, others do not; and free trades are never proof."""
    window = trend[1]["4h"].window
    judged = [(window.from_s - 9, window.from_s), (0, 1 << 40)]
    free = replace(SMALL, costs=labels.Costs(0.0, 0.0, 0.0), names=("logistic",))
    short = replace_bars(trend[0], 1_500)
    metrics = training.train([short], ["4h"], free, NOTHING, judged)["4h"].card["metrics"]
    assert (metrics["search"]["looks"], metrics["search"]["trials"]) == (2, 2 * SMALL.trials)
    assert metrics["costs_below_default"] and metrics["verdict"] != "holds"


def test_what_was_held_out_of_other_versions_is_read_from_their_cards(version: Path) -> None:
    """One span to a version; a card that cannot be told from counts as all time."""
    told = json.loads((version / stored.CARD).read_text())["horizons"]["4h"]["metrics"]["held_out"]
    (from_s, to_s), = train_command.judged_before(version.parent.parent)
    assert (dataset.utc(from_s), dataset.utc(to_s)) == (told["from"], told["to"])
    other = version.parent.parent / "other/0007"
    other.mkdir(parents=True)
    (other / stored.CARD).write_text("{}")
    assert train_command.judged_before(version.parent.parent)[0][0] == 0


def two_instruments() -> tuple[labels.Sample, evaluation.Window]:
    """Trades of a market that moves little and of one that moves much, of which more earn."""
    both = [walk(1_500, seed=31, vol=0.003, instrument="CALM"), walk(1_500, seed=32, vol=0.02, instrument="WILD")]
    sample = labels.label(dataset.rows(both), both, "4h", labels.Costs())
    return sample, evaluation.Window(both, int(sample.rows.decided_s[0]), int(sample.rows.decided_s[-1]) + 1)


def measured(sample: labels.Sample, window: evaluation.Window, scored: stored.Scored) -> evaluation.Metrics:
    return evaluation.measure(sample, scored, window, {"z_lower": -1.6, "z_upper": 1.6}, 4, labels.Costs())


def test_to_know_which_instrument_moves_more_is_no_skill() -> None:
    """Saying each instrument's own rate has none over the constant, and the rates are told."""
    sample, window = two_instruments()
    rates = np.array([sample.event[sample.rows.series == place].mean() for place in (0, 1)])
    assert rates[1] > rates[0] + 0.1
    band = np.full(len(sample), 0.05)
    found = measured(sample, window, stored.Scored(rates[sample.rows.series], -band, band))
    assert found["brier_skill"] == pytest.approx(0.0, abs=1e-9)
    assert list(found["baselines"]["constant"]["rates"].values()) == pytest.approx(rates.tolist())
    assert found["baselines"]["last_return"]["model_skill"] <= 0


def test_the_gate_asks_for_the_interval_too() -> None:
    """Hits are of the probability alone, trades of those whose interval is above zero; Sharpe of those that do not overlap."""
    sample, window = two_instruments()
    probability, upper = np.full(len(sample), evaluation.GATE), np.full(len(sample), 0.1)
    lower = np.where(sample.rows.series == 0, 1e-9, 0.0)
    found = measured(sample, window, stored.Scored(probability, lower, upper))
    calm = sample.rows.series == 0
    assert found["trades"] == calm.sum() < len(sample)
    assert found["hit_rate_at_gate"] == pytest.approx(sample.event.mean())
    assert found["independent_trades"] == skill.independent_windows(sample.rows.decided_s[calm], sample.horizon_s)
    assert found["net"] == pytest.approx(sample.net[calm].sum() / evaluation.slot_count(sample, window))
    picked = calm & np.isin(sample.rows.decided_s, sample.rows.decided_s[calm][skill.apart(sample.rows.decided_s[calm],
                                                                                       sample.horizon_s)])
    daily = skill.by_day(sample.net[picked], sample.rows.decided_s[picked], window.days, 1.0)
    assert found["net_sharpe"] == pytest.approx(skill.sharpe(daily), rel=1e-6)
    won, lost = sample.net[sample.net > 0].mean(), -sample.net[sample.net <= 0].mean()
    assert found["break_even"] == pytest.approx(lost / (lost + won), rel=1e-6)
    barely = measured(sample, window, stored.Scored(probability - 1e-9, lower, upper))
    assert (barely["trades"], barely["hit_rate_at_gate"], barely["verdict"]) == (0, None, "rejected")


def test_bars_of_two_kinds_make_no_card(trend: Trend) -> None:
    """The provenance is that of the bars; a mixture has none."""
    series, found = trend
    other = replace(series, provenance="authentic")
    assert training.card_of("walks", "0001", "", [other, other], found, SMALL)["training"]["provenance"] == "authentic"
    with pytest.raises(OperatorError, match="different provenance make no model: authentic, synthetic"):
        training.card_of("walks", "0001", "", [series, other], found, SMALL)


def test_other_code_shares_no_fits(trend: Trend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version, or one changed file of what makes features, labels, folds or members, is another digest."""
    digest = training.inputs_digest([trend[0]], SMALL, ["4h"])
    monkeypatch.setattr(training.cstd, "__version__", "0.0.0")
    assert training.inputs_digest([trend[0]], SMALL, ["4h"]) != digest
    monkeypatch.undo()
    of = training.digest_of
    assert len(training.sources()) >= 7 and all(path.is_file() for path in training.sources())
    for changed in training.sources():
        monkeypatch.setattr(training, "digest_of", lambda path, changed=changed: "0" * 64 if path == changed else of(path))
        assert training.inputs_digest([trend[0]], SMALL, ["4h"]) != digest, changed


def test_too_few_trades_are_said(trend: Trend) -> None:
    """How many there are, and how many are needed."""
    with pytest.raises(OperatorError, match="at least 50 that did and 50 that did not are needed"):
        training.train([replace_bars(trend[0], 200)], ["4h"], SMALL, NOTHING)


@pytest.fixture
def version(trend: Trend, tmp_path: Path) -> Path:
    """The model of the trend, written."""
    series, found = trend
    return registry.put_unsigned(tmp_path / "models", "walks", card(series, found), files(found))


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
            content = file.read_bytes()
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
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


def test_a_card_without_bars_is_said(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How long the bars are that it reads is not known: no traceback."""
    path = version / stored.CARD
    told = json.loads(path.read_text())
    told["training"]["bars"] = []
    path.write_text(json.dumps(told))
    assert main(["evaluate", str(version), "--bars", "none.csv", "--from", "2024-01-01", "--to", "2024-02-01"]) == 1
    assert "names no bars" in capsys.readouterr().err


MODELS = Path(__file__).resolve().parents[2] / "models"


def row_of(name: str, horizon: str, metrics: evaluation.Metrics) -> str:
    """The row of docs/models.md that a card's figures make."""
    def with_ends(figure: str) -> str:
        low, high = metrics[f"{figure}_ci"]
        return f"{metrics[figure]:.3f} ({low:.3f} to {high:.3f})"

    return (f"| `{name}` {horizon} | {metrics['n']:,} | {metrics['independent_windows']:,} | {metrics['blocks']} | "
            f"{with_ends('brier_skill')} | {with_ends('pinball_skill')} | {metrics['ece']:.3f} | {metrics['auc']:.3f} | "
            f"{metrics['coverage']:.3f} | {metrics['highest_probability']:.2f} | {metrics['trades']} | {metrics['verdict']} |")


@pytest.mark.parametrize("folder", sorted(MODELS.glob("*/[0-9]*/")), ids=lambda path: path.parent.name)
def test_a_shipped_model_is_whole_and_says_what_docs_say(folder: Path, repository: Path) -> None:
    """Its files are those of its card, it reads what this version computes, it was made of authentic bars, and it runs."""
    model = stored.read(folder)
    assert model.card["training"]["provenance"] == "authentic"
    page = (repository / "docs/models.md").read_text("utf-8")
    for horizon, part in model.card["horizons"].items():
        scored = model.score(horizon, FEATURES)
        assert ((scored.probability > 0) & (scored.probability < 1)).all() and (scored.lower < scored.upper).all()
        assert row_of(folder.parent.name, horizon, part["metrics"]) in page.splitlines()
        assert part["verdict"] == evaluation.verdict(part["metrics"])
