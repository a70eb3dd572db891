"""The check of the key at a start: before the private socket is opened, the venue says what the key may do.

While the venue cannot be reached the check waits, longer each time where the edge refuses this address (HTTP 429, 403), and
the daemon runs without the private socket, so nothing can be opened. A key that may withdraw, or lacks what is needed, ends
the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from cstd.config.problems import Problem, config_error
from cstd.units import NS_PER_S
from cstd.venue.errors_table import NO_ANSWER, RetryClass, classify, listed
from cstd.venue.fields import FieldError, decode_json, mapping_of
from cstd.venue.http import HttpClient
from cstd.venue.key_rights import HOW, key_problems
from cstd.venue.refusal import EDGE_REFUSALS, EdgeDelays
from cstd.venue.rest.models import KeyInfo, parse_key_info
from cstd.venue.rest.request import key_info

TIMEOUT_NS = 8 * NS_PER_S
DELAYS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LOCKOUT_S = 15 * 60.0


async def checked_key(http: HttpClient, log: Any) -> KeyInfo:
    """Ask until the venue answers, and return what it says of a key that fits.

    Raises:
        ConfigError: the key may withdraw, lacks a right, or is not known to the venue; every reason is named.
    """
    attempt = edge_refusals = 0
    while True:
        reply = await http.call(key_info(), TIMEOUT_NS)
        error = reply.transport_error or ("" if 200 <= reply.status < 300 else f"HTTP {reply.status}")
        document = None if error else _document(reply.body)
        if document is None:
            http.errors[NO_ANSWER] += 1
        else:
            error = _first_error(document)
            if not error:
                return _judged(document, log)
            http.errors[listed(error)] += 1
            if classify(error) is RetryClass.NEVER and not error.startswith("EGeneral:Temporary lockout"):
                raise config_error([Problem(key="API key", value=error, suggestion=HOW,
                                            reason="the venue does not say what the key may do")])
        attempt += 1
        log.warning("no connection", link="private", failures=attempt,
                    error=f"the rights of the key are not known yet: {error or 'the reply is no JSON object'}")
        edge_refusals = edge_refusals + 1 if reply.status in EDGE_REFUSALS else 0
        if edge_refusals:
            row = EdgeDelays.DELAYS_S
            await asyncio.sleep(max(row[min(edge_refusals, len(row)) - 1], reply.retry_after_ns / NS_PER_S))
        elif error.startswith("EGeneral:Temporary lockout"):
            await asyncio.sleep(LOCKOUT_S)
        else:
            await asyncio.sleep(DELAYS_S[min(attempt, len(DELAYS_S)) - 1])


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        return mapping_of(decode_json(body), "reply")
    except FieldError:
        return None


def _first_error(document: Mapping[str, Any]) -> str:
    errors = document.get("error")
    return next((str(e) for e in errors if not str(e).startswith("W")), "") if isinstance(errors, list) else str(errors or "")


def _judged(document: Mapping[str, Any], log: Any) -> KeyInfo:
    try:
        info = parse_key_info(document.get("result"))
    except FieldError as error:
        raise config_error([Problem(key="API key", value=str(error), suggestion=HOW,
                                    reason="what the venue says of the key's rights cannot be read")]) from error
    if problems := key_problems(info):
        raise config_error(problems)
    log.info("key", rights=sorted(info.permissions), expires_wall_ns=info.expires_ns)
    return info
