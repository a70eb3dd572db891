"""Where a mode may connect to. The mode decides; nothing in a configuration can point elsewhere.

`paper` and `live` have Kraken's addresses and no others, always over TLS. `practice` takes the addresses that the
practice exchange wrote for itself, and refuses any that is not loopback: a throw-away key must not leave the host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from cstd.errors import ConfigError

MODES = ("practice", "paper", "live")


class Endpoints(msgspec.Struct, frozen=True):
    """The four addresses of one venue, as URLs without a trailing slash."""

    rest: str
    ws_public: str
    ws_private: str
    ws_futures: str


KRAKEN = Endpoints(
    rest="https://api.kraken.com",
    ws_public="wss://ws.kraken.com/v2",
    ws_private="wss://ws-auth.kraken.com/v2",
    ws_futures="wss://futures.kraken.com/ws/v1",
)

_PRACTICE_SCHEMES = {"rest": "http", "ws_public": "ws", "ws_private": "ws", "ws_futures": "ws"}


def endpoints_for(mode: str, practice_json: Mapping[str, object] | None = None) -> Endpoints:
    """Return the addresses of a mode.

    Args:
        mode: "practice", "paper" or "live".
        practice_json: what the practice exchange wrote into practice.json; needed in practice, refused otherwise.

    Raises:
        ConfigError: an unknown mode, addresses given to paper or live, or a practice address that is missing,
            malformed or not on loopback.
    """
    if mode not in MODES:
        raise ConfigError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
    if mode != "practice":
        if practice_json is not None:
            raise ConfigError(f"mode {mode} connects to Kraken only; addresses of a practice exchange were given")
        return KRAKEN
    if practice_json is None:
        raise ConfigError("mode practice needs the addresses in practice.json",
                          suggestion="start the exchange first: cstd practice")
    return Endpoints(**{key: _loopback_url(key, practice_json.get(key)) for key in _PRACTICE_SCHEMES})


def _loopback_url(key: str, value: object) -> str:
    """Return one address of practice.json after checking that it stays on this host."""
    if not isinstance(value, str):
        raise ConfigError(f"practice.json: {key} is missing or not text")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"practice.json: {key} is not an address: {error}") from None
    if parts.scheme != _PRACTICE_SCHEMES[key] or parts.username is not None:
        raise ConfigError(f"practice.json: {key} must start with {_PRACTICE_SCHEMES[key]}:// and name no user")
    if not _is_loopback(host) or port is None:
        raise ConfigError(f"practice.json: {key} is {parts.netloc}; practice connects to loopback addresses "
                          "with a port only")
    return value.rstrip("/")


def _is_loopback(host: str | None) -> bool:
    """Tell whether a host is this one. Names are refused: what a name resolves to can change after the check."""
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
