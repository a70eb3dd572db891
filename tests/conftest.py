"""Fixtures and profiles that all tests share.

Recordings and bars are found by `CSTD_DATA` alone. Without it, what needs them is skipped with that reason; with
`CSTD_REQUIRE_DATA=1`, or `CI=true` without `CSTD_REQUIRE_DATA=0`, that is a failure, so that nobody passes by skipping.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.needs import no_data

# The same examples on every run: a failure on one machine is a failure on all. The blob reproduces a falsified case.
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None, database=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", print_blob=True, deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

PID = os.getpid()


def _end(number: int, _frame: object) -> None:
    """End as Ctrl-C does, so that fixtures stop the daemons that they started; children of the tests end as usual."""
    if os.getpid() == PID:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


signal.signal(signal.SIGTERM, _end)
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that CSTD_DATA names."""
    named = os.environ.get("CSTD_DATA")
    if not named:
        no_data("CSTD_DATA is not set: no recordings or bars to test with")
    path = Path(named).resolve()
    if not (path / "recordings").is_dir():
        no_data(f"CSTD_DATA={named} has no folder recordings")
    return path


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture(autouse=True)
def _no_venue_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ever sees a real key, nor a configuration override of the shell that runs it."""
    for name in list(os.environ):
        if name.startswith(("KRAKEN_", "CSTD__")):
            monkeypatch.delenv(name)
