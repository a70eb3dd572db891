"""The reader process: page, API, metrics and pushes over HTTP, from the board and, for execution quality, the ledger.

    python -m cstd.ops.reader --board .run/current/board --listen 127.0.0.1:8001

Started and watched by the trading process, which can live without it. It listens on loopback alone, and answers only requests
whose Host is a loopback name, so that a web page elsewhere cannot reach it by rebinding its own name. It reads; one thing alone
it hands on, an answer to an opening that waits, with an operator's token (page_commands.py). It ends when its parent ends. The
addresses that it got are in `reader.json` beside the board.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import ipaddress
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
from aiohttp import WSMsgType, web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder

from cstd.child import exit_code_of, follow_parent
from cstd.errors import OperatorError, UsageError
from cstd.ops.alerts_sight import AlertsSight
from cstd.ops.api import ANSWER_PATH, ROUTES, Route, openapi_document
from cstd.ops.board import PUBLISH_INTERVAL_S, BoardReader
from cstd.ops.decisions import UnknownIdError
from cstd.ops.metrics import BoardCollector
from cstd.ops.page_commands import CommandError, PageCommands
from cstd.ops.pushes import Pushes
from cstd.ops.sight import Sight

PAGE_DIR = Path(__file__).parent / "page"
PAGE_FILES = {"/": ("index.html", "text/html"), "/app.js": ("app.js", "text/javascript"),
              "/format.js": ("format.js", "text/javascript"), "/panels.js": ("panels.js", "text/javascript"),
              "/approvals.js": ("approvals.js", "text/javascript"),
              "/style.css": ("style.css", "text/css"), "/icon.svg": ("icon.svg", "image/svg+xml")}
EXECUTION_LOOK_S = 5.0
ALERTS_LOOK_S = 5.0
ALERTS_STOP_S = 1.0  # a stop does not wait for an Alertmanager that hangs
WEBSOCKETS_MAX = 256

SIGHT = web.AppKey("sight", Sight)
REGISTRY = web.AppKey("registry", CollectorRegistry)
WEBSOCKETS: web.AppKey[set[Any]] = web.AppKey("websockets", set[Any])
OPENAPI = web.AppKey("openapi", bytes)
PUSHES = web.AppKey("pushes", Pushes)
COMMANDS = web.AppKey("commands", PageCommands)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, error: str, message: str, suggestion: str = "") -> web.Response:
    """Return an error answer in the form that `-o json` errors have."""
    body = {"error": error, "message": message, "retryable": status in (429, 503), "suggestion": suggestion}
    return web.json_response(body, status=status)


def is_loopback_name(host: str) -> bool:
    """Return whether a Host header, port or not, names this host's loopback."""
    name = host.rpartition(":")[0] if host.count(":") == 1 or (host.startswith("[") and "]:" in host) else host
    name = name.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse other hosts' names, turn errors into JSON, set the security headers."""
    if not is_loopback_name(request.host):
        response: web.StreamResponse = problem(421, "misdirected", "the Host header is not a loopback name")
    else:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = problem(error.status, error.reason.lower().replace(" ", "_"), f"{request.method} {error.reason}",
                               "GET /openapi.json lists what there is")
            if "Allow" in error.headers:  # a 405 has to say what is allowed
                response.headers["Allow"] = error.headers["Allow"]
        except UsageError as error:
            response = problem(400, error.category, error.message, error.suggestion)
        except UnknownIdError as error:
            response = problem(404, error.category, error.message, error.suggestion)
        except OperatorError as error:
            response = problem(503, error.category, error.message, error.suggestion)
    if not response.prepared:
        set_security_headers(request, response)
    return response


