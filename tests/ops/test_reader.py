"""The reader process over real HTTP: every route, what it refuses, how it lives and dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cstd.errors import UsageError
from cstd.ops.api import ANSWER_PATH, ROUTES, Health, Readiness
from cstd.ops.board import BoardWriter
from cstd.ops.reader import WEBSOCKETS_MAX, is_loopback_name, parse_address
from cstd.ops.sight import latency_summary, market_overview, quantile_ns
from tests import needs
from tests.ops.fake_view import FakeView
from tests.ops.running import RunningReader, reader_of, start_reader, wait_for_url
from tests.processes import assert_ends


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningReader]:
    """One reader process for this file; each test publishes what it needs."""
    view = FakeView()
    with reader_of(tmp_path_factory.mktemp("run"), view) as running:
        for _ in range(60):
            view.step()
            running.board.publish(view)
        yield running


@pytest.fixture(autouse=True)
def calm(reader: RunningReader) -> Iterator[None]:
    """Put the view back in order after each test."""
    yield
    reader.view.state, reader.view.kill, reader.view.failing = "ready", False, set()


def test_every_route_answers_as_its_schema_says(reader: RunningReader) -> None:
    """Each data route gives 200 and a body of exactly the declared type."""
    for route in ROUTES:
        answer = reader.get(route.path.format(id=reader.view.decision_rows[0]["intent_seq"]))
        assert answer.status == 200, route.path
        msgspec.convert(answer.json(), route.response)
    msgspec.convert(reader.get("/health").json(), Health)
    msgspec.convert(reader.get("/ready").json(), Readiness)


def test_what_the_view_says_arrives(reader: RunningReader) -> None:
    """Values come through the board unchanged."""
    reader.view.step()
    view = reader.view
    assert reader.get("/api/v1/status").json() == view.status()
    assert reader.get("/api/v1/equity").json() == view.equity()
    assert reader.get("/api/v1/orders").json()[0] == view.orders(all_=False, limit=1)[0]
    assert reader.get("/api/v1/decisions?limit=1").json() == view.decisions(1)


def test_limits_are_shown_and_not_changed(reader: RunningReader) -> None:
    """The status port has the rows of `cstd limits`; an instrument's are those that differ."""
    limits = reader.view.limits_in_force
    limits.change({"key": "risk.grace_ms", "value": "500", "instrument": "ETH/USD"}, {"uid": 7}, 5)
    assert reader.get("/api/v1/limits").json() == reader.view.limits()
    assert reader.get("/api/v1/clusters").json() == reader.view.clusters()
    (row,) = reader.get("/api/v1/limits?instrument=eth/usd").json()
    assert (row["key"], row["value"], row["configured"], row["set_by_uid"]) == ("risk.grace_ms", "500", "1000", 7)


def test_opportunities_can_be_filtered(reader: RunningReader) -> None:
    """By horizon, standing, instrument and the gate that refuses; an instrument that is not among the first is no empty list."""
    assert reader.get("/api/v1/opportunities").json() == reader.view.opportunities()
    rows = reader.get("/api/v1/opportunities?horizon=1h&standing=refused&refused_by=2").json()
    assert [(row["instrument"], row["horizon"]) for row in rows] == [("ETH/USD", "1h")]
    assert len(reader.get("/api/v1/opportunities?instrument=btc/usd&limit=2").json()) == 2
    for wrong in ("horizon=2h", "standing=great", "refused_by=99", "instrument=DOGE/USD", "verdict=approve"):
        assert reader.get(f"/api/v1/opportunities?{wrong}").status == 400


def test_an_instrument_beyond_the_first_opportunities_is_not_told_as_none(tmp_path: Path) -> None:
    """What the board has no room for is a 503 that names the command which asks."""
    view = FakeView()
    whole = view.opportunities
    view.opportunities = lambda **_: whole(instrument="BTC/USD")  # type: ignore[method-assign]
    with reader_of(tmp_path, view) as reader:
        assert len(reader.get("/api/v1/opportunities?instrument=BTC/USD").json()) == 3
        answer = reader.get("/api/v1/opportunities?instrument=ETH/USD")
        assert (answer.status, "cstd opportunities" in answer.json()["suggestion"]) == (503, True)


