"""Configuration: what is wrong is found before anything starts, all of it at once."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd.cli.app import main
from cstd.cli.config import exposure_while_down, money
from cstd.config import Config, from_canonical_json, load, template
from cstd.config.binding import out_of_bounds
from cstd.config.schema import Bounds
from cstd.daemon.paper import settings_of
from cstd.decision.limits import limits_row
from cstd.errors import EXIT_CONFIG, ConfigError, UsageError
from cstd.orders.simulated_terms import SimulatedVenueSettings

MODES = ("practice", "paper", "live")


def refused(mode: str = "practice", **environ: str) -> ConfigError:
    """Load a shipped file with overrides and return the error that it must raise."""
    with pytest.raises(ConfigError) as caught:
        load([str(template(mode))], environ)
    assert caught.value.exit_code == EXIT_CONFIG
    return caught.value


def only(error: ConfigError) -> object:
    """Return the single problem of an error."""
    assert len(error.problems) == 1, error.message
    return error.problems[0]


@pytest.mark.parametrize("mode", MODES)
def test_shipped_files_load(mode: str) -> None:
    """Each of the three shipped files is valid and stamped with its mode."""
    assert load([str(template(mode))], {}).mode == mode


@pytest.mark.parametrize("mode", MODES)
def test_canonical_form_round_trips(mode: str) -> None:
    """The journal's copy of a configuration is the configuration, and hashes the same."""
    config = load([str(template(mode))], {})
    again = Config.from_canonical_json(config.to_canonical_json())
    assert (again, again.config_hash) == (config, config.config_hash)


def test_practice_differs_from_live_only_where_a_comment_says_so() -> None:
    """Every key of practice.toml whose value is not live.toml's stands on a line with a comment."""
    practice, live = (tomllib.loads(template(mode).read_text(), parse_float=Decimal) for mode in ("practice", "live"))
    lines = template("practice").read_text().splitlines()
    for section in ("account", "policy", "risk", "exits", "venue", "journal"):
        for key, value in practice[section].items():
            if live[section][key] != value and key not in ("owner_prefix", "day_loss_max"):
                line = next(line for line in lines if line.startswith(f"{key} ="))
                assert "# live: " in line, line


@pytest.mark.parametrize("mode", MODES)
def test_no_limit_has_a_default(mode: str, tmp_path: Path) -> None:
    """Leaving out any one limit of policy, risk, exits or venue, the capital or the audit interval is an error naming it."""
    text = template(mode).read_text()
    table = tomllib.loads(text)
    path = tmp_path / "less.toml"
    limits = [(section, key) for section in ("policy", "risk", "exits", "venue") for key in table[section]]
    for section, key in [*limits, ("account", "capital"), ("instruments", "audit_interval_s")]:
        path.write_text("".join(line + "\n" for line in text.splitlines() if not line.startswith(f"{key} =")))
        with pytest.raises(ConfigError) as caught:
            load([str(path)], {})
        assert [problem.key for problem in caught.value.problems] == [f"{section}.{key}"]


