"""What fires, on the status port and the page: as the Alertmanager has it, and unknown wherever that cannot be said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cstd.errors import UsageError
from cstd.ops.alerts_sight import OLD_NS, AlertsSight
from tests.ops.fake_alertmanager import FakeAlertmanager
from tests.ops.fake_view import FakeView
from tests.ops.running import reader_of

NOW_NS = 1_790_000_000_000_000_000


def alert(name: str, severity: str = "warning") -> dict[str, object]:
    """An alert as Alertmanager tells it."""
    return {"startsAt": "2026-08-02T10:00:00.123Z", "endsAt": "2026-08-02T10:05:00Z",
            "labels": {"alertname": name, "severity": severity},
            "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
            "annotations": {"summary": f"{name} <b>summary</b>", "runbook": f"docs/runbooks.md#{name.lower()}"}}


def answer(*alerts: dict[str, object]) -> bytes:
    """The body of an answer."""
    return json.dumps(alerts).encode()


def test_nobody_is_asked_unless_one_is_named() -> None:
    """It says so, and what would name one."""
    sight = AlertsSight("")
    sight.look(NOW_NS)
    seen = sight.seen(NOW_NS)
    assert (seen["state"], seen["alerts"]) == ("none", [])
    assert "status.alertmanager" in str(seen["reason"])
    with pytest.raises(UsageError):
        AlertsSight("127.0.0.1:9093")


def test_an_answer_is_believed_for_a_minute() -> None:
    """Before the first and a minute after the last nothing is known; one that is ahead of the clock is none either."""
    with FakeAlertmanager(answer(alert("DeadMan"), alert("SystemDown", "critical"))) as manager:
        sight = AlertsSight(manager.url)
        assert sight.seen(NOW_NS)["state"] == "unknown"
        sight.look(NOW_NS)
        assert [row["alert"] for row in sight.seen(NOW_NS + OLD_NS)["alerts"]] == ["SystemDown"]
        assert sight.seen(NOW_NS + OLD_NS)["state"] == "known"
        assert sight.seen(NOW_NS + OLD_NS + 1)["state"] == "unknown"
        assert sight.seen(NOW_NS - 1)["state"] == "unknown"
        manager.body = b"{}"
        sight.look(NOW_NS + 1)
        seen = sight.seen(NOW_NS + OLD_NS)
        assert seen["state"] == "known"  # the last answer still holds, and why there is no newer one is said
        assert "as an Alertmanager does" in str(seen["reason"])
        naive = {**alert("SystemDown"), "startsAt": "2026-08-02T10:00:00"}
        for odd in (answer(alert("DeadMan"), naive), b'[{"labels": "\xff"}]'):
            manager.body = odd
            sight.look(NOW_NS + 1)  # said, and no end of the looking
            assert "as an Alertmanager does" in str(sight.seen(NOW_NS + OLD_NS)["reason"])
    sight.look(NOW_NS + 2)
    gone = sight.seen(NOW_NS + OLD_NS + 3)
    assert gone["state"] == "unknown"
    assert "no Alertmanager answers" in str(gone["reason"])


def test_without_the_alert_that_must_always_fire_nothing_counts_as_quiet() -> None:
    """An Alertmanager that nobody feeds answers "nothing", which is no answer."""
    with FakeAlertmanager(answer()) as manager:
        sight = AlertsSight(manager.url)
        sight.look(NOW_NS)
        seen = sight.seen(NOW_NS)
        assert (seen["state"], seen["alerts"]) == ("unwatched", [])
        assert "DeadMan" in str(seen["reason"])


def test_the_page_shows_alerts_and_tightened_limits(browser: Any, tmp_path: Path) -> None:
    """Firing, then unwatched; a limit that a command tightened, with its reason; text from outside is never markup."""
    view = FakeView()
    with (FakeAlertmanager(answer(alert("DeadMan"), alert("SystemDown", "critical"))) as manager,
          reader_of(tmp_path, view, "--alertmanager", manager.url) as reader):
        view.step()
        reader.keep_publishing()
        assert json.loads(reader.get_stale("/api/v1/alerts?stale=1").body)["alertmanager"] == manager.url
        page = browser.new_page(viewport={"width": 390, "height": 844})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(reader.url)
        page.locator("#alerts-state.bad", has_text="1 firing").wait_for(timeout=30_000)
        assert "SystemDown <b>summary</b>" in page.locator("#alerts tbody").inner_text()
        page.locator("#limits", has_text="Every limit is the configuration's").wait_for(timeout=30_000)
        view.limits_in_force.change({"key": "policy.spread_bps_max", "value": "20", "reason": "thin night"},
                                    {"uid": 0, "pid": 1}, NOW_NS)
        page.locator("#limits tbody", has_text="thin night").wait_for(timeout=30_000)
        assert "a command" in page.locator("#limits tbody").inner_text()
        manager.body = answer()
        page.locator("#alerts-state.bad", has_text="unwatched").wait_for(timeout=30_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.close()
        assert said == []
