"""What the tests of control and sight share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import needs
from tests.ops.fake_view import FakeView


@pytest.fixture
def view() -> FakeView:
    """A market that has moved a little."""
    fake = FakeView()
    for _ in range(40):
        fake.step()
    return fake


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    chromium = needs.program("chromium", "chromium-browser", "google-chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run"])
        yield running
        running.close()