def test_rows_can_be_limited_and_filtered(reader: RunningReader) -> None:
    """limit, instrument and verdict narrow a list; they combine."""
    rows = reader.get("/api/v1/decisions?verdict=refuse&instrument=btc/usd&limit=2").json()
    assert rows
    assert {(row["verdict"], row["instrument"]) for row in rows} == {("refuse", "BTC/USD")}
    assert len(reader.get("/api/v1/fills?limit=3").json()) == 3
    assert {row["symbol"] for row in reader.get("/api/v1/orders?instrument=ETH/USD").json()} == {"ETH/USD"}
    assert [book["name"] for book in reader.get("/api/v1/books?instrument=ETH/USD").json()] == ["ETH/USD"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=%D9%A3", "limit=",
                                   "colour=red"])
def test_a_wrong_query_is_a_400_with_the_reason(reader: RunningReader, query: str) -> None:
    """Wrong parameters are named, not ignored."""
    answer = reader.get(f"/api/v1/fills?{query}")
    assert answer.status == 400
    assert answer.json()["error"] == "usage"
    assert ("limit" in answer.json()["message"]) or ("colour" in answer.json()["message"])


@pytest.mark.parametrize(("path", "known"), [
    ("orders?state=foo", "partially_filled"), ("orders?instrument=BTC", "BTC/USD"), ("decisions?verdict=no", "refuse"),
    ("books?instrument=", "ETH/USD"),
])
def test_a_filter_by_what_there_is_not_is_a_400_with_what_there_is(reader: RunningReader, path: str, known: str) -> None:
    """An empty list would read as "there are none"."""
    answer = reader.get(f"/api/v1/{path}")
    assert answer.status == 400
    assert known in answer.json()["suggestion"]


def test_an_order_in_doubt_can_be_asked_for(reader: RunningReader) -> None:
    """Every state that the view shows is a word of the filter, in either case."""
    for state in ("UNKNOWN", "unknown", "new", "partially_filled", "canceled"):
        assert reader.get(f"/api/v1/orders?state={state}").status == 200


@pytest.mark.parametrize(("state", "status"), [("ready", 200), ("paused", 503), ("reconciling", 503), ("killed", 503)])
def test_ready_is_200_in_the_state_ready_alone(reader: RunningReader, state: str, status: int) -> None:
    """Every other state is 503 and names itself."""
    reader.view.state = state
    answer = reader.get("/ready")
    assert (answer.status, answer.json()["state"], answer.json()["ready"]) == (status, state, status == 200)
    assert reader.get("/health").status == 200


def test_health_tells_of_children_and_of_a_failing_view(reader: RunningReader) -> None:
    """A dead child degrades health; an error of the view is shown with its text."""
    status = reader.view.status
    reader.view.status = lambda: {**status(), "children": {"reader": True, "projector": False}}  # type: ignore[method-assign]
    try:
        answer = reader.get("/health")
    finally:
        reader.view.status = status  # type: ignore[method-assign]
    assert (answer.status, answer.json()["status"]) == (503, "degraded")
    reader.view.failing = {"books"}
    assert "books: RuntimeError" in reader.get("/health").json()["last_view_error"]


def families(reader: RunningReader) -> dict[str, Any]:
    """Return the scraped families by name."""
    text = reader.get("/metrics").body.decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_metrics_have_the_prefix_and_the_values_of_the_view(reader: RunningReader) -> None:
    """All names begin with cstd_, and values are those of the view in base units."""
    found = families(reader)
    assert all(name.startswith("cstd_") for name in found)
    assert found["cstd_up"].samples[0].value == 1
    assert found["cstd_frames"].samples[0].value == reader.view.counter["frames"]
    assert found["cstd_drawdown_ratio"].samples[0].value == pytest.approx(0.35 / 1e4)
    assert {s.labels["state"]: s.value for s in found["cstd_state"].samples}["ready"] == 1
    assert sum(s.value for s in found["cstd_state"].samples) == 1
    assert {s.labels["instrument"] for s in found["cstd_book_verified"].samples} == {"BTC/USD", "ETH/USD"}
    assert len(found["cstd_gate_refusals"].samples) == 15
    assert found["cstd_positions"].samples[0].value == 1
    assert found["cstd_journal_lag_seconds"].samples[0].value == pytest.approx(3.2e-3)
    assert found["cstd_process_resident_memory_bytes"].samples[0].value > 1_000_000


def test_how_long_a_kill_took_is_a_metric_once_it_is_proven(reader: RunningReader) -> None:
    """It is absent while there is no kill that the venue has shown to have worked."""
    reader.board.publish(reader.view)
    assert "cstd_kill_proven_seconds" not in families(reader)
    reader.view.kill = True
    reader.board.publish(reader.view)
    found = families(reader)
    assert (found["cstd_kill_proven_seconds"].samples[0].value, found["cstd_kill_switch"].samples[0].value) == (0.24, 1)


