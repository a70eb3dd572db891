"""A websocket server's line to its clients: what faults make of frames, requests and connections on their way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar, cast

from cstd.practice.faults import AnyRestFault, CorruptChecksum, Deny, Drop, Duplicate, LostAck, Reorder
from cstd.practice.wire import dumps, loads

_CHECKSUM = re.compile(r'("checksum":)(\d+)')
_FILL_TYPES = ("trade", "filled")
ArmedFault = Drop | Duplicate | Reorder | CorruptChecksum | LostAck | Deny
Armed = TypeVar("Armed", ArmedFault, AnyRestFault)
Later = Callable[[float, Callable[[], None]], None]


class Peer(Protocol):
    """The connection that a frame leaves by."""

    def queue(self, text: str) -> None:
        """Put a frame behind all that were put there before."""


class _Waiting(Generic[Armed]):
    # Faults that wait for what they are about, each with how often it strikes yet, and how often each kind struck.

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.left: list[list[Any]] = []

    def arm(self, fault: Armed) -> None:
        self.left.append([fault, fault.count])

    def take(self, is_about: Callable[[Armed], bool]) -> Iterator[Armed]:
        # Each that is about something, struck once as it is taken.
        for entry in list(self.left):
            if is_about(entry[0]):
                self.hits[str(entry[0].__struct_config__.tag)] += 1
                entry[1] -= 1
                if not entry[1]:
                    self.left.remove(entry)
                yield entry[0]


class RestCalls:
    """The faults of calls by REST. `hits`: how often each kind struck."""

    def __init__(self) -> None:
        self._waiting: _Waiting[AnyRestFault] = _Waiting()
        self.hits = self._waiting.hits

    def arm(self, fault: AnyRestFault) -> None:
        """Let a fault wait for the calls that it is about."""
        self._waiting.arm(fault)

    def clear(self) -> None:
        """End every fault."""
        self._waiting.left.clear()

    def take(self, endpoint: str) -> AnyRestFault | None:
        """Return the fault that a call meets, or None."""
        return next(self._waiting.take(lambda fault: fault.endpoint in ("", endpoint)), None)


def _at_once(_seconds: float, act: Callable[[], None]) -> None:
    act()


class Line:
    """The faults of one server's frames.

    Attributes:
        hits: how often each kind struck. delay_s: what frames take longer. pieces: how many frames a message comes in.
        late_s: how much later reports of executions come; a line that was given no `later` tells them at once.
    """

    def __init__(self, later: Later = _at_once) -> None:
        self._waiting: _Waiting[ArmedFault] = _Waiting()
        self.hits = self._waiting.hits
        self.delay_s = 0.0
        self.pieces = 1
        self.late_s = 0.0
        self._later = later
        self._kept: dict[Peer, list[str]] = {}  # what waits for the frame that follows it

    @property
    def quiet(self) -> bool:
        """Whether frames pass as they are."""
        return not self._waiting.left and not self._kept

    def arm(self, fault: ArmedFault) -> None:
        """Let a fault wait for the frames or requests that it is about."""
        self._waiting.arm(fault)

    def clear(self) -> None:
        """End every fault; what was kept back leaves."""
        self._waiting.left.clear()
        self.delay_s, self.pieces, self.late_s = 0.0, 1, 0.0
        for peer in list(self._kept):
            self._release(peer)

    def forget(self, peer: Peer) -> None:
        """A connection is gone, and with it what was kept back for it."""
        self._kept.pop(peer, None)

    def pass_on(self, peer: Peer, text: str) -> None:
        """Queue what becomes of a frame."""
        message = cast("dict[str, object]", loads(text))  # whatever the servers say is an object
        texts = [text]
        for fault in self._waiting.take(lambda fault: _is_about(fault, message)):
            if isinstance(fault, Reorder):
                self._kept.setdefault(peer, []).extend(texts)
                return
            texts = _become(fault, message, texts)
        for each in texts:
            peer.queue(each)
        if texts:
            self._release(peer)

    def _release(self, peer: Peer) -> None:
        for text in self._kept.pop(peer, ()):
            peer.queue(text)

    def refusal(self, method: str) -> str | None:
        """Return the error that a request gets instead of being carried out, or None."""
        refusing = self._waiting.take(lambda fault: isinstance(fault, Deny) and not fault.executed and fault.method == method)
        fault = next(refusing, None)
        return fault.error if isinstance(fault, Deny) else None

    def report(self, kind: object, send: Callable[[], None]) -> None:
        """Send a report of an order at once, or an execution later."""
        if self.late_s == 0.0 or kind not in _FILL_TYPES:
            send()
            return
        self.hits["late-fill"] += 1
        self._later(self.late_s, send)


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
