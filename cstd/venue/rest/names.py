"""Kraken's older names and their v2 spelling: XXBT and XBT are BTC, ZUSD is USD, XXBTZUSD and XBTUSD are BTC/USD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cstd.venue.fields import FieldError, mapping_of, required_text

_RENAMED = {"XBT": "BTC", "XDG": "DOGE"}
_ALTNAMES = {name: altname for altname, name in _RENAMED.items()}
# Four-letter ids with a leading X (crypto) or Z (fiat) are the older form; newer assets have no prefix, so the rule
# applies to this closed list only.
_PREFIXED = frozenset({
    "XXBT", "XXDG", "XETH", "XXRP", "XLTC", "XXMR", "XXLM", "XZEC", "XETC", "XREP", "XMLN", "ZUSD", "ZEUR", "ZGBP",
    "ZJPY", "ZCAD", "ZAUD",
})


def asset_name(code: str) -> str:
    """Return the v2 name of a REST asset id; suffixed ids (staked, earning) keep the suffix: they cannot be traded."""
    base, dot, suffix = code.partition(".")
    if base in _PREFIXED:
        base = base[1:]
    return _RENAMED.get(base, base) + dot + suffix


def rest_asset(name: str) -> str:
    """Return how REST is asked for an asset of a v2 name: its altname."""
    base, dot, suffix = name.partition(".")
    return _ALTNAMES.get(base, base) + dot + suffix


def pair_spellings(name: str) -> frozenset[str]:
    """Return every spelling that REST may use for a pair of a v2 name: BTC/USD, XBT/USD, XBTUSD, XXBTZUSD and so on."""
    bases, quotes = (_asset_spellings(asset) for asset in name.split("/", 1))
    return frozenset(f"{base}{mark}{quote}" for base in bases for quote in quotes for mark in ("", "/"))


def _asset_spellings(name: str) -> set[str]:
    altname = rest_asset(name)
    return {name, altname} | (_PREFIXED & {f"X{altname}", f"Z{altname}"})


class PairNames:
    """Every spelling of a pair that REST uses, mapped to the v2 name.

    Args:
        asset_pairs: result of AssetPairs.
    """

    def __init__(self, asset_pairs: Any) -> None:
        self._names: dict[str, str] = {}
        for pair_id, row in mapping_of(asset_pairs, "AssetPairs").items():
            entry = mapping_of(row, f"AssetPairs {pair_id}")
            name = f"{asset_name(required_text(entry, 'base'))}/{asset_name(required_text(entry, 'quote'))}"
            for spelling in (pair_id, entry.get("altname"), entry.get("wsname"), name):
                if isinstance(spelling, str):
                    # A suffixed twin on another execution venue must not take the name of the main pair.
                    self._names.setdefault(spelling, name)

    def __len__(self) -> int:
        return len(self._names)

    def name_of(self, spelling: str) -> str:
        """Return the v2 name of a pair in any spelling.

        Raises:
            FieldError: the venue does not list it.
        """
        name = self._names.get(spelling)
        if name is None:
            raise FieldError(f"pair {spelling[:40]} is not in AssetPairs")
        return name


def only_pair(result: Any) -> Any:
    """Return the value of the one key that is not "last": its name depends on how the pair was asked for."""
    rows: Mapping[str, Any] = mapping_of(result, "result")
    keys = [key for key in rows if key != "last"]
    if len(keys) != 1:
        raise FieldError(f"{len(keys)} pairs in a reply about one")
    return rows[keys[0]]
