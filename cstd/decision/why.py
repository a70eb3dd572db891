"""Why a decision came out as it did: a decision row of the gates as a dict, and that dict as text.

The dict is the one form of an explanation: the admin socket, the status port and the page show it as it is. `GATES` says
once what each gate reads, when it passes and which rule it implements; metrics and documents are made from it.

Importing this module is cheap (a command line prints `waterfall` from JSON); explaining loads the compiled gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cstd.decision import published, scored
from cstd.units import INT64_MAX, INT64_MIN, format_raw

if TYPE_CHECKING:
    import numpy as np

    from cstd.venue.messages import InstrumentSpec

MONEY_DIGITS = 8
# Bits of a row's `rest`; its upper half is the codes.ExitReason.
BY_REST, REST_PRICED, EXIT_REASON_SHIFT = 1, 2, 4
# Of an opening: what an operator has to do with it (docs/approve.md).
ASKED_WAITS, ASKED_GIVEN, ASKED_NO_ROOM = 4, 8, 12
ASKED: Mapping[int, str] = {ASKED_WAITS: "waits", ASKED_GIVEN: "approved", ASKED_NO_ROOM: "no_room"}
ASKED_TEXTS: Mapping[str, str] = {
    "waits": "not sent: it waits for an operator (cstd approve)",
    "approved": "an operator had approved it: judged again, at the book of now",
    "no_room": "not sent: it would have to wait for an operator, and as many wait as may",
}
# Why a position is left, as screens say it; without an entry: a row that is older than reasons.
EXIT_TEXTS: Mapping[str, str] = {
    "stop": "the verified mid reached the stop", "target": "the best bid reached the target",
    "time": "it was held for exits.horizon_s", "flip": "the strategy wants to be flat", "flatten": "an operator's flatten",
    "escalation": "the level is Emergency or above",
    "quote": "the strategy rests it at a price of its own, and nothing has to be left",
}
LEVELS = ("normal", "warning", "critical", "emergency", "shutdown")


@dataclass(frozen=True, slots=True)
class Measure:
    """What a gate's value and limit are: the configuration key of the limit, how raw integers read, which way it bounds.

    Attributes:
        digits: raw = shown × 10^digits.
        unit: of what is shown; "money" stands for the account currency.
        bound: "max", "min", or "switch" where value and limit do not compare.
        strict: the limit itself does not pass.
    """

    key: str
    unit: str
    digits: int = 0
    bound: str = "max"
    strict: bool = False


@dataclass(frozen=True, slots=True)
class GateInfo:
    """One gate as documents and screens describe it.

    Attributes:
        code: 1-7 policy, 11-18 risk. name, group: as in metrics and on pages.
        measure: of the gate's main condition.
        reads, passes_when: the four facts of csrc/gates_policy.h and gates_risk.h, in one line each.
        on_fail: refuse or reduce. rules: the published rules whose purpose it serves (published.py), at least one.
    """

    code: int
    name: str
    measure: Measure
    reads: str
    passes_when: str
    on_fail: str
    rules: tuple[published.Rule, ...]

    @property
    def group(self) -> str:
        """`policy` or `risk`."""
        return "policy" if self.code < 10 else "risk"

    @property
    def key(self) -> str:
        """Configuration key of the main limit."""
        return self.measure.key

    @property
    def unit(self) -> str:
        """Unit of the main limit."""
        return self.measure.unit


P = published

GATES: tuple[GateInfo, ...] = (
    GateInfo(1, "idempotency", Measure("policy.parents_per_instrument_hour_max", "parents/h"),
             "client order id, dedupe key, UNKNOWN intents, parents per hour and minute, turnover, losing round trips",
             "the id is new, no parent has the same key in the window, and every count stays within its maximum", "refuse",
             (P.THROTTLE, P.MESSAGES, P.POST_TRADE, P.SEC_ERRONEOUS, P.FIA_REPEATED, P.FIA_THROTTLE)),
    GateInfo(2, "spread", Measure("policy.spread_bps_max", "bps", 3), "best bid and ask of others",
             "(ask - bid) / mid <= limit", "refuse", (P.PRE_TRADE, P.FIA_DATA)),
    GateInfo(3, "depth", Measure("policy.depth_value_min", "money", MONEY_DIGITS, "min"),
             "visible value of the exit side within the band around mid, notional",
             "depth >= max(limit, multiple × notional)", "refuse below the floor, reduce below the multiple",
             (P.PRE_TRADE, P.FIA_SIZE)),
    GateInfo(4, "volume", Measure("policy.volume_hour_min", "money", MONEY_DIGITS, "min"),
             "traded value of the last hour, notional", "volume >= limit and notional <= share of the mean minute", "refuse",
             (P.VOLUME, P.SEC_ERRONEOUS, P.FIA_SIZE)),
    GateInfo(5, "slippage", Measure("policy.exit_cost_bps_max", "bps", 3),
             "walk of the exit side, markout allowance, slippage paid today and its P95",
             "exit cost + allowance <= limit, and today's slippage and P95 within theirs", "refuse",
             (P.PRE_TRADE, P.POST_TRADE, P.FIA_POST_TRADE)),
    GateInfo(6, "time_in_force", Measure("policy.deadline_ms", "ms", 6), "post-only, time in force, deadline, lifetime",
             "openings: post-only and GTD; exits: IOC or GTD; deadline 1 to 2 s", "refuse",
             (P.PRE_TRADE, P.FIA_DISCONNECT)),
    GateInfo(7, "price", Measure("policy.price_band_bps_max", "bps", 3),
             "price, quantity, tick, lot, the venue's minimum, mid, reference price",
             "the venue would take it, it does not cross, and it lies within the band; exits: within their collar", "refuse",
             (P.COLLARS, P.SEC_ERRONEOUS, P.FIA_PRICE)),
    GateInfo(11, "kill_switch", Measure("", "level", 0, "switch"), "kill latch, state of the daemon, escalation level",
             "nothing is latched, the daemon is ready, the level leaves openings a size", "refuse",
             (P.KILL, P.POST_TRADE, P.FIA_KILL)),
    GateInfo(12, "data_gap", Measure("risk.evidence_s", "s", 9),
             "book state and fault, age of evidence, silence, venue, instrument, private stream, conversion, clock",
             "the book is verified and its quote has evidence within the limit; all streams and the clock are in order",
             "refuse", (P.MONITORING, P.FIA_DATA)),
    GateInfo(13, "day_loss", Measure("risk.day_loss_critical_bps", "bps", strict=True),
             "the worse of the UTC day and the last 24 h", "loss < limit and loss < the absolute amount", "refuse",
             (P.CREDIT, P.POST_TRADE, P.SEC_CAPITAL)),
    GateInfo(14, "drawdown", Measure("risk.drawdown_critical_bps", "bps", strict=True), "drawdown from the persisted peak",
             "drawdown < limit", "refuse", (P.CREDIT, P.POST_TRADE, P.SEC_CAPITAL)),
    GateInfo(15, "position_count", Measure("risk.positions_max", "positions"), "positions and openings in other instruments",
             "count, this one included, <= limit", "refuse", (P.PRE_TRADE, P.FIA_POSITION)),
    GateInfo(16, "total_exposure", Measure("risk.exposure_bps_max", "money", MONEY_DIGITS),
             "positions, open and UNKNOWN orders, notional, equity", "exposure with this order <= share of equity", "reduce",
             (P.CREDIT, P.POST_TRADE, P.SEC_CAPITAL, P.FIA_POSITION)),
    GateInfo(17, "position_size", Measure("risk.position_bps_max", "money", MONEY_DIGITS),
             "exposure of the asset, notional, equity, side", "asset with this order <= share of equity, and it is a long",
             "reduce", (P.VALUE, P.CREDIT, P.SEC_CAPITAL, P.FIA_SIZE, P.FIA_POSITION)),
    GateInfo(18, "correlation", Measure("risk.cluster_bps_max", "money", MONEY_DIGITS),
             "exposure of what moves together, notional, equity", "cluster with this order <= share of equity", "reduce",
             (P.CREDIT, P.SEC_CAPITAL, P.FIA_POSITION)),
)
BY_CODE: Mapping[int, GateInfo] = {gate.code: gate for gate in GATES}
BOUND_CODE = 20
BOUND_NAME = "managed_bound"  # the bound on exits (systems 6.1): no gate, but it can refuse or cut an exit

# Where another than the main condition decided, value and limit are of that one.
_MEASURE_OF_REASON: Mapping[str, Measure] = {
    "minute_rate": Measure("policy.parents_per_minute_max", "parents/min"),
    "turnover": Measure("policy.turnover_equity_multiple_max", "money", MONEY_DIGITS),
    "losing_streak": Measure("policy.losing_round_trips_max", "losing round trips"),
    "order_share": Measure("policy.volume_minute_frac_max", "money", MONEY_DIGITS),
    "slippage_day": Measure("policy.slippage_day_bps_max", "bps", 3),
    "slippage_p95": Measure("policy.slippage_p95_bps_max", "bps", 3),
    "lifetime": Measure("policy.lifetime_s_max", "s", 9),
    "reference": Measure("policy.reference_band_bps_max", "bps", 3),
    "clock": Measure("risk.clock_offset_ms_max", "ms", 6),
    "silent": Measure("risk.silence_s", "s", 9),
    "book_unverified": Measure("risk.grace_ms", "ms", 6),
    "book_fault": Measure("", "fault", 0, "switch"),
    "loss_amount": Measure("risk.day_loss_max", "money", MONEY_DIGITS, strict=True),
}
# Reasons that are a state and no number: the gate's number may be inside its limit, so the state is the value.
_STATES = frozenset({"killed", "paused", "not_ready", "halted", "parity_halt", "venue_state", "instrument_state",
                     "private_stream", "conversion"})
_STATE = Measure("", "", 0, "switch")
_DEPTH_MULTIPLE = Measure("policy.depth_multiple_min", "money", MONEY_DIGITS, "min")
_COLLAR = Measure("exits.collar_steps_bps", "bps", 3)

# What lets a gate pass that no number describes.
_REMEDY: Mapping[str, str] = {
    "bad_input": "a number inside its domain", "overflow": "a number that fits", "no_book": "a book with both sides",
    "warming_up": "an hour of history", "id_seen": "an id that was never encoded",
    "unknown_pending": "the UNKNOWN order resolved", "duplicate": "a new wish, or the window's end",
    "losing_streak": "`cstd resume`, which switches the instrument on", "book_too_thin": "a smaller quantity, or a deeper book",
    "not_post_only": "post-only", "wrong_tif": "GTD, or IOC for an exit", "deadline": "a deadline of 1 to 2 s",
    "off_tick": "a multiple of the tick", "off_lot": "a multiple of the lot",
    "below_minimum": "the venue's minimum quantity and cost", "crossing": "a price that does not cross",
    "no_reference": "a current index price of the futures feed (docs/futures.md)",
    "killed": "the kill switch cleared", "paused": "resume",
    "not_ready": "the state ready", "halted": "the end of the halt, whose reason `cstd status` names",
    "parity_halt": "the end of the parity halt",
    "level": "a lower level: five clean minutes, or `cstd resume`", "book_unverified": "a verified book",
    "book_fault": "a book without fault", "stale": "evidence that the quote is current", "silent": "data of the instrument",
    "venue_state": "the venue online", "instrument_state": "the instrument online",
    "private_stream": "the private stream up and reconciled", "conversion": "a fresh conversion rate",
    "clock": "a clock that agrees with the venue", "long_only": "a buy: there are no shorts",
    "above_managed": "at most the managed free quantity",
}


@dataclass(frozen=True, slots=True)
class _Words:
    """Code to word, of every enum a row holds."""

    why: Mapping[int, str]
    kind: Mapping[int, str]
    side: Mapping[int, str]
    verdict: Mapping[int, str]
    time_in_force: Mapping[int, str]
    strategy: Mapping[int, str]
    exit_reason: Mapping[int, str]


@cache
def _words() -> _Words:
    from cstd._fast import codes, gates
    from cstd.decision.setup import STRATEGY_CODES

    def lower(members: Any, prefix: str = "") -> dict[int, str]:
        return {int(member): member.name.removeprefix(prefix).lower() for member in members}

    return _Words(
        why=lower(gates.Why, "WHY_"), kind=lower(codes.IntentKind), side=lower(codes.Side), verdict=lower(codes.Verdict),
        time_in_force=lower(codes.TimeInForce), strategy={code: name for name, code in STRATEGY_CODES.items()},
        exit_reason=lower(codes.ExitReason, "EXIT_"),
    )


def gate_name(code: int) -> str | None:
    """Return the name of a gate's code, None for 0."""
    if code == 0:
        return None
    return BOUND_NAME if code == BOUND_CODE else BY_CODE[code].name


