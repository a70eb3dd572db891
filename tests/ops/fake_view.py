"""A test double of the engine's view: a small seeded market that moves when told to. No part of the product.

`python -m tests.ops.fake_view` serves the page with it, so that the page can be looked at without a venue.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cstd.config import load, template
from cstd.decision.operator_limits import OperatorLimits
from cstd.ops.board import PUBLISH_INTERVAL_S, BoardWriter
from cstd.ops.opportunity_shapes import HORIZONS, Opportunity
from cstd.units import format_raw

SPECS = [("BTC/USD", 1, 8, 1_042_356, 25_000_000), ("ETH/USD", 2, 8, 348_712, 900_000_000)]
POLICY = [("idempotency", "policy.dedupe_window_s", "parents"), ("spread", "policy.spread_bps_max", "bps"),
          ("depth", "policy.depth_value_min", "USD"), ("volume", "policy.volume_hour_min", "USD"),
          ("slippage", "policy.exit_cost_bps_max", "bps"), ("time_in_force", "policy.deadline_ms", "ms"),
          ("price", "policy.price_band_bps_max", "bps")]
RISK = [("kill_switch", "risk.kill", ""), ("data_gap", "risk.evidence_s", "s"),
        ("day_loss", "risk.day_loss_critical_bps", "bps"), ("drawdown", "risk.drawdown_critical_bps", "bps"),
        ("position_count", "risk.positions_max", "positions"), ("total_exposure", "risk.exposure_bps_max", "USD"),
        ("position_size", "risk.position_bps_max", "USD"), ("correlation", "risk.cluster_bps_max", "USD")]
GATES = [(code, "policy", *row) for code, row in enumerate(POLICY, 1)]
GATES += [(code, "risk", *row) for code, row in enumerate(RISK, 11)]
FLOW = {"backlog_bytes": 0, "backlog_bytes_max": 131_072, "backlog_ns_max": 3_000_000, "deferred": 2,
        "behind": False, "behind_count": 0, "pauses": 0, "stalled": False, "stalls": 0, "queued_bytes": 0, "openings_held": 0}
VALUES = {1: (3, 400), 2: (1.5, 50), 3: (84_210, 10_000), 4: (9_120_000, 100_000), 5: (3.1, 25), 6: (1500, 2000),
          7: (0.4, 100), 11: (0, 0), 12: (0.24, 5), 13: (12, 500), 14: (18, 1000), 15: (1, 10), 16: (25.1, 1500),
          17: (25.1, 200), 18: (25.1, 600)}


def edges_ns() -> np.ndarray:
    """Return bucket edges of the shape the engine has: unit steps to 16 ns, then eight per power of two."""
    edges = list(range(1, 17))
    for index in range(16, 256):
        edges.append((8 + (index - 16) % 8 + 1) << (4 + (index - 16) // 8 - 3))
    return np.asarray(edges, dtype=np.int64)


def opportunity(name: str, horizon: str, wall_ns: int) -> dict[str, object]:
    """Of the first instrument what the gates would let pass within an hour, of others what they refuse; beyond, no score."""
    scored, tradable = horizon == "1h", name == SPECS[0][0]
    row: dict[str, object] = dict.fromkeys(Opportunity.__annotations__)
    row |= {"instrument": name, "horizon": horizon, "horizon_s": HORIZONS[horizon], "strategy_horizon": scored,
            "standing": "no_score", "reason": "no_score", "reasons": ["scorer.enabled is false: no score can come"],
            "risk_reasons": ["spread 1 bps: low"],
            "held": False, "currency": "USD", "failing": [], "judged_wall_ns": wall_ns}
    if scored:
        row |= {"standing": "tradable" if tradable else "refused", "reason": None if tradable else "over_limit",
                "expected": "0.012", "lower": "0.004", "upper": "0.02", "probability": "0.85",
                "age_ns": 5, "card_sha256": "ab" * 32,
                "model_state": "production", "model_verdict": "holds", "members": 3, "members_registered": 3,
                "risk": "low", "price": "100000.0", "qty": "0.00025", "up_to_qty": "0.00025" if tradable else "0",
                "up_to": "25" if tradable else "0",
                "refused_by": None if tradable else "spread", "failing": [] if tradable else ["spread"],
                "reasons": ["3 of 3 members say 0.85, calibrated; it opens from 0.8",
                            *(() if tradable else ("refused by spread: over limit",))]}
    return row


class FakeView:
    """Implements EngineView from a seed; `step` moves the market by one tick of time."""

    def __init__(self, seed: int = 7, mode: str = "practice") -> None:
        self.random = random.Random(seed)
        self.mode = mode
        self.state = "ready"
        self.kill = False
        self.level = "normal"
        self.steps = 0
        self.wall_ns = 1_789_000_000_000_000_000
        self.touch_raw = {name: price for name, _, _, price, _ in SPECS}
        self.decision_rows: list[dict[str, object]] = []
        self.order_rows: list[dict[str, object]] = []
        self.fill_rows: list[dict[str, object]] = []
        self.trades: list[dict[str, object]] = []
        self.counter = dict.fromkeys(("frames", "book_updates", "intents", "orders", "fills", "resyncs"), 0)
        self.edges = edges_ns()
        self.stage_counts = {stage: np.zeros(256, dtype=np.int64) for stage in ("frame", "decision", "order", "send")}
        self.stage_sums = dict.fromkeys(self.stage_counts, 0)
        self.failing: set[str] = set()
        self.cluster_rows: dict[str, object] = {
            "measured": True, "correlation_min": 0.7, "correlation_leave": 0.6, "returns_min": 144, "instruments": len(SPECS),
            "pairs_apart": 0, "clusters": [{"instruments": ["BTC/USD"], "exposure": "199.97", "exposure_bps": 199.98}],
            "pairs": []}
        self.limits_in_force = OperatorLimits()
        self.limits_in_force.configure(load([str(template("practice"))], {}))

    def step(self) -> None:
        """Move the market, judge an intent now and then, fill an order now and then."""
        self.steps += 1
        self.wall_ns += 250_000_000
        for name, _, _, _, _ in SPECS:
            self.touch_raw[name] += self.random.randint(-6, 6)
        for key, by in (("frames", 40), ("book_updates", 38)):
            self.counter[key] += by
        self._observe()
        self._trade()
        if self.steps % 3 == 1:
            self._decide()

    def _observe(self) -> None:
        for i, stage in enumerate(self.stage_counts):
            for _ in range(40):
                duration_ns = int(self.random.lognormvariate(6.2 + i * 0.8, 0.45))
                self.stage_counts[stage][int(np.searchsorted(self.edges, duration_ns, side="right"))] += 1
                self.stage_sums[stage] += duration_ns

    def _trade(self) -> None:
        name, precision, qty_precision, _, qty = self.random.choice(SPECS)
        self.trades.insert(0, {
            "instrument": name, "side": self.random.choice(("buy", "sell")),
            "price": format_raw(self.touch_raw[name], precision),
            "qty": format_raw(self.random.randint(1, qty), qty_precision), "wall_ns": self.wall_ns})
        del self.trades[200:]

    def _decide(self) -> None:
        seq = len(self.decision_rows) + 1
        name, precision, qty_precision, _, _ = SPECS[seq % len(SPECS)]
        exit_ = seq % 4 == 0
        failing = 0 if exit_ or seq % 5 else (2 if seq % 2 else 17)
        row = self.explained(seq, name, precision, qty_precision, failing, exit_)
        self.decision_rows.insert(0, row)
        self.counter["intents"] += 1
        if row["verdict"] == "approve":
            self._order(row, name)

    def explained(self, seq: int, name: str, precision: int, qty_precision: int, failing: int,
                  exit_: bool) -> dict[str, object]:
        """Return a decision as `why.explain` would."""
        price_raw = self.touch_raw[name]
        qty = format_raw(24_000 * (1 if name == "BTC/USD" else 30), qty_precision)
        gates = [self._gate(row, failing=code == failing, recorded=exit_ and code == 2)
                 for row in GATES for code in row[:1]]
        first = next((gate["name"] for gate in gates if gate["code"] == failing), None)
        return {
            "intent_seq": seq, "event_seq": self.steps * 41, "decided_wall_ns": self.wall_ns, "instrument": name,
            "strategy": "rehearsal", "kind": "exit" if exit_ else "opening", "side": "sell" if exit_ else "buy",
            "episode": seq // 2, "rejudged": False, "shadow": False, "verdict": "refuse" if failing else "approve",
            "verdict_reason": "over_limit" if failing else "passed", "first_failing": first, "reduced_by": None,
            "cluster": [name],
            "price": format_raw(price_raw, precision), "bid": format_raw(price_raw, precision),
            "ask": format_raw(price_raw + 1, precision), "qty_requested": qty, "qty_final": "0" if failing else qty,
            "counterfactual_qty": "0" if failing == 2 else qty, "managed_free_qty": "0", "level": self.level,
            "time_in_force": "ioc" if exit_ else "gtd", "size_multiplier": "1", "currency": "USD", "equity": "9999.65",
            "notional": "25.0165", "depth": "84210.12", "exit_cost_bps": "3.1", "checksum": 3_310_070_434,
            "cl_ord_id": f"ct{hashlib.sha256(str(seq).encode()).hexdigest()[:16]}", "child": 0, "attempt": 0,
            "approval": None, "route": "rest" if exit_ and seq % 8 == 0 else "socket",
            **({"exit_reason": "stop", "price_from": "rest_snapshot" if seq % 8 == 0 else "book"} if exit_ else {}),
            "config_hash8": "5f" * 8, "agents_hash8": "a0" * 8, "gates": gates,
        }

    def _gate(self, row: tuple[int, str, str, str, str], *, failing: bool, recorded: bool) -> dict[str, object]:
        code, group, name, key, unit = row
        value, limit = VALUES[code]
        value = limit * 1.4 if failing else 61.5 if recorded else value
        passed = not failing and not recorded
        bound = "switch" if name == "kill_switch" else "min" if name in ("depth", "volume") else "max"
        margin = None if bound == "switch" else value - limit if bound == "min" else limit - value
        return {
            "gate": code, "code": code, "group": group, "name": name, "key": key, "unit": unit, "value": f"{value:g}",
            "limit": f"{limit:g}", "bound": bound, "strict": name in ("day_loss", "drawdown"),
            "margin": None if margin is None else f"{margin:g}",
            "passed": passed, "recorded": recorded, "reason": "passed" if passed else "over_limit",
            "would_pass": None if passed else f"at most {limit} {unit}".rstrip()}

    def _order(self, row: dict[str, object], name: str) -> None:
        filled = self.random.random() < 0.75
        order = {
            "cl_ord_id": row["cl_ord_id"], "order_id": f"O{row['intent_seq']:05}-ABCDE-FGHIJK", "symbol": name,
            "side": row["side"], "status": "filled" if filled else "new", "order_qty": row["qty_final"],
            "filled_qty": row["qty_final"] if filled else "0", "state": "filled" if filled else "open",
            "limit_price": row["price"], "time_in_force": "ioc" if row["kind"] == "exit" else "gtd",
            "post_only": row["kind"] == "opening", "kind": row["kind"],
            "exit_reason": "flip" if row["kind"] == "exit" else None, "intent_seq": row["intent_seq"],
            "sent_wall_ns": self.wall_ns}
        self.order_rows.insert(0, order)
        self.counter["orders"] += 1
        if filled:
            self.counter["fills"] += 1
            self.fill_rows.insert(0, {
                "exec_id": f"T{row['intent_seq']:05}-KLMNO-PQRSTU", "cl_ord_id": row["cl_ord_id"], "symbol": name,
                "side": row["side"], "qty": row["qty_final"], "price": row["price"], "fee": "0.0626",
                "fee_asset": "USD", "wall_ns": self.wall_ns, "slippage_bps": -0.07,
                "liquidity": "maker" if row["kind"] == "opening" else "taker"})

    def _fails(self, name: str) -> None:
        if name in self.failing:
            raise RuntimeError(f"{name} is told to fail")

    def status(self) -> dict[str, object]:
        """See EngineView."""
        self._fails("status")
        return {
            "pid": os.getpid(), "mode": self.mode, "state": self.state, "ready": self.state == "ready",
            "boot_epoch": 3, "kill": self.kill, "level": self.level, "instruments": [spec[0] for spec in SPECS],
            "shadow_left_s": 0, "currency": "USD", "equity": "10000", "day_loss_bps": 0, "drawdown_bps": 0,
            "level_reason": None if self.level == "normal" else "loss, until `cstd resume`",
            "conditions": {"api_success": {"asks": False, "well_bps": 10_000, "samples": 44}},
            "kill_reason": "operator" if self.kill else None, "kill_hold": False,
            "kill_shown_empty_ns": 240_000_000 if self.kill else None,
            "state_reason": None if self.state == "ready" else "told so", "shadow": False, "strategy": "rehearsal",
            "version": "0.1.0", "config_hash": "5f" * 32, "uptime_s": self.steps * 0.25, "wall_ns": self.wall_ns,
            "event_seq": self.steps * 41,
            "links": {"public": {"up": True, "age_ns": 12_000_000, "reconnects": 0, **FLOW},
                      "private": {"up": True, "age_ns": 410_000_000, "reconnects": 1, **FLOW}},
            "futures_refusals": {}, "references": {"BTC/USD": {"price": "62000.1", "age_ns": 400_000_000}},
            "venue_errors": {"EOrder:Post only order": 2, "no answer": 1},
            "deadman": {"armed": True, "remaining_s": 48.5}, "exits": "socket", "adoption": {},
            "journal": {"seq": self.steps * 44, "synced_seq": self.steps * 44 - 9, "lag_ms": 3.2, "disk_free_bytes": 10**11,
                        "checkpoint_seq": self.steps * 40, "checkpoints": 3, "checkpoint_failures": 0,
                        "bytes": self.steps * 9_000, "error": None},
            "digest": hashlib.sha256(str(self.steps).encode()).hexdigest(), "children": {"reader": True},
            "scorer": {"state": "ready", "reason": "", "version": "0003", "rows": ""},
            "ensemble": {"trades": True, "reason": "", "horizon_s": 14_400, "verdicts": {"opens": 2, "probability_below": 40},
                         "now": {"probability_below": 2}},
            "model_drift": {"state": "watch", "instrument": SPECS[0][0], "feature": "log_atr", "beyond": 0.12, "psi": 0.61,
                            "ks": 0.2, "rows": 500, "states": {"none": 1, "watch": 1}, "windows": "kept", "left_out": 3}}

    def instrument_names(self) -> list[str]:
        """See EngineView."""
        return [name for name, *_ in SPECS]

    def instruments(self, *, offset: int = 0, limit: int | None = None) -> list[dict[str, object]]:
        """See EngineView."""
        self._fails("instruments")
        rows: list[dict[str, object]] = [{
            "name": name, "price_precision": precision, "qty_precision": qty_precision,
            "tick": format_raw(1, precision), "lot": format_raw(1, qty_precision), "qty_min": "0.00005",
            "cost_min": "0.5", "state": "verified",
            "fault": None, "evidence_age_ns": 24_000_000, "resyncs": 0, "checksums_ok": self.steps * 19,
            "checksums_bad": 0, "updates": self.steps * 19, "audit_age_ns": self.steps * 10**9,
            "tradable": True, "venue_state": "online", "off": False,
            "volume_hour": "9120000.00", "rate_points": 3.5, "rate_limit": 48.0, "openings_held": 2,
            "held": None, "reference": {
                "product": "PF_XBTUSD", "required": True, "price": "62000.1", "age_ns": 400_000_000, "index": "62000.12",
                "mark": "62010.5", "funding_hour": "0.00001089345", "open_interest": "2189.7813"}}
            for name, precision, qty_precision, _, _ in SPECS]
        return rows[offset:None if limit is None else offset + limit]

    def books(self, depth: int, *, limit: int | None = None) -> list[dict[str, object]]:
        """See EngineView."""
        self._fails("books")
        books = []
        for name, precision, qty_precision, _, qty in SPECS[:limit]:
            touch = self.touch_raw[name]
            shape = random.Random(f"{name}{self.steps // 2}")
            own = 24_000 if self.steps % 6 < 3 else 0
            steps = [sum(shape.choice((1, 2, 4)) for _ in range(i)) for i in range(1, depth + 1)]
            offsets = [0, *sorted(set(steps))][:depth]
            bids = [(touch - offset, int(qty * shape.uniform(0.05, 1.0)), 0 if offset else own) for offset in offsets]
            asks = [(touch + 1 + offset, int(qty * shape.uniform(0.05, 1.0)), 0) for offset in offsets]
            books.append({"name": name, "price_precision": precision, "qty_precision": qty_precision, "verified": True,
                          "checksum": 3_310_070_434, "bids": bids, "asks": asks})
        return books

    def positions(self) -> list[dict[str, object]]:
        """See EngineView."""
        return [{"instrument": "BTC/USD", "asset": "BTC", "qty": "0.00024000", "entry_price": "104235.6",
                 "mark_price": format_raw(self.touch_raw["BTC/USD"], 1), "value": "25.02", "unrealized_pnl": "-0.04",
                 "realized_pnl": "-0.31", "user_qty": "0.05000000", "dust": False, "stop_price": "102150.9",
                 "stop_distance_bps": 198.7, "target_price": None, "time_stop_wall_ns": None, "exit_reason": None},
                {"instrument": "ETH/USD", "asset": "ETH", "qty": "0.00000000", "entry_price": None,
                 "mark_price": format_raw(self.touch_raw["ETH/USD"], 2), "value": "0", "unrealized_pnl": "0",
                 "realized_pnl": "0.0013", "user_qty": "0", "dust": False, "stop_price": None,
                 "stop_distance_bps": None, "target_price": None, "time_stop_wall_ns": None, "exit_reason": None}]

    def equity(self) -> dict[str, object]:
        """See EngineView."""
        equity = f"{10_000 + (self.touch_raw['BTC/USD'] - SPECS[0][3]) * 0.01 - 0.31:.2f}"
        return {"currency": "USD", "equity": equity, "capital": "10000", "cash": "9974.63", "peak": "10000.00",
                "day_start": "10000.00", "adopted": "0", "day_loss_bps": 0.35, "drawdown_bps": 0.35, "exposure": "25.02",
                "realized_pnl": "-0.31", "unrealized_pnl": "-0.04", "fees": "0.25", "turnover_day": "150.12"}

    def approvals(self) -> list[dict[str, object]]:
        """One that waits."""
        return [{"id": 41, "state": "waits", "instrument": "BTC/USD", "side": "buy", "qty": "0.00025000", "price": "60000.0",
                 "notional": "15.00000000", "currency": "USD", "episode": 3,
                 "asked_wall_ns": self.wall_ns - 12_500_000_000, "age_s": 12.5,
                 "expires_in_s": 47.5, "approve": "cstd approve 41", "decline": "cstd decline 41"}]

    def orders(self, *, all_: bool, limit: int, offset: int = 0) -> list[dict[str, object]]:
        """See EngineView."""
        rows = self.order_rows if all_ else [row for row in self.order_rows if row["state"] == "open"]
        return rows[offset: offset + limit]

    def fills(self, *, all_: bool, limit: int, offset: int = 0) -> list[dict[str, object]]:
        """See EngineView."""
        return self.fill_rows[offset: offset + limit]

    def decision_count(self) -> int:
        """See EngineView."""
        return len(self.decision_rows)

    def decisions(self, limit: int) -> list[dict[str, object]]:
        """See EngineView."""
        return self.decision_rows[:limit]

    def find_decision(self, id_: str) -> dict[str, object] | None:
        """See EngineView."""
        return next((row for row in self.decision_rows if id_ in (str(row["intent_seq"]), row["cl_ord_id"])), None)

    def refusals(self, *, since_wall_ns: int, instrument: str | None = None) -> dict[str, object]:
        """See EngineView; knows its latest refusals alone."""
        rows = [row for row in self.decision_rows if row["decided_wall_ns"] >= since_wall_ns
                and instrument in (None, row["instrument"])]
        refused = [row for row in rows if row["verdict"] == "refuse"]
        names = sorted({str(row["first_failing"]) for row in refused})
        gates = [{"gate": name, "reason": "over_limit", "refused": sum(row["first_failing"] == name for row in refused),
                  "reduced": 0, "canceled": 0, "last_wall_ns": self.wall_ns, "last_instrument": "BTC/USD", "last_value": "70",
                  "last_limit": "50", "unit": "bps"} for name in names]
        return {"since_wall_ns": since_wall_ns, "until_wall_ns": self.wall_ns, "source": "the running daemon",
                "complete": len(self.decision_rows) < 40, "known_since_wall_ns": None, "instrument": instrument,
                "state": self.state, "state_reason": None, "decided": len(rows), "approved": len(rows) - len(refused),
                "reduced": 0, "refused": len(refused), "shadowed": 0, "gates": gates, "states": None, "fills": None}

    def gates(self) -> list[dict[str, object]]:
        """See EngineView."""
        self._fails("gates")
        return [{"gate": code, "name": name, "group": group, "key": key, "unit": unit, "limit": VALUES[code][1],
                 "last_kind": "opening", "last_value": VALUES[code][0], "last_pass": True, "passed": self.steps,
                 "failed": code % 3, "noted": code % 4, "first_failed": code % 2} for code, group, name, key, unit in GATES]

    def limits(self, instrument: str | None = None) -> list[dict[str, object]]:
        """See EngineView."""
        return self.limits_in_force.rows(instrument or "")

    def clusters(self, instrument: str | None = None) -> dict[str, object]:
        """See EngineView."""
        names = [name for name, *_ in SPECS]
        pairs = [{"instrument": a, "other": b, "correlation": 0.8125, "returns": 400, "ready": True, "linked": True}
                 for a, b in itertools.combinations(names, 2) if instrument in (None, a, b)]
        self.cluster_rows["pairs"] = pairs
        return self.cluster_rows if instrument is None else {**self.cluster_rows}

    def opportunities(self, *, horizon: str | None = None, instrument: str | None = None,
                      first: int | None = None) -> list[dict[str, object]]:
        """See EngineView."""
        self._fails("opportunities")
        found = [opportunity(name, word, self.wall_ns) for word in HORIZONS if horizon in (None, word)
                 for name in [name for name, *_ in SPECS][:first]]
        return [row for row in found if instrument in (None, row["instrument"])]

    def counters(self) -> dict[str, int]:
        """See EngineView."""
        return self.counter

    def alert_limits(self) -> dict[str, object]:
        """See EngineView."""
        return {"sync_lag_ms_max": 5000, "disk_free_bytes_min": 10**10, "evidence_s": 5.0, "clock_offset_ms_max": 250,
                "deadman_timeout_s": 60, "positions_max": 10, "exposure_bps_max": 1500, "slippage_p95_bps_max": 30,
                "slippage_p95_fills_min": 20, "busy_poll": False,
                "day_loss_bps": {"warning": 300, "critical": 500, "emergency": 650, "shutdown": 800},
                "drawdown_bps": {"warning": 500, "critical": 1000, "emergency": 1250, "shutdown": 1500}}

    def models(self) -> dict[str, object]:
        """See EngineView."""
        return {"scorer": {"state": "ready", "reason": "", "version": "0003", "rows": "", "alive": True, "restarts": 0,
                           "events": 2, "name": "hourly", "card_sha256": "ab" * 32, "device": "cpu", "threads": 1,
                           "warm_ns": 900_000, "batches": 2, "batch_rows": 2, "batch_ns": 400_000,
                           "drift_windows": "kept", "drift_left_out": 3,
                           "sessions": [{"horizon": "1h", "member": "lightgbm", "form": "onnx",
                                         "providers": ["CPUExecutionProvider"], "nodes": {"CPUExecutionProvider": 3}}]},
                "bars": {"bar_s": 3_600, "features": 1, "features_hash": "cd" * 32, "ready": 1, "rows": 2,
                         "abstained": {"no trade": 1},
                         "instruments": [{"instrument": name, "reason": "", "bars": 96, "first_s": 0} for name, *_ in SPECS]},
                "scores": [{"instrument": name, "horizon_s": 3_600, "probability": 0.512345, "lower": -0.01, "upper": 0.012,
                            "members": 2, "event_wall_ns": 1_700_000_000_000_000_000, "age_ns": 9_000_000_000, "fresh": True,
                            "card_sha256": "ab" * 32} for name, *_ in SPECS]}

    def latency(self) -> dict[str, object]:
        """See EngineView."""
        return {"edges_ns": self.edges, "stages": {
            stage: {"counts": counts, "sum_ns": self.stage_sums[stage]} for stage, counts in self.stage_counts.items()}}

    def tape(self, limit: int) -> list[dict[str, object]]:
        """See EngineView."""
        return self.trades[:limit]


def main() -> int:
    """Serve the page with this double behind it until interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--seconds", type=float, default=3600.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        view, board = FakeView(), BoardWriter(Path(directory) / "board")
        for _ in range(120):
            view.step()
            board.publish(view)
        reader = subprocess.Popen([sys.executable, "-m", "cstd.ops.reader", "--board", str(board.path), "--listen",
                                   args.listen, "--parent", str(os.getpid())])
        end_s = time.monotonic() + args.seconds
        try:
            while time.monotonic() < end_s and reader.poll() is None:
                view.step()
                board.publish(view)
                time.sleep(PUBLISH_INTERVAL_S)
        except KeyboardInterrupt:
            return 0
        finally:
            reader.terminate()
            reader.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
