"""How long an operator waits: a start until *ready*, the verbs of the command line, a kill until the venue shows none.

    python bench/start.py [--rounds N] [--kills N] [--load X] [-o table|json] [--result FILE]     exit 3 when a promise is broken

Each round has a practice exchange and an empty run directory of its own. `start` is from the daemon's exec to *ready*, the first
start being warm too: one that is not counted comes before. `verb` is a whole `cstd VERB` process against the running daemon.
The kills follow one another in a session of their own, each with an opening of ours that rests at the exchange when it is given,
then cleared; bench/no_grace.py takes out the minute without sending that follows a clear. From the kill's command on, `kill` is
until the exchange itself has no opening of ours open, `proven` until the daemon says that the venue has shown it none; both are
looked at every few milliseconds. They come so fast that the rate counter of the key is never far from full. The promises: start
1.5 s, verb 0.15 s (medians), kill and proven 1 s (99 of 100).
`--load X` has every instrument's book change X times as often as the busiest one of the recordings.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import result
from rig import REPOSITORY, Rig

from cstd.ops.client import AdminClient
from cstd.practice.flow import load_shapes

VERBS = ("status", "positions", "orders", "gates")
VERB_TURNS = 5
# An opening rests until it is canceled: nothing else ends it within a round.
ENV = {"CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "60"}
NO_GRACE = (str(REPOSITORY / "bench" / "no_grace.py"),)
# A kill is not proven before what a lost tail of the journal had sent must have arrived.
SETTLED_S = 8.0
LIMITS_S = {"start": 1.5, "verb": 0.15, "kill": 1.0, "proven": 1.0}
RESTS_S = 20.0
LOOK_S = 0.004
# Between kills: longer than a point of the counter takes to decay, and never in step with the daemon's tenth of a second.
PAUSE_S, PAUSE_STEP_S = 1.2, 0.037
PAUSE_STEPS = 27
CONNECTION_REQUESTS = 40  # the daemon holds back who asks more than a hundred times at once on one connection


def main() -> int:
    parser = argparse.ArgumentParser(description="start to ready, command-line verbs, kill")
    parser.add_argument("--rounds", type=int, default=5, help="starts (default 5)")
    parser.add_argument("--kills", type=int, default=20, help="kills (default 20; a p99 takes 100)")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    parser.add_argument("--load", type=float, metavar="X", help="book messages, as a multiple of the busiest recording's rate")
    result.add_arguments(parser)
    args = parser.parse_args()
    for name in ("rounds", "kills"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} {getattr(args, name)}: at least one")
    if args.load is not None and not args.load > 0:
        parser.error(f"--load {args.load}: above 0")
    exchange = () if args.load is None else ("--rate", f"{args.load * busiest_rate():.1f}")
    rounds = [one_round(exchange) for _ in range(args.rounds + 1)][1:]
    figures = summary(rounds, kills(exchange, args.kills))
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
        return {"start": start_s, "verbs": {verb: [verb_s(verb, folder) for _ in range(VERB_TURNS)] for verb in VERBS}}


def kills(exchange: tuple[str, ...], count: int) -> list[dict[str, float]]:
    """Seconds of each kill of one session, by kind."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, \
            Rig(Path(folder), env=ENV, exchange=exchange, daemon=NO_GRACE) as rig:
        rig.start()
        time.sleep(SETTLED_S)
        truth = Truth(rig)
        rows = []
        for number in range(count):
            wait(rig, truth.rests, RESTS_S, "no opening rests")
            rows.append(one_kill(rig, truth))
            rig.request("kill_clear", confirm=rig.request("kill_clear")["confirm"])
            time.sleep(PAUSE_S + PAUSE_STEP_S * (number % PAUSE_STEPS))
        return rows


def one_kill(rig: Rig, truth: Truth) -> dict[str, float]:
    """Kill, and watch the exchange and the daemon until both agree that nothing of ours is open."""
    took: dict[str, float] = {}
    with AdminClient(rig.run_dir / "cstd.sock", timeout_s=5.0) as client:
        began_s = time.monotonic()
        client.request("kill")
    while len(took) < 2:
        with AdminClient(rig.run_dir / "cstd.sock", timeout_s=5.0) as client:
            for _ in range(CONNECTION_REQUESTS):
                if "kill" not in took and not truth.openings():
                    took["kill"] = time.monotonic() - began_s
                if "proven" not in took and client.request("status")["kill_shown_empty_ns"] is not None:
                    took["proven"] = time.monotonic() - began_s
                if len(took) == 2:
                    break
                if time.monotonic() > began_s + RESTS_S:
                    sys.exit(f"bench/start.py: the kill did not end within {RESTS_S:g} s:\n{rig.log_tail('daemon')}")
                time.sleep(LOOK_S)
    return took


class Truth:
    """The exchange's own word on the account's open orders, asked over its operator's side."""

    def __init__(self, rig: Rig) -> None:
        told = json.loads((rig.run_dir / "practice.json").read_bytes())
        self._headers = {"API-Key": told["api_key"]}
        rest = urlsplit(told["rest"])
        self._path = f"{rest.path}/practice/open"
        self._connection = http.client.HTTPConnection(rest.hostname or "", rest.port, timeout=5)

    def openings(self) -> list[str]:
        """Status of each opening that is open there now."""
        self._connection.request("POST", self._path, b"{}", self._headers)
        orders = json.loads(self._connection.getresponse().read())["result"]
        return [status for side, status in orders.values() if side == "buy"]

    def rests(self) -> bool:
        """Whether an opening is in the book there."""
        return "new" in self.openings()


def wait(rig: Rig, condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    """Look until a condition holds; the bench ends where it never does."""
    until_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until_s:
            sys.exit(f"bench/start.py: {otherwise} within {timeout_s:g} s:\n{rig.log_tail('daemon')}")
        time.sleep(0.02)


def verb_s(verb: str, run_dir: str) -> float:
    """Seconds of one whole command."""
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-m", "cstd", verb, "--run-dir", run_dir, "-o", "json"], check=True, capture_output=True,
                   cwd=REPOSITORY)
    return time.monotonic() - began_s


def summary(rounds: list[dict[str, Any]], killed: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Median and slowest of each kind, and whether its promise held."""
    kinds = {"start": [row["start"] for row in rounds], "kill": [row["kill"] for row in killed],
             "proven": [row["proven"] for row in killed],
             "verb": [took for row in rounds for times in row["verbs"].values() for took in times]}
    figures = {}
    for kind, times in kinds.items():
        p99_s = sorted(times)[-1 - len(times) // 100]
        judged = p99_s if kind in ("kill", "proven") else statistics.median(times)
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
