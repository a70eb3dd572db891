"""The registry: what is written verifies, and whatever was done to it since is refused with a reason of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cstd.cli import models_words
from cstd.errors import OperatorError
from cstd.signals import registry
from cstd.signals.registry import log as registry_log
from cstd.signals.registry import store
from cstd.signals.registry.card import decode, features_hash
from cstd.signals.registry.keys import CREDENTIAL, read_key, signature
from cstd.signals.registry.log import TRANSITIONS
from cstd.signals.registry.refusals import REASONS, RefusedVersionError
from tests.signals.made import FEATURES, FILES, KEY, OTHER_KEY, WHEN, card, horizon, promoted, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry with one version."""
    write(tmp_path / "models")
    return tmp_path / "models"


def reason_of(call: Callable[[], object]) -> str:
    """The reason of a refusal."""
    with pytest.raises(RefusedVersionError) as refused:
        call()
    assert refused.value.exit_code == 3 and refused.value.place["reason"] == refused.value.reason
    return refused.value.reason


def verified(root: Path, version: str = "0001", key: bytes = KEY) -> registry.Verified:
    """Verify a version against the log."""
    return registry.verify(root, "hourly", version, key, registry_log.read(root, key))


def state(root: Path, version: str = "0001") -> str | None:
    """The state of a version."""
    return registry_log.read(root, KEY).state("hourly", version)


def step(root: Path, version: str, to: str | None = None) -> None:
    """One step by promotion."""
    registry.promote(root, "hourly", version, KEY, to=to, who="test", when=WHEN, reason="")  # type: ignore[arg-type]


def resign(folder: Path, change: Callable[[dict[str, Any]], object], key: bytes = KEY) -> None:
    """Change a card and sign it anew, as one who has the key could."""
    told = json.loads((folder / "card.json").read_text())
    change(told)
    raw = json.dumps(told).encode()
    (folder / "card.json").write_bytes(raw)
    (folder / "card.json.hmac").write_text(signature(key, raw))


def test_what_is_written_verifies(root: Path) -> None:
    """Name, version, hashes and signature are filled in; the bytes that were checked are handed out."""
    found = verified(root)
    assert (found.card.name, found.card.version, found.files) == ("hourly", "0001", FILES)
    assert found.card.features_hash == features_hash(FEATURES)
    assert state(root) == "development"
    assert sorted(path.name for path in found.folder.iterdir()) == ["1h.linear.onnx", "card.json", "card.json.hmac"]
    raw = (found.folder / "card.json").read_text()
    assert list(json.loads(raw)) == sorted(json.loads(raw))


@pytest.mark.parametrize("signed", [True, False])
def test_a_full_disk_is_said_and_leaves_no_version(root: Path, monkeypatch: pytest.MonkeyPatch, *, signed: bool) -> None:
    """After a training of hours: an error that says what could not be written, and what was there stays as it was."""
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(root.rglob("*"))
    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OperatorError, match=r"hourly cannot be written: No space left"):
        write(root) if signed else registry.put_unsigned(root, "hourly", card(), FILES)
    assert sorted(root.rglob("*")) == before


def test_versions_are_counted_and_no_number_is_used_again(root: Path) -> None:
    """The next is one above the highest, also where that folder was removed."""
    assert write(root).name == "0002"
    shutil.rmtree(root / "hourly/0002")
    assert write(root).name == "0003"
    assert write(root, "daily").name == "0001"


def swap(root: Path) -> None:
    """The whole folder of version 2 in place of version 1's."""
    write(root)
    shutil.rmtree(root / "hourly/0001")
    shutil.copytree(root / "hourly/0002", root / "hourly/0001")


def newer(root: Path) -> None:
    """A card that is signed, says 0001, and is not the one that was registered."""
    resign(root / "hourly/0001", lambda told: told["training"].update(seed=8))


def link(root: Path) -> None:
    """A file of the version is a link to the same bytes elsewhere."""
    file = root / "hourly/0001/1h.linear.onnx"
    file.rename(root / "elsewhere.onnx")
    file.symlink_to(root / "elsewhere.onnx")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def member(told: dict[str, Any]) -> dict[str, Any]:
    """The first member of a card."""
    return told["horizons"]["1h"]["members"][0]  # type: ignore[no-any-return]


