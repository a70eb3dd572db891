"""The scorer: a real process over shared memory gives what onnxruntime gives, and nothing at all for what does not verify."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from cstd.clock import VirtualClock
from cstd.errors import OperatorError
from cstd.signals import registry
from cstd.signals.joining import calibrated, interval, stacked
from cstd.signals.registry.card import decode
from cstd.signals.scorer import process as scorer_process
from cstd.signals.scorer.model import ScoredModel
from cstd.signals.scorer.process import LOOK_AGAIN_S, Scorer
from cstd.signals.scorer.rows import FEATURES_FILE, SCORE_ROW, SCORES_FILE, ScoreStatus, feature_row
from cstd.signals.scorer.sheet import SheetReader, SheetWriter
from tests.signals.made import FEATURES, KEY, OTHER_KEY, WHEN, card, horizon, key_file, linear, promoted, trees

WAIT_S = 40.0
# The rows have more than the model reads, in another order.
NAMES = ("spread", *reversed(FEATURES), *(f"more_{number}" for number in range(70)))
ROW = feature_row(len(NAMES))
INSTRUMENTS = 40


def made(root: Path, weight: float = 1.0) -> Path:
    """A version of two horizons: a tree and a linear member at 1h, a linear one at 4h."""
    told = card({"1h": horizon(("tree", "tree"), ("linear", "linear")), "4h": horizon(("linear", "linear"), name="4h")})
    told["horizons"]["1h"]["calibration"] = {"method": "isotonic", "x": [0.1, 0.5, 0.9], "y": [0.2, 0.45, 0.8]}
    told["horizons"]["4h"]["conformal"] = {"level": 0.9, "lower": [-0.03, -0.01], "upper": [0.01, 0.03], "edges": [0.5]}
    line = linear([0.5 * weight, -0.25, 0.1, 1.0], 0.2)
    files = {"1h.tree.onnx": trees(3), "1h.linear.onnx": line, "4h.linear.onnx": line}
    return registry.write_version(root, "hourly", told, files, KEY)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A registry with one version in production, and its key beside it."""
    made(tmp_path / "models")
    promoted(tmp_path / "models", "0001")
    key_file(tmp_path)
    return tmp_path / "models"


def features(seed: int = 1) -> Any:
    """Rows of features: number 3 lacks one that the model reads, number 4 one that it does not, number 5 has an infinity."""
    rows = np.zeros(INSTRUMENTS, ROW)
    rows["instrument"], rows["event_mono_ns"], rows["event_wall_ns"] = np.arange(INSTRUMENTS), 1_000, 2_000
    rows["values"] = np.random.default_rng(seed).standard_normal((INSTRUMENTS, len(NAMES)))
    rows["valid"] = np.uint64(2**64 - 1)
    rows["valid"][3, 0] ^= np.uint64(1 << NAMES.index("rsi_14"))
    rows["valid"][4, 1] ^= np.uint64(1 << (70 - 64))
    rows["values"][5, NAMES.index("obv")] = 1e300
    return rows


def expected(folder: Path, rows: Any, name: str) -> tuple[Any, Any, Any]:
    """What a horizon's files give by onnxruntime itself, joined as the card says."""
    told = decode((folder / "card.json").read_bytes()).horizons[name]
    matrix = rows["values"][:, [NAMES.index(feature) for feature in FEATURES]].astype(np.float32)
    found = {}
    for member in told.members:
        session = onnxruntime.InferenceSession(folder / member.file, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_outputs()]
        output = session.run(["probabilities"] if "probabilities" in names else None, {"x": matrix})[0]
        found[member.name] = output[:, -1].astype(np.float64)
    probability = calibrated(told.calibration, stacked(told.stack, found))
    return probability, *interval(told.conformal, probability)


