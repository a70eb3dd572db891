"""A burst of recorded frames, as fast as loopback carries them: the live daemon, a bare listener, NautilusTrader, in turns.

    python bench/live/burst.py [--loops N] [--turns N] [--nautilus PYTHON] [--result FILE]

Recorded book frames of three instruments are laid out as websocket bytes beforehand and written to one client at a time.

- The daemon is the whole trading process: every frame scanned, applied, its checksum verified, journaled; orders wished for
  at each decision. It is done when it answers a ping that was written after the last frame, so everything before it was
  applied; its counters must then have grown by exactly the frames sent, all checksums good.
- The bare listener is picows in Cython that counts: what receiving alone costs. Done when it answers the ping.
- NautilusTrader's live Kraken client makes data objects and drops them, without checksum or book. Done when it says that it
  has seen the last one. Where its environment is missing, that is said and the others are measured.

Frames a second count from the first write to the end. CPU is that of the client process, all threads, from
/proc/PID/task/*/schedstat, until 0.5 s after the end (journal writing included), less what the process uses when idle: the
median over the turns of the second before each burst.
`behind_ms` is how long the client still needed after the last byte had been taken by its socket: what it held in buffers.
Of the daemon, the journal is read afterwards: no opening may lie between a link event `behind` and the one that ends it.
Exit 3 when a promise is broken: 10 x the peer's frames a second, 1/6 of its CPU a frame.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bare
import session
import sockets
from venue import Venue

from cstd._fast.codes import EventKind, Link, OrderAction
from cstd._fast.recorder import Recorder
from cstd.child import end_with_parent
from cstd.engine import Engine
from cstd.engine.replaying import JournalReplay
from cstd.research.bench import open_limits
from cstd.signals.agents.loader import load as load_agents
from cstd.storage.journal_reader import record_batches, records

sys.path.insert(0, str(session.HERE.parent))

import result  # the folder above is no package

RECORDINGS = ("kraken-v2-btcusd-d25-20260802.jsonl.zst", "kraken-v2-ethusd-xrpusd-d25-20260802.jsonl.zst")
NAUTILUS = session.REPOSITORY / "build" / "peers" / "nautilus" / "bin" / "python"
FRAMES_RATIO_MIN = 10.0
CPU_RATIO_MAX = 1 / 6
SETTLE_S = 0.5
WARM_S = 2.0
IDLE_S = 1.0
END_S = 60.0
START_S = 30.0
CHUNK_BYTES = 1 << 20
PRIVATE_WAIT_S = 0.05
MARK = b"last"
NS_PER_S = 1_000_000_000


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process, in ns."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


class Client:
    """One client of the burst: its process and the socket that it reads."""

    name = ""
    process: subprocess.Popen[bytes]
    peer: sockets.Peer

    def attend(self, timeout_s: float) -> None:
        """Serve what else the client wants."""
        time.sleep(timeout_s)

    def wait_end(self, deadline_s: float) -> int:
        """Return the monotonic ns at which the last frame had been handled."""
        self.peer.sock.settimeout(max(0.1, deadline_s - time.monotonic()))
        try:
            while True:
                frames = self.peer.read()
                if any(opcode == sockets.PONG and payload == MARK for opcode, payload in frames):
                    return time.monotonic_ns()
                if self.peer.closed:
                    raise SystemExit(f"{self.name} closed its connection during the burst")
        except TimeoutError:
            raise SystemExit(f"{self.name} has not taken the burst in {END_S:g} s") from None
        finally:
            self.peer.sock.settimeout(None)

    def check(self, _frames: int) -> dict[str, Any]:
        """What the client says of the burst; raises when frames are missing."""
        return {}

    def close(self) -> None:
        """End it."""
        session.stop(self.process)
        self.peer.close()


class Daemon(Client):
    """The trading process."""

    name = "cstd"

    def __init__(self, live: session.LiveDaemon) -> None:
        self.live = live
        assert live.process is not None
        self.process = live.process
        self._before = live.counters()
        self._orders = live.venue.orders

    @property
    def peer(self) -> sockets.Peer:  # type: ignore[override]
        """The public connection as it is now."""
        if self.live.venue.public is None:
            raise SystemExit("the daemon disconnected")
        return self.live.venue.public

    def attend(self, timeout_s: float) -> None:
        """Answer subscriptions for a while."""
        until_s = time.monotonic() + timeout_s
        while (left_s := until_s - time.monotonic()) > 0:
            self.live.venue.serve(left_s, ("public",))

    def check(self, frames: int) -> dict[str, Any]:
        """Counters of the daemon over this burst."""
        status, now = self.live.status(), self.live.counters()
        grown = {name: now[name] - self._before[name] for name in ("book_updates", "checksums_ok", "checksums_bad", "batches")}
        orders, self._orders = self.live.venue.orders - self._orders, self.live.venue.orders
        self._before = now
        if grown["batches"] and not orders:
            raise SystemExit(f"the daemon sent no order in {grown['batches']} decision passes: this is not the work to measure; "
                             f"level {status.get('level')}, {status.get('level_reason')}")
        if grown["book_updates"] != frames or grown["checksums_ok"] != frames or status.get("state") != "ready":
            raise SystemExit(f"the daemon did not verify all {frames} frames: {grown}, state {status.get('state')}")
        journal = status["journal"]
        return {"verified": grown["checksums_ok"], "batches": grown["batches"], "orders": orders,
                "journal_seq": journal["seq"], "journal_lag_ms": round(journal["lag_ms"], 1), "link": status["links"]["public"]}

    def close(self) -> None:
        """The session ends it."""


class Bare(Client):
    """The picows listener that counts."""

    name = "picows"

    def __init__(self, log: Path) -> None:
        listening = sockets.listen()
        listening.settimeout(START_S)
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        self.process = session.spawn([sys.executable, str(session.HERE / "bare.py"), "count", url], log)
        self.peer = sockets.accept(listening)
        self.peer.sock.settimeout(None)
        listening.close()


class Nautilus(Client):
    """NautilusTrader's live client."""

    name = "nautilus"

    def __init__(self, python: Path, rest_url: str, names: list[str], frames: int) -> None:
        listening = sockets.listen()
        listening.settimeout(START_S)
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/v2"
        self.process = subprocess.Popen(
            [str(python), str(session.HERE / "nautilus_client.py"), url, rest_url, str(frames), *names],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        self.peer = sockets.accept(listening)
        listening.close()
        self.peer.sock.settimeout(START_S)
        subscribed = 0
        while subscribed < len(names):
            subscribed += sum(opcode == sockets.TEXT and b'"book"' in payload for opcode, payload in self.peer.read())
        self.peer.sock.settimeout(None)
        self._line(START_S)

    def _line(self, timeout_s: float) -> bytes:
        """The next line that it prints."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise SystemExit(f"nautilus said nothing for {timeout_s:g} s, exit code {self.process.poll()}")
        return line

    def wait_end(self, deadline_s: float) -> int:
        """When it has counted as many objects as frames were sent."""
        return int(self._line(max(0.1, deadline_s - time.monotonic())).split()[1])


@contextlib.contextmanager
def private_side(venue: Venue) -> Iterator[None]:
    """Answer orders in a thread of its own: a venue does not fall silent because another client has its turn.

    Orders unanswered for seconds are a fault of the venue, at which the daemon rightly stops to open.
    """
    ending = threading.Event()
    failed: list[Exception] = []

    def serve() -> None:
        try:
            while not ending.is_set():
                venue.serve(PRIVATE_WAIT_S, ("private",))
        except Exception as error:  # noqa: BLE001 -- told where it can be seen: without answers the daemon would get the blame
            failed.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        if failed:
            raise SystemExit(f"the venue's private side failed: {failed[0]!r}")


def write_all(client: Client, blob: bytes) -> None:
    """Write the burst as fast as the client reads."""
    view, at = memoryview(blob), 0
    sock = client.peer.sock
    sock.settimeout(END_S)
    try:
        while at < len(view):
            at += sock.send(view[at:at + CHUNK_BYTES])
    except TimeoutError:
        raise SystemExit(f"{client.name} reads nothing") from None
    finally:
        sock.settimeout(None)


def one_burst(client: Client, blob: bytes, frames: int) -> dict[str, Any]:
    """One turn of one client: idle for a second, then the burst."""
    pid = client.process.pid
    idle_from_ns, idle_cpu_ns = time.monotonic_ns(), cpu_ns(pid)
    client.attend(IDLE_S)
    idle = (cpu_ns(pid) - idle_cpu_ns) / (time.monotonic_ns() - idle_from_ns)
    cpu_before_ns, began_ns = cpu_ns(pid), time.monotonic_ns()
    write_all(client, blob + sockets.server_frame(MARK, sockets.PING))
    sent_ns = time.monotonic_ns()
    end_ns = client.wait_end(time.monotonic() + END_S)
    client.attend(SETTLE_S)
    return {"frames_per_s": int(frames * NS_PER_S / (end_ns - began_ns)), "behind_ms": round(max(0, end_ns - sent_ns) / 1e6, 2),
            "cpu_ns": cpu_ns(pid) - cpu_before_ns, "looked_ns": time.monotonic_ns() - began_ns, "idle_cpu_frac": round(idle, 4),
            **client.check(frames)}


def settle_cpu(rows: list[dict[str, Any]], frames: int) -> None:
    """CPU a frame of every turn of one client, less the median of what it uses when idle."""
    idle = statistics.median(row["idle_cpu_frac"] for row in rows)
    for row in rows:
        row["cpu_ns_per_frame"] = round((row["cpu_ns"] - idle * row["looked_ns"]) / frames, 1)


def openings_while_behind(run_dir: Path) -> dict[str, int]:
    """Read the daemon's journal: how often its public link was behind, and how many openings left meanwhile."""
    behind = False
    found = {"behind_episodes": 0, "openings": 0, "openings_while_behind": 0}
    for record in records(run_dir / "journal"):
        if record.kind == EventKind.EVENT_LINK and record.tag == Link.LINK_PUBLIC:
            behind = json.loads(bytes(record.payload)).get("behind", False)
            found["behind_episodes"] += behind
        elif record.kind == EventKind.OUT_ORDER_FRAME and record.tag == OrderAction.ACTION_ADD:
            found["openings"] += 1
            found["openings_while_behind"] += behind
    return found


def recomputed(run_dir: Path) -> dict[str, Any]:
    """The daemon's journal through an engine again, every output compared: as `cstd replay --check`, with the bench strategy."""
    engine = Engine(Recorder(), load_agents(), strategy="bench")
    replay = JournalReplay(engine)
    booted = False
    began_ns = time.monotonic_ns()
    for batch in record_batches(run_dir / "journal"):
        rest = batch
        if not booted:
            boot = next(at for at, record in enumerate(batch) if record.kind == EventKind.EVENT_BOOT)
            replay.take(batch[:boot + 1])
            open_limits(engine)
            rest, booted = batch[boot + 1:], True
        replay.take(rest)
    took_ns = time.monotonic_ns() - began_ns
    if replay.difference_count:
        raise SystemExit(f"the journal of the bursts does not replay: {replay.differences}")
    counters = engine.core.counter_values()
    return {"frames": counters["frames"], "frames_per_s": counters["frames"] * NS_PER_S // took_ns,
            "outputs": replay.outputs, "checksums_bad": counters["checksums_bad"], "differences": replay.difference_count}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All turns; per client each turn and the medians."""
    paths = [session.data_folder() / name for name in RECORDINGS]
    bare.build()
    with session.LiveDaemon(paths) as live:
        once = live.recording.frames
        frames = len(once) * args.loops
        blob = b"".join(map(sockets.server_frame, once)) * args.loops
        clients: list[Client] = [Bare(live.run_dir / "bare.log")]
        try:
            clients.append(Daemon(live))
            missing = add_nautilus(clients, args.nautilus, live, frames)
            turns: dict[str, list[dict[str, Any]]] = {client.name: [] for client in clients}
            with private_side(live.venue):
                clients[1].attend(WARM_S)
                for _ in range(args.turns):
                    for client in clients:
                        turns[client.name].append(one_burst(client, blob, frames))
        finally:
            for client in clients:
                client.close()
        stale = openings_while_behind(live.run_dir)
        live.stop_daemon()
        again = recomputed(live.run_dir)
    if stale["openings_while_behind"]:
        raise SystemExit(f"openings left on data that was known to be old: {stale}")
    for rows in turns.values():
        settle_cpu(rows, frames)
    figures = {"frames": frames, "bytes": len(blob), "recordings": list(RECORDINGS), "journal": stale, "recomputed": again,
               "clients": {name: {**medians(rows), "turns": rows} for name, rows in turns.items()}}
    if missing:
        figures["nautilus_missing"] = missing
    else:
        figures["ratios"] = {"frames_per_s": round(paired(turns, "frames_per_s"), 2),
                             "cpu_per_frame": round(paired(turns, "cpu_ns_per_frame"), 4),
                             "nautilus_version": peer_version(args.nautilus)}
    return figures


def add_nautilus(clients: list[Client], python: Path, live: session.LiveDaemon, frames: int) -> str:
    """Add the peer; returns why it is missing, or ""."""
    if not python.exists():
        return f"{python} is not there: make burst-peer"
    try:
        clients.append(Nautilus(python, live.addresses()["rest"], live.recording.names, frames))
    except (TimeoutError, ConnectionError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def peer_version(python: Path) -> str:
    """Version of the peer."""
    code = "import nautilus_trader, platform; print(nautilus_trader.__version__, 'on Python', platform.python_version())"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def medians(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Median over the turns of each figure."""
    return {key: statistics.median(row[key] for row in rows) for key in ("frames_per_s", "cpu_ns_per_frame", "behind_ms")}


def paired(turns: dict[str, list[dict[str, Any]]], key: str) -> float:
    """Median over the turns of the daemon's figure against the peer's in the same turn."""
    return statistics.median(ours[key] / theirs[key] for ours, theirs in zip(turns["cstd"], turns["nautilus"], strict=True))


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    print(f"{figures['frames']:,} frames, {figures['bytes']:,} bytes, median of the turns")
    for name, row in figures["clients"].items():
        print(f"{name:9} {int(row['frames_per_s']):>10,} frames/s   {row['cpu_ns_per_frame'] / 1000:>7.2f} us CPU a frame   "
              f"behind {row['behind_ms']:>7.1f} ms")
    print(f"openings of cstd: {figures['journal']}")
    again = figures["recomputed"]
    print(f"its journal replayed with --check: {again['frames']:,} frames, {again['frames_per_s']:,} frames/s, "
          f"{again['differences']} differences")
    if "ratios" in figures:
        ratios = figures["ratios"]
        print(f"cstd against nautilus_trader {ratios['nautilus_version']}, paired: "
              f"{ratios['frames_per_s']:.1f} x the frames a second, {ratios['cpu_per_frame']:.3f} of the CPU a frame")
    else:
        print(f"nautilus_trader was not measured: {figures['nautilus_missing']}")


def main() -> int:
    parser = argparse.ArgumentParser(description="a burst of recorded frames through the live daemon and others")
    parser.add_argument("--loops", type=int, default=20, help="how often the recordings are repeated in a burst (default 20)")
    parser.add_argument("--turns", type=int, default=5, help="bursts of each client (default 5)")
    parser.add_argument("--nautilus", type=Path, default=NAUTILUS, help="the peer's Python (default build/peers/nautilus)")
    parser.add_argument("--no-limits", action="store_true", help="exit 0 whatever the ratios are")
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.loops < 1 or args.turns < 1:
        parser.error("--loops and --turns: at least one")
    figures = measure(args)
    show(figures)
    peer = {"nautilus_trader": figures["ratios"]["nautilus_version"]} if "ratios" in figures else {}
    result.keep(args, "burst", figures, versions=peer)
    ratios = figures.get("ratios", {"frames_per_s": FRAMES_RATIO_MIN, "cpu_per_frame": 0.0})
    broken = ratios["frames_per_s"] < FRAMES_RATIO_MIN or ratios["cpu_per_frame"] > CPU_RATIO_MAX
    return 3 if broken and not args.no_limits else 0


if __name__ == "__main__":
    sys.exit(main())
