"""The board: what one process writes another reads whole, and sight never stops trading."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import orjson
import pytest

from cstd.errors import OperatorError
from cstd.ops import board as board_module
from cstd.ops.board import REGIONS, BoardReader, BoardWriter, encode
from tests.ops.fake_view import FakeView


@pytest.fixture
def writer(tmp_path: Path) -> BoardWriter:
    """A fresh board."""
    return BoardWriter(tmp_path / "board")


def test_every_region_reads_back_what_the_view_gave(view: FakeView, writer: BoardWriter) -> None:
    """Every region of a published board holds the view's answer."""
    writer.publish(view)
    reader = BoardReader(writer.path)
    values = {name: orjson.loads(reader.read(name)[1]) for name in REGIONS}
    assert values["status"] == view.status()
    assert values["counters"] == view.counters()
    assert values["fills"] == view.fills(all_=True, limit=60)
    assert values["latency"]["stages"]["order"]["counts"] == view.stage_counts["order"].tolist()
    assert [tuple(level) for level in values["books"][0]["bids"]] == view.books(12)[0]["bids"]
    assert len(values["gates"]) == 15


def test_publishing_in_turns_shows_every_region(view: FakeView, writer: BoardWriter) -> None:
    """`publish_next`, called once per region, shows as much as `publish`."""
    for _ in REGIONS:
        writer.publish_next(view)
    reader = BoardReader(writer.path)
    assert all(reader.version(name) == 1 for name in REGIONS)


def test_decisions_are_explained_once(view: FakeView, writer: BoardWriter) -> None:
    """Only decisions that are new since the last publish are asked for, newest first, a bounded number of them."""
    asked: list[int] = []
    original = view.decisions
    view.decisions = lambda limit: (asked.append(limit), original(limit))[1]  # type: ignore[method-assign]
    for _ in range(3):
        writer.publish(view)
    for _ in range(3):
        view.step()
        writer.publish(view)
    assert asked == [8, 1]
    seqs = [row["intent_seq"] for row in orjson.loads(BoardReader(writer.path).read("decisions")[1])]
    assert seqs == sorted(seqs, reverse=True)
    assert len(seqs) == 9


def test_a_burst_of_decisions_is_cut_and_counted(view: FakeView, writer: BoardWriter) -> None:
    """More new decisions than one publish explains are not shown whole, and that is counted."""
    writer.publish(view)
    before = writer.overflows
    for _ in range(60):
        view.step()
    writer.publish(view)
    assert writer.overflows == before + 1
    assert BoardReader(writer.path).overflowed()["decisions"] == 1


def test_an_old_working_order_stays_on_the_board(view: FakeView, writer: BoardWriter) -> None:
    """A resting order older than the newest 60 is shown, and no order twice."""
    for _ in range(400):
        view.step()
    oldest = view.orders(all_=False, limit=1_000)[-1]
    view.order_rows = [row for row in view.order_rows if row["state"] != "open"] + [oldest]
    writer.publish(view)
    ids = [row["cl_ord_id"] for row in orjson.loads(BoardReader(writer.path).read("orders")[1])]
    assert ids[0] == oldest["cl_ord_id"]
    assert len(ids) == len(set(ids)) == 61


def test_unchanged_regions_keep_their_version(view: FakeView, writer: BoardWriter) -> None:
    """A reader sees by the version what changed, and nothing else moves."""
    writer.publish(view)
    reader = BoardReader(writer.path)
    before = {name: reader.version(name) for name in REGIONS}
    view.counter["frames"] += 1
    writer.publish(view)
    assert {name for name in REGIONS if reader.version(name) != before[name]} == {"counters"}


