"""Pushes to the pages: what changed, four times a second, made once for all that have seen the same.

A page that has just opened gets everything; from then on it has what all others have, and the text of a tick is made once for
them. One that is slow to read misses ticks, and then gets what changed since its own last one. What a page has not read within
five seconds closes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from cstd.ops.sight import Sight

RAW = ("status", "instruments", "books", "positions", "equity", "orders", "approvals", "fills", "decisions", "gates", "limits",
       "counters", "tape", "opportunities")
DERIVED = ("latency",)
SEND_TIMEOUT_S = 5.0

Sent = dict[str, object]  # region -> version that a page has


class Pushes:
    """The ticks of one reader process.

    Args:
        sight: what is pushed. interval_s: between two ticks.
    """

    def __init__(self, sight: Sight, interval_s: float, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._sight = sight
        self._interval_s = interval_s
        self._wall_ns = wall_ns
        self._tick = asyncio.Event()
        self._texts: dict[tuple[object, ...], tuple[str, Sent]] = {}
        self.made = 0  # texts, for tests: one a tick while all pages keep up

    async def run(self) -> None:
        """Tick until canceled."""
        while True:
            await asyncio.sleep(self._interval_s)
            self.tick()

    def tick(self) -> None:
        """Let every page that waits have what changed."""
        self._texts.clear()
        tick, self._tick = self._tick, asyncio.Event()
        tick.set()

    async def to(self, socket: web.WebSocketResponse) -> None:
        """Send to one page until it is gone."""
        sent: Sent = {}
        while not socket.closed:
            tick = self._tick
            text, sent = self.delta(sent)
            try:
                await asyncio.wait_for(socket.send_str(text), SEND_TIMEOUT_S)
            except (TimeoutError, ConnectionError, RuntimeError):
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await socket.close()
                return
            await tick.wait()

    def delta(self, sent: Mapping[str, object]) -> tuple[str, Sent]:
        """Return the JSON of what changed against `sent`, and what a page has that has read it."""
        key = tuple(sent.get(name) for name in (*RAW, *DERIVED, "execution", "performance", "alerts"))
        found = self._texts.get(key)
        if found is None:
            self.made += 1
            found = self._texts[key] = self._made(sent)
        return found

    def _made(self, sent: Mapping[str, object]) -> tuple[str, Sent]:
        sight, wall_ns = self._sight, self._wall_ns()
        health = sight.health()
        alerts = orjson.dumps(sight.alerts.seen(wall_ns))
        regions: list[tuple[str, object, bytes]] = [(name, *sight.raw(name)) for name in RAW]
        regions += [(name, *sight.derived(name)) for name in DERIVED]
        regions += [*((name, *sight.ledger(name)) for name in sight.ledgers), ("alerts", alerts, alerts)]
        changed = [(name, version, payload) for name, version, payload in regions if sent.get(name) != version]
        head: dict[str, Any] = {"stale": health.stale, "age_ms": health.age_ns / 1e6, "wall_ns": wall_ns}
        parts = b",".join(orjson.dumps(name) + b":" + payload for name, _, payload in changed)
        text = (orjson.dumps(head)[:-1] + b',"regions":{' + parts + b"}}").decode()
        return text, {**sent, **{name: version for name, version, _ in changed}}
