"""The real daemon under a feed of many instruments: what it takes, how late it is, how long until it is ready.

    python -m bench.scale --instruments 1000 --depth 100 --rate 10000 --seconds 60 --result FILE

Two more processes take part: the practice exchange, for REST and the private socket, and the feeder, which is the public one
(recorded books from the folder that CSTD_DATA names, under other names, with their own checksums). The daemon is `cstd run`
in practice mode with the rehearsal strategy; a depth that no book has keeps it from sending orders for instruments that the
exchange does not know, so every wish is judged by all gates and refused. Figures are read from the board, as the status port
shows them, and from /proc. It fails (exit 3) when a checksum was bad, a book not verified or less than 97 % of the rate
taken (the board is read four times a second, so that a short run cannot tell more exactly).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from bench import result
from bench.scale.feeder import clone_names
from cstd.errors import OperatorError
from cstd.ops.board import BoardReader

PRACTICE_WAIT_S = 30.0
SAMPLE_S = 0.25
QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
ROOT = Path(__file__).resolve().parents[2]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
OVERRIDES = """
[instruments]
names = {names}
audit_interval_s = 86400
depth = {depth}
[policy]
depth_value_min = 1000000000
[status]
listen = "127.0.0.1:0"
"""


class Child:
    """One process of the run, ended with it."""

    def __init__(self, words: list[str], log: Path) -> None:
        with log.open("wb") as file:
            self.process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=file)
        self.log = log

    def line(self) -> dict[str, Any]:
        """Return its next line of output; the end of the log when there is none."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            raise RuntimeError(f"{self.process.args} ended:\n{self.log.read_text()[-2000:]}")
        line: dict[str, Any] = json.loads(text)
        return line

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def usage(self) -> tuple[float, int]:
        """Return (CPU seconds so far, resident bytes)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(fields[21]) * resource.getpagesize()


class Board:
    """The daemon's board, read like the status port does."""

    def __init__(self, path: Path) -> None:
        self._reader = BoardReader(path)

    def value(self, name: str) -> Any:
        """Return a region, {} before it is there."""
        _, payload = self._reader.read(name)
        return orjson.loads(payload or b"{}")


def start(args: argparse.Namespace, run_dir: Path) -> dict[str, Child]:
    """Start exchange, feeder and daemon."""
    children: dict[str, Child] = {}
    exchange_dir = run_dir / "exchange"
    exchange_dir.mkdir()
    children["exchange"] = Child(["cstd", "practice", "--run-dir", str(exchange_dir), "--ports", "0,0,0,0"],
                                 run_dir / "exchange.log")
    children["feeder"] = Child(
        ["bench.scale.feeder", "--data", str(args.data), "--instruments", str(args.instruments), "--depth", str(args.depth),
         "--rate", str(args.rate), "--rows", str(args.rows)], run_dir / "feeder.log")
    told = exchange_dir / "practice.json"
    deadline = time.monotonic() + PRACTICE_WAIT_S
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    place = json.loads(told.read_text()) | children["feeder"].line()
    path = run_dir / "practice.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(place))
    names = json.dumps(clone_names(args.instruments))
    (run_dir / "scale.toml").write_text(OVERRIDES.format(names=names, depth=args.depth))
    children["daemon"] = Child(["cstd", "run", "-c", "config/practice.toml", "-c", str(run_dir / "scale.toml"),
                                "--run-dir", str(run_dir)], run_dir / "daemon.log")
    return children


class Start:
    """How long it took until the daemon answered, was ready, had every book verified, an hour of volume
    of each instrument, and all history of all intervals."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._began = time.monotonic()
        self.times_s: dict[str, float] = {}

    def look(self, board: Board) -> bool:
        """Take one look; True when all is there."""
        rows = board.value("instruments") or []
        found = {
            "board": True,
            "ready": bool((board.value("status") or {}).get("ready")),
            "all_verified": sum(row["state"] == "verified" for row in rows) == self._count,
            "volume_known": sum(row["volume_hour"] is not None for row in rows) == self._count,
            "all_history": "volume_known" in self.times_s and (board.value("counters") or {}).get("subscriptions_waiting") == 0,
        }
        for name, there in found.items():
            if there and name not in self.times_s:
                self.times_s[name] = round(time.monotonic() - self._began, 2)
        return len(self.times_s) == len(found)


def open_board(run_dir: Path, daemon: Child, wait_s: float) -> Board:
    """Return the board once the daemon has made it."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return Board(run_dir / "board")
        except OperatorError:
            if daemon.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon did not start:\n{daemon.log.read_text()[-2000:]}") from None
            time.sleep(0.05)


class Peaks:
    """The worst of what is sampled while the run goes on."""

    def __init__(self) -> None:
        self.loop_lags_ns: list[int] = []
        self.backlogs_bytes: list[int] = []

    def sample(self, board: Board) -> None:
        """Take one sample."""
        counters = board.value("counters")
        self.loop_lags_ns.append(counters.get("loop_lag_ns", 0))  # nothing is there at the very start
        self.backlogs_bytes.append(board.value("status").get("links", {}).get("public", {}).get("backlog_bytes", 0))


