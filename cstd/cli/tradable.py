"""Which instruments can be traded at an equity and a level, for `cstd config check`.

The venue takes no order below its minimum quantity and cost; the limits let none grow above a share of equity. Where the second
is below the first, an instrument is configured in vain. Minimums and prices are the venue's alone: they are taken from a session
that has heard them, a running daemon or the journal that one left. Without one they are not known, and nothing is put in
their place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

from cstd.clock import utc_text
from cstd.config import Config
from cstd.errors import OperatorError, UsageError, VerificationError
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import BPS_PER_UNIT, format_decimal

UNKNOWN = "not known offline: the venue's minimums and prices; --session DIR takes them from a session"
EXITS_ONLY = ("critical", "emergency", "shutdown")
SOCKET_FILE = "cstd.sock"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the venue said of an instrument: its smallest quantity and cost, its lot, its state; and the bid, None without one."""

    qty_min: Decimal
    cost_min: Decimal
    lot: Decimal
    state: str
    bid: Decimal | None


@dataclass(frozen=True, slots=True)
class Known:
    """What a session knows. equity: in the account currency, None without a session."""

    source: str
    as_of: str | None = None
    equity: Decimal | None = None
    level: str = "normal"
    rules: dict[str, Rules] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument's verdict; None where it is not known."""

    name: str
    tradable: bool | None
    reason: str
    minimum: str | None = None
    order_max: str | None = None
    price: str | None = None
    qty_min: str | None = None
    cost_min: str | None = None


def tradable(cfg: Config, known: Known) -> dict[str, Any]:
    """Return what can be traded, as `cstd.cli.outputs.Tradable`."""
    equity = cfg.account.capital if known.equity is None else min(cfg.account.capital, known.equity)
    position = equity * share_bps(cfg) / BPS_PER_UNIT
    return {"known_from": known.source, "as_of": known.as_of, "equity": _plain(equity), "level": known.level,
            "position_max": _plain(position),
            "instruments": [asdict(judged(name, known.rules.get(name), cfg, known, equity)) for name in cfg.instruments.names]}


def share_bps(cfg: Config) -> int:
    """Return the share of equity that one position may have with nothing else held: the smallest of gates 16 to 18."""
    return min(cfg.risk.position_bps_max, cfg.risk.cluster_bps_max, cfg.risk.exposure_bps_max)


def judged(name: str, rules: Rules | None, cfg: Config, known: Known, equity: Decimal) -> Instrument:
    """Return whether the largest opening within the limits, and the strategy's own, reach the venue's minimum."""
    if rules is None:
        return Instrument(name, None, UNKNOWN if not known.rules else "that session has not heard of it")
    if rules.bid is None:
        return Instrument(name, None, "no price of it is known there", qty_min=_plain(rules.qty_min),
                          cost_min=_plain(rules.cost_min))
    qty_least = _lots(max(rules.qty_min, rules.cost_min / rules.bid), rules.lot, ROUND_CEILING)
    minimum = qty_least * rules.bid
    qty_most = _lots(equity * share_bps(cfg) / BPS_PER_UNIT / rules.bid, rules.lot, ROUND_FLOOR)
    can, reason = _verdict(rules, cfg, known, equity, qty_least, qty_most)
    return Instrument(name, can, reason, _plain(minimum), _plain(qty_most * rules.bid), _plain(rules.bid), _plain(rules.qty_min),
                      _plain(rules.cost_min))


def _verdict(rules: Rules, cfg: Config, known: Known, equity: Decimal, qty_least: Decimal, qty_most: Decimal) -> tuple[bool, str]:
    assert rules.bid is not None
    currency, minimum = cfg.account.currency, qty_least * rules.bid
    if known.level in EXITS_ONLY:
        return False, f"level {known.level}: exits only"
    if rules.state != "online":
        return False, f"the venue has it {rules.state}"
    least = f"the venue's smallest order costs {minimum:.2f} {currency}"
    if qty_most < qty_least:
        needed = minimum * BPS_PER_UNIT / share_bps(cfg)
        return False, f"{least}, one position is at most {qty_most * rules.bid:.2f}: it takes an equity of {needed:.0f}"
    rehearsal = cfg.strategy.rehearsal
    if rehearsal is not None and cfg.strategy.name == "rehearsal":
        frac = cfg.risk.size_warning_frac if known.level == "warning" else Decimal(1)
        wish = _lots(equity * rehearsal.size_frac * frac / rules.bid, rules.lot, ROUND_FLOOR)
        if wish < qty_least:
            return False, f"{least}, one rehearsal order is {wish * rules.bid:.2f}: every opening would be refused"
    return True, f"{least}, one position is at most {qty_most * rules.bid:.2f}"


