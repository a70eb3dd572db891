"""Futures sequence numbers: whole recordings pass, and a gap is found where it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cstd.errors import VerificationError
from cstd.storage.futures_sequence import PLACES_MAX, FuturesSequence, Gap, check
from cstd.storage.recordings import open_recording

RECORDING = "kraken-futures-v1-20210722.jsonl.zst"


def test_the_recording_is_whole(data_dir: Path) -> None:
    """7,014 of 7,014 book changes follow one another, and the three trades follow their snapshots."""
    report = check(open_recording(data_dir / "recordings" / RECORDING).frames)
    assert (report.sequences_ok, report.sequences_bad, report.places) == (7014, 0, [])
    assert (report.trades_ok, report.trades_bad) == (3, 0)


def test_one_lost_message_is_one_gap(data_dir: Path) -> None:
    """Leaving out any single book change makes exactly one gap, at the next change of that product."""
    frames = [f for f in open_recording(data_dir / "recordings" / RECORDING).frames if f.direction == "rx"]
    lost = next(n for n, frame in enumerate(frames) if n > 3000 and b'"feed":"book",' in frame.text)
    product, seq = (json.loads(frames[lost].text)[key] for key in ("product_id", "seq"))
    report = check(frames[:lost] + frames[lost + 1 :])
    assert (report.sequences_ok, report.sequences_bad) == (7012, 1)
    (gap,) = report.places
    assert (gap.feed, gap.product_id, gap.expected_seq, gap.found_seq) == ("book", product, seq, seq + 1)


def book(seq: int) -> bytes:
    """Return one book change of a product."""
    return json.dumps({"feed": "book", "product_id": "PI_XBTUSD", "seq": seq}).encode()


def test_a_change_without_a_snapshot_and_one_repeated_are_bad() -> None:
    """The first change needs a snapshot before it; a number seen twice does not follow."""
    sequence = FuturesSequence()
    for text in (book(5), book(6), book(6)):
        sequence.take(text)
    assert (sequence.report.sequences_ok, sequence.report.sequences_bad) == (1, 2)
    assert sequence.report.places == [Gap(1, "book", "PI_XBTUSD", None, 5), Gap(3, "book", "PI_XBTUSD", 7, 6)]


def test_places_are_bounded() -> None:
    """A stream that is broken everywhere is counted to the end, its places only up to the limit."""
    sequence = FuturesSequence()
    for n in range(PLACES_MAX + 50):
        sequence.take(book(2 * n))
    assert sequence.report.sequences_bad == PLACES_MAX + 50
    assert len(sequence.report.places) == PLACES_MAX


@pytest.mark.parametrize(
    "text",
    [b"{", b'{"feed":"book","seq":1}', b'{"feed":"book","product_id":"P","seq":"1"}', b'{"feed":"book_snapshot"}',
     b'{"feed":"trade_snapshot","product_id":"P","trades":[5]}'],
)  # fmt: skip
def test_a_message_without_its_number_is_refused(text: bytes) -> None:
    """What cannot be checked is an error, not a pass."""
    with pytest.raises(VerificationError):
        FuturesSequence().take(text)
