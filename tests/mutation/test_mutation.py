"""A sample of the gate kernels' mutants, planted and noticed, and the matrix that all stand in; all by `make mutants`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.mutation import __main__ as command
from tests.mutation.matrix import COMPARES, KINDS, MATRIX, names_of
from tests.mutation.mutants import MUTANTS, Mutant
from tests.mutation.trial import RottenError, Suite, compiled, mutated, suite_of, trial
from tests.proof.facts_model import GATE

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
# One cell of each gate, the kinds in turn, and one of what the gates share: seconds, where the whole list takes minutes.
SAMPLE = (*(names_of(gate, KINDS[n % len(KINDS)])[0] for n, gate in enumerate(MATRIX)),
          "facts: overflow of the notional let through")
ONLY_COMPARE = ("time in force", "kill switch", "data gap", "day loss", "drawdown")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A small suite: what it notices, the full one does."""
    return suite_of(1, 3_000, tmp_path_factory.mktemp("suite"))


def test_the_gates_as_they_are_agree(suite: Suite, tmp_path: Path) -> None:
    """Compiled alone and without optimisation, the gates give the model's rows."""
    assert trial(None, suite, tmp_path) == ""


@pytest.mark.parametrize("name", SAMPLE)
def test_a_mutant_is_noticed(name: str, suite: Suite, tmp_path: Path) -> None:
    """The suite tells the mutant from the model, and nothing is left of it."""
    assert trial(BY_NAME[name], suite, tmp_path) != ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_list_fits_the_source(mutant: Mutant) -> None:
    """Each mutant's text is in its header exactly once, and what stands there instead is another."""
    assert mutated(mutant)
    assert mutant.text != mutant.instead


def test_names_are_unique() -> None:
    """A name is one mutant."""
    assert len(BY_NAME) == len(MUTANTS)


def test_the_matrix_is_whole() -> None:
    """Each of the fifteen gates has each of the six kinds, in its own name; where one cannot be, what stands for it and why."""
    gates = {name.replace("_", " ").lower() for name in vars(GATE) if name not in ("NONE", "MANAGED_BOUND")}
    assert (set(MATRIX), len(gates)) == (gates, 15)
    for gate, row in MATRIX.items():
        assert tuple(row) == KINDS
        for kind, cell in row.items():
            assert cell.mutants, f"{gate}, {kind}: no mutant"
            assert len(set(cell.mutants)) == len(cell.mutants)
            missing = [name for name in names_of(gate, kind) if name not in BY_NAME]
            assert not missing, f"{gate}, {kind}: not in the list"
        assert row["NaN"].instead, f"{gate} holds no float: what stands for a NaN"
        assert not [kind for kind in KINDS[:4] if row[kind].instead]
        assert row["overflow"].instead.startswith((COMPARES, "no arithmetic")) == (gate in ONLY_COMPARE)


def test_a_cell_of_the_matrix_holds_different_faults() -> None:
    """No two mutants of a gate are the same fault under two names, within a kind or across kinds."""
    for gate in MATRIX:
        names = {name for kind in KINDS for name in names_of(gate, kind)}
        faults = {(BY_NAME[name].header, mutated(BY_NAME[name])) for name in names}
        assert len(faults) == len(names), gate


def test_the_report_names_each_mutant_and_the_survivors(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    """What was noticed, and how, with the mutant's cells; a survivor ends the run with 1 and is in the report as one."""
    monkeypatch.setattr(command, "suite_of", lambda *_: suite)
    path = tmp_path / "build" / "mutants.json"
    assert command.run(3_000, 1, "drawdown: off by one", tmp_path, path) == 0
    found = json.loads(path.read_text("utf-8"))
    assert (found["tried"], found["listed"], found["survivors"]) == (1, len(MUTANTS), [])
    assert found["mutants"][0]["cells"] == [["drawdown", "off by one"]]
    assert found["mutants"][0]["noticed"].endswith("rows differ")
    monkeypatch.setattr(command, "trial", lambda *_: "")
    assert command.run(3_000, 1, "drawdown: off by one", tmp_path, path) == 1
    assert json.loads(path.read_text("utf-8"))["survivors"] == ["drawdown: off by one"]
    assert "survives: drawdown: off by one" in capsys.readouterr().out


def test_a_list_that_rots_fails(tmp_path: Path) -> None:
    """A text that is not there, one that is there twice, and one that does not compile are errors, not survivors."""
    some = MUTANTS[0]
    for text in ("no such text", "CSTD_WHY_PASSED"):
        with pytest.raises(RottenError, match="not once"):
            mutated(dataclasses.replace(some, text=text))
    with pytest.raises(RottenError, match="does not compile"):
        compiled(tmp_path / "broken", dataclasses.replace(some, instead="this is no C;"))
