"""`cstd models`: what it prints fits its schemas, asks before it changes something, and exits 3 where verification fails."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cstd.cli.app import main
from tests.schemas import assert_fits
from tests.signals.made import KEY, WHEN, card, key_file, promoted, write


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Options of a registry with two versions, the first in production."""
    write(tmp_path / "models")
    write(tmp_path / "models")
    promoted(tmp_path / "models", "0001")
    return ["--models", str(tmp_path / "models"), "--key", str(key_file(tmp_path))]


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """What a verb prints as JSON, which fits its schema."""
    assert main(["models", *words, "-o", "json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert_fits(f"models {words[0]}", found)
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> dict[str, Any]:
    """The error of a verb, as JSON."""
    assert main(["models", *words, "-o", "json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().err)
    assert_fits("error", found)
    return found


def test_list_and_show(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """States, verdicts and the log's head; the card and the way of the version in production."""
    found = printed(capsys, "list", *models)
    assert [(row["version"], row["state"], row["verified"]) for row in found["versions"]] == [
        ("0001", "production", True), ("0002", "development", True)]
    assert found["log_lines"] == 5
    shown = printed(capsys, "show", "hourly", *models)
    assert shown["version"] == "0001" and shown["card"]["created"] == WHEN
    assert [step["to_state"] for step in shown["steps"]] == ["development", "shadow", "canary", "production"]
    assert refused(capsys, "list", "daily", *models, code=1)["message"].startswith("there is no model 'daily'")


def test_a_changed_file_is_exit_3(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` and `show` of it; `list` tells of it in its row, and nothing of its card."""
    Path(models[1], "hourly/0001/1h.linear.onnx").write_bytes(b"other")
    rows = printed(capsys, "verify", *models, code=3)
    assert [(row["version"], row["ok"], row["reason"]) for row in rows] == [("0001", False, "sha256"), ("0002", True, None)]
    assert printed(capsys, "verify", "hourly", "0002", *models)[0]["ok"]
    row = printed(capsys, "list", *models)["versions"][0]
    assert row["problem"].endswith("(sha256)") and row["verdict"] is None and not row["verified"]
    assert refused(capsys, "show", "hourly", *models, code=3)["place"] == {"reason": "sha256", "file": "1h.linear.onnx"}


def test_a_wrong_key_is_exit_3(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And no key at all is told how to make one."""
    Path(models[3]).write_bytes(b"x" * 32)
    for words in (["list"], ["verify"], ["show", "hourly"], ["promote", "hourly", "0002", "--yes"],
                  ["rollback", "hourly", "--yes"], ["diff", "hourly", "0001", "0002"]):
        assert refused(capsys, *words, *models, code=3)["place"]["reason"] == "log"
    assert "openssl" in refused(capsys, "list", *models[:2], code=1)["suggestion"]


def test_promote_and_rollback(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The next state or the one that is named; into production, the former one retires; and back."""
    for to in ("shadow", "canary"):
        assert printed(capsys, "promote", "hourly", "0002", *models, "--yes")[0]["to_state"] == to
    steps = printed(capsys, "promote", "hourly", "0002", *models, "--yes", "--to", "production", "--reason", "r", "--by", "me")
    assert [(step["version"], step["to_state"]) for step in steps] == [("0001", "retired"), ("0002", "production")]
    assert steps[1]["who"] == "me" and steps[1]["reason"] == "r"
    steps = printed(capsys, "rollback", "hourly", *models, "--yes")
    assert [(step["version"], step["to_state"]) for step in steps] == [("0002", "retired"), ("0001", "production")]
    assert refused(capsys, "rollback", "hourly", *models, "--yes", code=3)["place"]["reason"] == "no_previous"
    found = refused(capsys, "promote", "hourly", "0001", *models, "--yes", "--to", "canary", code=3)
    assert found["place"]["reason"] == "transition"


def test_sign(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A version that was trained without the key is refused with what to do, then signed, then it verifies."""
    (Path(models[1]) / "registry.jsonl").unlink()
    (Path(models[1]) / "registry.head").unlink()
    (Path(models[1]) / "hourly/0001/card.json.hmac").unlink()
    assert refused(capsys, "show", "hourly", "0001", *models, code=3)["suggestion"] == "cstd models sign hourly 0001"
    assert printed(capsys, "sign", "hourly", "0001", *models, "--yes")[0]["to_state"] == "development"
    assert printed(capsys, "verify", "hourly", "0001", *models)[0]["ok"]


@pytest.mark.parametrize("words", [["promote", "hourly", "0002"], ["rollback", "hourly"], ["sign", "hourly", "0002"]])
def test_nothing_is_changed_without_a_yes(models: list[str], words: list[str], capsys: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal --yes is needed; at one the answer is."""
    before = Path(models[1], "registry.jsonl").read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert refused(capsys, *words, *models, code=2)["suggestion"] == "add --yes"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    assert main(["models", *words, *models]) == 1
    assert Path(models[1], "registry.jsonl").read_bytes() == before


def test_diff(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Leaf by leaf, with what one of them does not have as null."""
    from cstd.signals.registry import write_version

    told = card()
    told["training"]["seed"] = 9
    told["horizons"]["1h"]["metrics"] = {"auc": 0.6}
    write_version(Path(models[1]), "hourly", told, {"1h.linear.onnx": b"another"}, KEY)
    rows = {row["key"]: (row["version"], row["other"]) for row in printed(capsys, "diff", "hourly", "0001", "0003", *models)}
    assert rows.keys() == {"version", "training.seed", "horizons.1h.metrics.auc", "horizons.1h.metrics.brier_skill",
                           "horizons.1h.members.linear.sha256"}
    assert rows["training.seed"] == (7, 9) and rows["horizons.1h.metrics.auc"] == (None, 0.6)


def test_tables(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What people read has the same in it."""
    for words, part in ((["list"], "development"), (["show", "hourly"], "horizons.1h.stack.weights.linear"),
                        (["verify"], "yes"), (["diff", "hourly", "0001", "0002"], "version"),
                        (["promote", "hourly", "0002", "--yes"], "0002: development -> shadow")):
        assert main(["models", *words, *models]) == 0
        assert part in capsys.readouterr().out
