"""What to do about each of Kraken's error texts, by exact prefix, the longest first.

Websocket and REST share the texts. Details are appended after another colon, hence prefixes. The class says what a
*read* may do; `outcome_unknown` tells of an order request whether it may have been executed all the same: behind a failure
of the venue, behind a refusal that a repetition of the request on its way would explain, and behind a text not listed here.
"""

from __future__ import annotations

import enum


class RetryClass(enum.Enum):
    """What may follow an error."""

    RETRY = "R"  # the same again, later
    FIX = "F"  # mend something first: nonce, token
    NEVER = "N"  # this request is finished
    UNKNOWN = "Q"  # the outcome is unknown: reconcile first


R, F, N, Q = RetryClass.RETRY, RetryClass.FIX, RetryClass.NEVER, RetryClass.UNKNOWN

ERRORS: dict[str, RetryClass] = {
    "EGeneral:Invalid arguments": N,
    "EGeneral:Permission denied": N,
    "EGeneral:Temporary lockout": N,
    "EGeneral:Internal error": Q,
    "EGeneral:Too many requests": R,
    "EGeneral:Unknown method": N,
    "EAPI:Invalid key": N,
    "EAPI:Invalid signature": N,
    "EAPI:Invalid nonce": F,
    "EAPI:Rate limit exceeded": R,
    "EAPI:Invalid token": F,
    "EAPI:Feature disabled": N,
    "EAPI:Bad request": N,
    "EAuth:Account temporary disabled": N,
    "EAuth:Account unconfirmed": N,
    "EAuth:Rate limit exceeded": R,
    "EAuth:Too many requests": R,
    "EAccount:Invalid permissions": N,
    "ESession:Invalid session": F,
    "EService:Unavailable": R,
    "EService:Busy": R,
    "EService:Timeout": Q,
    "EService:Deadline elapsed": N,
    "EService:Market in cancel_only mode": R,
    "EService:Market in post_only mode": R,
    "EService:Market in limit_only mode": R,
    "EService:Throttled": R,
    "EOrder:Rate limit exceeded": R,
    "EOrder:Domain rate limit exceeded": R,
    "EOrder:Orders limit exceeded": N,
    "EOrder:Insufficient funds": N,
    "EOrder:Order minimum not met": N,
    "EOrder:Cost minimum not met": N,
    "EOrder:Tick size check failed": N,
    "EOrder:Invalid price": N,
    "EOrder:Post only order": N,
    "EOrder:Unknown order": N,
    "EOrder:Invalid order": N,
    "EOrder:Unknown position": N,
    "EOrder:Cannot open position": N,
    "EOrder:Cannot open opposing position": N,
    "EOrder:Margin allowance exceeded": N,
    "EOrder:Margin level too low": N,
    "EOrder:Margin position size exceeded": N,
    "EOrder:Insufficient margin": N,
    "EOrder:Positions limit exceeded": N,
    "EOrder:Reduce only": N,
    "EOrder:No amendable parameters": N,
    "EOrder:Scheduled orders limit exceeded": N,
    "EQuery:Unknown asset pair": N,
    "EQuery:Invalid asset pair": N,
    "EQuery:Unknown asset": N,
    "ETrade:Invalid request": N,
    "ETrade:Locked": N,
    "ETrade:User Locked": N,
    "EBM:limit exceeded": N,
    "EFunding:": N,
    # Without a domain: what the request itself has wrong. A repetition of it meets the same.
    "No amendable parameters": N,
    "Unsupported field": N,
    "Malformed request": N,
    "Private data and trading are unavailable on this endpoint": N,
    "Public market data subscriptions are unavailable on this endpoint": N,
    "Subscription name invalid": N,
    "Subscription depth not supported": N,
    "Subscription ohlc interval not supported": N,
    "Currency pair not supported": N,
    "Symbol(s) not found": N,
    "Already subscribed": N,
    "Subscription Not Found": N,
}
# Service failures behind which an order may have been taken: measured, orders stood behind 502, 504 and 520.
_SERVER_SIDE = ("EService:Unavailable", "EService:Busy", "EService:Timeout", "EGeneral:Internal error")
# What the second of two copies of one request is told: nonces and ids are used once, so the first one may have been taken.
_REPEATED = ("EAPI:Invalid nonce", "EGeneral:Invalid arguments:cl_ord_id not unique")
# What is said of subscriptions alone: as the answer to an order it cannot be meant, and nothing is concluded from it.
_OF_SUBSCRIPTIONS = ("Public market data subscriptions", "Subscription ", "Currency pair not supported", "Symbol(s) not found",
                     "Already subscribed")
GONE = ("EOrder:Unknown order", "EOrder:Invalid order")
POST_ONLY = "EOrder:Post only order"
RATE_LIMITED = ("EOrder:Rate limit exceeded", "EOrder:Domain rate limit exceeded")

NO_ANSWER = "no answer"  # what a call by REST is counted as that brought no reply of the venue

_LISTED = tuple(ERRORS)
_BY_LENGTH = sorted(ERRORS, key=len, reverse=True)
# The domain of an error the venue has added since: a text of these is a plain no, whatever the details.
_REFUSING_DOMAINS = ("EOrder:", "EQuery:", "ETrade:", "EAccount:", "EBM:", "EFunding:")


def classify(error: str) -> RetryClass:
    """Return the class of an error text. An unknown text is UNKNOWN unless its domain always means refusal."""
    for prefix in _BY_LENGTH:
        if error.startswith(prefix):
            return ERRORS[prefix]
    return N if error.startswith(_REFUSING_DOMAINS) else Q


def listed(error: str) -> str:
    """Return the text of the table that an error begins with, or "other": what errors are counted by."""
    return next((prefix.rstrip(":") for prefix in _BY_LENGTH if error.startswith(prefix)), "other")


def outcome_unknown(error: str) -> bool:
    """Tell whether an order request that got this error may have been executed. Of a text not listed nothing is concluded."""
    return error.startswith(_SERVER_SIDE + _REPEATED + _OF_SUBSCRIPTIONS) or not error.startswith(_LISTED) or classify(error) is Q


def throttled_until_s(error: str) -> int | None:
    """Return the unix second in "EService:Throttled: <ts>", or None."""
    head, _, tail = error.partition("EService:Throttled:")
    text = tail.strip()
    return int(text) if not head and text.isascii() and text.isdigit() and len(text) <= 12 else None
