"""Sessions for tests: the product's own (cstd.chaos.session) and its judge, with assertions around them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from cstd.chaos import judge, session
from cstd.chaos.judge import FILL_FIELDS, Row, told
from cstd.engine import Engine

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config" / "practice.toml"
USER_BTC = Decimal("0.05")

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

    def child_pid(self, module: str) -> int | None:
        """The process id of the daemon's child that runs a module, None while there is none."""
        for pid in self.children():
            with contextlib.suppress(FileNotFoundError):
                if f"{module}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None

    def seen(self, path: str) -> str:
        """What the status port says at a path; waits until it is up: its file may name the port of one killed."""
        said: list[str] = []

        def asked() -> list[str]:
            with contextlib.suppress(FileNotFoundError, urllib.error.URLError, ConnectionError):
                page = json.loads((self.run_dir / "reader.json").read_bytes())["page"]
                try:
                    with urllib.request.urlopen(f"{page}{path}", timeout=5) as reply:
                        said.append(reply.read().decode())
                except urllib.error.HTTPError as error:  # that is an answer
                    raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None
            return said

        self.wait(asked, 30, f"the status port does not say {path}")
        return said[0]

    def close(self) -> None:
        """End what still runs and leave nothing outside the test's folder."""
        super().close()
        self.remove_ring()


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
