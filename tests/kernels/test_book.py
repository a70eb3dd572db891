"""The compiled book equals a plain book in exact decimals, message by message, and proves it by the venue's checksum."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import oracle_book as oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cstd._fast import book as compiled
from cstd._fast.book import Book
from cstd._fast.codes import BookFault, BookState, Side
from cstd.storage.recordings import open_recording
from cstd.storage.v1_dialect import V1Dialect

BTC_D25 = oracle.V2_RECORDINGS[0]
NOW_NS = 1_700_000_000_000_000_000


def raw_side(levels: list[oracle.Level], price_precision: int, qty_precision: int) -> list[tuple[int, int, int]]:
    """An oracle's side as the compiled book shows it: raw integers, nothing of our own."""
    return [(oracle.exact_raw(p, price_precision), oracle.exact_raw(q, qty_precision), 0) for p, q in levels]


def assert_totals_are_sums(book: Book) -> None:
    """What the book keeps as the value of each side is the sum over its levels, to the last unit."""
    for side in (Side.BUY, Side.SELL):
        assert book.total(side) == sum(price * qty for price, qty, _ in book.levels(side, 2000))


def replayed(data_dir: Path, recording: str, *, truncates: bool = True) -> Iterator[tuple[Book, oracle.OracleBook, dict]]:
    """Apply a recording to both books; yields after each message with the message."""
    depth = oracle.DEPTHS[recording]
    pairs: dict[str, tuple[Book, oracle.OracleBook]] = {}
    for _, name, snapshot, row in oracle.book_messages(data_dir, recording):
        if name not in pairs:
            pairs[name] = Book(depth), oracle.OracleBook(depth, *oracle.PRECISIONS[name], truncates=truncates)
        ours, plain = pairs[name]
        plain.apply(snapshot=snapshot, bids=oracle.decimal_levels(row["bids"]), asks=oracle.decimal_levels(row["asks"]))
        ours.apply_levels(snapshot, oracle.raw_levels(row["bids"], name), oracle.raw_levels(row["asks"], name),
                          row["checksum"], 0)
        yield ours, plain, row


@pytest.mark.parametrize("recording", oracle.V2_RECORDINGS)
def test_recorded_books_equal_the_plain_book(data_dir: Path, recording: str) -> None:
    """After every recorded message both books are the same, level for level, and both have the venue's checksum."""
    count = 0
    for ours, plain, row in replayed(data_dir, recording):
        count += 1
        assert ours.state == BookState.BOOK_VERIFIED
        assert ours.checksum == row["checksum"] == plain.checksum()
        precisions = plain.price_precision, plain.qty_precision
        assert ours.levels(Side.BUY, 2000) == raw_side(plain.best_bids(), *precisions)
        assert ours.levels(Side.SELL, 2000) == raw_side(plain.best_asks(), *precisions)
        assert_totals_are_sums(ours)
    assert count == oracle.BOOK_FRAMES[recording]


def test_a_book_that_is_not_cut_fails_on_the_btc_recording(data_dir: Path) -> None:
    """Leaving the cut to the depth out breaks 1,832 of 2,052 checksums: this recording shows a missing truncation."""
    wrong = sum(plain.checksum() != row["checksum"] for _, plain, row in replayed(data_dir, BTC_D25, truncates=False))
    assert wrong == 1832


def test_every_lost_message_is_noticed_by_the_next_checksums(data_dir: Path) -> None:
    """A dropped update breaks a later checksum or changes nothing that a checksum covers; it never hides as verified
    with another top ten, and once it is noticed nothing but a snapshot verifies."""
    messages = [(snapshot, oracle.raw_levels(row["bids"], name), oracle.raw_levels(row["asks"], name), row["checksum"])
                for _, name, snapshot, row in oracle.book_messages(data_dir, BTC_D25)][:400]
    noticed = 0
    for lost in range(1, 390, 13):
        whole, broken = Book(25), Book(25)
        for at, message in enumerate(messages[:lost + 10]):
            whole.apply_levels(*message, 0)
            if at == lost:
                continue
            fault = broken.apply_levels(*message, 0)
            if at > lost:
                same_top = (whole.levels(Side.BUY, 10) == broken.levels(Side.BUY, 10)
                            and whole.levels(Side.SELL, 10) == broken.levels(Side.SELL, 10))
                assert fault == (BookFault.FAULT_CHECKSUM if not same_top
                                 else BookFault.FAULT_GAP if broken.broken else BookFault.FAULT_NONE)
                noticed += fault == BookFault.FAULT_CHECKSUM
    assert noticed > 0


