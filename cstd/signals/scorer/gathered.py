"""Trees in tensor form: a TreeEnsembleClassifier as plain Gather, compare and Where, a step for each level of depth.

ONNX Runtime's CUDA provider has no kernels for tree operators, so a tree would silently run on the CPU. In this form every
node of the graph has one. All trees go down one level at a time, for all rows at once: `at` (rows, trees) holds where each is;
a leaf leads to itself. The answer equals the operator's within float32 sums; `sessions` compares both before it is used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cstd.errors import OperatorError

OPSET = 17
COMPARE = {b"BRANCH_LEQ": "LessOrEqual", b"BRANCH_LT": "Less", b"BRANCH_GT": "Greater", b"BRANCH_GTE": "GreaterOrEqual"}
LEAF = b"LEAF"
TREES = "TreeEnsembleClassifier"
DEPTH_MAX = 256
# What exporters put behind the ensemble: the same in every set of operators from 9 to OPSET.
AROUND = frozenset({"Identity", "Cast", "Mul", "Gather"})
PREFIX = "gathered_"  # of our names: none of the exporter's


class Nodes(NamedTuple):
    """All nodes of all trees in one row of arrays; `true` and `false` are places in it."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    true: NDArray[np.int64]
    false: NDArray[np.int64]
    weight: NDArray[np.float64]
    roots: NDArray[np.int64]
    depth: int
    compare: str
    base: float
    logistic: bool


