"""The admin socket: JSON lines over a Unix socket, served by the trading process's own loop.

    -> {"verb": "why", "args": {"last": true}, "id": 7}
    <- {"id": 7, "ok": true, "data": {...}}
    <- {"id": 7, "ok": false, "error": {"error": "usage", "message": "...", "retryable": false, "suggestion": "..."}}

Read verbs are answered from the view. Mutating verbs change nothing here: they become a command with the sender's uid,
gid and pid, which the daemon journals as an event and applies in its turn (`submit`).

Who may connect: root, the daemon's own user, and members of the group that owns the socket file, or of the groups that the
configuration gives a role, read or operate; the kernel says who it is (SO_PEERCRED, SO_PEERGROUPS), the file mode 0660 says
it a second time. Who keeps trying what is not allowed is locked out for a while (access.py). One connection cannot hurt
the loop: a line is at most 64 KiB, requests are paid from a token bucket, answers are paged, and who does not read is dropped.
Who may only read has half of the places, and one bucket for all of his connections.
`kill` and `pause` are never held back by the bucket.

A request with a "token" came by the page: the reader process hands it on, and it is a command of whose the token is
(page_tokens.py), for the few verbs that a token gives.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import orjson

from cstd.decision.names import gate_named, instrument_named
from cstd.errors import CstdError, OperatorError, UsageError
from cstd.ops.access import NOBODY, OPERATE, SOURCES_MAX, Groups, Lockout, Peer, Role, peer_of, role_of
from cstd.ops.opportunity_shapes import HORIZONS
from cstd.ops.page_tokens import LASTS_S, PAGE_VERBS, PageTokens
from cstd.ops.socket_path import socket_address
from cstd.ops.view import EngineView

LINE_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 16
READERS_MAX = CONNECTIONS_MAX // 2  # the other half is left to who operates: `cstd kill` finds a place
REQUESTS_PER_S = 50.0
REQUEST_BURST = 100.0
MUTATIONS_PER_S = 2.0
MUTATION_BURST = 10.0
PAGE_ROWS_MAX = 500
DECISIONS_SEARCHED = 128  # explaining one costs tens of microseconds of the loop
DRAIN_TIMEOUT_S = 2.0
REFUSED_PAUSE_S = 0.1
IDLE_TIMEOUT_S = 300.0
SUBMIT_TIMEOUT_S = 10.0
SOCKET_MODE = 0o660

JsonDict = dict[str, Any]
Submit = Callable[[JsonDict], JsonDict | Awaitable[JsonDict]]
Audit = Callable[[JsonDict], None]

# verb -> argument name -> type
READ_VERBS: dict[str, dict[str, type]] = {
    "status": {},
    "instruments": {},
    "positions": {},
    "equity": {},
    "gates": {},
    "counters": {},
    "approvals": {},
    "limits": {"instrument": str},
    "clusters": {"instrument": str},
    "opportunities": {"horizon": str, "instrument": str, "limit": int, "offset": int},
    "books": {"depth": int},
    "orders": {"all": bool, "limit": int, "offset": int},
    "fills": {"all": bool, "limit": int, "offset": int},
    "why": {"id": str, "last": bool, "instrument": str, "refused_by": str, "limit": int},
    "refusals": {"since_wall_ns": int, "instrument": str},
}
MUTATING_VERBS: dict[str, dict[str, type]] = {
    "pause": {"reason": str},
    "resume": {"reason": str},
    "kill": {"hold": bool, "reason": str},
    "kill_clear": {"confirm": str},
    "flatten": {"reason": str},
    "approve": {"id": str, "reason": str},
    "decline": {"id": str, "reason": str},
    "limits_set": {"key": str, "value": str, "instrument": str, "reason": str},
    "limits_reset": {"key": str, "instrument": str, "reason": str},
    "limits_rebase_peak": {"confirm": str, "reason": str},
    "account_read": {"method": str, "params": dict},
    "reload": {},
    "page_token": {"end": bool},
}
# What the venue is asked for may wait for room in its counter, and for another try; a reload for a child that reads the files.
SLOW_VERBS = {"account_read": 120.0, "reload": 14.0}
NEVER_LIMITED = frozenset({"kill", "pause"})
FAILURES_MAX, FAILURES_WINDOW_S, LOCK_S = 5, 60.0, 300.0
PAGE_SOURCE = "page"  # whom wrong tokens count against: the reader hands them on, and does not know whose they are


class TokenBucket:
    """Allows `rate_per_s` on average and `burst` at once."""

    __slots__ = ("_at_s", "_burst", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token; False when there is none."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._at_s) * self._rate_per_s)
        self._at_s = max(self._at_s, now_s)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class AdminServer:
    """Serves one admin socket; `start` and `close` are called by the daemon on its loop."""

    def __init__(self, path: str | os.PathLike[str], view: EngineView, submit: Submit, *,
                 audit: Audit | None = None, groups: Groups | None = None, lockout: Lockout | None = None) -> None:
        """Prepare to serve `view` at `path`.

        Args:
            path: of the socket; its directory must exist.
            view: answers the read verbs.
            submit: takes {"verb", "args", "uid", "gid", "pid"}, returns (or awaits) what to tell the sender; raises a
                CstdError to refuse.
            audit: is told of every command and every refused connection, for the audit log: a dict with "what" and
                who and which, whose keys are safe as keyword arguments of a logger.
            groups: that have a role; none for the socket's own, which then operates.
            lockout: of who keeps trying what is not allowed; None for one of the usual limits.
        """
        self.path = Path(path)
        self._view = view
        self._submit = submit
        self._audit = audit or (lambda _entry: None)
        self._groups = groups or Groups()
        self._lockout = lockout or Lockout(failures_max=FAILURES_MAX, window_s=FAILURES_WINDOW_S, lock_s=LOCK_S)
        self._server: asyncio.AbstractServer | None = None
        self._inode = (0, 0)
        self._socket_gid = -1
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers: dict[int, TokenBucket] = {}
        self._tokens = PageTokens()
        self.counts = {"admin_requests": 0, "admin_errors": 0, "admin_denied": 0, "admin_limited": 0,
                       "admin_dropped": 0, "admin_faults": 0, "admin_lockouts": 0, "admin_locked": 0,
                       "admin_page_commands": 0}

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            OperatorError: another daemon answers there, or the socket cannot be made.
        """
        listener = bind_admin_socket(self.path)
        info = self.path.stat()
        self._inode, self._socket_gid = (info.st_dev, info.st_ino), info.st_gid
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_BYTES_MAX)

    async def close(self) -> None:
        """Stop serving, end open connections and remove the socket file, unless another daemon's is there by now."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None
        try:
            info = self.path.stat()
            if (info.st_dev, info.st_ino) == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            return

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            peer = _peer_of_writer(writer)
            role = role_of(peer, self._groups, own_uid=os.geteuid(), socket_gid=self._socket_gid)
            if role == NOBODY:
                if self._is_locked(peer):
                    return  # no answer and no line: the count alone tells
                self._count_failure(peer)
                raise OperatorError(f"uid {peer.uid} may not use the admin socket",
                                    suggestion=f"add the user to group {self._admitted()}")
            most = CONNECTIONS_MAX if role == OPERATE else READERS_MAX
            if len(self._tasks) > most:
                raise OperatorError(f"too many connections to the admin socket; the limit is {most}")
            await self._serve(reader, writer, peer, role)
        except OperatorError as error:
            self.counts["admin_denied"] += 1
            self._audit({"what": "connection refused", "message": error.message})
            await self._send(writer, {"id": None, "ok": False, "error": error.to_json()})
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            # Idle, slow, gone, or the daemon stops: in each case the connection ends and nothing else happens.
            self.counts["admin_dropped"] += 1
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    def _admitted(self) -> str:
        """Name the groups that would admit a peer."""
        known = (self._groups.operate, self._groups.read) if self._groups.named else (self._socket_gid,)
        return " or ".join(str(gid) for gid in known if gid is not None)

    def _is_locked(self, peer: Peer, source: str = "") -> bool:
        """Tell whether a peer, or another source, that is not allowed what it tries is locked out, and count it."""
        locked = self._lockout.locked_s(source or str(peer.uid), time.monotonic()) > 0.0
        self.counts["admin_locked"] += locked
        return locked

    def _count_failure(self, peer: Peer, source: str = "") -> None:
        if self._lockout.failed(source or str(peer.uid), time.monotonic()):
            self.counts["admin_lockouts"] += 1
            by = {"source": source} if source else {}
            self._audit({"what": "locked out", "uid": peer.uid, "gid": peer.gid, "pid": peer.pid, **by})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, role: Role) -> None:
        now_s = time.monotonic()
        requests = TokenBucket(REQUESTS_PER_S, REQUEST_BURST, now_s) if role == OPERATE else self._shared_bucket(peer.uid, now_s)
        mutations = TokenBucket(MUTATIONS_PER_S, MUTATION_BURST, now_s)
        refused = False
        while True:
            try:
                line = await asyncio.wait_for(reader.readline(), IDLE_TIMEOUT_S)
            except ValueError:
                too_long = UsageError(f"a request line is at most {LINE_BYTES_MAX} bytes")
                await self._send(writer, {"id": None, "ok": False, "error": too_long.to_json()})
                return
            if not line.endswith(b"\n"):
                return
            if refused and role != OPERATE:
                await asyncio.sleep(REFUSED_PAUSE_S)  # a refusal costs the loop as well: who only reads gets few of them
            self.counts["admin_requests"] += 1
            reply = await self._answer(line, (peer, role), requests, mutations)
            self.counts["admin_errors"] += not reply["ok"]
            await self._send(writer, reply)
            refused = not reply["ok"]

    def _shared_bucket(self, uid: int, now_s: float) -> TokenBucket:
        """Return the bucket of all connections of a reader: to connect again, or twice, gives no more requests."""
        found = self._readers.pop(uid, None) or TokenBucket(REQUESTS_PER_S, REQUEST_BURST, now_s)
        self._readers[uid] = found
        if len(self._readers) > SOURCES_MAX:
            del self._readers[next(iter(self._readers))]  # who connected longest ago
        return found

    async def _send(self, writer: asyncio.StreamWriter, reply: JsonDict) -> None:
        writer.write(orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))
        # A client that does not read is dropped here: the timeout ends `_accept`, which aborts the transport.
        await asyncio.wait_for(writer.drain(), DRAIN_TIMEOUT_S)

    async def _answer(self, line: bytes, who: tuple[Peer, Role], requests: TokenBucket, mutations: TokenBucket) -> JsonDict:
        id_: object = None
        peer, role = who
        try:
            request = _parse(line)
            id_ = request.get("id")
            verb, args = _check(request)
            if verb in MUTATING_VERBS and role != OPERATE:
                self._refuse_reader(verb, peer)
            self._pay(verb, requests, mutations)
            if "token" in request:
                data: object = await self._command_by_page(verb, args, peer, request["token"])
            elif verb == "page_token":
                data = self._page_token(args, peer)
            else:
                data = await self._mutate(verb, args, peer) if verb in MUTATING_VERBS else self._read(verb, args)
        except CstdError as error:
            return {"id": id_, "ok": False, "error": error.to_json()}
        except TimeoutError:
            return {"id": id_, "ok": False, "error": {
                "error": "timeout", "message": "the engine did not answer in time",
                "retryable": False, "suggestion": "look at `cstd status`: the command may still be applied"}}
        except Exception as error:  # noqa: BLE001 -- a fault of the view ends this answer, not the trading process
            self.counts["admin_faults"] += 1
            self._audit({"what": "fault", "message": f"{type(error).__name__}: {error}"})
            return {"id": id_, "ok": False, "error": {
                "error": "internal", "message": f"{type(error).__name__}: {error}", "retryable": False,
                "suggestion": "this is a defect of cstd: see the log"}}
        return {"id": id_, "ok": True, "data": data}

    def _refuse_reader(self, verb: str, peer: Peer) -> NoReturn:
        """Refuse a command of a peer that may only read; reading goes on, also while it is locked out of this."""
        if self._is_locked(peer):
            raise AccessError(f"uid {peer.uid} is locked out of commands",
                              suggestion="it may read; try later, or be in the group that operates")
        self.counts["admin_denied"] += 1
        self._audit({"what": "role refused", "verb": verb, "uid": peer.uid, "gid": peer.gid, "pid": peer.pid})
        self._count_failure(peer)
        raise AccessError(f"uid {peer.uid} may read, not {verb}", suggestion="be in the group that operates: admin.operate_group")

    def _pay(self, verb: str, requests: TokenBucket, mutations: TokenBucket) -> None:
        now_s = time.monotonic()
        allowed = requests.take(now_s) and (verb not in MUTATING_VERBS or mutations.take(now_s))
        if not allowed and verb not in NEVER_LIMITED:
            self.counts["admin_limited"] += 1
            raise RateLimitedError("too many requests", suggestion="wait a second")

    def _page_token(self, args: JsonDict, peer: Peer) -> JsonDict:
        """Give who operates a token for the page, or end those that he has. The log has who asked; the token is in none."""
        self._audit({"what": "page token", "end": args.get("end", False), "uid": peer.uid, "gid": peer.gid, "pid": peer.pid})
        if args.get("end"):
            return {"token": None, "uid": peer.uid, "expires_in_s": 0, "ended": self._tokens.end(peer.uid, time.monotonic())}
        return {"token": self._tokens.issue(peer, time.monotonic()), "uid": peer.uid, "expires_in_s": int(LASTS_S), "ended": 0}

    async def _command_by_page(self, verb: str, args: JsonDict, peer: Peer, token: object) -> JsonDict:
        """Take a command that the page sent: it is that of whose the token is, by the process that handed it on."""
        owner = self._tokens.owner(token, time.monotonic())
        if owner is None:
            if not self._is_locked(peer, PAGE_SOURCE):
                self.counts["admin_denied"] += 1
                self._audit({"what": "token refused", "verb": verb, "uid": peer.uid, "gid": peer.gid, "pid": peer.pid})
                self._count_failure(peer, PAGE_SOURCE)
            raise TokenError("the token is not known to this daemon, or has ended", suggestion="`cstd page token` gives another")
        if verb not in PAGE_VERBS:
            raise AccessError(f"a page's token gives {' and '.join(sorted(PAGE_VERBS))}, not {verb}")
        self.counts["admin_page_commands"] += 1
        return await self._mutate(verb, args, Peer(peer.pid, owner.uid, owner.gid, owner.groups), via="page")

    async def _mutate(self, verb: str, args: JsonDict, peer: Peer, via: str = "") -> JsonDict:
        by = {"via": via} if via else {}
        command = {"verb": verb, "args": args, "uid": peer.uid, "gid": peer.gid, "pid": peer.pid, **by}
        self._audit({"what": "command", **command})
        result = self._submit(command)
        if inspect.isawaitable(result):
            return await asyncio.wait_for(_as_coroutine(result), SLOW_VERBS.get(verb, SUBMIT_TIMEOUT_S))
        return result

    def _read(self, verb: str, args: JsonDict) -> object:
        view = self._view
        if verb in ("orders", "fills"):
            rows = view.orders if verb == "orders" else view.fills
            return rows(all_=args.get("all", False), limit=_bounded(args, "limit", PAGE_ROWS_MAX),
                        offset=max(0, args.get("offset", 0)))
        if verb == "books":
            return view.books(_bounded(args, "depth", 100))
        if verb == "why":
            return self._why(args)
        if verb == "limits":
            return view.limits(self._instrument(args))
        if verb == "clusters":
            return view.clusters(self._instrument(args))
        if verb == "opportunities":
            return self._opportunities(args)
        if verb == "refusals":
            return self._refusals(args)
        answers: dict[str, Callable[[], object]] = {
            "status": view.status, "instruments": view.instruments, "positions": view.positions,
            "equity": view.equity, "gates": view.gates, "approvals": view.approvals, "counters": view.counters,
        }
        return answers[verb]()

    def _instrument(self, args: JsonDict) -> str | None:
        """Return the instrument that a request names, as it is configured; None where it names none."""
        return instrument_named(args["instrument"], self._view.instrument_names()) if "instrument" in args else None

    def _opportunities(self, args: JsonDict) -> object:
        horizon = args.get("horizon")
        if horizon is not None and horizon not in HORIZONS:
            raise UsageError(f"no horizon {str(horizon)[:40]!r}", suggestion=f"one of {', '.join(HORIZONS)}")
        rows = self._view.opportunities(horizon=horizon, instrument=self._instrument(args))
        offset = max(0, args.get("offset", 0))
        return rows[offset:offset + _bounded(args, "limit", PAGE_ROWS_MAX)]

    def _refusals(self, args: JsonDict) -> object:
        if "since_wall_ns" not in args:
            raise UsageError("refusals: since_wall_ns is needed")
        return self._view.refusals(since_wall_ns=args["since_wall_ns"],
                                   instrument=self._instrument(args))

    def _why(self, args: JsonDict) -> object:
        if "id" in args:
            decision = self._view.find_decision(args["id"])
            if decision is None:
                raise OperatorError(f"no decision {args['id']!r} is kept in memory",
                                    suggestion="older ones are in the table decisions of the session's ledger.db")
            return decision
        instrument, gate = self._instrument(args), gate_named(args["refused_by"]) if "refused_by" in args else None
        limit = 1 if args.get("last") else _bounded(args, "limit", 20)
        filtered = instrument is not None or gate is not None
        found = [row for row in self._view.decisions(DECISIONS_SEARCHED if filtered else limit)
                 if instrument in (None, row["instrument"]) and gate in (None, row["first_failing"])][:limit]
        if args.get("last"):
            if not found:
                raise OperatorError("no such decision is kept in memory" if filtered else "there is no decision yet",
                                    suggestion="look at `cstd status` for the state, at `cstd gates` for the counts")
            return found[0]
        return found


class AccessError(OperatorError):
    """The sender's role does not have the verb."""

    category = "access"


