"""When the trading process asks for a bundle, and what becomes of the asking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cstd.cli.app import main
from cstd.config import load, template
from cstd.config.schema import FlightConfig
from cstd.daemon import flight_folder
from cstd.daemon.children import FlightChild


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        def note(event: str, **fields: Any) -> None:
            self.rows.append((level, event, fields))
        return note


def child(tmp_path: Path, script: str = "", *, enabled: bool = True) -> FlightChild:
    """One whose process is a shell script; $@ are the arguments that say what is wanted."""
    cfg = msgspec.structs.replace(load([str(template("practice"))], {}), flight=FlightConfig(enabled=enabled))
    made = FlightChild(tmp_path, cfg, Log(), lambda _pid: None)
    made._command = ["sh", "-c", script, "sh"]
    return made


def asked(flight: FlightChild) -> list[tuple[str, str, int]]:
    """What waits."""
    return [(ask.kind, ask.reason, ask.seq) for ask in flight._waiting]


def look(flight: FlightChild, state: str, reason: str = "", *, kill: str | None = None, faulted: bool = False,
         seq: int = 7) -> None:
    """One tick."""
    flight.look(state, reason, kill, faulted=faulted, seq=seq)


def test_a_halt_a_kill_and_a_fault_are_asked_for_once_each(tmp_path: Path) -> None:
    """At the tick that first sees one; the same halt that comes back from reconciling is not another."""
    flight = child(tmp_path)
    for state in ("reconciling", "ready", "halted", "halted", "reconciling", "halted"):
        look(flight, state, "disk", seq=3)
    assert asked(flight) == [("halt", "disk", 3)]
    look(flight, "halted", "disk", kill="operator", seq=4)
    look(flight, "killed", "operator", kill="operator", seq=5)
    assert asked(flight)[1:] == [("kill", "operator", 4)]
    for state in ("ready", "halted"):
        look(flight, state, "again", seq=6)
    assert asked(flight)[2:] == [("halt", "again", 6)]
    look(flight, "halted", "ValueError: x", faulted=True, seq=8)
    look(flight, "halted", "ValueError: x", faulted=True, seq=9)
    assert asked(flight)[3:] == [("fault", "ValueError: x", 8)]


def test_what_a_start_finds_again_is_no_news(tmp_path: Path) -> None:
    """A halt and a latch that the journal ended with; after they have ended the next ones are news."""
    flight = child(tmp_path)
    flight.known("halted", "operator")
    look(flight, "reconciling", kill="operator")
    look(flight, "halted", "disk", kill="operator")
    assert asked(flight) == []
    look(flight, "ready")
    look(flight, "killed", kill="loss")
    assert asked(flight) == [("kill", "loss", 7)]


def test_switched_off_it_asks_for_nothing(tmp_path: Path) -> None:
    """`[flight] enabled = false`."""
    flight = child(tmp_path, enabled=False)
    look(flight, "halted", "disk")
    assert asked(flight) == []


def kept(flight: FlightChild, until: Callable[[], object]) -> None:
    """Let it work until something holds, then stop it as the daemon does."""
    async def scenario() -> None:
        task = asyncio.create_task(flight.keep())
        for _ in range(500):
            await asyncio.sleep(0.01)
            if until():
                break
        task.cancel()
        await flight.stop()
        assert until()

    asyncio.run(scenario())


def test_what_comes_while_it_is_too_soon_goes_into_one_bundle(tmp_path: Path) -> None:
    """The child says how long to wait; then one bundle is made of the minute before the first record, with all reasons."""
    told = tmp_path / "told"
    script = (f'echo "$@" >> {told}; if test -e {told}.again; then echo \'{{"path": "p"}}\';'
              f' else touch {told}.again; echo \'{{"wait_s": 0.2}}\'; fi')
    flight = child(tmp_path, script)
    flight.ask("kill", "operator", 40)

    def ask_more() -> bool:
        if Path(f"{told}.again").exists() and len(flight._waiting) == 1:
            flight.ask("halt", "disk", 90)
        return flight.status()["bundles"] == 1

    kept(flight, ask_more)
    assert told.read_text().splitlines() == [
        "--kind=kill --reason=operator --at-seq=40", "--kind=kill --reason=operator; halt: disk --at-seq=40"]
    assert flight.status() == {"bundles": 1, "failures": 0}
    assert flight._log.rows == [("info", "flight bundle", {"path": "p"})]


def test_of_several_causes_in_one_bundle_the_crash_is_its_kind(tmp_path: Path) -> None:
    """Whenever it is asked for: a bundle of another kind would leave the board of the run that crashed where it is."""
    flight = child(tmp_path)
    flight.ask("crash", "no stop", 40, until=True)
    assert flight._arguments() == ["--kind=crash", "--reason=no stop", "--until-seq=40"]
    flight = child(tmp_path)
    flight.ask("halt", "disk", 90)
    flight.ask("crash", "no stop", 40, until=True)
    flight.ask("kill", "operator", 95)
    assert flight._arguments() == ["--kind=crash", "--reason=no stop; halt: disk; kill: operator", "--at-seq=40"]


@pytest.mark.parametrize(("script", "error"), [
    ("echo 'no room' >&2; exit 1", "exit code 1: no room"),
    ("echo nonsense", "JSONDecodeError"),
    ("kill -9 $$", "exit code -9"),
    ("echo 7", "it names no bundle"),
    ("echo '[]'", "it names no bundle"),
    ("echo '{}'", "it names no bundle"),
    ("echo '{\"path\": null}'", "it names no bundle"),
    ("echo '{\"wait_s\": -1}'", "it names no bundle"),
    ("echo '{\"wait_s\": \"soon\"}'", "TypeError"),
    ("echo '{\"path\": \"p\", \"event\": \"e\"}'", "TypeError"),
])
def test_a_failure_is_logged_and_counted_and_the_next_is_made(tmp_path: Path, script: str, error: str) -> None:
    """Whatever becomes of a child, the one after it is started."""
    flight = child(tmp_path, f"if test -e {tmp_path}/second; then echo '{{\"path\": \"p\"}}'; else {script}; fi")
    flight.ask("halt", "disk", 3)

    def again() -> bool:
        if flight.status()["failures"] and not (tmp_path / "second").exists():
            (tmp_path / "second").touch()
            flight.ask("kill", "operator", 5)
        return flight.status() == {"bundles": 1, "failures": 1}

    kept(flight, again)
    assert flight._log.rows[0][:2] == ("error", "no flight bundle") and error in flight._log.rows[0][2]["error"]
    assert flight._log.rows[1:] == [("info", "flight bundle", {"path": "p"})]


def test_a_program_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """Nothing to start: logged, counted, and the task lives."""
    flight = child(tmp_path)
    flight._command = [str(tmp_path / "nothing")]
    flight.ask("halt", "disk", 3)
    kept(flight, lambda: flight.status()["failures"] == 1)


def test_a_stop_has_what_waits_made(tmp_path: Path) -> None:
    """One that is being made is finished; what came meanwhile, and what came in the last tick, is made too."""
    flight = child(tmp_path, f"echo $$ > {tmp_path}/began; sleep 0.3; echo '{{\"path\": \"p\"}}'")
    flight.ask("halt", "disk", 5)

    def ask_more() -> bool:
        if (tmp_path / "began").exists() and len(flight._waiting) == 1 and not flight.status()["bundles"]:
            flight.ask("kill", "operator", 9)
        return len(flight._waiting) == 2 or flight.status()["bundles"] > 0

    kept(flight, ask_more)
    assert flight.status() == {"bundles": 2, "failures": 0}

    late = child(tmp_path, "echo '{\"path\": \"p\"}'")
    late.ask("kill", "operator", 5)
    asyncio.run(late.stop())
    assert late.status() == {"bundles": 1, "failures": 0}


def test_a_stop_says_why_it_leaves_a_bundle_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes for ever is ended, the one before it done or not; one that is too soon has to wait for longer than that."""
    monkeypatch.setattr("cstd.daemon.children.FLIGHT_STOP_WAIT_S", 0.3)
    pid = tmp_path / "pid"
    script = f"if test -e {tmp_path}/second; then echo $$ > {pid}; exec sleep 60; fi; echo '{{\"path\": \"p\"}}'"
    endless = child(tmp_path, script)
    endless.ask("halt", "disk", 5)

    def again() -> bool:
        if endless.status()["bundles"] == 1 and not (tmp_path / "second").exists():
            (tmp_path / "second").touch()
            endless.ask("kill", "operator", 9)
        return pid.exists()

    kept(endless, again)
    assert endless.status() == {"bundles": 1, "failures": 1}
    assert endless._log.rows[-1] == ("error", "no flight bundle", {
        "error": "the daemon stops, and it was not done within 0.3 s", "reasons": ["kill: operator"]})
    assert not Path("/proc", pid.read_text().strip()).exists()

    soon = child(tmp_path, "echo '{\"wait_s\": 50}'")
    soon.ask("kill", "operator", 5)
    kept(soon, lambda: soon._making is not None and soon._making.done())
    assert soon._log.rows == [("error", "no flight bundle", {
        "error": "the daemon stops, and one a minute at most is made: the next in 50 s", "reasons": ["kill: operator"]})]


