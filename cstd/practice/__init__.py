"""The practice exchange: a small real exchange on loopback that speaks Kraken's protocols.

Purpose: a venue to rehearse on. Price-time-priority matching, fees, holds, rate counters, tokens, signatures and refusals
    behave as Kraken documents them, so that the daemon, and strangers such as ccxt, trade on it unchanged.
Takes: websocket v2 requests (public and private ports), REST calls, the futures feed's subscriptions; a seed, or recordings.
Gives: market data with checksums, execution and balance events, `practice.json` (addresses and a throw-away key) and a
    truth file of all own orders, fills and balances.
Owns: books, tapes, candles (`market`), one account with its orders (`desk`, `account`), tokens and nonces (`auth`). The one
    writer of all of it is the event loop of this process.
Invariants: binds 127.0.0.1 only; no float touches a price, quantity or balance; the sum of balances changes by fills and fees
    alone; a published book equals the engine's book cut to the subscribed depth; a level that falls out of the window is not
    removed, and is sent again when it comes back.
Fails by: refusing requests with Kraken's own texts; `OperatorError` at start (a port in use, a recording that cannot be read).
Try it: `python -m cstd practice --seed 7 --instruments 2`

Why this way: this package imports neither `cstd.venue` nor `cstd._fast`. It is a second, independent reading of the
protocol; sharing a parser with the client would let one misreading pass on both sides. Orders of the account are matched
inside the event loop at the moment they arrive: there is no queue to model and a reply leaves within a millisecond. Where
sources about Kraken disagree, `exchange.Readings` names the point and `--reading NAME=VALUE` takes the other side; `POST
<rest>/practice/<verb>` (`control`) is the operator: states, deposits, stale tokens, cut connections, a level told wrong. On a
recording the account's orders are no part of the book, so the bytes stay authentic; every fill is inferred from what
disappears. Faults are not built yet. Practice data is a rehearsal and never data for models.
"""
