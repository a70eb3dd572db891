"""One decision by its id from the status port: of the board's newest, else of the session's ledger; and the list's filters."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd.cli.app import main
from cstd.clock import utc_text
from cstd.errors import OperatorError
from cstd.ops import decisions, ledger_file
from cstd.ops.board import DECISIONS_KEPT, DECISIONS_PER_PUBLISH_MAX, BoardReader, BoardWriter
from cstd.ops.decisions import LOOKUPS_MAX, DecisionSight, UnknownIdError
from cstd.ops.sight import Sight
from tests.ops import ledgers
from tests.ops.fake_view import FakeView
from tests.ops.running import Answer, RunningReader, reader_of
from tests.ops.test_execution import eventually
from tests.schemas import assert_fits


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of a session with more decisions than a board shows."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def reader(run_dir: Path) -> Iterator[RunningReader]:
    """A reader of its board, and of a ledger that has all decisions but the newest ones."""
    view = FakeView()
    for _ in range(5 * DECISIONS_KEPT):
        view.step()
    ledgers.decided(run_dir, reversed(view.decision_rows))
    with reader_of(run_dir, view) as running:
        for _ in range(DECISIONS_KEPT):
            view.step()
            running.board.publish(view)
        yield running


def asked(reader: RunningReader, id_: object) -> Answer:
    """What the port answers to an id."""
    return reader.get(f"/api/v1/decisions/{urllib.parse.quote(str(id_), safe='')}")


def test_one_of_the_newest_is_the_daemons_own(reader: RunningReader) -> None:
    """By intent and by client order id, with the cluster that only the daemon names; also what the ledger has not got yet."""
    newest = reader.view.decision_rows[0]
    for decision in (newest, reader.view.decision_rows[3]):
        for id_ in (decision["intent_seq"], decision["cl_ord_id"]):
            answer = asked(reader, id_)
            assert (answer.status, answer.json()) == (200, reader.view.find_decision(str(id_)))
        assert answer.json()["cluster"] and "Cstd-Board-Age-Ms" in answer.headers
        assert_fits("why", answer.json())


def test_an_older_one_is_as_the_command_tells_it(reader: RunningReader, run_dir: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """Of the ledger, with no daemon that could be asked: the same JSON, and the command that shows its records."""
    oldest = reader.view.decision_rows[-1]
    assert len(reader.view.decision_rows) > DECISIONS_KEPT + DECISIONS_PER_PUBLISH_MAX
    for id_ in (oldest["intent_seq"], oldest["cl_ord_id"]):
        assert main(["why", "--run-dir", str(run_dir), str(id_), "-o", "json"]) == 0
        told = json.loads(capsys.readouterr().out)
        own_seq = told["journal"]["decision_seq"]
        assert told["journal"].pop("command") == f"cstd journal show {run_dir} --from {own_seq} --to {own_seq}"
        assert asked(reader, id_).json() == told == ledgers.told(oldest)


@pytest.mark.parametrize("unknown", ["999999", "9" * 40, "none", "' OR 1=1 --", "-1", "007", "a/b", "٣", "\0", "%00", "{id}"])
def test_an_id_that_is_nowhere_is_a_404_that_says_where_was_looked(reader: RunningReader, unknown: str) -> None:
    """Whatever the text is."""
    answer = asked(reader, unknown)
    assert (answer.status, answer.json()["error"]) == (404, "not_found")
    if unknown != "{id}":  # braces are no path of ours
        assert "ledger.db has none up to record" in answer.json()["message"]
        assert "/api/v1/decisions" in answer.json()["suggestion"]


def test_bytes_that_are_no_text_are_nobodys_id(reader: RunningReader, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an address, and of a command line."""
    assert reader.get("/api/v1/decisions/%FF%FE").status == 404
    assert main(["why", "--run-dir", str(run_dir), "\udcff"]) == 1
    assert "there is no decision" in capsys.readouterr().err


def test_without_a_ledger_or_with_another_schema_it_is_a_503(tmp_path: Path) -> None:
    """With the file and the way out; the newest decisions are known all the same, also once nobody publishes them."""
    view = FakeView()
    view.step()
    with reader_of(tmp_path, view) as reader:
        answer = asked(reader, "999")
        assert (answer.status, answer.json()["retryable"]) == (503, True)
        assert "there is no" in answer.json()["message"] and "ledger.db" in answer.json()["message"]
        path = ledgers.decided(tmp_path, [])
        assert asked(reader, "999").status == 404
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA user_version = 1")
        answer = asked(reader, "999")
        assert (answer.status, "schema 1" in answer.json()["message"]) == (503, True)
        assert "db rebuild" in answer.json()["suggestion"]
        assert asked(reader, "1").json() == view.find_decision("1")
        eventually(lambda: reader.get_stale("/api/v1/equity").status, lambda status: status == 503)
        assert reader.get_stale("/api/v1/decisions/1").json() == view.find_decision("1")