BAD = [
    # what is wrong, override, key, part of the reason, part of the suggestion or limit
    ("unknown key, nearest named", "CSTD__RISK__POSITION_MAX", "3", "risk.position_max", "unknown key", "positions_max"),
    ("unknown section", "CSTD__RISKS__X", "3", "risks", "unknown key", "risk"),
    ("whole number expected", "CSTD__RISK__POSITIONS_MAX", "2.5", "risk.positions_max", "whole number", ""),
    ("true is no number", "CSTD__RISK__POSITIONS_MAX", "true", "risk.positions_max", "whole number", ""),
    ("text is no number", "CSTD__POLICY__SPREAD_BPS_MAX", '"wide"', "policy.spread_bps_max", "decimal number", ""),
    ("NaN", "CSTD__POLICY__SPREAD_BPS_MAX", "nan", "policy.spread_bps_max", "finite", ""),
    ("infinity", "CSTD__POLICY__SPREAD_BPS_MAX", "inf", "policy.spread_bps_max", "finite", ""),
    ("zero", "CSTD__POLICY__SPREAD_BPS_MAX", "0", "policy.spread_bps_max", "too small", "above 0"),
    ("negative", "CSTD__ACCOUNT__CAPITAL", "-1", "account.capital", "too small", "above 0"),
    ("too fine", "CSTD__POLICY__SPREAD_BPS_MAX", "1.0001", "policy.spread_bps_max", "fractional digits", ""),
    ("more than all of it", "CSTD__RISK__EXPOSURE_BPS_MAX", "10001", "risk.exposure_bps_max", "too large", "10000"),
    ("owner prefix", "CSTD__ACCOUNT__OWNER_PREFIX", "abc", "account.owner_prefix", "wrong form", "two characters"),
    ("currency", "CSTD__ACCOUNT__CURRENCY", "usd", "account.currency", "wrong form", "upper-case"),
    ("depth", "CSTD__INSTRUMENTS__DEPTH", "20", "instruments.depth", "not one of", "25"),
    ("audit too often", "CSTD__INSTRUMENTS__AUDIT_INTERVAL_S", "4", "instruments.audit_interval_s", "too small", "5"),
    ("audit too rarely", "CSTD__INSTRUMENTS__AUDIT_INTERVAL_S", "86401", "instruments.audit_interval_s", "too large", "86400"),
    ("no room for all audits", "CSTD__INSTRUMENTS__AUDIT_INTERVAL_S", "9", "instruments.audit_interval_s", "too short", "10"),
    ("mode misspelt", "CSTD__MODE", "practise", "mode", "not one of", "practice"),
    ("strategy", "CSTD__STRATEGY__NAME", "rehersal", "strategy.name", "not one of", "rehearsal"),
    ("list expected", "CSTD__INSTRUMENTS__NAMES", "BTC/USD", "instruments.names", "must be a list", "[ ]"),
    ("table expected", "CSTD__RISK", "3", "risk", "must be a table", "[risk]"),
    ("instrument form", "CSTD__INSTRUMENTS__NAMES", '["BTCUSD"]', "instruments.names[0]", "wrong form", "BASE/QUOTE"),
    ("instrument twice", "CSTD__INSTRUMENTS__NAMES", '["BTC/USD", "BTC/USD"]', "instruments.names[1]", "twice", "remove"),
    ("old name", "CSTD__INSTRUMENTS__NAMES", '["XBT/USD"]', "instruments.names[0]", "old name", "BTC/USD"),
    ("foreign quote", "CSTD__INSTRUMENTS__NAMES", '["ETH/BTC"]', "instruments.names[0]", "not quoted", "USD"),
    ("no instruments", "CSTD__INSTRUMENTS__NAMES", "[]", "instruments.names", "wrong number", "1 to"),
    ("levels out of order", "CSTD__RISK__DAY_LOSS_CRITICAL_BPS", "300", "risk.day_loss_warning_bps", "below", "300"),
    ("drawdown out of order", "CSTD__RISK__DRAWDOWN_SHUTDOWN_BPS", "1250", "risk.drawdown_emergency_bps", "below", "1250"),
    ("position above cluster", "CSTD__RISK__POSITION_BPS_MAX", "601", "risk.position_bps_max", "exceed", "600"),
    ("a link that ends where it begins", "CSTD__RISK__CORRELATION_LEAVE", "0.71", "risk.correlation_leave", "exceed", "0.7"),
    ("cluster above exposure", "CSTD__RISK__CLUSTER_BPS_MAX", "1501", "risk.cluster_bps_max", "exceed", "1500"),
    ("loss amount too large", "CSTD__RISK__DAY_LOSS_MAX", "800.01", "risk.day_loss_max", "exceed", "800"),
    ("evidence longer than silence", "CSTD__RISK__SILENCE_S", "5", "risk.evidence_s", "below", "5"),
    ("steps fall", "CSTD__EXITS__COLLAR_STEPS_BPS", "[50, 25]", "exits.collar_steps_bps", "rise", "[25, 50]"),
    ("urgent step missing", "CSTD__EXITS__COLLAR_URGENT_BPS", "60", "exits.collar_urgent_bps", "the second", "50"),
    ("urgent at another step", "CSTD__EXITS__COLLAR_URGENT_BPS", "100", "exits.collar_urgent_bps", "the second", "50"),
    ("blind collar timid", "CSTD__EXITS__BLIND_COLLAR_BPS", "100", "exits.blind_collar_bps", "reach", "200"),
    ("ATR stop alone", "CSTD__EXITS__STOP_BPS", "0", "exits.stop_atr_multiple", "only stop", "stop_bps"),
    ("stop beyond all sense", "CSTD__EXITS__STOP_BPS", "5001", "exits.stop_bps", "too large", "5000"),
    ("target as a fraction", "CSTD__EXITS__TARGET_BPS", "0.04", "exits.target_bps", "whole number", "0 to 100000"),
    ("ATR multiple below zero", "CSTD__EXITS__STOP_ATR_MULTIPLE", "-1", "exits.stop_atr_multiple", "too small", "0"),
    ("horizon of a year", "CSTD__EXITS__HORIZON_S", "31536000", "exits.horizon_s", "too large", "10000000"),
    ("dead man too short", "CSTD__VENUE__DEADMAN_TIMEOUT_S", "14", "venue.deadman_timeout_s", "too small", "15"),
    ("deadline too long", "CSTD__POLICY__DEADLINE_MS", "2001", "policy.deadline_ms", "too large", "2000"),
    ("rehearsal too large", "CSTD__STRATEGY__REHEARSAL__SIZE_FRAC", "0.0201", "strategy.rehearsal.size_frac", "exceed", "0.02"),
    ("rests too long", "CSTD__STRATEGY__REHEARSAL__LIFETIME_S", "61", "strategy.rehearsal.lifetime_s", "exceed", "60"),
    ("allowance eats budget", "CSTD__POLICY__MARKOUT_ALLOWANCE_BPS", "25", "policy.markout_allowance_bps", "nothing", "25"),
    ("lag below interval", "CSTD__JOURNAL__SYNC_LAG_MS_MAX", "99", "journal.sync_lag_ms_max", "twice", "100"),
    ("no disk floor", "CSTD__JOURNAL__DISK_FREE_BYTES_MIN", "0", "journal.disk_free_bytes_min", "too small", "16777216"),
    ("not loopback", "CSTD__STATUS__LISTEN", "0.0.0.0:8001", "status.listen", "wrong form", "loopback"),
    ("no such port", "CSTD__STATUS__LISTEN", "127.0.0.1:70000", "status.listen", "no such port", "65535"),
    ("listened twice", "CSTD__STATUS__EXTRA_LISTEN", '["127.0.0.1:8001"]', "status.extra_listen[0]", "twice", "remove"),
    ("log level", "CSTD__LOGS__LEVEL", "loud", "logs.level", "not one of", "info"),
    ("endpoint", "CSTD__VENUE__REST_URL", "https://example.org", "venue.rest_url", "mode fixes the endpoints", "remove"),
    ("host", "CSTD__VENUE__HOST", "example.org", "venue.host", "mode fixes the endpoints", "remove"),
    ("secret", "CSTD__ACCOUNT__API_SECRET", "abc", "account.api_secret", "secrets are never", "KRAKEN_API_SECRET"),
    ("TLS", "CSTD__VENUE__TLS_VERIFY", "false", "venue.tls_verify", "TLS verification", "remove"),
    ("bypass", "CSTD__RISK__BYPASS", "true", "risk.bypass", "no bypass", "remove"),
    ("key of another section", "CSTD__RISK__SPREAD_BPS_MAX", "3", "risk.spread_bps_max", "unknown key", "belongs to [policy]"),
    ("key of a section at the top", "CSTD__POSITIONS_MAX", "3", "positions_max", "unknown key", "belongs to [risk]"),
    ("one underscore for two", "CSTD__RISK_POSITIONS_MAX", "3", "risk_positions_max", "unknown key", "positions_max in [risk]"),
    ("prefix with one underscore", "CSTD_RISK__POSITIONS_MAX", "3", "CSTD_RISK__POSITIONS_MAX", "is not read",
     "CSTD__RISK__POSITIONS_MAX"),
    ("variable without a key", "CSTD__RISK__", "3", "CSTD__RISK__", "names no key", "CSTD__SECTION__KEY"),
    ("variable without anything", "CSTD__", "3", "CSTD__", "names no key", "CSTD__SECTION__KEY"),
    ("key with another unit", "CSTD__RISK__EVIDENCE_MS", "5000", "risk.evidence_ms", "unknown key", "evidence_s"),
    ("percent for basis points", "CSTD__RISK__EXPOSURE_PCT_MAX", "15", "risk.exposure_pct_max", "unknown key",
     "exposure_bps_max"),
    ("unit written after the number", "CSTD__POLICY__SPREAD_BPS_MAX", "25 bps", "policy.spread_bps_max", "decimal number",
     "number alone"),
    ("percent sign", "CSTD__RISK__POSITION_BPS_MAX", "2%", "risk.position_bps_max", "whole number", "1 to 10000"),
    ("seconds written after the number", "CSTD__EXITS__STEP_WAIT_S", "2s", "exits.step_wait_s", "decimal number", "number alone"),
    ("ten k", "CSTD__ACCOUNT__CAPITAL", "10k", "account.capital", "decimal number", "number alone"),
    ("dollars", "CSTD__ACCOUNT__CAPITAL", "$1000", "account.capital", "decimal number", "account currency"),
    ("thousands with a comma", "CSTD__ACCOUNT__CAPITAL", "1,000", "account.capital", "decimal number", "account currency"),
    ("size with a unit", "CSTD__JOURNAL__RING_BYTES", "64MiB", "journal.ring_bytes", "whole number", "number alone"),
    ("milliseconds for seconds, exit", "CSTD__EXITS__STEP_WAIT_S", "2000", "exits.step_wait_s", "too large", "60"),
    ("milliseconds for seconds, kill", "CSTD__RISK__LOSS_MARKS_APART_S", "2000", "risk.loss_marks_apart_s", "too large", "60"),
    ("milliseconds for seconds, price", "CSTD__POLICY__REST_PRICE_AGE_S_MAX", "2000", "policy.rest_price_age_s_max", "too large",
     "60"),
    ("milliseconds for seconds, quote", "CSTD__RISK__EVIDENCE_S", "5000", "risk.evidence_s", "too large", "60"),
    ("seconds for milliseconds", "CSTD__POLICY__DEADLINE_MS", "1.5", "policy.deadline_ms", "whole number", "1 to 2 s"),
    ("percent for a fraction", "CSTD__POLICY__VOLUME_MINUTE_FRAC_MAX", "10", "policy.volume_minute_frac_max", "too large",
     "0 to 1"),
    ("fraction for basis points", "CSTD__RISK__POSITION_BPS_MAX", "0.02", "risk.position_bps_max", "whole number",
     "basis points"),
    ("bytes as megabytes", "CSTD__JOURNAL__DISK_FREE_BYTES_MIN", "512", "journal.disk_free_bytes_min", "too small", "16777216"),
    ("more money than fits", "CSTD__ACCOUNT__CAPITAL", "10000000000.01", "account.capital", "too large", "10000000000"),
    ("more depth than fits", "CSTD__POLICY__DEPTH_VALUE_MIN", "1e12", "policy.depth_value_min", "too large", "10000000000"),
    ("a number beyond all", "CSTD__RISK__POSITIONS_MAX", "1000000000000000000000", "risk.positions_max", "too large", "1000"),
    ("money too fine", "CSTD__ACCOUNT__CAPITAL", "0.000000001", "account.capital", "fractional digits", "above 0"),
    ("minus zero", "CSTD__POLICY__SPREAD_BPS_MAX", "-0.0", "policy.spread_bps_max", "too small", "above 0"),
    ("a date", "CSTD__RISK__SILENCE_S", "2026-08-02", "risk.silence_s", "decimal number", "seconds"),
    ("a list for a number", "CSTD__RISK__POSITIONS_MAX", "[10]", "risk.positions_max", "whole number", "1 to 1000"),
    ("a table for a number", "CSTD__RISK__POSITIONS_MAX", "{max = 10}", "risk.positions_max", "whole number", "1 to 1000"),
    ("yes for true", "CSTD__ACCOUNT__EXCLUSIVE", "yes", "account.exclusive", "true or false", "true or false"),
    ("one for true", "CSTD__JOURNAL__DURABLE_INTENTS", "1", "journal.durable_intents", "true or false", "true or false"),
    ("prefix with a capital", "CSTD__ACCOUNT__OWNER_PREFIX", "Ct", "account.owner_prefix", "wrong form", "a-z"),
    ("instrument in small letters", "CSTD__INSTRUMENTS__NAMES", '["btc/usd"]', "instruments.names[0]", "wrong form", "BTC/USD"),
    ("instrument with a dash", "CSTD__INSTRUMENTS__NAMES", '["BTC-USD"]', "instruments.names[0]", "wrong form", "BTC/USD"),
    ("old name of dogecoin", "CSTD__INSTRUMENTS__NAMES", '["XDG/USD"]', "instruments.names[0]", "old name", "DOGE/USD"),
    ("instrument of another currency", "CSTD__INSTRUMENTS__NAMES", '["BTC/EUR"]', "instruments.names[0]", "not quoted", "USD"),
    ("depth that is no list's", "CSTD__INSTRUMENTS__DEPTH", "25.0", "instruments.depth", "not one of", "25"),
    ("emergency above shutdown", "CSTD__RISK__DAY_LOSS_EMERGENCY_BPS", "800", "risk.day_loss_emergency_bps", "below", "800"),
    ("critical above emergency", "CSTD__RISK__DRAWDOWN_CRITICAL_BPS", "1250", "risk.drawdown_critical_bps", "below", "1250"),
    ("warning above critical", "CSTD__RISK__DRAWDOWN_WARNING_BPS", "1000", "risk.drawdown_warning_bps", "below", "1000"),
    ("clocks further apart than a deadline", "CSTD__RISK__CLOCK_OFFSET_MS_MAX", "1500", "risk.clock_offset_ms_max",
     "deadline", "1500"),
    ("turnover below one position", "CSTD__POLICY__TURNOVER_EQUITY_MULTIPLE_MAX", "0.0199",
     "policy.turnover_equity_multiple_max", "below one largest", "200"),
    ("steps twice", "CSTD__EXITS__COLLAR_STEPS_BPS", "[25, 50, 50]", "exits.collar_steps_bps", "rise", "[25, 50]"),
    ("a step too far", "CSTD__EXITS__COLLAR_STEPS_BPS", "[25, 50, 1001]", "exits.collar_steps_bps[2]", "too large", "1000"),
    ("a step in words", "CSTD__EXITS__COLLAR_STEPS_BPS", '[25, "50"]', "exits.collar_steps_bps[1]", "whole number", "1 to 1000"),
    ("dead man too long", "CSTD__VENUE__DEADMAN_TIMEOUT_S", "86400", "venue.deadman_timeout_s", "too large", "86399"),
    ("tier", "CSTD__VENUE__TIER", "platinum", "venue.tier", "not one of", "pro"),
    ("ring of an odd size", "CSTD__JOURNAL__RING_BYTES", "67108863", "journal.ring_bytes", "power of two", "33554432"),
    ("ring too small", "CSTD__JOURNAL__RING_BYTES", "524288", "journal.ring_bytes", "too small", "1048576"),
    ("never on disk", "CSTD__JOURNAL__SYNC_INTERVAL_MS", "60001", "journal.sync_interval_ms", "too large", "60000"),
    ("address without a port", "CSTD__STATUS__LISTEN", "127.0.0.1", "status.listen", "wrong form", "HOST:PORT"),
    ("no such address", "CSTD__STATUS__LISTEN", "127.0.0.300:8001", "status.listen", "no such address", "127.0.0.1"),
    ("listened twice under two names", "CSTD__STATUS__EXTRA_LISTEN", '["localhost:8001"]', "status.extra_listen[0]", "twice",
     "once"),
    ("page and exchange on one port", "CSTD__PRACTICE__REST_PORT", "8001", "status.listen", "practice.rest_port", "once"),
    ("port of the exchange", "CSTD__PRACTICE__WS_PUBLIC_PORT", "65536", "practice.ws_public_port", "too large", "65535"),
    ("home is not expanded", "CSTD__RUN__DIR", "~/cstd", "run.dir", "wrong form", "~"),
    ("path with a zero byte", "CSTD__RUN__DIR", '"a\\u0000b"', "run.dir", "wrong form", "control"),
    ("empty path", "CSTD__RUN__DIR", "", "run.dir", "wrong form", "path"),
    ("socket of blanks", "CSTD__RUN__SOCKET", " ", "run.socket", "wrong form", "empty"),
    ("a CPU twice", "CSTD__PROCESS__CPUS", "[1, 1]", "process.cpus[1]", "twice", "once"),
    ("no such CPU", "CSTD__PROCESS__CPUS", "[4096]", "process.cpus[0]", "too large", "4095"),
    ("collections", "CSTD__PROCESS__GC", "never", "process.gc", "not one of", "timer"),
    ("more of it than there is", "CSTD__STRATEGY__REHEARSAL__SIZE_FRAC", "1.5", "strategy.rehearsal.size_frac", "too large", "1"),
    ("key of another name", "CSTD__ACCOUNT__KRAKEN_API_KEY", "abc", "account.kraken_api_key", "secrets are never",
     "KRAKEN_API_SECRET"),
    ("password", "CSTD__VENUE__PASSWORD", "abc", "venue.password", "secrets are never", "KRAKEN_API_SECRET"),
    ("websocket address", "CSTD__VENUE__WS_PRIVATE", "ws://127.0.0.1:1", "venue.ws_private", "mode fixes the endpoints",
     "remove"),
    ("perpetual of another base", "CSTD__FUTURES__NAMES", '{"BTC/USD" = "PF_ETHUSD"}', "futures.names.BTC/USD", "another base",
     "PF_XBTUSD"),
    ("perpetual in another currency", "CSTD__FUTURES__NAMES", '{"BTC/EUR" = "PF_XBTUSD"}', "futures.names.BTC/EUR",
     "another base", "PF_XBTEUR"),
    ("perpetual by the spot's name", "CSTD__FUTURES__NAMES", '{"BTC/USD" = "PF_BTCUSD"}', "futures.names.BTC/USD", "another base",
     "PF_XBTUSD"),
    ("a contract that ends", "CSTD__FUTURES__NAMES", '{"BTC/USD" = "FF_XBTUSD_261225"}', "futures.names.BTC/USD", "wrong form",
     "PF_XBTUSD"),
    ("a perpetual of nothing", "CSTD__FUTURES__NAMES", '{"BTC" = "PF_XBTUSD"}', "futures.names.BTC", "no instrument",
     "BASE/QUOTE"),
    ("an index that is out of date at once", "CSTD__FUTURES__AGE_MS_MAX", "1000", "futures.age_ms_max", "too small", "1500"),
    ("the futures feed's address", "CSTD__FUTURES__WS_URL", "ws://127.0.0.1:1", "futures.ws_url", "mode fixes the endpoints",
     "remove"),
    ("gates left out", "CSTD__POLICY__SKIP_GATES", "true", "policy.skip_gates", "no bypass", "remove"),
]
HIDDEN = ("unknown key", "names no key", "is not read")  # what was not asked for is not repeated: it may be a secret


