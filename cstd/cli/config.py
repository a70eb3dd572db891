"""`cstd config check|show`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from decimal import Decimal
from typing import Any

from cstd.cli.app import print_error
from cstd.cli.plan import host_memory_bytes, journal_plan, memory_plan, memory_problems, plan_lines
from cstd.cli.tradable import known_from, tradable
from cstd.cli.tradable import lines as traded_lines
from cstd.config import Config, refusals
from cstd.config.binding import show as as_written
from cstd.config.canonical import plain
from cstd.config.limit_keys import own_values, value_of
from cstd.config.loading import bind, read_layers
from cstd.config.problems import Problem, config_error, problems_of
from cstd.decision.setup import strategy_params
from cstd.errors import EXIT_OK, ConfigError, OperatorError
from cstd.signals.code import Configured, configured
from cstd.units import BPS_PER_UNIT, format_decimal

NAMES_SHOWN = 20


def money(config: Config) -> dict[str, Decimal]:
    """Return the limits that are shares of equity as amounts, at an equity of the allocated capital."""
    capital, risk = config.account.capital, config.risk
    shares: dict[str, int | Decimal] = {
        "one position at most": risk.position_bps_max,
        "one cluster at most": risk.cluster_bps_max,
        "all positions and openings at most": risk.exposure_bps_max,
        "day loss: Warning": risk.day_loss_warning_bps,
        "day loss: Critical, exits only": risk.day_loss_critical_bps,
        "day loss: Emergency": risk.day_loss_emergency_bps,
        "day loss: Shutdown, kill": risk.day_loss_shutdown_bps,
        "drawdown: Warning": risk.drawdown_warning_bps,
        "drawdown: Critical, exits only": risk.drawdown_critical_bps,
        "drawdown: Emergency": risk.drawdown_emergency_bps,
        "drawdown: Shutdown, kill": risk.drawdown_shutdown_bps,
        "slippage a day at most": config.policy.slippage_day_bps_max,
    }
    amounts = {"equity assumed": capital} | {name: capital * bps / BPS_PER_UNIT for name, bps in shares.items()}
    amounts["day loss as an amount, kill"] = config.risk.day_loss_max
    exits = config.exits
    if exits.stop_bps:
        position = capital * risk.position_bps_max / BPS_PER_UNIT
        amounts["one position at its hard stop, before slippage and fees"] = position * exits.stop_bps / BPS_PER_UNIT
        amounts["the same, sold at the widest collar below it"] = position * (
            exits.stop_bps + max(exits.collar_steps_bps)) / BPS_PER_UNIT
    if exits.target_bps:
        amounts["one position at its target, before slippage and fees"] = (
            capital * risk.position_bps_max * exits.target_bps / BPS_PER_UNIT / BPS_PER_UNIT)
    amounts["turnover a day at most"] = capital * config.policy.turnover_equity_multiple_max
    strategy = config.strategy  # what one's own makes of its parameters is its code's to know: they are printed as they are
    if strategy.name == "rehearsal" and strategy.rehearsal is not None:
        amounts["one rehearsal order"] = capital * strategy.rehearsal.size_frac
    if strategy.name == "ensemble" and strategy.ensemble is not None:
        amounts["the ensemble's largest opening"] = capital * strategy.ensemble.size_frac_max
    if strategy.name == "ladder" and strategy.ladder is not None:
        amounts["one order of the live check"] = strategy.ladder.notional
    return amounts


def exposure_while_down(config: Config) -> str:
    """Return what nobody watches while the daemon is down."""
    exposed = config.account.capital * config.risk.exposure_bps_max / BPS_PER_UNIT
    stops = ("stops live in the daemon and do not protect then:" if config.exits.stop_bps
             else "exits.stop_bps is 0, so there is no stop at any time:")
    return (f"while the daemon is down, resting orders are canceled by the venue after {config.venue.deadman_timeout_s} s; "
            f"{stops} up to {format_decimal(exposed.normalize())} {config.account.currency} of positions stay without one"
            + (", and all coins that were adopted" if adopted(config) else ""))


def adopted(config: Config) -> list[str]:
    """Return the instruments whose coins become managed at a journal's first start."""
    return [name for name in config.instruments.names if config.portfolio.adopts(name)]


def adoption_lines(config: Config) -> list[str]:
    """Return what becomes of the user's own coins, where anything does."""
    names = ", ".join(adopted(config))
    said = (f"a journal's first start takes up what is yours of {names}: stops, exits and `cstd flatten` sell it, losses count "
            "what it loses; limits that are shares of equity do not grow with it")
    return ["", said] if names else []


def override_lines(config: Config) -> list[str]:
    """Return what instruments have of their own, each beside the general limit."""
    own = [f"  {name}: {key} {as_written(value)}, in general {as_written(value_of(config, key))}"
           for name, override in config.overrides.items() for key, value in own_values(override)]
    return ["", "limits of single instruments:", *own] if own else []


def reference_lines(config: Config) -> list[str]:
    """Return whose openings are compared with the index of which perpetual, and whose are not, where there is a feed."""
    if config.futures is None:
        return []
    named, traded = config.futures.names, config.instruments.names
    word = "openings need" if config.futures.reference else "recorded, and no opening needs"
    lines = ["", f"futures feed: {word} an index price of the last {config.futures.age_ms_max:,} ms"]
    none = "no product; gate 7 compares with its own book alone"
    lines += [f"  {name}: {named.get(name, none)}" for name in traded[:NAMES_SHOWN]]
    unused = [f"{name} ({product})" for name, product in named.items() if name not in traded]
    return lines + ([f"  not traded, and not asked for: {', '.join(unused)}"] if unused else [])


