"""The flight recorder beside a trading daemon: a bundle of each halt, kill and crash, and trading that does not need one."""

from __future__ import annotations

import json
import re
import resource
import stat
from pathlib import Path
from typing import Any

import pytest

from cstd.clock import utc_parse
from cstd.daemon import flight_folder
from cstd.daemon.flight_folder import Bundle
from cstd.daemon.process import PROJECTOR_AFTER_S
from cstd.units import NS_PER_S
from tests.integration.session import Session, cstd, practice_session
from tests.integration.test_checkpoints import logged
from tests.journals import content

FIRST_BYTES = 1_500_000  # of the journal before a test strikes


def counted(session: Session) -> dict[str, float]:
    """What the status port says of bundles, by metric."""
    return {name: value for name, value in session.metrics().items() if name.startswith("cstd_flight")}


def bundle_of(session: Session, kind: str) -> tuple[Bundle, dict[str, Any]]:
    """Wait for the one bundle of a kind, its replay included, and return it with its manifest."""
    def found() -> list[Bundle]:
        return [bundle for bundle in flight_folder.bundles(session.run_dir / "flight")
                if bundle.kind == kind and bundle.manifest().get("check")]

    session.wait(found, 60, f"no bundle of the {kind}")
    (bundle,) = found()
    return bundle, bundle.manifest()


def proven(session: Session, bundle: Bundle) -> dict[str, Any]:
    """Replay and verify a bundle as an operator does; returns what the replay says."""
    checked = cstd(session, "replay", str(bundle.path), "--check", timeout_s=90)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    verified = cstd(session, "journal", "verify", str(bundle.path / "journal"), "-o", "json")
    assert verified.returncode == 0, verified.stderr
    row = json.loads(checked.stdout)
    assert row["differences"] == bundle.manifest()["check"]["differences"] == 0
    return dict(row)


def assert_no_secret(session: Session, bundle: Bundle) -> None:
    """Neither the venue's key nor a token is in any file, and nobody but the owner may read one."""
    told = json.loads((session.run_dir / "practice.json").read_bytes())
    for file in bundle.path.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file
        if file.is_file():
            raw = content(file)
            assert told["api_key"].encode() not in raw and told["api_secret"].encode() not in raw, file
            assert not re.search(rb'"token": ?"[^"]', raw), file


@pytest.mark.slow
def test_a_halt_of_a_journal_that_cannot_be_written_leaves_a_bundle_with_what_only_memory_had(tmp_path: Path) -> None:
    """The frames behind the last one on disk are in it; it replays, verifies, and its place is in the log and in a metric."""
    with practice_session(tmp_path) as session:
        session.start_ready()
        session.wait(lambda: session.request("status")["journal"]["bytes"] > FIRST_BYTES, 60, "the journal does not grow")
        pid = session.running_daemon().pid
        planted = json.loads((tmp_path / "practice.json").read_bytes())["api_secret"]
        with (tmp_path / "daemon.log").open("a") as log:
            log.write(f"Traceback of a library that says {planted}\n")
        # A file may grow no further: for the journal's writer a full disk, while small files can still be written.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FIRST_BYTES, resource.RLIM_INFINITY))
        session.wait_state("halted", 30)
        bundle, manifest = bundle_of(session, "halt")
        assert manifest["reason"].startswith("journal: errno 27"), manifest
        assert manifest["journal"]["ring_records"] > 0
        proven(session, bundle)
        assert_no_secret(session, bundle)
        told = (bundle.path / "log.jsonl").read_text()
        assert "Traceback of a library that says [redacted]" in told and '"state":"halted"' in told
        assert "cstd_journal_error" in (bundle.path / "metrics.prom").read_text()
        status = json.loads((bundle.path / "board.json").read_bytes())["status"]
        assert status["pid"] == pid and status["config_hash"] == manifest["config_hash"]
        session.wait(lambda: logged(session, "flight bundle"), 20, "no line in the log")
        assert logged(session, "flight bundle")[0]["path"] == str(bundle.path)
        session.wait(lambda: counted(session) == {"cstd_flight_bundles_total": 1, "cstd_flight_failures_total": 0}, 30,
                     "not in the metrics")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.slow
