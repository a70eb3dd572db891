"""How long an operator waits: a start until *ready*, the verbs of the command line, a kill until the venue shows none.

    python bench/start.py [--rounds N] [--load X] [-o table|json] [--result FILE]     exit 3 when a promise is broken

Each round has a practice exchange and an empty run directory of its own. `start` is from the daemon's exec to *ready*, the first
start being warm too: one that is not counted comes before. `verb` is a whole `cstd VERB` process against the running daemon.
`kill` is from `cstd kill`'s command to the moment at which the daemon has seen that no opening of ours is left, with one resting
when it is given; the daemon looks every 100 ms. The promises: start 1.5 s, verb 0.15 s (medians), kill 1 s (99 of 100).
`--load X` has every instrument's book change X times as often as the busiest one of the recordings.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import result
from rig import REPOSITORY, Rig

from cstd.practice.flow import load_shapes

VERBS = ("status", "positions", "orders", "gates")
VERB_TURNS = 5
# An opening rests until it is canceled: nothing else ends it within a round.
ENV = {"CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "60"}
SETTLED_S = 8.0
LIMITS_S = {"start": 1.5, "verb": 0.15, "kill": 1.0}
RESTS_S = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(description="start to ready, command-line verbs, kill")
    parser.add_argument("--rounds", type=int, default=5, help="starts (default 5)")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    parser.add_argument("--load", type=float, metavar="X", help="book messages, as a multiple of the busiest recording's rate")
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least one")
    if args.load is not None and not args.load > 0:
        parser.error(f"--load {args.load}: above 0")
    exchange = () if args.load is None else ("--rate", f"{args.load * busiest_rate():.1f}")
    rounds = [one_round(exchange) for _ in range(args.rounds + 1)][1:]
    figures = summary(rounds)
    print(json.dumps(figures)) if args.o == "json" else show(figures)
    result.keep(args, "start", figures)
    return 0 if all(row["held"] for row in figures.values()) else 3


def busiest_rate() -> float:
    """Book messages a second of the busiest instrument that was recorded."""
    return max(shape.messages_per_s for shape in load_shapes().values())


def one_round(exchange: tuple[str, ...]) -> dict[str, Any]:
    """One exchange, given these options, and one daemon: seconds of each kind."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Rig(Path(folder), env=ENV, exchange=exchange) as rig:
        rig.start_exchange()
        began_s = time.monotonic()
        rig.start_daemon()
        start_s = time.monotonic() - began_s
        verbs = {verb: [verb_s(verb, folder) for _ in range(VERB_TURNS)] for verb in VERBS}
        # A kill is not proven before what a lost tail of the journal had sent must have arrived.
        time.sleep(max(0.0, began_s + SETTLED_S - time.monotonic()))
        until_s = time.monotonic() + RESTS_S
        while not any(order["state"] == "new" and order["side"] == "buy" for order in rig.request("orders")):
            if time.monotonic() > until_s:
                sys.exit(f"bench/start.py: no order rests within {RESTS_S:g} s:\n{rig.log_tail('daemon')}")
            time.sleep(0.02)
        began_s = time.monotonic()
        rig.request("kill")
        while rig.request("orders"):
            if time.monotonic() > began_s + RESTS_S:
                sys.exit(f"bench/start.py: the kill did not end within {RESTS_S:g} s:\n{rig.log_tail('daemon')}")
            time.sleep(0.005)
        return {"start": start_s, "verbs": verbs, "kill": time.monotonic() - began_s}


def verb_s(verb: str, run_dir: str) -> float:
    """Seconds of one whole command."""
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-m", "cstd", verb, "--run-dir", run_dir, "-o", "json"], check=True, capture_output=True,
                   cwd=REPOSITORY)
    return time.monotonic() - began_s


def summary(rounds: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Median and slowest of each kind, and whether its promise held."""
    kinds = {"start": [row["start"] for row in rounds], "kill": [row["kill"] for row in rounds],
             "verb": [took for row in rounds for times in row["verbs"].values() for took in times]}
    figures = {}
    for kind, times in kinds.items():
        p99_s = sorted(times)[-1 - len(times) // 100]
        judged = p99_s if kind == "kill" else statistics.median(times)
        figures[kind] = {"n": len(times), "p50_s": round(statistics.median(times), 4), "p99_s": round(p99_s, 4),
                         "max_s": round(max(times), 4), "limit_s": LIMITS_S[kind], "held": judged <= LIMITS_S[kind]}
    return figures


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print a table."""
    for kind, row in figures.items():
        times = "   ".join(f"{name} {row[f'{name}_s']:7.3f} s" for name in ("p50", "p99", "max"))
        print(f"{kind:6} {times}   limit {row['limit_s']:5.2f} s   n {row['n']:3}   {'ok' if row['held'] else 'EXCEEDED'}")


if __name__ == "__main__":
    sys.exit(main())