def test_stage_histograms_add_up(reader: RunningReader) -> None:
    """Buckets are cumulative and end in the count; sum and every edge agree with the view's finer buckets."""
    samples = families(reader)["cstd_stage_duration_seconds"].samples
    view = reader.view
    for stage, counts in view.stage_counts.items():
        of_stage = [s for s in samples if s.labels["stage"] == stage]
        buckets = [(s.labels["le"], s.value) for s in of_stage if s.name.endswith("_bucket")]
        values = [value for _, value in buckets]
        assert values == sorted(values)
        assert buckets[-1] == ("+Inf", counts.sum())
        assert next(s.value for s in of_stage if s.name.endswith("_count")) == counts.sum()
        total_s = next(s.value for s in of_stage if s.name.endswith("_sum"))
        assert total_s == pytest.approx(view.stage_sums[stage] / 1e9)
        for le, value in buckets[:-1]:
            assert value == counts[view.edges <= round(float(le) * 1e9)].sum()


def test_metrics_pass_promtool(reader: RunningReader) -> None:
    """`promtool check metrics` has nothing to say."""
    done = subprocess.run([needs.program("promtool"), "check", "metrics"], input=reader.get("/metrics").body,
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_openmetrics_is_spoken_on_request(reader: RunningReader) -> None:
    """A scraper that asks for OpenMetrics gets it."""
    answer = reader.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


def test_requests_are_counted_by_route_not_by_path(reader: RunningReader) -> None:
    """Unknown paths share one label, so a scanner cannot blow up the exposition."""
    for i in range(5):
        reader.get(f"/nothing/{i}")
    routes = {s.labels["route"] for s in families(reader)["cstd_http_requests"].samples}
    assert "other" in routes
    assert not any("nothing" in route for route in routes)


def test_openapi_describes_every_route(reader: RunningReader) -> None:
    """The document is 3.1, covers each route that answers, and every reference in it resolves."""
    document = reader.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    others = {"/health", "/ready", "/metrics", "/openapi.json", ANSWER_PATH}
    assert set(document["paths"]) == {route.path for route in ROUTES} | others
    references = {part.split('"')[0] for part in json.dumps(document).split('#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == len(set(operations))


def test_it_reads_and_no_path_of_data_is_written_to(reader: RunningReader) -> None:
    """No other method than GET and HEAD is served anywhere but where an operator's answer goes, which takes POST alone."""
    import urllib.error
    import urllib.request

    for path in ("/", "/api/v1/status", "/ready"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(reader.url + path, method=method, data=b"x"), timeout=5)
            assert refused.value.code == 405
            assert json.loads(refused.value.read())["error"] == "method_not_allowed"
    answer = reader.get("/api/v1/approvals/41")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


def test_every_answer_has_the_security_headers(reader: RunningReader) -> None:
    """Page, data, errors: no inline script, no outside resource, no framing, no sniffing, no cache."""
    for path in ("/", "/app.js", "/api/v1/status", "/missing", "/metrics"):
        headers = reader.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_the_page_needs_nothing_from_outside(reader: RunningReader) -> None:
    """Its files name no other host, no inline script or style, and are served with their types."""
    page = reader.get("/").body.decode()
    assert "style=" not in page
    assert page.count("<script") == page.count("<script src=") == 4
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"),
                       ("/format.js", "text/javascript"), ("/panels.js", "text/javascript"), ("/approvals.js", "text/javascript"),
                       ("/style.css", "text/css"), ("/icon.svg", "image/svg+xml")):
        answer = reader.get(path)
        assert answer.headers["Content-Type"].startswith(kind)
        text = answer.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "0.0.0.0"])
def test_another_hosts_name_is_refused(reader: RunningReader, host: str) -> None:
    """A page elsewhere that rebinds its own name to loopback gets nothing."""
    assert reader.get("/api/v1/status", Host=host).status == 421


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("127.0.0.1:8001", True), ("localhost:1", True), ("[::1]:8001", True), ("127.9.9.9", True),
    ("::1", True), ("", False), ("example.org", False), ("localhost.example", False), ("192.168.0.1:8001", False)])
def test_loopback_names(host: str, loopback: bool) -> None:
    """Only loopback addresses and `localhost` count."""
    assert is_loopback_name(host) is loopback


