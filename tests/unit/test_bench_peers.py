"""The suite with peers, as far as it needs no network: proofs, verdicts, cstd's own adapter; and the frames of the growth."""

from __future__ import annotations

import argparse
import importlib
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BTC = "recordings/kraken-v2-btcusd-d25-20260802.jsonl.zst"
V1 = "recordings/kraken-v1-spot-20210405.jsonl.zst"


@pytest.fixture
def module(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of bench/ or bench/peers/ by name."""
    for folder in ("bench", "bench/peers"):
        monkeypatch.syspath_prepend(str(repository / folder))
    return importlib.import_module


@pytest.fixture
def btc(module: Any, data_dir: Path) -> list[bytes]:
    """The messages of the BTC recording."""
    recordings, replay = module("cstd.storage.recordings"), module("cstd.research.replay")
    return [text for _, text in replay.wire_frames(recordings.open_recording(data_dir / BTC))]


def test_each_peer_has_a_script_and_a_lock_with_hashes(module: Any, repository: Path) -> None:
    """What the runner names is there, pinned by hash and without an address."""
    environments = module("environments")
    assert len(environments.PEERS) == 7
    for peer in environments.PEERS.values():
        assert (repository / "bench" / "peers" / peer.script).is_file()
        lock = (repository / "bench" / "peers" / f"{peer.name}.txt").read_text()
        assert "://" not in lock
        packages = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
        assert packages
        assert all("==" in line and line.endswith("\\") for line in packages)


def test_cstd_keeps_the_true_book_and_refuses_a_changed_checksum(module: Any, btc: list[bytes], data_dir: Path) -> None:
    """Our own adapter passes the proof that peers are put to: after each message the top ten is the plain book's."""
    driver, cstd_path = module("driver"), module("cstd_path")
    facts = driver.Facts(btc)
    assert facts.depths == {"BTC/USD": 25}
    assert facts.digits == {"BTC/USD": (1, 8)}
    proof = driver.prove(cstd_path.Peer(data_dir / BTC, facts), btc, facts)
    assert proof == {"book_messages": 2052, "top_ten_equal": 2052, "first_wrong": None}
    assert driver.refuses(lambda known: cstd_path.Peer(data_dir / BTC, known), btc, facts)


class Plain:
    """A peer for tests: the plain book itself, with a fault where one is asked for."""

    def __init__(self, truth: ModuleType, *, depth: int = 25, verifies: bool = False) -> None:
        self._truth, self._verifies = truth, verifies
        self._book = truth.TruthBook(depth)
        self.fed = 0

    def prepare(self, text: bytes) -> bytes:
        return text

    def feed(self, message: bytes) -> None:
        self.fed += 1
        book = self._truth.book_of(message)
        if book:
            self._book.apply(*book)
            if self._verifies and self._book.checksum() != book[1]["checksum"]:
                raise ValueError("checksum")

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        return self._book.top("bids"), self._book.top("asks")


def test_the_proof_sees_a_book_that_is_not_truncated(module: Any, btc: list[bytes]) -> None:
    """A book that keeps every level is right at first and wrong later, and is told so."""
    driver, truth = module("driver"), module("truth")
    proof = driver.prove(Plain(truth, depth=10_000), btc, driver.Facts(btc))
    assert proof["book_messages"] == 2052
    assert 0 < proof["top_ten_equal"] < 2052
    assert proof["first_wrong"] > 0


def test_the_proof_sees_who_verifies(module: Any, btc: list[bytes]) -> None:
    """Who compares refuses a changed checksum, who does not lets it pass."""
    driver, truth = module("driver"), module("truth")
    facts = driver.Facts(btc)
    assert driver.refuses(lambda _: Plain(truth, verifies=True), btc, facts)
    assert not driver.refuses(lambda _: Plain(truth), btc, facts)


def test_only_book_updates_are_timed(module: Any, btc: list[bytes]) -> None:
    """One sample for each update of each pass; everything is fed."""
    driver, truth = module("driver"), module("truth")
    frames = btc[:300]
    updates = sum(b'"book","type":"update"' in text for text in frames)
    peer = Plain(truth)
    samples = driver.measure(peer, frames, 2)
    assert len(samples) == 2 * updates
    assert min(samples) > 0
    assert peer.fed >= driver.WARM_FRAMES + 2 * len(frames)
    assert driver.quantiles([5, 1, 3, 2, 4])["p50_ns"] == 3


def turn(**more: Any) -> dict[str, Any]:
    """What one turn of a peer prints."""
    proof = {"book_messages": 9, "top_ten_equal": 9, "first_wrong": None, "changed_checksum_refused": True}
    return {"n": 9, "p50_ns": 100, "p99_ns": 200, "p999_ns": 300, "timer_ns": 50, "versions": {"x": "1"}, "proof": proof,
            "end_equal": True, "does": {"kind": "client", "checksum": True, "truncation": True, "features": False, "order": False,
                                        "parse": "json"}} | more


@pytest.mark.parametrize(("changed", "told"), [
    ({}, None),
    ({"end_equal": False}, "end of a timed turn"),
    ({"proof": turn()["proof"] | {"top_ten_equal": 8}}, "differs after 1 of 9"),
    ({"proof": turn()["proof"] | {"changed_checksum_refused": False}}, "was not refused"),
    ({"does": turn()["does"] | {"checksum": False}}, "says that it verifies no checksum"),
])
def test_a_verdict_needs_every_proof(module: Any, changed: dict[str, Any], told: str | None) -> None:
    """A row is ok only when its book was right throughout and its word about checksums is true."""
    row = module("run").row_of([turn(**changed), turn(p50_ns=90)])
    assert (row["verdict"], row["p50_ns"], row["turns_p50_ns"]) == ("wrong" if told else "ok", 90, [100, 90])
    assert told is None or told in row["reason"]


def test_the_promise_is_held_against_the_fastest_that_verifies(module: Any) -> None:
    """Who verifies nothing or is wrong does not count; parts are told apart from clients; the bound itself holds."""
    run = module("run")

    def row(ratio: float, kind: str, *, checksum: bool = True) -> dict[str, Any]:
        return {"ratio": ratio, "verdict": "ok", "does": {"kind": kind, "checksum": checksum}}

    rows = {"fast": row(9, "client", checksum=False), "a": row(50, "client"), "b": row(70, "client"), "c": row(20, "parts"),
            "bad": {"verdict": "wrong", "reason": "x", "does": {"kind": "client", "checksum": True}}}
    found = run.promise({"btc-d25": {"rows": rows}})
    client, both = found["btc-d25, fastest verifying client"], found["btc-d25, fastest verifying client or parts"]
    assert (client["peer"], client["holds"]) == ("a", True)
    assert (both["peer"], both["holds"]) == ("c", False)


def test_a_peer_that_cannot_be_driven_is_told_with_the_reason(module: Any) -> None:
    """A missing Python, a failed process and one that prints nothing are reasons, not figures."""
    environments, run = module("environments"), module("run")
    with pytest.raises(environments.UnavailableError, match=r"needs Python 9\.9"):
        environments.interpreter(("9.9",))
    with pytest.raises(environments.UnavailableError, match="could not be driven: ImportError: gone"):
        run.turn([sys.executable, "-c", "raise ImportError('gone')"])
    with pytest.raises(environments.UnavailableError, match="printed no result"):
        run.turn([sys.executable, "-c", "pass"])
    assert "unavailable: gone" in run.line_of({"verdict": "unavailable", "reason": "gone"})


# Growth.


@pytest.mark.parametrize("text", ["1", "10,1", "1,1", "0,5", "1,2049", "a,b", ""])
def test_points_of_an_axis_are_checked(module: Any, text: str) -> None:
    """Fewer than two, not rising, out of bounds or no numbers: refused."""
    with pytest.raises(argparse.ArgumentTypeError):
        module("growth").points(1, 2048)(text)


def test_points_at_the_bounds_are_taken(module: Any) -> None:
    """Both bounds are within."""
    growth = module("growth")
    assert growth.points(1, 2048)("1,2048") == [1, 2048]
    assert growth.arguments(["--axis", "depth", "--depths", "10,25"]).depths == [10, 25]
    with pytest.raises(SystemExit):
        growth.arguments(["--rounds", "0"])


@pytest.mark.parametrize(("ours_ns", "holds"), [(240, True), (241, False)])
def test_growth_is_held_against_the_reference(module: Any, ours_ns: int, holds: bool) -> None:
    """Twice the reference's growth of 1 allows 2.4 times from the first point on, and not more."""
    def row(at: int, ours: int, theirs: int) -> dict[str, Any]:
        return {"at": at, "cstd": {"p50_ns": ours}, "reference": {"p50_ns": theirs}}

    found = module("growth").judged([row(1, 100, 50), row(10, ours_ns, 100)])
    assert found["holds"] is holds
    assert found["points"][1]["growth_ratio"] == pytest.approx(ours_ns / 200, abs=0.001)


def verify(truth: ModuleType, case: Any) -> int:
    """Feed a case's frames, by name, through plain books; returns how many checksums agree."""
    books = {name: truth.TruthBook(case.depth) for name in case.names}
    good = 0
    for text in case.frames:
        kind, data = truth.book_of(text)
        books[data["symbol"]].apply(kind, data)
        good += books[data["symbol"]].checksum() == data["checksum"]
    return good


def test_frames_under_many_names_are_books_that_verify(module: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name gets a snapshot and its own stretch of updates, in turn; every checksum is that of a plain book."""
    growth, truth = module("growth"), module("truth")
    monkeypatch.setattr(growth, "PASS_UPDATES", 1_000)
    one, many = growth.instrument_cases(data_dir / BTC, [1, 200])
    assert (len(one.frames), len(many.frames)) == (1001, 200 * 6)
    assert verify(truth, one) == len(one.frames)
    assert verify(truth, many) == len(many.frames)
    assert len({name for name in many.names if len(name) == 7}) == 200
    assert many.updates.sum() == 200 * 5


def test_frames_of_a_depth_are_books_that_verify(module: Any, data_dir: Path) -> None:
    """What a subscription of less depth is told keeps the same top ten, and never more levels than its depth in a snapshot."""
    growth, truth = module("growth"), module("truth")
    shallow, deep = growth.depth_cases(data_dir / V1, [10, 100], 2_500)
    assert verify(truth, shallow) == len(shallow.frames) > 50
    assert verify(truth, deep) == len(deep.frames) > len(shallow.frames)
    assert len(truth.book_of(shallow.frames[0])[1]["bids"]) == 10
    assert shallow.price_digits == deep.price_digits


def test_the_plain_book_truncates_after_the_whole_message(module: Any) -> None:
    """A level beyond the depth stays when the same message removes one before it."""
    book = module("truth").TruthBook(1)
    level = [{"price": Decimal(price), "qty": Decimal(qty)} for price, qty in (("9", "1"), ("10", "1"))]
    book.apply("snapshot", {"bids": level[1:], "asks": []})
    book.apply("update", {"bids": [level[0], {"price": Decimal(10), "qty": Decimal(0)}], "asks": []})
    assert book.top("bids") == [(Decimal(9), Decimal(1))]


def test_the_floor_is_wrong_when_it_did_not_verify_everything(module: Any) -> None:
    """The C++ program tells what it verified; one message less than there were is told."""
    run = module("run")
    floor = {"n": 9, "p50_ns": 100, "p99_ns": 200, "p999_ns": 300, "frames": 12, "verified": 10, "orders": 0, "books": 10}
    assert run.row_of([floor])["verdict"] == "ok"
    short = run.row_of([floor | {"verified": 9}])
    assert (short["verdict"], short["reason"]) == ("wrong", "verified 9 of 10 book messages")