class TokenError(OperatorError):
    """What came by the page has no token that is good."""

    category = "token"


class RateLimitedError(OperatorError):
    """The sender asks too often."""

    category = "rate_limit"
    retryable = True


def bind_admin_socket(path: Path) -> socket.socket:
    """Return a listening socket at `path` with mode 0660; a dead daemon's socket file there is replaced.

    It is bound under another name, given its mode, and renamed: nobody can connect before the mode is right, and the
    process-wide umask is left alone.

    Raises:
        OperatorError: another daemon answers there, something else is there, or it cannot be bound.
    """
    _refuse_if_taken(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        temporary.unlink(missing_ok=True)
        with socket_address(temporary) as address:
            listener.bind(address)
        temporary.chmod(SOCKET_MODE)
        listener.listen(CONNECTIONS_MAX)
        temporary.rename(path)
    except OSError as error:
        listener.close()
        raise OperatorError(f"cannot serve the admin socket {path}: {error.strerror or error}",
                            suggestion="the run directory must exist and be writable") from error
    except OperatorError:
        listener.close()
        raise
    return listener


def _refuse_if_taken(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OperatorError(f"{path} exists and is not a socket",
                            suggestion="remove it or choose another run directory")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    probe.settimeout(1.0)
    try:
        with socket_address(path) as address:
            probe.connect(address)
    except (ConnectionRefusedError, FileNotFoundError):
        return
    except OSError as error:
        raise OperatorError(f"cannot tell whether a daemon serves {path}: {error.strerror or error}") from error
    finally:
        probe.close()
    raise OperatorError(f"another daemon already serves {path}", suggestion="stop it, or choose another run directory")


def _peer_of_writer(writer: asyncio.StreamWriter) -> Peer:
    # uvloop's socket object is a stand-in without getsockopt, so a duplicate of the descriptor is asked.
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as duplicate:
        return peer_of(duplicate)


async def _as_coroutine(awaitable: Awaitable[JsonDict]) -> JsonDict:
    return await awaitable


def _parse(line: bytes) -> JsonDict:
    try:
        request = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the request is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise UsageError('the request is not an object: {"verb": ..., "args": {...}, "id": ...}')
    return request


def _check(request: JsonDict) -> tuple[str, JsonDict]:
    verb, args = request.get("verb"), request.get("args", {})
    allowed = READ_VERBS.get(verb) if isinstance(verb, str) else None
    if allowed is None and isinstance(verb, str):
        allowed = MUTATING_VERBS.get(verb)
    if allowed is None:
        raise UsageError(f"unknown verb {verb!r}", suggestion=f"one of {', '.join((*READ_VERBS, *MUTATING_VERBS))}")
    if not isinstance(args, dict):
        raise UsageError(f"{verb}: args is not an object")
    for name, value in args.items():
        if name not in allowed:
            raise UsageError(f"{verb}: unknown argument {name!r}",
                             suggestion=f"it takes {', '.join(allowed) or 'no arguments'}")
        # bool is an int to Python; a limit of `true` is still a mistake.
        if type(value) is not allowed[name]:
            raise UsageError(f"{verb}: {name} must be {allowed[name].__name__}, got {value!r}")
    return str(verb), args


def _bounded(args: JsonDict, name: str, most: int) -> int:
    return max(1, min(int(args.get(name, most)), most))