def test_a_stale_board_is_an_error_unless_asked_for(tmp_path: Path) -> None:
    """When the writer is gone, data are 503 with the age, `?stale=1` gives the last, and metrics say only `up 0`."""
    view = FakeView()
    view.step()
    with reader_of(tmp_path, view) as reader:
        assert reader.get("/api/v1/equity").status == 200
        time.sleep(2.2)
        answer = reader.get_stale("/api/v1/equity")
        assert (answer.status, answer.json()["error"]) == (503, "stale")
        assert reader.get_stale("/api/v1/equity?stale=1").json() == view.equity()
        assert reader.get_stale("/ready").json()["state"] == "unknown"
        # Needed most when the daemon is gone, and not from its board.
        for path in ("/api/v1/alerts", "/api/v1/jobs", "/api/v1/execution", "/api/v1/performance"):
            assert (reader.get_stale(path).status, reader.get_stale(f"{path}?stale=1").status) == (200, 200)
        assert reader.get_stale("/health").json()["status"] == "down"
        text = reader.get_stale("/metrics").body.decode()
        assert "cstd_up 0.0" in text
        assert "cstd_ready" not in text


def test_the_websocket_pushes_what_changed(reader: RunningReader) -> None:
    """The first message has every region, later ones only those that moved; within a second."""
    async def listen() -> tuple[dict[str, Any], dict[str, Any]]:
        async with aiohttp.ClientSession() as session, session.ws_connect(reader.url + "/ws") as socket_:
            first = await socket_.receive_json(timeout=30)
            reader.view.counter["frames"] += 1
            reader.board.publish(reader.view)
            while True:
                later = await socket_.receive_json(timeout=30)
                for name in ("execution", "performance"):  # the ledger is looked at every five seconds, moved or not
                    later["regions"].pop(name, None)
                if later["regions"]:
                    return first, later

    reader.board.publish(reader.view)
    first, later = asyncio.run(listen())
    assert first["stale"] is False
    assert set(first["regions"]) >= {"status", "books", "decisions", "latency", "equity"}
    assert set(later["regions"]) == {"counters"}
    assert later["regions"]["counters"]["frames"] == reader.view.counter["frames"]


def test_a_page_of_another_origin_gets_no_websocket(reader: RunningReader) -> None:
    """The Origin header must be the port's own."""
    async def attempt(origin: str) -> int:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.ws_connect(reader.url + "/ws", headers={"Origin": origin}):
                    return 101
            except aiohttp.WSServerHandshakeError as error:
                return error.status

    assert asyncio.run(attempt("http://evil.example")) == 403
    assert asyncio.run(attempt(reader.url)) == 101


