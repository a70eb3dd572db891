"""ONNX Runtime sessions of one model's members, and what they really run on.

onnxruntime is imported here alone, when a session is opened: who only looks at models does not load it.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cstd.errors import OperatorError
from cstd.signals.registry.card import Member
from cstd.signals.scorer.gathered import gathered, operators, thresholds

Device = Literal["cpu", "cuda"]
Matrix = NDArray[np.float32]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
EQUAL = 1e-6  # between a tree and its tensor form
TREE_PREFIX, LINEAR = "TreeEnsemble", "LinearClassifier"  # operators that have no kernel for CUDA
TRIED_ROWS = 512
TRIED_SCALES = (1.0, 10.0, 1000.0)


@dataclass(frozen=True, slots=True)
class MemberSession:
    """One member, opened. `providers` is what its session really got; `placement` counts its nodes by provider."""

    name: str
    form: str  # onnx, or gathered: a tree in tensor form
    providers: tuple[str, ...]
    placement: dict[str, int]
    _session: Any = field(repr=False)
    _input: str
    _output: str

    def probabilities(self, rows: Matrix) -> NDArray[np.float64]:
        """Return the probability of the event for each row.

        Raises:
            OperatorError: the runtime could not run it, or it gives anything but one number for each row.
        """
        found = event_column(run(self._session, self._output, self._input, rows))
        if len(found) != len(rows):
            raise OperatorError(f"member {self.name} gives {len(found)} numbers for {len(rows)} rows")
        return found


def run(session: Any, output: str | None, name: str, rows: Matrix) -> Any:
    """Return what a session gives for rows: its first output, or the one of a name.

    Raises:
        OperatorError: the runtime says that it cannot; its own exceptions have no base but Exception.
    """
    try:
        return session.run(None if output is None else [output], {name: rows})[0]
    except Exception as error:
        raise OperatorError(f"onnxruntime cannot run the model on {len(rows)} rows: {str(error)[:300]}") from error


def event_column(found: Any) -> NDArray[np.float64]:
    """Return the event's column of what an ONNX gave: the second of two, or the only one."""
    values = np.asarray(found)
    if values.ndim == 2 and values.shape[1] in (1, 2):
        values = values[:, -1]
    if values.ndim != 1:
        raise OperatorError(f"a member gives an array of shape {values.shape}, not (rows, 2), (rows, 1) or (rows)")
    return values.astype(np.float64)


def open_member(member: Member, content: bytes, features: int, device: Device, threads: int) -> MemberSession:
    """Open a member's session on a device.

    Args:
        content: of its file, verified. features: how many it must take.
        threads: of the CPU, for one run.

    Raises:
        OperatorError: the runtime is not there, has no such device or did not take it, or the ONNX is of another shape.
    """
    form = "onnx"
    # By the operators, not by what the card calls it: who writes `linear` on a tree would have it on the CPU.
    used = operators(content) if device == "cuda" else set()
    if any(operator.startswith(TREE_PREFIX) for operator in used):
        tensors = gathered(content)
        _check_equal(member, content, tensors, features, threads)
        content, form = tensors, "gathered"
    session = _session(content, device, threads)
    got = tuple(session.get_providers())
    if device == "cuda" and CUDA not in got[:1]:
        raise OperatorError(f"member {member.name} was to run on cuda and got {', '.join(got)}",
                            suggestion="device = \"cpu\", or see why the CUDA provider did not load")
    given, taken = _input(session, member, features), _output(session, member)
    placement = _placement(content, device, threads, features)
    if device == "cuda" and LINEAR not in used and not placement.get(CUDA):
        raise OperatorError(f"member {member.name} was to run on cuda and all of its nodes are on {', '.join(placement)}")
    return MemberSession(member.name, form, got, placement, session, given, taken)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise OperatorError("onnxruntime is not installed", suggestion="pip install cstd[cpu], or cstd[gpu]") from error
    return onnxruntime


def _session(content: bytes, device: Device, threads: int, profile: str = "") -> Any:
    runtime = _runtime()
    if device == "cuda" and CUDA not in runtime.get_available_providers():
        raise OperatorError(f"device is cuda, and this onnxruntime has only {', '.join(runtime.get_available_providers())}",
                            suggestion="pip install cstd[gpu] in an environment without cstd[cpu], or device = \"cpu\"")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting is no work: other processes have some
    options.log_severity_level = 3
    options.enable_profiling = bool(profile)
    if profile:
        options.profile_file_prefix = profile
    providers = [CUDA, CPU] if device == "cuda" else [CPU]
    try:
        return runtime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # the runtime has exceptions of many kinds and no common base but this
        raise OperatorError(f"onnxruntime does not take the model: {str(error)[:300]}") from error


def _input(session: Any, member: Member, features: int) -> str:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
        raise OperatorError(f"member {member.name} does not take one float32 array of rows and features")
    if isinstance(inputs[0].shape[1], int) and inputs[0].shape[1] != features:
        raise OperatorError(f"member {member.name} takes {inputs[0].shape[1]} features, the card names {features}")
    return str(inputs[0].name)


def _output(session: Any, member: Member) -> str:
    floats = [one.name for one in session.get_outputs() if one.type == "tensor(float)"]
    if "probabilities" in floats:
        return "probabilities"
    if len(floats) != 1:
        raise OperatorError(f"member {member.name} gives no `probabilities` and not one float array alone")
    return str(floats[0])


def tried_rows(features: int) -> Matrix:
    """Return rows to try a member with: the same each time, of several scales."""
    random = np.random.default_rng(20_260_802)
    rows = random.standard_normal((TRIED_ROWS, features))
    return np.asarray(rows * np.resize(TRIED_SCALES, TRIED_ROWS)[:, np.newaxis], np.float32)


def on_thresholds(rows: Matrix, at: Mapping[int, Matrix]) -> Matrix:
    """Return the rows, every third one with each feature that a branch compares set to one of its thresholds."""
    random = np.random.default_rng(20_260_803)
    found = rows.copy()
    for column, values in sorted(at.items()):
        if column < found.shape[1]:
            found[::3, column] = random.choice(values, len(found[::3]))
    return found


def _check_equal(member: Member, content: bytes, tensors: bytes, features: int, threads: int) -> None:
    """Compare a tree with its tensor form, both on the CPU; a third of the rows lies on the tree's own thresholds."""
    rows = on_thresholds(tried_rows(features), thresholds(content))
    found = []
    for one in (content, tensors):
        session = _session(one, "cpu", threads)
        found.append(event_column(run(session, _output(session, member), _input(session, member, features), rows)))
    furthest = float(np.max(np.abs(found[0] - found[1])))
    if not furthest <= EQUAL:
        raise OperatorError(f"member {member.name} in tensor form differs by {furthest:.3g}, {EQUAL:g} at most may be")


def _placement(content: bytes, device: Device, threads: int, features: int) -> dict[str, int]:
    """Return how many nodes ran on each provider, from a profile of one run of a session of its own."""
    with tempfile.TemporaryDirectory(prefix="cstd-scorer-") as folder:
        session = _session(content, device, threads, str(Path(folder) / "profile"))
        run(session, None, session.get_inputs()[0].name, tried_rows(features)[:2])
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return dict(Counter(_nodes(events)))


def _nodes(events: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the provider of each node that ran, once."""
    seen: set[str] = set()
    for event in events:
        with contextlib.suppress(KeyError, TypeError):
            name, provider = event["name"], event["args"]["provider"]
            if event["cat"] == "Node" and name.endswith("_kernel_time") and name not in seen:
                seen.add(name)
                yield provider