def set_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set a policy under which the page can load its own files, talk to its own origin, and nothing else."""
    headers = response.headers
    headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' ws://{request.host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    headers["Cache-Control"] = "no-store"
    headers["Server"] = "cstd"


def count_requests(registry: CollectorRegistry) -> Any:
    """Return a middleware that counts requests and their durations by route, never by path: paths are unbounded."""
    requests = Counter("cstd_http_requests", "Requests to the status port.", ["route", "code"], registry=registry)
    seconds = Histogram("cstd_http_request_duration_seconds", "Duration of requests to the status port.", ["route"],
                        registry=registry, buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0))

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        start_s = time.perf_counter()
        response = await handler(request)
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "other"
        requests.labels(route, str(response.status)).inc()
        if route != "/ws":
            seconds.labels(route).observe(time.perf_counter() - start_s)
        return response

    return counted


def page_handler(name: str, content_type: str) -> Handler:
    """Return a handler of one file of the page; read at start, so a broken installation shows at once."""
    body = (PAGE_DIR / name).read_bytes()

    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return serve


def data_handler(route: Route) -> Handler:
    """Return a handler of one data route; a stale board is an error where the data are its, unless `stale=1` is asked for."""
    parameters = frozenset({*route.parameters, "stale"})

    async def serve(request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        unknown = sorted(set(query) - parameters)
        if unknown:
            raise UsageError(f"unknown query parameter {unknown[0][:40]!r}",
                             suggestion=f"it takes {', '.join(sorted(parameters))}")
        if len(query) < len(request.query):
            raise UsageError("a query parameter is given twice")
        stale = query.pop("stale", None)
        if stale not in (None, "1"):
            raise UsageError(f"stale is 1 or left out, got {stale[:40]!r}")
        sight = request.app[SIGHT]
        health = sight.health()
        if health.stale and route.of_board and stale is None:
            return problem(503, "stale", f"the trading process has not published for {health.age_ns / 1e9:.1f} s",
                           "it is gone or stuck; add ?stale=1 for its last state")
        answer = route.answer(sight, {**query, **request.match_info})
        response = web.Response(body=answer if isinstance(answer, bytes) else await answer, content_type="application/json")
        response.headers["Cstd-Board-Age-Ms"] = f"{health.age_ns / 1e6:.0f}"
        return response

    return serve


async def serve_answer(request: web.Request) -> web.StreamResponse:
    """Hand on an operator's answer to an opening that waits."""
    try:
        return web.json_response(await request.app[COMMANDS].take(request))
    except CommandError as error:
        response = web.json_response(error.body, status=error.status)
        if error.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response


async def serve_health(request: web.Request) -> web.StreamResponse:
    """200 while the trading process publishes and its children live, else 503."""
    sight = request.app[SIGHT]
    health = sight.health()
    children = {} if health.stale else sight.value("status").get("children", {})
    status = "down" if health.stale else "ok" if all(children.values()) else "degraded"
    body = {
        "status": status, "board_age_ms": health.age_ns / 1e6, "writer_pid": health.writer_pid, "children": children,
        "publishes": health.publishes, "publish_ns": health.last_publish_ns,
        "publish_longest_ns": health.longest_publish_ns, "view_errors": health.view_errors,
        "last_view_error": health.last_error or None, "cut_regions": sight.overflowed(),
        "torn_reads": health.torn_reads,
    }
    return web.json_response(body, status=200 if status == "ok" else 503)


async def serve_ready(request: web.Request) -> web.StreamResponse:
    """200 only in the state ready, else 503 with the state and why."""
    sight = request.app[SIGHT]
    health = sight.health()
    status = sight.value("status")
    if health.stale or not status:
        body = {"ready": False, "state": "unknown", "reason": "the trading process does not publish"}
    else:
        body = {"ready": bool(status["ready"]), "state": status["state"], "reason": status.get("state_reason")}
    return web.json_response(body, status=200 if body["ready"] else 503)