@pytest.mark.parametrize(("name", "value", "key", "reason", "help_part"), [case[1:] for case in BAD],
                         ids=[case[0] for case in BAD])
@pytest.mark.control("exits.collar_urgent_bps", "exits.blind_collar_bps", "policy.deadline_ms")
def test_bad_value_is_refused(name: str, value: str, key: str, reason: str, help_part: str) -> None:
    """Each mistake is one problem with its source, the key, the value, the reason, and a limit or what to do about it."""
    problem = only(refused(**{name: value}))
    assert problem.key == key
    assert reason in problem.reason
    assert help_part in problem.limit + problem.suggestion
    assert problem.file in (name, str(template("practice")))
    hidden = problem.reason.startswith(HIDDEN)
    assert bool(problem.value) != hidden and (hidden or problem.value in problem.line())
    assert problem.limit or problem.suggestion
    assert problem.reason in problem.line() and problem.line().startswith(f"{problem.file}: {key}")


def test_the_check_says_what_a_stop_means_in_money_and_when_it_is_none() -> None:
    """Of the largest position: 2 % of 10,000 with a stop of 200 bps and a widest collar of 200 bps; nothing without a stop."""
    cfg = load([str(template("practice"))], {})
    amounts = {name: amount for name, amount in money(cfg).items() if "stop" in name or "widest" in name}
    assert list(amounts.values()) == [4, 8] and "do not protect then: up to 1500 USD" in exposure_while_down(cfg)
    none = load([str(template("practice"))], {"CSTD__EXITS__STOP_BPS": "0", "CSTD__EXITS__STOP_ATR_MULTIPLE": "0"})
    assert not [name for name in money(none) if "stop" in name] and "there is no stop at any time" in exposure_while_down(none)


