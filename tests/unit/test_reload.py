"""A reload: tighter limits as commands, the log's level; all else waits for a restart; a wrong file changes nothing."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cstd.config import Config, load, template
from cstd.config.limit_keys import BY_KEY, LIMIT_KEYS, value_of
from cstd.daemon.files_check import checked, read_apart
from cstd.daemon.reload import REASON, Plan, Reloader, _own_of, flat, plan
from cstd.decision.operator_limits import ALL, Change, OperatorLimits
from cstd.errors import ConfigError, OperatorError, UsageError
from cstd.ops.admin import _check
from tests.practice_file import written

PRACTICE = template("practice")
SPREAD, TURNOVER = "policy.spread_bps_max", "policy.turnover_equity_multiple_max"


def config(**keys: str) -> Config:
    """The shipped practice.toml with some keys changed; __ stands for a point."""
    return load([str(PRACTICE)], {}, [f"{name.replace('__', '.')}={value}" for name, value in keys.items()])


def own(value: str, instrument: str = "BTC/USD") -> Config:
    """The shipped practice.toml in which one instrument has a spread of its own."""
    return load([str(PRACTICE)], {}, [f"overrides.{instrument}.policy.spread_bps_max={value}"])


def change(value: str) -> Change:
    """A command that stands."""
    return Change(Decimal(value), 0, 1, 0, REASON)


def sets(made: Plan) -> list[tuple[str, str, str]]:
    """The commands of a plan: key, instrument, value."""
    return [(args["key"], args.get("instrument", ""), args["value"]) for args in made.commands]


def waits(made: Plan) -> list[str]:
    """What waits for a restart."""
    return [row["key"] for row in made.waiting]


def test_the_same_file_changes_nothing() -> None:
    """No command, no key that waits."""
    assert plan(config(), config(), {}, {}) == Plan()


@pytest.mark.parametrize(("value", "commands", "waiting"), [
    ("44.999", [(SPREAD, "", "44.999")], []), ("45", [], []), ("45.001", [], [SPREAD])])
def test_a_tighter_limit_is_a_command_and_a_looser_one_waits(value: str, commands: list[Any], waiting: list[str]) -> None:
    """Just under, at and just over what runs."""
    made = plan(config(), config(policy__spread_bps_max=value), {}, {})
    assert (sets(made), waits(made)) == (commands, waiting)


def test_every_limit_that_a_command_may_tighten_is_one_and_no_other_key_is() -> None:
    """Key by key: those that are fixed, and all that is no limit, wait for a restart; the log's level does not."""
    running = config()
    taken = {key for key, _, _ in sets(plan(running, config(
        risk__positions_max="1", policy__lifetime_s_max="21", risk__evidence_s="1", risk__reduce_bps_min="10000"), {}, {}))}
    assert taken == {"risk.positions_max", "policy.lifetime_s_max", "risk.evidence_s", "risk.reduce_bps_min"}
    made = plan(running, config(
        policy__deadline_ms="1400", policy__rest_price_after_s="1", account__capital="11000", instruments__names='["BTC/USD"]',
        strategy__rehearsal__hold_s="6", status__listen='"127.0.0.1:8002"', exits__stop_bps="150", logs__level="debug",
        jobs__backup_dir="/mnt/b"), {}, {})
    assert sets(made) == []
    assert waits(made) == ["account.capital", "exits.stop_bps", "instruments.names", "policy.deadline_ms",
                           "policy.rest_price_after_s", "status.listen", "strategy.rehearsal.hold_s"]
    assert {limit.key for limit in LIMIT_KEYS} <= flat(running).keys()


def test_what_a_reload_tightened_goes_back_with_the_file() -> None:
    """Less tight than before but not looser than the boot: set again; the boot's value or looser: taken back."""
    stands = {ALL: {SPREAD: change("20")}}
    assert sets(plan(config(), config(policy__spread_bps_max="20"), {}, stands)) == []
    assert sets(plan(config(), config(policy__spread_bps_max="30"), {}, stands)) == [(SPREAD, "", "30")]
    assert sets(plan(config(), config(), {}, stands)) == [(SPREAD, "", "45")]
    made = plan(config(), config(policy__spread_bps_max="50"), {}, stands)
    assert (sets(made), waits(made)) == ([(SPREAD, "", "45")], [SPREAD])
    # An instrument's own that the files have no more.
    assert sets(plan(config(), config(), {}, {"BTC/USD": {SPREAD: change("20")}})) == [(SPREAD, "BTC/USD", "45")]


