"""One sentence and one place for each way a journal can be broken."""

from __future__ import annotations

from pathlib import Path

from cstd._fast.journal_scan import BlockCursor, JournalFault
from cstd.errors import VerificationError
from cstd.storage.journal_files import damaged

WHAT_DIFFERS = {
    JournalFault.JOURNAL_TORN: "the file ends inside this block",
    JournalFault.JOURNAL_BLOCK_MAGIC: "no block begins here: the magic differs",
    JournalFault.JOURNAL_BLOCK_INDEX: "the block's index is not the next one",
    JournalFault.JOURNAL_BLOCK_SEQ: "the block's first or last sequence number does not follow",
    JournalFault.JOURNAL_BLOCK_LENGTH: "the block's length is not possible",
    JournalFault.JOURNAL_BLOCK_PREV: "the block does not name the hash of the block before it",
    JournalFault.JOURNAL_BLOCK_HASH: "the block does not match its hash",
    JournalFault.JOURNAL_RECORD_LENGTH: "the record is longer than its block",
    JournalFault.JOURNAL_RECORD_VERSION: "the record's format version is not known",
    JournalFault.JOURNAL_RECORD_SEQ: "the record's sequence number does not follow",
    JournalFault.JOURNAL_RECORD_CRC: "the record does not match its checksum",
}


def fault_error(fault: int, cursor: BlockCursor, path: Path) -> VerificationError | None:
    """Return the error for a cursor that stopped with `fault`, None when it stopped at the end of the data."""
    what = WHAT_DIFFERS.get(JournalFault(fault))
    if what is None:
        return None
    return damaged(what, path, offset=cursor.fault_offset, block=cursor.next_index, seq=cursor.fault_seq)
