"""The daily statement over real sockets: a true session differs in nothing, a venue that tells otherwise is found out."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cstd.chaos.moments import wait_moment
from cstd.practice.auth import RIGHTS
from tests.integration.session import Session, cstd, practice_session

# The exchange's lists are settled at once; half a second is for what is on its way to us.
SETTLED = {"CSTD__VENUE__UNKNOWN_ABSENT_S": "0.5"}
DEPOSITS = 60
KILLS = 4


def statement(session: Session, *words: str, code: int = 0) -> dict[str, Any]:
    """The statement of the day so far, with the exit code it must have."""
    done = cstd(session, "statement", "--run-dir", str(session.run_dir), "-o", "json", *words, timeout_s=90)
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def settle() -> None:
    """Wait until what happened so far is inside the span of a statement, whose end is cut to a whole second."""
    time.sleep(1.7)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_statement_of_a_session(tmp_path: Path) -> None:
    """With deposits and a withdrawal among the fills nothing differs, asked of the daemon and without it; a lie is named."""
    with practice_session(tmp_path, SETTLED) as session:
        session.start_ready()
        session.wait(lambda: session.rows("fills"), 25, "no fill")
        for asset, amount in (("USD", "250.5"), ("BTC", "0.01"), ("USD", "-50.25")):
            session.tell_exchange("deposit", asset=asset, amount=amount)
        session.wait(lambda: len(session.rows("fills")) >= 4, 25, "no fills")
        settle()
        online = statement(session)
        assert online["differences"] == []
        assert [(move["kind"], move["name"], move["amount"]) for move in online["moves"]] == [
            ("deposit", "USD", "250.5"), ("deposit", "BTC", "0.01"), ("withdrawal", "USD", "-50.25")]
        assert session.state() == "ready", "the daemon went on while its lane was asked"
        session.tell_exchange("rights", rights=[right for right in RIGHTS if right != "query-ledger"])
        assert_denied(session)
        assert session.terminate() == 0
        assert_denied(session)
        session.tell_exchange("rights", rights=list(RIGHTS))
        settle()
        offline = statement(session)
        assert_whole(session, offline)
        assert_file(offline)
        assert_signed(session, offline)
        table = cstd(session, "statement", "--run-dir", str(tmp_path))
        assert (table.returncode, "0 differences" in table.stdout) == (0, True), table.stdout + table.stderr
        assert_lies_are_found(session, offline)
        session.start_ready()  # the nonces that the command took are behind those that the daemon takes
        session.wait(lambda: len(session.rows("fills")) > len(offline["fills"]), 25, "no fill after the restart")


def assert_whole(session: Session, found: dict[str, Any]) -> None:
    """Every execution of the truth is in the statement, and balances end where the truth has them."""
    truth = session.fresh_truth()
    assert {fill["exec_id"] for fill in found["fills"]} == {fill["exec_id"] for fill in truth["fills"]}
    told = {order["cl_ord_id"]: order for order in found["orders"]}
    assert told.keys() >= {order["cl_ord_id"] for order in truth["orders"]}
    for order in truth["orders"]:
        assert Decimal(told[order["cl_ord_id"]]["filled_qty"]) == Decimal(order["filled_qty"])
    for asset, row in found["balances"].items():
        amounts = {name: Decimal(value) for name, value in row.items()}
        assert amounts["closing"] == amounts["here"] == Decimal(truth["balances"][asset])
        assert amounts["opening"] + amounts["traded"] - amounts["fees"] + amounts["moved"] == amounts["closing"]
    assert Decimal(found["fees"]["USD"]) == sum(Decimal(fill["fee"]) for fill in truth["fills"])


def assert_denied(session: Session) -> None:
    """A key that may not read the ledger: no statement, and the right that it needs."""
    done = cstd(session, "statement", "--run-dir", str(session.run_dir), timeout_s=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Ledgers: EGeneral:Permission denied" in done.stderr
    assert "Query Ledger Entries" in done.stderr


def assert_file(found: dict[str, Any]) -> None:
    """The file holds the statement, the hash beside it is of its bytes, and the signature is this host's."""
    path = Path(found["file"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found["sha256"]
    subprocess.run(["sha256sum", "--check", "--quiet", f"{path.name}.sha256"], cwd=path.parent, check=True, timeout=10)
    assert json.loads(path.read_bytes()) == {
        name: value for name, value in found.items() if name not in ("file", "sha256", "signed_by")}


def assert_signed(session: Session, found: dict[str, Any]) -> None:
    """`--verify` proves the file, beside its key and with a copy of the journal's; one changed digit is refused."""
    path, copy = Path(found["file"]), session.run_dir / "kept.pub"
    copy.write_bytes((session.run_dir / "journal" / "signer.pub").read_bytes())
    for key in ((), ("--key", str(copy))):
        proof = cstd(session, "statement", "--verify", str(path), *key, "-o", "json")
        assert proof.returncode == 0, proof.stdout + proof.stderr
        said = json.loads(proof.stdout)
        assert (said["ok"], said["sha256"], said["signed_by"]) == (True, found["sha256"], found["signed_by"])
        assert (said["from"], said["to"], said["differences"]) == (found["from"], found["to"], 0)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"moved":"0.01"', b'"moved":"0.02"'))
    assert path.read_bytes() != whole
    tampered = cstd(session, "statement", "--verify", str(path), "-o", "json")
    assert (tampered.returncode, json.loads(tampered.stdout)["ok"]) == (3, False)
    assert "another content" in tampered.stderr
    path.write_bytes(whole)


def assert_lies_are_found(session: Session, told: dict[str, Any]) -> None:
    """An execution's fee and an order's cost one unit of the last decimal off, an execution and an order left out: each is
    named with its category, and nothing else."""
    first, second = told["fills"][:2]
    dear, gone = [order for order in told["orders"] if order["status"] in ("filled", "canceled", "expired")][:2]
    session.tell_exchange("wrong_order", order_id=dear["order_id"], cost="0.00001")
    session.tell_exchange("wrong_order", order_id=gone["order_id"])
    session.tell_exchange("wrong_trade", exec_id=first["exec_id"], fee="0.00001")
    session.tell_exchange("wrong_trade", exec_id=second["exec_id"])
    found = {(row["category"], row["subject"], row["what"]) for row in statement(session, code=3)["differences"]}
    assert found == {("amount_differs", first["exec_id"], "fee"), ("missing_there", second["exec_id"], "execution"),
                     ("amount_differs", dear["cl_ord_id"], "order: cost"), ("missing_there", gone["cl_ord_id"], "order")}


@pytest.mark.slow
def test_more_entries_than_a_page(tmp_path: Path) -> None:
    """Sixty deposits are two pages of the ledger, asked of the running daemon; a span outside the session is refused."""
    with practice_session(tmp_path, SETTLED) as session:
        session.start_ready()
        time.sleep(1.1)  # a statement begins at the session's first whole second
        for _ in range(DEPOSITS):
            session.tell_exchange("deposit", asset="USD", amount="1.25")
        settle()
        found = statement(session)
        assert (len(found["moves"]), found["differences"]) == (DEPOSITS, [])
        assert Decimal(found["balances"]["USD"]["moved"]) == DEPOSITS * Decimal("1.25")
        early = cstd(session, "statement", "--run-dir", str(tmp_path), "--day", "2020-01-01")
        assert early.returncode == 2
        assert "there is nothing to state" in early.stderr
        assert session.terminate() == 0
        assert session.exchange is not None
        session.exchange.kill()
        session.exchange.wait(5)
        gone = cstd(session, "statement", "--run-dir", str(tmp_path), timeout_s=60)
        assert gone.returncode == 1
        assert "OpenOrders" in gone.stderr
        assert "Traceback" not in gone.stderr


@pytest.mark.slow
@pytest.mark.timeout(400 + 130 * KILLS)
def test_orders_agree_after_kills(tmp_path: Path) -> None:
    """kill -9 with an order open, again and again: every order of the session is the venue's to the last figure."""
    with practice_session(tmp_path, SETTLED) as session:
        for _ in range(KILLS):
            session.start_ready()
            assert wait_moment(session, "order open")
            session.kill_nine()
        refused = cstd(session, "statement", "--run-dir", str(tmp_path), "--running")
        assert (refused.returncode, "no daemon runs" in refused.stderr) == (1, True)
        session.start_ready()
        session.wait_agreement()
        settle()
        found = statement(session, "--running")
        assert found["differences"] == []
        truth = {order["cl_ord_id"] for order in session.fresh_truth()["orders"]}
        told = {order["cl_ord_id"]: order for order in found["orders"]}
        assert len(truth & told.keys()) > KILLS
        assert {name for name, order in told.items() if order["status"] != "rejected"} <= truth
