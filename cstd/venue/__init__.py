"""Kraken on the wire.

Purpose: speak Kraken's websocket v2 and REST exactly, and turn what comes into typed values.
Takes: bytes from sockets, times as arguments, a seed for the jitter of reconnects.
Gives: typed messages, control frames to send, reasons to close, REST requests and typed results.
Owns: subscription states, pacing, rate counters, the nonce and the connection attempts (each in a file of the run directory),
    the session token (in the link alone).
Invariants: machines read no clock and hold no socket; from Python only subscribe, unsubscribe, ping and
    cancel_all_orders_after can leave; order frames leave through OrderPort; a reply belongs to a request by req_id
    alone; success that is not true is failure; numbers never pass through float.
Fails by: values, not exceptions (`Malformed`, `want_close`, `want_reconcile`); a bad address is an OperatorError.
Try it: `python -c "from cstd.venue.messages import decode_public as d; print(d(b'{\\"channel\\":\\"heartbeat\\"}'))"`

Why this way: the machines are part of the replayed engine, so everything random or timed is given to them. Sockets live
in `link` and `connector` alone. A refused subscription and a silent one are states with their own way out, because on
Kraken both look like a healthy, heart-beating socket.
"""
