"""What every verb prints with -o json, of a session that trades, against `cstd schema`; and what two of them tell of it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.session import CONFIG, Session, cstd, practice_session
from tests.schemas import assert_fits

# The exchange's lists are settled at once.
SETTLED = {"CSTD__VENUE__UNKNOWN_ABSENT_S": "0.5"}
COUNTS = ("decided", "approved", "reduced", "refused")


def printed(session: Session, *words: str, code: int = 0) -> Any:
    """The JSON of one verb, its lines as a list where there are several."""
    done = cstd(session, *words, "-o", "json", timeout_s=90)
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    rows = [json.loads(line) for line in (done.stdout or done.stderr).splitlines()]
    return rows[0] if len(rows) == 1 else rows


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_outputs_of_a_session_fit_their_schemas(tmp_path: Path) -> None:
    """Socket verbs, why in its three forms, config check, doctor, and what is asked of the journal once the daemon has gone."""
    run_dir = str(tmp_path)
    with practice_session(tmp_path, SETTLED) as session:
        session.start_ready()
        session.wait(lambda: len(session.rows("fills")) >= 4, 40, "no fills")
        socket = ("--run-dir", run_dir)
        held: list[Any] = []
        session.wait(lambda: held.extend(session.request("positions")) or held, 20, "nothing held")
        assert_fits("positions", held)
        for words in (["status"], ["positions"], ["orders", "--all"], ["fills", "--all"], ["gates"], ["limits"],
                      ["why", "--last"], ["why", "--count", "20"], ["why", "--since", "10m"], ["pause"], ["resume"]):
            found = printed(session, *words, *socket)
            assert found or words == ["positions"], words
            assert_fits(words[0], found)
        assert_fits("limits set", printed(session, "limits", "set", "risk.positions_max", "9", "--yes", *socket))
        assert_fits("limits reset", printed(session, "limits", "reset", "risk.positions_max", "--yes", *socket))
        decided: list[Any] = []

        def both_kinds() -> bool:
            decided[:] = printed(session, "why", "--count", "20", *socket)
            return {row["kind"] for row in decided} == {"opening", "exit"}

        session.wait(both_kinds, 90, "not both kinds were decided, and exits have keys of their own")
        assert_fits("why", decided)
        assert_fits("error", printed(session, "why", "no-such-order", *socket, code=1))
        checked = printed(session, "config", "check", "-c", str(CONFIG), "--session", run_dir)
        assert_fits("config check", checked)
        tradable = checked["tradable"]
        assert {row["name"]: row["tradable"] for row in tradable["instruments"]} == {"BTC/USD": True, "ETH/USD": True}
        assert tradable["known_from"].startswith("the daemon that runs")
        looked = json.loads(cstd(session, "doctor", "-c", str(CONFIG), "--run-dir", run_dir, "--venue", "-o", "json").stdout)
        assert_fits("doctor", looked)
        ours = {"configuration", "compiled core", "agents", "port status.listen", "keys", "file modes"}
        assert {check["name"]: check["state"] for check in looked["checks"] if check["name"] in ours} == dict.fromkeys(ours, "ok")
        asked = [check for check in looked["checks"] if check["name"].startswith("venue")]
        assert len(asked) == 2 and all(check["state"] != "problem" for check in asked), asked  # how sure depends on the load
        time.sleep(1.7)  # what happened so far is inside the span, whose end is cut to a whole second
        assert_fits("statement", printed(session, "statement", *socket))
        assert_fits("flatten", printed(session, "flatten", "--yes", *socket))
        assert_fits("kill", printed(session, "kill", "--yes", *socket))
        assert_fits("kill", printed(session, "kill", "--clear", "--yes", *socket))
        assert_fits("status", printed(session, "status", *socket))
        told = printed(session, "why", "--since", "1d", *socket)
        assert_fits("why", told)
        assert session.terminate() == 0
        assert_fits("summary", json.loads((tmp_path / "summary.json").read_bytes()))
        assert_offline(session, run_dir, told)


def assert_offline(session: Session, run_dir: str, told: dict[str, Any]) -> None:
    """The verbs that read what a session left; the ledger counts what the daemon counted."""
    journal = str(Path(run_dir) / "journal")
    assert_fits("replay", printed(session, "replay", "--check", journal))
    assert_fits("journal verify", printed(session, "journal", "verify", journal))
    assert_fits("journal checkpoint", printed(session, "journal", "checkpoint", journal))
    assert_fits("flight save", printed(session, "flight", "save", "--run-dir", run_dir))
    assert_fits("flight list", printed(session, "flight", "list", "--run-dir", run_dir))
    backup = f"{Path(run_dir).resolve()}-backup"
    assert_fits("backup", printed(session, "backup", backup, "--run-dir", run_dir))
    assert_fits("restore", printed(session, "restore", backup, "--run-dir", f"{backup}-restored"))
    assert_fits("db rebuild", printed(session, "db", "rebuild", run_dir))
    proven = next(Path(run_dir).resolve().glob("statements/*.json"))
    assert_fits("statement", printed(session, "statement", "--verify", str(proven)))
    proven.chmod(0o644)
    proven.write_bytes(proven.read_bytes().replace(b'"mode":"practice"', b'"mode":"practise"'))
    assert_fits("statement", printed(session, "statement", "--verify", str(proven), code=3))
    written = printed(session, "why", "--since", "1d", "--run-dir", run_dir)
    assert_fits("why", written)
    assert written["source"].endswith("ledger.db") and written["state"] == "stopping"
    with contextlib.closing(sqlite3.connect(f"file:{run_dir}/ledger.db?mode=ro", uri=True)) as ledger:
        later = dict(ledger.execute("SELECT verdict, count(*) FROM decisions WHERE NOT rejudged AND wall_ns > ? GROUP BY verdict",
                                    (told["until_wall_ns"],)).fetchall())
    later = {"decided": sum(later.values()), "approved": later.get("approve", 0), "reduced": later.get("reduce", 0),
             "refused": later.get("refuse", 0)}
    assert {key: written[key] - later[key] for key in COUNTS} == {key: told[key] for key in COUNTS}
    assert told["decided"] >= 4 and written["fills"] >= told["fills"] > 0
    assert later["decided"] or written["gates"] == told["gates"]
    checked = printed(session, "config", "check", "-c", str(CONFIG), "--session", run_dir)
    assert checked["tradable"]["known_from"].startswith("the journal in")
    assert all(row["tradable"] for row in checked["tradable"]["instruments"])
    segment = next(Path(journal).glob("segment-*"))
    segment.write_bytes(segment.read_bytes()[:5_000] + b"\0" * 64 + segment.read_bytes()[5_064:])
    assert_fits("journal verify", printed(session, "journal", "verify", journal, code=3))
    assert_fits("replay", printed(session, "replay", journal, code=3))
