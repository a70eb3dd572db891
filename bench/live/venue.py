"""The venue of the live benches: recorded book frames from one fast socket, everything else from the practice exchange.

The daemon's two websockets end here. Subscriptions, reference data, history, heartbeats, the dead man's switch and the
account come from a real practice exchange, whose messages are passed on byte for byte; the book is a recording's, sent by
the bench, and order requests are answered here, because they are what is timed. An order is accepted and has expired
unfilled when the answer arrives, so the account never changes and REST, which the practice exchange serves, agrees.
"""

from __future__ import annotations

import contextlib
import io
import json
import select
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sockets
import zstandard

DEPTH = 25
SIDES = ("public", "private")


class Recording:
    """Book frames of recordings: `frames` in order of arrival, as text; `snapshots` the first of each instrument."""

    def __init__(self, *paths: Path) -> None:
        rows: list[tuple[float, bytes]] = []
        for path in paths:
            rows += book_frames(path)
        self.frames = [frame for _, frame in rows]
        self.snapshots: dict[str, bytes] = {}
        for frame in self.frames:
            if b'"type":"snapshot"' in frame:
                self.snapshots.setdefault(json.loads(frame)["data"][0]["symbol"], frame)

    @property
    def names(self) -> list[str]:
        """Instruments, in order of their first snapshot."""
        return list(self.snapshots)


def book_frames(path: Path) -> list[tuple[float, bytes]]:
    """Return (receive time, text) of the book frames of a v2 recording, from its first snapshot on."""
    with path.open("rb") as file:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8").read()
    rows = [json.loads(line) for line in text.splitlines()]
    frames = [(float(row["ts"]), row["m"].encode()) for row in rows
              if row.get("d") == "rx" and row["m"].startswith('{"channel":"book"')]
    if not frames:
        raise SystemExit(f"{path}: no v2 book frames")
    return frames


