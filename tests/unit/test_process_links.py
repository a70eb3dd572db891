"""What the trading process does with a link that the peer does not read, or that has stopped reading."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from cstd.daemon.process import STALL_NS_MAX, TradingProcess

NOW_NS = 50 * STALL_NS_MAX


@pytest.mark.parametrize(("stalled_for_ns", "closed"), [(None, 0), (STALL_NS_MAX, 0), (STALL_NS_MAX + 1, 1)])
def test_a_connection_whose_peer_reads_nothing_is_given_up(stalled_for_ns: int | None, closed: int) -> None:
    """Not at ten seconds, just after them; a link that is not stalled is left alone, and so is the other one."""
    reasons: list[str] = []
    process = TradingProcess.__new__(TradingProcess)
    process.clock = SimpleNamespace(mono_ns=lambda: NOW_NS)
    since_ns = 0 if stalled_for_ns is None else NOW_NS - stalled_for_ns
    process._links = {0: SimpleNamespace(stalled_since_ns=0), 1: SimpleNamespace(stalled_since_ns=since_ns)}
    process._connectors = {1: SimpleNamespace(close=reasons.append)}
    process._check_stalls()
    assert len(reasons) == closed
    assert all("10 s" in reason for reason in reasons)


def test_reading_is_tried_again_until_it_goes_on() -> None:
    """A link that cannot read yet is asked again shortly after, and no more once it reads."""
    answers = [False, False, True]
    asked: list[bool] = []

    def resume() -> bool:
        asked.append(answers[len(asked)])
        return asked[-1]

    async def scenario() -> None:
        process = TradingProcess.__new__(TradingProcess)
        process._resume_reading(SimpleNamespace(resume_reading=resume))
        await asyncio.sleep(0.1)

    asyncio.run(scenario())
    assert asked == answers
