"""`cstd why --since`: the running daemon and the ledger give the same account of a span of time."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cstd._fast.codes import EventKind, Verdict
from cstd._fast.gates import DECISION_DTYPE
from cstd.cli.app import main
from cstd.cli.why import from_ledger, one
from cstd.daemon.view import LiveView
from cstd.decision.refused import tally
from cstd.decision.why import waterfall
from cstd.engine.recovery import recover
from cstd.errors import OperatorError
from cstd.ops.ledger_file import explained
from cstd.projector.rebuild import rebuild
from cstd.storage.journal_reader import records
from cstd.storage.run_dir import DATABASE_FILE
from tests.projector.sessions import columns, written
from tests.schemas import assert_fits
from tests.simulation.simulated import Simulation

SAME = ("since_wall_ns", "instrument", "decided", "approved", "reduced", "refused", "gates")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated session with crashes and refusals: its journal, and the ledger made of it."""
    for seed in range(2, 50):
        played = Simulation(seed).run(60)
        path = written(tmp_path_factory.mktemp("session"), played.journal)
        rebuild(path / "journal", path / DATABASE_FILE, None)
        gates = columns(path / DATABASE_FILE, "SELECT DISTINCT gate FROM decisions WHERE gate IS NOT NULL")
        if played.crashes and len(gates) > 1:
            return path
    raise AssertionError("no seed has two gates that refuse")


@pytest.fixture(scope="module")
def view(run_dir: Path) -> LiveView:
    """What a daemon that has just recovered shows."""
    return LiveView(recover(run_dir / "journal", None).engine, pid=1, mono_ns=lambda: 0, process=dict)


def same(found: dict[str, Any]) -> dict[str, Any]:
    """What both sources must agree on; how a reduction is worded apart, which the ledger keeps by gate."""
    return {key: found[key] for key in SAME}


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9, 1.1])
@pytest.mark.parametrize("instrument", [None, "BTC/USD"])
def test_daemon_and_ledger_agree(run_dir: Path, view: LiveView, part: float, instrument: str | None) -> None:
    """From any time on, over all instruments and over one: counts, gates, and each gate's last case."""
    path = run_dir / DATABASE_FILE
    first_ns, last_ns = columns(path, "SELECT min(wall_ns), max(wall_ns) FROM decisions")[0]
    since_ns = first_ns + int((last_ns - first_ns) * part)
    told = view.refusals(since_wall_ns=since_ns, instrument=instrument)
    read = from_ledger(path, since_ns, instrument)
    assert same(dict(told)) == same(read)
    assert told["complete"] and (read["complete"] or part == 0.0)
    assert bool(read["decided"]) == (part <= 1.0)
    if part == 0.0 and instrument is None:
        assert len(read["gates"]) > 1
        assert read["refused"] + sum(row["canceled"] for row in read["gates"]) == sum(
            row["refused"] + row["canceled"] for row in read["gates"])