def numeric_keys() -> list[tuple[str, Bounds]]:
    """Every key that has bounds, with them."""
    def walk(kind: object, prefix: str) -> Iterator[tuple[str, Bounds]]:
        for name, hint in get_type_hints(kind, include_extras=True).items():
            inner = next((part for part in get_args(hint) if isinstance(part, type) and issubclass(part, msgspec.Struct)), hint)
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                yield from walk(inner, f"{prefix}{name}.")
            yield from ((f"{prefix}{name}", mark) for mark in get_args(hint) if isinstance(mark, Bounds))

    return list(walk(Config, ""))


# No shipped file has this table: what it needs beside the key that is tried.
LADDER = {"CSTD__STRATEGY__LADDER__INSTRUMENT": "BTC/USD", "CSTD__STRATEGY__LADDER__NOTIONAL": "10",
          "CSTD__STRATEGY__LADDER__BELOW_BPS": "80", "CSTD__STRATEGY__LADDER__LIFETIME_S": "60",
          "CSTD__STRATEGY__LADDER__RETRY_S": "1"}


@pytest.mark.parametrize(("key", "bounds"), numeric_keys(), ids=[key for key, _ in numeric_keys()])
def test_every_number_has_an_end_and_what_is_inside_fits_the_gates(key: str, bounds: Bounds) -> None:
    """One beyond either end is refused with the interval; what a file may hold at the ends, the compiled limits take."""
    step = Decimal(1).scaleb(-bounds.places) if isinstance(bounds.low, Decimal) or "frac" in key else 1
    variable = f"CSTD__{key.replace('.', '__').upper()}"
    beside = LADDER if key.startswith("strategy.ladder.") else {}
    for beyond in (bounds.low - (0 if bounds.above else step), bounds.high + step):
        problem = only(refused(**beside | {variable: str(beyond)}))
        assert (problem.key, problem.value) == (key, str(beyond))
        assert f"{bounds.low} to {bounds.high}" in problem.limit
    for end in (bounds.low + (step if bounds.above else 0), bounds.high):
        try:
            config = load([str(template("practice"))], beside | {variable: str(end)})
        except ConfigError as error:
            assert all(problem.reason not in ("is too small", "is too large") for problem in error.problems), error.message
        else:
            limits_row(config, "BTC/USD")


