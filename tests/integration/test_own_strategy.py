"""The strategy of the guide, from its page to a session: built, run by the daemon, replayed, backed up, changed, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.integration.session import REPOSITORY, Session, cstd, practice_session
from tests.strategies import guide

GUIDE = REPOSITORY / "docs" / "strategies.md"
# So that it trades within seconds whatever the agents say: any vote will do, and it holds for two seconds.
EAGER = "params = { size_ppm = 1000, lean_ppm = -1000000, retry_s = 1, lifetime_s = 5, hold_s_max = 2 }\n"


def own_file(folder: Path) -> Path:
    """The configuration file of the guide, with the folder's place and eager parameters."""
    text = GUIDE.read_text().split("```toml\n")[1].split("```")[0]
    assert 'dir = "mine/agreed"' in text
    path = folder / "own.toml"
    path.write_text(text.replace("mine/agreed", str(folder / "built")).split("params")[0] + EAGER)
    return path


@pytest.mark.timeout(1100)
def test_the_guides_strategy_trades_and_is_replayed_with_its_own_code(tmp_path: Path) -> None:
    """Built, named, run: orders and fills of its own; the journal replays, from a backup too, and not without its code."""
    run, mine = tmp_path / "run", tmp_path / "mine"
    run.mkdir()
    mine.mkdir()
    (mine / "agreed.py").write_text(guide("strategies.md"))
    with practice_session(run) as session:
        words = ("--source", str(mine / "agreed.py"), "--out", str(mine / "built"))
        built = cstd(session, "strategy", "build", *words, timeout_s=120)
        assert built.returncode == 0, built.stderr
        assert built.stdout.splitlines()[0] in GUIDE.read_text()
        sha256 = json.loads((mine / "built" / "strategy.json").read_text())["so_sha256"]
        assert built.stdout.splitlines()[1] == f"sha256 {sha256}"
        session.start("-c", str(own_file(mine)))
        session.wait_state("ready", 60)
        assert session.request("status")["strategy"] == "agreed"
        session.wait(lambda: len(session.rows("fills")) >= 2, 90, "no fills")
        shutil.rmtree(mine / "built")  # what runs is kept beside the journal
        assert session.terminate() == 0
        assert (session.run_dir / "code" / f"{sha256}.so").is_file()
        assert_replays(session, session.run_dir)
        rebuilt = cstd(session, "db", "rebuild", str(session.run_dir), timeout_s=60)
        assert rebuilt.returncode == 0, rebuilt.stderr

        target = tmp_path / "elsewhere"
        saved = cstd(session, "backup", str(target), "--run-dir", str(session.run_dir), timeout_s=60)
        assert saved.returncode == 0, saved.stderr
        brought = cstd(session, "restore", str(target), "--run-dir", str(tmp_path / "other"), timeout_s=60)
        assert brought.returncode == 0, brought.stderr
        assert_replays(session, tmp_path / "other")
        bundle = cstd(session, "flight", "save", "--run-dir", str(session.run_dir), "-o", "json", timeout_s=60)
        assert bundle.returncode == 0, bundle.stderr
        assert_replays(session, Path(json.loads(bundle.stdout)["path"]))

        (session.run_dir / "code" / f"{sha256}.so").unlink()
        session.start()  # with the built-in strategy: what the journal names is wanted all the same
        assert session.daemon is not None and session.daemon.wait(60) == 3
        assert sha256[:16] in session.log_tail() and "Traceback" not in session.log_tail()
        (tmp_path / "other" / "code" / f"{sha256}.so").unlink()
        refused = cstd(session, "replay", str(tmp_path / "other"), "--check", timeout_s=60)
        assert refused.returncode == 3
        assert sha256[:16] in refused.stderr and "Traceback" not in refused.stderr


def assert_replays(session: Session, place: Path) -> None:
    """`cstd replay --check` finds no difference, and fills are in it."""
    done = cstd(session, "replay", str(place), "--check", timeout_s=90)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["differences"] == 0 and row["fills"] >= 2, row
