"""What goes from the journal of one build to the journal of the next: docs/handover.md.

A journal is read by builds that decide what it says, a checkpoint by its own build alone. An upgrade that decides otherwise
begins a new journal, and must not forget what limits and positions stand on. So the old build, stopped, writes it down as a
document of plain values; the new one's first boot event holds that document, and an engine that takes it stands where a
restart would have left the old one. Everything else (books, bars, agents, the strategy's state) is heard or begun anew.

Each part is written with the names of its attributes; a test compares them with the attributes that there are, so that a new
one is carried or is left out for a reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cstd import __version__
from cstd._fast.carried import add_openings, decided, go_on_leaving, openings, set_decided
from cstd._fast.codes import OrderState
from cstd.config import Config
from cstd.decision.levels import ConditionLevel
from cstd.decision.operator_limits import OperatorLimits
from cstd.errors import InvariantError, OperatorError
from cstd.ledger.positions import Fill, Position
from cstd.orders.adoption import Adopted, Adoption
from cstd.orders.exit_policy import Began
from cstd.orders.lifecycle import STATE_NAMES
from cstd.units import NS_PER_S
from cstd.venue.messages import InstrumentSpec

if TYPE_CHECKING:
    from cstd.engine.flow import Engine

SCHEMA = 1
# Far more than any look-up or snapshot of a start goes back to; of fills always those that no agreed balance has in it as well.
FILLS_CARRIED = 2_000
ORDERS_CARRIED = 2_000
HOUR_NS, MINUTE_NS = 3_600 * NS_PER_S, 60 * NS_PER_S
OTHER_BUILD = "go back to the build that wrote it, or be flat and begin without it"


def _without_underscore(name: str) -> str:
    return name.lstrip("_")


class Part(msgspec.Struct, forbid_unknown_fields=True, rename=_without_underscore):
    """Attributes of one part of the engine, by their names; what is not known here is refused."""


class HoldingPart(Part):
    """Of ledger.positions.Position: all of it."""

    base: str
    quote: str
    price_precision: int
    qty_precision: int
    qty_raw: int
    rest: Decimal
    cost: Decimal
    bought_at: Decimal
    since_wall_ns: int
    realized: Decimal
    fees: Decimal
    trip: Decimal
    losing_round_trips: int
    ended_trip: Decimal | None
    streak_before: int


class LedgerPart(Part):
    """Of ledger.positions.Ledger."""

    cash_flow: Decimal
    turnover_day: Decimal
    _turnover_day_number: int


class CashPart(Part):
    """Of ledger.cash.Cash."""

    own: Decimal | None
    rounding: Decimal
    _told: dict[str, Decimal]
    _others: dict[str, Decimal]
    _untold: dict[str, Decimal]
    _unagreed: dict[str, None]
    _contained: dict[str, None]
    _fills_seen: int


class BalancesPart(Part):
    """Of orders.balances.Balances. In the document `agreed` has the number of fills booked since, not until then."""

    own: dict[str, Decimal]
    _agreed: dict[str, tuple[Decimal, int]]
    _moves: dict[str, tuple[str, Decimal]]
    _moves_seen: dict[str, int]
    _moves_until_ns: int


class NavPart(Part):
    """Of ledger.nav.Nav, in 10^-8 of the account currency."""

    capital: int
    peak: int
    day_start: int
    _day: int
    _samples: list[tuple[int, int]]
    contributed: int = 0


class SlippagePart(Part):
    """Of ledger.nav.Slippage."""

    day_raw: int
    _day: int
    _fills: list[tuple[int, int]]


class KillPart(Part):
    """Of decision.kill.KillSwitch."""

    latched: bool
    hold: bool
    reason: str
    shadow: bool
    _latch_count: int


class DeskPart(Part):
    """Of orders.desk.RiskDesk."""

    paused: bool
    halt_reason: str | None
    balances: dict[str, Decimal]
    parity_halt: bool = False


class AdoptionPart(Part):
    """Of orders.adoption.Adoption; instruments by place in the document's list of them."""

    _asked: str | list[str]
    waiting: dict[int, str]
    taken: list[Adopted]
    first: dict[int, Decimal] = {}


