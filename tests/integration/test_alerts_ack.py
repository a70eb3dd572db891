"""`cstd alerts` and `alerts ack` against a real Alertmanager: what fires, who has it in hand, and how soon that was."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd.clock import utc_text
from tests.integration.watching import Webhook, alertmanager, free_port, wait
from tests.schemas import assert_fits

AGO_S = 1_000


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[str, Webhook]]:
    """An Alertmanager with the shipped routes; its address and what it delivers to."""
    with alertmanager(tmp_path) as found:
        yield found


def fire(address: str, name: str, ago_s: float = 0.0, **labels: str) -> None:
    """Tell Alertmanager of an alert, as Prometheus would, that began so long ago."""
    alert = {"labels": {"alertname": name, "severity": "critical", "job": "cstd", **labels},
             "startsAt": utc_text(time.time_ns() - int(ago_s * 1e9)),
             "annotations": {"summary": f"{name} it is", "runbook": f"docs/runbooks.md#{name.lower()}"}}
    request = urllib.request.Request(f"http://{address}/api/v2/alerts", data=json.dumps([alert]).encode(),
                                     headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as reply:
        assert reply.status == 200


def cstd(address: str, *words: str, code: int = 0) -> Any:
    """What `cstd alerts …` prints as JSON, or its error on stderr."""
    done = subprocess.run([sys.executable, "-m", "cstd", "alerts", *words, "--alertmanager", f"http://{address}", "-o", "json"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout if code == 0 else done.stderr)


def test_an_alert_is_acknowledged_and_taken_back(manager: tuple[str, Webhook]) -> None:
    """It is listed with who has it; how long it had fired is kept; others still fire; taken back, it tells again."""
    address, _ = manager
    fire(address, "DeadMan")
    fire(address, "KillSwitchActivated", AGO_S)
    fire(address, "SystemDown")
    rows = wait(lambda: len(found := cstd(address)) == 2 and found, 60, "two alerts do not fire")
    assert_fits("alerts", rows)
    assert [(row["alert"], row["acknowledged_by"]) for row in rows] == [("KillSwitchActivated", None), ("SystemDown", None)]
    assert rows[0]["runbook"] == "docs/runbooks.md#killswitchactivated"
    [acked] = cstd(address, "ack", "KillSwitchActivated", "--for", "2h", "--by", "joan", "--comment", "looking: at the log")
    assert_fits("alerts ack", [acked])
    assert AGO_S <= acked["after_s"] <= AGO_S + 60 and acked["in_time"] is False
    [soon] = cstd(address, "ack", "SystemDown")
    assert soon["in_time"] is True
    rows = wait(lambda: (found := cstd(address))[1]["acknowledged_by"] and found, 60, "the silence is not seen")
    assert rows[0]["acknowledged_by"] == "joan" and rows[0]["until"][:23] == acked["until"][:23]  # milliseconds are kept
    acks = cstd(address, "--acks")
    assert_fits("alerts", acks)
    assert {row["alert"]: (row["after_s"], row["in_time"], row["comment"]) for row in acks} == {
        "KillSwitchActivated": (acked["after_s"], False, "looking: at the log"), "SystemDown": (soon["after_s"], True, "")}
    assert cstd(address, "ack", "KillSwitchActivated", "--undo") == [{"alert": "KillSwitchActivated", "acknowledged": False}]
    wait(lambda: cstd(address)[0]["acknowledged_by"] is None, 60, "the silence still holds")
    assert len(cstd(address, "--acks")) == 2  # what was, stays to be counted


def told_now(address: str) -> set[str]:
    """The daemons whose alerts no silence keeps from being told."""
    with urllib.request.urlopen(f"http://{address}/api/v2/alerts?silenced=false", timeout=5) as reply:
        return {alert["labels"].get("instance", "") for alert in json.load(reply)}


def test_an_acknowledgement_is_of_the_daemons_for_which_the_alert_fires(manager: tuple[str, Webhook]) -> None:
    """The same of another daemon, an hour later, wakes somebody; a name that a pattern would read otherwise is that name."""
    address, _ = manager
    fire(address, "SystemDown", instance="one.lan:8001")
    fire(address, "SystemDown", instance="two-b:8001")
    wait(lambda: len(cstd(address)) == 2, 60, "two alerts do not fire")
    cstd(address, "ack", "SystemDown", "--comment", "power")
    wait(lambda: told_now(address) == set(), 60, "the silence is not seen")
    fire(address, "SystemDown", instance="oneXlan:8001")
    fire(address, "SystemDown", instance="three:8001")
    wait(lambda: told_now(address) == {"oneXlan:8001", "three:8001"}, 60, "another daemon's alert is silenced")


def test_an_acknowledgement_made_longer_counts_from_the_first(manager: tuple[str, Webhook]) -> None:
    """It was in hand within a quarter of an hour, however late it is acknowledged again."""
    address, _ = manager
    fire(address, "SystemDown")
    wait(lambda: len(cstd(address)) == 1, 60, "it does not fire")
    [first] = cstd(address, "ack", "SystemDown")
    wait(lambda: cstd(address)[0]["acknowledged_by"], 60, "the silence is not seen")
    time.sleep(first["after_s"] + 2.1)
    [second] = cstd(address, "ack", "SystemDown", "--for", "8h")
    assert second["after_s"] == first["after_s"] and second["until"] > first["until"]


def test_what_cannot_be_acknowledged_says_why(manager: tuple[str, Webhook]) -> None:
    """What does not fire, what must always fire, what was not acknowledged."""
    address, _ = manager
    fire(address, "SystemDown")
    wait(lambda: len(cstd(address)) == 1, 60, "it does not fire")
    error = cstd(address, "ack", "SystemUp", code=1)
    assert "does not fire" in error["message"] and "SystemDown" in error["suggestion"]
    assert "must always fire" in cstd(address, "ack", "DeadMan", code=2)["message"]
    assert "is not acknowledged" in cstd(address, "ack", "SystemDown", "--undo", code=1)["message"]


def test_nobody_there(tmp_path: Path) -> None:
    """No Alertmanager, something else, and no address: one error each, that says what to do."""
    error = cstd(f"127.0.0.1:{free_port()}", code=1)
    assert error["retryable"] is True and "ALERTMANAGER_URL" in error["suggestion"]
    hook = Webhook()
    try:
        other = cstd("{}:{}".format(*hook.server.server_address[:2]), code=1)
        assert "127.0.0.1" in other["message"]
    finally:
        hook.server.shutdown()
        hook.server.server_close()
    assert cstd("no address", code=2)["error"] == "usage"
    no_port = cstd("127.0.0.1:x", code=2)  # as the configuration takes it: a port is a number
    assert no_port["error"] == "usage" and "127.0.0.1:x" in no_port["message"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"not http\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert cstd(f"127.0.0.1:{server.getsockname()[1]}", code=1)["retryable"] is True
        thread.join()
