"""How long `cstd why` takes: a process of its own each time, on the ledger of a day's journal, and from a running daemon.

    python bench/why.py [--decisions N] [--rounds N] [-o table|json] [--result FILE]     exit 3 above 0.15 s

The ledger has N decisions over 24 hours (default 200,000, more than two a second), each judged by the gates as they are: one
in three is approved, the others are refused by one gate or another. No daemon runs beside it, so that `id`, `order` (a client
order id) and `since` (`--since 1d`, all of them) are read from the file; `last` is a daemon's own, of the practice exchange.
`interpreter` is what a Python that does nothing takes on this host in the same minute, `cpu` the processor time that a process
had: on a host that does something else, the time is the host's. The promise, 0.15 s, is of the medians of the time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import result
from rig import REPOSITORY, Rig

from cstd._fast import gates
from cstd._fast.codes import EventKind
from cstd.projector.database import LedgerDatabase, Row
from cstd.projector.rows import decision_rows
from cstd.storage.journal_files import Head
from cstd.storage.run_dir import DATABASE_FILE
from cstd.venue.messages import InstrumentSpec

sys.path.insert(0, str(REPOSITORY))
from tests.kernels.gate_case import limits, limits_record, opening

LIMIT_S = 0.15
DAY_NS = 86_400_000_000_000
BATCH = 10_000
Took = tuple[float, float]  # seconds, and of them on the processor
JOURNAL_ID = bytes(16)
NAME = "BTC/USD"
SPEC = InstrumentSpec(name=NAME, base="BTC", quote="USD", status="online", price_precision=1, qty_precision=8,
                      price_increment_raw=1, qty_increment_raw=1, qty_min_raw=5_000, cost_precision=5, cost_min=Decimal("0.5"))
# What the gates do not let pass: a stale quote, no volume.
SPOILT: tuple[dict[str, Any], ...] = ({}, {"evidence_age_ns": 10**12}, {"volume_hour_acct_raw": 0})


def main() -> int:
    parser = argparse.ArgumentParser(description="cstd why on a day's decisions")
    parser.add_argument("--decisions", type=int, default=200_000, metavar="N", help="in the day (default 200,000)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="of each question (default 15)")
    parser.add_argument("--without-daemon", action="store_true", help="leave `last` out")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    result.add_arguments(parser)
    args = parser.parse_args()
    if min(args.decisions, args.rounds) < 1:
        parser.error("at least one decision and one round")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run_dir = Path(folder) / "day"
        size = write_day(run_dir, args.decisions)
        times = asked_of_file(run_dir, args.decisions, args.rounds)
        if not args.without_daemon:
            times["last"] = asked_of_daemon(Path(folder), args.rounds)
    figures = {"decisions": args.decisions, "ledger_bytes": size, "limit_s": LIMIT_S,
               "questions": {name: summary(took, promised=name != "interpreter") for name, took in times.items()}}
    print(json.dumps(figures)) if args.o == "json" else show(figures)
    result.keep(args, "why", figures)
    return 0 if all(row.get("held", True) for row in figures["questions"].values()) else 3


def write_day(run_dir: Path, decisions: int) -> int:
    """Write the ledger of a day by the projector's own rows; returns its bytes."""
    (run_dir / "journal").mkdir(parents=True)
    database = LedgerDatabase(run_dir / DATABASE_FILE)
    rows = day_rows(decisions)
    now_ns = time.time_ns()
    written: list[Row] = [Row("boots", (1, now_ns - DAY_NS, 1, "practice", "0", "0" * 64, "", json.dumps(
        {"instruments": {"names": [NAME]}})))]
    for number, made in enumerate(rows(now_ns), 1):
        written += made
        if len(written) >= BATCH or number == decisions:
            database.write(written, Head(1, 1, 1, 2 * number + 1, JOURNAL_ID, bytes(32)))
            written.clear()
    database.close()
    return (run_dir / DATABASE_FILE).stat().st_size


