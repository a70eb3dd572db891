"""The codes that C compares with are the codes that Python and the journal name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cstd._fast import codes, gates

HEADER = (Path(__file__).parents[2] / "cstd" / "_fast" / "csrc" / "gates_types.h").read_text()


def defined(name: str) -> int:
    """The value of one #define, or of one member of an enum without explicit values."""
    macro = re.search(rf"#define CSTD_{name} \(?(-?\d+)\)?\n", HEADER)
    if macro:
        return int(macro.group(1))
    members = next(group for group in re.findall(r"enum \{([^{}=]*)\};", HEADER) if f"CSTD_{name}" in group)
    return [member.strip() for member in members.split(",")].index(f"CSTD_{name}")


@pytest.mark.parametrize(("prefix", "enum"), [("WHY", gates.Why), ("GATE", gates.Gate)])
def test_reasons_and_gates_are_numbered_alike(prefix: str, enum: type) -> None:
    """Every reason and gate code of the header is a member of the Python enum with the same number, and the reverse."""
    in_c = {name: int(value) for name, value in re.findall(rf"^ +CSTD_({prefix}_\w+) = (\d+)", HEADER, re.MULTILINE)}
    assert in_c == {member.name: int(member) for member in enum}


@pytest.mark.parametrize("enum", [codes.Side, codes.IntentKind, codes.Verdict, codes.TimeInForce, codes.TradingState,
                                  gates.EscalationLevel])
def test_shared_codes_are_numbered_alike(enum: type) -> None:
    """Sides, kinds, verdicts, times in force, states and levels mean the same in the header."""
    assert {member.name: defined(member.name) for member in enum} == {member.name: int(member) for member in enum}


def test_every_field_has_the_place_that_c_gives_it() -> None:
    """The dtypes list the fields of each struct in the order of the header, none left out."""
    for struct, dtype in (("cstd_limits", gates.LIMITS_DTYPE), ("cstd_gate_input", gates.GATE_INPUT_DTYPE),
                          ("cstd_decision_row", gates.DECISION_DTYPE)):
        body = re.search(rf"typedef struct \{{([^{{}}]*)\}} {struct};", HEADER).group(1)
        plain = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
        names = [re.search(r"(\w+)(\[\w+\])?$", line.strip()).group(1) for line in plain.split(";") if line.strip()]
        assert [name.removesuffix("_at") for name in dtype.names] == names