class ReconcilerPart(Part):
    """Of orders.reconcile.Reconciler."""

    _since_wall_ns: int


class ExitsPart(Part):
    """Of orders.exit_policy.ExitPolicy; by place in the document's list of instruments."""

    _began: dict[int, Began]


class SlotPart(Part):
    """Of an instrument's slot: what its holdings are valued by, and what an operator asked for."""

    tick_raw: int
    lot_raw: int
    qty_min_raw: int
    cost_min_e8: int
    rate_e8: int
    last_verified_bid_raw: int
    online: bool
    switched_off: bool
    flatten: bool


class Instrument(Part):
    """One instrument. holding: None where its digits were never told. spec: the venue's rules in force, None for none."""

    name: str
    holding: HoldingPart | None
    spec: InstrumentSpec | None
    slot: SlotPart
    leaving: int  # codes.ExitReason
    openings: list[int]
    decided: tuple[tuple[int, int], tuple[int, int]]
    rate_micro: int


class EndedOrder(Part):
    """An order that has ended, as the tracker's history has it; `instrument` is a place in the list of instruments."""

    index: int
    cl_ord_id: str
    order_id: str
    instrument: int
    state: int
    kind: int
    side: int
    time_in_force: int
    post_only: int
    price_raw: int
    qty_raw: int
    filled_raw: int
    leaves_raw: int
    mid2_raw: int
    sent_mono_ns: int
    sent_wall_ns: int
    expire_wall_ns: int
    deadline_wall_ns: int
    intent_seq: int
    episode: int
    req_id: int
    cancel_sent: int
    cancel_mono_ns: int
    cancel_reason: int
    changed_mono_ns: int
    strategy: int
    amend_qty_raw: int
    amend_price_raw: int
    amended_mono_ns: int
    follows: bool
    follow_amends: int
    exit_reason: int
    reason: str
    price_precision: int
    qty_precision: int


class LimitSet(Part):
    """A command that stands: an operator's, or of a reload."""

    instrument: str
    key: str
    value: str
    uid: int | None
    pid: int | None
    wall_ns: int
    reason: str
    by_reload: bool = False


class Origin(Part):
    """Where a handover comes from: the journal's last record, the digest of what it decided, and who wrote it down."""

    version: str
    config_hash: str
    journal_id: str
    seq: int
    hash: str
    digest: str


class Handover(Part):
    """The document. wall_ns: of the last record; boot_epoch: of the last start."""

    schema: int
    mode: str
    currency: str
    owner_prefix: str
    boot_epoch: int
    wall_ns: int
    origin: Origin
    instruments: list[Instrument]
    ledger: LedgerPart
    fills: list[Fill]
    orders: list[EndedOrder]
    cash: CashPart
    balances: BalancesPart
    reconciler: ReconcilerPart
    nav: NavPart
    slippage: SlippagePart
    slippage_bps: dict[str, Decimal]
    exits: ExitsPart
    kill: KillPart
    loss_level: int
    conditions_level: int
    desk: DeskPart
    limits: list[LimitSet]
    openings_minute: list[int]
    adoption: AdoptionPart | None = None  # of a build that knew none


class Taken(msgspec.Struct, frozen=True):
    """What is kept of a handover that was taken: its SHA-256, and up to when it tells."""

    sha256: str
    wall_ns: int


# The old build's side.

def why_not(engine: Engine) -> str:
    """Return why nothing can be handed over from here, "" where it can.

    Nothing may be live or UNKNOWN: a later journal would not know its orders. And only a stop that came to its end leaves
    nothing at the venue that the journal does not know.
    """
    if engine.cfg is None:
        return "the journal holds no start of a daemon yet"
    core = engine.core
    if core.fault is not None:
        return f"the engine has failed: {core.fault}"
    live = [core.order(index) for index in core.live_orders()]
    if live:
        told = ", ".join(f"{order['cl_ord_id']} ({STATE_NAMES[OrderState(order['state'])]})" for order in live)
        return f"orders may still be open at the venue: {told}"
    if not engine.stopping:
        return "the journal does not end with a stop: the daemon was killed, and what it sent last may not be in it"
    return ""


