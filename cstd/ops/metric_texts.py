"""What each counter of the board means: the help texts of `/metrics` and of docs/metrics.md.

A counter without a text here is exposed all the same, with a help that only repeats its name; a test of a real session
sees to it that there is none.
"""

from __future__ import annotations

# What stands among the counters and does not count: name, help, and what its unit is divided by.
NOW: dict[str, tuple[str, str, float]] = {
    "loop_lag_ns": ("loop_lag_seconds", "How late the last tick of the event loop came.", 1e9),
    "clock_offset_ns": ("clock_offset_seconds", "The host's clock less the venue's, as far as it is proven; gate 12 bounds it.",
                        1e9),
    "gc_longest_ns": ("gc_longest_seconds", "The longest collection of Python's garbage since the boot.", 1e9),
    "subscriptions_waiting": ("subscriptions_waiting", "Subscriptions that have not delivered yet, history included.", 1),
    "approvals_pending": ("approvals_pending", "Openings that wait for an operator now, or for their pass once approved.", 1),
    "orders_foreign": ("orders_foreign", "Open orders of other programs, which cancel-all-after would cancel as well.", 1),
    "orders_unknown": ("orders_unknown", "Orders whose fate is unknown now.", 1),
    "balances_agree": ("balances_agree", "1 while the venue's balances agree with the ledger.", 1),
    "durable_ns": ("durable_wait_seconds", "Time that orders have waited for the disk, all together.", 1e9),
    "durable_longest_ns": ("durable_longest_seconds", "The longest that an order waited for the disk.", 1e9),
    "projector_lag_ns": ("projector_lag_seconds", "Time since all of the journal on disk was in SQLite.", 1e9),
    "projector_lag_records": ("projector_lag_records", "Records on disk that are not in SQLite yet.", 1),
    "projector_signed_seq": ("projector_signed_seq", "The record up to which the journal is signed.", 1),
    "reconcile_differences": ("reconcile_differences", "Differences with the venue that are remembered.", 1),
}

