"""What is compiled ahead of time: agents, a folder of them in one object, and a strategy, one in an object."""

from __future__ import annotations

from dataclasses import dataclass

from cstd.signals.agents import api
from cstd.signals.strategies import api as strategies


@dataclass(frozen=True)
class Kind:
    """A kind of source, and what becomes of it.

    Args:
        word: for messages, and the middle of the C functions' names.
        files: the name of the object and of its manifest, without suffix.
        variable: what a source file must have, of `type`.
        abi: version of the C interface.
        sources_max: files that go into one object.
        verb: the command that builds it.
    """

    word: str
    files: str
    variable: str
    type: type[api.Agent] | type[strategies.Strategy]
    abi: int
    sources_max: int
    verb: str

    @property
    def library(self) -> str:
        """File name of the object."""
        return f"{self.files}.so"

    @property
    def manifest(self) -> str:
        """File name of the manifest."""
        return f"{self.files}.json"

    def symbol(self, name: str) -> str:
        """Return the name of a source's C function."""
        return f"cstd_{self.word}_{name}"


# As many agents as the engine has rows for (cstd/_fast/slot.pxd).
AGENTS = Kind("agent", "agents", "AGENT", api.Agent, api.ABI_VERSION, 16, "cstd agents build")
STRATEGY = Kind("strategy", "strategy", "STRATEGY", strategies.Strategy, strategies.ABI_VERSION, 1, "cstd strategy build")
KINDS = {kind.word: kind for kind in (AGENTS, STRATEGY)}
