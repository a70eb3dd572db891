"""Load compiled agents into the trading process. Never imports numba.

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
from cstd.signals.agents.api import ABI_VERSION, FEATURES_SHA256

LIBRARY = "agents.so"
MANIFEST = "agents.json"
REBUILD = "run `cstd agents build`"


@dataclass(frozen=True)
class LoadedAgents:
    """Compiled agents, in the order of the manifest. `addresses` hold as long as this object lives."""

    names: list[str]
    per: list[str]
    addresses: list[int]
    sha256: str
    library: ctypes.CDLL = field(repr=False, compare=False)


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
    manifest = _read_manifest(place)
    code = _read(place / LIBRARY)
    _check(place, manifest, hashlib.sha256(code).hexdigest())
    library = _load_bytes(code, place)
    agents = manifest["agents"]
    names = [str(agent["name"]) for agent in agents]
    return LoadedAgents(names, [str(agent["per"]) for agent in agents],
                        [_address(library, name, place) for name in names], manifest["so_sha256"], library)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(f"agents: cannot read {path}: {error.strerror}", suggestion=REBUILD) from error


def _read_manifest(place: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read(place / MANIFEST))
        for agent in manifest["agents"]:
            if agent["per"] not in ("book", "bar") or not isinstance(agent["name"], str):
                raise ValueError(f"bad entry {agent}")
        for key in ("abi", "features_sha256", "machine", "so_sha256"):
            manifest[key]
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"agents: {place / MANIFEST} is not a manifest: {error}", suggestion=REBUILD) from error
    return dict(manifest)


def _check(place: Path, manifest: dict[str, Any], so_sha256: str) -> None:
    for key, have, want in (
        ("so_sha256", so_sha256, manifest["so_sha256"]),
        ("abi", ABI_VERSION, manifest["abi"]),
        ("features_sha256", FEATURES_SHA256, manifest["features_sha256"]),
        ("machine", platform.machine(), manifest["machine"]),
    ):
        if have != want:
            raise OperatorError(f"agents in {place} refused: {key} is {have}, the manifest says {want}",
                                suggestion=REBUILD)


def _load_bytes(code: bytes, place: Path) -> ctypes.CDLL:
    # The descriptor stays open: the dynamic linker takes an equal path for an equal library, and a reused number
    # would give back the one before.
    descriptor = os.memfd_create("cstd-agents", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(code)
    try:
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        raise OperatorError(f"agents in {place} cannot be loaded: {error}", suggestion=REBUILD) from error


def _address(library: ctypes.CDLL, name: str, place: Path) -> int:
    try:
        address = ctypes.cast(library[f"cstd_agent_{name}"], ctypes.c_void_p).value
    except AttributeError as error:
        raise OperatorError(f"agents in {place}: no function for {name}", suggestion=REBUILD) from error
    assert address is not None
    return address
