"""How long a test with real processes may take at most.

Each wait in it has a limit of its own and says what was missing. What ends the whole run is to come after all of them: a test
whose waits add up to more than this has a marker of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TEST_S_MAX = 600
FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of this folder without a marker of its own the time that its waits may need."""
    for item in items:
        if FOLDER in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_S_MAX))
