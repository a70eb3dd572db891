"""Orders: their lifecycle as a table, and what venue messages do to them.

Purpose: keep every order's state true to the evidence, book its fills once, and never read silence as an answer.
Takes: replies, execution reports, look-ups.
Gives: lifecycle events, fills to the ledger, finished orders. `simulated_venue` is the far side of that, for replays.
Owns: the history of finished orders (one writer, the engine).
Invariants: a state changes only by the table of `lifecycle`; UNKNOWN is left by evidence alone.
Fails by: UNKNOWN, counted, with a wish for reconciliation.
Try it: `pytest tests/scenario/test_orders_tracker.py`
"""
