"""What we hold, what it cost, and what the venue says about it.

Purpose: turn fills into managed positions, cash flow, equity, day loss and drawdown, exactly.
Takes: fills once each, balances of the venue, marks; times as arguments.
Gives: positions and the figures that the risk gates compare.
Owns: `Ledger` (one writer, the engine).
Invariants: no float; a fill counts once, by exec_id; the user's own coins are never part of a position.
Fails by: counting and naming what it cannot place (a fee in a third asset, a fill of a foreign order).
Try it: `pytest tests/unit/test_ledger.py`
"""