def failing_gates(row: np.void) -> dict[str, str]:
    """Return the gates of a row (dtype DECISION_DTYPE) that fail and may refuse it, in their order, with the reason of each."""
    recorded, why = int(row["recorded_mask"]), _words().why
    return {gate.name: why[reason] for index, (gate, reason) in enumerate(zip(GATES, row["reason"].tolist(), strict=True))
            if reason and not recorded >> index & 1}


def _shown(raw: int, measure: Measure) -> int | str | None:
    """Return a raw integer as the measure reads; None where the row holds no number."""
    if raw in (INT64_MAX, INT64_MIN):
        return None
    if measure.unit == "level" and 0 <= raw < len(LEVELS):
        return LEVELS[raw]
    if measure.digits == 0:
        return raw
    text = format_raw(raw, measure.digits)
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0')}" if fraction.rstrip("0") else whole


def _would_pass(reason: str, limit: int | str | None, unit: str, measure: Measure) -> str:
    if reason in _REMEDY:
        return _REMEDY[reason]
    word = "at least" if measure.bound == "min" else "below" if measure.strict else "at most"
    return f"{word} {limit} {unit}".rstrip()


def _explain_gate(row: np.void, index: int, gate: GateInfo, currency: str, *, exit_: bool) -> dict[str, object]:
    """Return one gate of a row."""
    reason = _words().why[int(row["reason"][index])]
    names, at = ("policy", index) if gate.code < 10 else ("risk", index - 7)
    value_raw, limit_raw = int(row[f"{names}_value"][at]), int(row[f"{names}_limit"][at])
    measure = _MEASURE_OF_REASON.get(reason, gate.measure)
    if exit_ and gate.name == "price":
        measure = _COLLAR
    elif gate.name == "depth" and reason == "over_limit":
        measure = _DEPTH_MULTIPLE
    value, limit = _shown(value_raw, measure), _shown(limit_raw, measure)
    if reason in _STATES:
        measure, value, limit = _STATE, reason, None
    unit = currency if measure.unit == "money" else measure.unit
    margin = None
    if value is not None and limit is not None and measure.bound != "switch":
        margin = _shown(value_raw - limit_raw if measure.bound == "min" else limit_raw - value_raw, measure)
    passed = reason == "passed"
    return {
        "gate": gate.code, "code": gate.code, "group": gate.group, "name": gate.name, "key": measure.key, "unit": unit,
        "value": value, "limit": limit, "bound": measure.bound, "strict": measure.strict, "margin": margin, "passed": passed,
        "recorded": bool(int(row["recorded_mask"]) >> index & 1), "reason": reason,
        "would_pass": None if passed else _would_pass(reason, limit, unit, measure),
    }