def test_limits_are_encoded_when_they_have_changed(view: FakeView, writer: BoardWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times a second the same hundred rows are looked at, not encoded; what is other, or failed, is."""
    rows, alerts = view.limits(), view.alert_limits()
    view.limits, view.alert_limits = lambda: rows, lambda: alerts  # type: ignore[method-assign]
    encoded, fail = [], [True]

    def spied(value: object, capacity: int) -> tuple[bytes | None, bool]:
        if value is rows and fail:
            fail.pop()
            raise ValueError("once")
        encoded.append(value)
        return encode(value, capacity)

    monkeypatch.setattr(board_module, "encode", spied)
    for _ in range(4):
        writer.publish(view)
    assert [sum(value is one for value in encoded) for one in (rows, alerts)] == [1, 1]
    rows = [*rows[1:]]
    writer.publish(view)
    assert orjson.loads(BoardReader(writer.path).read("limits")[1]) == rows


def test_a_list_that_does_not_fit_loses_its_oldest_rows() -> None:
    """Rows are cut from the end, the result is JSON within the capacity, and the cut is told."""
    rows = [{"row": i, "text": "x" * 50} for i in range(100)]
    payload, cut = encode(rows, 1_000)
    assert cut
    assert payload is not None
    assert len(payload) <= 1_000
    kept = orjson.loads(payload)
    assert kept == rows[: len(kept)]
    assert len(kept) > 10


def test_an_object_that_does_not_fit_is_counted_not_raised(view: FakeView, writer: BoardWriter) -> None:
    """Too many counters leave the region as it was; the overflow is counted and shown by region."""
    writer.publish(view)
    view.counter.update({f"counter_{i}": i for i in range(10_000)})
    writer.publish(view)
    reader = BoardReader(writer.path)
    assert reader.health(time.monotonic_ns()).overflows == 1
    assert "counter_1" not in orjson.loads(reader.read("counters")[1])
    view.counter["frames"] = 0
    writer.publish(view)
    assert reader.health(time.monotonic_ns()).overflows == 2


def test_a_failing_view_never_raises_into_the_trading_process(view: FakeView, writer: BoardWriter) -> None:
    """A method that fails is counted with its text; the other regions are published all the same."""
    view.failing = {"books"}
    writer.publish(view)
    reader = BoardReader(writer.path)
    health = reader.health(time.monotonic_ns())
    assert (health.view_errors, health.last_error) == (1, "books: RuntimeError: books is told to fail")
    assert reader.version("books") == 0
    assert reader.version("tape") == 1


def test_a_dead_writer_is_seen_as_stale(view: FakeView, writer: BoardWriter) -> None:
    """The board is stale once its last publish is more than two seconds old, not before."""
    writer.publish(view)
    reader = BoardReader(writer.path)
    now_ns = time.monotonic_ns()
    beat_ns = now_ns - reader.health(now_ns).age_ns
    assert not reader.health(beat_ns + board_module.STALE_AFTER_NS - 50_000_000).stale
    assert reader.health(beat_ns + board_module.STALE_AFTER_NS + 50_000_000).stale


def test_a_board_before_its_first_publish_is_stale_and_empty(writer: BoardWriter) -> None:
    """Nothing is shown as fresh that was never published."""
    reader = BoardReader(writer.path)
    assert reader.health(time.monotonic_ns()).stale
    assert reader.read("status") == (0, b"")


def _begin_write(writer: BoardWriter, region: str, begun: int) -> None:
    """Leave the region as a writer does that was killed inside write number `begun`: half of the other copy is new."""
    offset, capacity = board_module._PLACES[region]
    words = writer._words
    words[offset // 8 + board_module.BEGUN] = begun
    words[offset // 8 + board_module.USED + begun % 2] = capacity
    start = offset + board_module.REGION_HEADER_BYTES + begun % 2 * capacity
    writer._map[start: start + capacity // 2] = b"#" * (capacity // 2)


def test_a_writer_that_died_inside_a_write_takes_nothing_from_view(view: FakeView, writer: BoardWriter) -> None:
    """What was published whole last is read, however far the next write came; also when that was the first."""
    writer.publish(view)
    reader = BoardReader(writer.path)
    before = reader.read("equity")
    assert before[1].startswith(b"{")
    _begin_write(writer, "equity", begun=2)
    assert reader.read("equity") == before
    assert reader.torn_reads == 0

    fresh = BoardWriter(writer.path.with_name("fresh"))
    _begin_write(fresh, "equity", begun=1)
    assert BoardReader(fresh.path).read("equity") == (0, b"")


def test_a_copy_that_is_being_overwritten_is_an_error_not_data(view: FakeView, writer: BoardWriter) -> None:
    """Two writes begun since the one that is read: its bytes may be the newer one's, so they are never returned."""
    writer.publish(view)
    _begin_write(writer, "equity", begun=3)
    reader = BoardReader(writer.path)
    with pytest.raises(OperatorError, match=r"region equity .* changed during each of 200 reads"):
        reader.read("equity")
    assert reader.torn_reads == 200


def _write_forever(path: str, started: multiprocessing.synchronize.Event) -> None:
    writer = BoardWriter(path)
    view = FakeView()
    letter = 0
    while True:
        letter = (letter + 1) % 26
        # Every character of a payload is the same: a mixture of two writes cannot hide.
        view.order_rows = [{"cl_ord_id": chr(97 + letter) * (2_000 + 900 * letter), "state": "open"}]
        writer._write("orders", orjson.dumps(view.orders(all_=False, limit=1)))
        started.set()


def test_no_torn_read_is_ever_used(tmp_path: Path) -> None:
    """Against a writer in another process that never pauses, every payload read is one that was written whole."""
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=_write_forever, args=(str(tmp_path / "board"), started), daemon=True)
    process.start()
    try:
        assert started.wait(60)
        reader = BoardReader(tmp_path / "board")
        end_s = time.monotonic() + 1.5
        reads = 0
        while time.monotonic() < end_s:
            _, payload = reader.read("orders")
            text = orjson.loads(payload)[0]["cl_ord_id"]
            assert len(set(text)) == 1
            assert len(text) == 2_000 + 900 * (ord(text[0]) - 97)
            reads += 1
        assert reads > 100
    finally:
        process.kill()
        process.join()


