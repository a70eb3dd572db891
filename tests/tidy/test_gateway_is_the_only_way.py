"""Orders come from the gateway alone: nothing else includes the encoder, and nothing in Python reaches it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cstd._fast import core, engine, gateway
from cstd.venue import link

ENCODERS = ("encode_add", "encode_amend", "encode_cancel", "encode_exit_rest", "cstd_encode_")
FUNCTION = re.compile(r"^(?P<indent> *)(?P<kind>def|cdef|cpdef)\b(?P<head>[^=\n]*?)(?P<name>\w+)\(", re.MULTILINE)


def sources(repository: Path, *suffixes: str) -> list[Path]:
    """Source files of the program."""
    return [path for path in sorted((repository / "cstd").rglob("*")) if path.suffix in suffixes]


def functions(path: Path) -> dict[str, tuple[str, str]]:
    """(kind, body) of every function of a Cython file, by name."""
    text = path.read_text(encoding="utf-8")
    found = [match for match in FUNCTION.finditer(text) if match["kind"] != "cdef" or "class" not in match["head"]]
    ends = [match.start() for match in found[1:]] + [len(text)] * bool(found)
    return {match["name"]: (match["kind"], text[match.end():end]) for match, end in zip(found, ends, strict=True)}


def test_only_the_gateway_takes_the_encoder(repository: Path) -> None:
    """`encode.h` is included by `encode.pxd` alone, and its functions are cimported and called by gateway.pyx alone."""
    including = [path.name for path in sources(repository, ".pxd", ".pyx", ".h", ".c") if "encode.h" in path.read_text("utf-8")
                 and re.search(r'(include|extern from) *[<"]encode\.h', path.read_text("utf-8"))]
    assert including == ["encode.pxd"]
    using = {path.name for path in sources(repository, ".pxd", ".pyx", ".py")
             if any(word in path.read_text("utf-8") for word in ENCODERS)}
    assert using == {"encode.pxd", "gateway.pyx"}


def test_only_compiled_functions_of_the_gateway_encode(repository: Path) -> None:
    """The encoder is called in four functions that Python cannot call; orders come from `_intend` alone."""
    found = functions(repository / "cstd/_fast/gateway.pyx")
    encoder = re.compile(r"\bencode_(add|amend|cancel|cancel_all|exit_rest)\(")
    calling = {name for name, (_, body) in found.items() if encoder.search(body)}
    assert calling == {"_encode_order", "_amend", "_cancel", "_cancel_all"}
    assert {found[name][0] for name in (*calling, "_intend", "_out")} == {"cdef"}
    sending = {name for name, (_, body) in found.items() if "self._encode_order(" in body}
    assert sending == {"_intend"}
    assert re.search(r"verdict = judge\(", found["_intend"][1]), "the gates stand before the encoder"
    assert found["_intend"][1].index("judge(") < found["_intend"][1].index("_encode_order(")


def test_nothing_but_an_exit_can_be_said_by_rest(repository: Path) -> None:
    """What encodes AddOrder for REST takes no side and no time in force."""
    text = (repository / "cstd/_fast/csrc/encode.h").read_text("utf-8")
    body = text[text.index("size_t cstd_encode_exit_rest("):].partition("\n}\n")[0]
    assert "&type=sell&" in body and "&timeinforce=IOC&" in body
    assert not re.search(r"o->(side|time_in_force|post_only|expire_wall_ns)|buy", body)
    assert text.count("AddOrder?pair=") == 1


def test_wishes_come_from_the_decision_pass_alone(repository: Path) -> None:
    """`_intend` is called by what `_decide` calls: for a wish in `_wished`, for exits in `_exit`, for what an operator approved
    in `_take_up`; `_decide` in an instrument's pass; amends are made of orders that rest, where they are judged again."""
    callers: dict[str, set[str]] = {
        name: set() for name in ("_intend", "_exit", "_leave", "_take_up", "_decide", "_wished", "_encode_order", "_amend")}
    for path in sources(repository, ".pyx"):
        for name, (kind, body) in functions(path).items():
            for callee, names in callers.items():
                if f"self.{callee}(" in body or f"core.{callee}(" in body or f"engine.{callee}(" in body:
                    names.add(f"{path.name}:{kind} {name}")
    assert callers == {"_intend": {"engine.pyx:cdef _wished", "exits.pyx:cdef _exit", "approvals.pyx:cdef _take_up"},
                       "_take_up": {"engine.pyx:cdef _decide"},
                       "_wished": {"engine.pyx:cdef _decide"},
                       "_amend": {"resting.pyx:cdef _rejudge_opening", "resting.pyx:cdef _follow"},
                       "_leave": {"engine.pyx:cdef _decide"},
                       "_exit": {"engine.pyx:cdef _decide", "engine.pyx:cdef _wished", "exits.pyx:cdef _leave"},
                       "_decide": {"engine.pyx:cdef _pass"},
                       "_encode_order": {"gateway.pyx:cdef _intend"}}


