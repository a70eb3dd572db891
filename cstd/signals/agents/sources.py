"""Read the sources of agents or of a strategy; used by the two child processes of a build."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cstd.errors import OperatorError
from cstd.signals.agents.kinds import AGENTS, Kind

AGENTS_MAX = AGENTS.sources_max


@dataclass(frozen=True)
class Source:
    """One agent or strategy (`item`) and the file it came from."""

    kind: Kind
    item: Any
    path: Path
    sha256: str

    @property
    def name(self) -> str:
        """Name of the agent or strategy."""
        return str(self.item.name)


def read(place: Path, kind: Kind = AGENTS) -> list[Source]:
    """Import one file, or every *.py of a folder (names with a leading underscore apart), in order of name.

    Raises:
        OperatorError: a file cannot be imported or has no AGENT (STRATEGY), names repeat, there is none or too many.
    """
    paths = [place] if place.is_file() else sorted(path for path in place.glob("*.py") if not path.name.startswith("_"))
    if not paths:
        raise OperatorError(f"no {kind.word} sources (*.py) in {place}")
    if len(paths) > kind.sources_max:
        raise OperatorError(f"{len(paths)} {kind.word} sources in {place}, at most {kind.sources_max} fit",
                            suggestion="name the file" if kind.sources_max == 1 else "")
    found = [_read_one(path, kind) for path in paths]
    names = [source.name for source in found]
    for name in names:
        if names.count(name) > 1:
            raise OperatorError(f"two {kind.word}s are named {name!r} in {place}")
    return found


def _read_one(path: Path, kind: Kind) -> Source:
    spec = importlib.util.spec_from_file_location(f"cstd_{kind.word}_source_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise OperatorError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is the user's to mend
        raise OperatorError(f"{path.name}: {type(error).__name__}: {error}") from error
    item = getattr(module, kind.variable, None)
    if not isinstance(item, kind.type):
        raise OperatorError(f"{path.name} has no {kind.variable} = {kind.type.__name__}(...)",
                            suggestion=f"a folder holds {kind.word}s alone; other files have one of their own, or a name with a "
                                       "leading underscore")
    return Source(kind, item, path, hashlib.sha256(path.read_bytes()).hexdigest())
