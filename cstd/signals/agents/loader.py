"""Load compiled agents, or a compiled strategy, into the trading process. Never imports numba.

The bytes that are hashed are the bytes that are loaded: the object is read once, checked against the manifest, written
to an anonymous file and loaded from there, so that replacing the file in between changes nothing.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cstd.errors import OperatorError
from cstd.signals.agents.api import FEATURES_SHA256
from cstd.signals.agents.kinds import AGENTS, STRATEGY, Kind
from cstd.signals.strategies.api import PARAMS_MAX


@dataclass(frozen=True)
class Loaded:
    """A compiled object. Addresses in it hold as long as this object lives; `manifest` and `code` are what was read."""

    sha256: str
    library: ctypes.CDLL = field(repr=False, compare=False)
    manifest: bytes = field(repr=False, compare=False)
    code: bytes = field(repr=False, compare=False)


@dataclass(frozen=True)
class LoadedAgents(Loaded):
    """Compiled agents, in the order of the manifest."""

    names: list[str]
    per: list[str]
    addresses: list[int]


@dataclass(frozen=True)
class LoadedStrategy(Loaded):
    """A compiled strategy with its parameters' defaults, in the order of the array."""

    name: str
    params: dict[str, int]
    address: int


def default_dir() -> Path:
    """Return the folder of the built-in agents, built once at install."""
    return Path(__file__).parent / "prebuilt"


def load(folder: Path | str | None = None) -> LoadedAgents:
    """Load a folder made by `cstd agents build`; the built-in agents by default.

    Raises:
        OperatorError: files are missing or malformed, or the object is not the one the manifest names, or it was built
            for another interface, feature row or machine.
    """
    place = Path(folder) if folder is not None else default_dir()
    return load_agents(place / AGENTS.manifest, place / AGENTS.library)


def load_agents(manifest_path: Path, library_path: Path) -> LoadedAgents:
    """Load agents from a manifest and an object. Raises as `load`."""
    raw, manifest, code, library = _loaded(AGENTS, manifest_path, library_path)
    names = [str(agent["name"]) for agent in manifest["agents"]]
    return LoadedAgents(manifest["so_sha256"], library, raw, code, names, [str(agent["per"]) for agent in manifest["agents"]],
                        [_address(library, AGENTS, name, library_path) for name in names])


def load_strategy(folder: Path | str) -> LoadedStrategy:
    """Load a folder made by `cstd strategy build`. Raises as `load`."""
    return load_strategy_files(Path(folder) / STRATEGY.manifest, Path(folder) / STRATEGY.library)


def load_strategy_files(manifest_path: Path, library_path: Path) -> LoadedStrategy:
    """Load a strategy from a manifest and an object. Raises as `load`."""
    raw, manifest, code, library = _loaded(STRATEGY, manifest_path, library_path)
    name, params = str(manifest["strategy"]["name"]), dict(manifest["strategy"]["params"])
    address = _address(library, STRATEGY, name, library_path)
    inside = _text(library, "cstd_strategy_params")
    said = " ".join(f"{param}={value}" for param, value in params.items())
    if inside != said:
        raise OperatorError(f"strategy in {library_path} refused: its parameters are {inside!r}, the manifest says {said!r}",
                            suggestion=_rebuild(STRATEGY))
    return LoadedStrategy(manifest["so_sha256"], library, raw, code, name, params, address)


def _rebuild(kind: Kind) -> str:
    return f"run `{kind.verb}`"


def _loaded(kind: Kind, manifest_path: Path, library_path: Path) -> tuple[bytes, dict[str, Any], bytes, ctypes.CDLL]:
    raw = _read(kind, manifest_path)
    manifest = _manifest(kind, raw, manifest_path)
    code = _read(kind, library_path)
    _check(kind, library_path, manifest, hashlib.sha256(code).hexdigest())
    return raw, manifest, code, _load_bytes(kind, code, library_path)


def _read(kind: Kind, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{kind.files}: cannot read {path}: {error.strerror}", suggestion=_rebuild(kind)) from error


def _manifest(kind: Kind, raw: bytes, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
        for key in ("abi", "features_sha256", "machine", "so_sha256"):
            manifest[key]
        if kind is AGENTS:
            _check_agents(manifest["agents"])
        else:
            _check_strategy(manifest["strategy"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OperatorError(f"{kind.files}: {path} is not a manifest: {error}", suggestion=_rebuild(kind)) from error
    return dict(manifest)


def _check_agents(agents: list[dict[str, Any]]) -> None:
    for agent in agents:
        if agent["per"] not in ("book", "bar") or not isinstance(agent["name"], str):
            raise ValueError(f"bad entry {agent}")


def _check_strategy(strategy: dict[str, Any]) -> None:
    params = strategy["params"]
    if not isinstance(strategy["name"], str) or len(params) > PARAMS_MAX or not all(type(v) is int for v in params.values()):
        raise ValueError(f"bad entry {strategy}")


def _check(kind: Kind, place: Path, manifest: dict[str, Any], so_sha256: str) -> None:
    for key, have, want in (
        ("so_sha256", so_sha256, manifest["so_sha256"]),
        ("abi", kind.abi, manifest["abi"]),
        ("features_sha256", FEATURES_SHA256, manifest["features_sha256"]),
        ("machine", platform.machine(), manifest["machine"]),
    ):
        if have != want:
            raise OperatorError(f"{kind.files} in {place.parent} refused: {key} is {have}, the manifest says {want}",
                                suggestion=_rebuild(kind))


def _load_bytes(kind: Kind, code: bytes, place: Path) -> ctypes.CDLL:
    # The descriptor stays open: the dynamic linker takes an equal path for an equal library, and a reused number
    # would give back the one before.
    descriptor = os.memfd_create(f"cstd-{kind.files}", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(code)
    try:
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        raise OperatorError(f"{kind.files} in {place.parent} cannot be loaded: {error}", suggestion=_rebuild(kind)) from error


def _address(library: ctypes.CDLL, kind: Kind, name: str, place: Path) -> int:
    try:
        address = ctypes.cast(library[kind.symbol(name)], ctypes.c_void_p).value
    except AttributeError as error:
        raise OperatorError(f"{kind.files} in {place.parent}: no function for {name}", suggestion=_rebuild(kind)) from error
    assert address is not None
    return address


def _text(library: ctypes.CDLL, symbol: str) -> str:
    try:
        return ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, symbol))).decode()
    except ValueError:
        return ""
