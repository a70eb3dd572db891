"""Each fault says how it strikes, and is offered by the name that it goes by."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from cstd.chaos import app
from cstd.chaos.campaign import NOT_RUN, PASSED, Outcome
from cstd.chaos.faults import FAULTS, Fault, NetCut, Stop, timeouts
from cstd.chaos.host import NotPossibleError
from cstd.chaos.session import QUICK
from cstd.config import load, template


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_goes_by_its_name(name: str) -> None:
    """What `--faults` offers can be made, and calls itself so."""
    fault = FAULTS[name]()
    assert fault.name == name
    assert type(fault).strike is not Fault.strike


def test_a_fault_that_does_not_strike_cannot_be_made() -> None:
    """Nothing that does nothing can be played, and so never counts as passed."""
    silent = type("Silent", (Fault,), {"name": "silent"})
    with pytest.raises(TypeError, match="abstract"):
        silent()


def test_a_stop_is_longer_than_every_timeout_of_its_session() -> None:
    """The time is made of the session's own configuration: another timeout that is longer makes it longer."""
    path = str(template("practice"))
    of_session = timeouts(load([path], {**QUICK, **Stop().env}))
    assert max(of_session.values()) == 15, "short enough to be played"
    longer = timeouts(load([path], {**QUICK, **Stop().env, "CSTD__VENUE__UNKNOWN_ABSENT_S": "75"}))
    assert max(longer, key=lambda name: longer[name]) == "venue.unknown_absent_s"


def test_no_timeout_of_the_configuration_is_left_out() -> None:
    """Every key that says how long something is waited for is among them; intervals, windows and ages of history are not.

    Tables of strategies that the session does not run wait for nothing.
    """
    cfg = load([str(template("practice"))], {})
    keys = set()
    section = ""
    for line in template("practice").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif found := re.match(r"(\w+)_s = ", line):
            keys.add(f"{section}.{found[1]}_s")
    waits = {key for key in keys if re.search(r"timeout|absent|silence|evidence|lifetime|after|wait", key)
             and (not key.startswith("strategy.") or key.startswith(f"strategy.{cfg.strategy.name}."))}
    assert f"strategy.{cfg.strategy.name}.lifetime_s" in waits
    assert waits <= timeouts(cfg).keys()


def outcome_of(result: str) -> int:
    """Exit code of a run in which one fault passed and one ended so, with --must-run."""
    return app._code([Outcome("a", 1, PASSED), Outcome("b", 1, result)], must_run=True)


def test_what_must_run_and_does_not_fails_the_run() -> None:
    """Exit 1 where a required fault is not run, though another passed; without --must-run that is no failure."""
    assert (outcome_of(PASSED), outcome_of(NOT_RUN)) == (0, 1)
    assert app._code([Outcome("a", 1, PASSED), Outcome("b", 1, NOT_RUN)], must_run=False) == 0


def test_a_cut_that_must_be_real_is_not_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a network namespace the exchange refuses connections instead, and says so; never where it must be real."""
    def refused() -> None:
        raise NotPossibleError("no namespace")

    monkeypatch.setattr("cstd.chaos.faults.OwnNetwork", refused)
    fault = NetCut()
    fault.prepare(tmp_path)
    assert "not by the network: no namespace" in fault.how
    real = NetCut()
    real.must_be_real = True
    with pytest.raises(NotPossibleError, match="no namespace"):
        real.prepare(tmp_path)


def test_the_check_asks_for_every_fault_that_no_test_plays(repository: Path) -> None:
    """The line of .ci/run requires its faults, except where CSTD_REQUIRE_FAULTS=0 or a probe of the machine waives them aloud."""
    text = (repository / ".ci" / "run").read_text()
    assert 'must_run=(--must-run)' in text and 'chaos --faults disk-full,net-cut,children,venue "${must_run[@]}"' in text
    assert re.search(r'CSTD_REQUIRE_FAULTS" = 0.*?must_run=\(\)\n    echo "', text, re.DOTALL)


@pytest.mark.parametrize(("sudo", "prefix"), [
    ("exit 0", "sudo -n --preserve-env "), ('[ "$2" != --preserve-env ]', ""), ("exit 1", "")],
    ids=["all", "no environment", "nothing"])
def test_the_check_goes_through_sudo_only_as_sudo_lets_it(repository: Path, tmp_path: Path, sudo: str, prefix: str) -> None:
    """A sudo that keeps no environment would refuse the faults' own line: they are played without it, as far as they can be."""
    part = re.search(r"^# A machine that can mount.*?^\S+ \.venv/bin/cstd chaos[^\n]*", (repository / ".ci" / "run").read_text(),
                     re.DOTALL | re.MULTILINE)
    assert part is not None
    for name, script in (("id", "echo 1000"), ("sudo", sudo), ("unshare", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    line = part[0].replace('"${as_root[@]}" .venv/bin/cstd', 'echo ${as_root[@]:-} cstd')
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], capture_output=True, text=True, check=False, cwd=tmp_path,
                          env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CSTD_REQUIRE_FAULTS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{prefix}cstd chaos")
