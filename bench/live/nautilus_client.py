"""NautilusTrader's live Kraken market-data client, pointed at a loopback address; run by the Python of its own environment.

    python nautilus_client.py WS_URL REST_URL FRAMES NAME...

Its websocket client is connected and subscribed as its Kraken adapter does it, and its messages are made into Python data
objects by the same calls (adapters/kraken/data.py, `_handle_msg`); then they are counted and dropped. No checksum, no book,
no decision. Each time FRAMES more objects have come, a line with the monotonic clock is written to stdout.
"""

import asyncio
import sys
import time

import uvloop
from nautilus_trader.core import nautilus_pyo3
from nautilus_trader.model.data import capsule_to_data

DEPTH = 25


class Counter:
    """Counts book objects; says when as many as one burst has have come."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.count = 0

    def handle(self, message: object) -> None:
        """Take one message of the websocket client."""
        if not nautilus_pyo3.is_pycapsule(message):
            return
        capsule_to_data(message)
        self.count += 1
        if self.count % self.frames == 0:
            sys.stdout.write(f"{self.count} {time.monotonic_ns()}\n")
            sys.stdout.flush()


async def main(ws_url: str, rest_url: str, frames: str, *names: str) -> None:
    """Connect, subscribe, count until killed."""
    http = nautilus_pyo3.KrakenSpotHttpClient(base_url=rest_url)
    listed = {str(found.id.symbol): found for found in await http.request_instruments()}
    if not listed.keys() >= set(names):
        raise SystemExit(f"of {names} the exchange lists {list(listed)}")
    instruments = [listed[name] for name in names]
    client = nautilus_pyo3.KrakenSpotWebSocketClient(base_url=ws_url)
    counter = Counter(int(frames))
    await client.connect(asyncio.get_running_loop(), instruments, counter.handle)
    await client.wait_until_active(timeout_secs=10.0)
    for found in instruments:
        await client.subscribe_book(found.id, DEPTH)
    sys.stdout.write("subscribed\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
