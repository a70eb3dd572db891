"""Sessions for tests: the product's own (cstd.chaos.session) and its judge, with assertions around them."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from cstd.chaos import judge, session
from cstd.chaos.judge import FILL_FIELDS, Row, told
from cstd.engine import Engine
from tests.processes import assert_ends

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config" / "practice.toml"
USER_BTC = Decimal("0.05")
READER = "cstd.ops.reader"

__all__ = ["CONFIG", "FILL_FIELDS", "REPOSITORY", "USER_BTC", "Row", "Session", "cstd", "practice_session"]


class Session(session.Session):
    """The product's session; what it judges must hold."""

    def __init__(self, run_dir: Path, env: dict[str, str] | None = None) -> None:
        super().__init__(run_dir, env, config=CONFIG)

    def assert_journal_is_true(self) -> Engine:
        """With the daemon stopped: orders, fills and money of the journal are the exchange's, the user's BTC is untouched."""
        truth, view = self.fresh_truth(), self.journal_view()
        assert not view.findings, told(view.findings)
        found = judge.compare_rows(view.orders, view.fills, truth)
        assert not found, told(found)
        assert self.user_btc(truth, view.positions) == USER_BTC
        return view.engine

    def journal_engine(self) -> Engine:
        """An engine as the journal alone brings it back; the replay must agree with what is recorded."""
        view = self.journal_view()
        assert not view.findings, told(view.findings)
        return view.engine

    def user_btc(self, truth: Row, positions: list[Row]) -> Decimal:
        """The venue's BTC less what the daemon manages."""
        return judge.own_coins("BTC", truth, positions)

    def at_rest(self) -> bool:
        """Whether no order is out and nothing is held but dust; looked at twice, an exit may leave between."""
        return (not self.request("orders") and all(row["dust"] for row in self.request("positions"))
                and not self.request("orders"))

    def wait_rest(self, timeout_s: float = 60.0) -> None:
        """Wait until nothing can fill any more; it is paused or killed, and what it holds leaves after the openings have gone."""
        self.wait(self.at_rest, timeout_s, "it does not come to rest", poll_s=0.2)

    def kill_nine_alone(self) -> None:
        """kill -9, and its children have gone after it: they write on until they notice."""
        children = self.children()
        self.kill_nine()
        for pid in children:
            assert_ends(pid)

    def child_pid(self, module: str) -> int | None:
        """The process id of the daemon's child that runs a module, None while there is none."""
        for pid in self.children():
            with contextlib.suppress(OSError):  # it may end between two looks
                if f"{module}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None

    def page(self) -> str:
        """Where the status port listens, "" before the reader of this start has said so.

        The file of one that was killed may name a port that another session has by now.
        """
        with contextlib.suppress(OSError, ValueError):
            told = json.loads((self.run_dir / "reader.json").read_bytes())
            if told["pid"] == self.child_pid(READER):
                return str(told["page"])
        return ""

    def seen(self, path: str) -> str:
        """What the status port says at a path; waits until it is up and knows what the daemon does now."""
        said: list[str] = []

        def asked() -> list[str]:
            page = self.page()
            with contextlib.suppress(OSError, http.client.HTTPException):  # not up yet, or slow: asked again
                if page:
                    said.append(get(f"{page}{path}"))
            return said

        self.wait(asked, 30, f"the status port does not say {path}")
        return said[0]

    def api(self, route: str) -> Any:
        """What the status port answers at a route of its interface."""
        return json.loads(self.seen(f"/api/v1/{route}"))

    def metrics(self) -> dict[str, float]:
        """What the status port exposes, by series; waits while the board is too old for more than that it is."""
        found: dict[str, float] = {}

        def exposed() -> bool:
            lines = (line.rsplit(" ", 1) for line in self.seen("/metrics").splitlines() if not line.startswith("#"))
            found.clear()
            found.update((name, float(value)) for name, value in lines)
            return found["cstd_up"] == 1

        self.wait(exposed, 30, "the status port does not know the daemon")
        return found

    def close(self) -> None:
        """End what still runs and leave nothing outside the test's folder."""
        super().close()
        self.remove_ring()


def get(url: str) -> str:
    """The body of an answer; one that says that the board is stale, or has not got that far after a start, is none yet.

    Raises:
        OSError: nobody answers, or not in time, or stale.
        AssertionError: any other error, with what was said.
    """
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return str(reply.read().decode())
    except urllib.error.HTTPError as error:
        body = error.read().decode()
        # A busy host published nothing for two seconds; a start publishes one region after the other.
        if error.code == 503 and ('"stale"' in body or "has not published" in body):
            raise
        raise AssertionError(f"{url}: {error.code} {body}") from None


def cstd(session: Session, *words: str, timeout_s: float = 30.0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one `cstd` command in the session's environment and return its exit code and output."""
    return subprocess.run([sys.executable, "-m", "cstd", *words], cwd=REPOSITORY, env=session.env, capture_output=True,
                          text=True, timeout=timeout_s, check=False, **({"input": stdin} if stdin is not None
                                                                         else {"stdin": subprocess.DEVNULL}))


@contextlib.contextmanager
def practice_session(run_dir: Path, env: dict[str, str] | None = None, *options: str, seed: int = 1) -> Iterator[Session]:
    """A session whose exchange runs; the daemon is the test's to start."""
    session = Session(run_dir, env)
    try:
        session.start_exchange(seed, *options)
        yield session
    finally:
        session.close()
