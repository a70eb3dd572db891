"""One fault in one session, from an empty directory to a verdict; and a campaign of kills over many sessions."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cstd.chaos.faults import READY_S, Fault, KillNine
from cstd.chaos.host import NotPossibleError
from cstd.chaos.judge import Finding, told
from cstd.chaos.session import STOP_S, NotReachedError, Session
from cstd.chaos.tally import DeadmanTrials, Table, add_session
from cstd.errors import CstdError

KILLS_A_SESSION = 10
AGREE_S = 60.0
TRADE_S = 60.0
PASSED, FAILED, NOT_RUN = "passed", "failed", "not-run"

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What became of one fault.

    Attributes:
        result: passed, failed or not-run. reason: why not, or how it was done. strikes: how many faults that were.
        ready_s: seconds from each start or end of a fault to *ready*. findings: what was not true.
        directory: of the session, kept when it failed, "" else.
    """

    fault: str
    seed: int
    result: str = NOT_RUN
    reason: str = ""
    strikes: int = 0
    orders: int = 0
    fills: int = 0
    records: int = 0
    seconds: float = 0.0
    ready_s: list[float] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    directory: str = ""

    def table(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "seconds": round(self.seconds, 1), "ready_s": [round(s, 2) for s in self.ready_s],
                "findings": [str(finding) for finding in self.findings]}


def play(fault: Fault, seed: int, say: Say, *, config: Path, instruments: int = 2, strikes: int = 1) -> Outcome:
    """Run a session of its own with at least so many strikes of a fault, and judge it.

    Whatever happens, an interruption included, its processes and what the fault took of the host are gone at the end. The
    directory stays when the session failed.
    """
    outcome = Outcome(fault.name, seed)
    began_s = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="cstd-chaos-"))
    session: Session | None = None
    try:
        fault.prepare(directory)
        session = Session(directory, fault.env, config=config, prefix=fault.prefix)
        session.daemon_env = fault.daemon_env
        session.start_exchange(seed % 2**31, "--instruments", str(instruments))
        _strike_all(fault, session, outcome, strikes, say)
        _judge(session, outcome)
        outcome.result = FAILED if outcome.findings else PASSED
        outcome.reason = told(outcome.findings) or fault.how
    except NotPossibleError as error:
        outcome.result, outcome.reason = NOT_RUN, str(error)
    except (CstdError, OSError, subprocess.SubprocessError, AssertionError, KeyError, ValueError) as error:
        outcome.result, outcome.reason = FAILED, f"{type(error).__name__}: {error}"
    finally:
        outcome.seconds = time.monotonic() - began_s
        _leave(fault, session, directory, keep=outcome.result == FAILED)
    outcome.directory = str(directory) if outcome.result == FAILED else ""
    return outcome


def _strike_all(fault: Fault, session: Session, outcome: Outcome, strikes: int, say: Say) -> None:
    """Strike, recover, agree, trade on; again until there were enough."""
    chance = random.Random(outcome.seed)
    outcome.ready_s.append(session.start_ready(READY_S))
    epoch = session.request("status")["boot_epoch"]
    while outcome.strikes < strikes:
        outcome.strikes += fault.strike(session, chance)
        began_s = time.monotonic()
        session.wait_state("ready", READY_S)
        outcome.ready_s.append(time.monotonic() - began_s)
        epoch = _later_epoch(session, epoch, started=isinstance(fault, KillNine))
        session.wait_agreement(AGREE_S)
        say(f"{fault.name}: {outcome.strikes}, at least {strikes} asked for, ready after {outcome.ready_s[-1]:.1f} s, agreed")
    fills = len(session.rows("fills"))
    session.wait(lambda: len(session.rows("fills")) > fills, TRADE_S, "no trading after the last fault")


def _later_epoch(session: Session, before: int, *, started: bool) -> int:
    """Return the epoch of this start: above all before it when there was one, else the same or above."""
    epoch = int(session.request("status")["boot_epoch"])
    if epoch < before + started:
        raise NotReachedError(f"the boot epoch is {epoch}, it was {before}: client order ids could come twice")
    return epoch


