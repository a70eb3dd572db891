"""docs/controls.md, computed: from the gates' C, the explanations of `cstd why`, the shipped configurations and the tests."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cstd import config
from cstd._fast.gates import Gate, Why
from cstd.config.schema import ExitsConfig, PolicyConfig, RiskConfig
from cstd.decision import published
from cstd.decision import why as explanations
from cstd.decision.limits import limits_row
from cstd.venue.messages import InstrumentSpec
from tests.controls import source
from tests.controls.rules import BESIDE, RULES
from tests.kernels import gate_boundaries, gate_case
from tests.mutation.mutants import MUTANTS
from tests.proof.test_alive import ALONE
from tests.proof.world import live_limits

SECTIONS: Mapping[str, type] = {"policy": PolicyConfig, "risk": RiskConfig, "exits": ExitsConfig}
MODES = ("live", "paper", "practice")
SPEC = InstrumentSpec(name="BTC/USD", base="BTC", quote="USD", status="online", price_precision=1, qty_precision=8,
                      price_increment_raw=1, qty_increment_raw=1, qty_min_raw=5_000, cost_precision=5, cost_min=None)
BOUNDARY_TEST = "test_at_and_beyond_the_limit"
SIZE_TEST = "test_size_limits_at_and_beyond"
REASON_TEST = "test_the_last_that_passes_and_the_first_that_does_not"
ALONE_TEST = "test_a_gate_fails_alone"
PASSED_TEST = "test_an_approved_opening_passed_every_gate"
# Words of a key's name, and the unit they stand for; the first that is there.
UNITS = (("bps", "bps"), ("ms", "ms"), ("s", "s"), ("frac", "of 1"), ("multiple", "×"), ("parents", "parents"),
         ("fills", "fills"), ("positions", "positions"), ("trips", "round trips"),
         ("bars", "bars"), ("returns", "returns"), ("correlation", "of 1"))
MONEY_KEYS = ("policy.depth_value_min", "policy.volume_hour_min", "risk.day_loss_max")


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the tables that the kernel tests judge: what passes, what does not, and by which test."""

    gate: Gate
    reason: Why
    passing: str
    failing: str
    test: str
    row: np.void


def _sides(passing: Mapping[str, Any], failing: Mapping[str, Any]) -> tuple[str, str]:
    """What the two sides set, without what both set alike; a single field is named once."""
    differs = [name for name in failing if passing.get(name) != failing[name]]
    if len(differs) == 1 and differs[0] in passing:
        return f"{differs[0]} {passing[differs[0]]:,}", f"{failing[differs[0]]:,}"
    inside = [f"{name} {passing[name]:,}" if name in passing else f"{name} as it is" for name in differs]
    return ", ".join(inside), ", ".join(f"{name} {failing[name]:,}" for name in differs)


@cache
def cases() -> tuple[Case, ...]:
    """Every row, with the decision that refuses."""
    return tuple(_cases())


def _cases() -> Iterator[Case]:
    live = live_limits()  # so that an explanation shows what is shipped

    def judged(base: str, changes: dict, limits: dict, book: gate_boundaries.Book) -> np.void:
        intent = getattr(gate_case, base)(**changes)
        return gate_case.judge(intent, {**live, **limits}, bids=book[0], asks=book[1], reduce=False)

    for gate, name, passing, failing, reason in gate_boundaries.BOUNDARIES:
        row = judged("opening", {name: failing}, {}, gate_boundaries.BOOK)
        yield Case(gate, reason, *_sides({name: passing}, {name: failing}), BOUNDARY_TEST, row)
    for gate, inside, outside, reason in gate_boundaries.SIZES:
        row = judged("opening", outside, {}, gate_boundaries.BOOK)
        yield Case(gate, reason, *_sides(inside, outside), SIZE_TEST, row)
    for sides in gate_boundaries.REASONS:
        row = judged(sides.base, {**sides.same, **sides.failing}, sides.limits, sides.failing_book or sides.book)
        words = sides.books if sides.failing_book else _sides(sides.passing, sides.failing)
        yield Case(sides.gate, sides.reason, *words, REASON_TEST, row)


def word(gate: Gate) -> str:
    """A gate's name as users see it."""
    return {Gate.GATE_NONE: "verdict"}.get(gate, gate.name.removeprefix("GATE_").lower())


def name_of(gate: Gate, reason: Why) -> str:
    """A control's name, as markers give it."""
    return f"{word(gate)}.{reason.name.removeprefix('WHY_').lower()}"


def proving(name: str) -> list[str]:
    """Names of the tests that are marked with a control's name, or with a key."""
    return [marked.name for marked in source.marked() if name in marked.controls]