def test_v1_recordings_verify_every_checksum(data_dir: Path) -> None:
    """The dialect of v1, translated, verifies every checksum of its ten pairs at depth 1000, and after every message all
    levels are those of a plain book."""
    books: dict[str, tuple[Book, oracle.SortedSide, oracle.SortedSide]] = {}
    dialect = V1Dialect()
    count = deepest = 0
    for frame in open_recording(data_dir / "recordings" / "kraken-v1-spot-20210405.jsonl.zst").frames:
        text = dialect.translate(frame.text) if frame.direction == "rx" else None
        if text is None or not text.startswith(b'{"channel":"book"'):
            continue
        message = oracle.decoded(text)
        for row in message["data"]:
            ours, *sides = books.setdefault(row["symbol"], (Book(1000, 10**18), oracle.SortedSide(bids=True, depth=1000),
                                                            oracle.SortedSide(bids=False, depth=1000)))
            levels = [[tuple(int(f"{level[field]:f}".replace(".", "")) for field in ("price", "qty"))
                       for level in row[side]] for side in ("bids", "asks")]
            snapshot = message["type"] == "snapshot"
            fault = ours.apply_levels(snapshot, *levels, row.get("checksum"), 0)
            for side, plain, changes in zip((Side.BUY, Side.SELL), sides, levels, strict=True):
                plain.apply(changes, snapshot=snapshot)
                assert ours.levels(side, 2000) == plain.best_first(), (row["symbol"], count)
                deepest = max(deepest, len(plain.rows))
            if row.get("checksum") is not None:
                count += 1
                assert fault == BookFault.FAULT_NONE, (row["symbol"], count)
    assert (count, len(books), deepest) == (14_496, 10, 1000)


# Checksum vectors.

VECTOR_A = (1, 8, """45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911 45290.2/0.15890660
45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000 45297.5/0.09945542 45299.5/0.18772827""",
            """45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000 45280.3/1.54592586
45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000 45277.3/1.54602737 45276.6/0.15445238""", 3310070434)
VECTOR_B = (4, 8, """0.5668/4410.79769741 0.5669/4655.40412487 0.567/49844.89424998 0.5671/24306.41678
0.5672/29783.25223475 0.5673/57234.71239278 0.5674/45065.04744 0.5675/5912.76380354 0.5676/42514.92434778
0.5677/36304.0847022""",
            """0.5666/4831.75496356 0.5665/6658.22734739 0.5664/18724.91513344 0.5663/11563.92544914 0.5662/14006.65365711
0.5661/17454.85679807 0.566/18097.1547 0.5659/33644.89175666 0.5658/148.3464 0.5657/606.70854372""", 2439117997)
VECTOR_C = (6, 8, """0.031357/0.03740000 0.031358/2.87194815 0.031361/0.00767324 0.031362/4.27140781 0.031363/4.34586052
0.031364/27.28097668 0.031365/12.92325840 0.031366/4.14290322 0.031368/0.00738649 0.031370/0.03740000""",
            """0.031348/0.03740000 0.031347/2.87288049 0.031345/8.57986833 0.031344/14.40276069 0.031340/12.96065840
0.031339/13.19606540 0.031338/20.41389313 0.031336/0.03740000 0.031334/14.37158163 0.031332/14.40695990""", 3619791617)
VECTOR_V1 = (5, 8, " ".join(f"{Decimal(5005 + 5 * n).scaleb(-5)}/0.00000500" for n in range(10)),
             " ".join(f"0.0{price}/0.00000500" for price in (5000, 4995, 4990, 4980, 4975, 4970, 4965, 4960, 4955, 4950)),
             974947235)


def parsed(text: str, price_precision: int, qty_precision: int) -> list[tuple[int, int]]:
    """Levels of a vector in raw integers."""
    return [(oracle.exact_raw(Decimal(price), price_precision), oracle.exact_raw(Decimal(qty), qty_precision))
            for price, _, qty in (level.partition("/") for level in text.split())]


