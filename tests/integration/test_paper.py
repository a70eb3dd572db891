"""Mode paper as real processes: a practice exchange's market, the simulated venue's fills, nothing that goes private."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cstd.chaos.judge import Finding, compare_rows
from cstd.cli.app import main
from cstd.config import template
from cstd.daemon.paper_account import read_account
from cstd.orders.simulated_terms import SIDE_NAMES
from cstd.storage.run_dir import PAPER_FILE
from cstd.units import from_raw
from tests.integration.session import REPOSITORY, Session, cstd
from tests.strategies import built
from tests.turns import SOURCE

# A test trades more in a minute than the shipped limits allow in an hour, and starts again sooner than the slowest tier likes.
MARKET = """
[policy]
parents_per_instrument_hour_max = 400
turnover_equity_multiple_max = 50
losing_round_trips_max = 1000
[venue]
tier = "pro"
[journal]
disk_free_bytes_min = 16777216
"""

PROVEN = "kill: the venue shows no opening of ours"


@pytest.fixture(scope="module")
def strategy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A strategy that buys, holds for a second or two and sells, built."""
    return built(tmp_path_factory.mktemp("own"), "turns", SOURCE)


class PaperSession(Session):
    """A practice exchange for its market, and a daemon in mode paper beside it."""

    def __init__(self, run_dir: Path, strategy: Path, **params: int) -> None:
        super().__init__(run_dir, {"PYTHONPATH": str(REPOSITORY), "CSTD__STATUS__LISTEN": "127.0.0.1:0"})
        for name in [name for name in self.env if "REHEARSAL" in name]:
            del self.env[name]  # paper refuses the table
        self.config = template("paper")
        self.daemon_module = "tests.integration.paper_daemon"
        told = ", ".join(f"{name} = {value}" for name, value in params.items())
        self.own = run_dir / "own.toml"
        self.own.write_text(f'[strategy]\nname = "own"\n[strategy.own]\ndir = "{strategy}"\nparams = {{ {told} }}\n{MARKET}')

    def start(self, *words: str, stdout: int = subprocess.DEVNULL) -> None:
        """With the strategy's own file beside the template."""
        super().start("-c", str(self.own), *words, stdout=stdout)

    def account_differs(self) -> list[Finding]:
        """What the daemon and the simulated account disagree on, orders and fills."""
        history, _ = read_account(self.run_dir / PAPER_FILE)
        orders = [{"cl_ord_id": row.terms.cl_ord_id, "symbol": row.terms.spec.name,
                   "side": SIDE_NAMES[row.terms.side], "order_qty": from_raw(row.qty_raw, row.terms.spec.qty_precision),
                   "filled_qty": from_raw(row.filled_raw, row.terms.spec.qty_precision),
                   "status": {"closed": "filled", "open": "new"}.get(row.status, row.status)} for row in history.orders.values()]
        of = {row.order_id: row.terms for row in history.orders.values()}
        fills = [{"exec_id": row.exec_id, "cl_ord_id": of[row.order_id].cl_ord_id, "symbol": of[row.order_id].spec.name,
                  "side": SIDE_NAMES[of[row.order_id].side], "qty": row.qty, "price": row.price, "fee": row.fee,
                  "fee_asset": "USD"} for row in history.fills.values()]
        return compare_rows(self.rows("orders"), self.rows("fills"), {"orders": orders, "fills": fills})

    def wait_rest(self, timeout_s: float = 60.0) -> None:
        """As every session does, and until both accounts say the same."""
        super().wait_rest(timeout_s)
        self.wait(lambda: self.account_differs() == [], 30, "the account differs")

    def assert_replays(self, fills: int) -> None:
        """`cstd replay --check` finds no difference, and so many fills."""
        done = cstd(self, "replay", str(self.run_dir), "--check", timeout_s=90)
        assert done.returncode == 0, done.stderr
        row = json.loads(done.stdout)
        assert (row["differences"], row["fills"]) == (0, fills), row