def test_an_operators_own_command_is_never_loosened() -> None:
    """A tighter one stands and is named, whatever reason it gave; a file that is tighter still holds before it."""
    stands = {ALL: {SPREAD: change("20")}}
    made = plan(config(), config(policy__spread_bps_max="30"), stands, {})
    assert (sets(made), [row["value"] for row in made.stands]) == ([(SPREAD, "", "30")], ["20"])
    for value in ("45", "50"):
        assert sets(plan(config(), config(policy__spread_bps_max=value), stands, {})) == []
    made = plan(config(), config(policy__spread_bps_max="10"), stands, {})
    assert (sets(made), made.stands) == ([(SPREAD, "", "10")], [])
    # What a reload had tightened goes back with the file, and the operator's holds: nothing changes, so it is told there.
    made = plan(config(), config(), stands, {ALL: {SPREAD: change("30")}})
    assert (sets(made), [row["value"] for row in made.stands]) == ([(SPREAD, "", "45")], ["20"])


def test_what_an_operator_asked_for_outlives_a_reload(tmp_path: Path) -> None:
    """An operator's 8, the files at 5, then at 10, then as they were: 8 again each time that the files are looser."""
    path = tmp_path / "c.toml"
    daemon = Daemon(written(path, spread_bps_max="5"))
    daemon.operator("8")
    held = []
    for value in ("5", "10", "45"):
        written(path, spread_bps_max=value)
        daemon.reload()
        held.append(str(value_of(daemon.limits.in_force(), SPREAD)))
    assert held == ["5", "8", "8"]
    assert daemon.limits.reloaded == {}
    row = daemon.limits.row(BY_KEY[SPREAD], ALL)
    assert (row["source"], row["asked"]) == ("operator", "8")


def test_a_reason_makes_no_command_a_reloads(tmp_path: Path) -> None:
    """An operator whose reason is `reload` finds the command as it was after a reload."""
    daemon = Daemon(written(tmp_path / "c.toml"))
    daemon.operator("5", reason=REASON)
    assert daemon.reload()["applied"] == []
    assert value_of(daemon.limits.in_force(), SPREAD) == 5


def test_a_reset_ends_both(tmp_path: Path) -> None:
    """What `cstd limits reset` takes back is what operators and reloads made of the limit."""
    daemon = Daemon(written(tmp_path / "c.toml", spread_bps_max="20"))
    daemon.reload()
    daemon.operator("30")
    row = daemon.limits.row(BY_KEY[SPREAD], ALL)
    assert (row["value"], row["source"], row["asked"]) == ("20", "reload", "30")
    daemon.limits.end({"key": SPREAD})
    assert (daemon.limits.changes, daemon.limits.reloaded) == ({}, {})
    assert value_of(daemon.limits.in_force(), SPREAD) == 45


def test_no_socket_takes_the_command_of_a_reload() -> None:
    """Whose a change is follows from the verb, and this one is the daemon's alone."""
    with pytest.raises(UsageError, match="unknown verb"):
        _check({"verb": "limits_reload", "args": {}})


