"""A public Kraken v2 socket on loopback that sends recorded books of many instruments at a set rate; one client at a time.

    python -m bench.scale.feeder --data DIR --instruments 1000 --depth 100 --rate 10000

Prints one JSON line with its address once it listens, and one with what it sent when it is asked to stop. Plain sockets and
prepared text, so that it takes a small part of what the daemon takes. What is sent late (the client does not read) stays due:
the rate is kept on average, and the backlog is reported.
"""

from __future__ import annotations

import argparse
import array
import base64
import fcntl
import hashlib
import json
import selectors
import signal
import socket
import struct
import sys
import termios
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.scale.clones import Pair, history_rows, recorded_pairs

TICK_S = 0.001
HANDSHAKE = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
UPDATE = b'{"channel":"book","type":"update","data":[{"symbol":"'
SNAPSHOT = b'{"channel":"book","type":"snapshot","data":[{"symbol":"'
SEND_BYTES_MAX = 1 << 20  # a client that does not read is not sent more than this at once


def clone_names(count: int) -> list[str]:
    """Return the names of the instruments, which no asset of the venue has."""
    return [f"C{number:04d}/USD" for number in range(count)]


def now_text() -> str:
    """Return the present time as the venue prints it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Clone:
    """One instrument: a recorded pair under a name of its own, and where in the recording it is."""

    def __init__(self, name: str, pair: Pair) -> None:
        self.name = name.encode()
        self.pair = pair
        self.at = 0

    def snapshot(self, stamp: bytes) -> bytes:
        """Return the first book of the recording and begin there."""
        self.at = 0
        return SNAPSHOT + self.name + self.pair.snapshot + stamp

    def next(self, stamp: bytes) -> bytes:
        """Return the next update; the recording's end is followed by its beginning."""
        if self.at == len(self.pair.updates):
            return self.snapshot(stamp)
        text = UPDATE + self.name + self.pair.updates[self.at] + stamp
        self.at += 1
        return text


def framed(text: bytes) -> bytes:
    """Return a server's text frame."""
    n = len(text)
    if n < 126:
        return b"\x81" + bytes([n]) + text
    if n < 65536:
        return b"\x81\x7e" + struct.pack(">H", n) + text
    return b"\x81\x7f" + struct.pack(">Q", n) + text


