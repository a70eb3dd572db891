"""Fuzz targets: what a hostile or broken peer, or a damaged disk, can hand to the compiled core.

Purpose: `targets` holds one function per target that takes bytes and raises AssertionError where the compiled code says
something else than a slow, independent decoder. `mutate` changes seeds the way bytes go wrong. `run` is the fuzzer.
Takes: bytes. Gives: nothing, or a failure.
Owns: `corpus/<target>/`, the kept inputs: constructed in the venue's shapes or found and minimised by the fuzzer.
Invariants: a target never skips what the compiled code accepted; each frame is read from memory that ends where it does.
Try it: `python -m fuzz.run scan -max_total_time=60` in the environment of requirements.txt. Without it,
    `pytest tests/kernels/test_fuzz_corpus.py` runs every kept input, and changed ones, in the ordinary test run.
"""
