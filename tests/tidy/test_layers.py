"""Layers: imports run downwards only, in Python and in Cython."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

IMPORT = re.compile(r"^\s*(?:from\s+(cstd[\w.]*)\s+(?:c?import)\s+(\w+)|c?import\s+(cstd[\w.]+))", re.MULTILINE)


def layer_ranks(repository: Path) -> dict[str, int]:
    """Return the rank of each package, 0 the highest, from the contract in pyproject.toml."""
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = settings["contracts"][0]["layers"]
    return {name.strip(" ()"): rank for rank, layer in enumerate(layers) for name in re.split("[|:]", layer)}


def cython_imports(path: Path) -> set[str]:
    """Return the packages below cstd that a .pyx or .pxd imports."""
    found = set()
    for package, name, whole in IMPORT.findall(path.read_text("utf-8")):
        parts = (whole or package).split(".")
        found.add(parts[1] if len(parts) > 1 else name)
    return found


def test_python_contracts_hold(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contracts of pyproject.toml hold: layers, what the trading process may load, what practice may load."""
    monkeypatch.chdir(repository)
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS


def test_every_package_has_a_layer(repository: Path) -> None:
    """No package can be added without deciding where it belongs."""
    present = {path.stem for path in (repository / "cstd").iterdir()
               if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists())} - {"__init__"}
    assert present <= set(layer_ranks(repository))


def test_cython_imports_run_downwards(repository: Path) -> None:
    """import-linter does not see .pyx and .pxd: none of them imports from a layer above its own or beside it."""
    ranks = layer_ranks(repository)
    broken = []
    for path in sorted((repository / "cstd").rglob("*.p[yx][xd]")):
        own = path.relative_to(repository / "cstd").parts[0]
        broken += [f"{path.relative_to(repository)} imports cstd.{other}" for other in cython_imports(path)
                   if other != own and ranks[other] <= ranks[own]]
    assert broken == []


def test_the_parser_sees_each_form_of_import(tmp_path: Path) -> None:
    """from-cimport, from-import, cimport, import, and an import inside a function are all found."""
    path = tmp_path / "x.pyx"
    path.write_text("from cstd._fast.book cimport Book\nfrom cstd import errors\ncimport cstd.venue.link\n"
                    "def f():\n    import cstd.ops.view\n")
    assert cython_imports(path) == {"_fast", "errors", "venue", "ops"}