async def serve_metrics(request: web.Request) -> web.StreamResponse:
    """Prometheus text, or OpenMetrics when the scraper asks for it."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    response = web.Response(body=encode(request.app[REGISTRY]))
    response.headers["Content-Type"] = content_type
    return response


async def serve_openapi(request: web.Request) -> web.StreamResponse:
    """The OpenAPI document."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def serve_websocket(request: web.Request) -> web.StreamResponse:
    """Push what changed, four times a second, as fast as this client reads and no faster."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        return problem(403, "forbidden", "a page of another origin may not open this")
    sockets = request.app[WEBSOCKETS]
    if len(sockets) >= WEBSOCKETS_MAX:
        return problem(503, "busy", f"{WEBSOCKETS_MAX} pages are connected, which is the limit")
    socket_ = web.WebSocketResponse(heartbeat=20.0, max_msg_size=1024, compress=False)
    set_security_headers(request, socket_)
    await socket_.prepare(request)
    sockets.add(socket_)
    pushing = asyncio.create_task(request.app[PUSHES].to(socket_))
    try:
        async for message in socket_:
            # Nothing that a page says means anything here; reading keeps pings and the close handshake alive.
            if message.type is WSMsgType.ERROR:
                break
    finally:
        pushing.cancel()
        sockets.discard(socket_)
    return socket_


def build_app(sight: Sight, commands: PageCommands) -> web.Application:
    """Return the application; all it needs to know is in `sight`, and what it hands on goes to `commands`."""
    registry = CollectorRegistry()
    registry.register(BoardCollector(sight))
    app = web.Application(middlewares=[count_requests(registry), guard], client_max_size=1024)
    app[SIGHT] = sight
    app[REGISTRY] = registry
    app[WEBSOCKETS] = set()
    app[PUSHES] = Pushes(sight, PUBLISH_INTERVAL_S)
    app[COMMANDS] = commands
    app[OPENAPI] = orjson.dumps(openapi_document())
    for path, (name, content_type) in PAGE_FILES.items():
        app.router.add_get(path, page_handler(name, content_type))
    app.router.add_get("/health", serve_health)
    app.router.add_get("/ready", serve_ready)
    app.router.add_get("/metrics", serve_metrics)
    app.router.add_get("/openapi.json", serve_openapi)
    app.router.add_get("/ws", serve_websocket)
    for route in ROUTES:
        app.router.add_get(route.path, data_handler(route))
    app.router.add_post(ANSWER_PATH, serve_answer)
    app.on_shutdown.append(close_websockets)
    return app


async def close_websockets(app: web.Application) -> None:
    """Close every page's socket, so that a stop does not wait for them."""
    sockets: set[Any] = app[WEBSOCKETS]
    await asyncio.gather(*(socket_.close(code=1001) for socket_ in list(sockets)), return_exceptions=True)


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of "host:port"; loopback only.

    Raises:
        UsageError: malformed, or not a loopback address.
    """
    host, colon, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise UsageError(f"listen address {text!r} is not HOST:PORT", suggestion="for example 127.0.0.1:8001")
    if not is_loopback_name(f"[{host}]" if ":" in host else host):
        raise UsageError(f"the status port listens on loopback only, not on {host}: other addresses need a token and "
                         "TLS, which it does not have", suggestion=f"use 127.0.0.1:{port} and a tunnel")
    return ("127.0.0.1" if host.lower() == "localhost" else host), int(port)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OperatorError: the port is in use, or may not be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OperatorError(
                f"port {port} on {host} is in use",
                suggestion="stop what uses it, or set [status] listen; port 0 takes any free one") from error
        raise OperatorError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def write_addresses(path: Path, listeners: Sequence[socket.socket]) -> list[str]:
    """Write the bound addresses to `path`, whole or not at all; return them as URLs."""
    urls = []
    for listener in listeners:
        host, port = listener.getsockname()[:2]
        urls.append(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(orjson.dumps({"pid": os.getpid(), "page": urls[0], "addresses": urls}))
    temporary.rename(path)
    return urls


def look(sight: Sight) -> float:
    """Read the ledger and the records of jobs once; return the processor time in s that it took."""
    began_s = time.thread_time()
    for ledger in sight.ledgers.values():
        ledger.look(time.time_ns())
    sight.jobs.look(time.time_ns())
    return time.thread_time() - began_s


async def look_at_ledger(sight: Sight, stop: asyncio.Event) -> None:
    """Read the ledger now and then, in a thread: no request waits for it. It takes a hundredth of a processor at most."""
    while not stop.is_set():
        took_s = await asyncio.to_thread(look, sight)
        try:
            await asyncio.wait_for(stop.wait(), max(EXECUTION_LOOK_S, 100 * took_s))
        except TimeoutError:
            continue


async def ask_for_alerts(alerts: AlertsSight, stop: asyncio.Event) -> None:
    """Ask the Alertmanager now and then, in a thread: no request waits for it."""
    while not stop.is_set() and alerts.named:
        await _apart(lambda: alerts.look(time.time_ns()))
        try:
            await asyncio.wait_for(stop.wait(), ALERTS_LOOK_S)
        except TimeoutError:
            continue


async def _apart(work: Callable[[], None]) -> None:
    """Do work in a thread that nobody need wait for: neither the loop's end nor the process's does."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(None)

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as raised:  # noqa: BLE001 -- it is raised where the work is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, daemon=True).start()
    await done


