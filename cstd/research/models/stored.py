"""A model as it lies in its folder: its card and ONNX files, run by onnxruntime alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cstd.errors import OperatorError, VerificationError
from cstd.research.models import ensemble
from cstd.research.models.dataset import Floats, Matrix
from cstd.research.models.extras import need
from cstd.signals import bar_features, registry
from cstd.signals.registry import log as registry_log

CARD = "card.json"
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Scored:
    """Calibrated probabilities of some rows, and the ends of their intervals of the net return."""

    probability: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True)
class Model:
    """A version: its card, and its files' contents by name, already compared with the card."""

    card: dict[str, Any]
    files: Mapping[str, bytes]

    def score(self, horizon: str, rows: Matrix) -> Scored:
        """Return what the model says of rows at a horizon of its card."""
        part = self.card["horizons"][horizon]
        members = {member["name"]: scores(session(self.files[member["file"]]), rows) for member in part["members"]}
        probability = ensemble.calibrated(part["calibration"], ensemble.stacked(part["stack"], members))
        return Scored(probability, *ensemble.interval(part["conformal"], probability))


def session(content: bytes) -> Any:
    """Return an onnxruntime session of a graph, on one thread of the CPU.

    Raises:
        OperatorError: onnxruntime is not installed.
    """
    onnxruntime = need("onnxruntime", "cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def scores(graph: Any, rows: Matrix) -> Floats:
    """Return the probability of each row by one member."""
    parts = [graph.run(["probability"], {"features": rows[at:at + ROWS_AT_ONCE]})[0][:, 0]
             for at in range(0, len(rows), ROWS_AT_ONCE)]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def read(folder: Path) -> Model:
    """Return the model in a folder, its files compared with its card; whose card it is is the registry's to prove.

    Raises:
        OperatorError: there is no card.
        VerificationError: the card is none, or a file is not the one that it names.
    """
    try:
        raw = (folder / CARD).read_bytes()
    except OSError as error:
        raise OperatorError(f"{folder} holds no model: {CARD}: {error.strerror}") from None
    try:
        card = json.loads(raw)
        named = {member["file"]: member["sha256"] for part in card["horizons"].values() for member in part["members"]}
        check_features(card)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationError(f"{folder / CARD} is no card of a model: {error!r}") from None
    files = {}
    for name, sha256 in named.items():
        path = folder / name
        if path.parent != folder or not path.is_file() or path.is_symlink():
            raise VerificationError(f"{folder} lacks {name}, which its card names")
        files[name] = path.read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != sha256:
            raise VerificationError(f"{path} is not the file that the card was made with")
    return Model(card, files)


def verified(folder: Path, key: bytes) -> Model:
    """Return the model in a registry's folder, proven: signed by the key, registered there, files as signed.

    Raises:
        VerificationError: it is not.
    """
    root = folder.parent.parent
    found = registry.verify(root, folder.parent.name, folder.name, key, registry_log.read(root, key))
    card: dict[str, Any] = msgspec.to_builtins(found.card)
    check_features(card)
    return Model(card, found.files)


def check_features(card: Mapping[str, Any]) -> None:
    """Compare the features of a card with those that this version computes.

    Raises:
        VerificationError: they are others, or in another order.
    """
    names = list(card["features"])
    if card["features_hash"] != registry.features_hash(names) or card["dtype"] != "float32":
        raise VerificationError("the card's features_hash is not of its features, or they are not float32")
    if names != list(bar_features.NAMES):
        raise VerificationError("the model reads other features than this version of cstd computes",
                                suggestion="train it anew")
