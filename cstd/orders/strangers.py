"""Strangers: open orders of the account that this daemon did not send.

Cancel-all-after is account-wide, so one account has one trading daemon. Orders of other programs are left alone, and said:
the switch would cancel them with ours. An order that carries our prefix is ours while a lost tail of the journal can
explain it; after that another daemon trades with our prefix, and openings stop until the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Note = tuple[str, str, dict[str, Any]]
Row = dict[str, Any]


class Strangers:
    """What the look-ups of one boot show of others.

    Args:
        note: takes a line for the log.
        tail_over_mono_ns: from when on a round shows everything that a lost tail of the journal had sent.

    Attributes:
        open: venue ids of the open orders without our prefix, as the last finished round showed them.
        halt_reason: why openings stop until the next start, "" while no other daemon was seen.
    """

    def __init__(self, note: Callable[[Note], None], tail_over_mono_ns: int) -> None:
        self.open: set[str] = set()
        self.halt_reason = ""
        self._note = note
        self._tail_over_mono_ns = tail_over_mono_ns
        self._tail_shown = False
        self._left: set[str] = set()  # with our prefix, and there while a lost tail could explain it

    def on_unknown(self, cl_ord_id: str) -> None:
        """An open order with our prefix that the journal does not know."""
        if not self._tail_shown:
            self._left.add(cl_ord_id)
        elif not self.halt_reason and cl_ord_id not in self._left:
            self.halt_reason = (f"order {cl_ord_id} has our prefix and is not ours: another daemon trades this account; "
                                "stop it, or give one of the two another account, and start again")
            self._note(("error", "another daemon trades this account", {"cl_ord_id": cl_ord_id}))

    def on_round(self, rows: Mapping[str, Row], is_ours: Callable[[Row], object], began_mono_ns: int) -> None:
        """Take the open orders of a finished round, by venue id. is_ours: whether one has our prefix."""
        others = {txid for txid, row in rows.items() if not is_ours(row)}
        for txid in sorted(others - self.open):
            self._note(("warning", "an open order of another program: cancel-all-after would cancel it with ours",
                        {"order_id": txid, "pair": rows[txid].get("descr", {}).get("pair", "")}))
        self.open = others
        self._tail_shown = self._tail_shown or began_mono_ns >= self._tail_over_mono_ns
