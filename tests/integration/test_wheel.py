"""The wheel on a bare host: what it installs is all that a daemon needs beside its packages, a compiler least of all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cstd import __version__
from tests.integration.session import REPOSITORY, Session


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation of the wheel of this tree."""
    wheels, target = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    for words in (["wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(REPOSITORY)],
                  ["install", "--no-deps", "--no-index", "--no-compile", "--target", str(target)]):
        found = [str(path) for path in wheels.glob("*.whl")]
        done = subprocess.run([*pip, *words, *(found if words[0] == "install" else [])], capture_output=True, text=True,
                              timeout=240, check=False)
        assert done.returncode == 0, done.stderr
    return target


def run(installed: Path, folder: Path, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command of the installation, far from the tree, on a host where no compiler and no other program is found."""
    (folder / "bin").mkdir(exist_ok=True)
    env = Session(folder).env | {"PYTHONPATH": str(installed), "PATH": str(folder / "bin"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-P", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=timeout_s,
                          check=False)


def test_it_is_the_wheels_own(installed: Path, tmp_path: Path) -> None:
    """Code, page, parameters and configuration come from the wheel; its licence is in it."""
    done = run(installed, tmp_path, "-c", "import cstd, cstd._fast.core as core; print(cstd.__file__, core.__file__)")
    assert done.returncode == 0, done.stderr
    assert all(Path(path).is_relative_to(installed) for path in done.stdout.split())
    names = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {"cstd/ops/page/index.html", "cstd/practice/flow_params.json", "cstd/signals/agents/prebuilt/agents.so",
            "share/cstd/config/live.toml", f"cstd-{__version__}.dist-info/licenses/LICENSE"} <= names
    assert not [name for name in names if name.startswith("tests/")]


def test_a_session_trades_without_a_compiler(installed: Path, tmp_path: Path) -> None:
    """From the installed configuration, with the agents of the wheel."""
    config = installed / "share" / "cstd" / "config" / "practice.toml"
    checked = run(installed, tmp_path, "-m", "cstd", "config", "check", "-c", str(config))
    assert checked.returncode == 0, checked.stderr
    done = run(installed, tmp_path, "-m", "cstd", "session", "-c", str(config), "--root", str(tmp_path / ".run"), "--for", "8")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["checksums_ok"] > 0 and summary["checksums_bad"] == 0
    assert summary["orders"] > 0
    assert not list((tmp_path / "bin").iterdir())