def test_ports_of_the_practice_exchange_do_not_collide() -> None:
    """Two practice servers on one port are refused."""
    error = refused(CSTD__PRACTICE__REST_PORT="9001", CSTD__PRACTICE__WS_PUBLIC_PORT="9001")
    assert only(error).key == "practice"


def test_all_problems_are_reported_at_once() -> None:
    """Three mistakes are three problems, each on a line of the message."""
    error = refused(CSTD__RISK__POSITIONS_MAX="0", CSTD__POLICY__NO_SUCH="1", CSTD__ACCOUNT__OWNER_PREFIX="!")
    assert {p.key for p in error.problems} == {"risk.positions_max", "policy.no_such", "account.owner_prefix"}
    assert len(error.message.splitlines()) == 3


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_rehearsal_is_for_practice_alone(mode: str) -> None:
    """paper and live refuse the rehearsal strategy, with the reason."""
    problem = only(refused(mode, CSTD__STRATEGY__NAME="rehearsal"))
    assert problem.key == "strategy.name"
    assert f"{mode} refuses to load it" in problem.reason
    assert '"ensemble"' in problem.suggestion and '"own"' in problem.suggestion


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_rehearsal_settings_are_refused_too(mode: str, tmp_path: Path) -> None:
    """A left-over [strategy.rehearsal] table in paper or live is refused, not ignored."""
    extra = tmp_path / "extra.toml"
    extra.write_text("[strategy.rehearsal]\nsize_frac = 0.001\nlifetime_s = 5\nhold_s = 1\nflat_s = 1\ncycles = 1\n"
                     "long_flat_s = 5\nretry_s = 1\n")
    with pytest.raises(ConfigError, match="refuses to load it") as caught:
        load([str(template(mode)), str(extra)], {})
    assert (only(caught.value).key, only(caught.value).suggestion) == ("strategy.rehearsal", "remove the table")


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_practice_section_is_refused_elsewhere(mode: str) -> None:
    """Nobody can think that paper or live talks to the practice exchange."""
    assert only(refused(mode, CSTD__PRACTICE__REST_PORT="9000")).key == "practice"


