"""The futures feed's socket, asked for by [futures]: its link, its connector, and the pings that keep it open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cstd._fast.codes import Link as LinkCode
from cstd._fast.sink import FrameSink
from cstd.clock import Clock
from cstd.venue.backoff import ReconnectPolicy
from cstd.venue.connector import Connector
from cstd.venue.link import FuturesLink

KEEP_OPEN_S = 20.0  # the venue closes a connection from which nothing comes for 60 s


class FuturesSide:
    """One socket that only listens: no key, no token, no order.

    Args:
        url: the mode's address of the feed.
        core: where frames go. after_batch: as of every link.
        on_up: called with the link's code and the link; on_event: with code, whether it is up, and why not; on_failure: with the
            link's name, the error and how many attempts failed in a row; on_fault: with what must not happen.
    """

    def __init__(self, url: str, core: FrameSink, after_batch: Callable[[], None], *, policy: ReconnectPolicy, clock: Clock,
                 on_up: Callable[[int, Any], None], on_event: Callable[[int, bool, str], None],
                 on_failure: Callable[[str, str, int], None], on_fault: Callable[[Exception], None]) -> None:
        code = int(LinkCode.LINK_FUTURES)
        self.link = FuturesLink(core, after_batch)
        self.link.on_fault = on_fault
        self.connector = Connector(
            self.link, url, policy=policy, clock=clock, on_up=lambda link: on_up(code, link),
            on_down=lambda _link, reason: on_event(code, False, reason),
            on_failure=lambda error, failures: on_failure("futures", error, failures))
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep the socket up, on the running loop."""
        self.connector.start()
        self._keeping = asyncio.get_running_loop().create_task(self._keep_open())

    async def _keep_open(self) -> None:
        while True:
            await asyncio.sleep(KEEP_OPEN_S)
            self.link.keep_open()

    async def stop(self) -> None:
        """Close the socket and stop trying."""
        if self._keeping is not None:
            self._keeping.cancel()
        await self.connector.stop()