class Running:
    """A scorer process with the test as its trading process."""

    def __init__(self, folder: Path, models: Path, *words: str) -> None:
        self.sheet = SheetWriter(folder / FEATURES_FILE, ROW, INSTRUMENTS, NAMES)
        self.path = folder / SCORES_FILE
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cstd.signals.scorer", "--run-dir", str(folder), "--models", str(models), "--name", "hourly",
             "--key", str(models.parent / "models.key"), *words], stderr=subprocess.PIPE, text=True)

    def write(self, rows: Any) -> None:
        """Give it rows of features."""
        with self.sheet.writing(len(rows)) as out:
            out[:] = rows

    def wait(self, holds: Callable[[Any, dict[str, Any]], bool]) -> tuple[Any, dict[str, Any]]:
        """Wait until what it shows is so; return rows and note."""
        until_s = time.monotonic() + WAIT_S
        found: tuple[Any, dict[str, Any]] = (None, {})
        while time.monotonic() < until_s and self.process.poll() is None:
            if self.path.exists():
                reader = SheetReader(self.path, SCORE_ROW)
                found = reader.read()[1:]
                reader.close()
                if holds(*found):
                    return found
            time.sleep(0.02)
        pytest.fail(f"the scorer shows {found[1]}, exit code {self.process.poll()}")

    def end(self) -> str:
        """Ask it to end; return what it wrote."""
        self.process.send_signal(signal.SIGTERM)
        error = self.process.communicate(timeout=WAIT_S)[1]
        assert self.process.returncode == 0
        return error


@pytest.fixture
def start(tmp_path: Path, models: Path) -> Iterator[Callable[..., Running]]:
    """Start scorer processes that are gone after the test."""
    started: list[Running] = []

    def begin(*words: str) -> Running:
        started.append(Running(tmp_path, models, *words))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_scores_are_those_of_onnxruntime(start: Callable[..., Running], models: Path) -> None:
    """All instruments and horizons, to the last bit; rows that lack a feature or have no number have no probability."""
    running = start()
    _, note = running.wait(lambda _, note: note.get("state") == "ready")
    assert [(one["horizon"], one["member"], one["providers"], one["form"]) for one in note["sessions"]] == [
        ("1h", "tree", ["CPUExecutionProvider"], "onnx"), ("1h", "linear", ["CPUExecutionProvider"], "onnx"),
        ("4h", "linear", ["CPUExecutionProvider"], "onnx")]
    assert all(set(one["nodes"]) == {"CPUExecutionProvider"} for one in note["sessions"])
    for seed in (1, 2):
        rows = features(seed)
        running.write(rows)
        scores, note = running.wait(lambda _, note, seed=seed: note.get("batches") == seed)  # type: ignore[misc]
        assert len(scores) == 2 * INSTRUMENTS and note["batch_rows"] == INSTRUMENTS and note["version"] == "0001"
        for name, seconds in (("1h", 3_600), ("4h", 14_400)):
            part = scores[scores["horizon_s"] == seconds]
            assert list(part["instrument"]) == list(range(INSTRUMENTS))
            want = dict.fromkeys(range(INSTRUMENTS), ScoreStatus.SCORED) | {3: ScoreStatus.NOT_READY, 5: ScoreStatus.NOT_FINITE}
            assert list(part["status"]) == list(want.values())
            good = part["status"] == ScoreStatus.SCORED
            for field, values in zip(("probability", "lower", "upper"), expected(models / "hourly/0001", rows[good], name),
                                     strict=True):
                assert np.array_equal(part[field][good], values)
                assert not part[field][~good].any()
            assert set(part["members"][good]) == {2 if name == "1h" else 1} and set(part["members"][~good]) == {0}
            assert set(part["event_mono_ns"]) == {1_000} and set(part["event_wall_ns"]) == {2_000}
        assert {bytes(one).hex() for one in scores["model"]} == {note["model"]}
        assert note["model"] == registry.production(models, "hourly", KEY).card_sha256
    assert running.end() == ""
    assert SheetReader(running.path).read()[2]["state"] == "stopped"