# Counters by the board's name; the exposition adds `cstd_` and `_total`.
COUNTERS: dict[str, str] = {
    "frames": "Frames from the venue, both sockets.",
    "batches": "Reads of a socket after which the engine decided.",
    "checksums_ok": "Book messages whose checksum agreed, all instruments.",
    "checksums_bad": "Book messages whose checksum did not agree, all instruments.",
    "trades": "Trades of others on the tape.",
    "tickers": "Ticker messages.",
    "heartbeats": "Heartbeats of the venue.",
    "slow_frames": "Frames that went the tolerant way because the scanner does not know their shape.",
    "unknown_instrument": "Messages about instruments that are not configured.",
    "malformed": "Frames that could not be read.",
    "intents": "Wishes to trade that were judged by the gates.",
    "approved": "Intents that all gates passed.",
    "reduced": "Intents that passed at a smaller size.",
    "refused": "Intents that a gate refused.",
    "orders": "Orders sent to the venue.",
    "cancels": "Cancels sent on the socket.",
    "rejudged": "Resting openings that were judged again.",
    "pulled": "Resting openings that were withdrawn because they would be refused now.",
    "send_refused": "Approved orders that the socket did not take.",
    "passes": "Passes over an instrument: agents vote, the strategy is asked.",
    "table_full": "Intents dropped because the order table was full.",
    "trade_gaps": "Gaps in the sequence of trades.",
    "agent_faults": "Votes that an agent failed to give; it abstains.",
    "strategy_faults": "Times that a strategy of your own failed; three without a sound wish between stop its openings.",
    "handler_faults": "Faults of the engine itself; one halts trading.",
    "journal_faults": "Records that the journal did not take; one halts trading.",
    "shadowed": "Orders decided and not sent, because the daemon is in shadow.",
    "resyncs": "Resyncs of books, all instruments.",
    "timers": "Ticks of the engine, ten a second.",
    "unused_frames": "Frames that carry nothing the engine uses.",
    "amends": "Amends sent.",
    "private_scanned": "Private frames that the scanner read in place.",
    "flooded_frames": "Frames dropped because a link sent too much of the unusual; the link is given up.",
    "rest_cancels": "Cancels sent by REST.",
    "rest_exits": "Exits sent by REST.",
    "rest_priced_exits": "Exits priced from a REST snapshot because the book could not be used.",
    "rate_held": "Openings and amends held back by the rate counter, all instruments.",
    "fills": "Fills booked.",
    "fill_duplicates": "Fills that were reported again and not booked again.",
    "orders_rejected": "Orders that the venue refused, post-only ones included.",
    "rate_refused": "Requests that the venue refused for their rate.",
    "order_steps_illegal": "Steps of an order that its table of states does not have.",
    "order_contradictions": "Reports that contradict what the venue said before; the order becomes UNKNOWN.",
    "reports_unknown_type": "Execution reports of a type that is not known.",
    "reports_foreign": "Execution reports of orders that are not ours.",
    "fees_in_other_assets": "Fees paid in an asset that is neither base nor quote.",
    "names_unknown": "Instruments that the venue named and no one configured.",
    "instruments_unlisted": "Times that a configured instrument left the venue's list.",
    "tapes_silent": "Times that trades were acknowledged and did not come.",
    "reconcile_failed": "Rounds of reconciliation that ended without a result.",
    "reconcile_rounds": "Rounds of reconciliation that ended with one.",
    "reconcile_found_vanished": "Orders that were live by the stream's word and in no list of the venue.",
    "reconcile_found_ambiguous": "Client order ids of ours that several orders of the venue have; it halts.",
    "reconcile_found_status_unknown": "Orders with a status word that is in no table.",
    "reconcile_found_reopened": "Orders among the open ones though they had ended.",
    "reconcile_found_balance": "Balances, of coins or cash, that neither our fills nor the user's moves explain; it halts.",
    "reconcile_found_fill_differs": "Fills that the venue told in two ways.",
    "book_audits": "Audits of a book below the checksum.",
    "book_audit_differences": "Audits that found a wrong level; the book is resynced.",
    "rest_exits_unconfirmed": "Exits by REST whose answer did not come.",
    "rest_exits_not_sent": "Exits that were to go by REST and did not leave.",
    "exit_prices_read": "REST snapshots read to price exits.",
    "stops_without_atr": "Positions that began with the hard stop alone because the ATR was not ready.",
    "admin_requests": "Requests on the admin socket.",
    "admin_errors": "Requests on the admin socket that were answered with an error.",
    "admin_denied": "Connections and commands on the admin socket that were refused: not in the group, not that role, too many.",
    "admin_limited": "Requests on the admin socket that came too fast.",
    "admin_dropped": "Connections of the admin socket that were idle, slow or gone.",
    "admin_faults": "Requests on the admin socket that met a defect.",
    "admin_lockouts": "Times that a uid was locked out after refused tries on the admin socket.",
    "admin_locked": "Tries of those that were locked out.",
    "reader_restarts": "Restarts of the reader process.",
    "durable_syncs": "Orders that waited for the disk.",
    "durable_failed": "Orders that did not leave because the disk took too long; it halts.",
    "projector_restarts": "Restarts of the projector process.",
    "projector_compressed_segments": "Journal segments compressed.",
    "projector_compressed_saved_bytes": "Bytes that compressing the journal has saved.",
    "projector_failed_compressions": "Journal segments that could not be compressed.",
    "flight_bundles": "Bundles of the flight recorder that this run made.",
    "flight_failures": "Bundles of the flight recorder that could not be made.",
    "gc_collections": "Collections of Python's garbage.",
}
# Families of counters that differ in a last word: (prefix, help with the word in it).
FAMILIES: dict[str, str] = {
    "book_fault_": "Books that stopped being usable: {}.",
    "evidence_fetches_": "Fetches of evidence for a quiet book that ended so: {}.",
    "exits_": "Exits that left, by reason: {}.",
    "approvals_": "Openings that had to wait for an operator, by what came: {}.",
    "exit_prices_failed_": "REST snapshots that could not price an exit: {}.",
    "book_audit_inconclusive_": "Audits of a book without a finding: {}.",
}
WORDS: dict[str, tuple[str, ...]] = {
    "book_fault_": ("no_snapshot", "checksum", "crossed", "empty_side", "excess_digits", "precision_unknown", "non_finite",
                    "time_backwards", "gap", "silent", "venue_state", "collar", "no_checksum", "malformed", "link_down", "audit"),
    "evidence_fetches_": ("agreed", "differed", "unanswered", "book"),
    "approvals_": ("asked", "approved", "sent", "refused", "declined", "expired", "dropped", "no_room"),
    "exits_": ("stop", "target", "time", "flip", "flatten"),
    "exit_prices_failed_": ("refused", "malformed", "empty", "crossed", "stale"),
    "book_audit_inconclusive_": ("book", "refused", "time", "unreadable", "stale"),
}


def all_counters() -> dict[str, str]:
    """Return counter -> help, those of families included."""
    words = {f"{prefix}{word}": FAMILIES[prefix].format(word.replace("_", " "))
             for prefix, known in WORDS.items() for word in known}
    return {**COUNTERS, **words}
