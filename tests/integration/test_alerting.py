"""A real Prometheus beside a real session: what it scrapes, what the dashboard shows, which alerts come and how soon."""

from __future__ import annotations

import json
import time
from pathlib import Path

from cstd.ops.metrics_table import families
from tests.integration.session import Session, practice_session
from tests.integration.watching import Prometheus, alertmanager, free_port, prometheus, wait
from tests.ops.alerting import DEPLOY, alerts, panels, rules, selectors

# With a scrape and an evaluation each second, and FOR_S of waiting for SystemDown: about one second and seven.
DELIVERED_S_MAX = 15.0
FOR_S = 5.0  # on a busy host single scrapes fail, and so long nothing is down that is up


def port_of(session: Session) -> str:
    """Return host:port of the session's status port."""
    return str(wait(session.page, 30, "the reader wrote no address")).removeprefix("http://")


def rules_unwell(watcher: Prometheus) -> list[str]:
    """Rules that failed or were not evaluated yet; all of the files are there."""
    loaded = [rule for group in watcher.get("rules")["groups"] for rule in group["rules"]]
    assert len(loaded) == len(rules())
    return [rule["name"] for rule in loaded if rule["health"] != "ok"]


def selected(expr: str) -> list[str]:
    """What of an alert's expression must be there: each series by each label that it is selected by."""
    found = []
    for name, matchers in selectors(expr):
        for label, how, value in matchers:
            if (name, label, value) == ("cstd_child_up", "child", "scorer"):  # this session has none: its siblings
                found.append(f'{name}{{{label}!="{value}"}}')
            elif how in ("=", "=~"):
                found.append(f'{name}{{{label}{how}"{value}"}}')
    return found


def test_a_healthy_session_as_prometheus_sees_it(tmp_path: Path) -> None:
    """The exposition is the table's, each rule and panel evaluates on it, labels in rules exist, and DeadMan alone fires."""
    with practice_session(tmp_path) as session:
        session.start_ready()
        session.wait(lambda: session.request("fills"), 30, "no fill")
        with prometheus(tmp_path, port_of(session)) as watcher:
            wait(lambda: watcher.query("cstd:slo_burn:ratio1h"), 30, "no recorded burn rate")
            wait(lambda: watcher.query("rate(cstd_frames_total[4s])"), 30, "no rate")
            scraped = {row["metric"]: row for row in watcher.get("targets/metadata", match_target='{job="cstd"}')}
            told = {family.name: family for family in families()}  # a scrape asks for OpenMetrics, whose counters are so named
            own = {name: row for name, row in scraped.items() if name.startswith("cstd_")}
            assert set(own) <= set(told), set(own) - set(told)
            assert set(told) - set(own) <= {"cstd_kill_proven_seconds"}
            assert {name: (row["type"], row["help"]) for name, row in own.items()} == {
                name: (told[name].type, told[name].documentation) for name in own}
            wait(lambda: rules_unwell(watcher) == [], 30, "not all rules are well")
            # A scrape that this machine was too slow for leaves an expression empty for a moment.
            for rule in alerts():
                for expr in selected(rule["expr"]):
                    wait(lambda expr=expr: watcher.query(expr), 30, f"{rule['alert']}: {expr} selects nothing")
            for panel in panels(json.loads((DEPLOY / "grafana" / "cstd.json").read_text())):
                for target in panel["targets"]:
                    expr = target["expr"].replace("$__rate_interval", "4s").replace("$instance", ".*")
                    wait(lambda expr=expr: watcher.query(expr), 30, f"{panel['title']}: {expr} is empty")
            # A scrape that this machine was too slow for makes SystemDown pending for a moment.
            wait(lambda: watcher.alerts() == {"DeadMan": "firing"}, 30, "DeadMan is not alone")


def test_a_daemon_that_falls_ill_is_told_of_within_seconds(tmp_path: Path) -> None:
    """A kill reaches the webhook; the daemon's death goes from pending to firing and reaches it too; a start ends that alone.

    As the first of its group: one that comes again within the shipped minute waits for its end.
    """
    listen = f"127.0.0.1:{free_port()}"
    with practice_session(tmp_path, {"CSTD__STATUS__LISTEN": listen}) as session, alertmanager(tmp_path) as (address, hook):
        session.start_ready()
        session.metrics()  # or nothing would be up for a while
        with prometheus(tmp_path, listen, for_s=FOR_S, alertmanager=address) as watcher:
            wait(lambda: hook.when("dead-man", "DeadMan"), 30, "DeadMan was not delivered")
            wait(lambda: watcher.alerts() == {"DeadMan": "firing"}, 30, "another alert than DeadMan is active")
            killed_s = time.monotonic()
            session.request("kill", {"reason": "a test"})
            told_s = wait(lambda: hook.when("wake", "KillSwitchActivated"), DELIVERED_S_MAX, "the kill was not delivered")
            wait(lambda: "SystemDown" not in watcher.alerts(), 60, "no scrape gets through")
            died_s = time.monotonic()
            session.kill_nine()
            down_s = wait(lambda: hook.when("wake", "SystemDown", since_s=died_s), DELIVERED_S_MAX, "its end was not delivered")
            assert watcher.query('max_over_time(ALERTS{alertname="SystemDown",alertstate="pending"}[1m])'), "it was never pending"
            assert (told_s - killed_s < DELIVERED_S_MAX, down_s - died_s < DELIVERED_S_MAX) == (True, True)
            assert "KillSwitchActivated" not in watcher.alerts()  # nobody knows
            session.start()
            wait(lambda: watcher.alerts().get("KillSwitchActivated") == "firing", 60, "the latch is not told of after the start")
            wait(lambda: "SystemDown" not in watcher.alerts(), 30, "SystemDown goes on")
