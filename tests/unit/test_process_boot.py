"""A start's epoch is on disk before anything exists that an order could leave by: no power cut gives two orders one id."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import EventKind
from cstd._fast.journal import Journal
from cstd.config import load, template
from cstd.config.credentials import Credentials, Endpoints
from cstd.daemon.process import TradingProcess
from cstd.storage.journal_reader import records
from cstd.storage.run_dir import JOURNAL_DIR


class LinksError(Exception):
    """The start has come to the point from which on an order could leave."""


class WatchedJournal:
    """A journal of which each wait for the disk is looked at, before it waits and when it is done."""

    def __init__(self, journal: Journal, at_sync: Callable[[], None]) -> None:
        self._journal = journal
        self._at_sync = at_sync
        self.synced: list[int] = []     # what was on disk after each

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def sync(self) -> None:
        """Wait for the disk."""
        self._at_sync()
        self._journal.sync()
        self.synced.append(self._journal.stats()["synced_seq"])


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TradingProcess]:
    """A daemon that is about to start, and stops where it would make its links."""
    nowhere = Endpoints(ws_public="ws://127.0.0.1:9", ws_private="ws://127.0.0.1:9", rest="http://127.0.0.1:9",
                        ws_futures="ws://127.0.0.1:9")
    credentials = Credentials(endpoints=nowhere, api_key="a-key-of-nobody", api_secret="YSBzZWNyZXQgb2Ygbm9ib2R5")
    cfg = load([str(template("practice"))], {"CSTD__STATUS__LISTEN": "127.0.0.1:0"})
    found = TradingProcess(cfg, tmp_path, credentials, for_s=None)

    def links() -> None:
        raise LinksError

    monkeypatch.setattr(found, "_make_links", links)
    yield found
    found.host.stop()
    found.board.close()
    found.journal.close()


def may_send(process: TradingProcess) -> bool:
    """Whether an order could leave, or has been encoded."""
    core = process.engine.core
    return (hasattr(process, "_links") or process.engine.state == "ready" or bool(core.live_orders())
            or core.counter_values()["orders"] > 0 or core.intent_seq > 0)


def test_the_epoch_is_on_disk_before_a_link_is_made(process: TradingProcess) -> None:
    """The start is journaled, then synced, and only then sent of or connected: nothing could have left before."""
    seen: list[tuple[int, bool]] = []
    journal = WatchedJournal(process.journal, lambda: seen.append((process.journal.seq, may_send(process))))
    process.journal = journal  # type: ignore[assignment]
    flushed: list[int] = []
    process._flush = lambda: flushed.append(journal.stats()["synced_seq"])  # type: ignore[method-assign]
    with pytest.raises(LinksError):
        asyncio.run(process.main())
    boots = [record.seq for record in records(process.run_dir / JOURNAL_DIR) if record.kind == EventKind.EVENT_BOOT]
    assert boots == [1]
    assert seen and not any(could for _, could in seen)
    assert seen[-1][0] >= boots[-1], "what the start waited for has its epoch in it"
    assert journal.synced[-1] >= boots[-1]
    assert flushed and flushed[0] >= boots[-1], "nothing is sent of a start that is not on disk"


def test_a_start_whose_epoch_the_disk_refuses_makes_no_link(process: TradingProcess) -> None:
    """An error of the disk ends the start: no link, nothing flushed."""
    def refuse() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    process.journal = WatchedJournal(process.journal, refuse)  # type: ignore[assignment]
    flushed: list[bool] = []
    process._flush = lambda: flushed.append(True)  # type: ignore[method-assign]
    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(process.main())
    assert not flushed and not may_send(process)