def explained(case: Case) -> dict[str, Any]:
    """A case's refusal as `cstd why` has it."""
    return explanations.explain(case.row, SPEC)


def would_pass(gate: Gate, reason: Why) -> str:
    """What `cstd why` says of the first case, under the limits of live."""
    case = next(case for case in cases() if (case.gate, case.reason) == (gate, reason))
    decision = explained(case)
    for entry in decision["gates"]:
        if entry["gate"] == int(gate):
            return str(entry["would_pass"])
    return explanations._outcome(decision)


def every_key() -> list[str]:
    """Every key of the limits: of the policy, of risk, of exits."""
    return [f"{section}.{name}" for section, struct in SECTIONS.items() for name in struct.__struct_fields__]


@cache
def _shipped(mode: str) -> dict[str, Any]:
    return tomllib.loads((source.ROOT / "config" / f"{mode}.toml").read_text("utf-8"), parse_float=str)


def value(key: str, mode: str) -> str:
    """A shipped value as it is written."""
    section, _, name = key.partition(".")
    found = _shipped(mode)[section][name]
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


def unit(key: str) -> str:
    """The unit that a key's name says."""
    if key in MONEY_KEYS:
        return "account currency"
    words = key.partition(".")[2].split("_")
    return next(unit for part, unit in UNITS if part in words)


def reasons_of(key: str) -> list[str]:
    """The controls that a key bounds."""
    return [name_of(gate, reason) for gate, rules in RULES.items() for reason, rule in rules.items() if key in rule.keys]


@cache
def fields_of_keys() -> dict[str, set[str]]:
    """Which fields of the gates' limits follow which key: found by changing one key at a time."""
    cfg = config.load([str(source.ROOT / "config" / "live.toml")], {})
    before = limits_row(cfg, "BTC/USD")
    found: dict[str, set[str]] = {}
    for key in every_key():
        section, _, name = key.partition(".")
        old = getattr(getattr(cfg, section), name)
        new = [step * 100 for step in old] if isinstance(old, list) else old / 2 if name.endswith("frac") else old * 100
        changed = msgspec.structs.replace(getattr(cfg, section), **{name: new})
        after = limits_row(msgspec.structs.replace(cfg, **{section: changed}), "BTC/USD")
        found[key] = {field for field in before.dtype.names if before[field].tolist() != after[field].tolist()}
    return found


def _keys_cell(names: tuple[str, ...]) -> str:
    return "<br>".join(f"`{key}` {value(key, 'live')} {unit(key)}" for key in names) or "–"


def _tests_cell(gate: Gate, reason: Why) -> str:
    of_tables = dict.fromkeys(case.test for case in cases() if (case.gate, case.reason) == (gate, reason))
    proofs = [ALONE_TEST] if reason in ALONE.get(int(gate), ()) else []
    return "<br>".join(f"`{test}`" for test in dict.fromkeys([*of_tables, *proving(name_of(gate, reason)), *proofs]))


def _sides_cell(gate: Gate, reason: Why) -> str:
    found = [case for case in cases() if (case.gate, case.reason) == (gate, reason)]
    return "<br>".join(f"{case.passing} → {case.failing}" for case in found)


def _rows(gate: Gate, order: Mapping[Why, Any]) -> Iterator[str]:
    says = "says" if gate in (Gate.GATE_NONE, Gate.GATE_MANAGED_BOUND) else "passes with"
    yield f"| reason | refused when | limit in live | `cstd why`: {says} | passes → refused | tests |"
    yield "|---|---|---|---|---|---|"
    for reason, rule in order.items():
        when = rule.when + (f". *Not fed by the daemon yet ({rule.unfed}): never given there*" if rule.unfed else "")
        cells = (f"`{reason.name.removeprefix('WHY_').lower()}`", when, _keys_cell(rule.keys), would_pass(gate, reason),
                 _sides_cell(gate, reason), _tests_cell(gate, reason))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _gate(gate: Gate) -> Iterator[str]:
    info, said = explanations.BY_CODE[int(gate)], source.rule(gate)
    yield f"## Gate {int(gate)}, {word(gate).replace('_', ' ')}"
    yield ""
    yield f"- Passes when: {said['Passes when']}"
    yield f"- On fail: {said['On fail']}"
    _, _, why = said["Limit"].partition(": ")
    if why:
        yield f"- Why these limits: {why}"
    yield f"- Of the kind of: {'; '.join(rule.name for rule in info.rules)}."
    name = word(gate).replace("_", " ")
    faults = sum(mutant.name.split(":")[0] == name for mutant in MUTANTS)
    yield (f"- For all inputs `{PASSED_TEST}` proves that no opening is approved that failed it; {faults} faults planted in it "
           "are noticed.")
    yield ""
    yield from _rows(gate, RULES[gate])
    yield ""