def test_an_instruments_own_limit_is_a_command_for_it() -> None:
    """A new one, a tighter one; one that went, and one of an instrument that does not run, wait."""
    assert sets(plan(config(), own("30"), {}, {})) == [(SPREAD, "BTC/USD", "30")]
    assert sets(plan(own("30"), own("20"), {}, {})) == [(SPREAD, "BTC/USD", "20")]
    made = plan(own("30"), config(), {}, {})
    assert (sets(made), waits(made)) == ([], ["overrides.BTC/USD.policy.spread_bps_max"])
    both = load([str(PRACTICE)], {}, ["policy.spread_bps_max=40", "overrides.BTC/USD.policy.spread_bps_max=30"])
    assert sets(plan(config(), both, {}, {})) == [(SPREAD, "", "40"), (SPREAD, "BTC/USD", "30")]
    new = load([str(PRACTICE)], {}, ['instruments.names=["BTC/USD", "ETH/USD", "XRP/USD"]',
                                     "overrides.XRP/USD.policy.spread_bps_max=30"])
    assert waits(plan(config(), new, {}, {})) == ["instruments.names", "overrides.XRP/USD.policy.spread_bps_max"]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are read in this process; what a child does has tests of its own."""
    async def read_here(files: list[str], _on_spawn: object) -> Config:
        return checked(files)

    monkeypatch.setattr("cstd.daemon.reload.read_apart", read_here)


class Daemon:
    """What a reload needs of a process: limits that take commands, a log, a level."""

    def __init__(self, *files: Path) -> None:
        self.cfg = load([str(PRACTICE)], {})
        self.limits = OperatorLimits()
        self.limits.configure(self.cfg)
        self.commands: list[dict[str, Any]] = []
        self.levels: list[str] = []
        self.spawned: list[int] = []
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.reloader = Reloader(self.cfg, list(map(str, files)), submit=self.submit, limits=lambda: self.limits,
                                 set_log_level=self.levels.append, log=self, on_spawn=self.spawned.append)

    def submit(self, command: dict[str, Any]) -> dict[str, Any]:
        """Take a command as the engine does."""
        self.commands.append(command)
        return self.limits.change(command["args"], command, 5, by_reload=True) if command["verb"] == "limits_reload" else {}

    def operator(self, value: str, reason: str = "thin") -> None:
        """Have an operator set the spread."""
        self.limits.change({"key": SPREAD, "value": value, "reason": reason}, {"uid": 7}, 4)

    def warning(self, event: str, **fields: Any) -> None:
        """Keep a line."""
        self.lines.append((event, fields))

    error = warning

    def reload(self) -> dict[str, Any]:
        """Ask as uid 1000 does."""
        answer = self.reloader.submit({"verb": "reload", "args": {}, "uid": 1000, "gid": 1000, "pid": 77})
        return asyncio.run(answer)  # type: ignore[arg-type]


def test_a_reload_is_journaled_with_who_asked(tmp_path: Path) -> None:
    """A command of its own, then one for each limit, with uid, gid and pid; the answer names each; again, nothing is left."""
    path = written(tmp_path / "c.toml", spread_bps_max="20", level='"debug"', capital="11000")
    daemon = Daemon(path)
    done = daemon.reload()
    assert [(command["verb"], command["uid"], command["pid"]) for command in daemon.commands] == [
        ("reload", 1000, 77), ("limits_reload", 1000, 77)]
    assert daemon.commands[0]["args"] == {"config_hash": load([str(path)], {}).config_hash.hex(),
                                          "needs_restart": ["account.capital"]}
    assert done["applied"] == [{"key": SPREAD, "instrument": None, "before": "45", "value": "20"},
                               {"key": "logs.level", "instrument": None, "before": "info", "value": "debug"}]
    assert done["needs_restart"] == [{"key": "account.capital", "running": "10000", "file": "11000"}]
    assert (daemon.levels, value_of(daemon.limits.in_force(), SPREAD)) == (["debug"], 20)
    again = daemon.reload()
    assert (again["applied"], again["needs_restart"]) == ([], done["needs_restart"])
    written(path)
    assert {row["key"]: row["value"] for row in daemon.reload()["applied"]} == {SPREAD: "45", "logs.level": "info"}
    assert (daemon.limits.changes, daemon.limits.reloaded) == ({}, {})


def test_what_is_the_processes_own_is_compared_with_what_was_taken_over_last(tmp_path: Path) -> None:
    """A key that changed once is applied once; it may go back."""
    path = tmp_path / "c.toml"
    daemon = Daemon(written(path, backup_dir='"/mnt/b"', level='"debug"'))
    before = _own_of(daemon.cfg)
    assert {row["key"] for row in daemon.reload()["applied"]} == {"jobs.backup_dir", "logs.level"}
    assert daemon.reload()["applied"] == []
    written(path)
    assert {row["key"]: (row["before"], row["value"]) for row in daemon.reload()["applied"]} == {
        "jobs.backup_dir": ("/mnt/b", before.get("jobs.backup_dir", "")), "logs.level": ("debug", "info")}
    assert daemon.levels == ["debug", "info"]


@pytest.mark.parametrize(("keys", "told"), [
    ({"spread_bps_max": "0"}, "policy.spread_bps_max"), ({"mode": '"nowhere"'}, "mode"), ({"schema": "2"}, "schema"),
    ({"mode": "]"}, "not valid TOML")])
def test_a_wrong_file_changes_nothing(keys: dict[str, str], told: str, tmp_path: Path) -> None:
    """Every problem is told, no command is sent, also where another key of the file would be a tighter limit."""
    daemon = Daemon(written(tmp_path / "c.toml", positions_max="1", **keys))
    with pytest.raises(ConfigError, match=told):
        daemon.reload()
    assert (daemon.commands, daemon.levels) == ([], [])


def test_a_daemon_that_is_pinned_reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPUs that its threads may use are not those that a start may: other ones wait for it, and refuse nothing."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0})
    daemon = Daemon(written(tmp_path / "c.toml", cpus="[1]", spread_bps_max="20"))
    done = daemon.reload()
    assert [row["key"] for row in done["applied"]] == [SPREAD]
    assert [row["key"] for row in done["needs_restart"]] == ["process.cpus"]


def test_a_file_that_is_gone_and_a_daemon_without_files(tmp_path: Path) -> None:
    """Both are refused, and a later reload works."""
    daemon = Daemon(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        daemon.reload()
    written(tmp_path / "none.toml")
    assert daemon.reload()["applied"] == []
    with pytest.raises(OperatorError, match="without configuration files"):
        Daemon().reload()


def test_one_command_that_the_engine_would_refuse_holds_all_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are tried on a copy first."""
    daemon = Daemon(written(tmp_path / "c.toml", spread_bps_max="20", positions_max="1"))
    real = OperatorLimits.change

    def refusing(self: OperatorLimits, args: dict[str, Any], sender: dict[str, Any], wall_ns: int, *,
                 by_reload: bool = False) -> dict[str, Any]:
        if args["key"] == "risk.positions_max":
            raise OperatorError("no gate can hold it")
        return real(self, args, sender, wall_ns, by_reload=by_reload)

    monkeypatch.setattr(OperatorLimits, "change", refusing)
    with pytest.raises(OperatorError, match="no gate can hold it"):
        daemon.reload()
    assert daemon.commands == [] and daemon.limits.reloaded == {}


