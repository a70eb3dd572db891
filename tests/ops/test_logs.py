"""JSON logs: the promised fields, secrets out, and nothing else touched."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd.errors import OperatorError, UsageError
from cstd.ops.logs import REDACTED, LineSink, Logs, Redactor, lines

WALL_NS = 1_785_664_800_123_456_789
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="


def logs_to(path: Path, level: str = "debug") -> Logs:
    """Return logs into a file, at a fixed time."""
    return Logs(path=path, level=level, wall_ns=lambda: WALL_NS)


def written(path: Path) -> list[dict[str, Any]]:
    """Return what is in a log file."""
    return list(lines(path.read_bytes()))


def test_a_line_has_time_level_channel_event_and_ids(tmp_path: Path) -> None:
    """One JSON object a line: UTC nanoseconds, level, channel, event, instrument, client order id, decision id."""
    logs = logs_to(tmp_path / "log")
    logs.channel().warning("order rejected", instrument="BTC/USD", cl_ord_id="ct0123456789abcdef", decision_id=41)
    assert written(tmp_path / "log") == [{
        "time": "2026-08-02T10:00:00.123456789Z", "level": "warning", "channel": "application",
        "event": "order rejected", "instrument": "BTC/USD", "cl_ord_id": "ct0123456789abcdef", "decision_id": 41}]


def test_channels_and_levels(tmp_path: Path) -> None:
    """Four channels; what is below the level is not written; unknown levels are refused."""
    logs = logs_to(tmp_path / "log", level="warning")
    for channel in ("application", "audit", "performance", "security"):
        logs.channel(channel).info("quiet")
        logs.channel(channel).error("loud")
    assert [(row["channel"], row["event"]) for row in written(tmp_path / "log")] == [
        ("application", "loud"), ("audit", "loud"), ("performance", "loud"), ("security", "loud")]
    with pytest.raises(UsageError, match="unknown log level 'chatty'"):
        Logs(path=tmp_path / "log", level="chatty")
    with pytest.raises(OperatorError, match="cannot open the log file"):
        Logs(path=tmp_path / "no" / "log")


def test_engine_events_are_drained_with_their_own_time(tmp_path: Path) -> None:
    """Events leave the engine's list in order; their time is the event's; an unknown channel is not lost."""
    logs = logs_to(tmp_path / "log")
    waiting: list[dict[str, object]] = [
        {"event": "book resync", "level": "warning", "wall_ns": WALL_NS - 1, "cause": "checksum"},
        {"event": "command", "channel": "audit", "uid": 0, "verb": "pause"},
        {"event": "odd", "channel": "elsewhere", "level": "strange"},
    ]
    assert logs.drain(waiting) == 3
    assert waiting == []
    first, second, third = written(tmp_path / "log")
    assert first["time"].endswith("788Z")
    assert (second["channel"], second["uid"]) == ("audit", 0)
    assert (third["channel"], third["level"]) == ("application", "error")


def test_planted_secrets_never_reach_a_line(tmp_path: Path) -> None:
    """A registered secret is gone from values, nested values, bytes, URLs, exceptions and event text."""
    logs = logs_to(tmp_path / "log")
    logs.redactor.register(SECRET, "token-abcdefgh")
    log = logs.channel("security")
    quoted = "https://host/x?sign=kQH5HW%2F8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg%3D%3D"
    log.error(f"sent {SECRET}", url=quoted, body=SECRET.encode(), nested={"a": [f"x{SECRET}y"], SECRET: 1})
    try:
        raise ValueError(f"bad {SECRET}")
    except ValueError:
        log.exception("failed", header="Bearer token-abcdefgh")
    raw = (tmp_path / "log").read_text()
    assert SECRET not in raw
    assert SECRET.replace("/", "\\/") not in raw
    assert "8p1uGOVjbgWA7FunAmGO8" not in raw
    assert "token-abcdefgh" not in raw
    assert raw.count(REDACTED) >= 6
    assert written(tmp_path / "log")[0]["nested"]["a"] == [f"x{REDACTED}y"]


def test_secret_keys_are_redacted_whole_by_exact_name(tmp_path: Path) -> None:
    """Values under secret names go; names that only contain one, and absent values, stay."""
    logs = logs_to(tmp_path / "log")
    logs.channel().info("x", api_secret="short", Token="t", token_age_s=3, secret=None, password_set=False,
                        request={"API-Sign": "s", "nonce": 17})
    row = written(tmp_path / "log")[0]
    assert (row["api_secret"], row["Token"], row["request"]["API-Sign"]) == (REDACTED, REDACTED, REDACTED)
    assert (row["token_age_s"], row["secret"], row["password_set"], row["request"]["nonce"]) == (3, None, False, 17)


@pytest.mark.parametrize("data", [
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "OABCDE-FGHIJ-KLMNOP", "ct31489056e0916d59",
    "104235.6", "0.00024000", "3310070434", "TXH3WW-ABCDE-FGHIJK", "2026-08-02T10:00:00.123456789Z",
    "aGVsbG8gd29ybGQ=", "EOrder:Insufficient funds", "naïve € \u202f",
])
def test_what_only_looks_secret_is_left_alone(data: str) -> None:
    """Hashes, ids, prices and base64 that were not registered stay byte for byte."""
    redactor = Redactor()
    redactor.register(SECRET)
    assert redactor.pair("value", data) == data


SCALARS = st.none() | st.booleans() | st.integers(-2**60, 2**60) | st.floats(allow_nan=False) | st.text(max_size=40)


@given(st.recursive(SCALARS,
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=8))
def test_redaction_never_damages_data(value: Any) -> None:
    """A value without the secret comes back equal, whatever it is, unless a key names a secret."""
    redactor = Redactor()
    redactor.register(SECRET)
    assert redactor.value(value) == value


def test_short_secrets_are_refused() -> None:
    """A secret so short that it occurs in ordinary text cannot be registered; nothing at all is not a secret."""
    redactor = Redactor()
    redactor.register("")
    with pytest.raises(UsageError, match="7 characters"):
        redactor.register("1234567")
    redactor.register("12345678")
    assert redactor.text("a12345678b") == f"a{REDACTED}b"


def test_values_json_cannot_hold_become_text(tmp_path: Path) -> None:
    """An integer beyond 64 bits, NaN, a surrogate and an object are written, never raised."""
    logs = logs_to(tmp_path / "log")
    logs.channel().info("odd", big=2**70, broken="\ud800", thing=Path("/x"))
    row = written(tmp_path / "log")[0]
    assert row["big"] == str(2**70)
    assert row["thing"] == "/x"
    assert row["broken"] == "\\ud800"


def test_a_full_pipe_drops_lines_instead_of_waiting() -> None:
    """A log that nobody reads cannot stop the loop; what was lost is counted."""
    read_fd, write_fd = os.pipe()
    sink = LineSink(write_fd)
    for _ in range(3_000):
        sink.write(b"x" * 99 + b"\n")
    assert sink.dropped > 0
    os.set_blocking(read_fd, False)
    kept = os.read(read_fd, 1 << 20)
    assert re.fullmatch(rb"(x{99}\n)+", kept)
    os.close(read_fd)
    sink.write(b"y\n")
    assert sink.dropped > 1
    os.close(write_fd)
