"""Maintenance of the venue: what it has announced, what its state word forbids, and the way back, without an operator.

Ahead of an announced window, and while the venue does not match, no opening passes the data gate, so the next pass pulls
those that rest. Exits wait where they could not match. The dead man's switch is off while nothing of ours is open or held:
left on it would fire when the engine returns, at whatever the account's owner has open. A cancel that the venue refuses for
its state is sent again once a second, not with every pass. When matching is back the account is looked up, and the rest
follows from the readiness conditions.

An announcement that tells no time counts from now on: the field is not documented, so what cannot be read closes.

A venue in maintenance also closes its sockets. Its last word holds while none is up, and is asked for by REST, so that exits
neither leave for a venue that can only refuse them nor wait for a socket once it matches. A word of a socket is told once: when
it has stood for half a minute REST is asked as well, and a connection that was not told of the end is given up for a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cstd.clock import utc_text
from cstd.venue.messages import Window
from cstd.venue.rest.lane import Outcome, RestResult
from cstd.venue.rest.request import system_status

if TYPE_CHECKING:
    from cstd.engine.flow import Engine

NS_PER_S = 1_000_000_000
# Openings live for seconds and a cancel takes milliseconds; a minute also covers what clocks may differ.
AHEAD_NS = 60 * NS_PER_S
CANCEL_AGAIN_NS = NS_PER_S
ASK_AGAIN_NS = 5 * NS_PER_S
STALE_WORD_NS = 30 * NS_PER_S
# One reply may be ahead of the sockets' own word.
ONLINE_REPLIES = 2
UNKNOWN = "unknown"
# States in which an immediate order cannot match.
NOT_MATCHING = ("maintenance", "cancel_only", "post_only")


class Maintenance:
    """One writer: the engine.

    Attributes:
        reason: why openings wait although the venue is online, in words; "" when no announcement holds them.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._system = UNKNOWN
        self._turned = False
        self._tried_again_ns = 0
        self._asked_ns = 0
        self._taken_ns = 0
        self._online_replies = 0  # in a row, while a socket's word closes the venue
        self._request_id: int | None = None

    def on_timer(self, engine: Engine, mono_ns: int, wall_ns: int) -> bool:
        """Follow the venue's words; returns whether `reason` changed."""
        before, self.reason = self.reason, _reason(engine.public.announced, wall_ns)
        turned, self._turned = self._turned, False
        self._ask(engine, mono_ns)
        self._cancel_again(engine, mono_ns, at_once=turned)
        self._keep_deadman(engine, mono_ns, resting=bool(self.reason) or engine.risk.venue_closed)
        if self.reason != before:
            engine.tracker.notes.append(("warning" if self.reason else "info", "announced maintenance", {"reason": self.reason}))
        return self.reason != before

    def on_word(self, engine: Engine) -> None:
        """Take the venue's word as soon as a socket has one; what the gates read follows at once."""
        word = _word(engine)
        if word != UNKNOWN:
            self._take(engine, word)

    def on_result(self, engine: Engine, done: RestResult) -> bool:
        """Take the end of a request; False when it is not ours."""
        if self._request_id is None or done.request_id != self._request_id:
            return False
        self._request_id = None
        word = done.result.get("status") if isinstance(done.result, dict) else None
        if done.outcome is not Outcome.DONE or not isinstance(word, str) or not word:
            return True
        if _word(engine) == UNKNOWN:
            self._take(engine, word)
        else:
            # A socket may have come meanwhile: its word is the fresher one, until it is known not to have been told.
            self._online_replies = self._online_replies + 1 if word == "online" and self._system in NOT_MATCHING else 0
            if self._online_replies >= ONLINE_REPLIES:
                self._give_up(engine)
        return True

    def _give_up(self, engine: Engine) -> None:
        """Close the connections that were not told that the venue is online again: a new one is told its state at once."""
        self._online_replies = 0
        for machine in (engine.public, engine.private):
            if machine.up and machine.system in NOT_MATCHING:
                machine.want_close = f"the venue is online and this connection still says {machine.system}"

    def _take(self, engine: Engine, word: str) -> None:
        if word == self._system:
            return
        if self._system in NOT_MATCHING and word == "online":
            engine.tracker.want_reconcile = True
        self._system, self._turned, self._taken_ns = word, True, engine.core.mono_ns
        engine.risk.venue_closed = word in NOT_MATCHING
        engine.risk.write()

    def _ask(self, engine: Engine, mono_ns: int) -> None:
        """Ask by REST while the last word closed the venue and no socket has another, or has had it for long."""
        due = self._request_id is None and mono_ns - self._asked_ns >= ASK_AGAIN_NS
        alone = _word(engine) == UNKNOWN or mono_ns - self._taken_ns >= STALE_WORD_NS
        if due and self._system in NOT_MATCHING and alone:
            self._asked_ns = mono_ns
            self._request_id = engine.lane.submit(system_status(), mono_ns)

    def _cancel_again(self, engine: Engine, mono_ns: int, *, at_once: bool) -> None:
        refused = engine.tracker.cancels_refused
        if not refused or not (at_once or mono_ns - self._tried_again_ns >= CANCEL_AGAIN_NS):
            return
        self._tried_again_ns = mono_ns
        for cl_ord_id in refused:
            index = engine.core.find_order(cl_ord_id.encode())
            if index >= 0:
                engine.core.retry_cancel(index)
        refused.clear()

    def _keep_deadman(self, engine: Engine, mono_ns: int, *, resting: bool) -> None:
        """Switch it off with nothing of ours open or held, and on again with the first that is, or when all is over.

        What the account shows has to be known first: an order that the journal's lost tail had sent rests unknown to us.
        """
        wanted_s = engine.private.deadman.timeout_s
        if wanted_s is None or engine.stopping or engine.cfg is None:
            return
        known = engine.reconciler.done_count > 0
        off = resting and known and not engine.core.live_orders() and not engine.ledger.held()
        if off and wanted_s:
            engine.private.disarm(mono_ns)
        elif not off and not wanted_s:
            engine.private.arm(engine.cfg.venue.deadman_timeout_s, mono_ns)


def _word(engine: Engine) -> str:
    """What a socket that is up has said of the venue."""
    words = (machine.system for machine in (engine.public, engine.private) if machine.up and machine.system != UNKNOWN)
    return next(words, UNKNOWN)


def _reason(windows: Iterable[Window], wall_ns: int) -> str:
    """Why openings wait for what was announced, "" when they need not."""
    for window in windows:
        if window.ends_ns is not None and wall_ns >= window.ends_ns:
            continue
        if window.begins_ns is None:
            return "maintenance is announced, without a time that can be read"
        if wall_ns >= window.begins_ns - AHEAD_NS:
            return f"maintenance is announced from {utc_text(window.begins_ns)}"
    return ""
