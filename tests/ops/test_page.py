"""The page in a real browser: it shows what the view says, survives a lost connection, and is usable by keyboard."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd.ops.admin import AdminServer
from cstd.ops.client import AdminClient
from tests.ops.fake_view import FakeView
from tests.ops.running import FakeDaemon, RunningReader, admin_socket, reader_of
from tests.ops.test_execution import eventually

SCREENSHOTS = os.environ.get("CSTD_SCREENSHOTS")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AdminServer]:
    """The admin socket to which the reader hands on what the page sends."""
    with admin_socket(tmp_path / "s", FakeView()) as (fake, serving):
        serving.fake = fake  # type: ignore[attr-defined]
        yield serving


@pytest.fixture
def daemon(server: AdminServer, reader: RunningReader) -> FakeDaemon:
    """What takes commands; it has the view that the page shows."""
    fake: FakeDaemon = server.fake  # type: ignore[attr-defined]
    fake.view = reader.view
    return fake


@pytest.fixture
def token(tmp_path: Path, server: AdminServer) -> str:
    """An operator's."""
    with AdminClient(tmp_path / "s") as client:
        return str(client.request("page_token")["token"])


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[RunningReader]:
    """A reader over a market that keeps moving."""
    view = FakeView()
    with reader_of(tmp_path, view, "--socket", str(tmp_path / "s")) as running:
        for _ in range(60):
            view.step()
            running.board.publish(view)
        running.keep_publishing()
        yield running


