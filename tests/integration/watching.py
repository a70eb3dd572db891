"""A real Prometheus, a real Alertmanager and a webhook for tests, with the rules of the repository, on free loopback ports."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from cstd.child import end_with_parent
from tests import needs
from tests.ops.alerting import DEPLOY, RULES

SCRAPE_S = 1.0


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Return what the condition gives once that is true."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"{what} within {timeout_s:g} s"
        time.sleep(0.05)
    return value


@contextlib.contextmanager
def running(command: list[str], log: Path, ready_url: str) -> Iterator[None]:
    """Run a server until the end of the block; begins when it says that it is ready."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=end_with_parent)
    try:
        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(ready_url, timeout=2) as answer:
                return bool(answer.status == 200)
            return False

        wait(ready, 60, f"{command[0]} is not ready:\n{log.read_text()}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


class Prometheus:
    """Answers of a running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        """Return the data of an answer of its API; an error is one of the test."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query or path}: {error.read().decode()}") from None

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now."""
        return list(self.get("query", query=expr)["result"])

    def alerts(self) -> dict[str, str]:
        """Return alert -> pending or firing."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.get("alerts")["alerts"]}


def rules_for_tests(directory: Path, for_s: float | None) -> list[str]:
    """Copy the rules, evaluated with each scrape; with `for_s` every wait is that long."""
    copies = []
    for path in RULES:
        content = yaml.safe_load(path.read_text())
        for group in content["groups"]:
            group["interval"] = f"{int(SCRAPE_S * 1e3)}ms"
            for rule in group["rules"]:
                if for_s is not None and "for" in rule:
                    rule["for"] = f"{int(for_s * 1e3)}ms"
        copy = directory / path.name
        copy.write_text(yaml.safe_dump(content))
        copies.append(str(copy))
    return copies


@contextlib.contextmanager
def prometheus(directory: Path, target: str, *, for_s: float | None = None,
               alertmanager: str | None = None) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `target` (host:port) with the shipped configuration, only faster."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    interval = f"{int(SCRAPE_S * 1e3)}ms"
    config["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config["rule_files"] = rules_for_tests(directory, for_s)
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    targets = [{"targets": [alertmanager]}] if alertmanager else []
    config["alerting"]["alertmanagers"][0]["static_configs"] = targets
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [needs.program("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={directory / 'tsdb'}",
               f"--web.listen-address=127.0.0.1:{port}", "--rules.alert.resend-delay=1s"]
    # Alertmanagers are looked up some seconds after the start; what fired before is sent again after that delay.
    with running(command, directory / "prometheus.log", f"{url}/-/ready"):
        yield Prometheus(url)


class Webhook:
    """Takes what Alertmanager sends: (receiver, alert, its state, seconds on the monotonic clock)."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str, float]] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                now_s = time.monotonic()
                hook.got += [(self.path.strip("/"), alert["labels"]["alertname"], alert["status"], now_s)
                             for alert in body["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def when(self, receiver: str, name: str, *, since_s: float = 0.0) -> float | None:
        """Return when an alert that fires came to a receiver first since a time, None before that."""
        return next((at_s for where, alert, state, at_s in self.got
                     if (where, alert, state) == (receiver, name, "firing") and at_s >= since_s), None)


@contextlib.contextmanager
def alertmanager(directory: Path) -> Iterator[tuple[str, Webhook]]:
    """An Alertmanager with the shipped routes, whose receivers are one webhook; gives its address and the webhook.

    What fires once more is told at once, not after the shipped minute: a busy host lets scrapes fail and come again.
    """
    hook = Webhook()
    port = free_port()
    text, changed = re.subn(r"group_interval: \w+", "group_interval: 1s",
                            (DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    assert changed == 3
    path = directory / "alertmanager.yml"
    path.write_text(text.replace("127.0.0.1:9095", f"127.0.0.1:{hook.server.server_address[1]}"))
    command = [needs.program("prometheus-alertmanager"), f"--config.file={path}", f"--storage.path={directory / 'alertmanager'}",
               f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    try:
        with running(command, directory / "alertmanager.log", f"http://127.0.0.1:{port}/-/ready"):
            yield f"127.0.0.1:{port}", hook
    finally:
        hook.server.shutdown()
        hook.server.server_close()
