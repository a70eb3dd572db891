"""One mutant's trial: the gates' headers in a temporary folder, with the fault, compiled alone and run over the cases."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cstd._fast import gates
from tests.mutation.mutants import Mutant
from tests.proof.cases import case_of, listed_cases
from tests.proof.rows import differences, inputs_of, limits_of, model_rows

CSRC = Path(gates.__file__).parent / "csrc"
HARNESS = Path(__file__).with_name("judge_rows.c")
INTENTS_PER_CASE = 20
RUN_S_MAX = 60
COMPILE = ("gcc", "-O0", "-w", "-std=gnu11")


class RottenError(Exception):
    """A mutant whose text is not in its header exactly once, or that does not compile: the list needs a look."""


@dataclass(slots=True)
class Suite:
    """Cases on disk, and the rows that the model has for them."""

    path: Path
    expected: np.ndarray


def suite_of(seed: int, decisions: int, folder: Path) -> Suite:
    """Take the listed cases, draw the others, write them for the harness and decide them by the model."""
    rng = random.Random(seed)
    path, rows = folder / "cases", []
    listed = ((case, True) for case in listed_cases())
    drawn = ((case_of(rng, INTENTS_PER_CASE), rng.random() < 0.5) for _ in range(-(-decisions // INTENTS_PER_CASE)))
    with path.open("wb") as out:
        for (intents, lim, bids, asks), reduce in itertools.chain(listed, drawn):
            out.write(np.array([len(intents), len(bids), len(asks), reduce], dtype=np.int64).tobytes())
            out.write(limits_of(lim).tobytes())
            out.write(np.array([*bids, *asks], dtype=np.int64).tobytes())
            out.write(inputs_of(intents).tobytes())
            rows.append(model_rows(intents, lim, bids, asks, reduce=reduce))
    return Suite(path, np.concatenate(rows))


def mutated(mutant: Mutant) -> str:
    """The header with the fault in it."""
    text = (CSRC / mutant.header).read_text("utf-8")
    count = text.count(mutant.text)
    if count != 1:
        raise RottenError(f"{mutant.name}: its text is in {mutant.header} {count} times, not once")
    return text.replace(mutant.text, mutant.instead)


def compiled(folder: Path, mutant: Mutant | None) -> Path:
    """Compile the harness with the mutant, or with the gates as they are."""
    folder.mkdir()
    for header in CSRC.glob("*.h"):
        shutil.copy(header, folder)
    shutil.copy(HARNESS, folder)
    if mutant is not None:
        (folder / mutant.header).write_text(mutated(mutant), "utf-8")
    program = folder / "judge_rows"
    done = subprocess.run([*COMPILE, "-o", program, HARNESS.name], cwd=folder, capture_output=True, text=True, check=False,
                          timeout=RUN_S_MAX)
    if done.returncode:
        raise RottenError(f"{mutant.name if mutant else 'the gates'}: does not compile: {done.stderr.strip()[-400:]}")
    return program


def noticed(program: Path, suite: Suite) -> str:
    """How the suite tells this program from the model; empty where it does not."""
    out = program.with_suffix(".rows")
    try:
        done = subprocess.run([program, suite.path, out], check=False, timeout=RUN_S_MAX)
    except subprocess.TimeoutExpired:
        return "never ends"
    if done.returncode:
        return f"ends with {done.returncode}"
    rows = np.fromfile(out, dtype=gates.DECISION_DTYPE)
    if len(rows) != len(suite.expected):
        return f"{len(rows)} rows of {len(suite.expected)}"
    found = differences(rows, suite.expected)
    return f"{len(found)} rows differ" if found else ""


def trial(mutant: Mutant | None, suite: Suite, folder: Path) -> str:
    """Compile and run one mutant, and leave nothing behind."""
    place = folder / "mutant"
    try:
        return noticed(compiled(place, mutant), suite)
    finally:
        shutil.rmtree(place, ignore_errors=True)
