"""What came of a command, as a record of the journal: taken, refused and why, or asked where it is the first of two steps.

The engine's answer to its sender is made of the state of then; `cstd audit` would need a replay to know it. The record has the
words of a refusal and nothing else of the answer: what an account read brings, and a confirmation word, are the sender's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from cstd._fast.codes import EventKind
from cstd.errors import OperatorError

if TYPE_CHECKING:
    from cstd.engine.flow import Engine


def recorded(engine: Engine, command: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Write what came of a command behind all that it put out; return the answer."""
    result = "refused" if "error" in answer else "asked" if "confirm" in answer else "taken"
    payload = {"id": command["id"], "verb": command["verb"], "result": result,
               "refusal": answer["message"] if result == "refused" else None}
    engine.recorder.output_py(EventKind.OUT_ANSWER, 0, engine.core.mono_ns, engine.core.wall_ns, msgspec.json.encode(payload))
    return answer


def still_halted(engine: Engine) -> dict[str, Any] | None:
    """Return what an operator is told who would resume a halt that is not his to end; None where it is."""
    if engine.state != "halted" or engine.risk.halt_reason is not None or engine.risk.killed:
        return None
    return OperatorError(f"still halted: {engine.state_reason}", suggestion=(
        "it ends with its cause, or with a start where it says so; a practice exchange that was started anew knows nothing of "
        "this journal: start both with a new --run-dir")).to_json()
