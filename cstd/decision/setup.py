"""From the configuration to what the compiled engine is given: strategy, its parameters, exit steps."""

from __future__ import annotations

from decimal import Decimal

import cstd.decision.strategies.rehearsal as rehearsal
from cstd.config import Config
from cstd.errors import ConfigError
from cstd.units import seconds_to_ns

STRATEGY_CODES = {"none": 0, "rehearsal": 1, "ensemble": 2, "bench": 3}
PPM = 1_000_000


def strategy_setup(cfg: Config, override: str | None = None) -> tuple[int, int, list[int]]:
    """Return (code, address of the compiled function, parameters) of the configured strategy.

    Args:
        cfg: the configuration.
        override: another strategy than the configured one: "bench" for the benchmark, "none" for no wishes.

    Raises:
        ConfigError: the strategy does not exist in this version.
    """
    name = override or cfg.strategy.name
    if name == "none":
        return STRATEGY_CODES[name], 0, []
    if name not in rehearsal.names() or cfg.strategy.rehearsal is None:
        raise ConfigError(f"strategy.name = {name!r} is not built yet", suggestion="use rehearsal in practice mode")
    settings = cfg.strategy.rehearsal
    words = {
        "size_ppm": int(settings.size_frac * PPM),
        "lifetime_ns": seconds_to_ns(settings.lifetime_s),
        "hold_ns": seconds_to_ns(settings.hold_s),
        "flat_ns": seconds_to_ns(settings.flat_s),
        "flat_long_ns": seconds_to_ns(settings.long_flat_s),
        "short_cycles": settings.cycles,
        "retry_ns": seconds_to_ns(settings.retry_s) if name != "bench" else 0,
    }
    return STRATEGY_CODES[name], rehearsal.address(name), [words[word] for word in rehearsal.PARAMS]


def exit_steps_mbps(cfg: Config) -> list[int]:
    """Exit collar steps in thousandths of a bps, narrow to wide."""
    return [int(Decimal(step) * 1000) for step in cfg.exits.collar_steps_bps]
