"""The fuzz targets in the ordinary test run, and under the sanitizers: every kept input, and changed ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.mutate import mutated
from fuzz.targets import SCANNER, TARGETS, executions, scan

CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus"
KEPT = {name: sorted((CORPUS / name).iterdir()) for name in TARGETS}
SEEDS = {name: [path.read_bytes() for path in paths] for name, paths in KEPT.items()}


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_holds(name: str) -> None:
    """What was constructed, and what the fuzzer once found, passes its target."""
    assert SEEDS[name]
    for path, data in zip(KEPT[name], SEEDS[name], strict=True):
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{path.name}: {error}") from error


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=300)
@given(seed=st.integers(0, 2**32), choice=st.integers(0, 2**16))
def test_changed_inputs_hold(name: str, seed: int, choice: int) -> None:
    """Inputs that are cut, doubled, swapped or spoilt pass as well: accepted and right, or refused."""
    TARGETS[name](mutated(SEEDS[name][choice % len(SEEDS[name])], random.Random(seed)))


@pytest.mark.parametrize("name", ["scan", "executions"])
def test_every_beginning_of_a_frame_holds(name: str) -> None:
    """A frame cut anywhere is read to its end and no further, and is never taken for a whole one."""
    for seed in SEEDS[name]:
        for end in range(min(len(seed), 700)):
            TARGETS[name](seed[:end])


@given(st.binary(max_size=300))
def test_any_bytes_hold(data: bytes) -> None:
    """Bytes without any meaning pass every target."""
    for target in TARGETS.values():
        target(data)


def test_the_oracles_see_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner that got a level, a time or a report wrong would fail: the targets are no empty shells."""
    book = (CORPUS / "scan" / "book-update").read_bytes()

    class Wrong:
        """A scanner that is one unit off."""

        def scan_bytes(self, frame: bytes) -> dict[str, object]:
            found = SCANNER.scan_bytes(frame)
            return {**found, "bids": [(price, qty + 1) for price, qty in found["bids"]]}

    monkeypatch.setattr("fuzz.targets.SCANNER", Wrong())
    with pytest.raises(AssertionError):
        scan(book)
    monkeypatch.setattr("fuzz.targets.decode_private", lambda _data: ["another message"])
    with pytest.raises(AssertionError):
        executions((CORPUS / "executions" / "trade").read_bytes())