def bundle(folder: Path, name: str) -> Path:
    """A bundle as far as the folder's bounds see one."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps({"reason": name}))
    return path


def test_a_clock_that_was_set_back_neither_blocks_nor_loses_a_bundle(tmp_path: Path) -> None:
    """Bundles of a time to come make nobody wait, and the one just made stays although its name is the oldest."""
    for hour in (20, 21, 22):
        bundle(tmp_path, f"20261122T{hour}0000Z-halt")
    now_ns = flight_folder.bundles(tmp_path)[0].wall_ns - 3600 * 10**9
    assert flight_folder.due_in_s(tmp_path, now_ns) == 0
    made = bundle(tmp_path, "20261122T190000Z-halt")
    assert flight_folder.due_in_s(tmp_path, now_ns + 10 * 10**9) == 50
    assert flight_folder.make_room(tmp_path, made, 2) == ["20261122T200000Z-halt", "20261122T210000Z-halt"]
    assert [found.path.name for found in flight_folder.bundles(tmp_path)] == [made.name, "20261122T220000Z-halt"]
    bundle(tmp_path, "20261122T230000Z-hand")
    assert flight_folder.due_in_s(tmp_path, now_ns + 3600 * 10**9 * 8) == 0


def test_other_files_in_the_folder_are_no_bundles(tmp_path: Path) -> None:
    """An operator's notes stay and count for nothing."""
    (tmp_path / "notes.txt").write_text("x")
    bundle(tmp_path, "20261122T200000Z-other")
    made = bundle(tmp_path, "20261122T200000Z-crash-2")
    assert [found.path for found in flight_folder.bundles(tmp_path)] == [made]
    assert flight_folder.make_room(tmp_path, made, 1) == []
    assert flight_folder.bundles(tmp_path)[0].manifest() == {"reason": made.name}