def test_a_child_reads_what_this_process_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value by value and by its hash, of two files; the child is told of, to be placed."""
    monkeypatch.setattr("cstd.daemon.files_check.LIMIT_S", 100.0)  # a busy host starts an interpreter slowly
    (tmp_path / "more.toml").write_text('[overrides."BTC/USD"]\npolicy.spread_bps_max = 12.50\n')
    files, spawned = [str(PRACTICE), str(tmp_path / "more.toml")], list[int]()
    found = asyncio.run(read_apart(files, spawned.append))
    assert (found, found.config_hash, len(spawned)) == (checked(files), checked(files).config_hash, 1)


def test_a_child_tells_every_problem_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With file, key and what to do, as a start has them."""
    monkeypatch.setattr("cstd.daemon.files_check.LIMIT_S", 100.0)
    path = written(tmp_path / "c.toml", spread_bps_max="0", positions_max="0")
    with pytest.raises(ConfigError) as here:
        checked([str(path)])
    with pytest.raises(ConfigError) as there:
        asyncio.run(read_apart([str(path)], lambda _pid: None))
    assert (there.value.to_json(), there.value.problems) == (here.value.to_json(), here.value.problems)
    assert len(there.value.problems) == 2


@pytest.mark.parametrize(("words", "told"), [
    (["import time; time.sleep(60)"], "not read within"), (["print('{')"], "cannot be read while it trades"),
    (["raise SystemExit('no memory')"], "no memory")])
def test_a_child_that_fails_changes_nothing(words: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stuck, babbling or broken: an error that says so, and the child is gone."""
    real, spawned = asyncio.create_subprocess_exec, list[int]()
    monkeypatch.setattr(asyncio, "create_subprocess_exec",
                        lambda *_words, **pipes: real(sys.executable, "-c", *words, **pipes))
    monkeypatch.setattr("cstd.daemon.files_check.LIMIT_S", 1.0 if "not read" in told else 30.0)
    with pytest.raises(OperatorError, match=told):
        asyncio.run(read_apart([], spawned.append))
    assert not Path(f"/proc/{spawned[0]}").exists()


def test_a_signal_reloads_and_the_log_tells(tmp_path: Path) -> None:
    """What SIGHUP does: a good file is taken over, of a wrong one the log has the problems."""
    path = written(tmp_path / "c.toml", spread_bps_max="20")
    daemon = Daemon(path)

    async def signals() -> None:
        daemon.reloader.on_signal()
        while not daemon.lines:
            await asyncio.sleep(0.01)
        written(path, spread_bps_max="0")
        daemon.reloader.on_signal()
        while len(daemon.lines) < 2:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(signals(), 10))
    assert [event for event, _ in daemon.lines] == ["reloaded", "reload refused: nothing is changed"]
    assert daemon.lines[0][1]["applied"] == [SPREAD]
    assert SPREAD in daemon.lines[1][1]["reason"]


def test_a_version_of_the_keys_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """By the one reason, whatever else the file says; without a version it is the first."""
    path = written(tmp_path / "c.toml", schema="2", spread_bps_max="0")
    with pytest.raises(ConfigError, match="schema") as refused:
        load([str(path)], {})
    assert len(refused.value.problems) == 1
    assert "no version that this cstd knows" in refused.value.message
    path.write_text(written(path).read_text().replace("schema = 1", ""))
    assert load([str(path)], {}).config_hash == load([str(PRACTICE)], {}).config_hash
