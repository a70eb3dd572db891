"""What stands here is for `make prove`."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; all tests that were collected come by."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.proof)
