"""Approvals: openings above a configured value wait for an operator; docs/approve.md.

What waits is in the compiled core, which alone enters it and takes it up again; here are the operator's answers, expiry, what
drops all of it, and the word on how each ended, in the journal and in the log. Everything follows from journaled events.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from cstd._fast.codes import ApprovalDrop, ApprovalState, EventKind, TradingState
from cstd._fast.gates import EscalationLevel
from cstd.config import Config
from cstd.decision.why import gate_name
from cstd.ledger.nav import MONEY_PRECISION
from cstd.units import format_raw, seconds_to_ns, to_raw

if TYPE_CHECKING:
    from cstd.orders.tracker import OrderTracker

ENDED_KEPT = 64  # of which it can be said how they ended
OFF = -1
DROP_WORDS = {int(drop): drop.name[5:].lower() for drop in ApprovalDrop if drop}
# What becomes of an opening that waits, as screens, metrics and the journal say it.
STATE_WORDS = {
    int(ApprovalState.APPROVAL_WAITS): "waits", int(ApprovalState.APPROVAL_GIVEN): "approved",
    int(ApprovalState.APPROVAL_SENT): "sent", int(ApprovalState.APPROVAL_REFUSED): "refused",
    int(ApprovalState.APPROVAL_DECLINED): "declined", int(ApprovalState.APPROVAL_EXPIRED): "expired",
    int(ApprovalState.APPROVAL_DROPPED): "dropped", int(ApprovalState.APPROVAL_NO_ROOM): "no_room",
}
# By which they are counted: entered, then what the operator or the time made of them.
COUNT_WORDS = STATE_WORDS | {int(ApprovalState.APPROVAL_WAITS): "asked"}
_DROPPING = {TradingState.TRADING_PAUSED: ApprovalDrop.DROP_PAUSE, TradingState.TRADING_HALTED: ApprovalDrop.DROP_HALT,
             TradingState.TRADING_PARITY_HALT: ApprovalDrop.DROP_HALT}


def above_raw(cfg: Config) -> int:
    """Return the value above which an opening waits, in 10^-8 of the account currency; OFF where none does."""
    return to_raw(Decimal(cfg.approve.above), MONEY_PRECISION) if cfg.approve.above else OFF


class Approvals:
    """Operators' answers to openings that wait. One writer: the engine.

    Attributes:
        ended: how the newest ones ended, by the number of their intent, the oldest first.
    """

    def __init__(self, tracker: OrderTracker) -> None:
        self._tracker = tracker
        self._told: set[int] = set()  # that wait, and the log says so
        self.ended: deque[dict[str, Any]] = deque(maxlen=ENDED_KEPT)

    def configure(self, cfg: Config) -> None:
        """Take the keys of a boot. What waited for the process before it is not sent by this one."""
        self.drop(ApprovalDrop.DROP_START)
        self._tracker.core.set_approvals(above_raw(cfg), seconds_to_ns(cfg.approve.expires_s))

    def on_timer(self, *, killed: bool, level: int) -> None:
        """End what may not be sent any more, and say how what waited has ended."""
        core = self._tracker.core
        if core.waiting_live():
            core.expire_waiting()
            drop = (ApprovalDrop.DROP_KILL if killed else _DROPPING.get(TradingState(core.trading_state))
                    or (ApprovalDrop.DROP_LEVEL if level >= EscalationLevel.LEVEL_CRITICAL else None))
            if drop is not None:
                core.drop_waiting(drop)
            self._tell_new()
        self._tell_ended()

    def drop(self, why: ApprovalDrop) -> None:
        """Nothing that waits is sent any more."""
        self._tracker.core.drop_waiting(why)
        self._tell_ended()

    def on_command(self, command: dict[str, Any]) -> dict[str, Any]:
        """Take an operator's answer; returns what to tell its sender."""
        self._tell_ended()
        core, approved = self._tracker.core, command["verb"] == "approve"
        asked = str(command["args"].get("id", ""))
        row = next((row for row in core.waiting_rows() if str(row["intent_seq"]) == asked), None)
        if row is None or not core.answer_waiting(row["intent_seq"], approved):
            return {"error": "operator", "message": self._why_not(asked, row), "retryable": False,
                    "suggestion": "`cstd approve --list` shows what waits"}
        answer = "approved" if approved else "declined"
        self._note("info", answer, row, uid=command.get("uid"), reason=command["args"].get("reason") or "")
        self._tell_ended()
        return {"id": row["intent_seq"], "answer": answer, "instrument": self._name(row)}

    def _why_not(self, asked: str, row: dict[str, int] | None) -> str:
        if row is not None:
            approved = row["state"] == ApprovalState.APPROVAL_GIVEN
            return f"opening {asked} is approved already" if approved else f"opening {asked} has expired"
        end = next((end for end in reversed(self.ended) if str(end["id"]) == asked), None)
        if end is None:
            return f"no opening {asked[:24]!r} waits for an operator"
        return f"opening {asked} waits no more: {end['ended']}" + (f" ({end['why']})" if end["why"] else "")

    def _tell_new(self) -> None:
        rows = self._tracker.core.waiting_rows()
        for row in rows:
            if row["intent_seq"] not in self._told:
                self._note("warning", "waits for an operator", row)
        self._told = {row["intent_seq"] for row in rows}

    def _tell_ended(self) -> None:
        core = self._tracker.core
        for row in core.take_ended():
            self._told.discard(row["intent_seq"])
            end = {"id": row["intent_seq"], "ended": STATE_WORDS[row["state"]], "why": _why(row), "judged": row["judged_seq"]}
            self.ended.append(end)
            core.recorder.output_py(EventKind.OUT_APPROVAL, row["instrument"], core.mono_ns, core.wall_ns,
                                    msgspec.json.encode({**end, "instrument": self._name(row)}))
            if row["state"] != ApprovalState.APPROVAL_DECLINED:  # of which the log knows already who did it
                level = "info" if row["state"] == ApprovalState.APPROVAL_SENT else "warning"
                self._note(level, STATE_WORDS[row["state"]], row, why=end["why"])

    def _note(self, level: str, what: str, row: dict[str, int], **fields: Any) -> None:
        self._tracker.notes.append((level, f"approval: {what}", {
            "id": row["intent_seq"], "instrument": self._name(row),
            "notional": format_raw(row["notional_acct_raw"], MONEY_PRECISION), **fields}))

    def _name(self, row: dict[str, int]) -> str:
        return self._tracker.core.slots[row["instrument"]].name.decode()


def _why(row: dict[str, int]) -> str | None:
    """Return what dropped or refused one that has ended, None for what needs no reason."""
    if row["state"] == ApprovalState.APPROVAL_DROPPED:
        return DROP_WORDS[row["why"]]
    if row["state"] == ApprovalState.APPROVAL_REFUSED:
        return gate_name(row["why"]) or "not sent"
    return None
