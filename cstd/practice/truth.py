"""The truth file: what really happened to every own order, replaced atomically so that a reader never sees half of it."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from cstd.practice.account import Account, Order
from cstd.practice.wire import decimal_text, raw_text


def _order(order: Order) -> dict[str, object]:
    i = order.instrument
    return {
        "cl_ord_id": order.cl_ord_id,
        "order_id": order.order_id,
        "symbol": i.name,
        "side": order.side_word,
        "status": order.status,
        "order_qty": raw_text(order.qty_raw, i.qty_precision),
        "filled_qty": raw_text(order.filled_raw, i.qty_precision),
    }


def content(account: Account, *, inferred: bool = False) -> bytes:
    """Return the truth as JSON; decimals are strings. `inferred` marks every fill as a guess from a recording."""
    fills = [
        {
            "exec_id": f.exec_id,
            "cl_ord_id": f.order.cl_ord_id,
            "symbol": f.order.instrument.name,
            "side": f.order.side_word,
            "qty": raw_text(f.qty_raw, f.order.instrument.qty_precision),
            "price": raw_text(f.price_raw, f.order.instrument.price_precision),
            "fee": decimal_text(f.fee),
            "fee_asset": f.fee_asset,
            **({"inferred": True} if inferred else {}),
        }
        for f in account.fills
    ]
    return orjson.dumps(
        {
            "orders": [_order(o) for o in account.orders.values()],
            "fills": fills,
            "balances": {asset: decimal_text(amount) for asset, amount in sorted(account.balances.items())},
        }
    )


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` by rename; the file has `mode` from its first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    temporary.replace(path)
