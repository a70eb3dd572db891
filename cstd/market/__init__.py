"""What is known of instruments and prices outside the compiled book.

Purpose: trading rules from the instrument channel, history of bars, and messages that the scanner does not know.
Takes: decoded messages.
Gives: calls into the compiled core.
Owns: the specs of the configured instruments.
Invariants: precision comes from the venue; only the replay of a recording may infer it, and says so.
Fails by: blocking the instrument with a named fault.
Try it: `cstd replay RECORDING.jsonl.zst`
"""
