"""The OpenAPI document against the running status port: schemathesis, and by name what it has found before."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd.ops.board import BEAT_NS
from tests.ops import ledgers
from tests.ops.fake_view import FakeView
from tests.ops.running import RunningReader, reader_of

SCHEMATHESIS = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
HOUR_NS = 3_600 * 10**9
EXAMPLES = 5  # cases that are made up for each operation; those that the document itself asks for are more


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningReader]:
    """A reader of a market that has moved, with a ledger."""
    directory = tmp_path_factory.mktemp("run")
    view = FakeView()
    for _ in range(60):
        view.step()
    ledgers.decided(directory, reversed(view.decision_rows))
    with reader_of(directory, view) as running:
        yield running


def document_of_session(reader: RunningReader) -> dict[str, Any]:
    """The document, and in it what only this session knows: its instruments, and decisions that there are."""
    document: dict[str, Any] = reader.get_stale("/openapi.json").json()
    known = {"instrument": {"enum": reader.view.instrument_names()},
             "id": {"examples": [str(row[key]) for row in reader.view.decision_rows[::4] for key in ("intent_seq", "cl_ord_id")]}}
    for path in document["paths"].values():
        for parameter in path.get("get", {}).get("parameters", []):
            parameter["schema"].update(known.get(parameter["name"], {}))
    return document


def test_the_port_does_what_its_document_says(reader: RunningReader, tmp_path: Path) -> None:
    """No answer of schemathesis's requests, right and wrong ones, differs from the document; with a fixed seed."""
    document = document_of_session(reader)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    reader.board._words[BEAT_NS] = time.monotonic_ns() + HOUR_NS  # however long it takes, the board is not stale
    done = subprocess.run(
        [sys.executable, "-c", SCHEMATHESIS, "run", "openapi.json", "--url", reader.url, "--phases", "examples,coverage,fuzzing",
         "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1", "--generation-deterministic",
         "--continue-on-failure", "--no-color", "--no-shrink", "--warnings", "off"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {len(document['paths'])}" in done.stdout, done.stdout


def test_the_documents_own_words(reader: RunningReader) -> None:
    """Parameters of the path, its 404 and what goes with every answer are told; each data route takes `stale`."""
    paths = reader.get_stale("/openapi.json").json()["paths"]
    one = paths["/api/v1/decisions/{id}"]["get"]
    assert one["operationId"] == "decisions_by_id"
    assert [(parameter["name"], parameter["in"], parameter["required"]) for parameter in one["parameters"]] == [
        ("id", "path", True), ("stale", "query", False)]
    assert set(one["responses"]) == {"200", "400", "404", "421", "503"}
    (answer,) = [path for path, found in paths.items() if "get" not in found]
    assert answer == "/api/v1/approvals/{id}" and list(paths[answer]) == ["post"]
    asked = paths.pop(answer)["post"]
    assert asked["security"] == [{"operator": []}]
    assert set(asked["responses"]) == {"200", "400", "401", "403", "404", "409", "421", "429", "503", "504", "413"}
    for path, found in paths.items():
        assert "421" in found["get"]["responses"], path
        if path.startswith("/api/"):
            assert [parameter for parameter in found["get"]["parameters"] if parameter["name"] == "stale"], path
            assert "Cstd-Board-Age-Ms" in found["get"]["responses"]["200"]["headers"], path
    assert set(paths["/metrics"]["get"]["responses"]["200"]["content"]) == {"text/plain", "application/openmetrics-text"}


@pytest.mark.parametrize("path", ["/", "/health", "/metrics", "/api/v1/status", "/api/v1/decisions/1"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_that_is_not_allowed_is_told_which_are(reader: RunningReader, path: str, method: str) -> None:
    """RFC 9110, 15.5.6: a 405 has an Allow header."""
    connection = http.client.HTTPConnection(reader.url.removeprefix("http://"), timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    connection.close()


@pytest.mark.parametrize("query", ["stale=2", "stale=", "stale=true", "limit=1&limit=1", "limit=1&limit=x", "stale=1&stale=1"])
def test_what_was_let_pass_before_is_a_400(reader: RunningReader, query: str) -> None:
    """`stale` is 1 or nothing, and no parameter is given twice."""
    answer = reader.get(f"/api/v1/fills?{query}")
    assert (answer.status, answer.json()["error"]) == (400, "usage")
    assert reader.get("/api/v1/fills?stale=1&limit=1").status == 200


def test_what_was_never_published_is_not_told_as_nothing(tmp_path: Path) -> None:
    """A part that the view fails to tell from the beginning is a 503: neither {} nor a list that reads as "there are none"."""
    view = FakeView()
    view.failing = {"status", "books", "instruments"}
    with reader_of(tmp_path, view) as reader:
        for path in ("status", "books", "instruments", "market/overview", "status?stale=1", "decisions?instrument=BTC/USD"):
            answer = reader.get(f"/api/v1/{path}")
            assert (answer.status, "not published its" in answer.json()["message"]) == (503, True), path
        assert reader.get("/api/v1/equity").status == 200
        assert reader.get("/api/v1/decisions").json() == []
        view.failing = set()
        assert reader.get("/api/v1/status").json() == view.status()


def test_an_empty_instrument_is_a_400_where_the_list_of_them_is_empty_too(tmp_path: Path) -> None:
    """Which there are is not known before the venue has told."""
    view = FakeView()
    view.instruments = lambda **_: []  # type: ignore[method-assign,assignment,misc]
    with reader_of(tmp_path, view) as reader:
        assert reader.get("/api/v1/fills?instrument=").status == 400
        assert reader.get("/api/v1/fills?instrument=BTC/USD").json() == []