def document(engine: Engine, wall_ns: int, *, journal_id: str, seq: int, head_hash: str) -> bytes:
    """Return what an engine at the end of its journal hands over, as JSON. wall_ns: of the journal's last record.

    Raises:
        OperatorError: nothing can be handed over from here.
    """
    why = why_not(engine)
    if why or engine.cfg is None:
        raise OperatorError(f"nothing can be handed over: {why}",
                            suggestion="start the daemon once more with this build, and stop it when it is ready")
    tracker, risk, balances = engine.tracker, engine.risk, engine.reconciler.balances
    balances.cash.on_trades({}, ())  # the fills that it has not looked at yet
    fills = _fills(engine)
    booked = len(engine.ledger.fills)
    agreement = _read(BalancesPart, balances)
    agreed: dict[str, tuple[Decimal, int]] = msgspec.structs.asdict(agreement)["_agreed"]
    return msgspec.json.encode(Handover(
        schema=SCHEMA, mode=engine.cfg.mode, currency=engine.cfg.account.currency,
        owner_prefix=engine.cfg.account.owner_prefix, boot_epoch=engine.boot_epoch, wall_ns=wall_ns,
        origin=Origin(__version__, engine.config_hash, journal_id, seq, head_hash, engine.recorder.hexdigest()),
        instruments=[_instrument(engine, number, wall_ns) for number in range(len(engine.names))],
        ledger=_read(LedgerPart, engine.ledger), fills=fills,
        orders=[EndedOrder(**{name: order[name] for name in EndedOrder.__struct_fields__})
                for order in list(tracker.history.values())[-ORDERS_CARRIED:]],
        cash=_read(CashPart, balances.cash),
        balances=msgspec.structs.replace(agreement, _agreed={
            asset: (held, booked - until) for asset, (held, until) in agreed.items()}),
        reconciler=_read(ReconcilerPart, engine.reconciler), nav=_read(NavPart, engine.nav),
        slippage=_read(SlippagePart, tracker.slippage),
        slippage_bps={fill.exec_id: tracker.slippage_bps[fill.exec_id] for fill in fills
                      if fill.exec_id in tracker.slippage_bps},
        exits=_read(ExitsPart, risk.exits), kill=_read(KillPart, risk.kill), loss_level=risk.levels.loss_level,
        conditions_level=risk.levels.conditions.level, desk=_read(DeskPart, risk), limits=_limits(risk.limits),
        openings_minute=openings(engine.core, None, wall_ns - MINUTE_NS), adoption=_read(AdoptionPart, risk.adoption)))


def _fills(engine: Engine) -> list[Fill]:
    """The newest fills: those that no agreed balance has in it among them."""
    fills = list(engine.ledger.fills.values())
    agreed = [until for _, until in getattr(engine.reconciler.balances, "_agreed").values()]  # noqa: B009 -- a part's own
    return fills[min([max(0, len(fills) - FILLS_CARRIED), *agreed]):]


def _instrument(engine: Engine, number: int, wall_ns: int) -> Instrument:
    name, slot = engine.names[number], engine.core.slots[number]
    position = engine.ledger.positions.get(number)
    spec = engine.feed.specs.get(name)
    return Instrument(
        name=name, holding=_read(HoldingPart, position) if position is not None else None,
        spec=spec if slot.configured else None, slot=_read(SlotPart, slot), leaving=slot.exit_watch()[3],
        openings=openings(engine.core, slot, wall_ns - HOUR_NS), decided=decided(slot),
        rate_micro=slot.rate_micro(engine.core.mono_ns))


def _limits(limits: OperatorLimits) -> list[LimitSet]:
    return [LimitSet(instrument, key, f"{change.value:f}" if isinstance(change.value, Decimal) else str(change.value),
                     change.uid, change.pid, change.wall_ns, change.reason, by_reload)
            for by_reload, slot in ((False, limits.changes), (True, limits.reloaded))
            for instrument, changes in slot.items() for key, change in changes.items()]


# The new build's side.

class _Peek(msgspec.Struct):
    schema: int


