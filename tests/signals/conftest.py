"""What tests of `cstd replay --rescore` share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cstd.research import replay


@pytest.fixture
def own(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file's session, `made`, in a folder that a test may change; its replays load no agents, as it had none."""
    monkeypatch.setattr(replay, "load_agents", lambda: None)
    shutil.copytree(made, tmp_path / "own", symlinks=True)
    return tmp_path / "own"
