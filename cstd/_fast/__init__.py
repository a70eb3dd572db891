"""The compiled core: everything that runs for every frame, in Cython over preallocated C structs.

Purpose: bytes in, int64 fixed point, a decision, order bytes out; no Python object and no allocation on that path.
Takes: borrowed frames with their two times (`sink`), configuration and rare messages through `core`.
Gives: verified books, feature rows, decision rows, order frames to a port, records to the journal.
Owns: books, bars, features, the order table, gates' inputs, histograms; one writer, the engine's thread.
Invariants: the order encoder is in the gateway's module alone, beside the gates, and no Python-callable function reaches
    it; nothing reads a clock, a random source, the environment or a file; every loop is bounded; the same events give the
    same digest on every host.
Fails by: status codes, never exceptions on the path; a record that cannot be written halts the engine.
Try it: `cstd bench --recording RECORDING.jsonl.zst`

Why this way: a structure whose shape is in a .pxd is its own documentation, and C structs without Python objects keep a
frame's whole work in the caches. The files in path order: `sink`, `wire`, `book`, `features`, `engine`, `gateway`, `port`.
"""
