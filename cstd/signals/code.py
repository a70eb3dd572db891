"""Compiled code by its hash: what the configuration names, and what a journal's starts name.

The daemon keeps a copy of each compiled object that it runs in `code/` beside its journal, named by its SHA-256, before the
start that names it is journaled. Who reads that journal finds there the very code that decided, whatever was built since.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cstd.config import Config
from cstd.config.problems import Problem, config_error
from cstd.errors import OperatorError, VerificationError
from cstd.signals.agents.loader import Loaded, LoadedAgents, LoadedStrategy, load, load_agents, load_strategy, load_strategy_files
from cstd.storage.journal_files import put_in_place, sync_directory
from cstd.storage.run_dir import CODE_DIR

__all__ = ["Code", "Configured", "LoadedAgents", "LoadedStrategy", "MissingCodeError", "code_dir", "code_of", "configured",
           "copy_code", "keep"]
FILE_MODE = 0o600
DIR_MODE = 0o700


class MissingCodeError(VerificationError):
    """What a journal was decided with is not here."""


class Code:
    """Compiled objects by hash: some given, the others from a folder, loaded when they are first asked for.

    Args:
        folder: `code/` of a run directory, None for none.
        given: what is loaded already.
    """

    def __init__(self, folder: Path | None = None, given: Iterable[Loaded] = ()) -> None:
        self._folder = folder
        self._loaded: dict[str, Loaded] = {each.sha256: each for each in given}

    def agents(self, sha256: str, ours: LoadedAgents | None) -> LoadedAgents | None:
        """Return the agents of this hash: `ours` where they are it, "" for none.

        Raises:
            MissingCodeError: they are not here, or not as they were.
        """
        here = ours.sha256 if ours is not None else ""
        if sha256 == here:
            return ours
        differ = f"agents differ: it was decided with agents {sha256[:16] or 'none'}, loaded are {here[:16] or 'none'}"
        found = self._find(sha256, differ, LoadedAgents)
        assert isinstance(found, LoadedAgents)
        return found

    def strategy(self, sha256: str) -> LoadedStrategy:
        """Return the strategy of this hash.

        Raises:
            MissingCodeError: it is not here, or not as it was.
        """
        found = self._find(sha256, f"it was decided by strategy {sha256[:16]}", LoadedStrategy)
        assert isinstance(found, LoadedStrategy)
        return found

    def _find(self, sha256: str, what: str, kind: type[Loaded]) -> Loaded:
        found = self._loaded.get(sha256)
        if isinstance(found, kind):
            return found
        if self._folder is None or not sha256:
            raise MissingCodeError(what, suggestion="start what wrote it")
        manifest, library = self._folder / f"{sha256}.json", self._folder / f"{sha256}.so"
        way_out = f"bring {library.name} and {manifest.name} back, from a backup for example"
        if not library.is_file() or not manifest.is_file():
            missing = library if not library.is_file() else manifest
            raise MissingCodeError(f"{what}, and {missing} is not there: {way_out}", suggestion=way_out)
        try:
            loaded: Loaded = (load_agents if kind is LoadedAgents else load_strategy_files)(manifest, library)
        except OperatorError as error:
            raise MissingCodeError(f"{what}, and {error.message}: {way_out}", suggestion=way_out) from error
        if loaded.sha256 != sha256:
            raise MissingCodeError(f"{what}, and {library} has the hash {loaded.sha256[:16]}: {way_out}", suggestion=way_out)
        self._loaded[sha256] = loaded
        return loaded


def code_dir(journal: Path) -> Path:
    """Return the folder of compiled objects that belongs to a journal: beside it, where it really is."""
    return journal.resolve().parent / CODE_DIR


def code_of(journal: Path) -> Code:
    """Return the code that a journal's starts name."""
    return Code(code_dir(journal))


def keep(journal: Path, objects: Iterable[Loaded | None]) -> None:
    """Copy compiled objects to where a reader of the journal looks for them, on disk when this returns.

    Raises:
        OperatorError: they cannot be written.
    """
    folder = code_dir(journal)
    try:
        folder.mkdir(mode=DIR_MODE, exist_ok=True)
        for each in objects:
            if each is None:
                continue
            _put(folder / f"{each.sha256}.json", each.manifest)
            _put(folder / f"{each.sha256}.so", each.code)
        sync_directory(folder.parent)
    except OSError as error:
        raise OperatorError(f"{folder} cannot be written: {error}", suggestion="check free space and rights") from error


def copy_code(source: Path, target: Path) -> None:
    """Copy what a folder of compiled objects holds to another, where it is not there as it is here. Raises OSError."""
    paths = sorted(path for path in source.iterdir() if path.suffix in (".json", ".so") and not path.name.startswith(".")
                   ) if source.is_dir() else []
    if paths:
        target.mkdir(mode=DIR_MODE, exist_ok=True)
    for path in paths:
        _put(target / path.name, path.read_bytes())


def _put(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        put_in_place(path, content, mode=FILE_MODE)


@dataclass(frozen=True)
class Configured:
    """The compiled code that a configuration names; strategy: None for a built-in one."""

    agents: LoadedAgents | None
    strategy: LoadedStrategy | None

    def code(self) -> Code:
        """Return it by hash, for an engine without a journal."""
        return Code(given=[each for each in (self.agents, self.strategy) if each is not None])


def configured(cfg: Config) -> Configured:
    """Load the agents and the strategy that a configuration names.

    Raises:
        ConfigError: with every problem: a folder that is none, another object than the one that was meant, parameters that
            the strategy has not.
        OperatorError: the built-in agents cannot be loaded.
    """
    problems: list[Problem] = []
    agents: LoadedAgents | None = None
    try:
        agents = load(cfg.agents.dir or None)
    except OperatorError as error:
        if not cfg.agents.dir:
            raise
        problems.append(_unusable("agents.dir", cfg.agents.dir, error, "a folder made by `cstd agents build`"))
    strategy = _configured_strategy(cfg, problems)
    if problems:
        raise config_error(problems)
    return Configured(agents, strategy)


def _unusable(key: str, folder: str, error: OperatorError, limit: str) -> Problem:
    if not Path(folder).is_dir():
        return Problem(key=key, value=folder, reason="is no folder", limit=limit, suggestion="build it, or name another")
    return Problem(key=key, value=folder, reason=error.message, limit=limit, suggestion=error.suggestion)


def _configured_strategy(cfg: Config, problems: list[Problem]) -> LoadedStrategy | None:
    own = cfg.strategy.own
    if cfg.strategy.name != "own" or own is None:
        return None
    try:
        strategy = load_strategy(own.dir)
    except OperatorError as error:
        problems.append(_unusable("strategy.own.dir", own.dir, error, "a folder made by `cstd strategy build`"))
        return None
    if own.sha256 and own.sha256 != strategy.sha256:
        problems.append(Problem(key="strategy.own.sha256", value=own.sha256, limit=strategy.sha256,
                                reason=f"is not the hash of the strategy in {own.dir}",
                                suggestion="name the folder that was meant, or the hash that is meant now"))
    for name, value in own.params.items():
        if name not in strategy.params:
            near = difflib.get_close_matches(name, list(strategy.params), n=1, cutoff=0.4)
            problems.append(Problem(
                key=f"strategy.own.params.{name}", value=str(value), reason=f"is no parameter of {strategy.name}",
                limit=", ".join(strategy.params) or "it has none",
                suggestion=f"did you mean {near[0]}?" if near else "remove it"))
    return strategy