def check(args: argparse.Namespace) -> int:
    """Print every problem, or the limits in money and what would stop a start; exit 78 when there is a problem."""
    try:
        config = bind(read_layers(args.config, os.environ))
        if problems := memory_problems(config, host_memory_bytes()):
            raise config_error(problems)
        ours, unusable = code_that_runs(config)
        traded = tradable(config, known_from(args.session))
    except ConfigError as error:
        if args.output != "json":
            raise
        sys.stdout.write(json.dumps({"ok": False, "problems": [plain(p) for p in problems_of(error)]}) + "\n")
        print_error(error, as_json=True)
        return error.exit_code
    blocked = refusals(config, os.environ) + unusable
    if args.output == "json":
        found = {"ok": True, "mode": config.mode, "config_hash": config.config_hash.hex(),
                 "starts": not blocked, "refusals": [plain(p) for p in blocked], "currency": config.account.currency,
                 "money": {name: format_decimal(amount.normalize()) for name, amount in money(config).items()},
                 "adopts": adopted(config),
                 "overrides": {name: {key: as_written(value) for key, value in own_values(override)}
                               for name, override in config.overrides.items()},
                 "memory": memory_plan(config), "memory_host_bytes": host_memory_bytes(),
                 "journal": journal_plan(config, args.frames_per_s), "while_down": exposure_while_down(config),
                 "tradable": traded, "code": ours}
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        _print_check(config, blocked, args.frames_per_s, traded, ours)
    return EXIT_OK


def code_that_runs(config: Config) -> tuple[dict[str, Any], list[Problem]]:
    """Return the strategy and the agents that a configuration would run, and why built-in agents cannot be loaded.

    Raises:
        ConfigError: what the configuration itself names cannot be run.
    """
    problems: list[Problem] = []
    try:
        ours = configured(config)
    except ConfigError:
        raise
    except OperatorError as error:
        problems = [Problem(key="agents.dir", reason=error.message, suggestion=error.suggestion)]
        ours = Configured(None, None)
    own, agents = ours.strategy, ours.agents
    return {"strategy": {"name": own.name if own else config.strategy.name, "sha256": own.sha256 if own else "",
                         "params": strategy_params(config, config.strategy.name, own)},
            "agents": {"names": agents.names if agents else [], "sha256": agents.sha256 if agents else ""}}, problems


def _code_lines(ours: dict[str, Any]) -> list[str]:
    strategy, agents = ours["strategy"], ours["agents"]
    params = " ".join(f"{name}={value}" for name, value in strategy["params"].items())
    return ["", f"strategy {strategy['name']} ({strategy['sha256'] or 'built in'}) {params}".rstrip(),
            f"agents {', '.join(agents['names']) or 'none'} ({agents['sha256'] or 'none'})"]


def _print_check(config: Config, blocked: list[Problem], frames_per_s: float | None, traded: dict[str, Any],
                 ours: dict[str, Any]) -> None:
    amounts = money(config)
    width = max(map(len, amounts))
    shown = config.instruments.names[:NAMES_SHOWN]
    more = len(config.instruments.names) - len(shown)
    names = ", ".join(shown) + (f" and {more} more" if more else "")
    verdict = "valid, but `cstd run` would refuse to start, see below" if blocked else "ok"
    lines = [f"{verdict}: mode {config.mode}, strategy {config.strategy.name}, {names}, hash {config.config_hash.hex()[:16]}", ""]
    lines += [f"  {name:<{width}}  {amount.quantize(Decimal('0.01')):>14,} {config.account.currency}"
              for name, amount in amounts.items()]
    lines += _code_lines(ours)
    lines += adoption_lines(config)
    lines += override_lines(config)
    lines += reference_lines(config)
    lines += ["", *traded_lines(traded, config.account.currency)]
    lines += ["", exposure_while_down(config), "", *plan_lines(config, frames_per_s, host_memory_bytes())]
    lines += ["", "`cstd run` would refuse to start:", *(f"  {p.line()}" for p in blocked)] if blocked else []
    sys.stdout.write("\n".join(lines) + "\n")


def show(args: argparse.Namespace) -> int:
    """Print the effective configuration with the origin of each key."""
    layers = read_layers(args.config, os.environ)
    config = bind(layers)
    if args.output == "json":
        sys.stdout.write(json.dumps({"config": plain(config), "config_hash": config.config_hash.hex(),
                                     "origins": dict(sorted(layers.origins.items()))}) + "\n")
        return EXIT_OK
    for key, value in _flat("", plain(config)):
        sys.stdout.write(f"{key} = {json.dumps(value)}  # {layers.origins.get(key, 'default')}\n")
    return EXIT_OK


def _flat(prefix: str, table: object) -> list[tuple[str, object]]:
    """Return the leaves of nested tables as dotted keys; what is absent is left out."""
    if not isinstance(table, dict):
        return [] if table is None else [(prefix, table)]
    return [leaf for name, value in table.items() for leaf in _flat(f"{prefix}.{name}" if prefix else name, value)]
