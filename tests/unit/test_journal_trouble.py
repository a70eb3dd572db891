"""When the journal stops trading: a disk that does not keep up, not a process that was stopped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cstd.daemon.process import TradingProcess

S = 1_000_000_000


def process(*, lag_s: float, ran_s: float, writer_error: int = 0, free: int = 100) -> Any:
    """What the check reads: limits of 5 s and 50 bytes free, a journal whose oldest byte waits for `lag_s`."""
    limits = SimpleNamespace(sync_lag_ms_max=5_000, disk_free_bytes_min=50)
    stats = {"sync_lag_ns": int(lag_s * S), "writer_error": writer_error}
    return SimpleNamespace(cfg=SimpleNamespace(journal=limits), journal=SimpleNamespace(stats=lambda: stats),
                           clock=SimpleNamespace(mono_ns=lambda: 1_000 * S), _running_since_ns=int((1_000 - ran_s) * S),
                           _disk_free_bytes=free, _port=SimpleNamespace(not_durable=lambda: False))


@pytest.mark.parametrize(("lag_s", "ran_s", "trouble"), [
    (5.0, 600, False), (5.1, 600, True),
    (20.6, 0.0, False), (20.6, 4.9, False),  # stopped for 20 s: the writer was, too, and catches up
    (25.7, 5.1, True),                       # it did not catch up
])
def test_the_disk_is_charged_with_the_time_in_which_the_process_ran(lag_s: float, ran_s: float, trouble: bool) -> None:
    """SIGSTOP longer than the limit is no fault of the disk; a disk that stays behind afterwards is."""
    reason = TradingProcess._journal_trouble(process(lag_s=lag_s, ran_s=ran_s))
    assert (reason is not None) is trouble
    assert reason is None or "not on disk for" in reason


def test_an_error_and_a_full_disk_are_trouble_at_once() -> None:
    """Whenever the process began to run."""
    assert "errno 5" in str(TradingProcess._journal_trouble(process(lag_s=0, ran_s=0, writer_error=5)))
    assert "bytes are free" in str(TradingProcess._journal_trouble(process(lag_s=0, ran_s=0, free=49)))
