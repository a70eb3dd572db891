"""The projector process: the journal followed into SQLite, signed, and its sealed segments compressed.

Purpose: what the daemon did as tables that any SQL tool reads, and the journal kept small and provable, with none of the
work in the trading process. The tables are in docs/ledger-db.md.
Takes: the journal's segments and head, read only; the host's signing key. Gives: `ledger.db` (SQLite, WAL), signatures
beside the journal, compressed segments, and its place in `projector.mark` for the status port.
Owns: `ledger.db`, `*.sig`, `*.cstd.zst`, the signing key, held by `projector.lock`; one projector a run directory.
Invariants: the rows follow from the journal's synced records alone, so a rebuild gives the same ones; the place is written
in the transaction of the rows it stands for; no segment is ever without a whole form; only what was proven is signed.
Fails by: OperatorError (another program's database or schema, no space), VerificationError with the place; the process
ends, is started again with back-off, and goes on where it was; trading does not notice.

Why this way: the rows come from the engine itself, fed with the journal as the daemon's recovery and `cstd replay` feed it,
and every output it makes is compared with the recorded one: a second reading of frames could differ from what was traded.
The price is that a start replays the journal from a checkpoint before its place, before the first new row.

Try it: `make run FOR=30`, then `sqlite3 -readonly .run/current/ledger.db 'select * from fills'`
"""
