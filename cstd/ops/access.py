"""Who may use the admin socket, and for what: the kernel's word on a peer, roles by group, and a lockout after failed tries.

A role follows from the peer alone. A lockout never takes a right away: it ends the answers, the log lines and the work that
those cost who has none. It is bounded in memory and reads no clock.
"""

from __future__ import annotations

import grp
import socket
import struct
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cstd.errors import OperatorError

SO_PEERGROUPS = 59  # Linux; Python's socket module does not name it
PEER_GROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups
SOURCES_MAX = 256
GID_MAP = Path("/proc/self/gid_map")

Role = Literal["", "read", "operate"]
NOBODY: Role = ""
READ: Role = "read"
OPERATE: Role = "operate"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is on the other end, as the kernel says."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]


def peer_of(connection: socket.socket) -> Peer:
    """Return the credentials of the process that connected."""
    size = struct.calcsize("3i")
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, PEER_GROUPS_BYTES)
        groups = frozenset(struct.unpack(f"{len(raw) // 4}I", raw))
    except OSError:
        # More than 256 groups, or an old kernel: the primary group alone counts then.
        groups = frozenset()
    return Peer(pid, uid, gid, groups | {gid})


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups that have a role, None where none is named."""

    operate: int | None = None
    read: int | None = None

    @property
    def named(self) -> bool:
        """Whether membership in a named group decides, and the socket's own group opens nothing by itself."""
        return self.operate is not None or self.read is not None


def role_of(peer: Peer, groups: Groups, *, own_uid: int, socket_gid: int) -> Role:
    """Return what a peer may do: root and the daemon's user operate; others by group, nothing without one.

    Without named groups the socket's own group operates.
    """
    if peer.uid in (0, own_uid):
        return OPERATE
    if not groups.named:
        return OPERATE if socket_gid in peer.groups else NOBODY
    if groups.operate in peer.groups:
        return OPERATE
    return READ if groups.read in peer.groups else NOBODY


def group_id(name: str) -> int | None:
    """Return the id of a group, None for "".

    Raises:
        OperatorError: this host has no such group.
    """
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OperatorError(f"there is no group {name!r} on this host", suggestion=f"make it with `groupadd {name}`") from None


def is_mapped(gid: int, gid_map: str) -> bool:
    """Return whether a process whose map this is sees a group by its number: in a user namespace others look like nobody."""
    rows = [tuple(map(int, line.split())) for line in gid_map.splitlines()]
    return any(inside <= gid < inside + count for inside, _, count in rows)


@dataclass(slots=True)
class _Source:
    failed_s: deque[float] = field(default_factory=deque)
    locked_until_s: float = 0.0


class Lockout:
    """Counts failed tries by source; after so many within a window the source is locked for a while."""

    def __init__(self, *, failures_max: int, window_s: float, lock_s: float) -> None:
        """Lock at the `failures_max`-th failure within `window_s` seconds, for `lock_s` seconds."""
        self._failures_max = failures_max
        self._window_s = window_s
        self._lock_s = lock_s
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def locked_s(self, source: str, now_s: float) -> float:
        """Return for how many seconds more a source is locked, 0 where it is not."""
        found = self._sources.get(source)
        return max(0.0, found.locked_until_s - now_s) if found is not None else 0.0

    def failed(self, source: str, now_s: float) -> bool:
        """Take note of a failed try; True where it is the one that locks. The source not seen for longest is forgotten first."""
        found = self._sources.setdefault(source, _Source())
        self._sources.move_to_end(source)
        if len(self._sources) > SOURCES_MAX:
            self._sources.popitem(last=False)
        while found.failed_s and now_s - found.failed_s[0] > self._window_s:
            found.failed_s.popleft()
        found.failed_s.append(now_s)
        if len(found.failed_s) < self._failures_max:
            return False
        found.failed_s.clear()
        found.locked_until_s = now_s + self._lock_s
        return True