def test_a_wrong_key_scores_nothing_and_says_so(start: Callable[..., Running], models: Path) -> None:
    """It stays, and shows why; so does one whose version was changed."""
    (models.parent / "models.key").write_bytes(OTHER_KEY)
    running = start()
    running.write(features())
    scores, note = running.wait(lambda _, note: note.get("state") == "refused")
    assert not len(scores) and note["refusal"] == "log" and "not signed by this key" in note["reason"]
    assert "refused" in running.end()


def test_asked_for_cuda_it_scores_there_or_not_at_all(start: Callable[..., Running]) -> None:
    """On any host: every session has the CUDA provider, or nothing is scored and the note says what there is."""
    running = start("--device", "cuda")
    running.write(features())
    scores, note = running.wait(lambda _, note: note.get("state") in ("refused", "ready"))
    assert note["device"] == "cuda"
    if note["state"] == "ready":
        assert note["sessions"] and all("CUDAExecutionProvider" in session["providers"] for session in note["sessions"])
    else:
        assert not len(scores) and "device is cuda" in note["reason"]


def test_it_ends_with_its_parent(start: Callable[..., Running]) -> None:
    """A parent that is gone: exit 1, with the reason."""
    running = start("--parent", "1")
    assert running.process.wait(WAIT_S) == 1


# A turn at a time.


@pytest.fixture
def clock(tmp_path: Path) -> VirtualClock:
    """A clock that moves when it is told to."""
    return VirtualClock(mono_ns=1, wall_ns=1_000_000_000)


@pytest.fixture
def one(tmp_path: Path, models: Path, clock: VirtualClock) -> Iterator[tuple[Scorer, SheetWriter]]:
    """A scorer in this process, and the sheet that it reads."""
    sheet = SheetWriter(tmp_path / FEATURES_FILE, ROW, INSTRUMENTS, NAMES)
    scorer = Scorer(tmp_path, models, "hourly", tmp_path / "models.key", clock=clock)
    yield scorer, sheet
    scorer.close()


def shown(folder: Path) -> tuple[Any, dict[str, Any]]:
    """What the scores' sheet says."""
    return SheetReader(folder / SCORES_FILE, SCORE_ROW).read()[1:]


def test_a_batch_is_scored_once(one: tuple[Scorer, SheetWriter], tmp_path: Path) -> None:
    """The same rows are not scored again."""
    scorer, sheet = one
    assert not scorer.turn()
    with sheet.writing(INSTRUMENTS) as rows:
        rows[:] = features()
    assert [scorer.turn(), scorer.turn()] == [True, False]
    assert len(shown(tmp_path)[0]) == 2 * INSTRUMENTS


def score_again(scorer: Scorer, sheet: SheetWriter, folder: Path) -> dict[str, Any]:
    """One more sheet of features; the note after it."""
    with sheet.writing(INSTRUMENTS) as rows:
        rows[:] = features()
    scorer.turn()
    return shown(folder)[1]


def test_another_production_version_takes_over(one: tuple[Scorer, SheetWriter], models: Path, tmp_path: Path,
                                               clock: VirtualClock) -> None:
    """Within half a minute of a promotion, a rollback, or of there being none that verifies."""
    scorer, sheet = one
    assert score_again(scorer, sheet, tmp_path)["version"] == "0001"
    made(models, weight=2.0)
    promoted(models, "0002")
    assert score_again(scorer, sheet, tmp_path)["version"] == "0001"
    clock.advance(int(LOOK_AGAIN_S * 1e9))
    assert score_again(scorer, sheet, tmp_path)["version"] == "0002"
    registry.rollback(models, "hourly", KEY, who="test", when=WHEN, reason="drift")
    clock.advance(int(LOOK_AGAIN_S * 1e9))
    assert score_again(scorer, sheet, tmp_path)["version"] == "0001"
    registry.promote(models, "hourly", "0001", KEY, to="rejected", who="test", when=WHEN, reason="")
    clock.advance(int(LOOK_AGAIN_S * 1e9))
    note = score_again(scorer, sheet, tmp_path)
    assert (note["state"], note["refusal"]) == ("refused", "absent") and not len(shown(tmp_path)[0])
    assert note["reason"] == "no version of hourly is in production: 0001 is rejected, 0002 is retired (absent)"


