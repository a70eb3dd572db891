"""Websockets over raw blocking sockets: as little between a measurement and the kernel as Python allows.

`Peer` is one upgraded connection, the server's or the client's end. Frames are written whole with one `send`; what is read
is kept until whole frames are there. No extensions, no fragments on the way out, loopback only.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
from urllib.parse import urlsplit

ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
READ_BYTES = 1 << 18
LENGTH_16, LENGTH_64 = 126, 127
MASKED = 0x80
FINAL = 0x80


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return an unmasked frame, as a server sends it."""
    n = len(payload)
    if n < LENGTH_16:
        return bytes((FINAL | opcode, n)) + payload
    if n < 1 << 16:
        return struct.pack("!BBH", FINAL | opcode, LENGTH_16, n) + payload
    return struct.pack("!BBQ", FINAL | opcode, LENGTH_64, n) + payload


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a masked frame, as a client must send it."""
    mask = os.urandom(4)
    n = len(payload)
    if n < LENGTH_16:
        head = bytes((FINAL | opcode, MASKED | n))
    elif n < 1 << 16:
        head = struct.pack("!BBH", FINAL | opcode, MASKED | LENGTH_16, n)
    else:
        head = struct.pack("!BBQ", FINAL | opcode, MASKED | LENGTH_64, n)
    return head + mask + unmasked(payload, mask)


def unmasked(payload: bytes, mask: bytes) -> bytes:
    """Return payload xor the repeated mask; masking is its own inverse."""
    n = len(payload)
    key = (mask * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(n, "little")


class Peer:
    """One websocket connection. `sock` is blocking and has no delay; `buffer` holds bytes of incomplete frames."""

    def __init__(self, sock: socket.socket, *, is_client: bool, rest: bytes = b"") -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.buffer = bytearray(rest)
        self.is_client = is_client
        self.closed = False

    def fileno(self) -> int:
        """Descriptor, for select."""
        return self.sock.fileno()

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send one message."""
        self.sock.sendall((client_frame if self.is_client else server_frame)(payload, opcode))

    def take(self) -> list[tuple[int, bytes]]:
        """Return the whole frames in the buffer as (opcode, payload) and answer pings."""
        found = []
        while (frame := self._next()) is not None:
            opcode, payload = frame
            if opcode == PING:
                self.send(payload, PONG)
            elif opcode == CLOSE:
                self.closed = True
            found.append(frame)
        return found

    def _next(self) -> tuple[int, bytes] | None:
        data = self.buffer
        if len(data) < 2:
            return None
        n, at = data[1] & 0x7F, 2
        if n == LENGTH_16:
            if len(data) < 4:
                return None
            n, at = int.from_bytes(data[2:4], "big"), 4
        elif n == LENGTH_64:
            if len(data) < 10:
                return None
            n, at = int.from_bytes(data[2:10], "big"), 10
        mask = b""
        if data[1] & MASKED:
            mask, at = bytes(data[at:at + 4]), at + 4
        if len(data) < at + n or (data[1] & MASKED and len(mask) < 4):
            return None
        payload, opcode = bytes(data[at:at + n]), data[0] & 0x0F
        del data[:at + n]
        return opcode, unmasked(payload, mask) if mask else payload

    def read(self) -> list[tuple[int, bytes]]:
        """Wait for bytes and return the frames that are whole now; an end of the stream sets `closed`."""
        received = self.sock.recv(READ_BYTES)
        if not received:
            self.closed = True
        self.buffer += received
        return self.take()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


def listen() -> socket.socket:
    """Return a listening socket on a free loopback port."""
    return socket.create_server(("127.0.0.1", 0))


def _head(sock: socket.socket) -> tuple[bytes, bytes]:
    """Read up to the end of an HTTP head; return it and what came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65_536)
        if not more:
            raise ConnectionError("the peer closed during the upgrade")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def accept(listening: socket.socket) -> Peer:
    """Accept one connection and answer its upgrade."""
    sock, _ = listening.accept()
    head, rest = _head(sock)
    fields = dict(line.split(b":", 1) for line in head.split(b"\r\n")[1:])
    key = next(value.strip() for name, value in fields.items() if name.strip().lower() == b"sec-websocket-key")
    answer = base64.b64encode(hashlib.sha1(key + ACCEPT_SALT).digest())
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n")
    return Peer(sock, is_client=False, rest=rest)


def connect(url: str) -> Peer:
    """Connect to a ws:// address."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port), timeout=10)
    sock.settimeout(None)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    head, rest = _head(sock)
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise ConnectionError(f"{url} refused the upgrade: {head[:80]!r}")
    return Peer(sock, is_client=True, rest=rest)
