"""Trees in tensor form: the same probabilities as the operator's, with plain operators alone, or a refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from cstd.errors import OperatorError
from cstd.signals.registry.card import Member
from cstd.signals.scorer import sessions
from cstd.signals.scorer.gathered import gathered, operators, thresholds
from cstd.signals.scorer.sessions import EQUAL, on_thresholds, open_member, tried_rows
from tests.signals.made import linear, trees

ROWS = 3_000


def run(content: bytes, rows: Any) -> Any:
    """The event's probabilities, by onnxruntime itself."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return session.run(["probabilities"] if "probabilities" in names else None, {session.get_inputs()[0].name: rows})[0][:, 1]


def rows(seed: int, features: int) -> Any:
    """Random rows, a third of them with values that lie on thresholds."""
    random = np.random.default_rng(seed)
    found = random.standard_normal((ROWS, features)) * random.choice([0.1, 1.0, 100.0], (ROWS, 1))
    found[::3] = random.choice([-1.5, -0.5, 0.0, 0.25, 1.0], (len(found[::3]), features))
    return found.astype(np.float32)


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"])
@pytest.mark.parametrize("options", [{}, {"positive": True}, {"base": -0.4}, {"depth": 1}, {"count": 1, "depth": 12}],
                         ids=["plain", "positive", "base", "stumps", "one-deep"])
def test_equal_on_random_rows(mode: str, options: dict[str, Any]) -> None:
    """Within 1e-6 of the operator, on thresholds too, and exactly the same way down: the leaves differ by nothing."""
    content = trees(7, mode=mode, **options)
    tensors = gathered(content)
    given = rows(11, 4)
    assert np.max(np.abs(run(content, given) - run(tensors, given))) <= EQUAL
    used = {node.op_type for node in onnx.load_from_string(tensors).graph.node}
    assert used <= {"Gather", "GatherElements", "Where", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "ReduceSum", "Add",
                    "Sigmoid", "Cast", "Sub", "Concat"}


def test_equal_for_what_lightgbm_and_xgboost_make() -> None:
    """The ensembles of both, as their converters write them, on rows that they were not fitted on."""
    import lightgbm
    import xgboost
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    random = np.random.default_rng(3)
    given = random.standard_normal((600, 12)).astype(np.float32)
    event = (given[:, 0] * given[:, 1] + random.standard_normal(600) > 0).astype(int)
    kinds = [("float", FloatTensorType([None, 12]))]
    light = lightgbm.LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=1, verbose=-1).fit(given, event)
    extreme = xgboost.XGBClassifier(n_estimators=60, max_depth=4, n_jobs=1).fit(given, event)
    models = {"lightgbm": convert_lightgbm(light, initial_types=kinds, zipmap=False, target_opset=15),
              "xgboost": convert_xgboost(extreme, initial_types=kinds, target_opset=15)}
    fresh = rows(5, 12)
    for name, model in models.items():
        content = model.SerializeToString()
        assert np.max(np.abs(run(content, fresh) - run(gathered(content), fresh))) <= EQUAL, name


def test_what_is_no_tree_ensemble_is_refused() -> None:
    """A linear model, bytes that are no ONNX, and branches of another kind."""
    for content, said in ((linear([1.0, 2.0], 0.1), "not one tree ensemble"), (b"\xff\xffno model", "cannot be read"),
                          (trees(1, mode="BRANCH_EQ"), "branches of kinds"), (trees(1, depth=0), "no tree of the ensemble")):
        with pytest.raises(OperatorError, match=said):
            gathered(content)


