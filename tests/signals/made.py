"""Fixtures, not models: cards and files that were trained on nothing, so that tests have something to sign and to score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KEY = b"0123456789abcdef0123456789abcdef"
OTHER_KEY = b"another key of the same length!!"
FEATURES = ["rsi_14", "atr_14", "adx_14", "obv"]
WHEN = "2026-01-02T03:04:05Z"


def horizon(*members: tuple[str, str], name: str = "1h", verdict: str = "holds") -> dict[str, Any]:
    """One horizon with members (name, kind)."""
    return {"members": [{"name": member, "file": f"{name}.{member}.onnx", "kind": kind} for member, kind in members],
            "stack": {"weights": {member: 1.0 / len(members) for member, _ in members}, "intercept": 0.0},
            "calibration": {"method": "platt", "a": 1.0, "b": 0.0},
            "conformal": {"level": 0.9, "lower": -0.01, "upper": 0.02},
            "metrics": {"brier_skill": 0.01}, "verdict": verdict}


def card(horizons: dict[str, Any] | None = None, *, verdict: str = "holds", features: list[str] | None = None) -> dict[str, Any]:
    """A card with one horizon of one member, unless others are named."""
    return {"created": WHEN, "features": features or FEATURES, "dtype": "float32",
            "horizons": horizons or {"1h": horizon(("linear", "linear"), verdict=verdict)},
            "training": {"bars": [{"file": "fixture.csv", "sha256": "0" * 64, "rows": 1, "from": WHEN, "to": WHEN,
                                   "instrument": "BTC/USD", "interval_s": 60}],
                         "window": {"from": WHEN, "to": WHEN}, "seed": 7, "provenance": "authentic"},
            "verdict": verdict}


def reference(features: list[str], *, psi_max: float = 0.05) -> dict[str, Any]:
    """What drift is measured against: each feature half below zero and half above."""
    one = {"edges": [0.0], "counts": [500, 500], "psi_max": psi_max}
    return {"rows": 1_000, "window_rows": 500, "features": dict.fromkeys(features, one)}


def key_file(folder: Path, key: bytes = KEY) -> Path:
    """Write a key that nobody else may read."""
    path = folder / "models.key"
    path.touch(0o600)
    path.write_bytes(key)
    return path


FILES = {"1h.linear.onnx": b"no model at all"}


def write(root: Path, name: str = "hourly", **options: Any) -> Path:
    """Write one version of the plain card."""
    from cstd.signals.registry import write_version

    return write_version(root, name, card(**options), FILES, KEY)


def promoted(root: Path, version: str, *, to: str = "production", name: str = "hourly", key: bytes = KEY) -> None:
    """Take a version step by step to a state."""
    from cstd.signals import registry

    while True:
        step = registry.promote(root, name, version, key, to=None, who="test", when=WHEN, reason="")
        if step[-1].to == to:
            return


BOOK_FEATURES = ["SPREAD_BPS", "IMBALANCE_1", "WEIGHTED_MID_BPS", "DEPTH_BID_10BPS"]


def in_production(folder: Path, horizons: dict[str, Any], key: bytes = KEY, weight: float = 0.1) -> Path:
    """A registry with an hourly model of the book in production, and a key beside it; returns the registry's folder.

    Members are a tree and a linear one of the horizon 1h, and a linear one of what other horizons there are.
    """
    from cstd.signals import registry

    line = linear([weight] * len(BOOK_FEATURES), 0.0)
    files = {f"{name}.linear.onnx": line for name in horizons} | {"1h.tree.onnx": trees(3)}
    told = card(horizons, features=BOOK_FEATURES) | {"reference": reference(BOOK_FEATURES, psi_max=1_000.0)}
    registry.write_version(folder / "models", "hourly", told, files, KEY)
    promoted(folder / "models", "0001")
    key_file(folder, key)
    return folder / "models"


# ONNX by hand.


def linear(weights: list[float], bias: float, *, rows: int | None = None, logistic: bool = True, mean: bool = False) -> bytes:
    """Return an ONNX of one logistic unit: (rows, 1).

    Wrong ones too: for one number of `rows` alone, the sum itself in place of a probability, the mean of all rows.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["sum"]), helper.make_node("Add", ["sum", "b"], ["raw"]),
             helper.make_node("ReduceMean", ["raw"], ["one"], axes=[0], keepdims=1) if mean else
             helper.make_node("Identity", ["raw"], ["one"]),
             helper.make_node("Sigmoid" if logistic else "Identity", ["one"], ["chance"])]
    constants = [numpy_helper.from_array(np.array(weights, np.float32)[:, np.newaxis], "w"),
                 numpy_helper.from_array(np.array([bias], np.float32), "b")]
    graph = helper.make_graph(nodes, "fixture", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, len(weights)])],
                              [helper.make_tensor_value_info("chance", TensorProto.FLOAT, [None, 1])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]


def trees(seed: int, *, features: int = len(FEATURES), count: int = 20, depth: int = 6, mode: str = "BRANCH_LEQ",
          positive: bool = False, base: float | None = None) -> bytes:
    """Return an ONNX of a tree ensemble with random branches: labels and (rows, 2) probabilities, as converters make them."""
    import random

    from onnx import TensorProto, helper

    draw = random.Random(seed)
    told: dict[str, list[Any]] = {name: [] for name in (
        "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
        "nodes_falsenodeids", "class_treeids", "class_nodeids", "class_ids", "class_weights")}

    def grow(tree: int, node: int, left: int, free: list[int]) -> None:
        leaf = left == 0 or (left < depth and draw.random() < 0.3)
        children = (0, 0) if leaf else (free[0], free[0] + 1)
        free[0] += 0 if leaf else 2
        for name, value in (("treeids", tree), ("nodeids", node), ("featureids", 0 if leaf else draw.randrange(features)),
                            ("values", 0.0 if leaf else draw.choice([-1.5, -0.5, 0.0, 0.25, 1.0, draw.gauss(0, 1)])),
                            ("modes", "LEAF" if leaf else mode), ("truenodeids", children[0]), ("falsenodeids", children[1])):
            told[f"nodes_{name}"].append(value)
        if leaf:
            for name, value in (("treeids", tree), ("nodeids", node), ("ids", 0),
                                ("weights", draw.random() / count if positive else draw.gauss(0, 1.3 / count**0.5))):
                told[f"class_{name}"].append(value)
            return
        for child in children:
            grow(tree, child, left - 1, free)

    for tree in range(count):
        grow(tree, 0, depth, [1])
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "probabilities"], domain="ai.onnx.ml",
                            post_transform="LOGISTIC", classlabels_int64s=[0, 1], **told,
                            **({} if base is None else {"base_values": [base]}))
    graph = helper.make_graph([node], "fixture", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])],
                              [helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
                               helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
    model.ir_version = 8
    return model.SerializeToString()  # type: ignore[no-any-return]


def network(seed: int, features: int, width: int) -> bytes:
    """Return an ONNX of one hidden layer with random weights: (rows, 1)."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    shapes = {"w1": (features, width), "b1": (width,), "w2": (width, 1), "b2": (1,)}
    constants = [numpy_helper.from_array((random.standard_normal(shape) / 8).astype(np.float32), name)
                 for name, shape in shapes.items()]
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Gemm", ["r", "w2", "b2"], ["raw"]), helper.make_node("Sigmoid", ["raw"], ["chance"])]
    graph = helper.make_graph(nodes, "fixture", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])],
                              [helper.make_tensor_value_info("chance", TensorProto.FLOAT, [None, 1])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()  # type: ignore[no-any-return]
