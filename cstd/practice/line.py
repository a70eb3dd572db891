"""A websocket server's line to its clients: what faults make of frames, requests and connections on their way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from cstd.practice.faults import CorruptChecksum, Deny, Drop, Duplicate, LostAck, Reorder
from cstd.practice.wire import dumps, loads

_CHECKSUM = re.compile(r'("checksum":)(\d+)')
_FILL_TYPES = ("trade", "filled")
ArmedFault = Drop | Duplicate | Reorder | CorruptChecksum | LostAck | Deny
Later = Callable[[float, Callable[[], None]], None]


class Peer(Protocol):
    """The connection that a frame leaves by."""

    def queue(self, text: str) -> None:
        """Put a frame behind all that were put there before."""


class _Armed:
    __slots__ = ("fault", "left")

    def __init__(self, fault: ArmedFault) -> None:
        self.fault = fault
        self.left = fault.count


class Line:
    """The faults of one server's frames.

    Attributes:
        hits: how often each kind struck. delay_s: what frames take longer. pieces: how many frames a message comes in.
        late_s: how much later reports of executions come.
    """

    def __init__(self, later: Later) -> None:
        self.hits: Counter[str] = Counter()
        self.delay_s = 0.0
        self.pieces = 1
        self.late_s = 0.0
        self._later = later
        self._armed: list[_Armed] = []
        self._kept: dict[Peer, list[str]] = {}  # what waits for the frame that follows it

    @property
    def quiet(self) -> bool:
        """Whether frames pass as they are."""
        return not self._armed and not self._kept

    def arm(self, fault: ArmedFault) -> None:
        """Let a fault wait for the frames or requests that it is about."""
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """End every fault; what was kept back leaves."""
        self._armed.clear()
        self.delay_s, self.pieces, self.late_s = 0.0, 1, 0.0
        for peer in list(self._kept):
            self._release(peer)

    def forget(self, peer: Peer) -> None:
        """A connection is gone, and with it what was kept back for it."""
        self._kept.pop(peer, None)

    def pass_on(self, peer: Peer, text: str) -> None:
        """Queue what becomes of a frame."""
        message = loads(text)
        texts = [text]
        for armed in list(self._armed):
            if isinstance(message, dict) and _is_about(armed.fault, message):
                self._spend(armed)
                if isinstance(armed.fault, Reorder):
                    self._kept.setdefault(peer, []).extend(texts)
                    return
                texts = _become(armed.fault, message, texts)
        for each in texts:
            peer.queue(each)
        if texts:
            self._release(peer)

    def _release(self, peer: Peer) -> None:
        for text in self._kept.pop(peer, ()):
            peer.queue(text)

    def _spend(self, armed: _Armed) -> None:
        self.hits[str(armed.fault.__struct_config__.tag)] += 1
        armed.left -= 1
        if armed.left == 0:
            self._armed.remove(armed)

    def refusal(self, method: str) -> str | None:
        """Return the error that a request gets instead of being carried out, or None."""
        for armed in self._armed:
            fault = armed.fault
            if isinstance(fault, Deny) and not fault.executed and fault.method == method:
                self._spend(armed)
                return fault.error
        return None

    def report(self, kind: object, send: Callable[[], None]) -> None:
        """Send a report of an order at once, or an execution later."""
        if self.late_s == 0.0 or kind not in _FILL_TYPES:
            send()
            return
        self.hits["late-fill"] += 1
        self._later(self.late_s, partial(send))


def _is_about(fault: ArmedFault, message: dict[str, object]) -> bool:
    if isinstance(fault, CorruptChecksum):
        return message.get("channel") == "book" and "data" in message
    if isinstance(fault, LostAck):
        return message.get("method") == fault.method
    if isinstance(fault, Deny):
        return fault.executed and message.get("method") == fault.method and message.get("success") is True
    return fault.about in ("", message.get("channel"), message.get("method"))


def _become(fault: ArmedFault, message: dict[str, object], texts: list[str]) -> list[str]:
    """Return the frames that a fault makes of some."""
    if isinstance(fault, Drop | LostAck):
        return []
    if isinstance(fault, Duplicate):
        return texts * 2
    if isinstance(fault, CorruptChecksum):
        return [_CHECKSUM.sub(lambda found: f"{found[1]}{int(found[2]) ^ 1}", text) for text in texts]
    if isinstance(fault, Deny):
        told = {key: value for key, value in message.items() if key not in ("result", "success")}
        return [dumps({"error": fault.error, **told, "success": False})] * len(texts)
    raise AssertionError(f"{fault} makes nothing of a frame")