@contextlib.contextmanager
def paper_session(run_dir: Path, strategy: Path, **params: int) -> Iterator[PaperSession]:
    """A session whose exchange runs; the daemon is the test's to start."""
    run_dir.mkdir(exist_ok=True)
    session = PaperSession(run_dir, strategy, **{"hold_s": 1, "lifetime_s": 5, **params})
    try:
        session.start_exchange()
        yield session
    finally:
        session.close()


def assert_nothing_went_private(session: PaperSession) -> None:
    """The exchange beside it has no private connection, no order, and the balances that it began with."""
    assert session.tell_exchange("cut", server="ws_private") == {"cut": 0}
    truth = session.fresh_truth()
    assert (truth["orders"], truth["fills"], truth["balances"]) == ([], [], session.start_balances)


def test_paper_trades_by_the_simulated_venue_alone(tmp_path: Path, strategy: Path) -> None:
    """It says paper, ignores a key, trades, is killed; account and journal agree, and neither runs without the other."""
    with paper_session(tmp_path / "run", strategy) as session:
        session.env |= {"KRAKEN_API_KEY": "somebody's", "KRAKEN_API_SECRET": "c2VjcmV0"}
        session.start()
        session.wait_state("ready", 60)
        assert session.request("status")["mode"] == "paper"
        session.wait(lambda: {row["side"] for row in session.rows("fills")} == {"buy", "sell"}, 60, "no round trip")
        assert_nothing_went_private(session)
        session.request("kill", {"reason": "drill"})
        session.wait(lambda: PROVEN in session.log_tail(lines=400), 20, "the kill is not proven")
        session.wait_rest()
        fills = len(session.rows("fills"))
        assert session.terminate() == 0
        log = session.log_tail(lines=1000)
        assert "mode paper ignores KRAKEN_API_KEY, KRAKEN_API_SECRET" in log and "somebody" not in log
        assert "link fault" not in log and "reconciliation" not in log
        session.assert_replays(fills)
        assert_nothing_went_private(session)
        refused = cstd(session, "run", "--run-dir", str(session.run_dir), "-c", str(template("practice")), timeout_s=30)
        assert refused.returncode == 78 and "is of mode paper" in refused.stderr and "another --run-dir" in refused.stderr
        (session.run_dir / PAPER_FILE).unlink()
        session.start()
        assert session.daemon is not None and session.daemon.wait(30) == 3
        assert "fills that the simulated account in" in session.log_tail() and "Traceback" not in session.log_tail()


def test_paper_loses_nothing_by_kill_nine(tmp_path: Path, strategy: Path) -> None:
    """Killed just after a fill, with what else is out: nothing is lost or twice, and what is held is sold by flatten."""
    with paper_session(tmp_path / "run", strategy, hold_s=600) as session:
        session.start()
        session.wait_state("ready", 60)
        session.wait(lambda: session.request("positions"), 60, "no position", poll_s=0.1)
        session.kill_nine()
        session.start()
        session.wait_state("ready", 60)
        assert session.request("positions"), "what was bought is held after the restart"
        session.request("pause")
        session.request("flatten", {})
        session.wait_rest()
        held = {asset: amount for asset, amount in read_account(session.run_dir / PAPER_FILE)[0].balances.items() if amount}
        assert held.keys() == {"USD"}
        fills = len(session.rows("fills"))
        assert session.terminate() == 0
        assert "link fault" not in session.log_tail(lines=2000)
        session.assert_replays(fills)
        assert_nothing_went_private(session)
        saved, other = tmp_path / "backup", tmp_path / "other"
        for verb, where, run_dir in (("backup", saved, session.run_dir), ("restore", saved, other)):
            done = cstd(session, verb, str(where), "--run-dir", str(run_dir), timeout_s=60)
            assert done.returncode == 0, done.stderr
        assert (other / PAPER_FILE).read_bytes() == (session.run_dir / PAPER_FILE).read_bytes()


def test_paper_starts_as_it_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is missing: the ensemble runs, and without a model it trades nothing."""
    assert main(["config", "check", "-c", str(template("paper")), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["starts"], found["refusals"], found["mode"]) == (True, [], "paper")