def _ways(row: np.void) -> dict[str, object]:
    """Why an exit goes, which way, and where its price is from; its bid and ask are of the same source."""
    rest = int(row["rest"])
    reason = _words().exit_reason.get(rest >> EXIT_REASON_SHIFT)
    return {"exit_reason": None if reason == "untold" else reason,
            "route": "rest" if rest & BY_REST else "socket", "price_from": "rest_snapshot" if rest & REST_PRICED else "book"}


def explain(row: np.void, spec: InstrumentSpec, *, currency: str = "", cluster: list[str] | None = None,
            signal: Mapping[str, Any] | None = None) -> dict[str, object]:
    """Return a decision row as a dict of plain values; decimals are strings.

    Args:
        row: shape (), dtype DECISION_DTYPE.
        spec: the instrument's name and precisions.
        currency: the account currency; the instrument's quote when empty.
        cluster: the instruments that gate 18 counted together, where they are known.
        signal: the verdict that a decision of the ensemble was made under, where it is kept.

    Returns:
        the row's facts and `gates`, fifteen dicts in order, policy first. A failed gate that could not refuse this
        intent (an exit's, or a re-judged order's) has `recorded` set. All have a `route`, socket or rest; openings take
        the socket alone. Exits have an `exit_reason` (EXIT_TEXTS) and a `price_from` (book or rest_snapshot); openings an
        `approval` (ASKED), where an operator has to do with it. Decisions of the ensemble have a `signal`
        (cstd.decision.scored), None where it is not kept any more.
    """
    words = _words()
    exit_ = words.kind.get(int(row["kind"])) == "exit"

    def price(name: str) -> str | None:
        raw = int(row[name])
        return None if raw in (INT64_MIN, INT64_MAX) else format_raw(raw, spec.price_precision)

    def qty(name: str) -> str:
        return format_raw(int(row[name]), spec.qty_precision)

    def money(name: str) -> object:
        return _shown(int(row[name]), Measure("", "money", MONEY_DIGITS))

    money_unit = currency or spec.quote
    return {
        "intent_seq": int(row["intent_seq"]), "event_seq": int(row["event_seq"]),
        "decided_wall_ns": int(row["decided_wall_ns"]), "instrument": spec.name,
        "strategy": words.strategy.get(int(row["strategy"]), str(int(row["strategy"]))),
        "kind": words.kind.get(int(row["kind"]), "unknown"), "side": words.side.get(int(row["side"]), "unknown"),
        "episode": int(row["episode"]), "rejudged": bool(row["rejudge"]), "shadow": bool(row["shadow"]),
        "verdict": words.verdict[int(row["verdict"])], "verdict_reason": words.why[int(row["verdict_reason"])],
        "first_failing": gate_name(int(row["first_failing"])), "reduced_by": gate_name(int(row["reduced_by"])),
        "cluster": cluster,
        "price": price("price_raw"), "bid": price("bid_raw"), "ask": price("ask_raw"),
        "qty_requested": qty("qty_requested_raw"), "qty_final": qty("qty_final_raw"),
        "counterfactual_qty": qty("counterfactual_qty_raw"), "managed_free_qty": qty("managed_free_qty_raw"),
        "time_in_force": words.time_in_force.get(int(row["time_in_force"]), "unknown"),
        "level": LEVELS[int(row["level"])], "size_multiplier": _shown(int(row["size_multiplier_e4"]), Measure("", "", 4)),
        "currency": money_unit, "equity": money("equity_acct_raw"), "notional": money("notional_acct_raw"),
        "depth": money("depth_acct_raw"), "exit_cost_bps": _shown(int(row["exit_cost_mbps"]), Measure("", "bps", 3)),
        "checksum": int(row["checksum"]), "cl_ord_id": bytes(row["cl_ord_id"]).decode("ascii", "replace"),
        "child": int(row["child"]), "attempt": int(row["attempt"]),
        "approval": None if exit_ else ASKED.get(int(row["rest"])), **(_ways(row) if exit_ else {"route": "socket"}),
        **({"signal": scored.shown(signal, int(row["decided_wall_ns"])) if signal else None}
           if words.strategy.get(int(row["strategy"])) == "ensemble" else {}),
        "config_hash8": bytes(row["config_hash8"]).hex(), "agents_hash8": bytes(row["agents_hash8"]).hex(),
        "gates": [_explain_gate(row, index, gate, money_unit, exit_=exit_) for index, gate in enumerate(GATES)],
    }


