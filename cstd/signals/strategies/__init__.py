"""Strategies of a user's own: one Python file, compiled ahead of time, asked at every decision pass.

Purpose: let a user decide when to wish for an opening or an exit, at the cost of a C call and with every gate in place.
Takes: a source file with one `STRATEGY = Strategy(name, kernel, params={...})`.
Gives: the interface (`api`) and small functions for sources (`kernels`); `selftest` tries a strategy before it is accepted.
    Compiling, linking and loading are those of agents (`cstd.signals.agents`).
Owns: nothing that changes: state rows are the engine's.
Invariants: a kernel sees one instrument's view, features and its own state alone, all of them from journaled events; its
    wishes go where the built-in strategies' go, and nowhere else.
Fails by: OperatorError that names the strategy and the rule; at run time a fault is no wish, and three on an instrument
    without a sound wish between stop its openings there.
Try it: docs/strategies.md

Why this way: what decides must be replayed bit for bit years later, so it is machine code that is kept by its hash, of
integers, without a clock, a heap or libm.
"""
