"""Decisions of the compiled gates beside those of the model: the same row, field by field, or the campaign fails.

    python -m tests.proof.campaign --decisions 10000000 [--seed 1] [--jobs 2]

A case is drawn from its own number and the seed, so a failure is drawn again from what is printed. Exit 1 when a row differed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

from cstd._fast.codes import Verdict
from tests.proof.cases import case_of
from tests.proof.gates_model import GATES
from tests.proof.rows import differences, kernel_rows, model_rows

INTENTS_PER_CASE = 25
CASES_PER_TASK = 40
PROGRESS_S = 5.0


def drawn(seed: int, number: int) -> tuple[list[dict], dict, list, list, bool]:
    """One case of the campaign: intents, limits, bids, asks, and whether a reduction is judged again."""
    rng = random.Random(f"{seed}:{number}")
    return *case_of(rng, INTENTS_PER_CASE), rng.random() < 0.7


def compare(seed: int, number: int) -> tuple[list[str], Counter]:
    """What differs in one case, as lines; and what was decided, to show that the cases reach everywhere."""
    intents, lim, bids, asks, reduce = drawn(seed, number)
    rows = kernel_rows(intents, lim, bids, asks, reduce=reduce)
    expected = model_rows(intents, lim, bids, asks, reduce=reduce)
    found = [
        f"seed {seed} case {number} intent {index}: " + ", ".join(
            f"{name} kernel {rows[name][index]} model {expected[name][index]}" for name in names)
        for index, names in differences(rows, expected).items()]
    reached = Counter(Verdict(int(verdict)).name.lower() for verdict in rows["verdict"])
    for gate, column in zip(GATES, rows["reason"].T, strict=True):
        reached.update((gate, int(why)) for why in column)
    return found, reached


def task(at: tuple[int, int, int]) -> tuple[list[str], Counter]:
    """Some cases in a row."""
    seed, start, stop = at
    found: list[str] = []
    reached: Counter = Counter()
    for number in range(start, stop):
        lines, counts = compare(seed, number)
        found += lines
        reached += counts
    return found, reached


def played(seed: int, cases: int, jobs: int) -> Iterator[tuple[list[str], Counter]]:
    """Yield the outcome of each task."""
    tasks = ((seed, start, min(start + CASES_PER_TASK, cases)) for start in range(0, cases, CASES_PER_TASK))
    if jobs == 1:
        yield from map(task, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(task, tasks)


def campaign(seed: int, decisions: int, jobs: int) -> int:
    """Play it; the number of rows that differed."""
    cases = -(-decisions // INTENTS_PER_CASE)
    began = shown = time.monotonic()
    done = failures = 0
    reached: Counter = Counter()
    for found, counts in played(seed, cases, jobs):
        done += sum(counts[verdict.name.lower()] for verdict in Verdict)
        reached += counts
        failures += len(found)
        for line in found[:10]:
            print(line, file=sys.stderr)
        if time.monotonic() - shown > PROGRESS_S:
            shown = time.monotonic()
            print(f"{done} of {decisions} decisions, {done / (shown - began):.0f} a second, {failures} differ", file=sys.stderr)
    verdicts = {verdict.name.lower(): reached[verdict.name.lower()] for verdict in Verdict}
    reasons = sum(1 for key in reached if isinstance(key, tuple) and key[1])
    print(f"seed {seed}: {done} decisions, {failures} differ; {verdicts}; {reasons} ways for a gate to fail")
    return failures


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.campaign", description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    if args.decisions < 1 or args.jobs < 1:
        parser.error("--decisions and --jobs are at least 1")
    return 1 if campaign(args.seed, args.decisions, args.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