def quantiles(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what each stage took between two readings, ns: upper edges of buckets at most 12.5 % wide."""
    edges = after["edges_ns"]
    found = {}
    for stage, histogram in after["stages"].items():
        counts = [b - a for a, b in zip(before["stages"][stage]["counts"], histogram["counts"], strict=True)]
        total = sum(counts)
        if not total:
            continue
        found[stage] = {"n": total}
        for name, fraction in QUANTILES.items():
            below = 0
            for edge, count in zip(edges, counts, strict=True):
                below += count
                if below >= max(1, fraction * total):
                    found[stage][f"{name}_ns"] = edge
                    break
    return found


def spread(values: list[int]) -> dict[str, int]:
    """Return median, 99th percentile and maximum."""
    ordered = sorted(values) or [0]
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100], "max": ordered[-1]}


def watch(board: Board, seconds: float, done: Any) -> Peaks:
    """Sample until `done()` or the time is over."""
    peaks = Peaks()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not done():
        peaks.sample(board)
        time.sleep(SAMPLE_S)
    return peaks


def reading(board: Board, daemon: Child) -> dict[str, Any]:
    """Return everything that is compared between the beginning and the end of the measured time."""
    cpu_s, rss = daemon.usage()
    return {"at_s": time.monotonic(), "cpu_s": cpu_s, "rss": rss, "counters": board.value("counters"),
            "latency": board.value("latency"), "journal": board.value("status")["journal"]["bytes"]}


def measure(args: argparse.Namespace, children: dict[str, Child], run_dir: Path) -> dict[str, Any]:
    """Run and return the report."""
    daemon = children["daemon"]
    begin = Start(args.instruments)
    board = open_board(run_dir, daemon, 60.0)
    starting = watch(board, args.start_s, lambda: begin.look(board))
    if args.settle_s:
        time.sleep(args.settle_s)
    children["feeder"].process.send_signal(signal.SIGUSR1)
    before = reading(board, daemon)
    peaks = watch(board, args.seconds, lambda: daemon.process.poll() is not None)
    after = reading(board, daemon)
    states = [row["state"] for row in board.value("instruments")]
    daemon.stop()
    children["feeder"].stop()
    wall_s = after["at_s"] - before["at_s"]
    rate = {name: round((after["counters"][name] - before["counters"][name]) / wall_s, 1)
            for name in ("frames", "book_updates", "checksums_ok", "batches", "passes", "intents")}
    return {
        "start_s": begin.times_s, "start_loop_lag_ns": spread(starting.loop_lags_ns), "seconds": round(wall_s, 2),
        "per_s": rate, "checksums_bad": after["counters"]["checksums_bad"], "resyncs": after["counters"]["resyncs"],
        "verified": states.count("verified"),
        "cpu_share": round((after["cpu_s"] - before["cpu_s"]) / wall_s, 3), "rss_bytes": after["rss"],
        "rss_growth_bytes": after["rss"] - before["rss"],
        "journal_bytes_per_s": round((after["journal"] - before["journal"]) / wall_s),
        "stages": quantiles(before["latency"], after["latency"]),
        "loop_lag_ns": spread(peaks.loop_lags_ns), "backlog_bytes": spread(peaks.backlogs_bytes),
        "fed": children["feeder"].line(), "ok": False,
    }


def judged(report: dict[str, Any], args: argparse.Namespace) -> bool:
    """Tell whether everything that was sent was taken and proven."""
    return bool(report["checksums_bad"] == 0 and report["verified"] == args.instruments
                and report["per_s"]["checksums_ok"] >= 0.97 * args.rate)


def arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instruments", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=100, choices=(10, 25, 100, 500, 1000))
    parser.add_argument("--rate", type=float, default=10_000.0, help="book frames a second over all instruments")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured time, after the start is over")
    parser.add_argument("--start-s", type=float, default=400.0, help="wait no longer than this for the start")
    parser.add_argument("--settle-s", type=float, default=2.0)
    parser.add_argument("--rows", type=int, default=720, help="bars of history an interval and instrument")
    parser.add_argument("--data", type=Path, default=os.environ.get("CSTD_DATA"), help="folder of the recordings")
    parser.add_argument("--run-dir", type=Path, help="keep everything there; a temporary folder without it")
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.data is None:
        parser.error("--data or CSTD_DATA must name the folder of the recordings")
    return args


def main() -> int:
    """Run once; exit 0 when everything sent was taken and proven, else 3."""
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="cstd-scale-") as temporary:
        run_dir = args.run_dir or Path(temporary)
        run_dir.mkdir(parents=True, exist_ok=True)
        children: dict[str, Child] = {}
        try:
            children = start(args, run_dir)
            report = measure(args, children, run_dir)
        except RuntimeError as error:
            print(f"scale: {error}", file=sys.stderr)
            return 1
        finally:
            for child in reversed(children.values()):
                child.stop()
    report["ok"] = judged(report, args)
    figures = {"instruments": args.instruments, "depth": args.depth, "rate": args.rate, **report}
    print(json.dumps(figures, indent=1))
    result.keep(args, "scale", figures)
    return 0 if report["ok"] else 3


if __name__ == "__main__":
    sys.exit(main())
