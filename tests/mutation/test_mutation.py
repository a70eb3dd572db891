"""A few mutants of the gate kernels, planted and noticed; all of them by `python -m tests.mutation`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.mutation.mutants import MUTANTS, Mutant
from tests.mutation.trial import RottenError, Suite, compiled, mutated, suite_of, trial
from tests.proof.facts_model import GATE

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
SAMPLE = ("idempotency: hour off by one", "shares: removed", "facts: overflow of the notional let through")


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


def test_the_list_has_a_name_once_and_every_gate() -> None:
    """Names are unique, and each gate has mutants that remove it."""
    assert len(BY_NAME) == len(MUTANTS)
    gates = {mutant.name.split(":")[0].replace(" ", "_").upper() for mutant in MUTANTS}
    single = {name for name in vars(GATE) if name not in ("NONE", "MANAGED_BOUND")}
    assert single <= gates


def test_a_list_that_rots_fails(tmp_path: Path) -> None:
    """A text that is not there, one that is there twice, and one that does not compile are errors, not survivors."""
    some = MUTANTS[0]
    for text in ("no such text", "CSTD_WHY_PASSED"):
        with pytest.raises(RottenError, match="not once"):
            mutated(dataclasses.replace(some, text=text))
    with pytest.raises(RottenError, match="does not compile"):
        compiled(tmp_path / "broken", dataclasses.replace(some, instead="this is no C;"))
