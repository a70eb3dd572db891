"""What the tests of alerts share: the rules as they are, the families that there are, and what an expression names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from cstd.ops.metrics_table import families

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus").glob("cstd.*.yml"))
CASES = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
# Labels that scraping and recording add.
ADDED = {"job", "instance", "slo"}
SELECTOR = re.compile(r"(?<![\w:])((?:cstd|up|ALERTS)[\w:]*)(\{[^}]*\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:without|ignoring|on|by)\s*\(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    """Return every rule, recorded ones and alerts."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the alerts."""
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """Return the names of recorded series."""
    return {rule["record"] for rule in rules() if "record" in rule}


def known() -> dict[str, set[str]]:
    """Return series name -> labels, of all that the exposition can have."""
    names: dict[str, set[str]] = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
    for family in families():
        labels = set(getattr(family, "_labelnames", None) or ())
        if family.name.startswith("cstd_http"):
            labels = {"route", "code"}
        if family.type == "histogram":
            names |= {f"{family.name}_bucket": labels | {"le"}, f"{family.name}_count": labels, f"{family.name}_sum": labels}
        else:
            names[f"{family.name}_total" if family.type == "counter" else family.name] = labels
    return names


def selectors(expr: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return (name, matchers) of each series that an expression selects."""
    without_text = GROUPING.sub("", expr)
    return [(name, MATCHER.findall(braces or "")) for name, braces in SELECTOR.findall(without_text)]


def groupings(expr: str) -> set[str]:
    """Return the labels that an expression groups or matches by."""
    return {label.strip() for inside in GROUPING.findall(expr) for label in inside.split(",") if label.strip()}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that ask for something."""
    return [panel for panel in dashboard["panels"] if panel.get("targets")]