def _judge(session: Session, outcome: Outcome) -> None:
    """Pause, let orders end, and compare everything: what the daemon says, then what its journal alone says."""
    session.request("pause")
    session.wait(lambda: not session.request("orders"), READY_S, "orders stay open while paused")
    deadline_s = time.monotonic() + AGREE_S
    # Exits go on while paused: a moment at which nothing is under way settles it.
    while (found := session.judge_at_rest()) and time.monotonic() < deadline_s:
        pass
    outcome.findings += found
    unknown = [row["cl_ord_id"] for row in session.rows("orders") if row["state"] == "UNKNOWN"]
    if unknown:
        raise NotReachedError(f"orders are unknown at the end: {', '.join(unknown)}")
    code = session.terminate(STOP_S)
    if code:
        raise NotReachedError(f"the daemon stopped with exit code {code}\n{session.log_tail()}")
    truth = session.fresh_truth()
    view = session.journal_view()
    outcome.orders, outcome.fills, outcome.records = len(truth["orders"]), len(truth["fills"]), view.records
    outcome.findings += session.judge_view(view, truth)
    outcome.findings += session.judge_replay()
    if not truth["fills"]:
        raise NotReachedError("nothing was traded: nothing was shown")


def _leave(fault: Fault, session: Session | None, directory: Path, *, keep: bool) -> None:
    """Take everything away; with `keep` the session's files stay, the journal's ring among them."""
    if session is not None:
        session.close()
        if keep:
            session.keep_ring()
    fault.clean(keep=keep)
    if session is not None:
        session.remove_ring()
    journal = directory / "journal"
    if journal.is_mount():  # interrupted between the mount and its note
        subprocess.run(["umount", "-l", str(journal)], check=False, capture_output=True)  # noqa: S607 -- mount was found there
    if not keep:
        shutil.rmtree(directory, ignore_errors=True)


def kills(count: int, first_seed: int, tally: Table, say: Say, save: Callable[[], None], *, config: Path,
          instruments: int = 2) -> Outcome:
    """Kill until a tally has so many, KILLS_A_SESSION in a session; stops at the first session that failed."""
    total = Outcome(KillNine.name, first_seed, PASSED)
    seed = first_seed
    while tally["kills"] < count and not tally["failed"]:
        fault = KillNine()
        outcome = play(fault, seed, say, config=config, instruments=instruments,
                       strikes=min(KILLS_A_SESSION, count - tally["kills"]))
        add_session(tally, seed=seed, kills=outcome.strikes, orders=outcome.orders, fills=outcome.fills,
                    records=outcome.records, ready_s_max=max(outcome.ready_s, default=0.0), moments=fault.moments,
                    findings=outcome.findings, deadman=fault.deadman,
                    not_reached="" if outcome.result == PASSED or outcome.findings else outcome.reason)
        save()
        _add(total, outcome)
        say(f"kill9: {tally['kills']} of {count} kills in {tally['sessions']} sessions, {tally['orders']} orders, "
            f"{tally['fills']} fills, {sum(tally['found'].values())} differences")
        seed += 1
    say(f"kill9: {DeadmanTrials(**tally['deadman'])}")
    if tally["failed"] and total.result == PASSED:
        total.result, total.reason = FAILED, f"the tally holds sessions that failed: seeds {tally['failed']}"
    elif total.result == PASSED and not total.strikes:
        total.reason = f"the tally had {tally['kills']} kills already"
    return total


def _add(total: Outcome, outcome: Outcome) -> None:
    total.strikes += outcome.strikes
    total.orders += outcome.orders
    total.fills += outcome.fills
    total.records += outcome.records
    total.seconds += outcome.seconds
    total.ready_s += outcome.ready_s
    total.findings += outcome.findings
    if outcome.result != PASSED:
        total.seed, total.result, total.reason, total.directory = outcome.seed, outcome.result, outcome.reason, outcome.directory
