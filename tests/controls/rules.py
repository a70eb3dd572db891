"""Each reason of each gate in words, with the configuration keys that move it. Held complete by test_controls.py."""

from __future__ import annotations

from typing import NamedTuple

from cstd._fast.gates import Gate, Why


class Rule(NamedTuple):
    """When a reason is given, as words behind "refused when"; which keys bound it; what the daemon does not feed yet."""

    when: str
    keys: tuple[str, ...] = ()
    unfed: str = ""


DOMAIN = "a number it reads is negative or out of its domain"
WORTH = "what the order is worth is not known: price, quantity, rate or haircut is out of its domain"
TOO_BIG = "what the order is worth does not fit 64 bits, or its conversion rate is out of its domain"
NO_BOOK = "a side of the book is empty, all ours, or the sides meet"
WILD_BOOK = "a level of the exit side is out of its domain"

RULES: dict[Gate, dict[Why, Rule]] = {
    Gate.GATE_IDEMPOTENCY: {
        Why.WHY_ID_SEEN: Rule("this client order id was encoded before, and the order does not rest yet"),
        Why.WHY_LOSING_STREAK: Rule("that many round trips in a row lost, or the instrument is switched off for it",
                                    ("policy.losing_round_trips_max",)),
        Why.WHY_UNKNOWN_PENDING: Rule("an opening of this instrument is UNKNOWN"),
        Why.WHY_DUPLICATE: Rule("an intent of the same instrument, side, strategy and episode stands in the window",
                                ("policy.dedupe_window_s",)),
        Why.WHY_BAD_INPUT: Rule(f"{DOMAIN}; or {WORTH}"),
        Why.WHY_INSTRUMENT_RATE: Rule("this parent would be one too many for its instrument in an hour",
                                      ("policy.parents_per_instrument_hour_max",)),
        Why.WHY_MINUTE_RATE: Rule("this parent would be one too many in a minute, over all instruments",
                                  ("policy.parents_per_minute_max",)),
        Why.WHY_OVERFLOW: Rule(TOO_BIG),
        Why.WHY_TURNOVER: Rule("the day's turnover with this order exceeds its multiple of equity",
                               ("policy.turnover_equity_multiple_max",)),
    },
    Gate.GATE_SPREAD: {
        Why.WHY_OVER_LIMIT: Rule("the spread, as a part of mid, exceeds the limit", ("policy.spread_bps_max",)),
        Why.WHY_NO_BOOK: Rule(NO_BOOK),
    },
    Gate.GATE_DEPTH: {
        Why.WHY_DEPTH_FLOOR: Rule("what others show within the band, on the side of the exit, is worth less than the floor",
                                  ("policy.depth_value_min", "policy.depth_band_bps")),
        Why.WHY_OVER_LIMIT: Rule("it is worth less than that multiple of the order", ("policy.depth_multiple_min",
                                                                                      "policy.depth_band_bps")),
        Why.WHY_NO_BOOK: Rule(NO_BOOK),
        Why.WHY_BAD_INPUT: Rule(WORTH),
        Why.WHY_OVERFLOW: Rule(f"{WILD_BOOK}; or {TOO_BIG}"),
    },
    Gate.GATE_VOLUME: {
        Why.WHY_BAD_INPUT: Rule(f"{DOMAIN}; or {WORTH}"),
        Why.WHY_WARMING_UP: Rule("there is no hour of history yet"),
        Why.WHY_OVER_LIMIT: Rule("less than that was traded in the last hour", ("policy.volume_hour_min",)),
        Why.WHY_OVERFLOW: Rule(TOO_BIG),
        Why.WHY_ORDER_SHARE: Rule("the order exceeds its share of the mean minute", ("policy.volume_minute_frac_max",)),
    },
    Gate.GATE_SLIPPAGE: {
        Why.WHY_BAD_INPUT: Rule(f"{DOMAIN}, or the day's starting equity is not known"),
        Why.WHY_NO_BOOK: Rule(NO_BOOK),
        Why.WHY_OVERFLOW: Rule(WILD_BOOK),
        Why.WHY_SLIPPAGE_DAY: Rule("slippage paid today exceeds its part of the day's starting equity",
                                   ("policy.slippage_day_bps_max",)),
        Why.WHY_SLIPPAGE_P95: Rule("the realised P95 exceeds the limit, once there are that many fills",
                                   ("policy.slippage_p95_bps_max", "policy.slippage_p95_fills_min")),
        Why.WHY_BOOK_TOO_THIN: Rule("the visible exit side cannot take the quantity"),
        Why.WHY_OVER_LIMIT: Rule("walking the exit side costs more against mid than the limit less the allowance",
                                 ("policy.exit_cost_bps_max", "policy.markout_allowance_bps")),
    },
    Gate.GATE_TIME_IN_FORCE: {
        Why.WHY_NOT_POST_ONLY: Rule("an opening is not post-only"),
        Why.WHY_WRONG_TIF: Rule("an opening is not GTD; an exit is neither IOC nor GTD, or IOC and post-only"),
        Why.WHY_DEADLINE: Rule("the time in which the venue may still accept it is not 1 to 2 s; the key says which it is",
                               ("policy.deadline_ms",)),
        Why.WHY_LIFETIME: Rule("a GTD order has no lifetime, or a longer one than the limit", ("policy.lifetime_s_max",)),
    },
    Gate.GATE_PRICE: {
        Why.WHY_BAD_INPUT: Rule("price, quantity, tick, lot or reference price is out of its domain"),
        Why.WHY_OFF_TICK: Rule("the price is no multiple of the tick"),
        Why.WHY_OFF_LOT: Rule("the quantity is no multiple of the lot"),
        Why.WHY_BELOW_MINIMUM: Rule("quantity or cost is below the venue's minimum, and the order does not rest yet"),
        Why.WHY_NO_REFERENCE: Rule("a reference price is asked for ([futures]), and the feed has told none, or none of late"),
        Why.WHY_REFERENCE: Rule("an opening's price is further from the reference price than the band",
                                ("policy.reference_band_bps_max",)),
        Why.WHY_NO_BOOK: Rule(f"an opening has no mid: {NO_BOOK}"),
        Why.WHY_CROSSING: Rule("an opening's price would match, with our own orders too"),
        Why.WHY_OVER_LIMIT: Rule("an opening's price is further from mid than the band", ("policy.price_band_bps_max",)),
        Why.WHY_OVERFLOW: Rule("the bid that an exit's collar is measured from is out of its domain"),
        Why.WHY_COLLAR: Rule("an exit's price is further below the bid than its collar. The bid: of the verified book, or the "
                             "last one it had; once the book is unverified for longer than the first two keys say, of a REST "
                             "snapshot no older than they say",
                             ("policy.rest_price_after_s", "policy.rest_price_age_s_max", "exits.collar_steps_bps")),
    },
    Gate.GATE_KILL_SWITCH: {
        Why.WHY_KILLED: Rule("the kill switch is latched, by an operator or by two marks of loss",
                             ("risk.day_loss_shutdown_bps", "risk.drawdown_shutdown_bps", "risk.day_loss_max",
                              "risk.loss_marks_apart_s")),
        Why.WHY_PAUSED: Rule("an operator has paused openings"),
        Why.WHY_NOT_READY: Rule("the daemon is not ready: starting, reconciling, in maintenance or stopping"),
        Why.WHY_HALTED: Rule("trading is halted"),
        Why.WHY_PARITY_HALT: Rule("the journal recomputed beside the daemon is not what it decided"),
        Why.WHY_BAD_INPUT: Rule("the state is none that it knows"),
        Why.WHY_LEVEL: Rule("the level leaves openings no size, and gates 13 and 14 do not say why (any more)",
                            ("risk.day_loss_critical_bps", "risk.day_loss_emergency_bps", "risk.drawdown_critical_bps",
                             "risk.drawdown_emergency_bps")),
    },
    Gate.GATE_DATA_GAP: {
        Why.WHY_BAD_INPUT: Rule("an age is negative"),
        Why.WHY_VENUE_STATE: Rule("the venue is not online"),
        Why.WHY_INSTRUMENT_STATE: Rule("the instrument is not online, or not on the venue's list as it was configured"),
        Why.WHY_PRIVATE_STREAM: Rule("the private stream is down, or not reconciled"),
        Why.WHY_CONVERSION: Rule("there is no rate into the account currency"),
        Why.WHY_CLOCK: Rule("the host's clock is further from the venue's than the limit", ("risk.clock_offset_ms_max",)),
        Why.WHY_SILENT: Rule("nothing was heard of the instrument for that long", ("risk.silence_s",)),
        Why.WHY_STALE: Rule("there is no evidence of that age that the quote is current", ("risk.evidence_s",)),
        Why.WHY_BOOK_UNVERIFIED: Rule("the book is not verified; a resting order has the grace", ("risk.grace_ms",)),
        Why.WHY_BOOK_FAULT: Rule("the book has a fault"),
    },
    Gate.GATE_DAY_LOSS: {
        Why.WHY_OVER_LIMIT: Rule("the loss of the UTC day or of the last 24 h reaches the limit",
                                 ("risk.day_loss_critical_bps",)),
        Why.WHY_LOSS_AMOUNT: Rule("it reaches the amount", ("risk.day_loss_max",)),
        Why.WHY_BAD_INPUT: Rule("the loss, or its amount, was never computed"),
    },
    Gate.GATE_DRAWDOWN: {
        Why.WHY_OVER_LIMIT: Rule("the drawdown from the kept peak reaches the limit", ("risk.drawdown_critical_bps",)),
        Why.WHY_BAD_INPUT: Rule("the value lies above its peak"),
    },
    Gate.GATE_POSITION_COUNT: {
        Why.WHY_OVER_LIMIT: Rule("a new position would be one too many", ("risk.positions_max",)),
        Why.WHY_BAD_INPUT: Rule(DOMAIN),
    },
    Gate.GATE_TOTAL_EXPOSURE: {
        Why.WHY_OVER_LIMIT: Rule("positions, open and UNKNOWN orders and this one exceed that share of equity",
                                 ("risk.exposure_bps_max",)),
        Why.WHY_BAD_INPUT: Rule(f"{DOMAIN}; or {WORTH}"),
        Why.WHY_OVERFLOW: Rule(TOO_BIG),
    },
    Gate.GATE_POSITION_SIZE: {
        Why.WHY_OVER_LIMIT: Rule("this asset's part of them exceeds that share of equity", ("risk.position_bps_max",)),
        Why.WHY_LONG_ONLY: Rule("an opening sells: a cash account has no shorts"),
        Why.WHY_BAD_INPUT: Rule(f"{DOMAIN}; or {WORTH}"),
        Why.WHY_OVERFLOW: Rule(TOO_BIG),
    },
    Gate.GATE_CORRELATION: {
        Why.WHY_OVER_LIMIT: Rule("what moves together with it exceeds that share of equity; what has no history does",
                                 ("risk.cluster_bps_max",)),
        Why.WHY_BAD_INPUT: Rule(f"{DOMAIN}; or {WORTH}"),
        Why.WHY_OVERFLOW: Rule(TOO_BIG),
    },
    # The verdict's own reasons, behind gates that passed or that a smaller quantity would pass.
    Gate.GATE_NONE: {
        Why.WHY_TOO_SMALL: Rule("what the caps and the level leave of an opening is below that part of the request, or below "
                                "the venue's minimum", ("risk.reduce_bps_min", "risk.size_warning_frac")),
    },
    Gate.GATE_MANAGED_BOUND: {
        Why.WHY_ABOVE_MANAGED: Rule("of what an exit would sell, what is the daemon's own and free cannot be sent"),
        Why.WHY_LONG_ONLY: Rule("an exit buys"),
    },
}

