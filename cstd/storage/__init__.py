"""Durable state: the journal, its readers, and the readers of recordings.

Purpose: keep what the daemon knew and did so that no crash takes it, and hand it back, proven, to recovery,
replay and audit. The journal's hot side is compiled (`cstd._fast.journal`); here are opening, recovery, reading.
Takes: opaque records (kind, tag, two receive times, bytes) from the engine; recordings of Kraken's public wire.
Gives: `journal.open_journal`, `journal_reader.records` and `verify`, `journal_follow.JournalFollower` for who reads while
it grows, `journal_compress` and `journal_signature` for who looks after it, `journal_copy` for a part of it,
`recordings.open_recording` with the replay-only v1 dialect, `futures_sequence.check`.
Owns: the journal directory (segments, head, lock) and the ring file; one writer, held by a lock. The compressed form of
sealed segments and the signatures beside them are the projector's.
Invariants: a record whose append returned survives kill -9; after a power loss at most one sync interval is
missing, always at the end; sequence numbers have no gap over restarts; a changed, missing or swapped byte of a
closed journal is found and located; of a sealed segment one of its two forms is always there whole.
Fails by: OperatorError (lock, space, foreign ring), VerificationError with the place (exit 3), UsageError for a
file that is no recording; disk errors of the writer thread show in `Journal.error` and the ring keeps the bytes.

Why this way: the ring gives space back only after fdatasync, so a dying disk loses nothing that was appended;
`head.cstd` is written after each fdatasync, so a shortened or deleted segment is told from a torn tail.

Try it: `cstd journal verify .run/current/journal`
"""
