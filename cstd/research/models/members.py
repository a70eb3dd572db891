"""The members of an ensemble: fitted in their own library, exported to ONNX, and held to it.

Every exported graph has one input `features`, float32 (rows, features), and one output `probability`, float32 (rows, 1). All run
on one thread with a seed, so that the same rows give the same bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cstd.errors import VerificationError
from cstd.research.models.dataset import Floats, Matrix
from cstd.research.models.extras import need

EXPORT_ERROR_MAX = 2e-6  # probability: float32 sums of a few hundred leaves
MLP_STEPS_MIN = 1_000  # of gradient: eight epochs of few rows would leave a network where it began
OPSET = 15  # the highest that all converters write
KINDS = {"lightgbm": "tree", "xgboost": "tree", "logistic": "linear", "mlp": "network"}
Params = dict[str, float | int]


@dataclass(frozen=True)
class Member:
    """A fitted member: its probabilities, its ONNX file, how much each feature counts (0 where it cannot be said)."""

    name: str
    predict: Callable[[Matrix], Floats]
    export: Callable[[], bytes]
    importance: Floats


def fit(name: str, params: Params, rows: Matrix, event: Floats, seed: int) -> Member:
    """Return a member fitted to rows.

    Raises:
        OperatorError: its library is not installed.
    """
    return _FITS[name](params, rows, event, seed)


def suggest(name: str, trial: Any, trees_max: int) -> Params:
    """Return parameters of a member to try, drawn by an Optuna trial."""
    trees = {"trees": trial.suggest_int("trees", min(20, trees_max), trees_max, log=True)} if KINDS[name] == "tree" else {}
    match name:
        case "lightgbm":
            return {**trees, "leaves": trial.suggest_int("leaves", 3, 31, log=True),
                    "rate": trial.suggest_float("rate", 0.02, 0.2, log=True),
                    "leaf_rows_min": trial.suggest_int("leaf_rows_min", 50, 1_000, log=True),
                    "l2": trial.suggest_float("l2", 0.1, 100.0, log=True)}
        case "xgboost":
            return {**trees, "depth": trial.suggest_int("depth", 2, 5), "rate": trial.suggest_float("rate", 0.02, 0.2, log=True),
                    "child_weight_min": trial.suggest_float("child_weight_min", 5.0, 200.0, log=True),
                    "l2": trial.suggest_float("l2", 0.1, 100.0, log=True)}
        case "logistic":
            return {"inverse_l2": trial.suggest_float("inverse_l2", 1e-4, 1.0, log=True)}
        case _:
            return {"hidden": trial.suggest_int("hidden", 4, 24, log=True), "l2": trial.suggest_float("l2", 1e-3, 1.0, log=True)}


def _lightgbm(params: Params, rows: Matrix, event: Floats, seed: int) -> Member:
    lightgbm = need("lightgbm")
    settings = {"objective": "binary", "num_leaves": params["leaves"], "learning_rate": params["rate"],
                "min_data_in_leaf": params["leaf_rows_min"], "lambda_l2": params["l2"], "seed": seed, "num_threads": 1,
                "deterministic": True, "force_row_wise": True, "verbosity": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows, event), int(params["trees"]))
    importance = np.asarray(booster.feature_importance("gain"), np.float64)
    booster = lightgbm.Booster(model_str=_float32_thresholds(booster.model_to_string()))

    def export() -> bytes:
        types = need("onnxmltools.convert.common.data_types")
        return _exported(need("onnxmltools").convert_lightgbm(
            booster, name="lightgbm", initial_types=[("features", types.FloatTensorType([None, rows.shape[1]]))],
            target_opset=OPSET, zipmap=False))

    return Member("lightgbm", lambda x: np.asarray(booster.predict(x, num_threads=1), np.float64), export, importance)


def _float32_thresholds(model: str) -> str:
    """Return LightGBM's text with each threshold the largest float32 that is not above it.

    A float32 feature is not above the one exactly where it is not above the other. ONNX keeps thresholds as float32, rounded to
    the nearest: without this a row on the edge would go left in one and right in the other.
    """
    def rounded(match: re.Match[str]) -> str:
        exact = np.array(match[1].split(), np.float64)
        near = exact.astype(np.float32)
        floor = np.where(near.astype(np.float64) > exact, np.nextafter(near, np.float32(-np.inf)), near)
        return "threshold=" + " ".join(repr(float(value)) for value in floor)

    text = re.sub(r"^threshold=(.+)$", rounded, model, flags=re.MULTILINE)
    return re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)  # lengths of parts of the text, which have changed


def _xgboost(params: Params, rows: Matrix, event: Floats, seed: int) -> Member:
    xgboost = need("xgboost")
    settings = {"objective": "binary:logistic", "max_depth": params["depth"], "eta": params["rate"], "lambda": params["l2"],
                "min_child_weight": params["child_weight_min"], "tree_method": "hist", "max_bin": 64, "seed": seed, "nthread": 1,
                "verbosity": 0}
    booster = xgboost.train(settings, xgboost.DMatrix(rows, event, nthread=1), int(params["trees"]))
    gains = booster.get_score(importance_type="total_gain")
    importance = np.array([gains.get(f"f{i}", 0.0) for i in range(rows.shape[1])])

    def export() -> bytes:
        types = need("onnxmltools.convert.common.data_types")
        return _exported(need("onnxmltools").convert_xgboost(
            booster, name="xgboost", initial_types=[("features", types.FloatTensorType([None, rows.shape[1]]))],
            target_opset=OPSET))

    return Member("xgboost", lambda x: np.asarray(booster.predict(xgboost.DMatrix(x, nthread=1)), np.float64), export, importance)


def _logistic(params: Params, rows: Matrix, event: Floats, seed: int) -> Member:
    linear = need("sklearn.linear_model").LogisticRegression(C=params["inverse_l2"], max_iter=300, random_state=seed)
    return _scaled("logistic", linear, rows, event)


def _mlp(params: Params, rows: Matrix, event: Floats, seed: int) -> Member:
    batch = min(512, len(rows))
    epochs = min(200, max(8, MLP_STEPS_MIN * batch // len(rows)))
    network = need("sklearn.neural_network").MLPClassifier(
        (int(params["hidden"]),), alpha=params["l2"], batch_size=batch, learning_rate_init=0.003, max_iter=epochs,
        random_state=seed)
    return _scaled("mlp", network, rows, event)


def _scaled(name: str, estimator: Any, rows: Matrix, event: Floats) -> Member:
    """Return a scikit-learn classifier behind a scaler, fitted on one thread."""
    pipeline = need("sklearn.pipeline").make_pipeline(need("sklearn.preprocessing").StandardScaler(), estimator)
    with warnings.catch_warnings(), need("threadpoolctl").threadpool_limits(1):
        warnings.simplefilter("ignore")  # a network that is stopped after its epochs says that it has not converged
        pipeline.fit(rows, event.astype(np.int64))

    def export() -> bytes:
        types = need("skl2onnx.common.data_types")
        return _exported(need("skl2onnx").to_onnx(
            pipeline, initial_types=[("features", types.FloatTensorType([None, rows.shape[1]]))], options={"zipmap": False},
            name=name, target_opset=OPSET))

    def predict(x: Matrix) -> Floats:
        with need("threadpoolctl").threadpool_limits(1):
            return np.asarray(pipeline.predict_proba(x)[:, 1], np.float64)

    importance = np.abs(estimator.coef_[0]) if name == "logistic" else np.zeros(rows.shape[1])
    return Member(name, predict, export, np.asarray(importance, np.float64))


_FITS: dict[str, Callable[[Params, Matrix, Floats, int], Member]] = {
    "lightgbm": _lightgbm, "xgboost": _xgboost, "logistic": _logistic, "mlp": _mlp}
NAMES = tuple(_FITS)


def _exported(model: Any) -> bytes:
    """Return the bytes of a converted classifier, reduced to one output: the probability of the event."""
    onnx = need("onnx")
    graph = model.graph
    both = next(output.name for output in graph.output if output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
    # Converters name their sets of operators in the order of a hash, another one in each process; trees alone do not name the
    # standard one, which the Gather below is of.
    sets = {"": OPSET} | {used.domain: used.version for used in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, sets[domain]) for domain in sorted(sets))
    graph.initializer.append(onnx.helper.make_tensor("event_column", onnx.TensorProto.INT64, [1], [1]))
    graph.node.append(onnx.helper.make_node("Gather", [both, "event_column"], ["probability"], name="event", axis=1))
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, [None, 1]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def check_export(member: Member, content: bytes, rows: Matrix) -> float:
    """Return the largest difference of the exported member from the native one on some rows.

    Raises:
        VerificationError: it is more than EXPORT_ERROR_MAX.
    """
    from cstd.research.models.stored import scores, session

    worst = float(np.abs(scores(session(content), rows) - member.predict(rows)).max(initial=0.0))
    if not worst <= EXPORT_ERROR_MAX:
        raise VerificationError(f"{member.name} as ONNX differs by {worst:.3g} from the model it was made of, more than "
                                f"{EXPORT_ERROR_MAX:g}: it is not written")
    return worst
