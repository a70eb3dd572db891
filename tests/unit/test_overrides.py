"""Limits of single instruments in the configuration, and the list of limits that commands and overrides go by."""

from __future__ import annotations

import ast
import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from cstd._fast.gates import LIMITS_DTYPE
from cstd.cli.app import main
from cstd.config import Config, from_canonical_json, load, template
from cstd.config.limit_keys import BY_KEY, LIMIT_KEYS, LOOSER_BY_INSTRUMENT, SECTIONS, for_instrument, value_of, with_values
from cstd.config.problems import Problem
from cstd.decision.limits import DEADLINE_MAX_NS, DEADLINE_MIN_NS, limits_row
from cstd.decision.operator_limits import OWN_ROWS_MAX, OperatorLimits
from cstd.decision.why import GATES
from cstd.errors import ConfigError
from cstd.units import NS_PER_MS

PRACTICE = str(template("practice"))
ETH = "ETH/USD"


def overridden(tmp_path: Path, *lines: str, name: str = ETH) -> Config:
    """The shipped practice configuration with a table of one instrument's own limits."""
    path = tmp_path / "own.toml"
    path.write_text("\n".join((f'[overrides."{name}"]', *lines)))
    return load([PRACTICE, str(path)], {})


def refused(tmp_path: Path, *lines: str, name: str = ETH) -> Problem:
    """The one problem of such a table."""
    with pytest.raises(ConfigError) as caught:
        overridden(tmp_path, *lines, name=name)
    (problem,) = caught.value.problems
    assert isinstance(problem, Problem)
    return problem


# Overrides.


def test_an_own_limit_is_its_instruments_alone(tmp_path: Path) -> None:
    """The instrument's row has it, every other row has the general one, and nothing else differs."""
    cfg = overridden(tmp_path, "policy.spread_bps_max = 20.5", "[overrides.'ETH/USD'.risk]", "position_bps_max = 100")
    general, own = limits_row(cfg, "BTC/USD"), limits_row(cfg, ETH)
    assert {name: (int(general[name]), int(own[name])) for name in LIMITS_DTYPE.names
            if general[name].tolist() != own[name].tolist()} == {
                "spread_max_mbps": (45_000, 20_500), "position_max_bps": (200, 100)}
    assert general.tobytes() == limits_row(load([PRACTICE], {}), "BTC/USD").tobytes()


def test_own_limits_are_in_the_journals_copy_and_in_the_hash(tmp_path: Path) -> None:
    """A replay has them, and a configuration with other own limits is another one."""
    cfg = overridden(tmp_path, "policy.volume_hour_min = 20000", "risk.grace_ms = 0")
    assert from_canonical_json(cfg.to_canonical_json()) == cfg
    assert cfg.config_hash != load([PRACTICE], {}).config_hash
    older = json.loads(load([PRACTICE], {}).to_canonical_json())
    del older["overrides"]  # as journals of before have it
    assert from_canonical_json(json.dumps(older).encode()) == load([PRACTICE], {})


@pytest.mark.parametrize("key", sorted(key.key for key in LIMIT_KEYS if key.own))
def test_an_own_limit_is_not_looser_gate_four_apart(key: str, tmp_path: Path) -> None:
    """As strict as the general one is taken; the least bit looser only of the two keys of gate 4."""
    general = value_of(load([PRACTICE], {}), key)
    step = 1 if isinstance(general, int) else Decimal("0.01")
    looser = general + step if BY_KEY[key].tighter == "lower" else general - step
    section, _, name = key.partition(".")
    assert getattr(getattr(overridden(tmp_path, f"{key} = {general}").overrides[ETH], section), name) == general
    if key in LOOSER_BY_INSTRUMENT:
        assert value_of(for_instrument(overridden(tmp_path, f"{key} = {looser}"), ETH), key) == looser
        return
    problem = refused(tmp_path, f"{key} = {looser}")
    assert (problem.key, problem.file) == (f"overrides.{ETH}.{key}", str(tmp_path / "own.toml"))
    assert f"is looser than {key}" in problem.reason and problem.suggestion.startswith(f"loosen {key}")
    assert problem.limit in (f"at most {general}", f"at least {general}")