def test_it_says_what_the_model_is_and_what_each_member_said(one: tuple[Scorer, SheetWriter], tmp_path: Path) -> None:
    """State and verdict, the members of each horizon, their own probabilities and what they were joined to."""
    scorer, sheet = one
    note = score_again(scorer, sheet, tmp_path)
    assert (note["stage"], note["verdict"]) == ("production", "holds")
    members = {horizon_s: names for horizon_s, _, names in note["horizons"]}
    rows = shown(tmp_path)[0]
    rows = rows[(rows["status"] == ScoreStatus.SCORED) & (rows["horizon_s"] == 3_600)]
    count = len(members[3_600])
    assert len(rows) and set(rows["members"]) == {count}
    assert ((rows["votes"][:, :count] > 0) & (rows["votes"][:, :count] < 1)).all() and not rows["votes"][:, count:].any()
    assert ((rows["stacked"] > 0) & (rows["stacked"] < 1)).all()


@pytest.mark.parametrize(("change", "refusal"), [
    (lambda models: (models / "hourly/0001/1h.tree.onnx").write_bytes(b"x"), "sha256"),
    (lambda models: (models / "hourly/0001/card.json.hmac").unlink(), "unsigned"),
    (lambda models: (models / "registry.head").unlink(), "log"),
    (lambda models: (models.parent / "models.key").chmod(0o644), "")])
def test_what_does_not_verify_is_not_opened(one: tuple[Scorer, SheetWriter], models: Path, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object],
                                            refusal: str) -> None:
    """A changed file, no signature, a changed log, a key that others can read: no session is opened."""
    change(models)
    monkeypatch.setattr(scorer_process, "ScoredModel", lambda *_: pytest.fail("opened"))
    note = score_again(*one, tmp_path)
    assert (note["state"], note["refusal"]) == ("refused", refusal)


def test_rows_that_lack_a_feature_of_the_model_are_refused(one: tuple[Scorer, SheetWriter], tmp_path: Path, clock: VirtualClock
                                                           ) -> None:
    """By their names, in another order or not; a sheet that has them all is taken up."""
    scorer, _ = one
    other = SheetWriter(tmp_path / FEATURES_FILE, feature_row(3), INSTRUMENTS, ("rsi_14", "atr_14", "adx_14"))
    scorer.turn()
    with other.writing(1) as rows:
        rows["valid"] = 7
    scorer.turn()
    assert "obv" in shown(tmp_path)[1]["reason"] and shown(tmp_path)[1]["state"] == "refused"
    whole = SheetWriter(tmp_path / FEATURES_FILE, ROW, INSTRUMENTS, NAMES)
    clock.advance(int(LOOK_AGAIN_S * 1e9))
    assert score_again(scorer, whole, tmp_path)["state"] == "ready"


def with_member(models: Path, **options: Any) -> None:
    """Put a version into production whose one member is a wrong one."""
    registry.write_version(models, "hourly", card(), {"1h.linear.onnx": linear([0.5, -0.25, 0.1, 1.0], 0.2, **options)}, KEY)
    promoted(models, "0002")


@pytest.mark.parametrize(("options", "said"), [
    ({"mean": True}, f"gives 1 numbers for {INSTRUMENTS} rows"), ({"rows": 2}, f"cannot run the model on {INSTRUMENTS} rows")])
def test_a_member_that_does_not_answer_row_by_row_is_refused(one: tuple[Scorer, SheetWriter], models: Path, tmp_path: Path,
                                                             options: dict[str, Any], said: str) -> None:
    """One answer for all rows is nobody's; what the runtime itself refuses is said, and the process stays."""
    with_member(models, **options)
    note = score_again(*one, tmp_path)
    assert note["state"] == "refused" and said in note["reason"] and not len(shown(tmp_path)[0])


