"""Everything on at once for as long as is asked: what the tail is under TLS, scrapes, an open page and a syncing journal.

    python bench/soak.py [--for SECONDS] [--rate N] [--page chromium|websocket|none] [--result FILE]

Starts a practice exchange with TLS at its liveliest and a daemon with the shipped configuration (CSTD__… in the environment
changes it), scrapes /metrics every second, keeps the page open, and prints one JSON object at the end. `stages` are the
daemon's own histograms over the run: `sent` is frame handed over -> order handed to the socket. `allocations` are calls of
malloc by the whole daemon, Python's timers and its children's pipes included (needs a C compiler; 0 on the path itself is what
tests/scenario/test_memory.py proves). Exit 3 when a checksum was bad, the daemon was not *ready* at the end, or a scrape failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import result
from rig import Rig, host_row, host_times, process_times, quantiles, since

HERE = Path(__file__).resolve().parent
SAMPLE_S = 1.0
WARM_S = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description="everything on at once; one JSON object at the end")
    parser.add_argument("--for", dest="for_s", type=float, default=3600.0, metavar="S", help="seconds (default 3600)")
    parser.add_argument("--rate", type=float, default=200.0, help="book messages a second and instrument (default 200)")
    parser.add_argument("--page", choices=("chromium", "websocket", "none"), help="default: chromium if it is installed")
    parser.add_argument("--watch", metavar="URL", help=argparse.SUPPRESS)
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.watch:
        asyncio.run(watch(args.watch))
        return 0
    if args.for_s < 10:
        parser.error("--for: at least 10 s")
    page = args.page or ("chromium" if shutil.which("chromium") else "websocket")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        figures = soak(Path(folder), args.for_s, args.rate, page)
    print(json.dumps(figures))
    result.keep(args, "soak", figures)
    return 0 if figures["ok"] else 3


async def watch(url: str) -> None:
    """A websocket client on the page's stream, as a browser would be."""
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as ws:
        async for _message in ws:
            pass


