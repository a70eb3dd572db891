"""Configurations that name code of the user's own: what would run, and each way to name it wrongly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cstd.cli.app import main
from cstd.config import Problem, load, refusals, template
from cstd.config.problems import problems_of
from cstd.errors import ConfigError
from cstd.signals.agents import build, loader
from cstd.signals.code import configured
from tests.schemas import assert_fits
from tests.strategies import built, guide

SOURCE = """
from cstd.signals.strategies.api import NOTHING, Strategy


def kernel(view, features, valid, state, params, wish):
    return NOTHING


STRATEGY = Strategy("quiet", kernel, params={"size_ppm": 1_000, "retry_s": 30})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A strategy that never wishes for anything, built."""
    return built(tmp_path_factory.mktemp("own"), "quiet", SOURCE)


def write(tmp_path: Path, text: str) -> list[str]:
    """The arguments that name the practice configuration and this text after it."""
    (tmp_path / "own.toml").write_text(text)
    return ["-c", str(template("practice")), "-c", str(tmp_path / "own.toml")]


def own(folder: Path | str, more: str = "") -> str:
    """The tables that name the strategy of a folder."""
    return f'[strategy]\nname = "own"\n[strategy.own]\ndir = "{folder}"\n{more}\n'


def problems(tmp_path: Path, text: str) -> list[Problem]:
    """What is wrong with the code that a configuration names."""
    with pytest.raises(ConfigError) as caught:
        configured(load(write(tmp_path, text)[1::2], {}))
    return problems_of(caught.value)


def test_what_would_run_is_loaded_and_printed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config check` names strategy and agents with their hashes, and the parameters with what the file changed."""
    sha256 = loader.load_strategy(folder).sha256
    words = write(tmp_path, own(folder, f'sha256 = "{sha256}"\nparams = {{ size_ppm = 500 }}'))
    assert main(["config", "check", *words]) == 0
    said = capsys.readouterr().out
    assert f"strategy quiet ({sha256}) size_ppm=500 retry_s=30" in said
    assert "rehearsal order" not in said  # the table is still in the file, and nothing trades by it
    assert f"agents microstructure, technical ({loader.load().sha256})" in said
    assert main(["config", "check", *words, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["starts"] is True
    assert_fits("config check", found)
    assert_fits("strategy build", json.loads((folder / "strategy.json").read_text()))
    assert found["code"] == {
        "strategy": {"name": "quiet", "sha256": sha256, "params": {"size_ppm": 500, "retry_s": 30}},
        "agents": {"names": ["microstructure", "technical"], "sha256": loader.load().sha256}}


def test_a_built_in_strategy_is_named_too(capsys: pytest.CaptureFixture[str]) -> None:
    """With its parameters and no hash: it is part of the build."""
    assert main(["config", "check", "-c", str(template("practice"))]) == 0
    said = capsys.readouterr().out
    assert "strategy rehearsal (built in) size_ppm=2500" in said and "one rehearsal order" in said


@pytest.mark.parametrize(("text", "key", "reason"), [
    ('[strategy]\nname = "own"\n', "strategy.own", "required key is missing"),
    ('[strategy.own]\ndir = "mine"\n', "strategy.own.dir", "'rehearsal' would be asked"),
    ('[strategy]\nname = "own"\n[strategy.own]\nparams = {}\n', "strategy.own.dir", "required key is missing"),
    (own("~/mine"), "strategy.own.dir", "wrong form"),
    (own("mine", 'sha256 = "abc"'), "strategy.own.sha256", "wrong form"),
    (own("mine", "params = { size_ppm = 1.5 }"), "strategy.own.params.size_ppm", "whole number"),
    (own("mine", f"params = {{ size_ppm = {2**63 - 1}, x = -{2**63 - 1}, y = {2**62}, z = true }}"), "strategy.own.params.z",
     "whole number"),
    (own("mine", 'parms = { size_ppm = 1 }'), "strategy.own.parms", "unknown key"),
    ('[agents]\ndir = 3\n', "agents.dir", "text in quotes"),
])
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, text: str, key: str, reason: str) -> None:
    """Before anything is loaded, each with its key."""
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text)[1::2], {})
    (problem,) = problems_of(caught.value)
    assert problem.key == key and reason in problem.reason and (problem.limit or problem.suggestion)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    """Neither of a strategy nor of agents."""
    (problem,) = problems(tmp_path, own(tmp_path / "nowhere"))
    assert (problem.key, problem.value) == ("strategy.own.dir", str(tmp_path / "nowhere"))
    assert "no folder" in problem.reason and "cstd strategy build" in problem.limit and problem.suggestion
    (problem,) = problems(tmp_path, f'[agents]\ndir = "{tmp_path / "nowhere"}"\n')
    assert (problem.key, problem.reason) == ("agents.dir", "is no folder") and "cstd agents build" in problem.limit
    both = problems(tmp_path, own(tmp_path / "nowhere") + f'[agents]\ndir = "{tmp_path / "nowhere"}"\n')
    assert [each.key for each in both] == ["agents.dir", "strategy.own.dir"]