@pytest.fixture
def page(browser: Any, reader: RunningReader) -> Iterator[Any]:
    """The page, loaded and filled; anything it writes to the console fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(reader.url)
    opened.locator("#state.good").wait_for(timeout=30_000)
    yield opened
    context.close()
    # A browser reports by itself what was not reached and what was refused; the page says it at its row.
    refusals = ("ERR_CONNECTION_REFUSED", "status of 401", "status of 404", "status of 409", "status of 503")
    assert [text for text in said if not any(word in text for word in refusals)] == []


def test_the_page_shows_what_the_view_says(page: Any, reader: RunningReader) -> None:
    """Mode, state, books, decisions, fills, gates, latency: all from the board; practice is labelled."""
    assert page.locator("#mode").inner_text() == "PRACTICE"
    assert page.title().startswith("PRACTICE")
    assert page.locator("#state").inner_text() == "ready"
    assert page.locator(".book").count() == 2
    assert page.locator(".book .level").count() >= 40
    assert page.locator(".decision").count() >= 15
    assert page.locator(".gate-table tbody tr:not(.group)").count() == 15
    assert page.locator("#gates tbody td:nth-child(2)").all_inner_texts() == ["execution"] * 7 + ["risk"] * 8
    first, second = page.locator("#opportunities tbody tr").all_inner_texts()
    assert "0.40 % to 2.00 %" in first and "25.00 USD" in first and "spread" in second
    page.select_option("#filter-horizon", "24h")
    assert "scorer.enabled is false" in page.locator("#opportunities tbody tr").first.inner_text()
    deadline_s = time.monotonic() + 30
    while True:  # the market moves on while the page is read
        newest = page.locator("#fills tbody tr").first.inner_text()
        if any(str(fill["price"]).split(".")[1] in newest for fill in reader.view.fill_rows[:4]):
            break
        assert time.monotonic() < deadline_s, newest
    assert "frame → order: p50" in page.locator("#latency-text").inner_text()
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/page-1280.png", full_page=True)


def test_what_waits_for_an_operator_is_shown_with_the_commands(page: Any, reader: RunningReader) -> None:
    """Value, age, time left, nearest limits, and both commands to copy; without a token the page says that it cannot answer."""
    card = page.locator("#approvals-card")
    assert card.locator(".approval").count() == 1
    assert card.locator(".command").all_inner_texts() == ["cstd approve 41", "cstd decline 41"]
    text = card.inner_text()
    assert "12.5 s" in text and "47.5 s" in text and "15.00 USD" in text
    assert "the page needs an operator's token" in text
    assert card.locator(".answer button:visible").count() == 0
    asked = {**reader.view.decision_rows[0], "intent_seq": 41, "approval": "waits", "kind": "opening"}
    reader.view.decisions = lambda limit: [asked]  # type: ignore[method-assign]
    card.locator(".margins", has_text="% used").wait_for(timeout=30_000)
    assert card.locator(".margins").inner_text().count("left") == 2
    reader.view.approvals = list  # nothing waits any more
    card.wait_for(state="hidden", timeout=30_000)


def use_token(page: Any, token: str) -> None:
    """Give the page a token, by keyboard."""
    page.get_by_label("Token").focus()
    page.keyboard.insert_text(token)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Approve opening 41").wait_for(timeout=30_000)


def test_an_opening_is_approved_by_two_presses_of_a_key(page: Any, reader: RunningReader, daemon: FakeDaemon, token: str) -> None:
    """The first arms it for five seconds, Escape and time take it back, the second sends it; the row says what came of it."""
    use_token(page, token)
    approve = page.locator(".answer .approve")
    page.wait_for_function("document.activeElement.classList.contains('approve')")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Send the approval of opening 41: buy 0.00025 BTC/USD").wait_for(timeout=30_000)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="a second press sends it").wait_for(timeout=30_000)
    assert daemon.commands == []
    approve.dblclick()  # is one press
    page.locator(".approve.armed").wait_for(timeout=30_000)
    if SCREENSHOTS:
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.locator("#approvals-card").screenshot(path=f"{SCREENSHOTS}/approvals-armed-{width}.png")
    page.locator(".approve.armed").wait_for(state="detached", timeout=30_000)  # and is over by itself
    assert daemon.commands == []
    approve.press("Enter")
    page.wait_for_timeout(500)
    approve.press("Enter")
    page.locator(".said", has_text="Approved").wait_for(timeout=30_000)
    assert [(command["verb"], command["args"], command["via"]) for command in daemon.commands] == [
        ("approve", {"id": "41"}, "page")]
    page.locator(".approval.ended").wait_for(timeout=30_000)
    assert page.locator(".answer button:visible").count() == 0


def test_what_could_not_be_answered_is_said_at_its_row(page: Any, reader: RunningReader, daemon: FakeDaemon, token: str,
                                                       server: AdminServer) -> None:
    """It had expired meanwhile; and a token that the daemon does not know is asked for again."""
    use_token(page, token)
    waiting = reader.view.approvals
    row = waiting()
    daemon.view = FakeView()  # the daemon's own table, which knows of nothing that waits
    daemon.view.approvals = list  # type: ignore[method-assign]
    page.get_by_role("button", name="Refuse opening 41").click()
    said = page.locator(".approval .said.bad")
    said.filter(has_text="opening 41 waits no more: expired").wait_for(timeout=30_000)
    reader.view.approvals = list  # type: ignore[method-assign]
    page.locator(".approval.ended").wait_for(timeout=30_000)
    assert "expired" in said.inner_text()
    reader.view.approvals = lambda: row  # type: ignore[method-assign]
    page.locator(".approval:not(.ended)").wait_for(timeout=30_000)
    server._tokens.end(os.getuid(), 0.0)
    page.get_by_role("button", name="Refuse opening 41").click()
    said.filter(has_text="the token is not known to this daemon").wait_for(timeout=30_000)
    assert page.get_by_label("Token").is_visible() and page.locator(".answer button:visible").count() == 0


def test_the_page_moves_with_the_market(page: Any, reader: RunningReader) -> None:
    """The touch on the page changes while the market does, within two seconds."""
    first = page.locator(".touch").first.inner_text()
    deadline_s = time.monotonic() + 5
    while page.locator(".touch").first.inner_text() == first:
        assert time.monotonic() < deadline_s
        page.wait_for_timeout(50)


def test_a_refusal_shows_its_gate(page: Any) -> None:
    """Filtered to refusals, the chosen decision marks the first failing gate and what would have passed."""
    page.locator("#filter-verdict").select_option("refuse")
    page.locator(".decision").first.click()
    failing = page.locator(".gate-table tr.first-failing")
    assert failing.count() == 1
    assert "fail" in failing.inner_text()
    assert "passes:" in failing.inner_text()
    assert "refused: over limit" in page.locator(".summary").inner_text()
    assert set(page.locator(".decision .tag").all_inner_texts()) == {"refuse"}


def test_a_decision_says_what_cstd_why_says_of_it(page: Any, reader: RunningReader) -> None:
    """The cluster at its gate, the route of the order, and of an exit why it goes and where its price is from."""
    rows = reader.view.decision_rows
    by_rest, opening = (next(row for row in rows if row["kind"] == kind and row["route"] == route)
                        for kind, route in (("exit", "rest"), ("opening", "socket")))
    page.locator("#find").fill(str(by_rest["intent_seq"]))
    page.keyboard.press("Enter")
    summary = page.locator("#waterfall .summary")
    summary.filter(has_text="REST: the private socket stays down").wait_for(timeout=30_000)
    assert "stop: the verified mid reached it" in summary.inner_text()
    assert "a REST snapshot: the book cannot be used" in summary.inner_text()
    cluster = ", ".join(by_rest["cluster"])  # type: ignore[arg-type]
    assert f"together with it: {cluster}" in page.locator(".gate-table tr", has_text="correlation").inner_text()
    page.locator("#find").fill(str(opening["intent_seq"]))
    page.keyboard.press("Enter")
    summary.filter(has_text="websocket").wait_for(timeout=30_000)
    assert "Exit by" not in summary.inner_text()
    if SCREENSHOTS:
        page.locator("#decisions").screenshot(path=f"{SCREENSHOTS}/decision.png")


def test_the_decisions_are_usable_by_keyboard(page: Any) -> None:
    """Arrow keys move the choice, and it stays on its decision while new ones arrive."""
    page.locator("#decision-list").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.locator('.decision[aria-selected="true"]')
    id_ = chosen.get_attribute("id")
    page.wait_for_timeout(1_200)
    assert page.locator('.decision[aria-selected="true"]').get_attribute("id") == id_
    page.keyboard.press("Home")
    assert page.locator('.decision[aria-selected="true"]').get_attribute("id") != id_


def test_every_control_has_a_name(page: Any) -> None:
    """Controls, regions and drawings carry accessible names; one heading of level one."""
    for role in ("listbox", "button", "combobox", "img", "region"):
        nodes = page.get_by_role(role)
        assert nodes.count() > 0, role
    unnamed = page.locator("canvas:not([aria-label]), img:not([alt]), select:not(label select), button:empty")
    assert unnamed.count() == 0
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("combobox", name="Verdict").count() == 1


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (390, "dark")])
def test_nothing_is_wider_than_the_screen(page: Any, width: int, scheme: str) -> None:
    """At desk and phone width the page never scrolls sideways."""
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(600)
    assert page.locator("html").evaluate("node => node.scrollWidth") <= width
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/page-{width}-{scheme}.png", full_page=True)


def test_a_dead_daemon_is_announced(page: Any, reader: RunningReader) -> None:
    """When the trading process stops publishing, a banner says so."""
    reader.stop_publishing()
    page.locator("#banner", has_text="has not published").wait_for(timeout=30_000)


def test_a_lost_connection_is_announced(page: Any, reader: RunningReader) -> None:
    """When the reader goes away, a banner says that what is seen is old."""
    reader.process.kill()
    page.locator("#banner", has_text="Connection lost").wait_for(timeout=30_000)


def test_live_and_killed_look_different(page: Any, reader: RunningReader) -> None:
    """Mode and a latched kill switch are told in words and in colour."""
    reader.view.mode, reader.view.kill, reader.view.state = "live", True, "killed"
    page.locator("#kill.bad", has_text="latched").wait_for(timeout=30_000)
    assert page.locator("#mode").inner_text() == "LIVE"
    assert page.locator("#state").get_attribute("class") == "bad"
    assert "PRACTICE" not in page.title()


def test_a_decision_is_found_by_its_id(page: Any, reader: RunningReader) -> None:
    """Typed, or by a click on an order's id: its gates, and they stay while the market moves on, until another is chosen."""
    summary, field = page.locator("#waterfall .summary"), page.locator("#find")
    typed = str(reader.view.decision_rows[2]["cl_ord_id"])
    field.fill(typed)
    field.press("Enter")
    summary.filter(has_text=typed).wait_for(timeout=30_000)
    page.locator("#orders td.order-id").first.click()
    eventually(field.input_value, lambda id_: id_.startswith("ct") and id_ != typed)
    clicked = field.input_value()
    summary.filter(has_text=clicked).wait_for(timeout=30_000)
    steps = reader.view.steps
    eventually(lambda: reader.view.steps, lambda now: now > steps + 8)
    assert clicked in summary.inner_text()
    page.locator(".decision").nth(4).click()
    assert field.input_value() == "" and page.locator(".gate-table").count() == 1


def test_an_id_that_is_unknown_is_said_on_the_page(browser: Any, reader: RunningReader) -> None:
    """As text, in the port's words; with an empty field the newest decision is back."""
    page = browser.new_page()
    page.goto(reader.url)
    page.locator(".gate-table").wait_for(timeout=30_000)
    page.locator("#find").fill("<b>no")
    page.locator("#find").press("Enter")
    page.locator("#waterfall .empty", has_text="it is not among the newest decisions, and there is no").wait_for(timeout=30_000)
    page.locator("#find").fill("")
    page.locator("#find").press("Enter")
    page.locator(".gate-table").wait_for(timeout=30_000)
    page.close()
