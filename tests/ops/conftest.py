"""What the tests of control and sight share."""

from __future__ import annotations

import pytest

from tests.ops.fake_view import FakeView


@pytest.fixture
def view() -> FakeView:
    """A market that has moved a little."""
    fake = FakeView()
    for _ in range(40):
        fake.step()
    return fake
