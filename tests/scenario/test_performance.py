"""Units and attribution of real sessions: made from the journal alone, exact, and the account's value at the venue."""

from __future__ import annotations

import sqlite3
import tempfile
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

from engine_world import World, practice_config
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_adoption import act
from test_adoption import config as adopting
from test_exit_policy import CALM
from test_handover import buy
from test_regressions import moved

from cstd.ledger.performance import EXACT, PARTS
from cstd.projector.rebuild import rebuild
from cstd.storage.journal import open_journal

WORDS = ("deposit", "withdraw", "reward", "cash in", "cash out", "rise", "fall", "buy", "sell", "wait", "restart", "unplug")


def does(world: World, number: int, word: str) -> None:
    """One thing that happens to a session; what cannot happen now does not."""
    if word == "reward":
        moved(world, "BTC", "staking", "0.00012345", ledger_id=f"W{number}")
    elif word in ("cash in", "cash out"):
        kind, amount = ("deposit", "777.77") if word == "cash in" else ("withdrawal", "-333.3333")
        moved(world, "USD", kind, amount, fee="0.5", ledger_id=f"C{number}")
    elif word == "buy":
        if world.engine.state == "paused":
            world.command("resume")
        if world.engine.state == "ready" and not world.live():
            buy(world, number)
    else:
        act(world, number, word)


def session(path: Path, history: list[str], *, adopt: str) -> World:
    """A session with a journal, of which a ledger can be made."""
    cfg = adopting(adopt) if adopt == "all" else practice_config(exits={**CALM, "stop_bps": 0})
    with open_journal(path / "journal", path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24, sync_interval_ms=20) as journal:
        world = World(cfg, strategy="rehearsal", journal=journal).ready()
        for number, word in enumerate(history, 1):
            does(world, number, word)
        for order in world.live():
            world.report("canceled", order, "OGONE")
        world.command("pause")
        world.run(125)  # a row each minute, and look-ups that agree
        journal.sync()
    world.sound()
    return world


def table(path: Path) -> list[sqlite3.Row]:
    """The rows of a ledger that is made now."""
    rebuild(path / "journal", path / "ledger.db", None)
    connection = sqlite3.connect(path / "ledger.db")
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("SELECT * FROM performance ORDER BY seq").fetchall()
    finally:
        connection.close()


def total(row: Any) -> Decimal:
    """The sum of a row's parts."""
    return sum((Decimal(row[name]) for name in PARTS), Decimal(0))


@settings(max_examples=12, deadline=None, phases=(Phase.generate,))
@given(st.lists(st.sampled_from(WORDS), max_size=7), st.sampled_from(["none", "all"]))
def test_parts_are_the_change_of_value_and_value_is_what_the_venue_holds(history: list[str], adopt: str) -> None:
    """In every row; and at the end, to the last digit, what the venue's balances are worth at the bid."""
    with tempfile.TemporaryDirectory() as folder:
        world = session(Path(folder), history, adopt=adopt)
        rows = table(Path(folder))
    with localcontext(EXACT):
        first = Decimal(rows[0]["nav"])
        for row in rows:
            assert row["unexplained"] == "0" and first + total(row) == Decimal(row["nav"]) and row["series"] == 1
        bid = Decimal(world.slot.last_verified_bid_raw).scaleb(-1)
        held = Decimal(world.balances["USD"]) + Decimal(world.balances["BTC"]) * bid
        assert Decimal(rows[-1]["nav"]) == held and world.engine.reconciler.agreed
    per_unit = [Decimal(row["nav_per_unit"]) for row in rows]
    if not {"rise", "fall", "buy", "sell"} & set(history):
        assert max(per_unit) - min(per_unit) <= Decimal("1e-11"), "no flow moves the value of a unit"
