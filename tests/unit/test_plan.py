"""`cstd config check` plans the memory that the engine really takes, and the disk that the journal really needs."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from cstd._fast.journal import RECORD_HEADER_BYTES
from cstd._fast.sizes import correlation_bytes, engine_bytes, slot_bytes
from cstd.cli.plan import journal_plan, memory_plan, memory_problems, plan_lines, record_bytes
from cstd.config import Config, load

COUNT, DEPTH = 400, 100
# A process of its own: what it maps before and after the instruments are added, in bytes.
GROWTH = f"""
from pathlib import Path
from cstd._fast.core import Core
from cstd._fast.recorder import Recorder
from cstd.orders.lifecycle import TABLE
def mapped():
    return 1024 * int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines()
                           if line.startswith("VmData")))
core = Core(Recorder(), TABLE, None)
for number in range({COUNT} + 100):
    if number == 100:
        before = mapped()  # what the imports had freed is used up
    core.add_slot(b"C%04d/USD" % number, {DEPTH})
print(mapped() - before)
"""


@pytest.fixture
def cfg(repository: Path) -> Config:
    """The shipped practice configuration with many instruments."""
    names = json.dumps([f"C{number:04d}/USD" for number in range(COUNT)])
    return load([str(repository / "config/practice.toml")], {},
                [f"instruments.names={names}", f"instruments.depth={DEPTH}", "instruments.audit_interval_s=3600"])


def test_instruments_take_what_is_planned(repository: Path) -> None:
    """What the process maps for 400 instruments is the plan's sum within 0.5 % below and 3 % above.

    Mapped and not resident: pages that are not touched yet are not resident. The tolerance is malloc's: a header of 16 bytes
    and rounding for each of seven blocks an instrument, whole pages for the larger ones (a book's side is a block of 100 kB:
    up to 4 kB of it), and at most the 132 kB by which the heap grows ahead.
    """
    done = subprocess.run([sys.executable, "-c", GROWTH], cwd=repository, capture_output=True, text=True, check=True,
                          timeout=60)
    planned = COUNT * sum(slot_bytes(DEPTH).values())
    assert planned * 0.995 <= int(done.stdout) <= planned * 1.03


def test_parts_grow_with_instruments_and_depth(cfg: Config) -> None:
    """The parts of an instrument are in the plan as often as it is configured, and a deeper book is larger."""
    plan = memory_plan(cfg)
    for name, size in slot_bytes(DEPTH).items():
        assert plan[name] == COUNT * size > 0
    assert slot_bytes(1000)["books"] > slot_bytes(100)["books"] > slot_bytes(10)["books"]
    assert plan["journal ring"] == cfg.journal.ring_bytes
    engine = sum(slot_bytes(DEPTH).values()) * COUNT + sum(engine_bytes().values()) + correlation_bytes(COUNT, True)
    assert plan["projector (an engine of its own)"] == engine


def test_pairs_of_instruments_are_planned(cfg: Config, repository: Path) -> None:
    """What grows with the square of the instruments is in the plan where it is measured, and is what the process maps."""
    assert memory_plan(cfg)["correlations"] == correlation_bytes(COUNT, True)
    off = msgspec.structs.replace(cfg, risk=msgspec.structs.replace(cfg.risk, correlation_min=Decimal(0)))
    assert memory_plan(off)["correlations"] == correlation_bytes(COUNT, False)
    turned_on = GROWTH.replace("print(", "before = mapped()\ncore.set_correlations(0.7, 0.6, 288, 144, 12, 32)\nprint(")
    done = subprocess.run([sys.executable, "-c", turned_on], cwd=repository, capture_output=True, text=True, check=True,
                          timeout=60)
    planned = correlation_bytes(COUNT + 100, True) - correlation_bytes(COUNT + 100, False)
    assert planned * 0.9 <= int(done.stdout) <= planned * 1.1


def test_a_host_that_is_too_small_is_an_error(cfg: Config) -> None:
    """One byte less than the plan is a problem that says both numbers; as much as the plan is none."""
    total = sum(memory_plan(cfg).values())
    [problem] = memory_problems(cfg, total // 2)
    assert problem.key == "instruments.names"
    assert f"{total // 2:,}" in problem.line()
    assert memory_problems(cfg, total * 2) == []


def test_more_than_half_of_the_host_is_warned_of(cfg: Config) -> None:
    """The warning appears above half of the host's memory and not below it."""
    total = sum(memory_plan(cfg).values())
    assert any("warning" in line for line in plan_lines(cfg, None, int(total * 1.5)))
    assert not any("warning" in line for line in plan_lines(cfg, None, int(total * 2.5)))


def test_disk_follows_from_the_rate(cfg: Config) -> None:
    """A given rate replaces the estimate, the plan says which it was, and a day's bytes are records times seconds."""
    estimated, given = journal_plan(cfg, None), journal_plan(cfg, 10_000)
    assert "estimate" in estimated["rate_from"]
    assert given["rate_from"] == "--frames-per-s"
    assert given["frames_per_s"] == 10_000
    one = (journal_plan(cfg, 10_001)["bytes_per_day_about"] - given["bytes_per_day_about"]) / 86_400
    assert one == pytest.approx(record_bytes(given["frame_bytes_mean"]) + RECORD_HEADER_BYTES, abs=1)
    left = max(0, given["bytes_free"] - cfg.journal.disk_free_bytes_min)
    assert given["days_until_halt"] == pytest.approx(left / given["bytes_per_day_about"], abs=0.1)


def test_check_prints_the_plan(repository: Path) -> None:
    """The command has the plan in both outputs."""
    words = [sys.executable, "-m", "cstd", "config", "check", "-c", "config/practice.toml"]
    text = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "books" in text
    assert "frames/s" in text
    told = json.loads(subprocess.run([*words, "-o", "json", "--frames-per-s", "500"], cwd=repository, capture_output=True,
                                     text=True, check=True, timeout=60).stdout)
    assert told["memory"]["books"] > 0
    assert told["journal"]["frames_per_s"] == 500