def test_pages_are_bounded(reader: RunningReader) -> None:
    """One page more than there may be is told that there are too many."""
    async def room(session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        """A page's connection; those of tests before may not have been let go yet."""
        until_s = time.monotonic() + 30
        while True:
            try:
                return await session.ws_connect(reader.url + "/ws")
            except aiohttp.WSServerHandshakeError:
                assert time.monotonic() < until_s
                await asyncio.sleep(0.02)

    async def many() -> tuple[int, int]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            sockets = [await room(session) for _ in range(WEBSOCKETS_MAX)]
            try:
                await session.ws_connect(reader.url + "/ws")
            except aiohttp.WSServerHandshakeError as error:
                status = error.status
            else:
                status = 101
            for socket_ in sockets:
                await socket_.close()
            return status, len(sockets)

    assert asyncio.run(many()) == (503, WEBSOCKETS_MAX)


def test_a_port_in_use_is_named(reader: RunningReader) -> None:
    """A second reader on the port exits 1 and names it."""
    port = reader.url.rpartition(":")[2]
    done = subprocess.run([sys.executable, "-m", "cstd.ops.reader", "--board", str(reader.board.path), "--listen",
                           f"127.0.0.1:{port}"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:8001", "192.168.1.5:80", "[::]:8001", "example.org:80"])
def test_other_addresses_are_refused(address: str) -> None:
    """Anything but loopback is refused with the reason."""
    with pytest.raises(UsageError, match="listens on loopback only"):
        parse_address(address)


def test_addresses_are_parsed() -> None:
    """Host and port of IPv4, IPv6 and localhost; nonsense is a usage error."""
    assert parse_address("127.0.0.1:8001") == ("127.0.0.1", 8001)
    assert parse_address("localhost:0") == ("127.0.0.1", 0)
    assert parse_address("[::1]:9") == ("::1", 9)
    assert parse_address(":7") == ("127.0.0.1", 7)
    for text in ("8001", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", ""):
        with pytest.raises(UsageError, match="HOST:PORT"):
            parse_address(text)


def test_several_listeners_are_served_and_written_down(reader: RunningReader, tmp_path: Path) -> None:
    """--listen may be repeated; reader.json has every bound address, and all of them answer."""
    board = BoardWriter(tmp_path / "board")
    board.publish(reader.view)
    process = start_reader(board.path, "--listen", "127.0.0.1:0")
    try:
        wait_for_url(tmp_path, process)
        addresses = json.loads((tmp_path / "reader.json").read_bytes())["addresses"]
        assert len(set(addresses)) == 2
        for url in addresses:
            board.publish(reader.view)  # however long the start took, the board is fresh
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5) as connection:
                connection.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.0 200")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        process.stderr.close()


def test_a_missing_board_is_an_error(tmp_path: Path) -> None:
    """Exit 1 with the path, no traceback."""
    done = subprocess.run([sys.executable, "-m", "cstd.ops.reader", "--board", str(tmp_path / "board"), "--listen",
                           "127.0.0.1:0"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "cannot open the board" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_dies_with_its_parent(reader: RunningReader, tmp_path: Path) -> None:
    """kill -9 of the process that started it ends the reader within seconds."""
    board = BoardWriter(tmp_path / "board")
    board.publish(reader.view)
    script = ("import os,subprocess,sys,time\np=subprocess.Popen([sys.executable,'-m','cstd.ops.reader','--board',"
              "sys.argv[1],'--listen','127.0.0.1:0','--parent',str(os.getpid())])\nprint(p.pid,flush=True)\ntime.sleep(60)")
    parent = subprocess.Popen([sys.executable, "-c", script, str(board.path)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    for _ in range(1_200):
        if (tmp_path / "reader.json").exists():
            break
        time.sleep(0.05)
    assert json.loads((tmp_path / "reader.json").read_bytes())["pid"] == pid
    parent.kill()
    parent.wait()
    parent.stdout.close()
    try:
        assert_ends(pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_restarted_daemon_is_followed(tmp_path: Path) -> None:
    """A new board in the same place is served within two seconds."""
    view = FakeView()
    view.step()
    with reader_of(tmp_path, view) as reader:
        assert reader.get("/api/v1/counters").json()["frames"] == 40
        second = BoardWriter(tmp_path / "board")
        view.counter["frames"] = 77
        for _ in range(20):
            second.publish(view)
            if reader.get_stale("/api/v1/counters").json().get("frames") == 77:
                break
            time.sleep(0.1)
        assert reader.get_stale("/api/v1/counters").json()["frames"] == 77
        second.close()


def test_quantiles_are_upper_edges_of_the_right_bucket() -> None:
    """Ranks at, just under and just over a bucket's end; none without observations."""
    edges, counts = [10, 20, 30], [5, 4, 1]
    assert quantile_ns(edges, counts, 0.5) == 10
    assert quantile_ns(edges, counts, 0.51) == 20
    assert quantile_ns(edges, counts, 0.9) == 20
    assert quantile_ns(edges, counts, 0.91) == 30
    assert quantile_ns(edges, [0, 0, 0], 0.5) is None
    summary = latency_summary({"edges_ns": edges, "stages": {"s": {"counts": counts, "sum_ns": 120}}})
    assert (summary["s"]["n"], summary["s"]["mean_ns"], summary["s"]["p99_ns"]) == (10, 12, 30)


def test_the_market_overview_counts_others_quantity_only() -> None:
    """Mid and spread are exact, our own quantity is left out of the imbalance, an empty side gives nothing."""
    book = {"name": "A/B", "price_precision": 1, "qty_precision": 2, "bids": [[999, 300, 100]],
            "asks": [[1001, 200, 0]]}
    (row,) = market_overview([book], [{"name": "A/B", "state": "verified"}], [
        {"instrument": "A/B", "price": "100.0", "wall_ns": 2}, {"instrument": "A/B", "price": "99.0", "wall_ns": 1}])
    assert (row["bid"], row["ask"], row["mid"], row["last_price"]) == ("99.9", "100.1", "100.0", "100.0")
    assert row["spread_bps"] == pytest.approx(20.0)
    assert row["imbalance"] == 0.0
    (empty,) = market_overview([{**book, "asks": []}], [], [])
    assert (empty["ask"], empty["mid"], empty["spread_bps"]) == (None, None, None)