@pytest.mark.parametrize("vector", [VECTOR_A, VECTOR_B, VECTOR_C, VECTOR_V1], ids=["A", "B", "C", "v1"])
def test_published_checksums(vector: tuple[int, int, str, str, int]) -> None:
    """The venue's published books have the published checksums, trailing zeros printed or not."""
    price, qty, asks, bids, checksum = vector
    ours = Book(10)
    assert ours.apply_levels(True, parsed(bids, price, qty), parsed(asks, price, qty), checksum, 0) == BookFault.FAULT_NONE
    assert (ours.checksum, ours.state) == (checksum, BookState.BOOK_VERIFIED)


def test_published_checksums_after_an_update() -> None:
    """The published updates of vectors B and C lead to their published checksums: a changed level, and a removed one
    with a deeper one in its place."""
    ours = Book(10)
    ours.apply_levels(True, parsed(VECTOR_B[3], 4, 8), parsed(VECTOR_B[2], 4, 8), VECTOR_B[4], 0)
    assert ours.apply_levels(False, parsed("0.5657/1098.3947558", 4, 8), [], 2114181697, 0) == BookFault.FAULT_NONE
    ours = Book(10)
    ours.apply_levels(True, parsed(VECTOR_C[3], 6, 8), parsed(VECTOR_C[2], 6, 8), VECTOR_C[4], 0)
    update = parsed("0.031347/0 0.031329/19.07893401", 6, 8)
    assert ours.apply_levels(False, update, [], 2505869009, 0) == BookFault.FAULT_NONE