TAMPERED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a bit of the card": ("forged", lambda root: flip(root / "hourly/0001/card.json")),
    "half of the card": ("forged", lambda root: os.truncate(root / "hourly/0001/card.json", 200)),
    "no card": ("missing", lambda root: (root / "hourly/0001/card.json").unlink()),
    "no signature": ("unsigned", lambda root: (root / "hourly/0001/card.json.hmac").unlink()),
    "an empty signature": ("forged", lambda root: (root / "hourly/0001/card.json.hmac").write_text("")),
    "a signature that is no text": ("forged", lambda root: (root / "hourly/0001/card.json.hmac").write_bytes(b"\xff\xfe")),
    "another key's signature": ("forged", lambda root: resign(root / "hourly/0001", lambda told: None, OTHER_KEY)),
    "a bit of the model": ("sha256", lambda root: flip(root / "hourly/0001/1h.linear.onnx")),
    "half of the model": ("sha256", lambda root: os.truncate(root / "hourly/0001/1h.linear.onnx", 3)),
    "no model": ("missing", lambda root: (root / "hourly/0001/1h.linear.onnx").unlink()),
    "one file more": ("extra", lambda root: (root / "hourly/0001/1h.other.onnx").write_bytes(b"x")),
    "a pickle beside": ("extra", lambda root: (root / "hourly/0001/model.pkl").write_bytes(b"x")),
    "a folder inside": ("path", lambda root: (root / "hourly/0001/more").mkdir()),
    "a link": ("path", link),
    "another version's folder": ("swapped", swap),
    "another signed card": ("swapped", newer),
    "a hash of other features": ("features_hash", lambda root: resign(root / "hourly/0001",
                                                                      lambda told: told["features"].sort())),
    "another dtype": ("dtype", lambda root: resign(root / "hourly/0001", lambda told: told.update(dtype="float64"))),
    "a feature twice": ("features", lambda root: resign(root / "hourly/0001", lambda told: told["features"].append("obv"))),
    "a path upwards": ("path", lambda root: resign(root / "hourly/0001", lambda told: member(told).update(file="../x.onnx"))),
    "an absolute path": ("path", lambda root: resign(root / "hourly/0001", lambda told: member(told).update(file="/x.onnx"))),
    "an unknown key": ("malformed", lambda root: resign(root / "hourly/0001", lambda told: told.update(pickle="x"))),
    "another schema": ("malformed", lambda root: resign(root / "hourly/0001", lambda told: told.update(schema=2))),
    "practice data": ("malformed", lambda root: resign(root / "hourly/0001",
                                                       lambda told: told["training"].update(provenance="practice"))),
    "a name that is a path": ("name", lambda root: resign(root / "hourly/0001", lambda told: told.update(name="../hourly"))),
    "a weight of nobody": ("horizon", lambda root: resign(root / "hourly/0001",
                                                          lambda told: told["horizons"]["1h"]["stack"]["weights"].update(x=1.0))),
    "no such version": ("absent", lambda root: shutil.rmtree(root / "hourly/0001")),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_changed_is_refused_by_name(root: Path, name: str) -> None:
    """Tampered, truncated, swapped, unsigned, mismatched, with a file too many or too few, or leading elsewhere."""
    reason, change = TAMPERED[name]
    change(root)
    assert reason_of(lambda: verified(root)) == reason