@pytest.mark.parametrize(("line", "name", "key", "reason", "told"), [
    ("policy.spread_bp_max = 1", ETH, f"overrides.{ETH}.policy.spread_bp_max", "unknown key", "spread_bps_max"),
    ("polcy.spread_bps_max = 1", ETH, f"overrides.{ETH}.polcy", "unknown key", "policy"),
    ("policy.parents_per_minute_max = 1", ETH, f"overrides.{ETH}.policy.parents_per_minute_max", "whole account", "remove"),
    ("risk.exposure_bps_max = 1", ETH, f"overrides.{ETH}.risk.exposure_bps_max", "whole account", "remove"),
    ("policy.deadline_ms = 1000", ETH, f"overrides.{ETH}.policy.deadline_ms", "every exit's", "remove"),
    ("policy.spread_bps_max = 0", ETH, f"overrides.{ETH}.policy.spread_bps_max", "too small", "above 0"),
    ("risk.grace_ms = 1.5", ETH, f"overrides.{ETH}.risk.grace_ms", "whole number", ""),
    ("risk.grace_ms = 1", "ETHUSD", "overrides.ETHUSD", "none of instruments.names", "did you mean ETH/USD?"),
    ("risk.grace_ms = 1", "eth/usd", "overrides.eth/usd", "none of instruments.names", "did you mean ETH/USD?"),
    ("risk.grace_ms = 1", "QQQ/XXX", "overrides.QQQ/XXX", "none of instruments.names", "in quotes"),
    ("policy.exit_cost_bps_max = 2", ETH, f"overrides.{ETH}", "with it policy.markout_allowance_bps = 2 leaves nothing", "less"),
    ("risk.silence_s = 5", ETH, f"overrides.{ETH}", "with it risk.evidence_s = 5 must be below silence_s", "less"),
    ("risk.position_bps_max = 24", ETH, f"overrides.{ETH}", "every intent would be reduced", "0.0024"),
])
def test_what_is_wrong_with_an_own_limit_is_said(line: str, name: str, key: str, reason: str, told: str, tmp_path: Path) -> None:
    """Unknown, the account's, out of bounds, of nobody, or contradictory: one problem, with what to do."""
    problem = refused(tmp_path, line, name=name)
    assert problem.key == key
    assert reason in problem.reason
    assert told in problem.limit + problem.suggestion


def test_a_table_is_expected() -> None:
    """Anything else than a table by instrument is said to be none."""
    for value in ("3", "[1]"):
        with pytest.raises(ConfigError, match="must be a table"):
            load([PRACTICE], {}, [f"overrides.{ETH}={value}"])