@pytest.fixture(params=[True, False], ids=["carry-less multiply", "slice-by-8"])
def variant(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Each variant of the CRC in turn; the default comes back afterwards."""
    compiled.use_clmul(request.param)
    yield request.param
    compiled.use_clmul(True)


@pytest.mark.usefixtures("variant")
def test_the_crc_is_that_of_zlib() -> None:
    """Both variants equal zlib for every length from 0 to 4096 bytes, on zeros, ones, digits and noise."""
    noise = b"".join(zlib.crc32(bytes([n & 255, n >> 8])).to_bytes(4, "little") for n in range(1024))
    for source in (bytes(4096), b"\xff" * 4096, b"0123456789" * 410, noise):
        for n in range(4097):
            assert compiled.crc32(source[:n]) == zlib.crc32(source[:n])


def test_the_variant_can_be_chosen() -> None:
    """Forbidden, carry-less multiply is not used; allowed, it is where the CPU has it."""
    has_it = {"pclmulqdq", "sse4_1"} <= cpu_flags()
    try:
        for allowed in (False, True, False):
            compiled.use_clmul(allowed)
            assert compiled.clmul_in_use() is (allowed and has_it)
    finally:
        compiled.use_clmul(True)


def cpu_flags() -> set[str]:
    """What the processor says it can do; empty where it is no x86."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


@given(st.binary(max_size=2000))
def test_the_crc_is_that_of_zlib_on_anything(data: bytes) -> None:
    """Any bytes: carry-less multiply, slice-by-8 and zlib agree."""
    compiled.use_clmul(False)
    sliced = compiled.crc32(data)
    compiled.use_clmul(True)
    assert compiled.crc32(data) == sliced == zlib.crc32(data)


# Random streams.

PRICES = st.integers(1, 160)
QUANTITIES = st.one_of(st.just(0), st.integers(1, 99), st.integers(1, 10**17))
UPDATES = st.lists(st.tuples(PRICES, QUANTITIES), max_size=30)
MESSAGES = st.lists(st.tuples(st.booleans(), UPDATES, UPDATES), min_size=1, max_size=25)


@settings(max_examples=int(os.environ.get("CSTD_BOOK_EXAMPLES", "250")))
@given(depth=st.sampled_from([10, 25, 100, 500, 1000]), messages=MESSAGES)
@example(depth=10, messages=[(True, [(5, 1), (5, 2), (5, 0), (5, 3)], [(9, 0), (9, 1)])])
@example(depth=10, messages=[(True, [(n, 1) for n in range(1, 30)], [(n, 1) for n in range(40, 70)]),
                             (False, [(1, 7), (29, 0), (2, 7)], [(69, 7), (40, 0)])])
def test_random_streams_equal_the_plain_book(depth: int, messages: list) -> None:
    """Any stream: duplicate prices in one message, removals of unknown levels, levels outside the depth, crossed sides.
    Both books hold the same levels and the state says what is wrong with them."""
    ours, plain = Book(depth), oracle.OracleBook(depth, 2, 8)
    started = False
    for snapshot, bids, asks in messages:
        decimals = [[(Decimal(p).scaleb(-2), Decimal(q).scaleb(-8)) for p, q in side] for side in (bids, asks)]
        if snapshot or started:
            plain.apply(snapshot=snapshot, bids=decimals[0], asks=decimals[1])
        fault = ours.apply_levels(snapshot, bids, asks, plain.checksum(), 0)
        if not snapshot and not started:
            assert (fault, ours.state) == (BookFault.FAULT_NO_SNAPSHOT, BookState.BOOK_EMPTY)
            continue
        started = True
        best_bids, best_asks = plain.best_bids(), plain.best_asks()
        assert ours.levels(Side.BUY, 2000) == raw_side(best_bids, 2, 8)
        assert ours.levels(Side.SELL, 2000) == raw_side(best_asks, 2, 8)
        assert_totals_are_sums(ours)
        assert ours.checksum == plain.checksum()
        if not best_bids or not best_asks:
            wanted = BookFault.FAULT_EMPTY_SIDE
        else:
            wanted = BookFault.FAULT_CROSSED if best_bids[0][0] >= best_asks[0][0] else BookFault.FAULT_NONE
        assert fault == wanted
        assert ours.state == (BookState.BOOK_VERIFIED if wanted == BookFault.FAULT_NONE else BookState.BOOK_UNVERIFIED)


def drawn_side(draw: random.Random, levels: dict[int, int], sign: int, depth: int) -> list[tuple[int, int]]:
    """One side of an update against the venue's whole side: changes at the touch, in the middle, at the far end and
    beyond it, removals of known and unknown levels, a level removed and put back, and prices across the other side."""
    prices = sorted(levels, reverse=sign > 0)
    updates: list[tuple[int, int]] = []
    for _ in range(draw.choice((0, 1, 1, 2, 5, 12))):
        near, far = prices[0], prices[min(depth, len(prices)) - 1]
        price = draw.choice((near, draw.choice(prices), far, far - sign, far + sign, near + sign * draw.randrange(1, 4),
                             draw.choice(prices) - sign, near + sign * 40))
        qty = draw.choice((0, 0, 1, draw.randrange(1, 10**12), 10**17))
        updates += [(max(price, 1), qty)]
        if draw.random() < 0.2:
            updates += [(max(price, 1), 0), (max(price, 1), draw.randrange(1, 99))]
    return updates


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
@settings(max_examples=int(os.environ.get("CSTD_BOOK_EXAMPLES", "250")) // 25, deadline=None)
@given(seed=st.integers(0, 2**32), full=st.booleans())
def test_full_books_equal_the_plain_book(depth: int, seed: int, full: bool) -> None:
    """Sides that are full, so that every message cuts: after each one all levels of both books are the same, and the
    checksum; snapshots come in the middle of the stream, sides cross and come apart again."""
    draw = random.Random(seed)
    ours, plain = Book(depth), oracle.OracleBook(depth, 0, 0)
    for number in range(40):
        snapshot = number == 0 or draw.random() < 0.03
        if snapshot:
            n = min(depth + 40, 1280) if full else draw.randrange(1, depth + 1)
            middle = 10**6 + draw.randrange(10**6)
            bids = [(middle - 3 * i, 1 + i) for i in range(n)]
            asks = [(middle + 2 + 3 * i, 1 + i) for i in range(n)]
        elif not plain.bids or not plain.asks:
            bids, asks = [(5, 1)], [(7, 1)]
        else:
            bids = drawn_side(draw, plain.bids, 1, depth)
            asks = drawn_side(draw, plain.asks, -1, depth)
        plain.apply(snapshot=snapshot, bids=bids, asks=asks)
        ours.apply_levels(snapshot, bids, asks, plain.checksum(), 0)
        best_bids, best_asks = plain.best_bids(), plain.best_asks()
        assert ours.levels(Side.BUY, 2000) == [(price, qty, 0) for price, qty in best_bids]
        assert ours.levels(Side.SELL, 2000) == [(price, qty, 0) for price, qty in best_asks]
        assert (ours.checksum, ours.mismatch_count) == (plain.checksum(), 0)
        assert (ours.state == BookState.BOOK_VERIFIED) is bool(
            best_bids and best_asks and best_bids[0][0] < best_asks[0][0])


def test_a_side_is_cut_after_the_whole_message() -> None:
    """A better level and the removal of another in one message, in either order: the tenth level stays, as at the venue."""
    for update in ([(101, 5), (100, 0)], [(100, 0), (101, 5)]):
        ours = Book(10)
        ours.apply_levels(True, [(100 - n, 1) for n in range(10)], [(200, 1)], None, 0)
        ours.apply_levels(False, update, [], None, 0)
        assert [price for price, *_ in ours.levels(Side.BUY, 99)] == [101, *range(99, 90, -1)]


def test_removals_of_what_is_not_there_and_levels_that_come_back() -> None:
    """A removal of an unknown level changes nothing, at the touch, inside and beyond the end; a level that was removed
    comes back at its place with its new quantity alone."""
    ours = Book(10)
    ours.apply_levels(True, [(100 - 2 * n, 1) for n in range(10)], [(200, 1)], None, 0)
    before = ours.levels(Side.BUY, 99)
    for price in (150, 101, 99, 83, 81, 1):
        ours.apply_levels(False, [(price, 0)], [], None, 0)
        assert ours.levels(Side.BUY, 99) == before
    ours.apply_levels(False, [(90, 0)], [], None, 0)
    assert 90 not in [price for price, *_ in ours.levels(Side.BUY, 99)]
    ours.apply_levels(False, [(90, 7)], [], None, 0)
    assert ours.levels(Side.BUY, 99) == [(p, 7 if p == 90 else q, own) for p, q, own in before]


@pytest.mark.parametrize("depth", [10, 100, 1000])
def test_a_long_drift_keeps_the_book_whole(depth: int) -> None:
    """A side that drifts for ten thousand levels moves its array's start many times and stays equal to the plain book."""
    ours, plain = Book(depth), oracle.OracleBook(depth, 0, 0)
    asks = [(10**9, 1)]
    ours.apply_levels(True, [], asks, 0, 0)
    plain.apply(snapshot=True, bids=[], asks=[(Decimal(10**9), Decimal(1))])
    for step in range(10_000 // 50):
        bids = [(1000 + 50 * step + n, 1 + (step * n) % 7) for n in range(50)]
        ours.apply_levels(False, bids, [], None, 0)
        plain.apply(snapshot=False, bids=[(Decimal(p), Decimal(q)) for p, q in bids], asks=[])
    assert ours.levels(Side.BUY, 2000) == raw_side(plain.best_bids(), 0, 0)
    assert len(ours.levels(Side.BUY, 2000)) == depth
    assert_totals_are_sums(ours)


# Faults.


def verified(depth: int = 10) -> Book:
    """A verified book of one level a side at time NOW_NS."""
    ours = Book(depth)
    assert ours.apply_levels(True, [(100, 5)], [(101, 5)], zlib.crc32(b"10151005"), NOW_NS) == BookFault.FAULT_NONE
    return ours


def test_a_wrong_checksum_unverifies_and_the_next_right_one_verifies() -> None:
    """One wrong checksum blocks the book at once, with the reason; a snapshot that agrees brings it back."""
    ours = verified()
    assert ours.apply_levels(False, [(99, 5)], [], 1, NOW_NS) == BookFault.FAULT_CHECKSUM
    assert (ours.state, ours.fault, ours.mismatch_count) == (BookState.BOOK_UNVERIFIED, BookFault.FAULT_CHECKSUM, 1)
    assert ours.apply_levels(True, [(100, 5)], [(101, 5)], zlib.crc32(b"10151005"), NOW_NS) == BookFault.FAULT_NONE
    assert (ours.state, ours.fault) == (BookState.BOOK_VERIFIED, BookFault.FAULT_NONE)


@pytest.mark.parametrize("levels", [0, 1281])
def test_after_what_was_proven_wrong_no_update_verifies(levels: int) -> None:
    """A message with a wrong checksum, or one of more levels than are taken: what is missing may lie below the ten levels of a
    checksum. Right checksums after it are counted and verify nothing, a snapshot does."""
    ours = verified()
    assert ours.apply_levels(False, [(1, 1)] * levels, [], 1, NOW_NS) != BookFault.FAULT_NONE
    for _ in range(2):
        assert ours.apply_levels(False, [], [], zlib.crc32(b"10151005"), NOW_NS) == BookFault.FAULT_GAP
        assert (ours.state, ours.fault) == (BookState.BOOK_UNVERIFIED, BookFault.FAULT_GAP)
    assert ours.apply_levels(True, [(100, 5)], [(101, 5)], 1, NOW_NS) == BookFault.FAULT_CHECKSUM
    assert ours.apply_levels(False, [], [], zlib.crc32(b"10151005"), NOW_NS) == BookFault.FAULT_GAP
    assert ours.apply_levels(True, [(100, 5)], [(101, 5)], zlib.crc32(b"10151005"), NOW_NS) == BookFault.FAULT_NONE
    assert ours.state == BookState.BOOK_VERIFIED


def test_an_unchanged_top_is_still_compared() -> None:
    """A message outside the top ten does not change the checksum, and a wrong one on it is noticed all the same."""
    ours = Book(25)
    bids = [(100 - n, 5) for n in range(20)]
    text = "1015" + "".join(f"{price}5" for price, _ in bids[:10])
    assert ours.apply_levels(True, bids, [(101, 5)], zlib.crc32(text.encode()), 0) == BookFault.FAULT_NONE
    assert ours.apply_levels(False, [(82, 9)], [], zlib.crc32(text.encode()), 0) == BookFault.FAULT_NONE
    assert ours.apply_levels(False, [(82, 8)], [], zlib.crc32(text.encode()) ^ 1, 0) == BookFault.FAULT_CHECKSUM


def test_a_crossed_or_one_sided_book_is_no_book_even_with_the_right_checksum() -> None:
    """Crossed, locked and one-sided books have their own faults although their checksums agree."""
    for bid, ask, fault in ((102, 101, BookFault.FAULT_CROSSED), (101, 101, BookFault.FAULT_CROSSED)):
        ours = Book(10)
        text = f"{ask}5{bid}5".encode()
        assert ours.apply_levels(True, [(bid, 5)], [(ask, 5)], zlib.crc32(text), 0) == fault
        assert ours.state == BookState.BOOK_UNVERIFIED
    ours = Book(10)
    assert ours.apply_levels(True, [(100, 5)], [], zlib.crc32(b"1005"), 0) == BookFault.FAULT_EMPTY_SIDE
    ours = verified()
    assert ours.apply_levels(False, [(100, 0)], [], zlib.crc32(b"1015"), 0) == BookFault.FAULT_EMPTY_SIDE


def test_a_message_without_a_checksum_proves_nothing() -> None:
    """Without a checksum a book is not verified, whatever it was before."""
    ours = verified()
    assert ours.apply_levels(False, [(99, 5)], [], None, NOW_NS) == BookFault.FAULT_NO_CHECKSUM
    assert ours.state == BookState.BOOK_UNVERIFIED


@pytest.mark.parametrize(("back_ns", "fault"), [(1_000_000_000, BookFault.FAULT_NONE),
                                                (1_000_000_001, BookFault.FAULT_TIME_BACKWARDS)])
def test_time_may_step_back_by_a_second_at_most(back_ns: int, fault: BookFault) -> None:
    """A message older than the newest by more than a second is a fault; a small step back is not."""
    ours = verified()
    assert ours.apply_levels(False, [(100, 5)], [], zlib.crc32(b"10151005"), NOW_NS - back_ns) == fault
    assert ours.exch_ns == NOW_NS


def test_more_levels_than_a_message_may_have_are_malformed() -> None:
    """1,281 levels on one side are refused before anything is written."""
    ours = verified()
    levels = [(price, 1) for price in range(1, 1282)]
    assert ours.apply_levels(False, levels, [], 1, NOW_NS) == BookFault.FAULT_MALFORMED
    assert (ours.state, ours.levels(Side.BUY, 10)) == (BookState.BOOK_UNVERIFIED, [(100, 5, 0)])


def test_a_dropped_book_waits_for_a_snapshot() -> None:
    """After a reset updates change nothing until a snapshot comes."""
    ours = verified()
    ours.reset(BookFault.FAULT_LINK_DOWN)
    assert (ours.state, ours.fault, ours.levels(Side.BUY, 5)) == (BookState.BOOK_EMPTY, BookFault.FAULT_LINK_DOWN, [])
    assert ours.apply_levels(False, [(100, 5)], [(101, 5)], zlib.crc32(b"10151005"), 0) == BookFault.FAULT_NO_SNAPSHOT
    assert ours.levels(Side.BUY, 5) == []
