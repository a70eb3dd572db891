"""After the start the engine's path takes no memory: not one call of malloc and not one page more, however many frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import needs

REPOSITORY = Path(__file__).resolve().parents[2]
FRAMES = 1_000_000

# The driver is a process of its own: the counter is preloaded, and every object of Python comes from malloc, so that one
# made and freed within a frame is seen as well. `drive` takes arrays for a call by its length: what a call takes with as many
# heartbeats, which reach the scanner alone, is taken off. A snapshot is Python's to follow up, and comes with a subscription.
DRIVER = """
import ctypes, gc, json, sys
from pathlib import Path
from cstd._fast.bench import drive
from cstd.research.bench import Bench, _load_hour
from cstd.signals.agents.loader import load

counter = ctypes.CDLL(None).malloc_calls_of_thread
counter.restype = ctypes.c_uint64
recording, strategy, frames_wanted = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
bench = Bench(recording, load(), 0.4)
core = (bench.engine if strategy == "bench" else bench.idle).core
if strategy == "bench":
    _load_hour(bench.engine, bench._at_ns)
snapshot, *updates = [frame for frame in bench._frames if b'"channel":"book"' in frame]
heartbeats = [b'{"channel":"heartbeat"}'] * len(updates)
at_ns = bench._at_ns
gc.collect()
gc.freeze()
gc.disable()

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1])

def turn(part):
    global at_ns
    before = counter()
    drive(core, part, at_ns, at_ns, 10_000_000)
    calls = counter() - before
    at_ns += 10_000_000 * len(part)
    if strategy == "bench":
        core.reserve_ids()
    return calls

for _ in range(3):
    turn([snapshot]), turn(updates), turn(heartbeats)
many = done = 0
before_kib, before_orders = resident(), core.counter_values()["orders"]
while done < frames_wanted:
    if strategy == "bench" and done % (100 * len(updates)) == 0:
        _load_hour(bench.engine, at_ns)  # or the volume gate refuses once event time has left the first hour behind
    of_a_call = turn(heartbeats)
    turn([snapshot])
    many += turn(updates) - of_a_call
    done += len(updates)
print(json.dumps({"frames": done, "calls": many, "of_a_call": of_a_call, "grown_kib": resident() - before_kib,
                  "orders": core.counter_values()["orders"] - before_orders,
                  "checksums_bad": core.counter_values()["checksums_bad"], "fault": str(core.fault)}))
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The counter of malloc calls, compiled."""
    library = tmp_path_factory.mktemp("malloc") / "malloc_count.so"
    subprocess.run([needs.program("gcc", "cc"), "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library),
                    str(REPOSITORY / "bench/malloc_count.c")], check=True)
    return library


def run(counter: Path, program: str, *args: str) -> dict[str, int]:
    """The JSON that a Python program prints under the counter."""
    done = subprocess.run([sys.executable, "-c", program, *args], cwd=REPOSITORY, capture_output=True, text=True, check=False,
                          env={**os.environ, "LD_PRELOAD": str(counter), "PYTHONMALLOC": "malloc", "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("strategy", ["none", "bench"])
def test_frames_take_no_memory(strategy: str, counter: Path, data_dir: Path) -> None:
    """A million recorded frames, decided on without and with an order each: no call of malloc, and no page
    but for the table of ids, which keeps every order's."""
    found = run(counter, DRIVER, str(data_dir / "recordings/kraken-v2-btcusd-d25-20260802.jsonl.zst"), strategy, str(FRAMES))
    assert found["frames"] >= FRAMES
    assert found["of_a_call"] > 0, "the counter counts nothing"
    assert found["calls"] == 0, found
    # The table of client order ids grows with the orders: eight bytes an id, doubled when it is half full.
    table_kib = 8 * 4 * found["orders"] // 1024
    assert found["grown_kib"] <= table_kib, found
    assert (found["checksums_bad"], found["fault"]) == (0, "None")
    assert (found["orders"] > found["frames"] // 2) == (strategy == "bench")


def test_the_counter_sees_an_object(counter: Path) -> None:
    """One bytes object is one call: the test above could fail."""
    found = run(counter, "import ctypes, json\nc = ctypes.CDLL(None).malloc_calls_of_thread\nc.restype = ctypes.c_uint64\n"
                         "a = c()\na = c()\nb = c()\nheld = bytes(1000)\nd = c()\n"
                         "print(json.dumps({'idle': b - a, 'one': d - b}))")
    assert found["one"] == found["idle"] + 1