def test_check_and_show_have_own_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config check` lists them beside the general ones, `config show` with the file that each is from."""
    overridden(tmp_path, "policy.volume_hour_min = 20000")
    files = ["-c", PRACTICE, "-c", str(tmp_path / "own.toml")]
    assert main(["config", "check", *files]) == 0
    assert "  ETH/USD: policy.volume_hour_min 20000, in general 100000\n" in capsys.readouterr().out
    assert main(["config", "check", *files, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["overrides"] == {ETH: {"policy.volume_hour_min": "20000"}}
    assert main(["config", "show", *files]) == 0
    assert f'overrides.{ETH}.policy.volume_hour_min = "20000"  # {tmp_path / "own.toml"}\n' in capsys.readouterr().out
    assert main(["config", "check", "-c", PRACTICE]) == 0
    assert "single instruments" not in capsys.readouterr().out


# The list.


def moved_by(key: str) -> set[str]:
    """Fields of the gates' limits that another value of a key moves."""
    cfg = load([PRACTICE], {})
    other = (msgspec.structs.replace(cfg, exits=msgspec.structs.replace(cfg.exits, blind_collar_bps=300))
             if key.startswith("exits.") else with_values(cfg, {key: 1}))
    row, made = limits_row(cfg, ETH), limits_row(other, ETH)
    return {name for name in LIMITS_DTYPE.names if made[name].tolist() != row[name].tolist()}


def test_every_limit_of_the_gates_is_listed() -> None:
    """Each field of the gates' limits follows from a listed key, the two bounds of a deadline apart, which are rules."""
    moved = set().union(*(moved_by(limit.key) for limit in LIMIT_KEYS))
    assert moved == set(LIMITS_DTYPE.names) - {"deadline_min_ns", "deadline_max_ns"}


def test_commands_change_what_is_proven_to_tighten(repository: Path) -> None:
    """What a command may change, and which way is tighter, is what tests/proof shows to admit nothing more."""
    tree = ast.parse((repository / "tests/proof/test_tightening.py").read_text("utf-8"))
    proven = {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body  # type: ignore[attr-defined]
              if isinstance(node, ast.Assign) and node.targets[0].id in ("LOWER", "HIGHER", "NO_BOUND")}  # type: ignore[attr-defined]
    for limit in LIMIT_KEYS:
        if limit.key.startswith("exits.") or limit.key == "policy.deadline_ms":
            assert limit.fixed
            continue
        (field,) = moved_by(limit.key)
        assert field in proven[{"lower": "LOWER", "higher": "HIGHER", "": "NO_BOUND"}[limit.tighter]], limit.key
        assert bool(limit.fixed) == (field in proven["NO_BOUND"])


def test_keys_and_gates_are_those_of_the_explanations() -> None:
    """Each gate's main key is listed under that gate, in the gates' order, and each key exists in the configuration."""
    for gate in GATES:
        assert not gate.key or BY_KEY[gate.key].gate == gate.code
    codes = [limit.gate for limit in LIMIT_KEYS if limit.gate]
    assert codes == sorted(codes) and set(codes) == {gate.code for gate in GATES}
    for limit in LIMIT_KEYS:
        section, _, name = limit.key.partition(".")
        assert section == "exits" or name in SECTIONS[section].__struct_fields__


@pytest.mark.parametrize("mode", ["practice", "paper", "live"])
def test_without_a_command_every_limit_is_as_configured(mode: str) -> None:
    """Of each shipped file each limit is shown, with the configuration as its source."""
    limits = OperatorLimits()
    limits.configure(load([str(template(mode))], {}))
    rows = limits.rows()
    assert [row["key"] for row in rows] == list(BY_KEY)
    assert all(row["value"] == row["configured"] and row["set_wall_ns"] is None for row in rows)
    assert all(row["source"] == "configuration" and bool(row["tighter"]) != bool(row["fixed"]) for row in rows)
    deadline = next(row for row in rows if row["key"] == "policy.deadline_ms")
    assert (deadline["value"], deadline["tighter"]) == ("1500", None) and (
        f"{DEADLINE_MIN_NS // NS_PER_MS} to {DEADLINE_MAX_NS // NS_PER_MS} ms" in deadline["fixed"])


def test_a_list_of_many_instruments_limits_is_bounded(tmp_path: Path) -> None:
    """What the board and one answer hold stays bounded; one instrument's own list is whole."""
    cfg = load([PRACTICE], {})
    names = [f"C{n}/USD" for n in range(600)]
    cfg = msgspec.structs.replace(cfg, instruments=msgspec.structs.replace(cfg.instruments, names=names))
    limits = OperatorLimits()
    limits.configure(cfg)
    for name in names:
        limits.change({"key": "risk.grace_ms", "value": "1", "instrument": name}, {}, 1)
    assert len(limits.rows()) == OWN_ROWS_MAX
    assert [row["value"] for row in limits.rows(names[-1]) if row["key"] == "risk.grace_ms"] == ["1"]