def read(content: bytes) -> Handover:
    """Return a document.

    Raises:
        OperatorError: it is written in a way that is not known here.
    """
    try:
        schema = msgspec.json.decode(content, type=_Peek).schema
        if schema != SCHEMA:
            raise OperatorError(f"the handover is of schema {schema}, this build reads {SCHEMA}", suggestion=OTHER_BUILD)
        return msgspec.json.decode(content, type=Handover)
    except msgspec.MsgspecError as error:
        raise OperatorError(f"the handover cannot be read here: {error}", suggestion=OTHER_BUILD) from error


def differences(given: Handover, cfg: Config) -> list[str]:
    """Return why a configuration cannot take a handover; none where it can."""
    pairs = (("mode", given.mode, cfg.mode), ("account.currency", given.currency, cfg.account.currency),
             ("account.owner_prefix", given.owner_prefix, cfg.account.owner_prefix))
    found = [f"{key} is {theirs} in the handover and {ours} here" for key, theirs, ours in pairs if theirs != ours]
    found += [f"{row.name} is held and is not in instruments.names" for row in given.instruments
              if row.holding is not None and (row.holding.qty_raw or row.holding.rest)
              and row.name not in cfg.instruments.names]
    try:
        limits = OperatorLimits()
        limits.configure(cfg)
        _take_limits(limits, given, set(cfg.instruments.names))
    except OperatorError as error:
        found.append(f"a limit that an operator set: {error.message}")
    return found


def take(engine: Engine, row: dict[str, Any], *, first: bool) -> None:
    """Let an engine that has just been built stand where the one before stopped; `row` is the boot event's `handover`.

    Raises:
        InvariantError: it cannot be taken: no start journals one that was not looked at before.
    """
    given = read(msgspec.json.encode(row["content"]))
    assert engine.cfg is not None
    found = differences(given, engine.cfg)
    if not first:
        found.append("a handover begins a journal, and this one has begun")
    if engine.boot_epoch <= given.boot_epoch:
        found.append(f"boot epoch {engine.boot_epoch} is not after {given.boot_epoch}: client order ids would come twice")
    if found:
        raise InvariantError("the handover cannot be taken: " + "; ".join(found))
    numbers = {place: engine.tracker.numbers[instrument.name] for place, instrument in enumerate(given.instruments)
               if instrument.name in engine.tracker.numbers}
    _take_instruments(engine, given, numbers)
    _take_books(engine, given, numbers)
    _take_nav(engine, given)
    _take_latches(engine, given, numbers)
    engine.handed_over = Taken(row["sha256"], given.wall_ns)
    engine.reconciler.handed_over_wall_ns = given.wall_ns
    engine.notes.append(("warning", "handover taken", {
        "journal_id": given.origin.journal_id, "seq": given.origin.seq, "version": given.origin.version,
        "held": [engine.names[number] for number in engine.ledger.held()]}))


def _take_instruments(engine: Engine, given: Handover, numbers: dict[int, int]) -> None:
    """Digits and rules first: what is held is counted in them. What the market says of an instrument is heard anew."""
    core = engine.core
    for place, number in numbers.items():
        row, slot = given.instruments[place], core.slots[number]
        if row.holding is not None:
            core.configure(number, row.holding.price_precision, row.holding.qty_precision, row.slot.tick_raw, row.slot.lot_raw,
                           row.slot.qty_min_raw, row.slot.cost_min_e8, row.slot.rate_e8)
            position = engine.ledger.positions[number] = Position(
                row.holding.base, row.holding.quote, row.holding.price_precision, row.holding.qty_precision)
            _write(position, row.holding)
            slot.configured = row.spec is not None
        if row.spec is not None:
            engine.feed.specs[row.name] = row.spec
        _write(slot, row.slot)
        go_on_leaving(slot, row.leaving)
        add_openings(core, slot, row.openings)
        set_decided(slot, row.decided)
        slot.rate_raise(row.rate_micro, core.mono_ns)  # as it stood: the host's clock may be another since
    add_openings(core, None, given.openings_minute)


