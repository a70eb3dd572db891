"""The systemd unit: valid, hardened, and consistent with how the daemon behaves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cstd.clock import utc_parse
from cstd.config import load
from cstd.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_USAGE, EXIT_VERIFICATION
from cstd.jobs.runner import RETRIED
from cstd.jobs.table import JOBS, job_named
from cstd.units import NS_PER_S, seconds_to_ns
from tests import needs

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT, STATEMENT = UNITS / "cstd.service", UNITS / "cstd-statement.service"
TIMER = UNITS / "cstd-statement.timer"
JOB = UNITS / "cstd-job@.service"
JOB_TIMERS = sorted(UNITS.glob("cstd-job@*.timer"))
BACKUP, BACKUP_TIMER = UNITS / "cstd-backup.service", UNITS / "cstd-backup.timer"
EXPOSURE_MAX = 1.3
LIVE = Path(__file__).parents[2] / "config" / "live.toml"


def runnable(unit: Path, directory: Path) -> Path:
    """A unit with an ExecStart that exists here, as `verify` asks for."""
    text, replaced = re.subn(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    assert replaced == 1
    text = re.sub(r"^ExecReload=\S+", "ExecReload=/bin/true", text, flags=re.MULTILINE)
    path = directory / unit.name
    path.write_text(text)
    return path


@pytest.fixture(params=[UNIT, STATEMENT], ids=lambda unit: unit.stem)
def runnable_unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each service, made runnable."""
    return runnable(request.param, tmp_path)


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    tool = needs.program("systemd-analyze")
    return subprocess.run([tool, *args], capture_output=True, text=True, check=False, timeout=60)


