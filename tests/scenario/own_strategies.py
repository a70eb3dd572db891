"""A strategy of the tests' own, what it can be told to fail with, and the configuration that runs it."""

from __future__ import annotations

from pathlib import Path

import msgspec
from engine_world import practice_config

from cstd.config import Config
from cstd.config.schema import OwnStrategyConfig
from tests.strategies import built
from tests.turns import SOURCE

__all__ = ["FAILURES", "PUPPET", "SOURCE", "built", "own_config"]

FAILURES = {1: "raises", 2: "unknown kind", 3: "no quantity", 4: "negative price", 5: "no lifetime", 6: "negative episode",
            7: "absurd quantity", 8: "unknown urgency", 9: "absurd lifetime"}


def own_config(folder: Path | str, **params: int) -> Config:
    """The practice configuration with the strategy of a folder."""
    cfg = practice_config()
    return msgspec.structs.replace(cfg, strategy=msgspec.structs.replace(
        cfg.strategy, name="own", own=OwnStrategyConfig(dir=str(folder), params=params)))


# Does what its parameters say, once for each `serial`: a test gives it others while it runs.
PUPPET = '''
from cstd.signals.strategies.api import NOTHING, Strategy, View, Wish, positions

PARAMS = {"does": 0, "qty": 0, "price": 0, "lifetime_s": 20, "urgency": 0, "serial": 0}
Param = positions(PARAMS)


def kernel(view, features, valid, state, params, wish):
    if params[Param.DOES] == 0 or state[0] == params[Param.SERIAL]:
        return NOTHING
    state[0] = params[Param.SERIAL]
    wish[Wish.QTY_RAW] = params[Param.QTY]
    wish[Wish.PRICE_RAW] = params[Param.PRICE]
    wish[Wish.LIFETIME_NS] = params[Param.LIFETIME_S] * 1_000_000_000
    wish[Wish.EPISODE] = view[View.EPISODE] + 1
    wish[Wish.URGENCY] = params[Param.URGENCY]
    return params[Param.DOES]


STRATEGY = Strategy("puppet", kernel, params=PARAMS)
'''
