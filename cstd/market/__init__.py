"""What is known of instruments and prices outside the compiled book.

Purpose: trading rules from the instrument channel, history of bars, messages that the scanner does not know, and the audit
    of levels that no checksum covers.
Takes: decoded messages; for the audit REST readings and timers.
Gives: calls into the compiled core; findings of the audit.
Owns: the specs of the configured instruments; the audit under way.
Invariants: precision comes from the venue; only the replay of a recording may infer it, and says so.
Fails by: blocking the instrument with a named fault.
Try it: `cstd replay RECORDING.jsonl.zst`
"""