def gathered(content: bytes) -> bytes:
    """Return an ONNX model with its tree ensemble of two classes made of plain tensor operators; the label is left out.

    Raises:
        OperatorError: it is something else, or onnx is not installed.
    """
    onnx, graph = _onnx(), _graph(content)
    trees = [node for node in graph.node if node.op_type == TREES]
    if len(trees) != 1 or trees[0].input[0] != graph.input[0].name:
        raise OperatorError(f"not one tree ensemble on the features alone: {sorted({node.op_type for node in graph.node})}",
                            suggestion="such a model runs on the CPU")
    gone, kept = {trees[0].output[0]}, []
    for node in graph.node:
        if gone & set(node.input):
            gone |= set(node.output)
        elif node.op_type != trees[0].op_type:
            kept.append(node)
    if unknown := {node.op_type for node in kept} - AROUND:
        raise OperatorError(f"operators behind the ensemble are not known here: {sorted(unknown)}")
    outputs = [one for one in graph.output if one.name not in gone]
    told = {one.name: onnx.helper.get_attribute_value(one) for one in trees[0].attribute}
    steps, constants = _steps(onnx, _nodes(told), trees[0].input[0], trees[0].output[1])
    whole = onnx.helper.make_graph([*steps, *kept], "gathered", list(graph.input), outputs, [*constants, *graph.initializer])
    model = onnx.helper.make_model(whole, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def operators(content: bytes) -> set[str]:
    """Return the types of all operators of an ONNX, those inside of branches and loops included.

    Raises:
        OperatorError: it cannot be read, or onnx is not installed.
    """
    found: set[str] = set()
    graphs = [_graph(content)]
    while graphs:
        for node in graphs.pop().node:
            found.add(node.op_type)
            for attribute in node.attribute:
                graphs += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
    return found


def thresholds(content: bytes) -> dict[int, NDArray[np.float32]]:
    """Return what the branches of an ONNX's trees compare with, by the column of the feature."""
    onnx = _onnx()
    found: dict[int, list[float]] = {}
    for node in _graph(content).node:
        if node.op_type == TREES:
            told = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            for column, value, mode in zip(told["nodes_featureids"], told["nodes_values"], told["nodes_modes"], strict=True):
                if bytes(mode) != LEAF:
                    found.setdefault(column, []).append(value)
    return {column: np.unique(np.array(values, np.float32)) for column, values in found.items()}


def _graph(content: bytes) -> Any:
    onnx = _onnx()
    try:
        return onnx.load_from_string(content).graph
    except Exception as error:
        raise OperatorError(f"the ONNX cannot be read: {str(error)[:200]}") from error


def _onnx() -> Any:
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise OperatorError("onnx is not installed, which a graph's operators are read with",
                            suggestion="pip install onnx") from error
    return onnx


def _nodes(told: dict[str, Any]) -> Nodes:
    """Return the nodes of a binary ensemble, as the operator's attributes tell them."""
    modes = [bytes(mode) for mode in told["nodes_modes"]]
    compares = {COMPARE.get(mode) for mode in modes if mode != LEAF}
    if len(compares) > 1 or None in compares:
        raise OperatorError(f"branches of kinds {sorted({m.decode() for m in modes})} are not known here")
    place = {pair: number for number, pair in enumerate(zip(told["nodes_treeids"], told["nodes_nodeids"], strict=True))}
    own = np.arange(len(modes), dtype=np.int64)
    leaf = np.array([mode == LEAF for mode in modes])

    def children(name: str) -> NDArray[np.int64]:
        found = [number if is_leaf else place[tree, child] for number, is_leaf, tree, child
                 in zip(own, leaf, told["nodes_treeids"], told[name], strict=True)]
        return np.array(found, np.int64)

    true, false = children("nodes_truenodeids"), children("nodes_falsenodeids")
    pointed = set(true[~leaf]) | set(false[~leaf])
    roots = np.array([number for number in own if number not in pointed], np.int64)
    if len(roots) != len(set(told["nodes_treeids"])):
        raise OperatorError("a tree of the ensemble has no root, or several")
    post = bytes(told.get("post_transform", b"NONE")).decode()
    if post not in ("LOGISTIC", "NONE"):
        raise OperatorError(f"the post transform {post} is not known here")
    depth = _depth(true, false, roots)
    if not depth:
        raise OperatorError("no tree of the ensemble has a branch")
    return Nodes(
        feature=np.where(leaf, 0, np.array(told["nodes_featureids"], np.int64)), true=true, false=false, roots=roots,
        threshold=np.array(told["nodes_values"], np.float32), weight=_weights(told, place, len(modes)), depth=depth,
        compare=str(next(iter(compares))), base=_base(told), logistic=post == "LOGISTIC")


def _weights(told: dict[str, Any], place: dict[tuple[int, int], int], count: int) -> NDArray[np.float64]:
    if len(set(told["class_ids"])) != 1 or len(told.get("classlabels_int64s", told.get("classlabels_strings", ()))) != 2:
        raise OperatorError("not an ensemble of two classes with one weight to a leaf")
    weight = np.zeros(count)
    for tree, node, value in zip(told["class_treeids"], told["class_nodeids"], told["class_weights"], strict=True):
        weight[place[tree, node]] += np.float32(value)
    return weight


def _base(told: dict[str, Any]) -> float:
    values = list(told.get("base_values", ()))
    return float(np.float32(values[-1])) if values else 0.0


def _depth(true: NDArray[np.int64], false: NDArray[np.int64], roots: NDArray[np.int64]) -> int:
    """Return after how many steps every way ends in a leaf."""
    at, depth = np.unique(roots), 0
    while True:
        following = np.unique(np.concatenate([true[at], false[at]]))
        if np.array_equal(true[at], at) and np.array_equal(false[at], at):
            return depth
        at, depth = following, depth + 1
        if depth > DEPTH_MAX:
            raise OperatorError(f"a tree of the ensemble is deeper than {DEPTH_MAX}")


def _steps(onnx: Any, nodes: Nodes, features: str, probabilities: str) -> tuple[list[Any], list[Any]]:
    """Return the operators and their constants: go down `depth` levels, add the leaves up, make two probabilities."""
    roots = nodes.roots
    # The first level's features and thresholds are the same for all rows: constants of (1, trees), and (rows, trees) follows.
    constants = {"feature": nodes.feature, "threshold": nodes.threshold, "true": nodes.true, "false": nodes.false,
                 "weight": nodes.weight, "first_column": nodes.feature[roots],
                 "first_threshold": nodes.threshold[np.newaxis, roots], "first_true": nodes.true[np.newaxis, roots],
                 "first_false": nodes.false[np.newaxis, roots], "base": np.array([nodes.base], np.float64),
                 "one": np.array([1.0], np.float32), "sum_axis": np.array([1], np.int64)}

    def make(operator: str, given: list[str], result: str, **attributes: int) -> Any:
        names = [name if name == features else PREFIX + name for name in given]
        return onnx.helper.make_node(operator, names, [result if result == probabilities else PREFIX + result], **attributes)

    steps = [make("Gather", [features, "first_column"], "value_0", axis=1),
             make(nodes.compare, ["value_0", "first_threshold"], "so_0"),
             make("Where", ["so_0", "first_true", "first_false"], "at_1")]
    for level in range(1, nodes.depth):
        at = f"at_{level}"
        steps += [make("Gather", ["feature", at], f"column_{level}"),
                  make("GatherElements", [features, f"column_{level}"], f"value_{level}", axis=1),
                  make("Gather", ["threshold", at], f"threshold_{level}"),
                  make(nodes.compare, [f"value_{level}", f"threshold_{level}"], f"so_{level}"),
                  make("Gather", ["true", at], f"true_{level}"), make("Gather", ["false", at], f"false_{level}"),
                  make("Where", [f"so_{level}", f"true_{level}", f"false_{level}"], f"at_{level + 1}")]
    steps += [make("Gather", ["weight", f"at_{nodes.depth}"], "leaves"),
              make("ReduceSum", ["leaves", "sum_axis"], "sum", keepdims=1), make("Add", ["sum", "base"], "raw"),
              make("Sigmoid" if nodes.logistic else "Identity", ["raw"], "chance"),
              make("Cast", ["chance"], "event", to=onnx.TensorProto.FLOAT), make("Sub", ["one", "event"], "other"),
              make("Concat", ["other", "event"], probabilities, axis=1)]
    return steps, [onnx.numpy_helper.from_array(value, PREFIX + name) for name, value in constants.items()]