class Client:
    """The connected daemon: what it asked for and what goes to it."""

    def __init__(self, connection: socket.socket, feeder: Feeder) -> None:
        self.connection = connection
        self.feeder = feeder
        self.out = bytearray()
        self.books: list[Clone] = []
        self.turn = 0
        self._in = bytearray()
        self._upgraded = False

    def on_bytes(self, data: bytes) -> None:
        """Take what the client sent: the handshake, then masked text frames of requests."""
        self._in += data
        if not self._upgraded:
            head, found, rest = bytes(self._in).partition(b"\r\n\r\n")
            if not found:
                return
            self._upgrade(head)
            self._in = bytearray(rest)
        while (frame := self._take_frame()) is not None:
            self._request(json.loads(frame))

    def _upgrade(self, head: bytes) -> None:
        key = next(line.split(b":", 1)[1].strip() for line in head.split(b"\r\n")
                   if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + HANDSHAKE, usedforsecurity=False).digest())
        self.out += (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self._upgraded = True
        self.say({"channel": "status", "type": "update", "data": [
            {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": 1}]})

    def _take_frame(self) -> bytes | None:
        if len(self._in) < 14:  # the longest header; a request is longer
            return None
        short, start = self._in[1] & 127, 2
        n = short
        if short == 126:
            n, start = struct.unpack_from(">H", self._in, 2)[0], 4
        elif short == 127:
            n, start = struct.unpack_from(">Q", self._in, 2)[0], 10
        end = start + 4 + n
        if len(self._in) < end:
            return None
        mask, body = self._in[start:start + 4], self._in[start + 4:end]
        opcode = self._in[0] & 15
        del self._in[:end]
        if opcode == 8:
            raise ConnectionError("the client closes")
        return bytes(byte ^ mask[i & 3] for i, byte in enumerate(body)) if opcode == 1 else b'{"method":"none"}'

    def say(self, message: dict[str, Any]) -> None:
        """Put one message out."""
        self.text(json.dumps(message, separators=(",", ":")).encode())

    def text(self, text: bytes) -> None:
        """Put prepared text out."""
        self.out += framed(text)

    def _request(self, request: dict[str, Any]) -> None:
        method, params = request["method"], request.get("params", {})
        if method == "ping":
            self.say({"method": "pong", "req_id": request.get("req_id")})
        if method not in ("subscribe", "unsubscribe"):
            return
        channel = params["channel"]
        for name in params.get("symbol", [""]):
            result = {key: value for key, value in params.items() if key != "symbol"} | ({"symbol": name} if name else {})
            self.say({"method": method, "result": result, "success": True, "req_id": request.get("req_id"),
                      "time_in": now_text(), "time_out": now_text()})
            if method == "subscribe":
                self._begin(channel, name, params)
            elif channel == "book":
                self.books.remove(self.feeder.clones[name])

    def _begin(self, channel: str, name: str, params: dict[str, Any]) -> None:
        feeder = self.feeder
        stamp = f'{now_text()}"}}]}}'.encode()
        if channel == "instrument":
            self.say(feeder.instrument_message())
        elif channel == "book":
            if params["depth"] != feeder.depth:
                raise ConnectionError(f"prepared for depth {feeder.depth}, asked for {params['depth']}")
            self.text(feeder.clones[name].snapshot(stamp))
            self.books.append(feeder.clones[name])
        elif channel == "ticker":
            bid, bid_qty, ask, ask_qty = feeder.clones[name].pair.touch
            self.text(f'{{"channel":"ticker","type":"snapshot","data":[{{"symbol":"{name}","bid":{bid},"bid_qty":{bid_qty},'
                      f'"ask":{ask},"ask_qty":{ask_qty},"last":{bid},"volume":0,"vwap":{bid},"low":{bid},"high":{ask},'
                      f'"change":0,"change_pct":0}}]}}'.encode())
        elif channel == "ohlc":
            self.text(feeder.history(name, params["interval"]))


class Feeder:
    """All instruments and the one socket."""

    def __init__(self, data: Path, names: list[str], depth: int, rate: float, rows: int) -> None:
        self.depth = depth
        self.rate = rate
        pairs = recorded_pairs(data, depth)
        self.clones = {name: Clone(name, pairs[number % len(pairs)]) for number, name in enumerate(names)}
        self._bars = history_rows(data, rows, int(time.time())) if rows else {}
        self.sent = self.sent_bytes = 0
        self.unread: list[int] = []
        self.stopping = False

    def instrument_message(self) -> dict[str, Any]:
        """Return the reference data of all instruments."""
        pairs = [{
            "symbol": name, "base": name.partition("/")[0], "quote": "USD", "status": "online",
            "qty_precision": clone.pair.qty_precision, "qty_increment": 10.0**-clone.pair.qty_precision,
            "price_precision": clone.pair.price_precision, "cost_precision": 5, "marginable": False, "has_index": True,
            "cost_min": 0.5, "tick_size": 10.0**-clone.pair.price_precision,
            "price_increment": 10.0**-clone.pair.price_precision, "qty_min": 0.0001,
        } for name, clone in self.clones.items()]
        return {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": pairs}}

    def history(self, name: str, minutes: int) -> bytes:
        """Return the ohlc snapshot of one instrument."""
        rows = ",".join(
            f'{{"symbol":"{name}",{numbers},"interval_begin":"{_stamp(begin_s)}.000000000Z","interval":{minutes},'
            f'"timestamp":"{_stamp(begin_s + minutes * 60)}.000000Z"}}' for begin_s, numbers in self._bars.get(minutes, []))
        return f'{{"channel":"ohlc","type":"snapshot","timestamp":"{now_text()}","data":[{rows}]}}'.encode()

    def serve(self, listener: socket.socket) -> None:
        """Serve one client after another until told to stop."""
        while not self.stopping:
            try:
                connection, _ = listener.accept()
            except InterruptedError:
                continue
            except TimeoutError:
                continue
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setblocking(False)
                try:
                    self._serve_client(Client(connection, self))
                except (ConnectionError, OSError) as error:
                    print(f"feeder: {error}", file=sys.stderr)

    def _serve_client(self, client: Client) -> None:
        selector = selectors.DefaultSelector()
        selector.register(client.connection, selectors.EVENT_READ)
        began = last = beat = time.monotonic()
        due = 0.0
        while not self.stopping:
            now = time.monotonic()
            due += (now - last) * self.rate * len(client.books) / len(self.clones)
            last = now
            if len(client.out) < SEND_BYTES_MAX:
                count = int(due)
                self._frames(client, count)
                due -= count
            if now - beat >= 1.0:
                client.text(b'{"channel":"heartbeat"}')
                beat = now
            self._send(client)
            left = TICK_S - (time.monotonic() - now)
            for _ in selector.select(max(0.0, left)):
                data = client.connection.recv(1 << 16)
                if not data:
                    return
                client.on_bytes(data)
        print(f"feeder: served {now - began:.1f} s", file=sys.stderr)

    def _frames(self, client: Client, count: int) -> None:
        if not client.books:
            return
        stamp = f'{now_text()}"}}]}}'.encode()
        books, at = client.books, client.turn
        for _ in range(count):
            at = (at + 1) % len(books)
            client.text(books[at].next(stamp))
        client.turn = at
        self.sent += count

    def _send(self, client: Client) -> None:
        if client.out:
            try:
                n = client.connection.send(client.out)
            except BlockingIOError:
                n = 0
            del client.out[:n]
            self.sent_bytes += n
        unread = array.array("i", [0])
        fcntl.ioctl(client.connection, termios.TIOCOUTQ, unread)
        self.unread.append(unread[0] + len(client.out))

    def report(self) -> dict[str, Any]:
        """Return what was sent, and how many bytes the client had not taken, looked at every millisecond."""
        unread = sorted(self.unread) or [0]
        return {"frames": self.sent, "bytes": self.sent_bytes, "unread_bytes": {
            "p50": unread[len(unread) // 2], "p99": unread[len(unread) * 99 // 100], "max": unread[-1]}}


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def main() -> None:
    """Listen, tell where, serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--instruments", type=int, required=True)
    parser.add_argument("--depth", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="book frames a second over all instruments")
    parser.add_argument("--rows", type=int, default=720, help="bars of history an interval")
    args = parser.parse_args()
    feeder = Feeder(args.data, clone_names(args.instruments), args.depth, args.rate, args.rows)

    def stop(_number: int, _frame: Any) -> None:
        feeder.stopping = True

    def mark(_number: int, _frame: Any) -> None:
        feeder.sent = feeder.sent_bytes = 0
        feeder.unread.clear()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, mark)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        print(json.dumps({"ws_public": f"ws://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
        feeder.serve(listener)
    print(json.dumps(feeder.report()), flush=True)


if __name__ == "__main__":
    main()