class Samples:
    """What was seen every second; `take` scrapes and looks at each process."""

    def __init__(self, metrics: str, pids: dict[str, int]) -> None:
        self._metrics = metrics
        self._pids = pids
        self.at_s: list[float] = []
        self.rows: list[dict[str, dict[str, float]]] = []
        self.scrapes = self.scrapes_failed = self.scrape_bytes = 0

    def take(self) -> None:
        """One scrape and one look."""
        try:
            with urllib.request.urlopen(self._metrics, timeout=5) as reply:
                body = reply.read()
            self.scrape_bytes = len(body)
            self.scrapes += 1
        except OSError:
            self.scrapes_failed += 1
        self.at_s.append(time.monotonic())
        self.rows.append({name: process_times(pid) for name, pid in self._pids.items()})

    def memory(self) -> dict[str, Any]:
        """The daemon's memory at both ends, and the slope of what is its own (RssAnon), in KiB an hour."""
        at = np.asarray(self.at_s) - self.at_s[0]
        own = np.asarray([row["daemon"]["RssAnon_kib"] for row in self.rows])
        late = at >= at[-1] / 10  # the first tenth fills what grows once
        slope = float(np.polyfit(at[late], own[late], 1)[0]) * 3600 if late.sum() > 2 else None
        keys = ("VmRSS_kib", "RssAnon_kib", "RssShmem_kib", "VmLck_kib")
        return {"start": {key: self.rows[0]["daemon"][key] for key in keys},
                "end": {key: self.rows[-1]["daemon"][key] for key in keys}, "own_slope_kib_per_hour": slope,
                "own_kib": [int(value) for value in own[:: max(1, len(own) // 60)]]}

    def processes(self) -> dict[str, dict[str, float]]:
        """Per process: CPUs used, page faults and involuntary switches a second."""
        gone_s = self.at_s[-1] - self.at_s[0]
        names = {"cpu_s": "cpus", "minor_faults": "minor_faults_per_s", "major_faults": "major_faults_per_s",
                 "nonvoluntary_ctxt_switches": "preempted_per_s"}
        first, last = self.rows[0], self.rows[-1]
        return {process: {shown: round((last[process][key] - first[process][key]) / gone_s, 4) for key, shown in names.items()}
                for process in first}


def soak(run_dir: Path, for_s: float, rate: float, page: str) -> dict[str, Any]:
    """Run it; the figures."""
    counter, daemon_env = counting(run_dir)
    with Rig(run_dir, exchange=("--tls", "--rate", str(rate))) as rig, contextlib.ExitStack() as stack:
        rig.start(daemon_env=daemon_env)
        assert rig.daemon is not None
        assert rig.exchange is not None
        told = json.loads((run_dir / "practice.json").read_bytes())
        address = page_address(run_dir)
        viewer = open_page(page, address, run_dir, stack)
        time.sleep(WARM_S)
        reader = children(rig.daemon.pid)[0]
        samples = Samples(f"{address}/metrics", {"daemon": rig.daemon.pid, "reader": reader, "exchange": rig.exchange.pid})
        begin = look(rig, counter)
        host = host_times()
        until_s = time.monotonic() + for_s
        while (left_s := until_s - time.monotonic()) > 0:
            samples.take()
            time.sleep(min(SAMPLE_S, left_s))
        samples.take()
        end, ready = look(rig, counter), rig.ready()
        host_seen = host_row(host, host_times())
        viewer_lives = viewer is None or viewer.poll() is None
        protocol = spoken(told)
        summary = rig.stop()
    gone_s = end["at_s"] - begin["at_s"]
    counters = {name: end["counters"][name] - begin["counters"][name] for name in (
        "frames", "book_updates", "checksums_bad", "orders", "cancels", "fills", "gc_collections", "passes")}
    stages = {name: quantiles(counts) for name, counts in since(end["stages"], begin["stages"]).items()}
    calls = None if counter is None else {
        "calls": end["mallocs"][0] - begin["mallocs"][0], "bytes": end["mallocs"][1] - begin["mallocs"][1],
        "calls_per_s": round((end["mallocs"][0] - begin["mallocs"][0]) / gone_s, 1)}
    ok = ready and counters["checksums_bad"] == 0 and samples.scrapes_failed == 0 and viewer_lives
    return {
        "ok": ok, "seconds": round(gone_s, 3), "ready_at_end": ready, "tls": protocol,
        "sent": stages["sent"], "stages": stages, **counters, "gc_longest_ns": end["counters"]["gc_longest_ns"],
        "journal_bytes": end["journal"]["bytes"] - begin["journal"]["bytes"],
        "journal_records": end["journal"]["seq"] - begin["journal"]["seq"],
        "memory": samples.memory(), "processes": samples.processes(), "allocations": calls,
        "scrapes": samples.scrapes, "scrapes_failed": samples.scrapes_failed, "scrape_bytes": samples.scrape_bytes,
        "page": page, "page_open_at_end": viewer_lives, "host": host_seen, "rate_per_s": rate, "summary": summary,
    }


def look(rig: Rig, counter: Path | None) -> dict[str, Any]:
    """What has been counted so far."""
    mallocs = [] if counter is None else [int(word) for word in np.fromfile(counter, dtype=np.uint64)]
    return {"at_s": time.monotonic(), "stages": rig.stages(), "counters": rig.board("counters"), "mallocs": mallocs,
            "journal": rig.board("status")["journal"]}


def counting(run_dir: Path) -> tuple[Path | None, dict[str, str]]:
    """The file that the daemon's malloc calls are counted in, and the environment for that; nothing without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None, {}
    library, counter = run_dir / "malloc_count.so", run_dir / "mallocs"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(HERE / "malloc_count.c")], check=True)
    return counter, {"LD_PRELOAD": str(library), "MALLOC_COUNT_FILE": str(counter)}


def page_address(run_dir: Path) -> str:
    """Where the status port listens."""
    path, until_s = run_dir / "reader.json", time.monotonic() + 30
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(path.read_bytes())["page"])
        time.sleep(0.1)
    sys.exit("bench/soak.py: the status port did not come up")


def open_page(page: str, address: str, run_dir: Path, stack: contextlib.ExitStack) -> subprocess.Popen[bytes] | None:
    """Open the page in a browser, or its stream alone; closed with the stack."""
    if page == "none":
        return None
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={run_dir / 'chromium'}",
             "--remote-debugging-port=0", f"{address}/"]
    if page == "websocket":
        words = [sys.executable, __file__, "--watch", f"{address.replace('http', 'ws', 1)}/ws"]
    viewer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(viewer.wait)
    stack.callback(viewer.terminate)
    return viewer


def children(pid: int) -> list[int]:
    """Child processes of a process, the reader being the daemon's only one."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def spoken(told: dict[str, str]) -> str:
    """What the exchange speaks with a client that trusts its authority."""
    import socket

    context = ssl.create_default_context(cafile=told["ca"])
    host, _, port = told["rest"].removeprefix("https://").partition(":")
    with socket.create_connection((host, int(port)), 5) as plain, context.wrap_socket(plain, server_hostname=host) as wrapped:
        return str(wrapped.version())


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
