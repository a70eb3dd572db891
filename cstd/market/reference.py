"""ReferencePrices: the index price of each instrument's perpetual, as gate 7 compares openings with it.

A price is authentic or there is none: it was told on a live subscription, is a finite number above zero that the instrument's
digits can hold, is quoted in the instrument's currency, and is no older than `futures.age_ms_max` by our monotonic clock. The
age is looked at where the gate's input is made, in compiled code; here is written only what changes.
"""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_EVEN, Context
from typing import TYPE_CHECKING

from cstd._fast.gates import price_raw_max

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cstd._fast.core import Core
    from cstd.config.schema import FuturesConfig
    from cstd.venue.futures_messages import FuturesTicker
    from cstd.venue.messages import InstrumentSpec

NS_PER_MS = 1_000_000
INVALID = ("no_index", "not_positive", "beyond_domain", "other_quote", "no_digits")
_WIDE = Context(prec=120)


class ReferencePrices:
    """Take tickers, give reference prices. One writer: the engine.

    Args:
        core: the compiled core, with a slot for each of `names` in order.
        names: configured instruments. specs: trading rules by name, as far as they are known.

    Attributes:
        products: product to name of the instrument, of those that are configured now.
        tickers: the newest ticker of each product with its monotonic time, authentic or not; for display.
        invalid: tickers that gave no price, by reason (INVALID).
    """

    def __init__(self, core: Core, names: tuple[str, ...], specs: Mapping[str, InstrumentSpec]) -> None:
        self.core = core
        self.numbers = {name: number for number, name in enumerate(names)}
        self.specs = specs
        self.products: dict[str, str] = {}
        self.tickers: dict[str, tuple[FuturesTicker, int]] = {}
        self.invalid: Counter[str] = Counter()
        self._product_of: dict[str, str] = {}
        self._age_ns = 0

    def boot(self, cfg: FuturesConfig | None) -> None:
        """Begin a boot: nothing is known, and what is required is as configured."""
        named = {} if cfg is None else {name: product for name, product in cfg.names.items() if name in self.numbers}
        self._product_of = named
        self.products = {product: name for name, product in named.items()}
        self._age_ns = 0 if cfg is None else cfg.age_ms_max * NS_PER_MS
        self.tickers.clear()
        for name, number in self.numbers.items():
            slot = self.core.slots[number]
            slot.reference_raw = slot.reference_until_ns = 0
            slot.reference_required = cfg is not None and cfg.reference and name in named

    def on_ticker(self, ticker: FuturesTicker, mono_ns: int) -> None:
        """Take a product's newest ticker: it gives a price, or the one before is over."""
        name = self.products[ticker.product]
        self.tickers[ticker.product] = ticker, mono_ns
        slot = self.core.slots[self.numbers[name]]
        slot.reference_raw = self._raw(ticker, name)
        slot.reference_until_ns = mono_ns + self._age_ns

    def lose(self, product: str) -> None:
        """What was told of a product holds no longer: its connection, its subscription or its order is gone."""
        if product in self.products:
            self.core.slots[self.numbers[self.products[product]]].reference_raw = 0

    def price_raw(self, name: str, mono_ns: int) -> int:
        """Return an instrument's reference price as gate 7 would read it then; 0: there is none that counts."""
        slot = self.core.slots[self.numbers[name]]
        return slot.reference_raw if mono_ns <= slot.reference_until_ns else 0

    def required(self, name: str) -> bool:
        """Tell whether openings of an instrument need one."""
        return bool(self.core.slots[self.numbers[name]].reference_required)

    def product_of(self, name: str) -> str | None:
        """Return the perpetual of an instrument, None where none is configured."""
        return self._product_of.get(name)

    def _raw(self, ticker: FuturesTicker, name: str) -> int:
        """Return the index in the instrument's digits, to the nearest; 0 for none, which is counted."""
        spec, index = self.specs.get(name), ticker.index
        reason = ""
        raw = 0
        if index is None:
            reason = "no_index"
        elif index <= 0:
            reason = "not_positive"
        elif ticker.pair.rpartition(":")[2] != name.rpartition("/")[2]:
            reason = "other_quote"
        elif spec is None:
            reason = "no_digits"
        else:
            raw = int(index.scaleb(spec.price_precision, _WIDE).to_integral_value(ROUND_HALF_EVEN, _WIDE))
            if not 0 < raw <= price_raw_max:
                reason, raw = "beyond_domain", 0
        if reason:
            self.invalid[reason] += 1
        return raw