@pytest.mark.parametrize("mode", ["practice", "live"])
def test_the_simulated_venue_is_papers_alone(mode: str) -> None:
    """Nobody can think that live is filled by it."""
    assert only(refused(mode, CSTD__SIMULATED_VENUE__FEED_NS="1000")).key == "simulated_venue"


@pytest.mark.parametrize(("key", "value", "named"), [
    ("ORDER_BACK_NS", "19999999", "order_back_ns"), ("FEED_NS", "20000001", "order_back_ns"), ("FEED_NS", "-1", "feed_ns"),
    ("QUEUE", '"first"', "queue"), ("QUEUE_N", "0", "queue_n"), ("FEE_TIERS", "[[10, 25, 40]]", "fee_tiers"),
    ("FEE_TIERS", "[[0, 25]]", "fee_tiers"), ("FEE_TIERS", "[[0, 25, 10001]]", "fee_tiers")])
def test_a_venue_that_cannot_be_is_refused(key: str, value: str, named: str) -> None:
    """An answer that would come before its market, a latency below zero, a queue nobody knows, tiers without a beginning."""
    assert only(refused("paper", **{f"CSTD__SIMULATED_VENUE__{key}": value})).key == f"simulated_venue.{named}"


def test_the_shipped_venue_of_paper_is_the_replays() -> None:
    """What paper.toml spells out are the defaults of a replay, but for heartbeats, which live has, and the tier's threshold."""
    shipped = settings_of(load([str(template("paper"))], {}))
    assert shipped == SimulatedVenueSettings(heartbeat_ns=10**9, rate_count_max=60)


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_short_waits_for_unknown_orders_are_for_practice(mode: str) -> None:
    """Away from practice an unseen order is not called absent before 75 s: 74.999 is refused, 75 is not."""
    assert only(refused(mode, CSTD__VENUE__UNKNOWN_ABSENT_S="74.999")).key == "venue.unknown_absent_s"
    assert load([str(template(mode))], {"CSTD__VENUE__UNKNOWN_ABSENT_S": "75"}).venue.unknown_absent_s == 75


