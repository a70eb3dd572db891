"""Drives one peer in a process of its own: proves what it does, times it frame by frame, prints one JSON object.

    python bench/peers/<peer>.py FRAMES [--passes N] [--prove]

An adapter is a class with

    DOES          what it does and does not, by column of the result
    PACKAGES      distributions whose versions are told
    prepare(text: bytes) -> message   what its transport hands to it; not timed
    feed(message)                     wire message to updated book; timed. Raises, or sets `rejected`, on a bad checksum
    top_ten(symbol) -> (bids, asks)   (price, qty) pairs, best first

Timed is `feed` of each book update, by the clock of the process, whose own cost is told as `timer_ns` and not taken off.
The whole recording is fed in each pass, acknowledgement, snapshot and heartbeats included. The garbage collector stays
as the peer leaves it. Standard library only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import truth

WARM_FRAMES = 4_000
PROOFS = (1, 500)  # how many good updates come before the one whose checksum was changed
QUANTILES = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}


class Facts:
    """What an adapter is told about the recording: depth and digits (price, qty) by symbol."""

    def __init__(self, frames: list[bytes]) -> None:
        self.frames = frames
        self.depths: dict[str, int] = {}
        self.digits: dict[str, tuple[int, int]] = {}
        for text in frames:
            book = truth.book_of(text)
            if book and book[0] == "snapshot":
                level = book[1]["bids"][0]
                self.digits.setdefault(book[1]["symbol"], (_digits(level["price"]), _digits(level["qty"])))
            elif b'"method":"subscribe"' in text:
                result = json.loads(text)["result"]
                self.depths[result["symbol"]] = result["depth"]


def does(kind: str, *, parse: str, book: str, checksum: bool, truncation: bool, features: bool = False,
         order: bool = False, note: str = "") -> dict[str, Any]:
    """What an adapter does: a `client` as it ships, or `parts` put together here; features are kept after each message.

    `note` is told beside the reason when the peer is found wrong: what of it is this comparison's doing.
    """
    return {"kind": kind, "parse": parse, "book": book, "checksum": checksum, "truncation": truncation, "features": features,
            "order": order, "note": note}


def _digits(value: Any) -> int:
    return max(0, -int(value.as_tuple().exponent))


def drive(coroutine: Any) -> None:
    """Run a handler that is a coroutine and never waits, without an event loop around it."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("the handler waits for something: this is not the path to measure")


def prove(adapter: Any, frames: list[bytes], facts: Facts) -> dict[str, Any]:
    """Compare the top ten with the truth after each book message; the truth itself must verify each time."""
    books = {symbol: truth.TruthBook(depth) for symbol, depth in facts.depths.items()}
    told = equal = 0
    first_wrong = None
    for text in frames:
        adapter.feed(adapter.prepare(text))
        book = truth.book_of(text)
        if book is None:
            continue
        symbol = book[1]["symbol"]
        books[symbol].apply(*book)
        if "checksum" in book[1] and books[symbol].checksum() != book[1]["checksum"]:
            raise RuntimeError(f"the plain book does not verify at book message {told}: the recording is not what it should be")
        bids, asks = adapter.top_ten(symbol)
        right = truth.same(bids, books[symbol].top("bids")) and truth.same(asks, books[symbol].top("asks"))
        if not right and first_wrong is None:
            first_wrong = told
        told += 1
        equal += right
    return {"book_messages": told, "top_ten_equal": equal, "first_wrong": first_wrong}


def refuses(make: Any, frames: list[bytes], facts: Facts) -> bool:
    """Whether a changed checksum is refused, and the good messages before it are not."""
    return all(_refuses_after(make(facts), frames, good) for good in PROOFS)


def _refuses_after(adapter: Any, frames: list[bytes], good: int) -> bool:
    for text in frames:
        book = truth.book_of(text)
        if book and book[0] == "update":
            good -= 1
        if good >= 0:
            adapter.feed(adapter.prepare(text))
            if getattr(adapter, "rejected", False):
                return False
            continue
        assert book is not None
        checksum = int(book[1]["checksum"])
        bad = text.replace(b'"checksum":%d' % checksum, b'"checksum":%d' % (checksum ^ 1))
        try:
            adapter.feed(adapter.prepare(bad))
        except Exception:  # noqa: BLE001 - each peer has an exception of its own for it
            return True
        return bool(getattr(adapter, "rejected", False))
    return False


def measure(adapter: Any, frames: list[bytes], passes: int) -> Any:
    """ns of each book update over `passes` over the recording, warmed up before."""
    messages = [adapter.prepare(text) for text in frames]
    timed = [b'"channel":"book","type":"update"' in text[:60] for text in frames]
    feed, clock = adapter.feed, time.perf_counter_ns
    fed = 0
    while fed < WARM_FRAMES:
        for message in messages[:WARM_FRAMES]:
            feed(message)
        fed += len(messages)
    samples = array("q", bytes(8 * sum(timed) * passes))
    at = 0
    for _ in range(passes):
        for message, wanted in zip(messages, timed, strict=True):
            start = clock()
            feed(message)
            end = clock()
            if wanted:
                samples[at] = end - start
                at += 1
    return samples


def timer_ns() -> int:
    """What two readings of the clock cost: it is in every sample."""
    clock = time.perf_counter_ns
    return sorted(-clock() + clock() for _ in range(10_000))[5_000]


def quantiles(samples: Any) -> dict[str, int]:
    """Return the quantiles of nanoseconds."""
    ordered = sorted(samples)
    return {name: int(ordered[int(q * (len(ordered) - 1))]) for name, q in QUANTILES.items()}


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of distributions, and of the Python that runs them."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def main(make: Any) -> int:
    """Prove, measure, and print the JSON object."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("frames", type=Path, help="messages as bench/peers/run.py writes them")
    parser.add_argument("--passes", type=int, default=10, help="over the recording (default 10)")
    parser.add_argument("--prove", action="store_true", help="compare each book with the truth, change a checksum")
    args = parser.parse_args()
    frames = truth.read_frames(args.frames)
    facts = Facts(frames)
    row: dict[str, Any] = {"does": make.DOES, "versions": versions(make.PACKAGES), "timer_ns": timer_ns()}
    if args.prove:
        row["proof"] = prove(make(facts), frames, facts)
        row["proof"]["changed_checksum_refused"] = refuses(make, frames, facts)
    adapter = make(facts)
    samples = measure(adapter, frames, args.passes)
    row |= {"n": len(samples), **quantiles(samples), "end_equal": end_equal(adapter, frames, facts)}
    print(json.dumps(row))
    return 0


def end_equal(adapter: Any, frames: list[bytes], facts: Facts) -> bool:
    """Whether every book is the truth's after the last timed pass."""
    books = {symbol: truth.TruthBook(depth) for symbol, depth in facts.depths.items()}
    for text in frames:
        book = truth.book_of(text)
        if book:
            books[book[1]["symbol"]].apply(*book)
    return all(truth.same(side, book.top(name)) for symbol, book in books.items()
               for name, side in zip(("bids", "asks"), adapter.top_ten(symbol), strict=True))
