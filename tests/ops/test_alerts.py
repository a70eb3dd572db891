"""The alert rules: valid, about metrics that exist, each with a case in which it fires, one in which it does not, a runbook."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests import needs
from tests.ops.alerting import ADDED, CASES, DEPLOY, RULES, alerts, groupings, known, panels, recorded, rules, selectors

REPOSITORY = DEPLOY.parent
RUNBOOKS = REPOSITORY / "docs" / "runbooks.md"
# systems 12.5 asks for these; they may not be switched off.
MANDATORY = {"HighOrderErrorRate", "DrawdownTooHigh", "NoSignals", "HighSlippage", "ExchangeConnectivityLost", "LowLiquidity",
             "HighResourceUsage"}


def expressions() -> list[tuple[str, str]]:
    """Return (where, expression) of every rule and every panel."""
    found = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    for path in sorted((DEPLOY / "grafana").glob("*.json")):
        for panel in panels(json.loads(path.read_text())):
            found += [(panel["title"], target["expr"]) for target in panel["targets"]]
    return found


@pytest.mark.parametrize("kind", ["rules", "config"])
def test_promtool_takes_the_files(kind: str) -> None:
    """`promtool check` has nothing to complain about."""
    files = RULES if kind == "rules" else [DEPLOY / "prometheus" / "prometheus.yml"]
    done = subprocess.run([needs.program("promtool"), "check", kind, *map(str, files)], capture_output=True, text=True,
                          check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_takes_the_routes() -> None:
    """`amtool check-config` has nothing to complain about."""
    done = subprocess.run([needs.program("amtool"), "check-config", str(DEPLOY / "alertmanager" / "alertmanager.yml")],
                          capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_receiver_is_a_port_of_alertmanagers_own() -> None:
    """A webhook on 9093 or 9094 would be Alertmanager itself: what it is to deliver would end there."""
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text("utf-8")
    receivers = [receiver["webhook_configs"][0]["url"] for receiver in yaml.safe_load(text)["receivers"]]
    assert len(receivers) == 3
    assert not [url for url in receivers if ":9093/" in url or ":9094/" in url]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_promtool_cases(path: Path) -> None:
    """Each case fires, or does not, as the file says, with the labels and words that an operator gets."""
    done = subprocess.run([needs.program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False,
                          timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """Both, with data; and each severity of an alert of two severities fires. DeadMan cannot be silent."""
    fires: Counter[tuple[str, str]] = Counter()
    silent: Counter[str] = Counter()
    for path in CASES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            assert case["input_series"], case["name"]
            for check in case["alert_rule_test"]:
                for alert in check["exp_alerts"]:
                    fires[check["alertname"], alert["exp_labels"]["severity"]] += 1
                silent[check["alertname"]] += not check["exp_alerts"]
    assert set(fires) == {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}
    assert {name for name, count in silent.items() if count} == {rule["alert"] for rule in alerts()} - {"DeadMan"}


@pytest.mark.parametrize(("where", "expr"), expressions(), ids=lambda value: value[:40])
def test_every_name_and_label_exists(where: str, expr: str) -> None:
    """Rules and panels name only what `/metrics` has or a rule records, with labels that it has."""
    exists = known()
    own: set[str] = set()
    found = selectors(expr)
    assert found or where == "DeadMan" or "vector" in expr
    for name, matchers in found:
        assert name in exists or name in recorded(), name
        labels = exists.get(name, set()) | ADDED
        own |= labels
        assert {label for label, _, _ in matchers} <= labels, name
    assert groupings(expr) <= own | ADDED


def test_alerts_say_what_they_are() -> None:
    """A severity, a summary, a description, the runbook; the seven mandatory ones are there and marked."""
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning", "info", "none"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
    assert {rule["alert"] for rule in alerts() if rule["labels"].get("mandatory") == "true"} == MANDATORY


def sections() -> dict[str, str]:
    """Return heading -> text of each alert's section."""
    parts = re.split(r"^### (.+)$", RUNBOOKS.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    """One section each, which says what it means, what the daemon does by itself, where to look and what to do."""
    assert set(sections()) == {rule["alert"] for rule in alerts()}
    for name, text in sections().items():
        for part in ("Means", "By itself", "Look", "Do"):
            assert f"**{part}:**" in text, (name, part)