def _limits() -> Iterator[str]:
    yield "## Every limit"
    yield ""
    yield "No limit has a default in code: the three shipped files spell each out, and `cstd config show` prints what holds."
    yield ""
    yield "| key | unit | live | paper | practice | decides | tests of the key |"
    yield "|---|---|---|---|---|---|---|"
    for key in every_key():
        decides = ", ".join(f"`{name}`" for name in reasons_of(key)) or BESIDE[key]
        tests = ", ".join(f"`{name}`" for name in proving(key)) or "those of its reason"
        cells = (f"`{key}`", unit(key), *(value(key, mode) for mode in MODES), decides, tests)
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _by_rule() -> Iterator[str]:
    """Each published rule with the gates that serve it, and what else does."""
    yield "## By published rule"
    yield ""
    yield RULES_INTRO
    yield ""
    yield "| rule | what it is for | gates | beside the gates |"
    yield "|---|---|---|---|"
    for rule in published.RULES:
        gates = ", ".join(f"{info.code} {info.name.replace('_', ' ')}" for info in explanations.GATES if rule in info.rules)
        beside = "<br>".join(f"{what}: [{path}](../{path})" for what, path in rule.beside) or "–"
        yield f"| {rule.name} | {rule.asks} | {gates} | {beside} |"
    yield ""


def _where() -> Iterator[str]:
    """Each test that the table names, with its file and what it promises."""
    wanted = {BOUNDARY_TEST, SIZE_TEST, REASON_TEST, ALONE_TEST, PASSED_TEST} | {marked.name for marked in source.marked()}
    yield "## The tests"
    yield ""
    yield "| test | file | promise |"
    yield "|---|---|---|"
    for path in sorted((source.ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if any(f"def {name}(" in text for name in wanted):
            yield from _promises(path, text, wanted)


def _promises(path: Path, text: str, wanted: set[str]) -> Iterator[str]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name in wanted:
            promise = " ".join((ast.get_docstring(node) or "").split()).replace("|", "\\|")
            name = path.relative_to(source.ROOT)
            yield f"| `{node.name}` | [{name}](../{name}) | {promise} |"


INTRO = f"""\
# Controls

Made by `make controls` from the code; a test fails when it is not current, and when a gate, a reason or a limit has no rule,
no key or no test. Do not edit it.

Fifteen gates are evaluated for every intent, none short-circuited ([gates.h](../cstd/_fast/csrc/gates.h)). An opening must pass
all of them. An exit is refused by gate 1 (an id that was used), gates 6 and 7, and the bound on managed quantity; the other
gates are recorded for it. A resting order is judged again at every pass: gates 1 (its latch apart) and 6 are recorded only.
What refused or reduced an order, with the value, the limit and what would have passed, is what `cstd why` prints.

How to read a row: *passes → refused* are the two neighbouring inputs between which the compiled gate changes its mind, in the
raw units of [gates_types.h](../cstd/_fast/csrc/gates_types.h); the tests judge both. What `cstd why` says is of the row's first
case, an order of 100 USD at an equity of 10,000, under the limits of `config/live.toml`. `{ALONE_TEST}` finds by Z3
an intent under the same limits that fails this gate for this reason and no other gate. *Of the kind of* names the published
rule whose purpose a gate serves: no legal opinion, and no claim that the rule applies to anybody.
"""
RULES_INTRO = ("RTS 6 is the Commission Delegated Regulation (EU) 2017/589, SEC 15c3-5 the Market Access Rule of the United "
               "States, FIA the best practices for automated trading risk controls of the Futures Industry Association, by the "
               "titles of its controls.")
VERDICT = ("Reasons of the verdict itself, where no gate's reason says it ([gates.h](../cstd/_fast/csrc/gates.h)): a cut that "
           "leaves too little, and the bound on exits.")


def document() -> str:
    """Return docs/controls.md."""
    lines = [INTRO]
    for gate in source.GATES:
        lines += _gate(gate)
    lines += ["## The verdict", "", VERDICT, ""]
    lines += _rows(Gate.GATE_NONE, RULES[Gate.GATE_NONE])
    lines += ["", "An exit, by the managed bound:", ""]
    lines += _rows(Gate.GATE_MANAGED_BOUND, RULES[Gate.GATE_MANAGED_BOUND])
    lines += ["", *_by_rule(), *_limits(), *_where()]
    return "\n".join(lines) + "\n"