@pytest.mark.timeout(800)
def test_a_kill_and_then_a_crash_leave_a_bundle_each(tmp_path: Path) -> None:
    """`cstd kill` makes one at once; after kill -9 the next start makes one that ends where the dead run's journal ended."""
    with practice_session(tmp_path, None, "--rate", "200") as session:
        session.start_ready()
        session.wait(lambda: session.request("fills", {"all": True, "limit": 5}), 30, "no fill came")
        session.request("kill", {"reason": "a drill"})
        bundle, manifest = bundle_of(session, "kill")
        assert manifest["reason"] == "a drill" and manifest["missing"] == []
        assert proven(session, bundle)["fills"] > 0
        assert_no_secret(session, bundle)
        (tmp_path / "flight").rename(tmp_path / "flight-of-the-kill")  # else the next one waits for its minute

        dead = session.running_daemon().pid
        session.kill_nine()
        session.start()
        bundle, manifest = bundle_of(session, "crash")
        row = proven(session, bundle)
        assert json.loads((bundle.path / "board.json").read_bytes())["status"]["pid"] == dead
        assert not (tmp_path / "board.left").exists() and not (tmp_path / "journal" / "head.sig.left").exists()
        recovering = logged(session, "recovering")[-1]
        assert manifest["journal"]["last_seq"] == recovering["records"]
        assert row["fills"] > 0
        assert_no_secret(session, bundle)
        listed = cstd(session, "flight", "list", "--run-dir", str(tmp_path), "-o", "json")
        assert [row["bundle"] for row in json.loads(listed.stdout)] == [bundle.path.name]
        saved = cstd(session, "flight", "save", "--run-dir", str(tmp_path), "--reason", "beside a daemon", "-o", "json",
                     timeout_s=90)
        assert saved.returncode == 0, saved.stderr
        assert json.loads(saved.stdout)["missing"] == []
        assert session.terminate() == 0
        session.start()
        session.wait_state("killed", 60)
        assert session.terminate() == 0, "a latch that a start finds again, and a clean stop, are nothing new"
        assert [found.kind for found in flight_folder.bundles(tmp_path / "flight")] == ["crash", "hand"]


@pytest.mark.slow
def test_a_crash_is_not_forgotten_when_the_next_start_is_stopped_at_once(tmp_path: Path) -> None:
    """Before it was ready, or ten seconds had passed: after a clean stop no start would ask for it any more."""
    with practice_session(tmp_path) as session:
        session.start_ready()
        session.kill_nine()
        assert session.exchange is not None
        session.exchange.kill()  # so that the next start does not become ready
        session.exchange.wait(5)
        session.start()
        session.wait(session.state, 60, "it does not answer")
        assert session.terminate() == 0
        # A busy host leaves the maker, which has idle priority, no five seconds: then the log says that there is none.
        (row,) = [*logged(session, "flight bundle"), *logged(session, "no flight bundle")]
        assert row.get("kind") == "crash" or row["reasons"] == ["crash: the run before ended without a stop"]


@pytest.mark.slow
def test_a_daemon_that_can_write_no_bundle_says_so_and_trades_on(tmp_path: Path) -> None:
    """A file where the folder should be: one error in the log with the reason, one failure counted, fills go on."""
    with practice_session(tmp_path) as session:
        session.start_ready()
        session.kill_nine()
        (tmp_path / "flight").write_text("in the way")
        session.start_ready()
        session.wait(lambda: logged(session, "no flight bundle"), 60, "it says nothing")
        (row,) = logged(session, "no flight bundle")
        assert str(tmp_path / "flight") in str(row["error"]) and "Traceback" not in str(row["error"])
        ready = [state for state in logged(session, "state") if state["state"] == "ready"][-1]
        begun = logged(session, "recovering")[-1]
        began_ns, ready_ns, told_ns = (utc_parse(str(line["time"])) for line in (begun, ready, row))
        # A start that takes longer than that has asked for it before.
        assert told_ns > ready_ns or ready_ns - began_ns > PROJECTOR_AFTER_S * NS_PER_S, "the start waited for it"
        fills = len(session.rows("fills"))
        session.wait(lambda: len(session.rows("fills")) > fills, 30, "no fill after it")
        assert session.state() == "ready"
        session.wait(lambda: counted(session)["cstd_flight_failures_total"] == 1, 30, "not in the metrics")
        assert session.terminate() == 0
        assert (tmp_path / "flight").read_text() == "in the way"