def test_a_folder_of_no_day_is_no_bundle(tmp_path: Path) -> None:
    """A name of the right shape with a month 99 stops neither a list nor the next bundle."""
    (tmp_path / "20269901T000000Z-halt").mkdir()
    assert flight_folder.bundles(tmp_path) == []
    assert flight_folder.due_in_s(tmp_path, 1_790_000_000 * 10**9) == 0


@pytest.mark.parametrize("told", ["[1]", "{", '{"journal": [1]}', '{"files": [{"x": 1}]}', '{"check": 3, "reason": 5, "ends": 7}',
                                  '{"journal": {"covered_s": "long"}}'])
def test_a_manifest_of_another_shape_leaves_its_bundle_in_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                   told: str) -> None:
    """What it does not say is left out; the bundles beside it are there with all they say, each on a line."""
    (tmp_path / "journal").mkdir()
    for day, text in ((1, told), (2, '{"reason": "a\\nb\\u001b[31m", "files": [{"bytes": 7}]}')):
        bundle = tmp_path / "flight" / f"2026010{day}T000000Z-halt"
        bundle.mkdir(parents=True)
        (bundle / "manifest.json").write_text(text)
    assert main(["flight", "list", "--run-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["bundle", "reason"], ["20260101T000000Z-halt", "-"], ["20260102T000000Z-halt", "a"]]
    assert "\x1b" not in lines[2] and " 7 " in lines[2]