def now_text() -> str:
    """The present time as Kraken writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Venue:
    """Both websockets of one daemon.

    Args:
        upstream: addresses of the practice exchange, by name as in practice.json.
        recording: what the book subscription gives.

    Attributes:
        public, private: the daemon's connections, None until it connected. orders, cancels: requests answered so far.
    """

    def __init__(self, upstream: dict[str, str], recording: Recording) -> None:
        self._upstream = upstream
        self._recording = recording
        self._listening = (sockets.listen(), sockets.listen())
        self.urls = tuple(f"ws://127.0.0.1:{sock.getsockname()[1]}/v2" for sock in self._listening)
        self.public: sockets.Peer | None = None
        self.private: sockets.Peer | None = None
        self._exchange: dict[str, sockets.Peer] = {}
        self._sequence = 0
        self._tickers_told: set[str] = set()
        self.orders = self.cancels = 0
        self.order_times_ns: list[int] = []

    def close(self) -> None:
        """Close every socket."""
        for peer in (self.public, self.private, *self._exchange.values()):
            if peer is not None:
                peer.close()
        for sock in self._listening:
            sock.close()

    def serve(self, timeout_s: float, names: tuple[str, ...] = SIDES) -> None:
        """Wait up to `timeout_s` for anything on the sides named and handle all that is there."""
        listening = {name: self._listening[SIDES.index(name)] for name in names}
        peers = {name: peer for name in names if (peer := getattr(self, name)) is not None}
        exchange = {name: peer for name in names if (peer := self._exchange.get(name)) is not None}
        ready, _, _ = select.select([*listening.values(), *peers.values(), *exchange.values()], [], [], timeout_s)
        for name, sock in listening.items():
            if sock in ready:
                self._accept(name, sock)
        for name, peer in peers.items():
            if peer in ready and getattr(self, name) is peer:
                self._from_daemon(name, peer)
        for name, peer in exchange.items():
            if peer in ready and self._exchange.get(name) is peer:
                self._from_exchange(name, peer)

    def _accept(self, name: str, listening: Any) -> None:
        self._drop(name)
        if name == "public":
            self._tickers_told.clear()
        try:
            setattr(self, name, sockets.accept(listening))
        except ConnectionError:
            return  # it connected and went, as a daemon does that is told to stop
        self._exchange[name] = sockets.connect(self._upstream[f"ws_{name}"])
        self._from_exchange(name, self._exchange[name], wait=False)

    def _drop(self, name: str) -> None:
        for peer in (getattr(self, name), self._exchange.pop(name, None)):
            if peer is not None:
                peer.close()
        setattr(self, name, None)

    def _from_daemon(self, name: str, peer: sockets.Peer) -> None:
        frames: list[tuple[int, bytes]] = []
        try:
            frames = peer.read()
        except ConnectionError:
            peer.closed = True
        for opcode, payload in frames:
            if opcode == sockets.TEXT:
                (self.on_public if name == "public" else self.on_private)(payload)
        if peer.closed:
            self._drop(name)

    def on_public(self, payload: bytes) -> None:
        """Answer a request for a book; pass on what the practice exchange answers."""
        request = json.loads(payload)
        params = request.get("params", {})
        if params.get("channel") != "book":
            self._exchange["public"].send(payload)
            return
        assert self.public is not None
        for symbol in params["symbol"]:
            result = {"channel": "book", "depth": params.get("depth", DEPTH), "snapshot": True, "symbol": symbol}
            answer = {"method": request["method"], "result": result, "success": True, "req_id": request.get("req_id"),
                      "time_in": now_text(), "time_out": now_text()}
            self.public.send(json.dumps(answer).encode())
            if request["method"] == "subscribe":
                self.public.send(self._recording.snapshots[symbol])

    def on_private(self, payload: bytes) -> None:
        """Answer an order request; pass on what the practice exchange answers."""
        if b'"add_order"' in payload[:40]:
            self.answer_order(payload)
        elif b'"cancel_order"' in payload[:40] or b'"amend_order"' in payload[:40]:
            self.cancels += 1
            request = json.loads(payload)
            self.private_send({"method": request["method"], "req_id": request["req_id"], "success": False,
                               "error": "EOrder:Unknown order", "time_in": now_text(), "time_out": now_text()})
        else:
            self._exchange["private"].send(payload)

    def private_send(self, message: dict[str, Any]) -> None:
        """Send one message on the private socket."""
        assert self.private is not None
        self.private.send(json.dumps(message, separators=(",", ":")).encode())

    def answer_order(self, payload: bytes) -> None:
        """Accept an order and let it expire at once: reply, new, expired, in one write."""
        assert self.private is not None
        self.orders += 1
        self.order_times_ns.append(time.monotonic_ns())
        request = json.loads(payload)
        cl_ord_id, at = request["params"]["cl_ord_id"], now_text()
        ids = {"order_id": f"OBENCH-{self.orders:05d}-AAAAAA", "cl_ord_id": cl_ord_id}
        messages = [
            {"method": "add_order", "req_id": request["req_id"], "result": ids, "success": True, "time_in": at, "time_out": at},
            self._report({"exec_type": "new", "order_status": "new", "timestamp": at, **ids}),
            self._report({"exec_type": "expired", "order_status": "expired", "cum_qty": 0, "cum_cost": 0, "avg_price": 0,
                          "timestamp": at, **ids}),
        ]
        self.private.sock.sendall(b"".join(
            sockets.server_frame(json.dumps(message, separators=(",", ":")).encode()) for message in messages))

    def _report(self, row: dict[str, Any]) -> dict[str, Any]:
        self._sequence += 1
        return {"channel": "executions", "type": "update", "data": [row], "sequence": self._sequence}

    def _is_first_ticker(self, payload: bytes) -> bool:
        """Whether a ticker is the snapshot that an instrument's subscription waits for on this connection."""
        name = json.loads(payload)["data"][0]["symbol"]
        first = b'"type":"snapshot"' in payload[:60] and name not in self._tickers_told
        self._tickers_told.add(name)
        return first

    def _from_exchange(self, name: str, peer: sockets.Peer, *, wait: bool = True) -> None:
        target = getattr(self, name)
        for opcode, payload in peer.read() if wait else peer.take():
            if opcode != sockets.TEXT or target is None:
                continue
            if name == "public" and payload.startswith(b'{"channel":"ticker"') and not self._is_first_ticker(payload):
                continue  # it tells of the practice exchange's book, which is not the one the daemon is shown
            if name == "private" and b'"channel":"executions"' in payload[:40]:
                self._sequence = int(json.loads(payload)["sequence"])
            with contextlib.suppress(ConnectionError):  # the daemon has gone; the next read of its socket says so
                target.send(payload)
