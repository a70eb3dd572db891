"""hftbacktest's fills of given orders on given events, in an environment of its own: reads a case from stdin, prints its fills.

The case (agreement.py makes it) has events, orders and latencies.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from typing import Any

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTX,
    LIMIT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    event_dtype,
)
from hftbacktest.order import IOC
from numba import njit

KINDS = {"depth": DEPTH_EVENT, "trade": TRADE_EVENT}
FILLS_MAX = 10_000


@njit
def _run(hbt: Any, actions: Any, end_ns: int, lot: float, fills: Any) -> int:
    """Play one order's actions (local time, kind, side, price, quantity) until `end_ns`; write (exchange time, filled so far in
    lots) to `fills` whenever the order changes. Returns their number, or -1 where the backtest fails with an error of its own.

    kind: 0 cancel, 1 immediate or cancel, 2 post-only.
    """
    count = 0
    at = 0
    last_ns = 0
    hbt.elapse(0)
    while True:
        due_ns = np.int64(actions[at, 0]) if at < len(actions) else end_ns
        wait_ns = due_ns - hbt.current_timestamp
        code = hbt.wait_next_feed(True, wait_ns) if wait_ns > 0 else 0
        if code > 3:
            return -1
        if code == 1 or hbt.current_timestamp >= end_ns:
            return count
        if code == 3:
            order = hbt.orders(0).get(1)
            if order.exch_timestamp != last_ns:
                last_ns = order.exch_timestamp
                fills[count, 0] = last_ns
                fills[count, 1] = round((order.qty - order.leaves_qty) / lot)
                count += 1
        elif code == 0 and at < len(actions):
            if actions[at, 1] == 0:
                if hbt.orders(0).get(1).cancellable:
                    hbt.cancel(0, 1, False)
            else:
                time_in_force = IOC if actions[at, 1] == 1 else GTX
                if actions[at, 2] > 0:
                    hbt.submit_buy_order(0, 1, actions[at, 3], actions[at, 4], time_in_force, LIMIT, False)
                else:
                    hbt.submit_sell_order(0, 1, actions[at, 3], actions[at, 4], time_in_force, LIMIT, False)
            at += 1


def events_of(case: dict[str, Any]) -> Any:
    """The events of a case in hftbacktest's layout."""
    rows = case["events"]
    events = np.zeros(len(rows), event_dtype)
    side = {1: BUY_EVENT, -1: SELL_EVENT}
    events["ev"] = [KINDS[kind] | side[which] | EXCH_EVENT | LOCAL_EVENT for kind, which, *_ in rows]
    events["local_ts"] = [row[2] for row in rows]
    events["exch_ts"] = events["local_ts"] - case["feed_ns"]
    events["px"] = [row[3] * 10.0**-case["price_precision"] for row in rows]
    events["qty"] = [row[4] * 10.0**-case["qty_precision"] for row in rows]
    return events


def asset(case: dict[str, Any], queue: str, events: Any) -> Any:
    """The market of a case with one queue model; the events must outlive it, for they are read where they lie."""
    made = (BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(case["out_ns"], case["back_ns"])
            .partial_fill_exchange().trading_value_fee_model(0.0, 0.0).tick_size(10.0**-case["price_precision"])
            .lot_size(10.0**-case["qty_precision"]).last_trades_capacity(0))
    models = {"risk_averse": made.risk_adverse_queue_model, "power": made.power_prob_queue_model,
              "power2": made.power_prob_queue_model2, "power3": made.power_prob_queue_model3,
              "log": made.log_prob_queue_model, "log2": made.log_prob_queue_model2}
    return models[queue](case["queue_n"]) if queue.startswith("power") else models[queue]()


def play(case: dict[str, Any], queue: str, order: dict[str, Any], events: Any) -> list[list[int]] | None:
    """Changes of one order with one queue model; None where the backtest fails."""
    tick, lot = 10.0**-case["price_precision"], 10.0**-case["qty_precision"]
    kind = {"ioc": 1, "post_only": 2}[order["kind"]]
    actions = [[order["at_ns"] - case["base_ns"], kind, order["side"], order["price_raw"] * tick, order["qty_raw"] * lot]]
    if kind == 2:
        actions.append([order["cancel_ns"] - case["base_ns"], 0, 0, 0, 0])
    fills = np.zeros((FILLS_MAX, 2), np.int64)
    count = _run(HashMapMarketDepthBacktest([asset(case, queue, events)]), np.array(actions, float), case["events"][-1][2], lot,
                 fills)
    return None if count < 0 else [[int(at) + case["base_ns"], int(filled)] for at, filled in fills[:count]]


def main() -> None:
    """Play one case, each order in a backtest of its own, with each of the queue models."""
    case = json.load(sys.stdin)
    for row in case["events"]:
        row[2] -= case["base_ns"]  # short enough for a double to keep its nanoseconds
    events = events_of(case)
    changes = {queue: {order["number"]: play(case, queue, order, events) for order in case["orders"]} for queue in case["queues"]}
    print(json.dumps({"version": importlib.metadata.version("hftbacktest"), "changes": changes}))


if __name__ == "__main__":
    main()
