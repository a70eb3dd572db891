"""What a batch of scores costs, by number of rows: `make score-bench DEVICE=cpu|cuda`.

Fixtures, trained on nothing: a tree ensemble (400 trees, depth up to 7), a small network and a linear member over 64 features, in
the forms that the scorer uses on the device. Each line is one member: what its session runs on, how many nodes of it where, and
the median and the slowest of the timed runs for each number of rows, copies to and from the device included. On `cuda` every
result is compared with the CPU's; more than 1e-6 apart is exit 3. Asked for cuda where there is none: exit 1 with the reason.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import numpy as np

from cstd.errors import EXIT_OK, EXIT_VERIFICATION, CstdError
from cstd.signals.registry.card import Member
from cstd.signals.scorer.gathered import gathered
from cstd.signals.scorer.sessions import EQUAL, MemberSession, open_member
from tests.signals.made import linear, network, trees

FEATURES = 64
ROWS = (1, 8, 64, 256, 1_024, 4_096)
RUNS_MAX, RUNS_MIN, TIMED_S = 200, 20, 2.0
WARM = 5


def members(device: str) -> list[tuple[Member, bytes]]:
    """The fixtures; on the CPU the tree in both forms."""
    random = np.random.default_rng(1)
    tree = trees(1, features=FEATURES, count=400, depth=7)
    found = [(Member("tree", "a.onnx", "", "tree"), tree),
             (Member("network", "b.onnx", "", "network"), network(2, FEATURES, 64)),
             (Member("linear", "c.onnx", "", "linear"), linear(list(random.standard_normal(FEATURES)), 0.1))]
    # Of another kind, so that it is not turned into tensors again.
    return [*found, (Member("tree-tensors", "d.onnx", "", "network"), gathered(tree))] if device == "cpu" else found


def rows(count: int) -> Any:
    """Rows of features."""
    return np.random.default_rng(count).standard_normal((count, FEATURES)).astype(np.float32)


def timed(session: MemberSession, given: Any) -> tuple[float, float]:
    """Return median and slowest in microseconds of RUNS_MAX runs, or of as many as two seconds hold, RUNS_MIN at least."""
    for _ in range(WARM):
        session.probabilities(given)
    took: list[float] = []
    until_s = time.perf_counter() + TIMED_S
    while len(took) < RUNS_MIN or (len(took) < RUNS_MAX and time.perf_counter() < until_s):
        began = time.perf_counter_ns()
        session.probabilities(given)
        took.append((time.perf_counter_ns() - began) / 1_000)
    return statistics.median(took), max(took)


def main() -> int:
    """Print the figures of every member; 0, 1 where the device is not had, 3 where it computes something else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    worst = 0.0
    for member, content in members(args.device):
        try:
            session = open_member(member, content, FEATURES, args.device, args.threads)
            plain = open_member(member, content, FEATURES, "cpu", 1)
        except CstdError as error:
            print(f"{member.name}: {error.message}", file=sys.stderr)
            return error.exit_code
        figures = {}
        for count in ROWS:
            given = rows(count)
            worst = max(worst, float(np.max(np.abs(session.probabilities(given) - plain.probabilities(given)))))
            median_us, slowest_us = timed(session, given)
            figures[count] = {"median_us": round(median_us, 1), "slowest_us": round(slowest_us, 1)}
        print(json.dumps({"member": member.name, "form": session.form, "providers": session.providers,
                          "nodes": session.placement, "threads": args.threads, "rows": figures}))
    print(json.dumps({"furthest_from_cpu": worst, "allowed": EQUAL}))
    return EXIT_OK if worst <= EQUAL else EXIT_VERIFICATION


if __name__ == "__main__":
    sys.exit(main())
