"""The canonical form: equal configurations have equal bytes, so a hash of them identifies what the engine ran with."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal

import msgspec

from cstd.config.schema import Config
from cstd.units import format_decimal


def plain(value: object) -> object:
    """Return `value` as JSON types; a decimal becomes its shortest plain digits, so 0.10 and 0.1 are one."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Decimal):
        return format_decimal(value.normalize())
    return value


def dump(config: Config) -> bytes:
    """Return the canonical JSON of a configuration."""
    return json.dumps(plain(config), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(config: Config) -> bytes:
    """Return the SHA-256 of the canonical JSON."""
    return hashlib.sha256(dump(config)).digest()
