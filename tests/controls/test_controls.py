"""The control table is complete and current: no gate, reason or limit without a rule, a key and a test."""

from __future__ import annotations

import random
import re
from fnmatch import fnmatchcase

import pytest

from cstd._fast.gates import GATE_INPUT_DTYPE, LIMITS_DTYPE, Gate, Why
from cstd.decision import published
from cstd.decision.why import _COLLAR, _MEASURE_OF_REASON, _REMEDY, BY_CODE, GATES
from tests.controls import source, table
from tests.controls.rules import BESIDE, RULES
from tests.proof.cases import case_of
from tests.proof.rows import kernel_rows

BEHIND = (Gate.GATE_NONE, Gate.GATE_MANAGED_BOUND)
# Fields of the limits that no key moves: the deadline is the venue's matter, levels from Critical on open nothing.
FIXED = {"deadline_min_ns", "deadline_max_ns"}


def test_every_reason_of_every_gate_has_a_rule() -> None:
    """What the C of a gate can say is what the rules word, no more and no less; so with the verdict."""
    assert {gate: set(RULES[gate]) for gate in source.GATES} == {gate: set(source.reasons(gate)) for gate in source.GATES}
    assert {reason for gate in BEHIND for reason in RULES[gate]} == set(source.verdict_reasons())
    assert set(RULES) == {*source.GATES, *BEHIND}
    given = {reason for rules in RULES.values() for reason in rules}
    assert given == set(Why) - {Why.WHY_PASSED, Why.WHY_COUNT}


def test_no_gate_says_what_was_not_read_from_its_source() -> None:
    """Over thousands of generated decisions, each gate gives reasons that the table has, and most of them come up."""
    seen: set[tuple[Gate, Why]] = set()
    for seed in range(1_500):
        intents, limits, bids, asks = case_of(random.Random(seed), 4)
        for row in kernel_rows(intents, limits, bids, asks, reduce=False):
            seen |= {(gate, Why(int(code))) for gate, code in zip(source.GATES, row["reason"], strict=True) if code}
    known = {(gate, reason) for gate in source.GATES for reason in source.reasons(gate)}
    assert seen <= known
    assert len(seen) > len(known) * 0.9


def test_every_rule_is_judged_on_both_sides() -> None:
    """Each reason of each gate has a row that the kernel tests judge: what passes, and what does not."""
    judged = {(case.gate, case.reason) for case in table.cases()}
    assert judged == {(gate, reason) for gate, rules in RULES.items() for reason in rules}
    assert all(case.passing and case.failing for case in table.cases())


@pytest.mark.parametrize("gate", source.GATES)
def test_comments_say_what_gates_do(gate: Gate) -> None:
    """Each gate's comment has its four facts, and gates and comments are numbered alike."""
    said = source.rule(gate)
    assert set(said) == set(source.PARTS)
    assert all(said.values())
    assert BY_CODE[int(gate)].rules and set(BY_CODE[int(gate)].rules) <= set(published.RULES)


def test_every_published_rule_that_is_asked_for_is_served_by_a_gate() -> None:
    """RTS 6 by its articles on controls, the Market Access Rule, FIA's titles; each in the table, with its gates."""
    served = {rule.name for gate in GATES for rule in gate.rules}
    assert {rule.name for rule in published.RULES} == served, "each rule has a gate, and no gate names another one"
    for words in ("RTS 6 Art. 12,", "RTS 6 Art. 15,", "RTS 6 Art. 15(1)(a)", "RTS 6 Art. 15(1)(b)", "RTS 6 Art. 15(1)(c)",
                  "RTS 6 Art. 15(1)(d)", "RTS 6 Art. 15, repeated automated execution throttle", "RTS 6 Art. 16,",
                  "RTS 6 Art. 17,", "SEC 15c3-5 (c)(1)(i),", "SEC 15c3-5 (c)(1)(ii),", "FIA "):
        assert any(name.startswith(words) for name in served), words
    shown = table.document().partition("## By published rule")[2].partition("## Every limit")[0]
    for rule in published.RULES:
        assert f"| {rule.name} |" in shown
        assert all((source.ROOT / path).is_file() for _, path in rule.beside), rule.name