def test_a_damaged_row_is_said(tmp_path: Path) -> None:
    """Not a traceback."""
    view = FakeView()
    view.step()
    path = ledgers.decided(tmp_path, view.decision_rows)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for blob in (b"no zlib", bytes.fromhex("789c03000000000001")):
            connection.execute("UPDATE explained SET decision = ?", (blob,))
            with pytest.raises(OperatorError, match="holds what no ledger of cstd does"):
                ledger_file.explained(path, "1")


def test_the_newer_of_both_is_told(tmp_path: Path) -> None:
    """An order that was judged again in a burst that passed the board by: the ledger has it; else the board's, which has more."""
    view = FakeView()
    view.step()
    first = view.decision_rows[0]
    again = {**first, "event_seq": int(str(first["event_seq"])) + 1, "rejudged": True}
    ledgers.decided(tmp_path, [first, again])
    board = BoardWriter(tmp_path / "board")
    board.publish(view)
    sight = Sight(BoardReader(board.path))
    found = asyncio.run(sight.decision("1"))
    assert (found["rejudged"], found["cluster"]) == (False, ["ETH/USD"])  # a board that is fresh and whole is the newest
    for _ in range(4 * DECISIONS_PER_PUBLISH_MAX):
        view.step()
    board.publish(view)
    assert sight.overflowed()["decisions"]
    assert asyncio.run(sight.decision("1")) == ledgers.told(again)
    again["event_seq"] = first["event_seq"]  # both have the same: the board names the cluster
    assert asyncio.run(DecisionSight(tmp_path / "ledger.db").newest("1", {**again, "event_seq": 10**6}))["cluster"]
    sight.close()
    board.close()


def test_the_ledger_is_searched_by_its_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement of a look-up scans the decisions or the orders, however many there are."""
    view = FakeView()
    view.step()
    path = ledgers.decided(tmp_path, view.decision_rows)
    said: list[str] = []
    really = ledger_file.opened

    @contextlib.contextmanager
    def traced(of: Path) -> Iterator[sqlite3.Connection]:
        with really(of) as connection:
            connection.set_trace_callback(said.append)
            yield connection

    monkeypatch.setattr(ledger_file, "opened", traced)
    for id_ in ("1", str(view.decision_rows[0]["cl_ord_id"])):
        assert ledger_file.explained(path, id_)[0]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        plans = [row[3] for text in said for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert [plan for plan in plans if "SCAN" in plan and "place" not in plan] == []
    assert sum("USING" in plan and "INDEX decisions_by_" in plan for plan in plans) == 4  # the decision, and its order's id


def test_look_ups_hold_up_nobody_and_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, a ledger that is slow has a few threads at most, and the loop goes on."""
    ledgers.decided(tmp_path, [])
    began: list[str] = []
    free = threading.Event()

    def slow(_path: Path, id_: str) -> tuple[dict[str, Any] | None, int]:
        began.append(id_)
        assert free.wait(60)
        return None, 0

    monkeypatch.setattr(decisions, "explained", slow)

    async def ask() -> None:
        sight = DecisionSight(tmp_path / "ledger.db")
        asking = [asyncio.create_task(sight.newest(str(number), None)) for number in range(10)]
        while len(began) < LOOKUPS_MAX:
            await asyncio.sleep(0.01)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert len(began) == LOOKUPS_MAX
        free.set()
        assert {type(found) for found in await asyncio.gather(*asking, return_exceptions=True)} == {UnknownIdError}

    asyncio.run(asyncio.wait_for(ask(), 100))
    assert len(began) == 10


def test_the_list_is_filtered_by_gate_and_by_time(reader: RunningReader) -> None:
    """refused_by takes a name or a code, since what the command takes; they combine with the others."""
    rows = reader.get("/api/v1/decisions").json()
    refused = [row for row in rows if row["first_failing"] == "position_size"]
    assert 0 < len(refused) < len(rows)
    gate = next(entry for entry in rows[0]["gates"] if entry["name"] == "position_size")
    for name in ("position_size", "Position-Size", str(gate["code"])):
        assert reader.get(f"/api/v1/decisions?refused_by={name}").json() == refused
    middle = rows[len(rows) // 2]
    since = utc_text(middle["decided_wall_ns"])
    assert reader.get(f"/api/v1/decisions?since={since}").json() == rows[:len(rows) // 2 + 1]
    both = reader.get(f"/api/v1/decisions?since={since}&refused_by=position_size&instrument=btc/usd&limit=1").json()
    assert both == [row for row in refused if row["instrument"] == "BTC/USD"][:1]
    assert reader.get("/api/v1/decisions?since=2999-01-01").json() == []
    assert reader.get("/api/v1/decisions?since=999999999d").json() == rows


@pytest.mark.parametrize(("query", "said"), [
    ("refused_by=wisdom", "2 spread"), ("refused_by=", "2 spread"), ("refused_by=99", "2 spread"), ("since=soon", "90s"),
    ("since=", "90s"), ("since=2026-02-30", "90s")])
def test_a_gate_or_a_time_that_there_is_not_is_a_400(reader: RunningReader, query: str, said: str) -> None:
    """With what there is."""
    answer = reader.get(f"/api/v1/decisions?{query}")
    assert answer.status == 400
    assert said in answer.json()["suggestion"] + answer.json()["message"]