def _lots(qty: Decimal, lot: Decimal, rounding: str) -> Decimal:
    return (qty / lot).to_integral_value(rounding=rounding) * lot


def _plain(value: Decimal) -> str:
    return format_decimal(value.normalize())


def lines(found: dict[str, Any], currency: str) -> Iterator[str]:
    """Yield the verdicts as text."""
    as_of = f" as of {found['as_of']}" if found["as_of"] else ""
    yield f"can be traded at an equity of {found['equity']} {currency}, level {found['level']}; {found['known_from']}{as_of}:"
    words = {True: "yes", False: "no", None: "unknown"}
    shown = found["instruments"]
    if not any(row["tradable"] is not None for row in shown) and len({row["reason"] for row in shown}) == 1:
        yield f"  {shown[0]['reason']}"
        return
    width = max(len(row["name"]) for row in shown)
    for row in shown:
        yield f"  {row['name']:<{width}}  {words[row['tradable']]:<7}  {row['reason']}"


# Where it is known from.


def known_from(run_dir: str | None) -> Known:
    """Return what the session of a run directory knows: of its running daemon, else of its journal; without one nothing.

    Raises:
        UsageError: there is no session there.
        OperatorError, VerificationError: its journal cannot be replayed here.
    """
    if run_dir is None:
        return Known("no session is named")
    from cstd.ops.client import AdminClient

    directory = Path(run_dir)
    try:
        client = AdminClient(os.fspath(directory / SOCKET_FILE))
    except OperatorError:
        if not (directory / JOURNAL_DIR).is_dir():
            raise UsageError(f"{run_dir} is no run directory: no daemon answers there and it has no journal",
                             suggestion="--session names one, for example .run/current") from None
        return _of_journal(directory)
    with client:
        status, equity = client.request("status"), client.request("equity")
        return Known(f"the daemon that runs in {run_dir}", utc_text(status["wall_ns"])[:19] + "Z", Decimal(equity["equity"]),
                     status["level"], _rules(client.request("instruments"), client.request("books", {"depth": 1})))


def _of_journal(directory: Path) -> Known:
    """Return what a journal knows at its end. It is only read."""
    from cstd.daemon.view import LEVELS, LiveView
    from cstd.engine.recovery import recover
    from cstd.signals.agents.loader import load as load_agents

    found = recover(directory / JOURNAL_DIR, load_agents())
    engine, (mono_ns, wall_ns) = found.engine, found.times
    if found.replay.difference_count:
        raise VerificationError(f"this build does not decide what the journal in {directory} says: {found.replay.differences[0]}",
                                suggestion="`cstd replay --check` tells more")
    if engine.cfg is None:
        raise UsageError(f"the journal in {directory} holds no start of a daemon yet")
    view = LiveView(engine, pid=0, mono_ns=lambda: mono_ns, process=dict)
    rules = _rules([dict(row) for row in view.instruments()], [dict(book) for book in view.books(1)])
    for number, name in enumerate(engine.names):
        bid_raw, spec = engine.core.slots[number].last_verified_bid_raw, engine.feed.specs.get(name)
        if name in rules and rules[name].bid is None and bid_raw > 0 and spec is not None:
            rules[name] = Rules(rules[name].qty_min, rules[name].cost_min, rules[name].lot, rules[name].state,
                                Decimal(bid_raw).scaleb(-spec.price_precision))
    return Known(f"the journal in {directory}", utc_text(wall_ns)[:19] + "Z", Decimal(view.equity()["equity"]),
                 LEVELS[engine.core.level], rules)


def _rules(instruments: list[dict[str, Any]], books: list[dict[str, Any]]) -> dict[str, Rules]:
    bids = {book["name"]: Decimal(book["bids"][0][0]).scaleb(-book["price_precision"]) for book in books
            if book["bids"] and book["verified"]}
    return {row["name"]: Rules(Decimal(row["qty_min"]), Decimal(row["cost_min"]), Decimal(row["lot"]), row["venue_state"],
                               bids.get(row["name"]))
            for row in instruments if row["venue_state"] != "unknown" and Decimal(row["lot"]) > 0}