def day_rows(decisions: int) -> Any:
    """Return a function of the time that yields the rows of each decision; every third is approved."""
    bids, asks = ([(touch - side * n, 50_000_000) for n in range(25)] for touch, side in ((1_000_000, 1), (1_000_001, -1)))
    inputs = np.array([gates.gate_input(**opening(**spoilt)) for spoilt in SPOILT])
    judged = gates.evaluate_rows(inputs, limits_record(limits()), bids, asks)
    engine = SimpleNamespace(cfg=None, names=[NAME], feed=SimpleNamespace(specs={NAME: SPEC}),
                             ensemble=SimpleNamespace(signal=lambda *_: None))

    def rows(now_ns: int) -> Iterator[tuple[Row, Row]]:
        for number in range(decisions):
            row = judged[number % len(SPOILT)].copy()
            row["intent_seq"], row["event_seq"] = number + 1, 2 * number + 2
            row["decided_wall_ns"] = now_ns - DAY_NS + DAY_NS * number // decisions
            row["cl_ord_id"] = order_id(number + 1).encode()
            record = SimpleNamespace(seq=2 * number + 3, kind=EventKind.OUT_DECISION, payload=row.tobytes())
            yield decision_rows(record, engine)[0]  # type: ignore[arg-type] -- what it reads of a record and of an engine
    return rows


def order_id(intent_seq: int) -> str:
    """Return a client order id, as long as ours are."""
    return "ct" + hashlib.sha256(str(intent_seq).encode()).hexdigest()[:16]


def asked_of_file(run_dir: Path, decisions: int, rounds: int) -> dict[str, list[Took]]:
    """Return seconds of each question, drawn anew each time, by its name."""
    chance = random.Random(1)
    times: dict[str, list[Took]] = {"interpreter": [], "id": [], "order": [], "since": []}
    for _ in range(rounds):
        intent_seq = chance.randint(1, decisions)
        times["interpreter"].append(seconds([sys.executable, "-c", "pass"]))
        times["id"].append(why(run_dir, str(intent_seq), says=f'"intent_seq":{intent_seq},'))
        times["order"].append(why(run_dir, order_id(intent_seq), says=f'"intent_seq":{intent_seq},'))
        times["since"].append(why(run_dir, "--since", "1d", says='"decided":'))
    return times


def asked_of_daemon(folder: Path, rounds: int) -> list[Took]:
    """Return seconds of `why --last` beside a daemon that trades."""
    with Rig(folder) as rig:
        rig.start()
        until_s = time.monotonic() + 60
        while not rig.request("counters")["intents"]:
            if time.monotonic() > until_s:
                sys.exit(f"bench/why.py: nothing was decided within a minute:\n{rig.log_tail('daemon')}")
            time.sleep(0.1)
        return [why(folder, "--last", says='"intent_seq":') for _ in range(rounds)]


def why(run_dir: Path, *words: str, says: str) -> Took:
    """Return what took one whole command, whose answer must have a text in it."""
    return seconds([sys.executable, "-m", "cstd", "why", *words, "--run-dir", str(run_dir), "-o", "json"], says)


def seconds(command: list[str], says: str = "") -> Took:
    """Return how long a process took from its start to its end, and of the processor."""
    before, began_s = os.times(), time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY)
    took_s, after = time.monotonic() - began_s, os.times()
    if done.returncode or says not in done.stdout:
        sys.exit(f"bench/why.py: {' '.join(command)}: exit code {done.returncode}: {done.stderr or done.stdout[:300]}")
    return took_s, after.children_user + after.children_system - before.children_user - before.children_system


def summary(times: list[Took], *, promised: bool) -> dict[str, Any]:
    """Median and slowest, and whether the promise held where there is one."""
    median_s, cpu_s = (statistics.median(column) for column in zip(*times, strict=True))
    row = {"n": len(times), "p50_s": round(median_s, 4), "max_s": round(max(times)[0], 4), "cpu_p50_s": round(cpu_s, 4)}
    return row | ({"held": median_s <= LIMIT_S} if promised else {})


def show(figures: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{figures['decisions']:,} decisions in a day, ledger of {figures['ledger_bytes'] / 1e6:.0f} MB; limit "
          f"{figures['limit_s']:.2f} s")
    for question, row in figures["questions"].items():
        held = "" if "held" not in row else "ok" if row["held"] else "EXCEEDED"
        shown = (("p50", "p50_s"), ("max", "max_s"), ("cpu", "cpu_p50_s"))
        times = "   ".join(f"{name} {row[key]:6.3f} s" for name, key in shown)
        print(f"{question:12} {times}   n {row['n']:3}   {held}")


if __name__ == "__main__":
    sys.exit(main())
