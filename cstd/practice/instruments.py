"""The instruments and assets of the practice exchange, with the precisions Kraken gives them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random

from cstd.practice.wire import raw_decimal

QTY_PRECISION = 8


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset: v2 code, legacy REST id, REST altname, ledger and display decimals."""

    code: str
    rest_id: str
    altname: str
    precision: int
    precision_display: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable pair. Raw integers are in units of 10**-precision; `start_raw` is the price the flow begins at."""

    name: str
    base: str
    quote: str
    rest_id: str
    altname: str
    wsname: str
    price_precision: int
    cost_precision: int
    tick_raw: int
    qty_min_raw: int
    cost_min: Decimal
    start_raw: int
    shape: str
    qty_precision: int = QTY_PRECISION

    @property
    def value_scale(self) -> int:
        """Return 10**(price_precision + qty_precision): price_raw * qty_raw divided by this is quote currency."""
        return int(10 ** (self.price_precision + self.qty_precision))

    def value(self, price_raw: int, qty_raw: int) -> Decimal:
        """Return price times quantity in quote currency, exact."""
        return raw_decimal(price_raw * qty_raw, self.price_precision + self.qty_precision)

    def cost(self, price_raw: int, qty_raw: int) -> Decimal:
        """Return price times quantity in quote currency, rounded half up to `cost_precision` decimals."""
        return self.round_cost(self.value(price_raw, qty_raw))

    def round_cost(self, value: Decimal) -> Decimal:
        """Return a quote amount rounded half up to `cost_precision` decimals."""
        unit = Decimal(1).scaleb(-self.cost_precision)
        return value.quantize(unit, rounding="ROUND_HALF_UP")


ASSETS = (
    Asset("USD", "ZUSD", "USD", 4, 2),
    Asset("BTC", "XXBT", "XBT", 10, 5),
    Asset("ETH", "XETH", "ETH", 10, 5),
    Asset("XRP", "XXRP", "XRP", 8, 5),
    Asset("SOL", "SOL", "SOL", 10, 5),
    Asset("DOGE", "XXDG", "XDG", 8, 2),
)

# Precisions and minimums: REST AssetPairs of July 2026. `shape`: whose fitted order flow the instrument uses.
DEFAULTS = (
    Instrument("BTC/USD", "BTC", "USD", "XXBTZUSD", "XBTUSD", "XBT/USD", 1, 5, 1, 5_000, Decimal("0.5"), 633_950, "BTC/USD"),
    Instrument("ETH/USD", "ETH", "USD", "XETHZUSD", "ETHUSD", "ETH/USD", 2, 5, 1, 100_000, Decimal("0.5"), 187_740, "ETH/USD"),
    Instrument(
        "XRP/USD",
        "XRP",
        "USD",
        "XXRPZUSD",
        "XRPUSD",
        "XRP/USD",
        5,
        8,
        1,
        165_000_000,
        Decimal("0.5"),
        108_100,
        "XRP/USD",
    ),
    Instrument("SOL/USD", "SOL", "USD", "SOLUSD", "SOLUSD", "SOL/USD", 2, 5, 1, 6_000_000, Decimal("0.5"), 7_850, "ETH/USD"),
    Instrument(
        "DOGE/USD",
        "DOGE",
        "USD",
        "XDGUSD",
        "XDGUSD",
        "XDG/USD",
        7,
        9,
        1,
        5_000_000_000,
        Decimal("0.5"),
        1_025_400,
        "XRP/USD",
    ),
)

_VOWELS = "AEIOU"
_CONSONANTS = "BCDFGKLMNPRTVZ"


def _generated(number: int) -> tuple[Instrument, Asset]:
    """Return the `number`-th invented instrument (quote USD); the same for the same number, always."""
    random = Random(f"instrument {number}")  # noqa: S311 - the same instrument every time
    code = f"{random.choice(_CONSONANTS)}{random.choice(_VOWELS)}{random.choice(_CONSONANTS)}{number}"
    price_precision = random.choice((2, 3, 4, 5))
    start_raw = random.randint(20_000, 400_000)
    price = raw_decimal(start_raw, price_precision)
    qty_min_raw = int((Decimal(5) / price).scaleb(QTY_PRECISION))
    instrument = Instrument(
        f"{code}/USD",
        code,
        "USD",
        f"{code}USD",
        f"{code}USD",
        f"{code}/USD",
        price_precision,
        8,
        1,
        qty_min_raw,
        Decimal("0.5"),
        start_raw,
        "XRP/USD",
    )
    return instrument, Asset(code, code, code, 8, 5)


def first(count: int) -> tuple[tuple[Instrument, ...], tuple[Asset, ...]]:
    """Return the first `count` instruments and the assets they need; beyond the known ones they are invented."""
    instruments = list(DEFAULTS[:count])
    assets = {asset.code: asset for asset in ASSETS}
    for number in range(len(DEFAULTS), count):
        instrument, asset = _generated(number)
        instruments.append(instrument)
        assets[asset.code] = asset
    # BTC is always known: the account owns some whether or not it is traded.
    used = {"USD", "BTC"} | {i.base for i in instruments} | {i.quote for i in instruments}
    return tuple(instruments), tuple(a for a in assets.values() if a.code in used)
