"""From the configuration to what the compiled engine is given: strategy, its parameters, exit steps."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import cstd.decision.strategies.ensemble as compiled_ensemble
import cstd.decision.strategies.ladder as ladder
import cstd.decision.strategies.rehearsal as rehearsal
from cstd.config import Config
from cstd.decision.ensemble import params_of
from cstd.errors import ConfigError
from cstd.signals.agents.loader import LoadedStrategy
from cstd.units import seconds_to_ns

if TYPE_CHECKING:
    from cstd._fast.core import Core

STRATEGY_CODES = {"none": 0, "rehearsal": 1, "ensemble": 2, "bench": 3, "own": 4, "ladder": 5}
PPM = 1_000_000
PPM_PER_BPS = 100
ACCT_SCALE = 10**8


def strategy_setup(cfg: Config, override: str | None = None, own: LoadedStrategy | None = None) -> tuple[int, int, list[int]]:
    """Return (code, address of the compiled function, parameters) of the configured strategy.

    Args:
        cfg: the configuration.
        override: another strategy than the configured one: "bench" for the benchmark, "none" for no wishes.
        own: the user's own, where that is the configured one.

    Raises:
        ConfigError: the strategy does not exist in this version, or there is none of the user's own.
    """
    name = override or cfg.strategy.name
    if name == "none":
        return STRATEGY_CODES[name], 0, []
    if name == "own":
        if own is None:
            raise ConfigError("strategy.name = 'own', and no strategy is loaded", suggestion="see docs/strategies.md")
        address = own.address
    elif name == "ladder" and cfg.strategy.ladder is not None:
        address = ladder.address()
    elif name == "ensemble" and cfg.strategy.ensemble is not None:
        address = compiled_ensemble.address()
    elif name in rehearsal.names() and cfg.strategy.rehearsal is not None:
        address = rehearsal.address(name)
    else:
        raise ConfigError(f"strategy.name = {name!r} has no table of its own", suggestion=f"add [strategy.{name}]")
    return STRATEGY_CODES[name], address, list(strategy_params(cfg, name, own).values())


def strategy_params(cfg: Config, name: str, own: LoadedStrategy | None) -> dict[str, int]:
    """Return a strategy's parameters by name, in the order of its array; empty for one that is not there."""
    if name == "own" and own is not None:
        changed = cfg.strategy.own.params if cfg.strategy.own is not None else {}
        return {param: changed.get(param, default) for param, default in own.params.items()}
    if name == "ladder":
        return _ladder_params(cfg)
    if name == "ensemble" and cfg.strategy.ensemble is not None:
        given = params_of(cfg.strategy.ensemble)
        return {word: given[word] for word in compiled_ensemble.PARAMS}
    settings = cfg.strategy.rehearsal
    if name not in rehearsal.names() or settings is None:
        return {}
    words = {
        "size_ppm": int(settings.size_frac * PPM),
        "lifetime_ns": seconds_to_ns(settings.lifetime_s),
        "hold_ns": seconds_to_ns(settings.hold_s),
        "flat_ns": seconds_to_ns(settings.flat_s),
        "flat_long_ns": seconds_to_ns(settings.long_flat_s),
        "short_cycles": settings.cycles,
        "retry_ns": seconds_to_ns(settings.retry_s) if name != "bench" else 0,
    }
    return {word: words[word] for word in rehearsal.PARAMS}


def _ladder_params(cfg: Config) -> dict[str, int]:
    settings = cfg.strategy.ladder
    if settings is None:
        return {}
    words = {
        "instrument": cfg.instruments.names.index(settings.instrument),
        "notional_acct_raw": int(settings.notional * ACCT_SCALE),
        "below_ppm": int(settings.below_bps * PPM_PER_BPS),
        "lifetime_ns": seconds_to_ns(settings.lifetime_s),
        "retry_ns": seconds_to_ns(settings.retry_s),
    }
    return {word: words[word] for word in ladder.PARAMS}


def give_tactics(core: Core, cfg: Config) -> None:
    """Give the compiled engine the steps of its exits, and how openings follow the best bid."""
    core.set_collar(exit_steps_mbps(cfg), seconds_to_ns(cfg.exits.step_wait_s))
    for slot in core.slots:
        slot.follow(cfg.tactics.follow_ticks, cfg.tactics.follow_amends_max)


def exit_steps_mbps(cfg: Config) -> list[int]:
    """Exit collar steps in thousandths of a bps, narrow to wide."""
    return [int(Decimal(step) * 1000) for step in cfg.exits.collar_steps_bps]
