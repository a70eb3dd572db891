"""One decision by its id for the status port: among the board's newest ones, and in the session's ledger.db."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cstd.errors import OperatorError
from cstd.ops.ledger_file import explained, is_there

LOOKUPS_MAX = 2  # threads that look into the ledger for requests; others wait for their turn
ID_SHOWN = 40  # characters of an unknown id that an error repeats


class UnknownIdError(OperatorError):
    """There is nothing of this id."""

    category = "not_found"


class DecisionSight:
    """Finds one decision for the status port; used from one event loop, looks into the ledger in a thread."""

    def __init__(self, ledger: Path) -> None:
        """Look into a ledger that may not be there yet."""
        self._ledger = ledger
        self._turns = asyncio.Semaphore(LOOKUPS_MAX)

    async def newest(self, id_: str, shown: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Return the newer of what the board shows of an id and what the ledger keeps of it.

        What the board shows is good without a ledger, and is taken where both have the same: it names the cluster.

        Raises:
            UnknownIdError: neither has one.
            OperatorError: the board shows none, and the ledger is not there or cannot be read.
        """
        try:
            async with self._turns:
                kept, last_seq = await asyncio.to_thread(self._look, id_)
        except OperatorError:
            if shown is None:
                raise
            return shown
        found = kept if shown is None or (kept is not None and kept["event_seq"] > shown["event_seq"]) else shown
        if found is None:
            raise UnknownIdError(f"there is no decision {id_[:ID_SHOWN]!r}: not among the newest, and {self._ledger} has none "
                                 f"up to record {last_seq}",
                                 suggestion="/api/v1/decisions and `cstd orders --all` name those that there are")
        return found

    def _look(self, id_: str) -> tuple[dict[str, Any] | None, int]:
        if not is_there(self._ledger):
            raise OperatorError(f"it is not among the newest decisions, and there is no {self._ledger}",
                                suggestion="the projector makes it, while it is enabled; so does `cstd db rebuild`")
        return explained(self._ledger, id_)
