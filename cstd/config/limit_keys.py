"""The keys of the gates' limits: which gate compares with each, which way is tighter, and why some are nobody's to change.

The one list that overrides of an instrument, the operator's commands and `cstd limits` go by. What may be changed while the
daemon runs is a part of what is proven to admit nothing more when it is tightened (docs/proof.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from cstd.config.schema import Config, OverrideConfig, PolicyConfig, PolicyOverride, RiskConfig, RiskOverride

# Why a limit is as the configuration has it, and no command changes it.
_LOOKED_AT = "it says what is looked at, not how much is admitted"
_EXITS = "exits go by it too, and no command may trap an exit"


@dataclass(frozen=True, slots=True)
class LimitKey:
    """One limit.

    Attributes:
        key: section and key. gate: the code of the gate that compares with it, 0 for the verdict over all of them.
        unit: of the value; "money" stands for the account currency.
        tighter: "lower" or "higher"; "" where neither way is.
        fixed: why no command changes it, "" where one may.
    """

    key: str
    gate: int
    unit: str
    tighter: str
    fixed: str = ""

    @property
    def own(self) -> bool:
        """Whether an instrument may have one of its own."""
        section, _, name = self.key.partition(".")
        return name in _OWN.get(section, ())

    @property
    def scope(self) -> str:
        """`instrument` where each may have its own, else `account`."""
        return "instrument" if self.own else "account"

    def is_looser(self, value: Decimal | int, than: Decimal | int) -> bool:
        """Return whether a value admits more than another."""
        return value > than if self.tighter == "lower" else value < than

    def tightest(self, *values: Decimal | int) -> Decimal | int:
        """Return the one of the values that admits least."""
        return min(values) if self.tighter == "lower" else max(values)


LIMIT_KEYS: tuple[LimitKey, ...] = (
    LimitKey("policy.dedupe_window_s", 1, "s", "", _LOOKED_AT),
    LimitKey("policy.parents_per_instrument_hour_max", 1, "parents/h", "lower"),
    LimitKey("policy.parents_per_minute_max", 1, "parents/min", "lower"),
    LimitKey("policy.turnover_equity_multiple_max", 1, "× equity/day", "lower"),
    LimitKey("policy.losing_round_trips_max", 1, "losing round trips", "lower"),
    LimitKey("policy.spread_bps_max", 2, "bps", "lower"),
    LimitKey("policy.depth_band_bps", 3, "bps", "", _LOOKED_AT),
    LimitKey("policy.depth_value_min", 3, "money", "higher"),
    LimitKey("policy.depth_multiple_min", 3, "× notional", "higher"),
    LimitKey("policy.volume_hour_min", 4, "money", "higher"),
    LimitKey("policy.volume_minute_frac_max", 4, "of the mean minute", "lower"),
    LimitKey("policy.exit_cost_bps_max", 5, "bps", "lower"),
    LimitKey("policy.slippage_day_bps_max", 5, "bps", "lower"),
    LimitKey("policy.slippage_p95_bps_max", 5, "bps", "lower"),
    LimitKey("policy.slippage_p95_fills_min", 5, "fills", "lower"),  # judged from fewer fills on
    LimitKey("policy.deadline_ms", 6, "ms", "", f"{_EXITS}; gate 6 itself takes 1000 to 2000 ms, a rule of the venue's engine"),
    LimitKey("policy.lifetime_s_max", 6, "s", "lower"),
    LimitKey("policy.price_band_bps_max", 7, "bps", "lower"),
    LimitKey("policy.reference_band_bps_max", 7, "bps", "lower"),
    LimitKey("policy.rest_price_after_s", 7, "s", "", _EXITS),
    LimitKey("policy.rest_price_age_s_max", 7, "s", "", _EXITS),
    LimitKey("exits.blind_collar_bps", 7, "bps", "", _EXITS),
    LimitKey("risk.size_warning_frac", 11, "of the size", "lower"),
    LimitKey("risk.evidence_s", 12, "s", "lower"),
    LimitKey("risk.silence_s", 12, "s", "lower"),
    LimitKey("risk.grace_ms", 12, "ms", "lower"),
    LimitKey("risk.clock_offset_ms_max", 12, "ms", "lower"),
    LimitKey("risk.day_loss_warning_bps", 13, "bps", "lower"),
    LimitKey("risk.day_loss_critical_bps", 13, "bps", "lower"),
    LimitKey("risk.day_loss_emergency_bps", 13, "bps", "lower"),
    LimitKey("risk.day_loss_shutdown_bps", 13, "bps", "lower"),
    LimitKey("risk.day_loss_max", 13, "money", "lower"),
    LimitKey("risk.drawdown_warning_bps", 14, "bps", "lower"),
    LimitKey("risk.drawdown_critical_bps", 14, "bps", "lower"),
    LimitKey("risk.drawdown_emergency_bps", 14, "bps", "lower"),
    LimitKey("risk.drawdown_shutdown_bps", 14, "bps", "lower"),
    LimitKey("risk.positions_max", 15, "positions", "lower"),
    LimitKey("risk.exposure_bps_max", 16, "bps of equity", "lower"),
    LimitKey("risk.position_bps_max", 17, "bps of equity", "lower"),
    LimitKey("risk.cluster_bps_max", 18, "bps of equity", "lower"),
    LimitKey("risk.reduce_bps_min", 0, "bps of the request", "higher"),
)
BY_KEY = {limit.key: limit for limit in LIMIT_KEYS}
# Thin coins (systems 8, gate 4): what is much of one tape is little of another, so an instrument's own may be looser here.
LOOSER_BY_INSTRUMENT = frozenset({"policy.volume_hour_min", "policy.volume_minute_frac_max"})
_OWN = {section: frozenset(field.name for field in msgspec.structs.fields(kind))
        for section, kind in (("policy", PolicyOverride), ("risk", RiskOverride))}
SECTIONS: dict[str, type[msgspec.Struct]] = {"policy": PolicyConfig, "risk": RiskConfig}


def value_of(config: Config, key: str) -> Decimal | int:
    """Return the value of a limit's key in a configuration."""
    section, _, name = key.partition(".")
    value: Decimal | int = getattr(getattr(config, section), name)
    return value


def with_values(config: Config, values: dict[str, Decimal | int]) -> Config:
    """Return the configuration with some limits replaced, by key."""
    for section in SECTIONS:
        own = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{section}.")}
        if own:
            config = msgspec.structs.replace(config, **{section: msgspec.structs.replace(getattr(config, section), **own)})
    return config


def own_values(override: OverrideConfig) -> Iterator[tuple[str, Decimal | int]]:
    """Yield key and value of each limit that an instrument has of its own."""
    for section in SECTIONS:
        for name, value in msgspec.structs.asdict(getattr(override, section)).items():
            if value is not None:
                yield f"{section}.{name}", value


def for_instrument(config: Config, instrument: str) -> Config:
    """Return the configuration with an instrument's own limits in the place of the general ones."""
    override = config.overrides.get(instrument)
    return config if override is None else with_values(config, dict(own_values(override)))
