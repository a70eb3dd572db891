"""What a test needs of the machine: there, or a failure where CI promises it, or a skip that says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

CI = os.environ.get("CI") == "true"


def program(*names: str) -> str:
    """The path of the first of these programs that is installed; without one the test fails under CI=true."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        _lacking(f"{' or '.join(names)} is not installed", required_by="CI=true" if CI else None)
    return path


def file(path: Path, what: str) -> Path:
    """A file of the machine; without it the test fails under CI=true."""
    if not path.exists():
        _lacking(f"{path} is not there: {what}", required_by="CI=true" if CI else None)
    return path


def root() -> list[str]:
    """What to put before a command so that root runs it: nothing, or sudo; without either the test fails under CI=true."""
    if os.getuid() == 0:
        return []
    if not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode:
        _lacking("neither root nor sudo without a password", required_by="CI=true" if CI else None)
    return ["sudo", "-n"]


def cpus(count: int) -> None:
    """Go on with at least so many CPUs; with fewer the test fails under CI=true."""
    if len(os.sched_getaffinity(0)) < count:
        _lacking(f"fewer than {count} CPUs", required_by="CI=true" if CI else None)


def not_installable(reason: str) -> NoReturn:
    """Fail under CI=true because something that a test installs for itself could not be had; else skip with the reason."""
    _lacking(reason, required_by="CI=true" if CI else None)


def no_data(reason: str) -> NoReturn:
    """Fail where recordings are required, which CI=true says unless CSTD_REQUIRE_DATA=0 waives it; else skip."""
    named = os.environ.get("CSTD_REQUIRE_DATA")
    if named is None:
        _lacking(reason, required_by="CI=true" if CI else None)
    _lacking(reason, required_by="CSTD_REQUIRE_DATA=1" if named == "1" else None)


def _lacking(reason: str, *, required_by: str | None) -> NoReturn:
    if required_by is not None:
        pytest.fail(f"{reason}, and {required_by} requires it", pytrace=False)
    pytest.skip(reason)
