"""What the C of the gates says of itself: rules in its comments, reasons and limits in its code; and which tests say they
prove a control."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cstd._fast.gates import Gate, Why

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "cstd" / "_fast" / "csrc"
GATES = tuple(gate for gate in Gate if gate not in (Gate.GATE_NONE, Gate.GATE_MANAGED_BOUND))
# What decides the verdict itself: no gate's function, but each of these can refuse (csrc/gates.h).
VERDICT_FUNCTIONS = ("cstd_verdict_opening", "cstd_verdict_exit", "cstd_gates_judge")
PARTS = ("Reads", "Passes when", "Limit", "On fail")


class Function(NamedTuple):
    """One C function: its body without comments, and the comment in front of it."""

    body: str
    comment: str


def plain(comment: str) -> str:
    """A comment's text on one line."""
    return " ".join(re.sub(r"^/\*|\*/$|^\s*\* ?", " ", comment, flags=re.MULTILINE).split())


@cache
def functions() -> dict[str, Function]:
    """Every function of the gates' headers, by name."""
    found = {}
    for name in ("gates_facts.h", "gates_policy.h", "gates_risk.h", "gates.h"):
        text = re.sub(r"__attribute__\(\(.*?\)\)", "", (CSRC / name).read_text("utf-8"))
        pattern = re.compile(r"(?:^(/\*(?:(?!\*/).)*\*/)\n)?^static\b[^;{=]*?\b(\w+)\([^;{]*?\) \{\n(.*?)^\}\n",
                             re.MULTILINE | re.DOTALL)
        for comment, function, body in pattern.findall(text):
            found[function] = Function(re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL), plain(comment))
    return found


def gate_functions(gate: Gate) -> list[str]:
    """The function of a gate, the one for exits, and all that they call, as far as these are of the gates' headers."""
    word = gate.name.removeprefix("GATE_").lower()
    reached = [name for name in functions() if name in (f"cstd_gate_{word}", f"cstd_gate_{word}_exit")]
    for name in reached:
        called = dict.fromkeys(re.findall(r"\b(cstd_\w+)\(", functions()[name].body))
        reached += [other for other in called if other in functions() and other not in reached]
    return reached


@cache
def reasons(gate: Gate) -> frozenset[Why]:
    """Every reason that a gate can give: those its functions name, and those of the facts that it passes on."""
    own = [name for name in gate_functions(gate) if name not in _of_facts()]
    body = "".join(functions()[name].body for name in own)
    names = set(re.findall(r"CSTD_(WHY_\w+)", body))
    for fact in ("money_why", "book_why"):
        if re.search(rf"->{fact}\b", body):
            every = "".join(function.body for function in functions().values())
            names |= {name for line in re.findall(rf"->{fact} = (.*);", every) for name in re.findall(r"CSTD_(WHY_\w+)", line)}
    return frozenset(Why[name] for name in names) - {Why.WHY_PASSED}


def _of_facts() -> set[str]:
    text = (CSRC / "gates_facts.h").read_text("utf-8")
    return {name for name in functions() if re.search(rf"\b{name}\(", text)}


def verdict_reasons() -> frozenset[Why]:
    """What the verdict refuses for by itself, when no gate's reason says it."""
    body = "".join(functions()[name].body for name in VERDICT_FUNCTIONS)
    return frozenset(Why[name] for name in re.findall(r"CSTD_(WHY_\w+)", body)) - {Why.WHY_PASSED}


@cache
def limit_fields(gate: Gate) -> frozenset[str]:
    """The fields of the limits that a gate's functions read; those of the facts it shows are read for it."""
    body = "".join(functions()[name].body for name in gate_functions(gate))
    found = set(re.findall(r"\b(?:lim|limits)->(\w+)", body))
    if re.search(r"facts->depth\b", body):  # counted before the gates, within the band
        found |= set(re.findall(r"\blimits->(\w+)", functions()["cstd_facts_walk"].body))
    return frozenset(found)


def rule(gate: Gate) -> dict[str, str]:
    """A gate's four facts from the comment of its function; gates 13 and 14 share theirs."""
    word = gate.name.removeprefix("GATE_").lower()
    comment = functions()[f"cstd_gate_{'day_loss' if word == 'drawdown' else word}"].comment
    numbers, _, rest = comment.partition(",")
    number = int(gate)
    assert str(number) in re.findall(r"\d+", numbers), (gate, comment)
    places = sorted((rest.find(f"{part}:"), part) for part in PARTS)
    assert places[0][0] >= 0, (gate, comment)
    ends = [place for place, _ in places[1:]] + [len(rest)]
    return {part: rest[place + len(part) + 1:end].strip() for (place, part), end in zip(places, ends, strict=True)}


class Marked(NamedTuple):
    """A test that says it proves controls."""

    path: str
    name: str
    controls: tuple[str, ...]


@cache
def marked() -> tuple[Marked, ...]:
    """Every test with `@pytest.mark.control(...)`, read and not run."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "mark.control" not in text:
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                controls = tuple(str(ast.literal_eval(value)) for mark in node.decorator_list if isinstance(mark, ast.Call)
                                 and ast.unparse(mark.func) == "pytest.mark.control" for value in mark.args)
                if controls:
                    found.append(Marked(str(path.relative_to(ROOT)), node.name, controls))
    return tuple(found)


@cache
def unfed() -> frozenset[str]:
    """Fields of the gates' input that no line of the engine's code writes: what reads them never fails in the daemon."""
    from cstd._fast.gates import GATE_INPUT_DTYPE

    text = "".join(path.read_text("utf-8") for path in (ROOT / "cstd" / "_fast").glob("*.pyx") if path.stem != "gates")
    return frozenset(name for name in GATE_INPUT_DTYPE.names if name not in ("bids", "asks")
                     and not re.search(rf"\binput\.{name}\s*[+\-]?=", text))