def test_rehearsal_needs_its_settings(tmp_path: Path) -> None:
    """The strategy named without its table is refused."""
    text = template("live").read_text().replace('mode = "live"', 'mode = "practice"')
    text = text.replace('name = "ensemble"', 'name = "rehearsal"')
    path = tmp_path / "bare.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load([str(path)], {})
    assert only(caught.value).key == "strategy.rehearsal"


@pytest.mark.parametrize(("content", "part"), [
    (b"mode = ", "not valid TOML"), (b"\xff\xfe", "not valid TOML"), (b"a = 1\na = 2\n", "not valid TOML"),
    (b"#" * ((1 << 20) + 1), "larger than"),
], ids=["cut short", "not UTF-8", "key twice", "too large"])
def test_broken_file_is_refused(content: bytes, part: str, tmp_path: Path) -> None:
    """A file that is not TOML is a configuration problem with the file's name."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load([str(path)], {})
    assert part in only(caught.value).reason
    assert only(caught.value).file == str(path)


def test_a_wrong_entry_of_a_list_is_told_of_the_file_that_has_the_list(tmp_path: Path) -> None:
    """Of two files the second sets it: the first, which has others of its table, is not at fault."""
    path = tmp_path / "mine.toml"
    path.write_text('[portfolio]\nadopt = ["USD"]\n')
    with pytest.raises(ConfigError) as caught:
        load([str(template("practice")), str(path)], {})
    assert (only(caught.value).file, only(caught.value).key) == (str(path), "portfolio.adopt[0]")


def test_missing_file_is_refused() -> None:
    """A file that is not there is a configuration problem."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(["no/such.toml"], {})


def test_empty_file_lists_what_is_missing(tmp_path: Path) -> None:
    """An empty file names each required section."""
    path = tmp_path / "empty.toml"
    path.write_text("")
    with pytest.raises(ConfigError) as caught:
        load([str(path)], {})
    assert {"mode", "account", "risk", "policy"} <= {p.key for p in caught.value.problems}


def test_no_file_is_a_usage_error() -> None:
    """Without any file nothing is guessed."""
    with pytest.raises(UsageError):
        load([], {})


def test_later_file_wins_key_by_key(tmp_path: Path) -> None:
    """A second file changes the keys it has and leaves the others of the same table."""
    over = tmp_path / "over.toml"
    over.write_text("[risk]\npositions_max = 3\n")
    base = load([str(template("practice"))], {})
    config = load([str(template("practice")), str(over)], {})
    assert config.risk.positions_max == 3
    assert config.risk.exposure_bps_max == base.risk.exposure_bps_max