# Limits that no gate compares with: what they do instead.
BESIDE: dict[str, str] = {
    "risk.day_loss_warning_bps": "from here on openings have `risk.size_warning_frac` of their size",
    "risk.drawdown_warning_bps": "the same, by the drawdown",
    "risk.correlation_min": "two instruments whose five-minute returns correlate this much, after shrinkage, are linked: gate 18 "
                            "counts them together; 0: every two are",
    "risk.correlation_leave": "below this their link ends",
    "risk.correlation_leave_bars": "... once so many readings in a row are",
    "risk.correlation_span_bars": "how far back the exponential weights of the returns reach; what is older than this is no "
                                  "history",
    "risk.correlation_returns_min": "with fewer common returns two instruments are linked",
    "risk.correlation_prior_returns": "how many returns of full correlation each reading is shrunk by",
    "exits.step_wait_s": "an exit that is wished for this long and does not leave may go a step further below the bid",
    "exits.collar_urgent_bps": "an urgent exit (a stop, `cstd flatten`) begins this far below the bid: at the second of the "
                               "steps",
    "exits.blind_collar_bps": "at least the widest step; gate 7 accepts no wider collar. No exit is priced without a book and "
                              "without a REST snapshot yet",
    "exits.stop_bps": "a position is left with urgency once the verified mid is so far below the average price paid, on two "
                      "updates in a row or for a second; 0: no hard stop",
    "exits.stop_atr_multiple": "the same, at so many five-minute ATRs, of the time the position began; the tighter one holds",
    "exits.target_bps": "a position is left once the best bid is so far above the average price paid; 0: no target",
    "exits.horizon_s": "a position is left when it has been held for so long; 0: no end",
}
