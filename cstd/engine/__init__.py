"""The engine: a pure function of (configuration, ordered events).

Purpose: one flow from events to decisions, orders and the ledger, for live, paper, practice and replay alike.
Takes: events (frames, ends of batches, timers, commands, REST replies, links, boots) through the compiled core.
Gives: recorded outputs, frames and requests to send, notes to log.
Owns: all trading state; one writer, one thread.
Invariants: no clock, no randomness, no environment, no file; the same events give the same digest.
Fails by: halting openings with the reason in `state_reason`; exits and cancels go on while the private link lives.
Try it: `cstd replay RECORDING.jsonl.zst`

Why this way: recovery is replay. A start feeds the journal's events to a fresh engine and goes on from there, so there
is no second description of the state that could disagree with the first; the price is time in proportion to the journal.
"""

from cstd.engine.flow import Engine

__all__ = ["Engine"]
