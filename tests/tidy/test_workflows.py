"""Workflows: they parse, may only read, end in time, and run what a developer runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / ".github" / "workflows").glob("*.yml"))
CRON = re.compile(r"(\S+ ){4}\S+")


def document(path: Path) -> dict[str, Any]:
    """A workflow with every scalar as text: YAML 1.1 would read the key `on` as true."""
    return yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)


def steps(path: Path) -> list[dict[str, Any]]:
    """The steps of all jobs."""
    return [step for job in document(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_ends(path: Path) -> None:
    """No token that writes, none left in the checkout, a limit of time for each job, and a schedule of five fields."""
    found = document(path)
    assert found["permissions"] == {"contents": "read"}
    assert found["name"] == path.stem
    for job in found["jobs"].values():
        assert 0 < int(job["timeout-minutes"]) <= 60
        assert "permissions" not in job
    checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] == "false" for step in checkouts)
    assert all(CRON.fullmatch(entry["cron"]) for entry in found["on"].get("schedule", []))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_what_is_there(path: Path, repository: Path) -> None:
    """Each command is a make target or a program of the repository; actions are the forge's own, at a version."""
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (repository / "Makefile").read_text("utf-8"), re.MULTILINE))
    for step in steps(path):
        assert ("run" in step) != ("uses" in step)
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
            continue
        program, *words = step["run"].split()
        assert words[0] in targets if program == "make" else (repository / program).is_file(), step["run"]


def test_every_mutant_is_planted_on_a_schedule(repository: Path) -> None:
    """The weekly job runs the whole list by the developer's own target, and uploads the report, also where one survives."""
    found = document(repository / ".github" / "workflows" / "mutants.yml")
    assert found["on"]["schedule"]
    ran = [step["run"].split() for step in steps(repository / ".github" / "workflows" / "mutants.yml") if "run" in step]
    assert [words[:2] for words in ran] == [["make", "mutants"]]
    options = dict(word.split("=") for word in ran[0][2:])
    assert set(options) == {"REPORT"}, "the whole list, not a part of it"
    upload = next(step for step in steps(repository / ".github" / "workflows" / "mutants.yml")
                  if step.get("uses", "").startswith("actions/upload-artifact@"))
    assert (upload["if"], upload["with"]["path"]) == ("always()", options["REPORT"])