def test_another_object_than_the_pinned_one_is_refused(folder: Path, tmp_path: Path) -> None:
    """With both hashes."""
    (problem,) = problems(tmp_path, own(folder, f'sha256 = "{"ab" * 32}"'))
    assert (problem.key, problem.value, problem.limit) == (
        "strategy.own.sha256", "ab" * 32, loader.load_strategy(folder).sha256)


def test_an_unknown_parameter_is_refused_with_the_nearest(folder: Path, tmp_path: Path) -> None:
    """What the strategy knows is its limit."""
    found = problems(tmp_path, own(folder, "params = { size_pm = 1, banana = 2 }"))
    assert [(each.key, each.value, each.limit, each.suggestion) for each in found] == [
        ("strategy.own.params.size_pm", "1", "size_ppm, retry_s", "did you mean size_ppm?"),
        ("strategy.own.params.banana", "2", "size_ppm, retry_s", "remove it")]


@pytest.mark.parametrize(("key", "value"), [("abi", 99), ("features_sha256", "0" * 64), ("machine", "pdp11"),
                                           ("so_sha256", "0" * 64)])
def test_an_object_for_something_else_is_refused(folder: Path, tmp_path: Path, key: str, value: Any) -> None:
    """Another interface, feature row or machine, or an object that was changed: build it again."""
    place = Path(shutil.copytree(folder, tmp_path / "copy"))
    manifest = json.loads((place / "strategy.json").read_text())
    (place / "strategy.json").write_text(json.dumps(manifest | {key: value}))
    (problem,) = problems(tmp_path, own(place))
    assert problem.key == "strategy.own.dir" and key in problem.reason and "cstd strategy build" in problem.suggestion
    assert main(["config", "check", *write(tmp_path, own(place))]) == 78


def test_live_and_paper_may_run_it(folder: Path, tmp_path: Path) -> None:
    """live keeps its other refusals: keys and the operator's word on the account. paper has none."""
    keys = {"KRAKEN_API_KEY": "a key", "KRAKEN_API_SECRET": "c2VjcmV0"}
    text = write(tmp_path, own(folder))[-1]
    live, paper = (load([str(template(mode)), text], {}) for mode in ("live", "paper"))
    assert {problem.key for problem in refusals(live, {})} == {"account.exclusive", *keys}
    sure = load([str(template("live")), text], {"CSTD__ACCOUNT__EXCLUSIVE": "true"})
    assert refusals(sure, keys) == []
    assert configured(sure).strategy is not None
    assert refusals(paper, {}) == []


def test_agents_of_a_folder_are_loaded(tmp_path: Path) -> None:
    """The folder's, and not the built-in ones."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "thin_ask.py").write_text(guide("agents.md"))
    build.build(tmp_path / "src", tmp_path / "out")
    agents = configured(load(write(tmp_path, f'[agents]\ndir = "{tmp_path / "out"}"\n')[1::2], {})).agents
    assert agents is not None and agents.names == ["thin_ask"]
