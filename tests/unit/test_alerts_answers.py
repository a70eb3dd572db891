"""What answers `cstd alerts` in another shape than Alertmanager's is an error, and never "nothing fires"."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

import pytest

from cstd.cli.app import main
from cstd.ops import alertmanager
from tests.ops.fake_alertmanager import FakeAlertmanager

ALERT = {"startsAt": "2026-08-02T10:00:00.123456789Z", "endsAt": "2026-08-02T10:05:00Z", "labels": {"alertname": "SystemDown"},
         "annotations": {}, "status": {"state": "active", "silencedBy": [], "inhibitedBy": []}}

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what starts a server that answers with bytes; it gives the address."""
    with contextlib.ExitStack() as servers:
        yield lambda body: servers.enter_context(FakeAlertmanager(body)).url


@pytest.mark.parametrize("body", [
    b"", b"{}", b"null", b'"up"', b"[1]", b"[{}]", b"<html>", json.dumps([{**ALERT, "startsAt": "today"}]).encode(),
    json.dumps([{**ALERT, "status": None}]).encode(), b'[{"labels": {"alertname": 1}}]',
    json.dumps([{**ALERT, "labels": {"alertname": "?"}}]).encode().replace(b"?", b"\xff"),
    json.dumps([ALERT, {**ALERT, "startsAt": "2026-08-02T10:00:00"}]).encode(), b"[" * 100_000,
], ids=["nothing", "an object", "null", "a text", "a number", "no fields", "a page", "no time", "no status", "no name",
        "no UTF-8", "a time without an offset", "a well"])
def test_another_shape_is_an_error(serve: Serve, body: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """One message with the address, and no table that says all is well."""
    address = serve(body)
    assert main(["alerts", "--alertmanager", address]) == 1
    out, err = capsys.readouterr()
    assert out == "" and address in err and "as an Alertmanager does" in err


def test_an_alert_without_a_name_is_listed_beside_the_others(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Alertmanager takes one from anybody; it is no reason not to see the rest."""
    address = serve(json.dumps([ALERT, {**ALERT, "labels": {"severity": "page"}}]).encode())
    assert main(["alerts", "--alertmanager", address, "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["alert"], row["severity"], row["since"][:23]) for row in rows] == [
        ("", "page", "2026-08-02T10:00:00.123"), ("SystemDown", "", "2026-08-02T10:00:00.123")]


def test_an_answer_without_an_end_is_not_read_on(serve: Serve, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """Its size is what is wrong, and the message says so."""
    monkeypatch.setattr(alertmanager, "REPLY_BYTES_MAX", 100)
    assert main(["alerts", "--alertmanager", serve(json.dumps([ALERT]).encode())]) == 1
    assert "more than 100 bytes" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["http://[", "http://[::1", "http://", "ftp://127.0.0.1", "127.0.0.1:9093",
                                     "http://127.0.0.1:x"])
def test_what_is_no_address_is_a_usage_error(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named."""
    assert main(["alerts", "--alertmanager", address]) == 2
    assert address in capsys.readouterr().err


def test_a_password_in_the_address_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """It would not be used, and error messages end in logs."""
    assert main(["alerts", "--alertmanager", "http://joan:sesame@127.0.0.1:9093"]) == 2
    assert "sesame" not in capsys.readouterr().err