def test_a_forged_card_is_not_parsed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature is checked first: of what nobody signed no byte reaches the parser."""
    flip(root / "hourly/0001/card.json")
    monkeypatch.setattr(store, "decode", lambda raw: pytest.fail("parsed"))
    assert reason_of(lambda: verified(root)) == "forged"


@pytest.mark.parametrize("name", ["../x", "x/y", "", ".", "..", "X", "a" * 49, "a\n"])
def test_names_lead_nowhere_else(root: Path, name: str) -> None:
    """A name or version that is not one opens nothing and writes nothing."""
    assert reason_of(lambda: registry.verify(root, name, "0001", KEY)) == "name"
    assert reason_of(lambda: registry.verify(root, "hourly", name, KEY)) == "name"
    assert reason_of(lambda: registry.write_version(root, name, card(), FILES, KEY)) == "name"
    assert sorted(path.name for path in root.iterdir()) == [".lock", "hourly", "registry.head", "registry.jsonl"]


@pytest.mark.parametrize(("files", "reason"), [
    ({}, "missing"), ({**FILES, "1h.more.onnx": b"x"}, "extra"), ({"../1h.linear.onnx": b"x"}, "missing")])
def test_nothing_is_written_that_would_not_verify(root: Path, files: dict[str, bytes], reason: str) -> None:
    """Files that the card does not name, or no file that it names: no folder, no line in the log."""
    before = (root / "registry.jsonl").read_bytes()
    assert reason_of(lambda: registry.write_version(root, "hourly", card(), files, KEY)) == reason
    assert [path.name for path in (root / "hourly").iterdir()] == ["0001"]
    assert (root / "registry.jsonl").read_bytes() == before


@pytest.mark.parametrize("change", [
    lambda told: told["horizons"].update({"60m": horizon(("linear", "linear"), name="60m")}),
    lambda told: told["horizons"].update({f"{days}d": horizon(("linear", "linear"), name=f"{days}d") for days in range(1, 9)}),
    lambda told: told["horizons"].update({"4h": horizon(("linear", "linear"), name="4h", verdict="not assessable")}),
    lambda told: told.update(verdict="not assessable") or told["horizons"]["1h"].update(verdict="rejected"),
    lambda told: told["horizons"]["1h"].update(calibration={"method": "platt", "a": -0.1, "b": 0.0}),
    lambda told: told["horizons"]["1h"].update(calibration={"method": "beta", "a": 1.0, "b": -0.1, "c": 0.0}),
    lambda told: told["horizons"]["1h"]["stack"]["weights"].update(linear=-0.1),
    lambda told: told["horizons"]["1h"]["conformal"].update(lower=0.03),
    lambda told: told["horizons"]["1h"]["conformal"].update(edges=[0.5]),
    lambda told: told["horizons"]["1h"].update(calibration={"method": "isotonic", "x": [0.2, 0.1], "y": [0.1, 0.2]}),
    lambda told: told["horizons"]["1h"].update(calibration={"method": "isotonic", "x": [0.1, 0.2], "y": [0.2, 0.1]}),
    lambda told: told.update(horizons={}),
    lambda told: told["horizons"]["1h"].update(verdict="rejected"),
    lambda told: told.update(horizons={"1 hour": told["horizons"]["1h"]}),
])
def test_a_horizon_that_contradicts_itself_is_refused(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Two of one length, too many or none, a whole that is better than its worst, a calibration or weight that falls, an interval
    upside down or without its bands.
    """
    told = card()
    change(told)
    files = {f"{name}.linear.onnx": b"no model at all" for name in told["horizons"]}
    assert reason_of(lambda: registry.write_version(root, "hourly", told, files or FILES, KEY)) == "horizon"


