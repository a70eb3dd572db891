"""The whole state of an engine between two records of its journal, as bytes, and back.

A checkpoint is what a full replay would have come to: it is made by one, in a process of its own, and an engine that takes
it goes on bit for bit. The compiled part is written field by field (`cstd._fast.image`), the Python part as the graph of
its objects, in which the engine's fixed parts are named rather than stored. Only the build that wrote a checkpoint reads
it: state laid out otherwise would be read as something that it is not, and then the journal itself is replayed.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from functools import cache
from pathlib import Path
from typing import Any

from cstd._fast.gateway import RestCancel, RestExit
from cstd._fast.image import dump as dump_core
from cstd._fast.image import restore as restore_core
from cstd.engine.flow import Engine
from cstd.engine.own_code import give_code

# What an engine is made with; the rest of it is its state.
FIXED = ("core", "recorder", "agents", "own", "code")
STATE_MODULES = ("cstd.config.", "cstd.decision.", "cstd.engine.", "cstd.ledger.", "cstd.market.", "cstd.orders.",
                 "cstd.venue.")
STATE_CLASSES = {("builtins", "getattr"), ("builtins", "set"), ("builtins", "frozenset"), ("collections", "Counter"),
                 ("collections", "deque"), ("collections", "OrderedDict"), ("decimal", "Decimal"),
                 ("msgspec._utils", "rebuild"), ("cstd._fast.gateway", "RestCancel"),
                 ("cstd._fast.gateway", "RestExit"), ("cstd.signals.drift", "Drift")}


@cache
def build_id() -> str:
    """Return the SHA-256 of the program's own files and of the interpreter's version: whose checkpoints can be read."""
    digest = hashlib.sha256(sys.version.encode())
    root = Path(__file__).parents[1]
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.so")]):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, engine: Engine) -> None:
        super().__init__(file, protocol=5)
        self._names = {id(engine): "engine"} | {id(getattr(engine, name)): name for name in ("core", "recorder")}

    def persistent_id(self, obj: Any) -> str | None:
        return self._names.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        # What the gateway made is kept as an empty one: a restored request is compared, and none of them can be sent.
        return (type(obj), ()) if type(obj) in (RestCancel, RestExit) else NotImplemented


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, engine: Engine) -> None:
        super().__init__(io.BytesIO(data))
        self._engine = engine

    def persistent_load(self, pid: str) -> Any:
        return self._engine if pid == "engine" else getattr(self._engine, pid)

    def find_class(self, module: str, name: str) -> Any:
        if not module.startswith(STATE_MODULES) and (module, name) not in STATE_CLASSES:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an engine's state")
        return super().find_class(module, name)


def dump(engine: Engine) -> bytes:
    """Return the state of a booted engine, with the outputs that a replay of it has not compared yet.

    Raises:
        ValueError: the engine has not booted, or it has failed.
    """
    if engine.cfg is None:
        raise ValueError("the engine has not booted")
    state = {
        "core": dump_core(engine.core),
        "captured": list(engine.recorder.captured or []),
        "slots": [(slot.name, slot.book.depth) for slot in engine.core.slots],
        "engine": {name: value for name, value in vars(engine).items() if name not in FIXED},
    }
    file = io.BytesIO()
    _Writer(file, engine).dump(state)
    return file.getvalue()


def restore(engine: Engine, data: bytes) -> list[tuple[int, int, bytes]]:
    """Give a fresh engine (its recorder, agents and port as it was made) the state that `dump` returned.

    Returns:
        The outputs that were not compared yet: what `JournalReplay` goes on with.

    Raises:
        ValueError: the bytes are no state of this build; the engine is of no use then.
        MissingCodeError: the strategy that it was decided by is not here.
    """
    try:
        state = _Reader(data, engine).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"no state of this build: {type(error).__name__}: {error}") from error
    fields = state["engine"]
    core = engine.core
    for name, depth in state["slots"]:
        core.add_slot(name, depth)
    sha256 = fields["code_ran"][2]
    engine.own = engine.code.strategy(sha256) if sha256 else None
    give_code(engine, fields["cfg"], fields["_strategy"])
    restore_core(core, state["core"])
    vars(engine).update(fields)
    captured: list[tuple[int, int, bytes]] = state["captured"]
    return captured
