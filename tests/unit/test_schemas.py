"""`cstd schema`: what it lists, what it says of a configuration, and what the offline verbs print against it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cstd.cli.app import main
from cstd.cli.completion import forms
from cstd.cli.outputs import DbRebuild
from cstd.cli.schemas import SCHEMAS, schema
from cstd.config import load, template
from cstd.config.canonical import plain
from cstd.config.schema import SimulatedVenueConfig
from cstd.projector.database import TABLES
from tests.schemas import assert_fits
from tests.unit.test_config import BAD

PRACTICE = str(template("practice"))
RECORDING = "kraken-v2-btcusd-d25-20260802.jsonl.zst"
# Mistakes that a schema of a file alone can see: of one value, not of several, nor of the environment's spelling.
OF_ONE_VALUE = ("too small", "too large", "wrong form", "not one of", "unknown key", "must be a list", "must be a table")


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """Run a verb in this process; return the JSON lines it printed, one alone as it is."""
    assert main(list(words)) == code
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return rows[0] if len(rows) == 1 else rows


def test_every_verb_that_prints_json_has_a_schema() -> None:
    """No verb can get -o json without saying what that is; and no schema is of a verb that there is not."""
    verbs = {" ".join(form.words) for form in forms()
             if any("--output" in option.flags and "json" in option.choices for option in form.options)}
    assert set(SCHEMAS) - {"config", "error", "summary"} == verbs


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`cstd schema NAME`, its words also joined by a dash, prints a valid JSON Schema with title and dialect."""
    found = json.loads("".join(_lines(capsys, name)))
    Draft202012Validator.check_schema(found)
    assert found["$schema"].endswith("2020-12/schema") and name in found["title"]
    assert json.loads("".join(_lines(capsys, name.replace(" ", "-")))) == found


