"""Fixtures: an exchange on virtual time, and a practice process on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from practice_world import build_exchange, start_practice, stop_practice

from cstd.practice.exchange import Exchange


@pytest.fixture
def exchange() -> Exchange:
    """An exchange with BTC/USD and ETH/USD and empty books."""
    return build_exchange()


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses and key of a practice process with order flow, two instruments, seed 1."""
    process, addresses = start_practice(tmp_path_factory.mktemp("practice"))
    yield addresses
    assert stop_practice(process) == 0
