"""`make digests`: a journal replayed by several processes gives one digest, with FMA hidden too, and a difference is located."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cstd._fast.codes import EventKind
from cstd.signals.agents.loader import load
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records
from tests import needs
from tests.scenario.engine_world import World

SEGMENT = 1 << 24


@pytest.fixture
def digests(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module bench/digests.py."""
    monkeypatch.syspath_prepend(str(repository / "bench"))
    import digests

    return digests


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A session with agents, fills, faults and a second start: its journal, and its own digest."""
    path = tmp_path_factory.mktemp("digests") / "journal"
    with open_journal(path, path.with_suffix(".ring"), ring_bytes=SEGMENT, segment_bytes=SEGMENT, sync_interval_ms=20) as journal:
        world = World(strategy=None, journal=journal, agents=load()).ready()
        order = world.first_order()
        world.reply(order)
        world.fill(order, order["qty_raw"], "T1")
        world.public(b"not json", world.books["BTC/USD"].frame("update", [(999_000, 1)], [], world.now_ns, checksum=1))
        world.run(8)
        world.boot(epoch=2)
        for _ in range(8):
            world.tick()
            world.step()
        world.sound()
        journal.sync()
    return path, world.recorder.hexdigest()


def changed(path: Path, into: Path) -> tuple[Path, int]:
    """The journal with one byte of one decision changed, whole in itself; and the record."""
    target = next(record.seq for record in records(path) if record.kind == EventKind.OUT_DECISION)
    with open_journal(into, into.with_suffix(".ring"), ring_bytes=SEGMENT, segment_bytes=SEGMENT, sync_interval_ms=20) as journal:
        for record in records(path):
            data = bytes(record.payload)
            journal.append_py(record.kind, record.tag, record.mono_ns, record.wall_ns,
                              bytes([data[0] ^ 1]) + data[1:] if record.seq == target else data)
        journal.sync()
    return into, target


def test_one_digest_with_and_without_fma(digests: ModuleType, traded: tuple[Path, str]) -> None:
    """Three replays by processes of their own, one of them with FMA and AVX hidden, are what traded."""
    path, digest = traded
    figures = digests.compared(path, 3, ["release", "masked"], {"digest": digest})
    assert figures["one"] and figures["digests"] == {digest: 3} and not figures["failed"], figures
    assert {name: row["n"] for name, row in figures["variants"].items()} == {"release": 2, "masked": 1}
    other = digests.compared(path, 1, ["release"], {"digest": "00" * 32})
    assert not other["one"] and not other["agree"], "another digest than the daemon's own is no agreement"
    assert digests.compared(path, 3, ["masked"], None)["replays"] == 3, "one that was asked for alone is replayed as often"


def test_the_mask_hides_fma_from_the_c_library(digests: ModuleType) -> None:
    """Its loader no longer offers what needs FMA and AVX2."""
    loader = needs.file(digests.LOADER, "the loader of glibc on x86-64")
    told = subprocess.run([loader, "--help"], env=os.environ | digests.masks(), capture_output=True, text=True, check=True).stdout
    assert "x86-64-v3\n" in told and "x86-64-v3 (supported" not in told


def test_where_they_part_is_told(digests: ModuleType, traded: tuple[Path, str], tmp_path: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    """An output that is not made again is named by its record."""
    path, target = changed(traded[0], tmp_path / "changed")
    figures = digests.compared(path, 1, ["release"], None)
    assert not figures["one"] and figures["parted"][0]["differences"] == 1
    digests.show(figures)
    assert f"the first: record {target}: output of kind" in capsys.readouterr().out


def test_a_variant_that_cannot_run_is_said(digests: ModuleType, traded: tuple[Path, str], monkeypatch: pytest.MonkeyPatch,
                                           tmp_path: Path) -> None:
    """Without qemu it is left out with the reason; a replay that ends by itself is a failure, no agreement."""
    monkeypatch.delenv("QEMU_X86_64", raising=False)
    monkeypatch.setattr(digests.shutil, "which", lambda _name: None)
    (told,) = list(digests.variants(["emulated"]))
    assert "qemu-x86_64 is not here" in told
    row: dict[str, Any] = digests.replay(tmp_path / "none", digests.Variant("release"))
    assert "exit code" in row["failed"]
    monkeypatch.setattr(digests, "REPLAY_S", 0.01)
    figures = digests.compared(traded[0], 1, ["release"], {"digest": traded[1]})
    assert "timed out" in figures["failed"][0] and figures["agree"] and not figures["one"]
