"""Strategies: compiled functions that turn what an instrument looks like into a wish.

Purpose: say what is wanted; what may be done about it is for the gates.
Takes: a `StrategyView` row and the strategy's own state row (`cstd/_fast/strategy.pxd`).
Gives: a `Wish`, or nothing.
Owns: its state row, one a strategy and instrument; the engine keeps it and recovery replays it.
Invariants: pure: the same view and state give the same wish; no strategy can reach an order.
Fails by: wishing for nothing.
Try it: `make run` runs `rehearsal`, `cstd bench` runs `bench`.
"""