_SIGNS = {"max": "<=", "min": ">=", "switch": ".."}


def _gate_line(gate: Mapping[str, Any], first: object) -> str:
    """Return one gate as a line of fixed columns; the first failing one is marked."""
    value = "–" if gate["value"] is None else str(gate["value"])
    limit = "–" if gate["limit"] is None else str(gate["limit"])
    if gate["passed"]:
        result, note = "pass", "" if gate["margin"] is None else f"margin {gate['margin']}"
    else:
        result = "noted" if gate["recorded"] else "FAIL"
        note = f"{str(gate['reason']).replace('_', ' ')}; passes with {gate['would_pass']}"
    mark = ">" if gate["name"] == first else " "
    name = str(gate["name"]).replace("_", " ")
    sign = "<" if gate["strict"] else _SIGNS[gate["bound"]]
    line = f"{mark} {gate['gate']:>2} {name:<15} {value:>16} {sign:<2} {limit:<12} {gate['unit']:<13} {result:<5}  {note}"
    return line.rstrip()


def waterfall(decision: Mapping[str, Any]) -> str:
    """Return an explained decision as text for a terminal: the verdict, the fifteen gates, what would have passed."""
    verdict = str(decision["verdict"]).upper()
    head = (f"{verdict}  {decision['side']} {decision['instrument']} {decision['qty_requested']} @ {decision['price']}"
            f"  ({decision['kind']}, {decision['strategy']}, intent {decision['intent_seq']}, episode {decision['episode']})")
    market = (f"  bid {decision['bid'] or '–'}  ask {decision['ask'] or '–'}  level {decision['level']}"
              f"  notional {decision['notional'] or '–'} {decision['currency']}"
              f"  equity {decision['equity'] or '–'} {decision['currency']}")
    lines = [head, market]
    if decision.get("rejudged"):
        lines.append("  an order of ours that rests, judged again in a later market; where a gate fails it is canceled")
    if decision.get("shadow"):
        lines.append("  in shadow: decided, not sent")
    if decision.get("approval"):
        lines.append(f"  {ASKED_TEXTS[str(decision['approval'])]}")
    if decision.get("exit_reason"):
        lines.append(f"  exit by {decision['exit_reason']}: {EXIT_TEXTS[str(decision['exit_reason'])]}")
    if decision.get("route") == "rest":
        lines.append("  by REST: the private socket stays down")
    if decision.get("price_from") == "rest_snapshot":
        lines.append("  bid and ask are of a REST snapshot: the book cannot be used")
    if decision.get("signal"):
        lines.extend(scored.lines(decision["signal"], decision["size_multiplier"]))
    group = None
    for gate in decision["gates"]:
        if gate["group"] != group:
            group = gate["group"]
            lines.append(f"  {group}")
        lines.append(_gate_line(gate, decision["first_failing"]))
        if gate["name"] == "correlation" and decision.get("cluster"):
            lines.append(f"       together with it: {', '.join(decision['cluster'])}")
    lines.append(f"  {_outcome(decision)}")
    lines.append(f"  {_where(decision)}, config {decision['config_hash8']}")
    if (decision.get("journal") or {}).get("command"):
        lines.append(f"  {decision['journal']['command']}")
    return "\n".join(lines) + "\n"


