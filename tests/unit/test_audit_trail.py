"""`cstd audit`: the commands of a journal with who sent them, between its starts and stops."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from cstd._fast.codes import EventKind
from cstd.cli.app import main
from cstd.config import load, template
from cstd.engine.boot import boot_payload
from cstd.errors import EXIT_OK, EXIT_USAGE, EXIT_VERIFICATION
from cstd.ops.client import aligned
from cstd.storage.journal import open_journal
from tests.schemas import assert_fits

S = 10**9


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A session: a start, two commands among other events, a stop."""
    cfg = load([str(template("practice"))], {})

    def command(verb: str, uid: int, **args: object) -> bytes:
        return msgspec.json.encode({"id": 1, "verb": verb, "args": args, "uid": uid, "gid": uid, "pid": 77})

    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 20, segment_bytes=1 << 20,
                      sync_interval_ms=1) as journal:
        for second, (kind, payload) in enumerate([
                (EventKind.EVENT_BOOT, boot_payload(cfg, 5, None)), (EventKind.EVENT_TIMER, b""),
                (EventKind.EVENT_COMMAND, command("pause", 0, reason="lunch")),
                (EventKind.EVENT_COMMAND, command("limits_set", 4_000_000, key="policy.spread_bps_max", value="20")),
                (EventKind.EVENT_STOP, b"{}")], start=1):
            journal.append_py(kind, 0, second, second * S, payload)
        journal.sync()
    return tmp_path


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    """What `cstd audit -o json` prints."""
    assert main(["audit", *words, "-o", "json"]) == EXIT_OK
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row in found:
        assert_fits("audit", row)
    return found


def test_commands_starts_and_stops_are_told_in_order(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With seq, time, verb, arguments, uid and the name that this host has for it; of a run directory or of a journal."""
    found = rows(capsys, str(run_dir))
    assert [(row["seq"], row["what"], row["verb"], row["uid"], row["user"]) for row in found] == [
        (1, "start", None, None, None), (3, "command", "pause", 0, "root"), (4, "command", "limits_set", 4_000_000, None),
        (5, "stop", None, None, None)]
    assert found[1]["args"] == {"reason": "lunch"}
    assert found[0]["args"]["mode"] == "practice"  # type: ignore[index]
    assert rows(capsys, str(run_dir / "journal")) == found


def test_a_refused_command_is_told_from_one_that_took_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Limits are judged by the configuration of their start, with the engine's own words; what a replay alone knows is null."""
    boot = msgspec.json.decode(boot_payload(load([str(template("practice"))], {}), 5, None))
    spread = {"key": "policy.spread_bps_max"}
    sent = [("limits_set", spread | {"value": "20"}), ("limits_set", spread | {"value": "46"}),
            ("limits_reset", {"key": "nothing"}), ("limits_set", {"key": "policy.volume_hour_min", "value": "9" * 13}),
            ("kill", {}), ("resume", {})]
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 20, segment_bytes=1 << 20,
                      sync_interval_ms=1) as journal:
        older = {**boot, "config": {name: table for name, table in boot["config"].items() if name != "conditions"}}
        for start in (boot, boot | {"version": "0.0.0"}, older):  # the rules of the last two may have been others
            journal.append_py(EventKind.EVENT_BOOT, 0, 1, 1, msgspec.json.encode(start))
            for verb, args in sent:
                payload = {"id": 1, "verb": verb, "args": args, "uid": 0, "gid": 0, "pid": 77}
                journal.append_py(EventKind.EVENT_COMMAND, 0, 1, 1, msgspec.json.encode(payload))
        journal.sync()
    found = [row for row in rows(capsys, str(tmp_path)) if row["what"] == "command"]
    assert [row["result"] for row in found] == [
        "taken", "refused", "refused", "refused", "taken", None, *(None, None, None, None, "taken", None) * 2]
    assert "46 is looser than the configuration, which allows at most 45" in str(found[1]["refusal"])
    assert "is no limit of a gate" in str(found[2]["refusal"]) and found[0]["refusal"] is None


def test_what_the_engine_wrote_of_a_command_is_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every verb, also where other records came in between; a command that a crash cut off has none. The page is named."""
    sent = [("resume", {}, {}), ("approve", {"id": "41"}, {"via": "page"}), ("kill_clear", {}, {}), ("resume", {}, {})]
    answers = [("refused", "the kill switch is latched: operator"), ("taken", None), ("asked", None)]
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 20, segment_bytes=1 << 20,
                      sync_interval_ms=1) as journal:
        for number, (verb, args, via) in enumerate(sent):
            payload = {"id": number, "verb": verb, "args": args, "uid": 0, "gid": 0, "pid": 77, **via}
            journal.append_py(EventKind.EVENT_COMMAND, 0, 1, 1, msgspec.json.encode(payload))
            if number < len(answers):
                journal.append_py(EventKind.OUT_STATE, 0, 1, 1, b"{}")
                result, refusal = answers[number]
                journal.append_py(EventKind.OUT_ANSWER, 0, 1, 1, msgspec.json.encode(
                    {"id": number, "verb": verb, "result": result, "refusal": refusal}))
        journal.append_py(EventKind.EVENT_STOP, 0, 1, 1, b"{}")
        journal.sync()
    found = rows(capsys, str(tmp_path))
    assert [(row["result"], row["refusal"]) for row in found] == [*answers, (None, None), (None, None)]
    assert [row["via"] for row in found] == [None, "page", None, None, None]
    assert main(["audit", str(tmp_path), "--verb", "approve"]) == EXIT_OK
    assert "0 (root) by the page" in capsys.readouterr().out


def test_the_trail_is_narrowed(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By time, verb and user; nothing left is said as a table says it."""
    assert [row["verb"] for row in rows(capsys, str(run_dir), "--verb", "limits_set")] == ["limits_set"]
    assert [row["verb"] for row in rows(capsys, str(run_dir), "--uid", "0")] == ["pause"]
    assert [row["seq"] for row in rows(capsys, str(run_dir), "--since", "1970-01-01T00:00:04Z")] == [4, 5]
    assert [row["seq"] for row in rows(capsys, str(run_dir), "--since", "1970-01-01T00:00:05Z")] == [5]
    assert main(["audit", str(run_dir), "--verb", "kill"]) == EXIT_OK
    assert capsys.readouterr().out == "(none)\n"
    assert main(["audit", str(run_dir), "--uid", "root"]) == EXIT_USAGE


def test_a_table_for_people(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with who as number and name."""
    assert main(["audit", str(run_dir)]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["when", "what", "who", "pid", "result", "with"]
    assert lines[2].split()[2:] == ["pause", "0", "(root)", "77", "taken", "reason=lunch"]


def test_a_reason_draws_no_row_and_moves_no_cursor() -> None:
    """Whatever an operator wrote: a cell stays in its row, and nothing in it speaks to the terminal."""
    lines = aligned([("when", "with"), ("now", "reason=a\n2026-01-01  kill\x1b[2K\u2028\u202eb\x9b")])
    assert lines == ["when  with", "now   reason=a 2026-01-01  kill [2K  b"]


def test_a_journal_that_was_changed_is_not_told_as_if_it_were_true(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3, and the place; where there is no journal exit 2."""
    (segment,) = run_dir.glob("journal/segment-*.cstd")
    segment.write_bytes(segment.read_bytes().replace(b"lunch", b"lanch"))
    assert main(["audit", str(run_dir), "-o", "json"]) == EXIT_VERIFICATION
    assert "pause" not in capsys.readouterr().out
    assert main(["audit", str(run_dir / "none")]) == EXIT_USAGE
