"""The exchange as one object: markets, desk, credentials, state. Servers and the order flow are attached to it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from random import Random
from secrets import token_bytes

from cstd.practice.account import Account
from cstd.practice.auth import Credentials
from cstd.practice.desk import Desk, Event
from cstd.practice.history import HistoryShape, generate
from cstd.practice.instruments import Asset, Instrument
from cstd.practice.limits import PUBLIC_REST, TIERS, Counter
from cstd.practice.market import Market
from cstd.practice.readings import Readings
from cstd.practice.wire import NS_PER_S, Ids

SYSTEM_STATES = ("online", "maintenance", "cancel_only", "post_only")
START_BALANCES = {"USD": Decimal(10_000), "BTC": Decimal("0.05")}
OPENED_BEFORE_NS = 86_400 * NS_PER_S  # a day before the exchange starts: what the account has came from somewhere


class Exchange:
    """Everything the servers serve.

    Invariant: `settle` follows every action of the desk or the flow, so events leave in the order they happened.
    """

    def __init__(
        self,
        instruments: tuple[Instrument, ...],
        assets: tuple[Asset, ...],
        *,
        seed: int,
        id_seed: int,
        tier: str,
        wall_ns: int,
        history: dict[str, HistoryShape] | None,
        account: Account | None = None,
        readings: Readings | None = None,
        credentials: Credentials | None = None,
        start_raw: dict[str, int] | None = None,
        market_type: type[Market] = Market,
    ) -> None:
        self.instruments = {i.name: i for i in instruments}
        self.assets = {a.code: a for a in assets}
        self.readings = readings or Readings()
        self.ids = Ids(id_seed)
        self.tier = TIERS[tier]
        self.system = "online"
        self.upcoming_maintenance: list[object] = []  # seen on the wire, always empty; nobody documents an entry
        self.version = 0  # counts what changed the account, so that readers know when to look again
        self.markets: dict[str, Market] = {}
        starts = start_raw or {}
        for number, instrument in enumerate(instruments):
            random = Random(f"{seed} history {instrument.name}")  # noqa: S311 - a seeded past is the point
            close_raw = starts.get(instrument.name, instrument.start_raw)
            bars = {}
            if history is not None:
                bars = generate(random, history[instrument.name], close_raw=close_raw, wall_s=wall_ns // NS_PER_S)
            # Trade ids go on from one run to the next, as they do on Kraken: a client may keep the last one it saw.
            first_id = 100_000_000 * (number + 1) + wall_ns // NS_PER_S % 10_000_000 * 10
            self.markets[instrument.name] = market_type(instrument, bars, first_trade_id=first_id)
            self.markets[instrument.name].last_raw = close_raw
        self.account = account or self._opened_account(wall_ns - OPENED_BEFORE_NS)
        self.desk = Desk(self.account, self.markets, tier=self.tier, ids=self.ids, readings=self.readings)
        self.credentials = credentials or new_credentials()
        self.rest_counter = Counter(self.tier.rest_max, self.tier.rest_decay)
        self.public_rest_counter = Counter(*PUBLIC_REST) if self.readings.public_rest_limited else None
        self.wrong_trades: dict[str, Decimal | None] = {}  # by exec_id: what its fee is told too high by; None: not told at all
        self.wrong_orders: dict[str, Decimal | None] = {}  # by order id: what its cost is told too high by; None: not told at all
        self.margin_positions: dict[str, dict[str, str]] = {}  # by id; opened by somebody else: nothing here trades on margin
        self.on_private: list[Callable[[list[Event]], None]] = []
        self.on_system: list[Callable[[], None]] = []
        self.on_timers_changed: Callable[[], None] | None = None

    def _opened_account(self, wall_ns: int) -> Account:
        """Return an account whose balances were deposited at `wall_ns`, as its ledger says."""
        account = Account({})
        for asset, amount in START_BALANCES.items():
            account.book_entry(self.ids.make("L"), self.ids.make("Q"), kind="deposit", asset=asset, amount=amount,
                               fee=Decimal(0), wall_ns=wall_ns)
        return account

    def settle(self) -> None:
        """Hand private events to their listeners and tell the driver that timers may have moved."""
        events = self.desk.drain()
        if events:
            self.version += 1
            for listener in self.on_private:
                listener(events)
        if self.on_timers_changed is not None:
            self.on_timers_changed()

    def set_system(self, state: str) -> None:
        """Change the state of the whole exchange and announce it."""
        if state not in SYSTEM_STATES:
            raise ValueError(f"system state {state!r} is none of {SYSTEM_STATES}")
        self.system = state
        self.desk.system = state
        self._say_system()

    def rename(self, name: str, code: str) -> Instrument:
        """Give an instrument's base asset another code; returns what the instrument was.

        From now on orders, fills, balances and lists tell of the new name alone, of the past as well.
        """
        market = self.markets.pop(name)
        before = market.instrument
        name, pair = f"{code}/{before.quote}", f"{code}{before.quote}"
        after = replace(before, name=name, base=code, rest_id=pair, altname=pair, wsname=name)
        market.instrument = after
        self.markets[after.name] = market
        # Another object: who has looked names up in the one before looks again.
        self.instruments = {i.name: i for i in (after if i is before else i for i in self.instruments.values())}
        self.assets[code] = replace(self.assets[before.base], code=code, rest_id=code, altname=code)
        self.account.rename(before, after)
        self.version += 1
        return before

    def announce(self, entries: list[object]) -> None:
        """Announce maintenance, or with [] take what was announced back."""
        self.upcoming_maintenance = entries
        self._say_system()

    def _say_system(self) -> None:
        for listener in self.on_system:
            listener()
        self.settle()


def new_credentials() -> Credentials:
    """Return a throw-away API key and secret, random at every start."""
    return Credentials(b64encode(token_bytes(42)).decode(), b64encode(token_bytes(64)).decode())
