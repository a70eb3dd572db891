"""Read the agents of a folder of sources; used by the two child processes of a build."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from cstd.errors import OperatorError
from cstd.signals.agents.api import Agent

AGENTS_MAX = 16  # as many as the engine has rows for (cstd/_fast/slot.pxd)


@dataclass(frozen=True)
class Source:
    """One agent and the file it came from."""

    agent: Agent
    path: Path
    sha256: str


def read(folder: Path) -> list[Source]:
    """Import every *.py of the folder (names with a leading underscore apart), in order of name.

    Raises:
        OperatorError: a file cannot be imported or has no AGENT, names repeat, there is none or there are too many.
    """
    paths = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    if not paths:
        raise OperatorError(f"no agent sources (*.py) in {folder}")
    if len(paths) > AGENTS_MAX:
        raise OperatorError(f"{len(paths)} agents in {folder}, at most {AGENTS_MAX} fit")
    found = [_read_one(path) for path in paths]
    names = [source.agent.name for source in found]
    for name in names:
        if names.count(name) > 1:
            raise OperatorError(f"two agents are named {name!r} in {folder}")
    return found


def _read_one(path: Path) -> Source:
    spec = importlib.util.spec_from_file_location(f"cstd_agent_source_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise OperatorError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is the user's to mend
        raise OperatorError(f"{path.name}: {type(error).__name__}: {error}") from error
    agent = getattr(module, "AGENT", None)
    if not isinstance(agent, Agent):
        raise OperatorError(f"{path.name} has no AGENT = Agent(...)")
    return Source(agent, path, hashlib.sha256(path.read_bytes()).hexdigest())
