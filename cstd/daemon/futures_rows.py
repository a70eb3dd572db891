"""What the futures feed tells, as screens and metrics show it."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice

from cstd.engine import Engine
from cstd.engine.futures_feed import FuturesFeed
from cstd.market.reference import INVALID, ReferencePrices
from cstd.ops.view import ReferenceSeen, ReferenceStatus
from cstd.units import format_raw
from cstd.venue.futures import COUNTS

SHOWN = 20


def _text(value: Decimal | None) -> str | None:
    """Return a number as the venue told it."""
    return None if value is None else f"{value:f}"


def reference_row(references: ReferencePrices, name: str, precision: int, now_ns: int) -> ReferenceStatus | None:
    """Return one instrument's reference price and what is beside it, None where it has no product."""
    product = references.product_of(name)
    if product is None:
        return None
    ticker, heard_ns = references.tickers.get(product, (None, 0))
    price_raw = references.price_raw(name, now_ns)
    return {
        "product": product, "required": references.required(name),
        "price": format_raw(price_raw, precision) if price_raw else None,
        "age_ns": now_ns - heard_ns if ticker is not None else None,
        "index": _text(ticker.index) if ticker is not None else None,
        "mark": _text(ticker.mark) if ticker is not None else None,
        "funding_hour": _text(ticker.funding) if ticker is not None else None,
        "open_interest": _text(ticker.open_interest) if ticker is not None else None,
    }


def references_seen(engine: Engine, now_ns: int) -> dict[str, ReferenceSeen]:
    """Return reference prices by instrument, as many as a status shows."""
    seen: dict[str, ReferenceSeen] = {}
    for name in islice(engine.futures.references.products.values(), SHOWN):
        spec = engine.feed.specs.get(name)
        row = reference_row(engine.futures.references, name, spec.price_precision if spec else 0, now_ns)
        if row is not None:
            seen[name] = {"price": row["price"], "age_ns": row["age_ns"]}
    return seen


def futures_counters(feed: FuturesFeed) -> dict[str, int]:
    """Return how often the feed gave no price, and what went wrong on its socket."""
    return {**{f"reference_invalid_{reason}": feed.references.invalid[reason] for reason in INVALID},
            **{f"futures_{reason}": feed.machine.counts[reason] for reason in COUNTS}}