def test_numbers_that_json_has_not_are_refused(root: Path) -> None:
    """NaN in a card is refused before anything is written."""
    told = card()
    told["horizons"]["1h"]["metrics"]["auc"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        registry.write_version(root, "hourly", told, FILES, KEY)


def test_a_writer_that_dies_leaves_no_half_version(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unfinished has no version's name, and goes with the next one; one that misses its line is not used."""
    monkeypatch.setattr(store.registry_log, "append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write(root)
    monkeypatch.undo()
    assert reason_of(lambda: verified(root, "0002")) == "unregistered"
    (root / "hourly/.new-0123").mkdir()
    assert write(root).name == "0003"
    assert sorted(path.name for path in (root / "hourly").iterdir()) == ["0001", "0002", "0003"]


def test_two_writers_take_turns(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight at once: eight versions, one line each, in a log that holds."""
    monkeypatch.setattr(store, "LOCK_WAIT_S", 100.0)  # the last waits for seven others
    with ThreadPoolExecutor(8) as writers:
        written = [future.result() for future in [writers.submit(write, root) for _ in range(8)]]
    assert sorted(path.name for path in written) == [f"{number:04}" for number in range(2, 10)]
    log = registry_log.read(root, KEY)
    assert [one.version for one in log.steps] == [f"{number:04}" for number in range(1, 10)]


def test_a_registry_that_is_held_is_not_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the wait the second writer is told so."""
    monkeypatch.setattr(store, "LOCK_WAIT_S", 0.0)
    with store.locked(root), pytest.raises(OperatorError, match="another process writes"):
        write(root)


def sign(root: Path, version: str = "0001", key: bytes = KEY) -> str:
    """Sign a version; the state that it is in then."""
    return registry.sign_version(root, "hourly", version, key, who="test", when=WHEN, reason="").to


def unsigned(root: Path, version: str, **options: Any) -> Path:
    """A version as one writes it who has no key."""
    made = write(root.parent / "elsewhere", **options)
    (made / "card.json.hmac").unlink()
    shutil.copytree(made, root / "hourly" / version)
    resign(root / "hourly" / version, lambda told: told.update(version=version))
    (root / "hourly" / version / "card.json.hmac").unlink()
    return root / "hourly" / version


@pytest.mark.parametrize(("verdict", "state_then"), [("holds", "development"), ("rejected", "rejected")])
def test_a_version_without_a_signature_can_be_signed(root: Path, verdict: str, state_then: str) -> None:
    """Once: it is registered by its verdict, its bytes are as they were, and it verifies; the next version's number is above."""
    folder = unsigned(root, "0002", verdict=verdict)
    raw = (folder / "card.json").read_bytes()
    assert reason_of(lambda: verified(root, "0002")) == "unsigned"
    assert sign(root, "0002") == state_then == state(root, "0002")
    assert verified(root, "0002").card.version == "0002" and (folder / "card.json").read_bytes() == raw
    assert reason_of(lambda: sign(root, "0002")) == "transition"
    assert write(root).name == "0003"


@pytest.mark.parametrize("name", [name for name, (reason, _) in TAMPERED.items()
                                  if reason not in ("forged", "unsigned", "swapped")])
def test_what_would_not_verify_is_not_signed(root: Path, name: str) -> None:
    """Whatever else is wrong with it: no signature, no line in the log."""
    (root / "registry.jsonl").unlink()
    (root / "registry.head").unlink()
    reason, change = TAMPERED[name]
    change(root)
    assert reason_of(lambda: sign(root)) == reason
    assert not (root / "registry.jsonl").exists()


def test_another_keys_version_is_not_signed_over(root: Path) -> None:
    """It has a signature; one that is ours and was never registered gets its line."""
    (root / "registry.jsonl").unlink()
    (root / "registry.head").unlink()
    assert reason_of(lambda: sign(root, key=OTHER_KEY)) == "forged"
    assert reason_of(lambda: verified(root)) == "unregistered"
    assert sign(root) == "development" and verified(root).card.name == "hourly"


# States.


@pytest.mark.parametrize(("before", "to"), [*product(TRANSITIONS, models_words.STATES)])
def test_the_table_of_states_is_kept(root: Path, before: str, to: str) -> None:
    """Each step of the table can be taken, and no other."""
    ways = {"development": [], "shadow": ["shadow"], "canary": ["shadow", "canary"],
            "production": ["shadow", "canary", "production"], "retired": ["retired"], "rejected": ["rejected"]}
    for way in ways[before]:
        step(root, "0001", way)
    assert state(root) == before
    if to in TRANSITIONS[before]:  # type: ignore[index]
        step(root, "0001", to)
        assert state(root) == to
    else:
        assert reason_of(lambda: step(root, "0001", to)) == "transition"
        assert state(root) == before


def test_the_command_line_knows_the_states() -> None:
    """`--to` offers every state that a step leads to."""
    assert set(models_words.STATES) == {to for steps in TRANSITIONS.values() for to in steps}


@pytest.mark.parametrize(("verdict", "first"), [("rejected", "rejected"), ("not assessable", "development")])
def test_a_model_that_did_not_beat_its_baselines_cannot_be_promoted(tmp_path: Path, verdict: str, first: str) -> None:
    """It is registered, rejected where it lost, and gets no further than being put aside."""
    write(tmp_path, verdict=verdict)
    assert state(tmp_path) == first
    for to in ("shadow", "canary", "production"):
        assert reason_of(lambda to=to: step(tmp_path, "0001", to)) == "verdict"  # type: ignore[misc]
    if first == "development":
        step(tmp_path, "0001", "rejected")
        assert state(tmp_path) == "rejected"


def test_there_is_one_production_version(root: Path) -> None:
    """The next one retires it in the same breath; another model's is left alone."""
    write(root)
    write(root, "daily")
    promoted(root, "0001")
    promoted(root, "0001", name="daily")
    promoted(root, "0002")
    assert (state(root), state(root, "0002")) == ("retired", "production")
    assert registry.production(root, "hourly", KEY).card.version == "0002"
    assert registry.production(root, "daily", KEY).card.version == "0001"
    assert reason_of(lambda: registry.production(root, "weekly", KEY)) == "absent"


def rolled_back(root: Path) -> str | None:
    """Roll back; the version in production then."""
    registry.rollback(root, "hourly", KEY, who="test", when=WHEN, reason="drift")
    return registry_log.read(root, KEY).in_production("hourly")


def test_a_rollback_goes_to_the_last_one_that_still_verifies(root: Path) -> None:
    """Past one that was changed since, never to one that a rollback left, and no further than there are any."""
    for _ in range(3):
        write(root)
    for number in range(1, 5):
        promoted(root, f"000{number}")
    flip(root / "hourly/0003/1h.linear.onnx")
    assert rolled_back(root) == "0002"
    assert rolled_back(root) == "0001"
    assert reason_of(lambda: rolled_back(root)) == "no_previous"
    assert registry_log.read(root, KEY).in_production("hourly") == "0001"


def test_a_rollback_does_not_bring_back_what_was_just_put_aside(root: Path) -> None:
    """None in production, because an operator retired it: the one before it comes back, and there is none before the first."""
    write(root)
    for version in ("0001", "0002"):
        promoted(root, version)
    step(root, "0002", "retired")
    assert rolled_back(root) == "0001"
    step(root, "0001", "retired")
    assert reason_of(lambda: rolled_back(root)) == "no_previous"


def test_a_version_that_does_not_verify_is_not_promoted_but_can_be_put_aside(root: Path) -> None:
    """Retiring needs no more than that it was registered."""
    flip(root / "hourly/0001/1h.linear.onnx")
    assert reason_of(lambda: step(root, "0001", "shadow")) == "sha256"
    step(root, "0001", "retired")
    assert state(root) == "retired"


def test_a_rejected_version_comes_back_by_no_detour(root: Path) -> None:
    """Rejected is the end."""
    step(root, "0001", "rejected")
    for to in models_words.STATES:
        assert reason_of(lambda to=to: step(root, "0001", to)) == "transition"  # type: ignore[misc]


# The log.


def edit(root: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the log's lines."""
    path = root / "registry.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


LOGS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a state": ("log", lambda root: edit(root, lambda lines: [line.replace(b'"to": "shadow"', b'"to": "production"')
                                                              for line in lines])),
    "a line taken out": ("log", lambda root: edit(root, lambda lines: [lines[0], lines[2]])),
    "two lines turned": ("log", lambda root: edit(root, lambda lines: [lines[0], lines[2], lines[1]])),
    "a line twice": ("log", lambda root: edit(root, lambda lines: [*lines, lines[-1]])),
    "the last line taken off": ("truncated", lambda root: edit(root, lambda lines: lines[:-1])),
    "everything taken off": ("truncated", lambda root: edit(root, lambda lines: [])),
    "half of the last line": ("log", lambda root: edit(root, lambda lines: [*lines[:-1], lines[-1][:40]])),
    "no log": ("truncated", lambda root: (root / "registry.jsonl").unlink()),
    "no head": ("log", lambda root: (root / "registry.head").unlink()),
    "a bit of the head": ("log", lambda root: flip(root / "registry.head")),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_that_was_changed_is_refused(root: Path, name: str) -> None:
    """Whatever was done to a line or to the end of it: no state is known, nothing is promoted, nothing is written."""
    step(root, "0001")
    step(root, "0001")
    reason, change = LOGS[name]
    change(root)
    for call in (lambda: registry_log.read(root, KEY), lambda: step(root, "0001"), lambda: write(root)):
        assert reason_of(call) == reason  # type: ignore[arg-type]


def test_a_step_while_a_reader_reads_is_no_damage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two files that a reader without the lock reads: it sees the log before the step or after it."""
    raw, read_ = registry_log._raw, []

    def slow(path: Path) -> bytes:
        found = raw(path)
        read_.append(path.name)
        if len(read_) == 1:
            step(root, "0001", "shadow")
        return found

    monkeypatch.setattr(registry_log, "_raw", slow)
    assert registry_log.read(root, KEY).state("hourly", "0001") in ("development", "shadow")


def test_a_log_of_another_key_is_refused(root: Path) -> None:
    """With a key of one's own one can write a registry of one's own, not this one."""
    assert reason_of(lambda: registry_log.read(root, OTHER_KEY)) == "log"


def test_a_crash_before_the_head_is_written_is_no_damage(root: Path) -> None:
    """A log ahead of its head holds, and the next step goes on from it."""
    head = (root / "registry.head").read_bytes()
    step(root, "0001")
    (root / "registry.head").write_bytes(head)
    assert state(root) == "shadow"
    step(root, "0001")
    assert state(root) == "canary"


def test_words_in_the_log_cannot_end_a_line_or_a_signature(root: Path) -> None:
    """A reason with quotes, line ends and the look of a signature comes back as it was given."""
    odd = 'a", "hmac": "0"}\n{"seq": 9\x00 ü'
    registry.promote(root, "hourly", "0001", KEY, to=None, who=odd, when=WHEN, reason=odd)
    assert registry_log.read(root, KEY).steps[-1].reason == odd


# Keys.


def test_a_key_is_its_owners_alone(tmp_path: Path) -> None:
    """There is no default one; open to others, short or absent it is none; from systemd by its own name."""
    path = tmp_path / "models.key"
    with pytest.raises(OperatorError, match="cannot be read"):
        read_key(path)
    path.write_bytes(KEY + b"\n")
    path.chmod(0o640)
    with pytest.raises(OperatorError, match="open to others"):
        read_key(path)
    path.chmod(0o600)
    assert read_key(path) == KEY
    path.write_bytes(KEY[:31])
    with pytest.raises(OperatorError, match="31 bytes"):
        read_key(path)
    with pytest.raises(OperatorError, match="no key for models"):
        read_key(None, {})
    (tmp_path / CREDENTIAL).write_bytes(KEY)
    (tmp_path / CREDENTIAL).chmod(0o440)
    assert read_key(None, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == KEY


def test_every_reason_is_tried() -> None:
    """No refusal is named that no test here brings about."""
    tried = {reason for reason, _ in (*TAMPERED.values(), *LOGS.values())}
    assert set(REASONS) - tried == {"size", "unregistered", "verdict", "transition", "no_previous"}


def test_a_file_without_end_is_not_read_to_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are bounded, and refused by their size."""
    monkeypatch.setattr(store, "FILE_BYTES_MAX", 4)
    assert reason_of(lambda: verified(root)) == "size"


def test_all_files_of_a_version_together_are_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that are each small enough are refused before the last of them is read."""
    monkeypatch.setattr(store, "FILES_BYTES_MAX", len(FILES["1h.linear.onnx"]) - 1)
    assert reason_of(lambda: verified(root)) == "size"


def test_before_the_signature_holds_only_card_and_signature_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And after it, what the card does not name stays unread: a pipe that nobody writes to holds nobody up."""
    read_ = store._content
    names: list[str] = []
    monkeypatch.setattr(store, "_content", lambda folder, name, bound: names.append(name) or read_(folder, name, bound))
    os.mkfifo(root / "hourly/0001/2h.linear.onnx")
    assert reason_of(lambda: verified(root)) == "path"
    (root / "hourly/0001/2h.linear.onnx").unlink()
    flip(root / "hourly/0001/card.json")
    assert reason_of(lambda: verified(root)) == "forged"
    assert set(names) == {"card.json", "card.json.hmac"}


def test_who_has_no_key_takes_turns_and_numbers_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next number by folders and by the log, signed and unsigned in turn; one that holds the registry is waited for."""
    assert write(root).name == "0002"
    shutil.rmtree(root / "hourly/0002")
    made = registry.put_unsigned(root, "hourly", card(), FILES)
    assert made.name == "0003" and sorted(path.name for path in made.iterdir()) == ["1h.linear.onnx", "card.json"]
    assert reason_of(lambda: verified(root, "0003")) == "unsigned"
    assert sign(root, "0003") == "development" and verified(root, "0003").files == FILES
    assert write(root).name == "0004"
    assert reason_of(lambda: registry.put_unsigned(root, "../x", card(), FILES)) == "name"
    monkeypatch.setattr(store, "LOCK_WAIT_S", 0.0)
    with store.locked(root), pytest.raises(OperatorError, match="another process writes"):
        registry.put_unsigned(root, "hourly", card(), FILES)


def test_a_card_can_have_several_horizons(root: Path) -> None:
    """Each with members of its own; a file belongs to one of them."""
    told = card({name: horizon(("tree", "tree"), ("linear", "linear"), name=name) for name in ("1h", "4h")})
    files = {f"{name}.{kind}.onnx": f"{name}{kind}".encode() for name in ("1h", "4h") for kind in ("tree", "linear")}
    folder = registry.write_version(root, "hourly", told, files, KEY)
    assert len(list(decode((folder / "card.json").read_bytes()).members())) == 4
    told["horizons"]["4h"]["members"][0]["file"] = "1h.tree.onnx"
    assert reason_of(lambda: registry.write_version(root, "hourly", told, files, KEY)) == "path"