def _lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["schema", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_names_are_listed_and_the_nearest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name every one is listed; a misspelt one gets the nearest, exit 2."""
    assert [line.split("  ")[0] for line in _lines(capsys)] == list(SCHEMAS)
    assert main(["schema", "statsu"]) == 2
    assert "did you mean status?" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["practice", "paper", "live"])
def test_the_shipped_files_fit_the_schema_of_a_configuration(mode: str) -> None:
    """As TOML has them."""
    assert_fits("config", tomllib.loads(template(mode).read_text()))


def test_the_schema_of_a_configuration_refuses_what_the_program_refuses() -> None:
    """Of one value: a wrong type, beyond a bound, an unknown key. Decimals written as text are left to the program."""
    whole = tomllib.loads(Path(PRACTICE).read_text())
    validator = Draft202012Validator(schema("config"))
    seen = 0
    for name, variable, text, key, reason, _ in BAD:
        parts = variable.removeprefix("CSTD__").lower().split("__")
        if not reason.startswith(OF_ONE_VALUE) or not variable.startswith("CSTD__") or not all(parts):
            continue
        table = json.loads(json.dumps(whole))
        inner = table
        for part in parts[:-1]:
            inner = inner.setdefault(part, {})
        inner[parts[-1]] = _toml(text)
        if (isinstance(inner[parts[-1]], str) and reason in ("too small", "too large")) or text == "25.0":  # to JSON a 25
            continue
        seen += 1
        assert list(validator.iter_errors(table)), f"{name}: {key} = {text}"
    assert seen >= 30


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def test_every_key_of_the_configuration_is_in_its_schema() -> None:
    """Key by key, with the defaults of those that have one."""
    def keys(table: Any, prefix: str = "") -> set[str]:
        return {prefix + name for name in table} | {key for name, inner in table.items() if isinstance(inner, dict)
                                                    for key in keys(inner, f"{prefix}{name}.")}

    def told(node: Any, prefix: str = "") -> set[str]:
        return {prefix + name for name in node.get("properties", {})} | {
            key for name, inner in node.get("properties", {}).items() for key in told(inner, f"{prefix}{name}.")}

    beside = ("strategy.own.", "strategy.ladder.", "simulated_venue.")  # tables that practice has not
    optional = {key for key in told(schema("config")) if key.startswith(beside)}
    by_instrument = {f"futures.names.{name}" for name in ("BTC/USD", "ETH/USD")}  # any name may stand there
    assert told(schema("config")) - optional == keys(plain(load([PRACTICE], {}))) - by_instrument
    assert optional == {f"strategy.own.{key}" for key in ("dir", "sha256", "params")} | {
        f"strategy.ladder.{key}" for key in ("instrument", "notional", "below_bps", "lifetime_s", "retry_s")} | {
        f"simulated_venue.{key}" for key in SimulatedVenueConfig.__struct_fields__}
    assert schema("config")["properties"]["instruments"]["properties"]["depth"]["default"] == 25


def test_config_outputs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`config check` of a good and of a bad file, `config show`, and errors."""
    assert_fits("config check", printed(capsys, "config", "check", "-c", PRACTICE, "-o", "json"))
    assert_fits("config check", printed(capsys, "config", "check", "-c", str(template("live")), "-o", "json"))
    assert_fits("config show", printed(capsys, "config", "show", "-c", PRACTICE, "-o", "json"))
    monkeypatch.setenv("CSTD__RISK__POSITIONS_MAX", "0")
    assert_fits("config check", printed(capsys, "config", "check", "-c", PRACTICE, "-o", "json", code=78))
    for words in (["stauts", "-o", "json"], ["status", "--socket", "no/such.sock", "-o", "json"],
                  ["config", "show", "-c", PRACTICE, "-o", "json"]):
        assert main(words) != 0
        assert_fits("error", json.loads(capsys.readouterr().err.splitlines()[-1]))


def test_doctor_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Whatever this host is like."""
    code = main(["doctor", "--run-dir", str(tmp_path), "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    assert_fits("doctor", found)
    assert code == (1 if found["problems"] else 0)


def test_features_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One object a bar, with null where an indicator is not ready."""
    bars = tmp_path / "bars.csv"
    bars.write_text("".join(f"{1_700_000_000 + 60 * i},{100 + i % 7},{110 + i % 7},{90 + i % 5},{100 + i % 3},5\n"
                            for i in range(60)))
    rows = printed(capsys, "features", "--bars", str(bars), "-o", "json")
    assert len(rows) == 60
    for row in (rows[0], rows[-1]):
        assert_fits("features", row)


def test_replay_output(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    """Of recordings, v2 and futures."""
    recordings = data_dir / "recordings"
    assert_fits("replay", printed(capsys, "replay", str(recordings / RECORDING)))
    assert_fits("replay", printed(capsys, "replay", str(recordings / "kraken-futures-v1-20210722.jsonl.zst")))


def test_bench_output(data_dir: Path) -> None:
    """Of one round; the figures are not looked at."""
    from cstd.research.bench import measure
    from cstd.signals.agents.loader import load as load_agents

    assert_fits("bench", json.loads(json.dumps(measure([data_dir / "recordings" / RECORDING], load_agents(), rounds=1, turns=1))))


def test_agents_and_chaos_outputs(repository: Path) -> None:
    """The manifest of the built-in agents; a campaign's outcomes, one of them with a finding."""
    from cstd.chaos.campaign import FAILED, Outcome
    from cstd.chaos.judge import Finding
    from cstd.chaos.tally import new_tally

    manifest = repository / "cstd/signals/agents/prebuilt/agents.json"
    assert_fits("agents build", json.loads(manifest.read_text()))
    failed = Outcome("net-cut", 7, FAILED, "order_lost: x", 1, 3, 2, 4_000, 20.0, [0.5], [Finding("order_lost", "x")], ".run/x")
    faults = [Outcome("kill9", 7).table(), failed.table()]
    assert_fits("chaos", json.loads(json.dumps(
        {"seed": 7, "passed": 0, "failed": 1, "not-run": 1, "faults": faults, "tally": new_tally()})))


def test_a_rebuild_tells_of_every_table() -> None:
    """Its schema names the tables of the ledger, each with its rows."""
    assert set(DbRebuild.__annotations__) == {"file", "seq", *TABLES}