async def _pause(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait a second, for a stop, or for a task to end; what one failed with is raised here."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *(task for task in tasks if not task.done())], timeout=1.0,
                       return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in tasks:
        if task.done():
            task.result()


async def serve(board_path: Path, addresses: Sequence[tuple[str, int]], stop: asyncio.Event, alertmanager: str = "",
                admin: Path | None = None) -> None:
    """Serve the board on every address until `stop` is set, or what looks in the background fails: the parent starts it again.

    `admin` is the socket of the daemon whose board it is, None where answers of the page go to nobody.
    """
    written = board_path.with_name("reader.json")
    written.unlink(missing_ok=True)  # of a reader that was killed: nothing of ours listens there any more
    sight = Sight(BoardReader(board_path), alertmanager=alertmanager)
    listeners = [bind(host, port) for host, port in addresses]
    runner = web.AppRunner(build_app(sight, PageCommands(admin)), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    for listener in listeners:
        await web.SockSite(runner, listener).start()
    urls = write_addresses(written, listeners)
    sys.stderr.write(f"cstd reader: page at {urls[0]}/\n")
    pushing = asyncio.create_task(runner.app[PUSHES].run())
    ledger = asyncio.create_task(look_at_ledger(sight, stop))
    alerts = asyncio.create_task(ask_for_alerts(sight.alerts, stop))
    try:
        while not stop.is_set():
            sight.refresh()
            await _pause(stop, (pushing, ledger, alerts))
    finally:
        stop.set()
        pushing.cancel()
        await runner.cleanup()
        await asyncio.wait([ledger])
        await asyncio.wait([alerts], timeout=ALERTS_STOP_S)
        alerts.cancel()
        sight.close()


async def _serve_until_signal(board_path: Path, addresses: Sequence[tuple[str, int]], alertmanager: str,
                              admin: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(board_path, addresses, stop, alertmanager, admin)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the reader process; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cstd.ops.reader", description="Serve a board over HTTP.")
    parser.add_argument("--board", required=True, type=Path, help="board file of the trading process")
    parser.add_argument("--listen", action="append", metavar="HOST:PORT", help="repeatable; default 127.0.0.1:8001")
    parser.add_argument("--alertmanager", default="", metavar="URL", help="whom to ask what fires (default: nobody)")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="admin socket, for answers of the page (default: none)")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process does")
    args = parser.parse_args(argv)

    def run() -> None:
        addresses = [parse_address(text) for text in args.listen or ["127.0.0.1:8001"]]
        if args.parent is not None:
            follow_parent(args.parent)
        asyncio.run(_serve_until_signal(args.board, addresses, args.alertmanager, args.socket))

    return exit_code_of("reader", run)


if __name__ == "__main__":
    sys.exit(main())
