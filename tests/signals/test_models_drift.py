"""`cstd models drift`: what half of the instruments ask for, and a rollback where the configuration lets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cstd.cli import models_drift
from cstd.cli.app import main
from cstd.config import template
from cstd.signals.registry import log as registry_log
from tests.schemas import assert_fits
from tests.signals.made import KEY, key_file, promoted, write


def drift(**states: int) -> dict[str, Any]:
    """What the daemon's status has, with so many instruments in each state."""
    return {"state": "broken", "instrument": "BTC/USD", "feature": "log_atr", "beyond": 0.61, "psi": 0.9, "ks": 0.3, "rows": 500,
            "states": {name.replace("_", " "): count for name, count in states.items()}, "windows": "kept", "left_out": 0}


@pytest.mark.parametrize(("states", "names"), [
    ({}, []), ({"none": 3, "watch": 3}, []), ({"gathering": 5, "broken": 0}, []),
    ({"none": 2, "broken": 1}, []), ({"none": 1, "broken": 1}, ["drift_broken", "drift_shadow"]),
    ({"gathering": 9, "broken": 1}, ["drift_broken", "drift_shadow"]),
    ({"none": 2, "drifted": 1, "broken": 1}, ["drift_shadow"]), ({"none": 3, "drifted": 1, "broken": 1}, []),
    ({"not_assessable": 1}, ["drift_no_reference"])])
def test_half_of_what_can_be_assessed_is_a_trigger(states: dict[str, int], names: list[str]) -> None:
    """Exactly half is; a window that fills counts for nothing; each has a sentence."""
    found = models_drift.triggers_of(drift(**states))
    assert [one["name"] for one in found] == names and all(one["reason"] for one in found)
    assert models_drift.triggers_of(None) == []


class Daemon:
    """Stands in for the admin client of a daemon with this status."""

    status: dict[str, Any]

    def __init__(self, *_args: Any) -> None:
        pass

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_args: object) -> None:
        pass

    def request(self, verb: str) -> dict[str, Any]:
        """The status."""
        assert verb == "status"
        return self.status


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the verb beside a registry whose version 0002 followed 0001 into production."""
    write(tmp_path / "models")
    write(tmp_path / "models")
    promoted(tmp_path / "models", "0001")
    promoted(tmp_path / "models", "0002")
    monkeypatch.setattr(models_drift, "AdminClient", Daemon)
    for key, value in {"MODELS": tmp_path / "models", "NAME": "hourly", "KEY": key_file(tmp_path)}.items():
        monkeypatch.setenv(f"CSTD__SCORER__{key}", str(value))

    def run(found: dict[str, Any] | None, version: str, code: int, *, rollback: bool) -> tuple[Any, str]:
        Daemon.status = {"model_drift": found, "scorer": {"version": version}}
        monkeypatch.setenv("CSTD__DRIFT__ROLLBACK", str(rollback).lower())
        words = ["models", "drift", "-c", str(template("practice")), "--run-dir", str(tmp_path), "-o", "json"]
        assert main(words) == code
        told = capsys.readouterr()
        if told.out:
            assert_fits("models drift", json.loads(told.out))
        return json.loads(told.out) if told.out else None, told.err

    return run


def production(tmp_path: Path) -> str | None:
    """The version in production."""
    return registry_log.read(tmp_path / "models", KEY).in_production("hourly")


def test_without_a_trigger_it_is_well(check: Any, tmp_path: Path) -> None:
    """Before the first score too."""
    assert check(None, "0002", 0, rollback=True)[0]["triggers"] == []
    assert check(drift(none=2), "0002", 0, rollback=True)[0]["steps"] == []


def test_a_trigger_is_exit_3_and_the_last_line(check: Any, tmp_path: Path) -> None:
    """What a job's record keeps; as shipped nothing is rolled back."""
    found, said = check(drift(broken=2), "0002", 3, rollback=False)
    assert found["steps"] == [] and production(tmp_path) == "0002"
    assert said.strip().splitlines()[-1].startswith("cstd: drift_broken asks for rollback: 2 of 2 instruments are broken")


def test_where_it_may_it_goes_back_once(check: Any, tmp_path: Path) -> None:
    """The version that has drifted alone; the log says who and why; without one before it nothing changes."""
    assert check(drift(drifted=2), "0002", 3, rollback=True)[0]["steps"] == []
    found, _ = check(drift(broken=2), "0002", 3, rollback=True)
    assert [(step["version"], step["to_state"], step["who"]) for step in found["steps"]] == [
        ("0002", "retired", "drift-check"), ("0001", "production", "drift-check")]
    assert found["steps"][0]["reason"].startswith("drift_broken: 2 of 2")
    assert check(drift(broken=2), "0002", 3, rollback=True)[0]["steps"] == [] and production(tmp_path) == "0001"
    told, said = check(drift(broken=2), "0001", 3, rollback=True)
    assert told["steps"] == [] and "not rolled back: " in said and "no earlier production version" in said
    assert said.strip().splitlines()[-1].startswith("cstd: drift_broken asks for rollback") and production(tmp_path) == "0001"