def test_environment_wins_over_files_and_assignments_over_both(tmp_path: Path) -> None:
    """Order of precedence: files, environment, --set."""
    paths = [str(template("practice"))]
    environ = {"CSTD__RISK__POSITIONS_MAX": "4", "UNRELATED": "1"}
    assert load(paths, environ).risk.positions_max == 4
    assert load(paths, environ, ["risk.positions_max=5"]).risk.positions_max == 5


@pytest.mark.parametrize("text", ["risk.positions_max", "=5", "risk..x=1"])
def test_malformed_assignment_is_a_usage_error(text: str) -> None:
    """--set takes KEY=VALUE."""
    with pytest.raises(UsageError):
        load([str(template("practice"))], {}, [text])


def test_replay_changes_one_limit_of_the_journaled_configuration() -> None:
    """What-if: assignments apply to the canonical form, and are checked like any other value."""
    raw = load([str(template("practice"))], {}).to_canonical_json()
    assert from_canonical_json(raw, ["policy.spread_bps_max=1.5"]).policy.spread_bps_max == Decimal("1.5")
    with pytest.raises(ConfigError):
        from_canonical_json(raw, ["policy.spread_bps_max=-1"])


def test_text_that_looks_like_a_number_stays_text() -> None:
    """An owner prefix of digits given by the environment is not read as a number."""
    assert load([str(template("practice"))], {"CSTD__ACCOUNT__OWNER_PREFIX": "42"}).account.owner_prefix == "42"


def test_equal_configurations_hash_equal() -> None:
    """How a number is written does not matter; what it is does."""
    paths = [str(template("practice"))]
    one, same, other = (load(paths, {"CSTD__POLICY__VOLUME_MINUTE_FRAC_MAX": text}) for text in ("0.1", "0.100", "0.11"))
    assert one.config_hash == same.config_hash != other.config_hash


def test_numbers_are_never_floats() -> None:
    """No value anywhere in a configuration is a binary float."""
    def walk(value: object) -> None:
        assert not isinstance(value, float)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    walk(json.loads(load([str(template("live"))], {}).to_canonical_json(), parse_float=float))


@given(st.decimals(min_value=-5, max_value=5, places=4, allow_nan=False), st.booleans())
def test_bounds_hold_at_just_under_and_just_over(value: Decimal, above: bool) -> None:
    """A number is accepted exactly when it is inside its interval."""
    bounds = Bounds(Decimal(0), Decimal(2), "test", above=above, places=4)
    inside = (value > 0 if above else value >= 0) and value <= 2
    assert (out_of_bounds(bounds, value) == "") == inside


def test_every_limit_is_read_by_the_program(repository: Path) -> None:
    """A limit that nothing enforces would be a promise that is not kept: each key is read outside of cstd/config."""
    program = "".join(path.read_text("utf-8") for path in (repository / "cstd").rglob("*.py")
                      if "config" not in path.relative_to(repository / "cstd").parts and path.parent.name != "cli")
    unread = [f"{section}.{key}" for section in ("policy", "risk", "exits", "venue", "journal")
              for key in tomllib.loads(template("live").read_text())[section]
              if not re.search(rf"\b{key}\b", program)]
    assert unread == []


def test_a_futures_table_says_everything_or_is_not_there(tmp_path: Path) -> None:
    """What can lose money has no default: which perpetuals, whether they are needed, how old an index may be."""
    path = tmp_path / "more.toml"
    for text, keys in (("names = {}\nreference = true\nage_ms_max = 5000\n", ["futures.names"]),
                       ('names = { "BTC/USD" = "PF_XBTUSD" }\n', ["futures.age_ms_max", "futures.reference"])):
        path.write_text(f"[futures]\n{text}")
        with pytest.raises(ConfigError) as caught:
            load([str(template("live")), str(path)], {})
        assert sorted(problem.key for problem in caught.value.problems) == keys
    assert load([str(template("live"))], {}).futures is None


def test_the_check_says_whose_openings_need_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each traded instrument its perpetual, or that it has none; what is named and not traded is told."""
    path = tmp_path / "more.toml"
    path.write_text('[instruments]\nnames = ["BTC/USD", "ADA/USD"]\n[policy]\nspread_bps_max = 40\n')
    assert main(["config", "check", "-c", str(template("practice")), "-c", str(path)]) == 0
    said = capsys.readouterr().out
    assert "futures feed: openings need an index price of the last 5,000 ms\n  BTC/USD: PF_XBTUSD\n" in said
    assert "  ADA/USD: no product; gate 7 compares with its own book alone\n" in said
    assert "  not traded, and not asked for: ETH/USD (PF_ETHUSD)" in said
    main(["config", "check", "-c", str(template("live"))])
    assert "futures feed" not in capsys.readouterr().out