def _take_books(engine: Engine, given: Handover, numbers: dict[int, int]) -> None:
    """Fills, ended orders, and what was agreed with the venue. Of instruments that are no more nothing is held."""
    tracker, balances = engine.tracker, engine.reconciler.balances
    kept = [number in numbers for number in (fill.instrument for fill in given.fills)]
    engine.ledger.take_up({fill.exec_id: msgspec.structs.replace(fill, instrument=numbers[fill.instrument])
                           for fill, here in zip(given.fills, kept, strict=True) if here})
    _write(engine.ledger, given.ledger)
    for ended in given.orders:
        if ended.instrument in numbers:
            tracker.remember(msgspec.structs.asdict(ended) | {"instrument": numbers[ended.instrument]})
    tracker.slippage_bps.update(given.slippage_bps)
    _write(tracker.slippage, given.slippage)
    booked = sum(kept)
    agreed: dict[str, tuple[Decimal, int]] = msgspec.structs.asdict(given.balances)["_agreed"]
    _write(balances, msgspec.structs.replace(given.balances, _agreed={
        asset: (held, booked - sum(kept[max(0, len(kept) - since):])) for asset, (held, since) in agreed.items()}))
    _write(balances.cash, msgspec.structs.replace(given.cash, _fills_seen=booked))
    _write(engine.reconciler, given.reconciler)
    began: dict[int, Began] = msgspec.structs.asdict(given.exits)["_began"]
    _write(engine.risk.exits, ExitsPart({numbers[place]: row for place, row in began.items() if place in numbers}))


def _take_nav(engine: Engine, given: Handover) -> None:
    """Peak and marks hold the capital in them: another one moves them with it, and what was lost stays lost."""
    nav, before = engine.nav, given.nav
    more = nav.capital - before.capital
    samples: list[tuple[int, int]] = msgspec.structs.asdict(before)["_samples"]
    _write(nav, msgspec.structs.replace(
        before, capital=nav.capital, peak=before.peak + more, day_start=before.day_start + more,
        _samples=[(wall_ns, value + more) for wall_ns, value in samples]))


def _take_latches(engine: Engine, given: Handover, numbers: dict[int, int]) -> None:
    assert engine.cfg is not None
    risk = engine.risk
    _write(risk, given.desk)
    _write(risk.kill, given.kill)
    _take_adoption(risk.adoption, given.adoption, numbers)
    risk.levels.loss_level = given.loss_level
    risk.levels.conditions = ConditionLevel(given.conditions_level)
    _take_limits(risk.limits, given, set(engine.names))
    risk.configure(engine.cfg)  # as a restart does, with what is latched and set now


def _take_adoption(adoption: Adoption, given: AdoptionPart | None, numbers: dict[int, int]) -> None:
    """What was asked for when all began, was: coins are taken up once, and not again by a new journal."""
    given = given or AdoptionPart("none", {}, [])
    _write(adoption, msgspec.structs.replace(
        given, waiting={numbers[place]: why for place, why in given.waiting.items() if place in numbers},
        first={numbers[place]: own for place, own in given.first.items() if place in numbers},
        taken=[msgspec.structs.replace(row, instrument=numbers[row.instrument]) for row in given.taken
               if row.instrument in numbers]))


def _take_limits(limits: OperatorLimits, given: Handover, names: set[str]) -> None:
    for row in given.limits:
        if not row.instrument or row.instrument in names:
            limits.take_up(row.instrument, row.key, row.value, {"uid": row.uid, "pid": row.pid}, row.wall_ns, row.reason,
                           by_reload=row.by_reload)


# Attributes of parts, by name.

_PartT = TypeVar("_PartT", bound=Part)


def _read(kind: Callable[..., _PartT], part: object) -> _PartT:
    """Return the attributes of an engine's part that are named in `kind`."""
    fields: Iterable[str] = kind.__struct_fields__  # type: ignore[attr-defined]
    return kind(**{name: _plain(getattr(part, name)) for name in fields})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, deque) else dict(value) if isinstance(value, dict) else value


def _write(part: object, given: Part) -> None:
    """Give an engine's part the attributes that are named in `given`."""
    for name in given.__struct_fields__:
        value, before = getattr(given, name), getattr(part, name)
        setattr(part, name, deque(value, before.maxlen) if isinstance(before, deque) else value)
