"""The systemd unit: valid, hardened, and consistent with how the daemon behaves."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import needs

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "cstd.service"
EXPOSURE_MAX = 1.3


@pytest.fixture
def runnable_unit(tmp_path: Path) -> Path:
    """The unit with an ExecStart that exists here, as `verify` asks for."""
    text, replaced = re.subn(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    assert replaced == 1
    path = tmp_path / "cstd.service"
    path.write_text(text)
    return path


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    tool = needs.program("systemd-analyze")
    return subprocess.run([tool, *args], capture_output=True, text=True, check=False, timeout=60)


def test_systemd_takes_the_unit(runnable_unit: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    done = analyze("verify", str(runnable_unit))
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_exposure_is_within_its_limit(runnable_unit: Path) -> None:
    """`systemd-analyze security` rates the unit at most 1.3."""
    done = analyze("security", "--offline=true", str(runnable_unit))
    found = re.search(r"Overall exposure level for cstd.service: ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found.group(1)) <= EXPOSURE_MAX


def test_a_wrong_configuration_is_not_retried() -> None:
    """The exit code of a configuration error stops the restarts, and notices come from the main process."""
    from cstd.errors import EXIT_CONFIG

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
