"""Kraken's REST interface without I/O: signing, requests, one lane of calls, typed results.

Purpose: read what no stream carries (closed orders, trades, fees, key rights) and reconcile by it.
Takes: requests of the engine, replies as bytes from `cstd.venue.http`.
Gives: calls to make, one at a time, and results with the outcome of each.
Owns: the queue, the REST rate counter, retries. The key, the secret and the nonce are at the I/O edge, not here.
Invariants: a read may be repeated, an order never is: behind a timeout or a 5xx its outcome is unknown. Python
    builds no order request; a cancel is the gateway's and carries what it made.
Fails by: results with errors and a class; a full queue refuses and counts.
Try it: `python -c "from cstd.venue.rest import sign; print(sign('/0/private/Balance', 'nonce=1', 1, 'c2VjcmV0'))"`
"""

from cstd.venue.rest.lane import Outcome, RestCall, RestLane, RestResult
from cstd.venue.rest.request import RestRequest, sign

__all__ = ["Outcome", "RestCall", "RestLane", "RestRequest", "RestResult", "sign"]