def test_a_restarted_daemon_is_followed(view: FakeView, writer: BoardWriter) -> None:
    """A new board at the same path is noticed and mapped; the old one is let go."""
    writer.publish(view)
    reader = BoardReader(writer.path)
    assert not reader.reopen_if_replaced()
    writer.close()
    second = BoardWriter(writer.path)
    view.counter["frames"] = 424_242
    second.publish(view)
    assert reader.reopen_if_replaced()
    assert orjson.loads(reader.read("counters")[1])["frames"] == 424_242


def test_a_file_that_is_no_board_is_refused(tmp_path: Path) -> None:
    """A foreign or missing file is named in the error, not mapped."""
    (tmp_path / "other").write_bytes(b"x" * 100)
    with pytest.raises(OperatorError, match="is not a board"):
        BoardReader(tmp_path / "other")
    with pytest.raises(OperatorError, match="cannot open the board"):
        BoardReader(tmp_path / "absent")
    with pytest.raises(OperatorError, match="cannot create the board"):
        BoardWriter(tmp_path / "no" / "board")


def test_the_board_is_private_to_user_and_group(writer: BoardWriter) -> None:
    """Others on the host cannot read positions from the board file."""
    assert writer.path.stat().st_mode & 0o777 == 0o640


def test_a_publish_costs_less_than_a_millisecond(view: FakeView, writer: BoardWriter) -> None:
    """With nothing else to compute, the median publish of two instruments stays below 1 ms."""
    costs_ns = []
    for _ in range(60):
        view.step()
        writer.publish(view)
        costs_ns.append(writer.last_publish_ns)
    assert sorted(costs_ns)[len(costs_ns) // 2] < 1_000_000