def test_the_ledger_tells_changes_of_state(run_dir: Path) -> None:
    """Those of the span, oldest first, and the state that was last."""
    path = run_dir / DATABASE_FILE
    rows = columns(path, "SELECT wall_ns, state FROM states ORDER BY seq")
    middle_ns = rows[len(rows) // 2][0]
    found = from_ledger(path, middle_ns, None)
    assert [(row["wall_ns"], row["state"]) for row in found["states"]] == [row for row in rows if row[0] >= middle_ns]
    assert found["state"] == rows[-1][1]


def test_an_unknown_instrument_and_a_file_that_is_no_ledger_are_said(run_dir: Path, tmp_path: Path) -> None:
    """By name, with those that there are; a damaged file with what makes it anew."""
    with pytest.raises(OperatorError, match="XRP/USD is no instrument of this session") as caught:
        from_ledger(run_dir / DATABASE_FILE, 0, "XRP/USD")
    assert "BTC/USD" in caught.value.suggestion
    (tmp_path / DATABASE_FILE).write_bytes(b"no database" * 1_000)
    with pytest.raises(OperatorError) as caught:
        from_ledger(tmp_path / DATABASE_FILE, 0, None)
    assert "cstd db rebuild" in caught.value.suggestion


class Core:
    """A core that has decided something at each nanosecond, and counts the rows that are copied of it."""

    wall_ns = 0

    def __init__(self, count: int) -> None:
        self.decision_count = count
        self.copied: list[int] = []

    def decision_rows(self, count: int) -> list[bytes]:
        """As of the compiled one."""
        self.copied.append(count)
        rows = np.zeros(count, dtype=DECISION_DTYPE)
        rows["decided_wall_ns"] = np.arange(self.decision_count - count, self.decision_count)
        rows["verdict"] = Verdict.APPROVE
        return [row.tobytes() for row in rows]


def test_a_running_daemon_copies_a_decision_once() -> None:
    """It is asked in the trading loop: what it has told before is not taken out of the core again, however far back it looks."""
    core = Core(100)
    engine = SimpleNamespace(core=core, names=["BTC/USD"], state="ready", state_reason=None)
    view = LiveView(engine, pid=1, mono_ns=lambda: 0, process=dict)  # type: ignore[arg-type]

    def told(since_wall_ns: int) -> tuple[int, bool, int | None]:
        found = view.refusals(since_wall_ns=since_wall_ns)
        return found["decided"], found["complete"], found["known_since_wall_ns"]

    assert [told(0), told(40), told(100)] == [(100, True, None), (60, True, None), (0, True, None)]
    core.decision_count += 7
    assert [told(0), told(103)] == [(107, True, None), (4, True, None)]
    core.decision_count += 1_000
    assert [told(0), told(83), told(1_100)] == [(1_024, False, 83), (1_024, True, 83), (7, True, 83)]
    core.decision_count += 5_000
    assert [told(0), told(6_100)] == [(1_024, False, 5_083), (7, True, 5_083)]
    assert [count for count in core.copied if count] == [100, 7, 1_000, 1_024]


def test_counts_of_hand_made_rows() -> None:
    """Intents and orders that were judged again are told apart; a reduction counts for the gate that cut."""
    rows = np.zeros(6, dtype=DECISION_DTYPE)
    rows["verdict"] = [Verdict.APPROVE, Verdict.REFUSE, Verdict.REFUSE, Verdict.REDUCE, Verdict.REFUSE, Verdict.APPROVE]
    rows["first_failing"] = [0, 2, 2, 0, 12, 0]
    rows["reduced_by"] = [0, 0, 0, 17, 0, 0]
    rows["rejudge"] = [0, 0, 1, 0, 1, 1]
    rows["decided_wall_ns"] = range(6)

    def explained(row: np.void) -> dict[str, Any]:
        return {"decided_wall_ns": int(row["decided_wall_ns"]), "instrument": "BTC/USD", "verdict": "refuse",
                "verdict_reason": "why",
                "gates": [{"name": "spread", "value": 61, "limit": "50", "unit": "bps", "reason": "over_limit"}]}

    found = tally(rows, explained)
    assert {key: found[key] for key in ("decided", "approved", "reduced", "refused")} == {
        "decided": 3, "approved": 1, "reduced": 1, "refused": 1}
    assert [(row["gate"], row["refused"], row["canceled"], row["reduced"], row["last_wall_ns"]) for row in found["gates"]] == [
        ("spread", 1, 1, 0, 2), ("data_gap", 0, 1, 0, 4), ("position_size", 0, 0, 1, 3)]
    spread, gap = found["gates"][:2]
    assert (spread["last_value"], spread["last_limit"], gap["last_value"]) == ("61", "50", None)


def test_the_ledger_explains_a_decision_as_the_daemon_does(run_dir: Path, view: LiveView) -> None:
    """By intent and by client order id: gate by gate the same, but for the cluster, which only the daemon names."""
    path = run_dir / DATABASE_FILE
    ids = columns(path, "SELECT intent_seq, cl_ord_id, max(seq) FROM decisions GROUP BY intent_seq")
    assert len(ids) > 20
    for intent_seq, cl_ord_id, _ in ids:
        told = view.find_decision(str(intent_seq))
        assert told is not None
        kept, last_seq = explained(path, str(intent_seq))
        assert kept is not None
        assert kept | {"journal": None} == json.loads(json.dumps({**told, "cluster": None, "journal": None}))
        told_by_command = one(run_dir / "cstd.sock", cl_ord_id)
        first_seq, to_seq = kept["journal"]["from_seq"], kept["journal"]["to_seq"]
        assert told_by_command["journal"].pop("command") == f"cstd journal show {run_dir} --from {first_seq} --to {to_seq}"
        assert explained(path, cl_ord_id)[0] == told_by_command
        assert_fits("why", kept)
        assert waterfall(kept).startswith(kept["verdict"].upper()) and kept["event_seq"] < last_seq
        (recorded,) = columns(path, f"SELECT seq FROM decisions WHERE seq = {kept['event_seq'] + 1}")
        assert f"the decision {recorded[0]};" in waterfall(kept)


def test_a_decision_names_the_records_that_belong_to_it(run_dir: Path) -> None:
    """From the first frame of its read batch, or the one event of its pass, to the last record that names its order."""
    written_records = {record.seq: record for record in records(run_dir / "journal")}
    kinds = {seq: record.kind for seq, record in written_records.items()}
    ended = 0
    for (id_,) in columns(run_dir / DATABASE_FILE, "SELECT DISTINCT intent_seq FROM decisions"):
        kept, _ = explained(run_dir / DATABASE_FILE, str(id_))
        assert kept is not None
        found = kept["journal"]
        before = [kind for seq in range(found["from_seq"], found["decision_seq"]) if (kind := kinds[seq]) < 64]
        assert kinds[found["decision_seq"]] == EventKind.OUT_DECISION
        if before[0] == EventKind.EVENT_FRAME:  # one whole read batch, and nothing of the one before it
            assert set(before[:-1]) <= {EventKind.EVENT_FRAME}
            assert before[-1] in (EventKind.EVENT_FRAME, EventKind.EVENT_BATCH_END)
            earlier = next(kinds[seq] for seq in range(found["from_seq"] - 1, 0, -1) if kinds[seq] < 64)
            assert earlier != EventKind.EVENT_FRAME
        else:
            assert len(before) == 1
        if found["order_state"] is None:
            assert found["to_seq"] == found["decision_seq"]
            continue
        name = kept["cl_ord_id"].encode()
        assert found["to_seq"] >= found["decision_seq"]
        fills = columns(run_dir / DATABASE_FILE, f"SELECT max(seq) FROM fills WHERE cl_ord_id = '{kept['cl_ord_id']}'")[0][0]
        assert found["to_seq"] >= (fills or 0)
        ended += found["order_state"] in ("filled", "canceled") and name in written_records[found["to_seq"]].payload
    assert ended > 5


@pytest.mark.parametrize("unknown", ["999999999", "9" * 40, "none", "' OR 1=1 --", "-1"])
def test_an_id_that_is_nowhere_is_said(run_dir: Path, unknown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, with what was looked into, in one line; whatever the text is."""
    assert main(["why", "--run-dir", str(run_dir), "--", unknown]) == 1
    told = capsys.readouterr().err
    assert f"no decision {unknown!r}" in told and DATABASE_FILE in told and "up to record" in told