def test_what_is_no_probability_is_no_score(one: tuple[Scorer, SheetWriter], models: Path, tmp_path: Path) -> None:
    """A member that gives sums: those below 0 and above 1 are not scored, those between are."""
    with_member(models, logistic=False)
    score_again(*one, tmp_path)
    rows = features()
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = rows["values"][:, [NAMES.index(feature) for feature in FEATURES]].astype(np.float32)
        raw = matrix @ np.array([0.5, -0.25, 0.1, 1.0], np.float32) + np.float32(0.2)
    scores = shown(tmp_path)[0]
    assert (raw > 1).sum() > 1 and (raw < 0).sum() > 1
    for number in set(range(INSTRUMENTS)) - {3, 5}:
        inside = 0 <= raw[number] <= 1
        assert scores[number]["status"] == (ScoreStatus.SCORED if inside else ScoreStatus.NOT_FINITE), number
        assert inside or (scores[number]["probability"], scores[number]["members"]) == (0, 0)


def test_a_batch_that_cannot_be_scored_is_tried_again(one: tuple[Scorer, SheetWriter], tmp_path: Path, clock: VirtualClock,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """The process does not end for it: no scores, the reason, and half a minute later another try."""
    scorer, sheet = one
    assert score_again(scorer, sheet, tmp_path)["state"] == "ready"

    def fail(*_args: Any) -> Any:
        raise OperatorError("onnxruntime cannot run the model")

    monkeypatch.setattr(scorer_process.ScoredModel, "score", fail)
    note = score_again(scorer, sheet, tmp_path)
    assert (note["state"], note["reason"]) == ("refused", "onnxruntime cannot run the model") and not len(shown(tmp_path)[0])
    monkeypatch.undo()
    assert score_again(scorer, sheet, tmp_path)["state"] == "refused"
    clock.advance(int(LOOK_AGAIN_S * 1e9))
    assert score_again(scorer, sheet, tmp_path)["state"] == "ready" and len(shown(tmp_path)[0])


@pytest.mark.parametrize("other", [False, True], ids=["shorter", "another"])
def test_a_log_that_was_put_back_is_refused(one: tuple[Scorer, SheetWriter], models: Path, tmp_path: Path, clock: VirtualClock,
                                            other: bool) -> None:
    """Log and head of before a withdrawal, whole and signed: a scorer that saw more does not go back to it."""
    scorer, sheet = one
    before = {name: (models / name).read_bytes() for name in ("registry.jsonl", "registry.head")}
    assert score_again(scorer, sheet, tmp_path)["state"] == "ready"
    registry.promote(models, "hourly", "0001", KEY, to="rejected", who="test", when=WHEN, reason="")
    clock.advance(int(LOOK_AGAIN_S * 1e9))
    assert score_again(scorer, sheet, tmp_path)["refusal"] == "absent"
    for name, content in before.items():
        (models / name).write_bytes(content)
    if other:  # as many lines as before, and another last one
        registry.promote(models, "hourly", "0001", KEY, to="shadow", who="test", when=WHEN, reason="")
        promoted(models, "0001")
    clock.advance(int(LOOK_AGAIN_S * 1e9))
    note = score_again(scorer, sheet, tmp_path)
    assert (note["state"], note["refusal"]) == ("refused", "log" if other else "truncated")
    assert "does not go on from there" in note["reason"]


def test_a_horizon_that_did_not_hold_is_not_scored(models: Path) -> None:
    """Nor one of a version that was let into production by other rules: what its card says of the horizon counts."""
    found = registry.production(models, "hourly", KEY)
    horizons = found.card.horizons
    worse = {"1h": horizons["1h"], "4h": msgspec.structs.replace(horizons["4h"], verdict="not assessable")}
    model = ScoredModel(dataclasses.replace(found, card=msgspec.structs.replace(found.card, horizons=worse)), NAMES, "cpu", 1)
    assert [one.name for one in model.horizons] == ["1h"]