def test_systemd_takes_the_unit(runnable_unit: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    done = analyze("verify", str(runnable_unit))
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_exposure_is_within_its_limit(runnable_unit: Path) -> None:
    """`systemd-analyze security` rates each unit at most 1.3."""
    done = analyze("security", "--offline=true", str(runnable_unit))
    found = re.search(rf"Overall exposure level for {runnable_unit.name}: ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found.group(1)) <= EXPOSURE_MAX


def test_a_wrong_configuration_is_not_retried() -> None:
    """The exit code of a configuration error stops the restarts, and notices come from the main process."""
    text = UNIT.read_text()
    assert f"RestartPreventExitStatus={EXIT_CONFIG}\n" in text
    assert "Type=notify\n" in text
    assert "RuntimeDirectoryPreserve=restart\n" in text


def test_segments_go_to_disk_and_the_ring_to_memory() -> None:
    """The run directory is the runtime directory, and its journal is a link into the state directory."""
    text = UNIT.read_text()
    assert "Environment=CSTD__RUN__DIR=/run/cstd\n" in text
    assert "ExecStartPre=/bin/ln -sfn %S/cstd/journal %t/cstd/journal\n" in text
    assert "ProcSubset=pid\n" not in text.replace("# Not ProcSubset=pid", "")


def test_the_process_options_work_under_the_unit() -> None:
    """The unit permits what `[process]` asks for: affinity after the filter of its group, memory to lock, no capability."""
    lines = UNIT.read_text().splitlines()
    assert lines.index("SystemCallFilter=sched_setaffinity") > next(
        i for i, line in enumerate(lines) if line.startswith("SystemCallFilter=~"))
    assert lines.index("SystemCallFilter=sched_setscheduler setpriority ioprio_set") > lines.index(
        "SystemCallFilter=sched_setaffinity")
    assert "LimitMEMLOCK=1G" in lines
    assert "AmbientCapabilities=" in lines


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting of a unit, with its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("unit", [STATEMENT, BACKUP, JOB], ids=lambda unit: unit.stem)
def test_what_a_timer_starts_is_as_closed_in_as_the_daemon(unit: Path) -> None:
    """It has the daemon's user, directories and sandbox, but neither its credentials nor a network."""
    daemon, job = settings(UNIT), settings(unit)
    job["Environment"] = [value for value in job["Environment"] if not value.startswith("CSTD__JOBS__")]
    own = {"ExecStart", "Type", "Description", "After", "Wants", "StartLimitIntervalSec", "StartLimitBurst", "NotifyAccess",
           "ExecStartPre", "ExecReload", "KillMode", "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "Restart", "RestartSec",
           "RestartPreventExitStatus", "RuntimeDirectoryPreserve", "LoadCredential", "LimitMEMLOCK", "OOMScoreAdjust",
           "RestrictAddressFamilies", "SystemCallFilter", "WantedBy", "StateDirectory"}
    assert own <= daemon.keys()
    assert {name: job.get(name) for name in daemon.keys() - own} == {
        name: values for name, values in daemon.items() if name not in own}
    assert job["SystemCallFilter"] == daemon["SystemCallFilter"][:2]
    assert (job["RestrictAddressFamilies"], job["PrivateNetwork"]) == (["AF_UNIX"], ["yes"])
    assert "LoadCredential" not in job
    assert job["StateDirectory"][0].split()[0] == daemon["StateDirectory"][0]
    assert job["RuntimeDirectoryPreserve"] == ["yes"]  # the daemon lives in it


def test_a_difference_leaves_the_unit_failed() -> None:
    """What a second try cannot change is not tried again, by the job nor by systemd, and no exit code but 0 counts as success."""
    assert RETRIED == (EXIT_FAILURE,)
    assert not {EXIT_USAGE, EXIT_VERIFICATION, EXIT_CONFIG} & set(RETRIED)
    for unit in (STATEMENT, BACKUP, JOB):
        assert not {"Restart", "SuccessExitStatus"} & settings(unit).keys()


def assert_starts(timer: Path, service: Path, folder: Path) -> None:
    """systemd takes the timer, beside the service that it names."""
    runnable(service, folder)
    copy = folder / timer.name
    copy.write_text(timer.read_text())
    done = analyze("verify", str(copy))
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_the_timer_comes_when_the_day_has_settled(tmp_path: Path) -> None:
    """systemd takes the timer; it names its service, and comes once a day, later than the shipped configuration waits."""
    assert_starts(TIMER, STATEMENT, tmp_path)
    (calendar,) = settings(TIMER)["OnCalendar"]
    told = analyze("calendar", "--iterations=2", "--base-time=2026-11-20 12:00:00 UTC", calendar).stdout
    times = {f"{day}T{time}Z" for day, time in re.findall(r" ([\d-]{10}) ([\d:]{8}) UTC", told)}
    assert sorted(time[:10] for time in times) == ["2026-11-21", "2026-11-22"], told
    absent_ns = seconds_to_ns(load([str(LIVE)], {}).venue.unknown_absent_s)
    for time in times:
        assert utc_parse(time) - utc_parse(f"{time[:10]}T00:00:00Z") > absent_ns


def test_the_statement_of_the_unit_is_a_command(tmp_path: Path) -> None:
    """Its words are taken by the parser; where no session is it is refused, and without a daemon nothing is read or locked."""
    from cstd.cli.app import main

    words = settings(STATEMENT)["ExecStart"][0].split()[1:]
    words[words.index("-c") + 1] = str(LIVE)
    assert main([*words, "--run-dir", str(tmp_path)]) == EXIT_USAGE
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "journal").mkdir()
    assert main([*words, "--once", "--run-dir", str(tmp_path)]) == EXIT_FAILURE
    assert list((tmp_path / "journal").iterdir()) == []


def test_what_is_done_while_the_daemon_is_stopped_names_what_is_there_then(repository: Path) -> None:
    """A stop removes the runtime directory: after it no line of a document names that, until it is made or there is a start."""
    assert settings(UNIT)["RuntimeDirectoryPreserve"] == ["restart"]
    stopped_lines = 0
    for document in sorted(repository.glob("docs/*.md")):
        for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE):
            stopped = False
            for line in block.splitlines():
                stopped |= "systemctl stop cstd" in line
                stopped &= not re.search("systemctl start cstd|mkdir .*/run/cstd", line)
                stopped_lines += stopped
                assert not (stopped and "--run-dir /run/cstd" in line), f"{document.name}: {line}"
    assert stopped_lines > 3


def test_an_uninstall_takes_what_was_installed(repository: Path) -> None:
    """Every timer that a document enables is disabled, and its files go."""
    (block,) = re.findall(r"^## Uninstall\n.*?^```sh\n(.*?)^```", (repository / "docs" / "install.md").read_text(),
                          re.DOTALL | re.MULTILINE)
    for timer in UNITS.glob("*.timer"):
        assert re.search(rf"systemctl disable --now .*{re.escape(timer.name)}", block), timer.name
    assert "/etc/systemd/system/cstd-*" in block


def test_a_new_journal_gets_a_new_backup(repository: Path) -> None:
    """A backup is of one journal: the folder that the unit writes to is moved away in an upgrade, as the journal is."""
    folder = backup_dir(BACKUP).replace("%S", "/var/lib/private")
    assert re.search(rf"^mv {re.escape(folder)} ", (repository / "docs" / "install.md").read_text(), re.MULTILINE)


