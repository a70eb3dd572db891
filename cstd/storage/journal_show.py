"""`cstd journal show DIR --from N --to M`: records of a journal, as they are written, without reading what is before them.

Each record is proven by its own checksum, a segment's header by its hash; the chain of blocks `cstd journal verify` proves.
"""

from __future__ import annotations

import argparse
import json
import sys
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from cstd._fast.codes import EventKind
from cstd._fast.journal_scan import JournalFault, Record, scan_records
from cstd.clock import utc_text
from cstd.errors import EXIT_OK, UsageError
from cstd.printed import one_line
from cstd.storage import journal_files as files
from cstd.storage.journal_faults import WHAT_DIFFERS
from cstd.storage.run_dir import JOURNAL_DIR

TEXT_SHOWN = 160  # characters of a record's text in a table
KIND_CHARS = 18


class JournalRecord(TypedDict):
    """`cstd journal show`: one record."""

    seq: int
    kind: str  # event_...: what came in; out_...: what the engine made of it
    tag: int  # of a frame the link (0 public, 1 private, 2 futures), of most others the instrument's number
    mono_ns: int
    wall_ns: int
    bytes: int
    text: str | None  # None where the record is no text, as a decision is: `cstd why` tells it


def main(args: argparse.Namespace) -> int:
    """Print the records from `args.from_` to `args.to`, a line each; returns 0.

    Raises:
        UsageError: there is no journal, or it does not have the first one of them.
        VerificationError: a segment is not what was written.
    """
    directory = Path(args.dir)
    directory = directory / JOURNAL_DIR if (directory / JOURNAL_DIR).is_dir() else directory
    last_seq = args.to if args.to is not None else args.from_
    if last_seq < args.from_:
        raise UsageError(f"--to {last_seq} is before --from {args.from_}")
    found = 0
    for record in between(directory, args.from_, last_seq):
        found += 1
        row = _row(record)
        sys.stdout.write(json.dumps(row) + "\n" if args.output == "json" else _line(row))
    if not found:
        raise UsageError(f"the journal in {directory} has no record {args.from_} (yet)",
                         suggestion="`cstd journal verify` says which it has")
    return EXIT_OK


def between(directory: Path, first_seq: int, last_seq: int) -> Iterator[Record]:
    """Yield the records of a journal from one to another, as far as there are; of the disk, then what only the ring holds."""
    if not directory.is_dir():
        raise UsageError(f"there is no journal directory {directory}")
    # In this order: what reaches the disk between two of these reads is seen twice, never not at all.
    ring_path = files.linked_ring(directory)
    ring = files.read_ring(ring_path) if ring_path is not None else None
    head = files.read_head(directory)
    segments = [path for _, path in files.segment_paths(directory)]
    # Sealed segments are in order of their first records: none is opened that cannot hold one of the range.
    at = max(0, bisect_right(segments, first_seq, key=lambda path: files.first_header(path).first_seq) - 1)
    next_seq, found = first_seq, False
    for path in segments[at:]:
        for record in _of_segment(path, head, next_seq, last_seq):
            if found and record.seq != next_seq:
                raise files.damaged("records are missing before this one", path, offset=0, seq=record.seq)
            yield record
            next_seq, found = record.seq + 1, True
        if next_seq > last_seq:
            return
    for record in scan_records(ring.pending)[0] if ring is not None else ():
        if next_seq <= record.seq <= last_seq:
            yield record


def _of_segment(path: Path, head: files.Head | None, first_seq: int, last_seq: int) -> Iterator[Record]:
    """Yield a segment's records of a range; of the one that is being written, those that are on disk for certain."""
    data = files.mapped(path)
    header = files.read_segment_header(path, data)
    end = head.segment_bytes if head is not None and head.segment == header.number else len(data)
    for block in files.blocks(data, end):
        if block.first_seq > last_seq:
            return
        if block.last_seq < first_seq:
            continue
        records, offset, fault = scan_records(bytes(data[block.begin:block.end]))
        if fault != JournalFault.JOURNAL_END or not records or records[-1].seq != block.last_seq:
            raise files.damaged(WHAT_DIFFERS.get(JournalFault(fault), "a block does not end with its last record"), path,
                                offset=block.begin + offset, seq=records[-1].seq + 1 if records else block.first_seq)
        yield from (record for record in records if first_seq <= record.seq <= last_seq)


def _row(record: Record) -> JournalRecord:
    try:
        text = None if record.kind in (EventKind.OUT_DECISION, EventKind.OUT_PASS) else bytes(record.payload).decode()
    except UnicodeDecodeError:
        text = None
    known = record.kind in EventKind._value2member_map_  # of a newer cstd there may be others
    return {"seq": record.seq, "kind": EventKind(record.kind).name.lower() if known else f"kind_{record.kind}",
            "tag": record.tag, "mono_ns": record.mono_ns, "wall_ns": record.wall_ns, "bytes": len(record.payload), "text": text}


def _line(row: JournalRecord) -> str:
    text = "-" if row["text"] is None else one_line(row["text"][:TEXT_SHOWN]) + ("…" if len(row["text"]) > TEXT_SHOWN else "")
    return f"{row['seq']}  {utc_text(row['wall_ns'])}  {row['kind']:<{KIND_CHARS}} {row['tag']:>3}  {text}\n"
