"""What an operator's words name: an instrument of the session, a gate."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from cstd.decision.why import BOUND_CODE, BOUND_NAME, GATES
from cstd.errors import OperatorError, UsageError

NAMES_TOLD = 20  # of instruments, in an error


def instrument_named(text: str, known: Sequence[str]) -> str:
    """Return which of the known instruments a text names, in whatever case.

    Raises:
        OperatorError: none of them.
    """
    names = {name.upper(): name for name in known}
    wanted = text.strip().upper()
    if wanted not in names:
        # Over all of 2,048 names this takes 14 ms, and the trading loop may be who asks.
        near = difflib.get_close_matches(wanted[:40], [name for name in names if name[:1] == wanted[:1]], n=1)
        listed = f"one of: {', '.join(known[:NAMES_TOLD])}{' ...' if len(known) > NAMES_TOLD else ''}"
        raise OperatorError(f"{text[:40]} is no instrument of this session",
                            suggestion=f"did you mean {names[near[0]]}?" if near else listed)
    return names[wanted]


def gate_named(text: str) -> str:
    """Return the name of the gate that a text names by its name or its code; the bound on exits is one here.

    Raises:
        UsageError: there is no such gate.
    """
    names = {str(gate.code): gate.name for gate in GATES} | {str(BOUND_CODE): BOUND_NAME}
    word = text.strip().lower().replace("-", "_").replace(" ", "_")
    name = names.get(word, word)
    if name not in names.values():
        raise UsageError(f"{text[:40]} is no gate",
                         suggestion=f"one of: {', '.join(f'{code} {known}' for code, known in names.items())}")
    return name