def test_the_backup_comes_every_hour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """systemd takes the timer and its service, whose words the parser takes; into a directory that it makes for the service."""
    from cstd.cli.app import main

    assert_starts(BACKUP_TIMER, BACKUP, tmp_path)
    assert settings(BACKUP_TIMER)["OnCalendar"] == ["hourly"]
    words = settings(BACKUP)["ExecStart"][0].split()[1:]
    assert backup_dir(BACKUP).removeprefix("%S/").split("/")[0] in settings(BACKUP)["StateDirectory"][0].split()
    assert main([*words, "--run-dir", str(tmp_path)]) == EXIT_USAGE
    assert f"there is no journal in {tmp_path}" in capsys.readouterr().err
    (tmp_path / "journal").mkdir()
    assert main([*words, "--run-dir", str(tmp_path)]) == EXIT_USAGE  # no folder, which the unit names and this process does not
    assert "the job backup needs a folder for backups" in capsys.readouterr().err


def backup_dir(unit: Path) -> str:
    """The folder that a unit names for backups."""
    (found,) = [value.partition("=")[2] for value in settings(unit)["Environment"] if value.startswith("CSTD__JOBS__BACKUP_DIR=")]
    return found


def test_systemd_takes_the_template(tmp_path: Path) -> None:
    """`verify` has nothing to say of an instance, whose exposure is as low as the others'; jobs share the backup's folder."""
    copy = runnable(JOB, tmp_path).rename(tmp_path / "cstd-job@doctor.service")
    done = analyze("verify", str(copy))
    assert (done.returncode, done.stderr.strip()) == (0, "")
    found = re.search(r"Overall exposure level for cstd-job@doctor.service: ([\d.]+)",
                      analyze("security", "--offline=true", str(copy)).stdout)
    assert found is not None and float(found.group(1)) <= EXPOSURE_MAX
    assert backup_dir(JOB) == backup_dir(BACKUP)


def test_the_doctor_may_read_how_the_clock_is_kept(tmp_path: Path) -> None:
    """Its drop-in lets adjtimex through, after the group that has it is refused; nothing else, and no right to set the clock."""
    name = "cstd-job@doctor.service"
    copy = runnable(JOB, tmp_path).rename(tmp_path / name)
    shutil.copytree(UNITS / f"{name}.d", tmp_path / f"{name}.d")
    (drop_in,) = (tmp_path / f"{name}.d").glob("*.conf")
    assert settings(drop_in) == {"ProtectClock": ["no"], "SystemCallFilter": ["adjtimex clock_adjtime"]}
    assert settings(JOB)["CapabilityBoundingSet"] == [""]
    done = analyze("verify", str(copy))
    assert (done.returncode, done.stderr.strip()) == (0, "")
    told = analyze("security", "--offline=true", str(copy)).stdout
    found = re.search(rf"Overall exposure level for {name}: ([\d.]+)", told)
    assert found is not None and float(found.group(1)) <= EXPOSURE_MAX
    assert re.search(r"ProtectClock=\s.*(clock|time)", told) is not None, told  # the drop-in is seen


@pytest.mark.parametrize("timer", JOB_TIMERS, ids=lambda timer: timer.stem)
def test_a_timer_starts_a_job_as_often_as_the_table_says(timer: Path, tmp_path: Path) -> None:
    """systemd takes it, its instance is a job, and the time between two starts is the job's period."""
    job = job_named(timer.stem.partition("@")[2])
    runnable(JOB, tmp_path).rename(tmp_path / JOB.name)
    copy = tmp_path / timer.name
    copy.write_text(timer.read_text())
    done = analyze("verify", str(copy))
    assert (done.returncode, done.stderr.strip()) == (0, "")
    (calendar,) = settings(timer)["OnCalendar"]
    told = analyze("calendar", "--iterations=2", "--base-time=2026-11-20 12:00:00 UTC", calendar).stdout
    first, second = sorted({utc_parse(f"{day}T{time}Z") for day, time in re.findall(r" ([\d-]{10}) ([\d:]{8}) UTC", told)})
    assert second - first == job.period_s * NS_PER_S


def test_every_job_has_a_timer() -> None:
    """Those of the template, and the two that have services of their own."""
    assert {timer.stem.partition("@")[2] for timer in JOB_TIMERS} | {"statement", "backup"} == {job.name for job in JOBS}