def test_comments_name_keys_that_exist() -> None:
    """A comment's limit names keys of the configuration, or a family of them."""
    named = {key for gate in source.GATES for key in re.findall(r"\b(?:policy|risk)\.[a-z0-9_]+\*?", source.rule(gate)["Limit"])}
    every = table.every_key()
    unknown = {key for key in named if not any(fnmatchcase(other, key) for other in every)}
    assert unknown == set()


def test_every_limit_has_a_reason_or_says_what_it_does() -> None:
    """Each key of policy, risk and exits bounds a reason, or is told of beside the gates, not both."""
    bounding = {key for rules in RULES.values() for rule in rules.values() for key in rule.keys}
    assert bounding | set(BESIDE) == set(table.every_key())
    assert not bounding & set(BESIDE)


def test_every_limit_is_tested() -> None:
    """Each key is the first of a reason, whose rows prove it, or tests are marked with it; markers name what exists."""
    first = {rule.keys[0] for rules in RULES.values() for rule in rules.values() if rule.keys}
    assert [key for key in table.every_key() if key not in first and not table.proving(key)] == []
    names = {table.name_of(gate, reason) for gate, rules in RULES.items() for reason in rules}
    assert {name for marked in source.marked() for name in marked.controls} <= names | set(table.every_key())


def test_every_limit_that_a_gate_reads_is_named_by_its_keys() -> None:
    """Changing one key at a time shows which fields it moves; each field that a gate reads is moved by a key of that gate."""
    fields = table.fields_of_keys()
    assert set().union(*fields.values()) | FIXED == set(LIMITS_DTYPE.names)
    for gate in source.GATES:
        keys = {key for rule in RULES[gate].values() for key in rule.keys}
        if gate == Gate.GATE_KILL_SWITCH:  # its level's size is the verdict's matter where it is not 0
            keys |= set(RULES[Gate.GATE_NONE][Why.WHY_TOO_SMALL].keys)
        moved = set().union(*(fields[key] for key in keys)) if keys else set()
        assert source.limit_fields(gate) - FIXED <= moved, gate


def test_explanations_name_the_same_keys() -> None:
    """The key that `cstd why` shows beside a limit is a key of that reason."""
    for case in table.cases():
        reason = case.reason.name.removeprefix("WHY_").lower()
        if case.gate in BEHIND or (reason in _REMEDY and reason not in _MEASURE_OF_REASON):
            continue
        keys = RULES[case.gate][case.reason].keys
        entry = next(entry for entry in table.explained(case)["gates"] if entry["code"] == int(case.gate))
        assert not entry["key"] or entry["key"] in keys, (case.gate, case.reason, entry["key"])
    assert _COLLAR.key in RULES[Gate.GATE_PRICE][Why.WHY_COLLAR].keys


def test_what_the_daemon_does_not_feed_is_said() -> None:
    """Of prices, the fields that no line of the engine writes are those that the rules say it does not feed."""
    words = " ".join(rule.unfed for rules in RULES.values() for rule in rules.values())
    said = set(re.findall(r"\w+_raw|\w+_required", words))
    assert said <= set(GATE_INPUT_DTYPE.names)
    assert said == {name for name in source.unfed() if name.startswith("reference_")}


def test_every_test_that_is_named_exists_once() -> None:
    """What the tests column says is the name of one test function, with a promise."""
    named = {span for span in table.document().partition("## The tests")[0].split("`") if span.startswith("test_")}
    rows = re.findall(r"^\| `(test_\w+)` \| \[[^|]*\| (.+) \|$", table.document(), re.MULTILINE)
    assert sorted(named) == sorted(name for name, _ in rows)


def test_the_document_is_current() -> None:
    """docs/controls.md is what `make controls` writes."""
    assert (source.ROOT / "docs" / "controls.md").read_text("utf-8") == table.document()
