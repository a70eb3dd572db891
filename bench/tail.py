"""What each option of `[process]` does to the daemon's tail: options alternately on and off in one run.

    python bench/tail.py [--seconds S] [--rounds N] [--only NAME,...] [-o table|json] [--result FILE]

Each turn starts a practice exchange and a daemon, lets it trade, and takes what its engine counted between two seconds after
*ready* and the end: frame handed over -> order handed to the socket (`sent`), the stages before it, and how late the loop's
ticks came. Turns of all variants follow one another, N times over, so that a host that slows down slows all of them; the
counts of a variant's turns are added. `base` has every option off; each other variant turns on one, `all` all of them.
Quantiles are upper edges of buckets 12.5 % wide; none is given that no observation lies above.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import result
from rig import Rig, host_row, host_times, process_times, quantiles, since

SETTLE_S = 2.0
SHOWN = ("sent", "order", "send", "decision", "frame", "loop_lag")
OFF = {"CSTD__PROCESS__GC": "automatic", "CSTD__PROCESS__LOCK_MEMORY": "false", "CSTD__PROCESS__BUSY_POLL": "false",
       "CSTD__PROCESS__CPUS": "[]"}


def variants() -> dict[str, dict[str, str]]:
    """Name -> environment; pinning wants a second CPU for the rest."""
    cpus = sorted(os.sched_getaffinity(0))
    options = {"gc": {"CSTD__PROCESS__GC": "timer"}, "lock": {"CSTD__PROCESS__LOCK_MEMORY": "true"}}
    if len(cpus) > 1:
        options["pin"] = {"CSTD__PROCESS__CPUS": f"[{cpus[-1]}]"}
        options["poll"] = {"CSTD__PROCESS__BUSY_POLL": "true"}
    everything = {name: value for option in options.values() for name, value in option.items()}
    return {"base": OFF, **{name: OFF | option for name, option in options.items()}, "all": OFF | everything}


def main() -> int:
    parser = argparse.ArgumentParser(description="the options of [process], alternately on and off")
    parser.add_argument("--seconds", type=float, default=30.0, help="of one turn (default 30)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant (default 3)")
    parser.add_argument("--rate", type=float, default=200.0, help="book messages a second and instrument (default 200)")
    parser.add_argument("--only", default="", help="these variants, with base: gc,lock,pin,poll,all")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    result.add_arguments(parser)
    args = parser.parse_args()
    chosen = variants()
    wanted = {"base", *filter(None, args.only.split(","))}
    if unknown := wanted - chosen.keys():
        parser.error(f"no such variant here: {', '.join(sorted(unknown))}; there are {', '.join(chosen)}")
    chosen = {name: env for name, env in chosen.items() if not args.only or name in wanted}
    if args.rounds < 1 or args.seconds <= SETTLE_S:
        parser.error(f"at least one round of more than {SETTLE_S:g} s")
    figures = measure(chosen, args)
    print(json.dumps(figures)) if args.o == "json" else show(figures)
    result.keep(args, "tail", figures)
    return 0


def measure(chosen: dict[str, dict[str, str]], args: argparse.Namespace) -> dict[str, Any]:
    """Run all turns."""
    counts: dict[str, dict[str, np.ndarray]] = {}
    used: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    before = host_times()
    for number in range(args.rounds):
        for name, env in chosen.items():
            sys.stderr.write(f"round {number + 1}/{args.rounds}: {name}\n")
            found, row = turn(env, args.seconds, args.rate)
            used[name].append(row)
            total = counts.setdefault(name, {stage: np.zeros_like(c) for stage, c in found.items()})
            for stage, c in found.items():
                total[stage] += c
    return {
        "variants": {name: {**{stage: quantiles(counts[name][stage]) for stage in SHOWN},
                            **{key: round(float(np.mean([row[key] for row in used[name]])), 3) for key in used[name][0]}}
                     for name in chosen},
        "seconds": args.seconds, "rounds": args.rounds, "rate_per_s": args.rate,
        "host": host_row(before, host_times()),
    }


def turn(env: dict[str, str], seconds: float, rate: float) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """One exchange and one daemon; counts by stage, and what the daemon used a second."""
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder), env=env, exchange=("--rate", str(rate))) as rig:
        rig.start()
        time.sleep(SETTLE_S)
        assert rig.daemon is not None
        pid = rig.daemon.pid
        first, usage = rig.stages(), process_times(pid)
        time.sleep(seconds - SETTLE_S)
        found, later, counters = since(rig.stages(), first), process_times(pid), rig.board("counters")
        rig.stop()
    gone_s = seconds - SETTLE_S
    per_s = {f"{name}_per_s": (later[name] - usage[name]) / gone_s
             for name in ("cpu_s", "minor_faults", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")}
    return found, {**per_s, "gc_collections": counters["gc_collections"], "gc_longest_us": counters["gc_longest_ns"] / 1e3}


def show(figures: dict[str, Any]) -> None:
    """Print one table a stage."""
    columns = ("p50_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns")
    for stage in SHOWN:
        print(f"{stage:10}{'n':>9}" + "".join(f"{column.removesuffix('_ns'):>12}" for column in columns) + "   ns")
        for name, row in figures["variants"].items():
            values = "".join(f"{'-' if row[stage][c] is None else format(row[stage][c], ','):>12}" for c in columns)
            print(f"  {name:8}{row[stage]['n']:>9,}{values}")
    for name, row in figures["variants"].items():
        print(f"{name:8} " + "  ".join(f"{key} {value:g}" for key, value in row.items() if key not in SHOWN))
    print(json.dumps(figures["host"]), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
