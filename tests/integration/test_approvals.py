"""Openings that wait for an operator, on a daemon that trades: over the command line, the status port and the venue."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.session import Session, cstd, practice_session

LASTS_S = 120


def verb(session: Session, *words: str, code: int = 0) -> Any:
    """What one `cstd` verb says in JSON: the answer, or with another exit code the error."""
    done = cstd(session, *words, "--run-dir", str(session.run_dir), "-o", "json")
    assert done.returncode == code, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
    return json.loads(done.stderr if code else done.stdout)


def shown(session: Session) -> Any:
    """What the status port shows."""
    return session.api("approvals")


def by_the_page(session: Session, token: str, id_: int, answer: str) -> tuple[int, Any]:
    """What the status port says to an answer that the page would send: status and body."""
    assert session.seen("/health")  # the page is up
    url = session.page()
    request = urllib.request.Request(f"{url}/api/v1/approvals/{id_}", json.dumps({"answer": answer}).encode(), {
        "Content-Type": "application/json", "Authorization": f"Bearer {token}", "Origin": url})
    try:
        with urllib.request.urlopen(request, timeout=60) as told:
            return told.status, json.load(told)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def approved_in_time(session: Session, token: str) -> bool:
    """Whether an opening has left, after an approval, by the page, of all that waits."""
    for row in session.request("approvals"):
        if row["state"] == "waits":
            by_the_page(session, token, row["id"], "approve")
            time.sleep(0.5)  # a tick and a pass; the admin socket takes two commands a second
    return any(order["kind"] == "opening" for order in session.rows("orders"))


def test_an_operator_answers_on_the_command_line(tmp_path: Path) -> None:
    """Nothing leaves unasked; declined nothing does; approved it is sent and the venue shows it; forged ids: exit 1."""
    with practice_session(tmp_path, {"CSTD__APPROVE__ABOVE": "0", "CSTD__APPROVE__EXPIRES_S": str(LASTS_S)}) as session:
        session.start_ready()
        session.wait(lambda: session.request("approvals"), 60, "nothing waits")
        assert session.rows("orders") == []
        row = verb(session, "approve", "--list")[0]
        found: list[Any] = []
        session.wait(lambda: found.extend(other for other in shown(session) if other["id"] == row["id"]) or found, 30,
                     "the status port does not show it")
        asks = found[0]
        assert asks["approve"].startswith(f"cstd approve {row['id']} --run-dir ") and 0 < row["expires_in_s"] <= LASTS_S
        assert "999999" in verb(session, "approve", "999999", "--yes", code=1)["message"]
        assert "confirmation" in verb(session, "approve", str(row["id"]), code=2)["message"]
        assert verb(session, "why", str(row["id"]))["approval"] == "waits"
        assert verb(session, "decline", str(row["id"]), "--reason", "too early")["answer"] == "declined"
        assert "declined" in verb(session, "approve", str(row["id"]), "--yes", code=1)["message"]
        assert session.rows("orders") == []
        session.wait(lambda: session.request("approvals"), 60, "nothing waits after the first was declined")
        row = session.request("approvals")[0]
        said = cstd(session, *row["approve"].split()[1:], "--yes")  # the command that is shown, as it is
        assert said.returncode == 0, said.stderr
        session.wait(lambda: row["id"] not in {other["id"] for other in session.request("approvals")}, 60, "it is not judged")
        token = verb(session, "page", "token")["token"]
        status, told = by_the_page(session, token, row["id"], "decline")  # it has left, or was refused
        assert (status, "waits no more" in told["message"]) == (409, True)
        assert by_the_page(session, "x" * 43, row["id"], "approve")[0] == 401
        # The market may have come down to its price meanwhile, and the gates refuse: then the next one.
        session.wait(lambda: approved_in_time(session, token), 60, "nothing was sent")
        order = session.rows("orders")[-1]
        session.wait(lambda: order["cl_ord_id"] in {seen["cl_ord_id"] for seen in session.fresh_truth()["orders"]}, 30,
                     "the venue knows nothing of it")
        counted = session.request("counters")
        assert counted["approvals_sent"] >= 1 == counted["approvals_declined"] and counted["approvals_asked"] >= 2
        assert session.terminate() == 0
        session.assert_journal_is_true()
        trail = [json.loads(line) for line in cstd(session, "audit", str(session.run_dir), "-o", "json").stdout.splitlines()]
        page = [entry for entry in trail if entry["via"] == "page"]
        assert {entry["uid"] for entry in page} == {os.getuid()} and token not in json.dumps(trail)
        assert page[0]["verb"] == "decline" and (page[0]["result"], page[0]["refusal"]) == ("refused", told["message"])