def test_only_a_judged_opening_can_wait_and_only_an_approved_one_is_taken_up(repository: Path) -> None:
    """Rows of the waiting table are entered by the gateway behind the gates, approved by a command, taken up in a pass."""
    entering, approving = set(), set()
    for path in sources(repository, ".pyx", ".pxd"):
        for name, (kind, body) in functions(path).items():
            if re.search(r"\.state = APPROVAL_WAITS\b", body):
                entering.add(f"{path.name}:{kind} {name}")
            if re.search(r"\.state = APPROVAL_GIVEN\b", body):
                approving.add(f"{path.name}:{kind} {name}")
            assert not re.search(r"\.state = APPROVAL_(?!WAITS|GIVEN)", body), f"{path.name}: {name} ends what waits by itself"
    assert entering == {"gateway.pyx:cdef _wait"} and approving == {"approvals.pyx:def answer_waiting"}
    gateway_found = functions(repository / "cstd/_fast/gateway.pyx")
    callers = {name for name, (_, body) in gateway_found.items() if "self._wait(" in body}
    assert callers == {"_intend"}
    intend = gateway_found["_intend"][1]
    assert intend.index("judge(") < intend.index("self._asked(") < intend.index("self._record(") < intend.index("self._wait(")
    taken = functions(repository / "cstd/_fast/waiting.pyx")["given"][1]
    assert "state == APPROVAL_GIVEN" in taken
    take_up = functions(repository / "cstd/_fast/approvals.pyx")["_take_up"][1]
    assert "self.waiting.given(" in take_up and "APPROVAL_WAITS" not in take_up


def test_a_question_to_the_gates_calls_nothing_that_counts_records_or_sends(repository: Path) -> None:
    """Of the engine the preview calls what fills in the gates' input and a look into the table of ids; no port, no recorder."""
    text = "".join(body for _, body in functions(repository / "cstd/_fast/preview.pyx").values())
    assert set(re.findall(r"\bcore\.(\w+)\(", text)) == {"_fill_input", "_id_seen"}
    assert not re.search(r"\bcore\.\w+(\.\w+)* [-+|]?= ", text.replace("core.minute.tail = minute_tail", ""))
    assert not re.search(r"\b(recorder|port|counters|correlations|orders)\b", text)


@pytest.mark.parametrize("name", ["_intend", "_encode_order", "_cancel", "_out", "_keep", "_next_id", "_decide", "_pass",
                                  "port", "frame_bytes", "encode_add", "encode_cancel", "send", "_exit_terms", "ids",
                                  "_exit_by_rest", "_take_up", "waiting", "taken", "rest_exits", "encode_exit_rest", "_amend",
                                  "_follow", "_wished", "_quote_terms", "_pull"])
def test_nothing_that_sends_is_visible_to_python(name: str) -> None:
    """Neither the engine's Python face nor its bases nor their modules show what makes or sends an order frame."""
    for owner in (core.Core, engine.FastEngine, gateway.Gateway, core, engine, gateway):
        assert not hasattr(owner, name)


@pytest.mark.parametrize("name", ["_send_checked", "_send_out", "_send_with_token", "_can_send", "token", "out"])
def test_nothing_that_writes_to_a_socket_is_visible_to_python(name: str) -> None:
    """What a link sends it has checked, by `send_control`, or has from the gateway, by its port, whose `send` is compiled."""
    for owner in (link.Link, link.PublicLink, link.PrivateLink, link.TokenPort):
        assert not hasattr(owner, name) and not hasattr(link.TokenPort, "send")


def test_only_the_link_writes_to_a_connection_to_the_venue(repository: Path) -> None:
    """No Python of the daemon or of the venue's machines sends on a transport; the link does so in one place."""
    writing = re.compile(r"transport\w*\.(send|write|writelines|send_reuse_external_\w+)\(")
    found = [f"{path.name}: {match.group()}" for folder in ("venue", "daemon", "engine", "orders", "_fast")
             for path in sources(repository, ".py", ".pyx", ".pxd") if folder in path.parts
             for match in writing.finditer(path.read_text("utf-8"))]
    assert found == ["link.pyx: transport.send_reuse_external_buffer("]


def test_no_module_exports_the_encoder_to_other_compiled_code() -> None:
    """No compiled module's C interface holds an encoder that another module could import."""
    for module in (core, engine, gateway):
        exported = getattr(module, "__pyx_capi__", {})
        assert not [name for name in exported if "encode" in name]
