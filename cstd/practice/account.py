"""The account: balances, fills, ledger entries, fees. Decimal and exact; nothing here decides, it books."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from cstd.practice.instruments import Instrument
from cstd.practice.matching import BUY, Resting

# (30-day volume in USD from which it holds, taker fraction, maker fraction): AssetPairs of July 2026.
FEE_TIERS = tuple(
    (Decimal(volume), Decimal(taker) / 100, Decimal(maker) / 100)
    for volume, taker, maker in (
        (0, "0.40", "0.25"),
        (10_000, "0.35", "0.20"),
        (50_000, "0.24", "0.14"),
        (100_000, "0.22", "0.12"),
        (250_000, "0.20", "0.10"),
        (500_000, "0.18", "0.08"),
        (1_000_000, "0.16", "0.06"),
        (2_500_000, "0.14", "0.04"),
        (5_000_000, "0.12", "0.02"),
        (10_000_000, "0.10", "0.00"),
    )
)


def fee_rows(column: int) -> list[list[int | float]]:
    """Return [volume, percent] of each tier as AssetPairs prints them; column 1 is the taker's, 2 the maker's."""
    return [[int(tier[0]), float(tier[column] * 100)] for tier in FEE_TIERS]


@dataclass(slots=True, eq=False)
class Order:
    """One order of the account, open or closed. Status words are Kraken's of the executions channel."""

    order_id: str
    instrument: Instrument
    side: int
    order_type: str
    qty_raw: int
    limit_raw: int | None
    time_in_force: str
    created_ns: int
    changed_ns: int
    cl_ord_id: str | None = None
    userref: int | None = None
    expire_ns: int | None = None
    post_only: bool = False
    display_raw: int = 0
    stp: str = "cancel_newest"
    fee_in_base: bool = False
    cash_qty: Decimal | None = None
    status: str = "pending_new"
    filled_raw: int = 0
    cost: Decimal = Decimal(0)
    fee_quote: Decimal = Decimal(0)
    fee_base: Decimal = Decimal(0)
    reason: str = ""
    closed_ns: int = 0
    amended: bool = False
    resting: Resting | None = None
    exec_ids: list[str] = field(default_factory=list)

    @property
    def leaves_raw(self) -> int:
        """Return the quantity not filled yet."""
        return self.qty_raw - self.filled_raw

    @property
    def is_open(self) -> bool:
        """Return True until the order is filled, canceled or expired."""
        return self.status in ("pending_new", "new", "partially_filled")

    @property
    def side_word(self) -> str:
        """Return `buy` or `sell`."""
        return "buy" if self.side == BUY else "sell"


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of an own order."""

    exec_id: str
    trade_id: int
    order: Order
    price_raw: int
    qty_raw: int
    cost: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: str
    wall_ns: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One signed change of one asset; `balance` is the total after it."""

    ledger_id: str
    ref_id: str
    kind: str
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal
    wall_ns: int


class Account:
    """Balances and history of one account.

    Invariant: a balance equals its start plus the sum of (amount - fee) of its ledger entries.
    """

    def __init__(
        self, balances: dict[str, Decimal], *, volume_usd: Decimal = Decimal(0), volume_moves_fees: bool = False
    ) -> None:
        self.balances = dict(balances)
        self.start_balances = dict(balances)
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.ledger: list[LedgerEntry] = []
        self.volume_usd = volume_usd
        self._volume_moves_fees = volume_moves_fees
        self._fee_volume_usd = volume_usd

    def fee_rates(self) -> tuple[Decimal, Decimal]:
        """Return (taker, maker) fractions that hold now."""
        volume = self.volume_usd if self._volume_moves_fees else self._fee_volume_usd
        taker, maker = FEE_TIERS[0][1:]
        for from_volume, tier_taker, tier_maker in FEE_TIERS:
            if volume >= from_volume:
                taker, maker = tier_taker, tier_maker
        return taker, maker

    def rename(self, before: Instrument, after: Instrument) -> None:
        """Tell everything of an instrument, and of its base asset, under another name."""
        for order in self.orders.values():
            if order.instrument is before:
                order.instrument = after
        for amounts in (self.balances, self.start_balances):
            if before.base in amounts:
                amounts[after.base] = amounts.pop(before.base)
        self.ledger = [replace(entry, asset=after.base) if entry.asset == before.base else entry for entry in self.ledger]

    def hold(self, order: Order) -> tuple[str, Decimal]:
        """Return (asset, amount) that an open order keeps from being used again; a buy's fee is held at the taker's rate."""
        instrument = order.instrument
        if order.side == BUY:
            if order.limit_raw is None:
                return instrument.quote, Decimal(0)
            cost = instrument.cost(order.limit_raw, order.leaves_raw)
            fee = Decimal(0) if order.fee_in_base else instrument.round_cost(cost * self.fee_rates()[0])
            return instrument.quote, cost + fee
        qty = Decimal(order.leaves_raw).scaleb(-instrument.qty_precision)
        return instrument.base, qty * (1 + self.fee_rates()[0]) if order.fee_in_base else qty

    def held(self, asset: str, *, without: Order | None = None) -> Decimal:
        """Return what the open orders hold of `asset`, not counting `without`."""
        total = Decimal(0)
        for order in self.open.values():
            if order is not without:
                held_asset, amount = self.hold(order)
                if held_asset == asset:
                    total += amount
        return total

    def available(self, asset: str, *, without: Order | None = None) -> Decimal:
        """Return balance less holds."""
        return self.balances.get(asset, Decimal(0)) - self.held(asset, without=without)

    def book_entry(
        self, entry_id: str, ref_id: str, *, kind: str, asset: str, amount: Decimal, fee: Decimal, wall_ns: int
    ) -> LedgerEntry:
        """Change a balance by `amount` - `fee` and return the entry that says so.

        Its time is when it is booked: never before the entry before it, though the trade it is of may carry an older one.
        """
        wall_ns = max(wall_ns, self.ledger[-1].wall_ns) if self.ledger else wall_ns
        balance = self.balances.get(asset, Decimal(0)) + amount - fee
        self.balances[asset] = balance
        entry = LedgerEntry(entry_id, ref_id, kind, asset, amount, fee, balance, wall_ns)
        self.ledger.append(entry)
        return entry
