"""LiveView: what the engine knows, in the shapes that control and sight read (cstd.ops.view.EngineView).

Every method is cheap and returns plain values; nothing here changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from cstd import __version__
from cstd._fast.codes import BookFault, BookState, IntentKind, OrderState, Side, TimeInForce
from cstd._fast.gates import DECISION_DTYPE
from cstd._fast.hist import STAGES, bucket_edges_ns
from cstd._fast.slot import InstrumentSlot
from cstd.config import Config
from cstd.daemon import models
from cstd.daemon.approval_rows import approval_rows, where
from cstd.daemon.clusters import ClustersView
from cstd.daemon.futures_rows import futures_counters, reference_row, references_seen
from cstd.daemon.opportunities import OpportunitiesView
from cstd.decision.refused import tally
from cstd.decision.why import GATES, explain
from cstd.engine import Engine
from cstd.ledger.nav import MONEY_PRECISION
from cstd.ledger.positions import Fill
from cstd.market.audit import INCONCLUSIVE
from cstd.market.evidence import ENDS
from cstd.ops import view as shapes
from cstd.ops.cluster_shapes import Clusters
from cstd.ops.opportunity_shapes import Opportunity
from cstd.ops.view_models import Models
from cstd.orders.approvals import COUNT_WORDS as APPROVAL_WORDS
from cstd.orders.exit_policy import REASON_WORDS, reason_word
from cstd.orders.exit_prices import FAILURES
from cstd.orders.reconcile import Finding
from cstd.units import BPS_PER_UNIT, NS_PER_S, format_decimal, format_raw, from_raw
from cstd.venue.rate import MICRO

DECISIONS_KEPT = 1024  # by the core
LEVELS = ("normal", "warning", "critical", "emergency", "shutdown")
# Kraken's words for the states that a truth file knows; the others show our own.
VENUE_STATUS = {OrderState.ORDER_CANCEL_PENDING: "new", OrderState.ORDER_SENT: "pending_new",
                OrderState.ORDER_INTENDED: "pending_new"}


def _strategy(engine: Engine) -> str:
    if engine.own is not None:
        return engine.own.name
    return engine.cfg.strategy.name if engine.cfg is not None else ""


class LiveView:
    """Implements EngineView over an engine and what only the daemon knows.

    Args:
        engine: the engine.
        pid: of the trading process.
        mono_ns: the process's monotonic clock.
        socket: where the daemon is commanded, for the commands that screens show.
        process: gives {"journal": JournalStatus, "children": {...}, "reconnects": {...}, "venue_errors": {...}} on demand.
    """

    def __init__(self, engine: Engine, *, pid: int, mono_ns: Callable[[], int],
                 process: Callable[[], dict[str, Any]], socket: Path | None = None) -> None:
        self._engine = engine
        self._where = where(socket)
        self._pid = pid
        self._mono_ns = mono_ns
        self._process = process
        self._started_ns = mono_ns()
        self._edges_ns = bucket_edges_ns()
        self._limits: tuple[int, list[shapes.Limit]] = -1, []
        self._alert_limits: tuple[int, shapes.AlertLimits] = -1, {}
        self._decisions = np.zeros(DECISIONS_KEPT, dtype=DECISION_DTYPE)  # decision n at n % DECISIONS_KEPT
        self._decisions_copied = 0
        self._clusters = ClustersView(engine)
        self._opportunities = OpportunitiesView(engine, process)

    # State.

    def status(self) -> shapes.Status:
        """The daemon's state."""
        engine = self._engine
        process = self._process()
        now_ns = self._mono_ns()
        cfg = engine.cfg
        booted = cfg is not None
        return {
            "pid": self._pid, "mode": cfg.mode if cfg is not None else "starting", "state": engine.state,
            "ready": engine.state == "ready", "boot_epoch": engine.boot_epoch,
            "kill": booted and engine.risk.killed, "level": LEVELS[engine.core.level],
            "instruments": self.instrument_names(), "kill_reason": engine.risk.kill_reason if booted else None,
            "currency": cfg.account.currency if cfg is not None else "",
            "equity": format_raw(engine.nav.nav, MONEY_PRECISION), "day_loss_bps": engine.nav.day_loss_bps,
            "drawdown_bps": engine.nav.drawdown_bps,
            "level_reason": engine.risk.level_reason if booted else None,
            "conditions": cast("dict[str, shapes.ConditionStatus]", engine.risk.conditions.rows() if booted else {}),
            "kill_hold": booted and engine.risk.kill.hold,
            "kill_shown_empty_ns": engine.risk.kill_shown_empty_ns if booted and engine.risk.killed else None,
            "state_reason": engine.state_reason,
            "shadow": bool(engine.core.shadow),
            "shadow_left_s": engine.risk.kill.shadow_left_s(engine.core.mono_ns) if booted else 0, "strategy": _strategy(engine),
            "version": __version__, "config_hash": engine.config_hash,
            "uptime_s": (now_ns - self._started_ns) / NS_PER_S, "wall_ns": engine.wall_ns,
            "event_seq": engine.recorder.seq,
            "links": {name: self._link(code, name, now_ns, process) for code, name in self._link_names()},
            "references": references_seen(engine, now_ns) if booted else {},
            "futures_refusals": dict(engine.futures.machine.refusals) if booted else {},
            "venue_errors": self._venue_errors(process["venue_errors"]), "deadman": self._deadman(now_ns),
            "exits": engine.rest_exits.route if booted else "none",
            "adoption": engine.risk.adoption.shown() if booted else {},
            "journal": process["journal"], "digest": engine.recorder.hexdigest(),
            "children": process["children"],
            "scorer": {"state": process["scorer"]["state"], "reason": process["scorer"]["reason"],
                       "version": process["scorer"]["version"], "rows": process["scorer"].get("rows", "")},
            "ensemble": models.ensemble(process["scorer"], engine), "model_drift": models.drift(process["scorer"], engine),
        }

    def _link_names(self) -> tuple[tuple[int, str], ...]:
        """Code and name of each socket that there is."""
        cfg = self._engine.cfg
        return tuple((code, name) for code, name in enumerate(("public", "private", "futures"))
                     if name != "futures" or (cfg is not None and cfg.futures is not None))

    def _link(self, code: int, name: str, now_ns: int, process: dict[str, Any]) -> shapes.LinkStatus:
        last_ns = self._engine.core.last_frame_ns(code)
        machine = self._engine.futures.machine if name == "futures" else getattr(self._engine, name, None)
        flow = process.get("links", {}).get(name, {})
        return {"up": machine is not None and machine.up, "age_ns": now_ns - last_ns if last_ns else None,
                "reconnects": process["reconnects"].get(name, 0),
                "backlog_bytes": flow.get("backlog_bytes", 0), "backlog_bytes_max": flow.get("backlog_bytes_max", 0),
                "backlog_ns_max": flow.get("backlog_ns_max", 0), "deferred": flow.get("deferred", 0),
                "behind": flow.get("behind", False), "behind_count": flow.get("behind_count", 0),
                "pauses": flow.get("pauses", 0),
                "stalled": flow.get("stalled", False), "stalls": flow.get("stalls", 0),
                "queued_bytes": flow.get("queued_bytes", 0), "openings_held": flow.get("openings_held", 0)}

    def _venue_errors(self, outside: Counter[str]) -> dict[str, int]:
        """Of the engine's parts, and of the calls that the process makes outside of it."""
        engine = self._engine
        parts = () if engine.cfg is None else (engine.public, engine.private, engine.lane)
        return dict(sum((part.errors for part in parts), Counter(outside)))

    def _deadman(self, now_ns: int) -> shapes.DeadmanStatus:
        private = getattr(self._engine, "private", None)
        if private is None or private.deadman.armed_until_ns <= now_ns:
            return {"armed": False, "remaining_s": None}
        return {"armed": True, "remaining_s": (private.deadman.armed_until_ns - now_ns) / NS_PER_S}

    # Market.

    def instrument_names(self) -> list[str]:
        """Configured instruments in their order."""
        return list(self._engine.names)

    def instruments(self, *, offset: int = 0, limit: int | None = None) -> list[shapes.InstrumentStatus]:
        """Configured instruments in their order, all or `limit` of them from `offset` on."""
        now_ns = self._mono_ns()
        names = self._engine.names
        end = len(names) if limit is None else min(len(names), offset + limit)
        return [self._instrument(number, names[number], now_ns) for number in range(offset, end)]

    def _instrument(self, number: int, name: str, now_ns: int) -> shapes.InstrumentStatus:
        engine = self._engine
        slot = engine.core.slots[number]
        spec = engine.feed.specs.get(name)
        price_precision = spec.price_precision if spec else 0
        qty_precision = spec.qty_precision if spec else 0
        volume = engine.core.volume_hour(number)
        return {
            "name": name, "price_precision": price_precision, "qty_precision": qty_precision,
            "tick": format_raw(slot.tick_raw, price_precision),
            "lot": format_raw(spec.qty_increment_raw, qty_precision) if spec else "0",
            "qty_min": format_raw(slot.qty_min_raw, qty_precision),
            "cost_min": format_decimal(spec.cost_min) if spec else "0",
            "state": BookState(slot.book.state).name[5:].lower(),
            "fault": BookFault(slot.book.fault).name[6:].lower() if slot.book.fault else None,
            "evidence_age_ns": now_ns - slot.evidence_mono_ns if slot.evidence_mono_ns else None,
            "resyncs": engine.resyncs[name], "checksums_ok": slot.book.verified_count,
            "checksums_bad": slot.book.mismatch_count, "updates": slot.book.updates,
            "audit_age_ns": engine.audit.age_ns(name, now_ns),
            "tradable": slot.book.state == BookState.BOOK_VERIFIED and bool(slot.online) and bool(slot.configured),
            "venue_state": spec.status if spec else "unknown", "off": bool(slot.switched_off),
            "volume_hour": format_raw(volume, MONEY_PRECISION) if volume is not None else None,
            "rate_points": slot.rate_micro(engine.core.mono_ns) / MICRO, "rate_limit": slot.rate_limits()[1] / MICRO,
            "reference": reference_row(engine.futures.references, name, price_precision, now_ns),
            "openings_held": slot.rate_held, "held": engine.tracker.rates.waits(number) if engine.cfg is not None else None,
        }

    def books(self, depth: int, *, limit: int | None = None) -> list[shapes.Book]:
        """Top levels of every book, or of `limit`: those with a position or an order first, then as configured."""
        books = []
        for number in self._numbers(limit):
            name = self._engine.names[number]
            slot = self._engine.core.slots[number]
            spec = self._engine.feed.specs.get(name)
            books.append(cast("shapes.Book", {
                "name": name, "price_precision": spec.price_precision if spec else 0,
                "qty_precision": spec.qty_precision if spec else 0,
                "verified": slot.book.state == BookState.BOOK_VERIFIED,
                "checksum": slot.book.checksum if slot.book.state != BookState.BOOK_EMPTY else None,
                "bids": slot.book.levels(Side.BUY, depth), "asks": slot.book.levels(Side.SELL, depth),
            }))
        return books

    def _numbers(self, limit: int | None) -> list[int]:
        """Numbers of at most `limit` instruments in their order, none left out for one that matters less."""
        engine = self._engine
        count = len(engine.names)
        if limit is None or count <= limit:
            return list(range(count))
        live = {engine.core.order(index)["instrument"] for index in engine.core.live_orders()[:limit]}
        first = dict.fromkeys([*engine.ledger.held(), *sorted(live), *range(limit)])
        return sorted(list(first)[:limit])

    def tape(self, limit: int) -> list[shapes.Trade]:
        """Newest trades of others, newest first."""
        trades: list[shapes.Trade] = []
        for wall_ns, number, side, price_raw, qty_raw in reversed(self._engine.core.tape_rows(limit)):
            name = self._engine.names[number]
            spec = self._engine.feed.specs[name]
            trades.append({
                "instrument": name, "side": "buy" if side == Side.BUY else "sell",
                "price": format_raw(price_raw, spec.price_precision), "qty": format_raw(qty_raw, spec.qty_precision),
                "wall_ns": wall_ns,
            })
        return trades

    # Money.

    def positions(self) -> list[shapes.Position]:
        """Managed positions, dust included, empty ones left out."""
        rows: list[shapes.Position] = []
        for number, position in self._engine.ledger.positions.items():
            if position.qty == 0:
                continue
            slot = self._engine.core.slots[number]
            bid_raw = slot.last_verified_bid_raw
            entry = position.entry_price()
            value = position.value_at(bid_raw) if bid_raw > 0 else None
            rows.append({
                "instrument": self._engine.names[number], "asset": position.base,
                "qty": format_decimal(position.qty),
                "entry_price": _price(entry, position.price_precision),
                "mark_price": format_raw(bid_raw, position.price_precision) if bid_raw > 0 else None,
                "value": _money(value), "unrealized_pnl": _money(value - position.cost) if value is not None else None,
                "realized_pnl": _money(position.realized) or "0",
                "user_qty": format_decimal(self._engine.reconciler.own.get(position.base, Decimal(0))),
                "dust": slot.is_dust(), **_watched(slot, position.price_precision),
            })
        return rows

    def equity(self) -> shapes.Equity:
        """Equity, loss and exposure."""
        engine = self._engine
        nav = engine.nav
        positions = engine.ledger.positions.values()
        held = from_raw(engine.core.positions_value(), MONEY_PRECISION)
        unrealized = held - sum((p.cost for p in positions), Decimal(0))
        return {
            "currency": engine.cfg.account.currency if engine.cfg else "", "equity": format_raw(nav.nav, MONEY_PRECISION),
            "capital": format_raw(nav.capital, MONEY_PRECISION),
            "cash": format_decimal(from_raw(nav.capital, MONEY_PRECISION) + engine.ledger.cash_flow),
            "peak": format_raw(nav.peak, MONEY_PRECISION), "day_start": format_raw(nav.day_start, MONEY_PRECISION),
            "adopted": format_raw(nav.contributed, MONEY_PRECISION),
            "day_loss_bps": float(nav.day_loss_bps), "drawdown_bps": float(nav.drawdown_bps),
            "exposure": format_raw(engine.core.exposure(), MONEY_PRECISION),
            "realized_pnl": _money(sum((p.realized for p in positions), Decimal(0))) or "0",
            "unrealized_pnl": _money(unrealized) or "0",
            "fees": _money(sum((p.fees for p in positions), Decimal(0))) or "0",
            "turnover_day": _money(engine.ledger.turnover(engine.wall_ns)) or "0",
        }

    # Orders.

    def orders(self, *, all_: bool, limit: int, offset: int = 0) -> list[shapes.Order]:
        """Live orders, newest first; with `all_` then the others, those that ended last first.

        Asked several times a second in the trading loop: what it costs must not grow with the session.
        """
        engine = self._engine
        live = [engine.core.order(index) for index in reversed(engine.core.live_orders())]
        rows = chain(live, reversed(engine.tracker.history.values()) if all_ else ())
        return [self._order(order) for order in islice(rows, offset, offset + limit)]

    def _order(self, order: dict[str, Any]) -> shapes.Order:
        engine = self._engine
        price_digits, qty_digits = engine.tracker.digits(order)
        state = OrderState(order["state"])
        return {
            "cl_ord_id": order["cl_ord_id"], "order_id": order["order_id"] or None,
            "symbol": engine.names[order["instrument"]], "side": "buy" if order["side"] == Side.BUY else "sell",
            "status": VENUE_STATUS.get(state, engine.tracker.state_name(order)),
            "order_qty": format_raw(order["qty_raw"], qty_digits),
            "filled_qty": format_raw(order["filled_raw"], qty_digits),
            "state": "UNKNOWN" if state == OrderState.ORDER_UNKNOWN else engine.tracker.state_name(order),
            "limit_price": format_raw(order["price_raw"], price_digits),
            "time_in_force": TimeInForce(order["time_in_force"]).name, "post_only": bool(order["post_only"]),
            "kind": "exit" if order["kind"] == IntentKind.EXIT else "opening", "intent_seq": order["intent_seq"],
            "exit_reason": reason_word(order["exit_reason"]), "sent_wall_ns": order["sent_wall_ns"] or None,
        }

    def fills(self, *, all_: bool, limit: int, offset: int = 0) -> list[shapes.Fill]:
        """Fills of the UTC day, or of the session, newest first."""
        engine = self._engine
        day_ns = 86_400 * NS_PER_S
        rows = (fill for fill in reversed(engine.ledger.fills.values())
                if all_ or fill.wall_ns // day_ns == engine.wall_ns // day_ns)
        return [self._fill(fill) for fill in islice(rows, offset, offset + limit)]

    def _fill(self, fill: Fill) -> shapes.Fill:
        engine = self._engine
        position = engine.ledger.positions[fill.instrument]
        slippage = engine.tracker.slippage_bps.get(fill.exec_id)
        fee_asset = fill.fees[0][0] if fill.fees else position.quote
        fee = sum((amount for asset, amount in fill.fees if asset == fee_asset), Decimal(0))
        return {
            "exec_id": fill.exec_id, "cl_ord_id": fill.cl_ord_id, "symbol": engine.names[fill.instrument],
            "side": "buy" if fill.side == Side.BUY else "sell",
            "qty": format_raw(fill.qty_raw, fill.qty_precision), "price": format_decimal(fill.price),
            "fee": format_decimal(fee), "fee_asset": fee_asset, "wall_ns": fill.wall_ns, "liquidity": fill.liquidity,
            "slippage_bps": float(slippage) if slippage is not None else None, "exit_reason": reason_word(fill.exit_reason),
        }

    def approvals(self) -> list[shapes.Approval]:
        """What waits for an operator, the oldest first, with the commands that answer it."""
        return approval_rows(self._engine, self._mono_ns(), self._where)

    # Decisions.

    def decision_count(self) -> int:
        """Decision rows since the boot."""
        return int(self._engine.core.decision_count)

    def decisions(self, limit: int) -> list[dict[str, object]]:
        """Newest explained decisions, newest first."""
        last = self.decision_count() - 1
        return [self._explain(row, last - back) for back, row in enumerate(reversed(self._engine.core.decision_rows(limit)))]

    def _explain(self, raw: bytes, number: int | None = None) -> dict[str, object]:
        """A row as plain values; number: which one it is since the boot, where its cluster is to be told."""
        row = np.frombuffer(raw, dtype=DECISION_DTYPE)[0]
        name = self._engine.names[int(row["instrument"])]
        cfg = self._engine.cfg
        cluster = None
        if number is not None:
            cluster = [self._engine.names[member] for member in self._engine.core.correlations.members_of(number)]
        return explain(row, self._engine.feed.specs[name], currency=cfg.account.currency if cfg else "", cluster=cluster,
                       signal=self._engine.ensemble.signal(int(row["instrument"]), int(row["event_seq"])))

    def find_decision(self, id_: str) -> dict[str, object] | None:
        """Explained decision of an intent sequence or client order id."""
        last = self.decision_count() - 1
        for back, raw in enumerate(reversed(self._engine.core.decision_rows(DECISIONS_KEPT))):
            row = np.frombuffer(raw, dtype=DECISION_DTYPE)[0]
            if id_ in (str(int(row["intent_seq"])), bytes(row["cl_ord_id"]).decode("ascii", "replace")):
                return self._explain(raw, last - back)
        return None

    def refusals(self, *, since_wall_ns: int, instrument: str | None = None) -> shapes.Refusals:
        """What was decided since a time, by the gate that failed first."""
        engine = self._engine
        order = self._copy_new_decisions()
        decided_ns = self._decisions["decided_wall_ns"][order]
        rows = self._decisions[order[decided_ns >= since_wall_ns]]
        if instrument is not None:
            rows = rows[rows["instrument"] == engine.names.index(instrument)]
        # Fewer than there is room for: nothing has been forgotten.
        known_ns = int(decided_ns[0]) if engine.core.decision_count > len(order) else None
        return cast("shapes.Refusals", {
            "since_wall_ns": since_wall_ns, "until_wall_ns": engine.core.wall_ns, "source": "the running daemon",
            "complete": known_ns is None or known_ns <= since_wall_ns, "known_since_wall_ns": known_ns, "instrument": instrument,
            "state": engine.state, "state_reason": engine.state_reason,
            **tally(rows, lambda row: self._explain(row.tobytes())), "states": None, "fills": None,
        })

    def _copy_new_decisions(self) -> np.ndarray:
        """Copy the rows that the core has made since the last call; returns where those it keeps are, oldest first."""
        count = self.decision_count()
        new = self._engine.core.decision_rows(min(count - self._decisions_copied, DECISIONS_KEPT))
        self._decisions[np.arange(count - len(new), count) % DECISIONS_KEPT] = np.frombuffer(b"".join(new), dtype=DECISION_DTYPE)
        self._decisions_copied = count
        return np.arange(max(0, count - DECISIONS_KEPT), count) % DECISIONS_KEPT

    def gates(self) -> list[shapes.Gate]:
        """The 15 gates with value and limit of the last decision, and counts since the boot."""
        _, refused, failed, noted = self._engine.core.fault_counts()
        counters = self._engine.core.counter_values()
        raws = self._engine.core.decision_rows(1)
        last = cast("dict[str, Any]", self._explain(raws[-1])) if raws else {"gates": []}
        by_code = {int(entry["code"]): entry for entry in last["gates"]}
        rows: list[shapes.Gate] = []
        for gate in GATES:
            entry = by_code.get(gate.code)
            rows.append({
                "gate": gate.code, "name": gate.name, "group": "policy" if gate.code < 10 else "risk",
                "key": str(entry["key"]) if entry else gate.key, "last_kind": last.get("kind"),
                "unit": str(entry["unit"]) if entry else gate.unit, "limit": entry["limit"] if entry else None,
                "last_value": entry["value"] if entry else None, "last_pass": entry["passed"] if entry else None,
                "passed": counters["intents"] - failed[gate.code] - noted[gate.code], "failed": failed[gate.code],
                "noted": noted[gate.code], "first_failed": refused[gate.code],
            })
        return rows

    def limits(self, instrument: str | None = None) -> list[shapes.Limit]:
        """The limits in force; the general list is made anew only when one has changed."""
        if self._engine.cfg is None:
            return []
        limits = self._engine.risk.limits
        if instrument is not None:
            return cast("list[shapes.Limit]", limits.rows(instrument))
        if self._limits[0] != limits.version:
            self._limits = limits.version, cast("list[shapes.Limit]", limits.rows())
        return self._limits[1]

    def clusters(self, instrument: str | None = None) -> Clusters:
        """What moves together."""
        return self._clusters(instrument)

    def opportunities(self, *, horizon: str | None = None, instrument: str | None = None,
                      first: int | None = None) -> list[Opportunity]:
        """Instruments by horizon, the best first."""
        return self._opportunities(horizon=horizon, instrument=instrument, first=first)

    # Counters.

    def counters(self) -> dict[str, int]:
        """All counters since the boot."""
        engine = self._engine
        faults, refused, failed, _ = engine.core.fault_counts()
        values: dict[str, int] = dict(engine.core.counter_values())
        for fault in BookFault:
            if 0 < fault < BookFault.FAULT_COUNT:
                values[f"book_fault_{fault.name[6:].lower()}"] = faults[fault]
        for gate in GATES:
            values[f"gate_{gate.code}_refused"] = refused[gate.code]
            values[f"gate_{gate.code}_failed"] = failed[gate.code]
        values["subscriptions_waiting"] = engine.public.waiting_count() if engine.cfg is not None else 0
        values["fills"] = len(engine.ledger.fills)
        values["fill_duplicates"] = engine.ledger.duplicate_count
        values["orders_rejected"] = engine.tracker.rejected_count
        values["rate_refused"] = engine.tracker.rates.refused_count
        values["orders_unknown"] = engine.unknown_count()
        values["order_steps_illegal"] = engine.core.orders.illegal_count
        values["order_contradictions"] = engine.tracker.contradiction_count
        values["reports_unknown_type"] = engine.tracker.unknown_type_count
        values["reports_foreign"] = engine.tracker.foreign_count
        values["orders_foreign"] = len(engine.reconciler.strangers.open)
        values["fees_in_other_assets"] = engine.ledger.foreign_fee_count
        if engine.cfg is not None:
            values |= futures_counters(engine.futures)
        values["names_unknown"] = engine.feed.unknown_name_count
        values["instruments_unlisted"] = engine.feed.unlisted_count
        values["tapes_silent"] = engine.tapes.silent_count
        for end in ENDS:
            values[f"evidence_fetches_{end}"] = engine.evidence.ended[end]
        values["balances_agree"] = int(engine.reconciler.agreed)
        values["reconcile_failed"] = engine.reconciler.failed_count
        for finding in Finding:
            values[f"reconcile_found_{finding.value}"] = engine.reconciler.findings[finding]
        values["book_audits"] = engine.audit.done_count
        values["book_audit_differences"] = engine.audit.difference_count
        values["rest_exits_unconfirmed"] = engine.rest_exits.unconfirmed_count
        values["rest_exits_not_sent"] = engine.rest_exits.not_sent_count
        values["approvals_pending"] = engine.core.waiting_live()
        for code, word in APPROVAL_WORDS.items():
            values[f"approvals_{word}"] = engine.core.waiting_counts()[code]
        exits = engine.core.exit_counts()
        for code, word in REASON_WORDS.items():
            values[f"exits_{word}"] = exits[code]
        values["adoptions_waiting"] = len(engine.risk.adoption.waiting) if engine.cfg is not None else 0
        values["adoption_waits"] = engine.risk.adoption.wait_count if engine.cfg is not None else 0
        values["stops_without_atr"] = engine.risk.exits.atr_missing_count if engine.cfg is not None else 0
        values["exit_prices_read"] = engine.exit_prices.done_count
        for reason in FAILURES:
            values[f"exit_prices_failed_{reason}"] = engine.exit_prices.failed[reason]
        for reason in INCONCLUSIVE:
            values[f"book_audit_inconclusive_{reason}"] = engine.audit.inconclusive[reason]
        values |= self._clusters.figures()
        values |= self._opportunities.figures()
        process = self._process()
        values["loop_lag_ns"] = process["lag"].last_ns
        values["clock_offset_ns"] = self._clock_offset_ns()
        values["reader_restarts"] = process["reader_restarts"]
        for name, value in process["durable"].items():
            values[f"durable_{name}"] = value
        for name, value in process["projector"].items():
            values[f"projector_{name}"] = value
        values |= process["admin"]
        for name, count in process["flight"].items():
            values[f"flight_{name}"] = count
        values |= models.counters(process["scorer"], engine, process.get("bar_rows"))
        values["gc_collections"] = process["garbage"].count
        values["gc_longest_ns"] = process["garbage"].longest_ns
        values["reconcile_rounds"] = engine.reconciler.done_count
        values["reconcile_differences"] = len(engine.reconciler.differences)
        return values

    def _clock_offset_ns(self) -> int:
        """What gate 12 takes for the offset: what the venue's words prove, and what the clock was stepped since."""
        core = self._engine.core
        stepped_ns = core.wall_ns - core.mono_ns - core.clock_base_ns if core.clock_known else 0
        return int(core.clock_offset_ns + stepped_ns)

    def alert_limits(self) -> shapes.AlertLimits:
        """Limits in force that alerts compare with, made anew only when one has changed; empty before the boot."""
        cfg = self._engine.cfg
        if cfg is None:
            return {}
        limits = self._engine.risk.limits
        if self._alert_limits[0] != limits.version:
            self._alert_limits = limits.version, self._alert_limits_of(cfg, limits.in_force())
        return self._alert_limits[1]

    @staticmethod
    def _alert_limits_of(cfg: Config, in_force: Config) -> shapes.AlertLimits:
        policy, risk, journal = in_force.policy, in_force.risk, cfg.journal
        return {
            "sync_lag_ms_max": journal.sync_lag_ms_max, "disk_free_bytes_min": journal.disk_free_bytes_min,
            "evidence_s": float(risk.evidence_s), "clock_offset_ms_max": risk.clock_offset_ms_max,
            "deadman_timeout_s": cfg.venue.deadman_timeout_s, "positions_max": risk.positions_max,
            "exposure_bps_max": risk.exposure_bps_max, "slippage_p95_bps_max": float(policy.slippage_p95_bps_max),
            "slippage_p95_fills_min": policy.slippage_p95_fills_min, "busy_poll": cfg.process.busy_poll,
            "day_loss_bps": {level: getattr(risk, f"day_loss_{level}_bps") for level in LEVELS[1:]},
            "drawdown_bps": {level: getattr(risk, f"drawdown_{level}_bps") for level in LEVELS[1:]},
        }

    def models(self) -> Models:
        """The scorer and the scores that the engine knows, the first of them."""
        process = self._process()
        return models.seen(process["scorer"], self._engine, self._mono_ns(), process.get("bar_rows"))

    def latency(self) -> shapes.Latency:
        """Stage histograms, and how late the loop's ticks came."""
        hist = self._engine.core.hist
        stages: dict[str, shapes.StageLatency] = {
            name: {"counts": hist.stage(i), "sum_ns": hist.sum_ns(i)} for i, name in enumerate(STAGES)}
        lag = self._process()["lag"]
        stages["loop_lag"] = {"counts": lag.counts, "sum_ns": lag.sum_ns}
        return {"edges_ns": self._edges_ns, "stages": stages}


def _price(value: Decimal | None, precision: int) -> str | None:
    return None if value is None else format_decimal(value.quantize(Decimal(1).scaleb(-precision)))


def _money(value: Decimal | None) -> str | None:
    return None if value is None else format_decimal(value.quantize(Decimal("0.00000001")))


class _Watched(TypedDict):
    stop_price: str | None
    stop_distance_bps: float | None
    target_price: str | None
    time_stop_wall_ns: int | None
    exit_reason: str | None


def _watched(slot: InstrumentSlot, digits: int) -> _Watched:
    """What the exit policy watches for, in a position's words."""
    stop2_raw, target_raw, until_ns, reason = slot.exit_watch()
    verified = slot.book.state == BookState.BOOK_VERIFIED
    mid2_raw = sum(slot.book.levels(side, 1)[0][0] for side in (Side.BUY, Side.SELL)) if verified else 0
    return {
        "stop_price": format_decimal(from_raw(stop2_raw, digits) / 2) if stop2_raw else None,
        "stop_distance_bps": (mid2_raw - stop2_raw) / mid2_raw * BPS_PER_UNIT if stop2_raw and mid2_raw else None,
        "target_price": format_raw(target_raw, digits) if target_raw else None,
        "time_stop_wall_ns": until_ns or None, "exit_reason": reason_word(reason),
    }