def _where(decision: Mapping[str, Any]) -> str:
    """Return where in the journal to look: the decision's own record, and the range that it belongs to where that is known."""
    # The record of the decision follows the last one that it was made from.
    own_seq, known = int(decision["event_seq"]) + 1, decision.get("journal") or {}
    if known.get("from_seq") is None:
        return f"journal record {own_seq}"
    order = f"the order is {known['order_state']}" if known.get("order_state") else "no order"
    return f"journal records {known['from_seq']} to {known['to_seq']} (the decision {own_seq}; {order})"


def _outcome(decision: Mapping[str, Any]) -> str:
    unsent = "; not sent: in shadow" if decision.get("shadow") else ""
    if decision["verdict"] == "approve":
        return f"approved: {decision['qty_final']}{unsent}"
    if decision["verdict"] == "reduce":
        by = str(decision["reduced_by"]).replace("_", " ")
        return f"reduced from {decision['qty_requested']} to {decision['qty_final']} by {by}{unsent}"
    reason = str(decision["verdict_reason"]).replace("_", " ")
    by = str(decision["first_failing"]).replace("_", " ")
    passing = decision["counterfactual_qty"]
    none = not str(passing).strip("0.")
    return f"refused by {by} ({reason}); " + ("no quantity would have passed" if none else f"{passing} would have passed")
