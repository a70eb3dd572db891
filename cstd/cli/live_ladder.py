"""Ladder: the daemon of `cstd live-check`, and the operator's commands that take one order through place, amend and cancel.

The amend is what a tightened limit makes of a resting order, the cancel what a pause does, and the second order is the kill
switch's, whose proof is the venue's own list. Each rung is believed when the venue's report has come, and timed from the command.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from cstd.child import end_with_parent
from cstd.cli.host_checks import OK, PROBLEM, WARNING, Check
from cstd.errors import EXIT_OK, CstdError, OperatorError
from cstd.ops.client import AdminClient
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import NS_PER_MS, NS_PER_S

READY_S, PLACED_S, RUNG_S, PROVEN_S, STOP_S, REPLAY_S = 90.0, 20.0, 15.0, 60.0, 30.0, 120.0
POLL_S = 0.02
LIMIT = "risk.position_bps_max"
LOG_LINES = 12

Row = dict[str, Any]


@dataclass(slots=True)
class Rungs:
    """How long each rung took, in ms as the operator saw it; None for one that was not reached."""

    ready_ms: float | None = None
    placed_ms: float | None = None
    amended_ms: float | None = None
    canceled_ms: float | None = None
    kill_proven_ms: float | None = None
    fills: int | None = None


class Ladder:
    """One daemon in a run directory of its own.

    Args:
        files: its configuration, the overlay last. run_dir: its own. environ: its environment.
        amended_bps: what `risk.position_bps_max` is tightened to. rungs: filled in.

    Attributes:
        found: the checks so far.
    """

    def __init__(self, files: list[str], run_dir: Path, environ: Mapping[str, str], amended_bps: int, rungs: Rungs) -> None:
        self.found: list[Check] = []
        self._run_dir = run_dir
        self._amended_bps = amended_bps
        self._rungs = rungs
        words = [word for name in files for word in ("-c", name)]
        with (run_dir / "daemon.log").open("ab") as log:
            self._daemon = subprocess.Popen([sys.executable, "-m", "cstd", "run", *words, "--run-dir", str(run_dir)],
                                            env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                            start_new_session=True,
                                            preexec_fn=partial(end_with_parent, signal.SIGTERM))  # noqa: PLW1509 -- no threads run here

    def climb(self) -> Iterator[Check]:
        """Yield each rung's check, in order.

        Raises:
            CstdError: a rung was not reached; `found` has those before it.
        """
        for rung in (self._start, self._place, self._amend, self._cancel, self._kill, self._end, self._replay):
            check = rung()
            self.found.append(check)
            yield check

    def stop(self) -> None:
        """End the daemon as an operator would; it pulls what rests first. Killed only where it does not end."""
        if self._daemon.poll() is None:
            self._daemon.terminate()
            try:
                self._daemon.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()

    # Rungs.

    def _start(self) -> Check:
        took_s = self._wait(lambda: self._status().get("ready"), READY_S,
                            lambda: f"not ready: {self._status().get('state_reason')}")
        self._rungs.ready_ms = took_s * 1e3
        return Check("ready", OK, f"ready after {took_s:.1f} s", "books verified, account and orders agree with the venue")

    def _place(self) -> Check:
        took_s = self._wait(self._resting, PLACED_S, self._why_not)
        order = self._resting()
        assert order is not None
        self._rungs.placed_ms = took_s * 1e3
        return Check("place", OK, f"{_words(order)}, open at the venue as {order['order_id']}", "through all fifteen gates")

    def _amend(self) -> Check:
        before = self._resting()
        if before is None:
            raise OperatorError("the order was gone before it could be amended", suggestion="did the market reach it? Try again")
        held = next(row for row in self._ask("limits") if row["key"] == LIMIT and row["instrument"] is None)
        if self._amended_bps < 1:
            return Check("amend", WARNING, f"{LIMIT} is {held['configured']} and cannot be tightened", "not tried",
                         "nothing: a limit this tight leaves no room")
        began_s = time.monotonic()
        self._ask("limits_set", {"key": LIMIT, "value": str(self._amended_bps), "reason": "live-check"})
        self._wait(lambda: self._smaller(before), RUNG_S, lambda: f"still {_words(self._order(before))}")
        took_s = time.monotonic() - began_s
        self._rungs.amended_ms = took_s * 1e3
        self._ask("limits_reset", {"key": LIMIT, "reason": "live-check"})
        return Check("amend", OK, f"from {before['order_qty']} to {self._order(before)['order_qty']} after {took_s * 1e3:.0f} ms",
                     "a tightened limit reaches what rests")

    def _cancel(self) -> Check:
        before = self._resting()
        if before is None:
            raise OperatorError("the order was gone before it could be canceled", suggestion="did the market reach it? Try again")
        began_s = time.monotonic()
        self._ask("pause", {"reason": "live-check"})
        self._wait(lambda: self._order(before)["status"] == "canceled", RUNG_S, lambda: f"still {_words(self._order(before))}")
        took_s = time.monotonic() - began_s
        self._rungs.canceled_ms = took_s * 1e3
        return Check("cancel", OK, f"canceled at the venue after {took_s * 1e3:.0f} ms", "a pause takes openings off the book")

    def _kill(self) -> Check:
        self._ask("resume", {"reason": "live-check"})
        self._wait(self._resting, PLACED_S, self._why_not)
        self._ask("kill", {"reason": "live-check"})
        self._wait(lambda: self._status().get("kill_shown_empty_ns") is not None, PROVEN_S,
                   lambda: "the venue did not show that nothing of ours is open")
        proven_ns = int(self._status()["kill_shown_empty_ns"])
        self._rungs.kill_proven_ms = proven_ns / NS_PER_MS
        return Check("kill", OK, f"the venue's list had nothing of ours {proven_ns / NS_PER_S:.2f} s after the kill",
                     "a second order was open when it came")

    def _end(self) -> Check:
        fills = self._ask("fills")
        self._rungs.fills = len(fills)
        held = [row for row in self._ask("positions") if not row["dust"] and Decimal(row["qty"]) > 0]
        self.stop()
        if self._daemon.returncode != EXIT_OK:
            return Check("stop", PROBLEM, f"the daemon ended with {self._daemon.returncode}: {self._last_words()}",
                         "the dead man's switch clears what rests", "see the log; report it")
        if held:
            return Check("stop", WARNING, f"bought and not sold again: {held[0]['qty']} {held[0]['asset']}",
                         "the market came down to the order; these coins are yours now", "sell them, or keep them")
        return Check("stop", OK, f"exit 0; {len(fills)} fills", "nothing of ours is left at the venue")

    def _replay(self) -> Check:
        try:
            done = subprocess.run([sys.executable, "-m", "cstd", "replay", str(self._run_dir / JOURNAL_DIR), "--check"],
                                  capture_output=True, text=True, timeout=REPLAY_S, check=False)
        except subprocess.TimeoutExpired:
            return Check("replay", PROBLEM, f"not done within {REPLAY_S:g} s",
                         "whether its decisions can be computed again is not known",
                         f"`cstd replay {self._run_dir / JOURNAL_DIR} --check` without this limit")
        if done.returncode != EXIT_OK:
            return Check("replay", PROBLEM, done.stderr.strip()[-300:] or f"exit {done.returncode}",
                         "what was decided cannot be computed again", "keep the folder; report it")
        return Check("replay", OK, "every decision and order of it, computed again from its journal: the same", "0 differences")

    # What the daemon says.

    def _ask(self, verb: str, args: Mapping[str, object] | None = None) -> Any:
        with AdminClient(self._run_dir / "cstd.sock") as client:
            return client.rows(verb, {"all": True}) if verb in ("orders", "fills") else client.request(verb, args)

    def _status(self) -> Row:
        with contextlib.suppress(OperatorError):
            status: Row = self._ask("status")
            return status
        return {}

    def _resting(self) -> Row | None:
        """The opening that the venue has confirmed, with its id there."""
        return next((row for row in self._ask("orders") if row["kind"] == "opening" and row["state"] == "new"
                     and row["order_id"]), None)

    def _order(self, like: Row) -> Row:
        found: Row = next(row for row in self._ask("orders") if row["cl_ord_id"] == like["cl_ord_id"])
        return found

    def _smaller(self, before: Row) -> bool:
        return Decimal(self._order(before)["order_qty"]) < Decimal(before["order_qty"])

    def _why_not(self) -> str:
        """Why no order is open: the last decision's gate, or what became of the last order."""
        with contextlib.suppress(CstdError, IndexError, KeyError, TypeError):
            decision = self._ask("why", {"last": True})
            if decision.get("verdict") == "refuse":
                return f"gate {decision['first_failing']} refused the order; `cstd limits` has its limit"
            return f"no order is open; the last one: {_words(self._ask('orders')[0])}"
        return "no order was made"

    def _wait(self, condition: Callable[[], object], timeout_s: float, otherwise: Callable[[], str]) -> float:
        """Wait for a condition; returns the seconds it took.

        Raises:
            OperatorError: it did not come, or the daemon ended.
        """
        began_s = time.monotonic()
        while not condition():
            if self._daemon.poll() is not None:
                raise OperatorError(f"the daemon ended with {self._daemon.returncode}: {self._last_words()}")
            if time.monotonic() - began_s > timeout_s:
                raise OperatorError(f"{otherwise()} (waited {timeout_s:g} s)")
            time.sleep(POLL_S)
        return time.monotonic() - began_s

    def _last_words(self) -> str:
        lines = (self._run_dir / "daemon.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line for line in lines[-LOG_LINES:] if not line.startswith("{"))[-600:] or "see its log"


def _words(order: Row) -> str:
    return f"{order['side']} {order['order_qty']} {order['symbol']} at {order['limit_price']} ({order['status']})"