def test_a_tensor_form_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a tree runs as tensors both forms are compared, on the CPU."""
    monkeypatch.setattr(sessions, "gathered", lambda content: gathered(trees(8)))
    with pytest.raises(OperatorError, match="differs by"):
        open_member(Member("a", "a.onnx", "", "tree"), trees(7), 4, "cuda", 1)


def test_asked_for_a_gpu_it_is_a_gpu_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the runtime has no CUDA provider a member is refused, not run on the CPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for kind, content in (("tree", trees(7)), ("linear", linear([1.0] * 4, 0.0))):
        with pytest.raises(OperatorError, match="device is cuda, and this onnxruntime has only"):
            open_member(Member("a", "a.onnx", "", kind), content, 4, "cuda", 1)  # type: ignore[arg-type]


class FellBack:
    """A session that was asked for CUDA and runs on the CPU."""

    def get_providers(self) -> list[str]:
        """What it got."""
        return ["CPUExecutionProvider"]


def test_a_session_that_fell_back_to_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is what the session says that it got."""
    monkeypatch.setattr(sessions, "_session", lambda *_args: FellBack())
    with pytest.raises(OperatorError, match="was to run on cuda and got CPUExecutionProvider"):
        open_member(Member("a", "a.onnx", "", "linear"), linear([1.0], 0.0), 1, "cuda", 1)


def test_the_placement_counts_nodes_by_provider() -> None:
    """Every node that ran, from a profile of the runtime's own."""
    member = open_member(Member("a", "a.onnx", "", "tree"), gathered(trees(7, depth=2)), 4, "cpu", 1)
    assert member.providers == ("CPUExecutionProvider",) and set(member.placement) == {"CPUExecutionProvider"}
    assert member.placement["CPUExecutionProvider"] >= 10


@pytest.mark.parametrize(("features", "said"), [(5, "takes 4 features, the card names 5")])
def test_a_model_of_another_width_is_refused(features: int, said: str) -> None:
    """The card's features are what it takes."""
    with pytest.raises(OperatorError, match=said):
        open_member(Member("a", "a.onnx", "", "linear"), linear([1.0] * 4, 0.0), features, "cpu", 1)


def test_a_tree_is_a_tree_whatever_the_card_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """For CUDA the graph's operators decide: a tree that is called linear is made of tensors too, or refused."""
    monkeypatch.setattr(sessions, "gathered", lambda content: gathered(trees(8)))
    for kind in ("linear", "network"):
        with pytest.raises(OperatorError, match="differs by"):
            open_member(Member("a", "a.onnx", "", kind), trees(7), 4, "cuda", 1)  # type: ignore[arg-type]
    assert operators(trees(7)) == {"TreeEnsembleClassifier"} and "MatMul" in operators(linear([1.0], 0.0))


class OnTheCpu:
    """A session that has CUDA and ran every node elsewhere."""

    def get_providers(self) -> list[str]:
        """What it got."""
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_only_the_linear_operator_may_stay_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is called linear and ran on the CPU is refused."""
    monkeypatch.setattr(sessions, "_session", lambda *_args: OnTheCpu())
    monkeypatch.setattr(sessions, "_input", lambda *_args: "x")
    monkeypatch.setattr(sessions, "_output", lambda *_args: "chance")
    monkeypatch.setattr(sessions, "_placement", lambda *_args: {"CPUExecutionProvider": 3})
    with pytest.raises(OperatorError, match="all of its nodes are on CPUExecutionProvider"):
        open_member(Member("a", "a.onnx", "", "linear"), linear([1.0], 0.0), 1, "cuda", 1)


def test_rows_are_tried_on_the_trees_own_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that goes the other way on equality alone is found out."""
    content = trees(7, mode="BRANCH_LEQ")
    at = thresholds(content)
    tried = on_thresholds(tried_rows(4), at)
    assert all(np.isin(tried[::3, column], values).all() for column, values in at.items()) and len(at) == 4
    assert np.array_equal(tried[1::3], tried_rows(4)[1::3])
    monkeypatch.setattr(sessions, "gathered", lambda _content: gathered(trees(7, mode="BRANCH_LT")))
    with pytest.raises(OperatorError, match="differs by"):
        open_member(Member("a", "a.onnx", "", "tree"), content, 4, "cuda", 1)
