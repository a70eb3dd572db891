"""What `cstd models ...` prints with `-o json`."""

from __future__ import annotations

from typing import Any, TypedDict

from cstd.ops.view_models import ModelDrift


class ModelVersion(TypedDict):
    """`cstd models list`: one version. Of one that does not verify nothing of its card is told."""

    model: str
    version: str
    state: str | None  # None where the log knows nothing of it
    verified: bool
    problem: str | None
    verdict: str | None
    created: str | None
    horizons: list[str]
    members: int | None
    features: int | None
    rows: str | None  # which rows of features a trading daemon computes for it, or why none
    card_sha256: str | None


class Models(TypedDict):
    """`cstd models list`."""

    versions: list[ModelVersion]
    log_lines: int
    log_head: str  # SHA-256 of the log's last line


class ModelStep(TypedDict):
    """One step in the log."""

    seq: int
    action: str
    version: str
    from_state: str | None
    to_state: str
    who: str
    when: str
    reason: str


class DriftTrigger(TypedDict):
    """What drift asks for."""

    name: str  # drift_broken, drift_shadow, drift_no_reference
    asks: str  # rollback, retraining
    reason: str


class ModelDriftChecked(TypedDict):
    """`cstd models drift`."""

    version: str | None  # that scores
    drift: ModelDrift | None  # None before the first score
    triggers: list[DriftTrigger]
    steps: list[ModelStep]  # of a rollback that was done


class ModelShown(TypedDict):
    """`cstd models show`."""

    model: str
    version: str
    state: str | None
    folder: str
    card_sha256: str
    rows: str  # which rows of features a trading daemon computes for it, or why none
    card: dict[str, Any]
    steps: list[ModelStep]


class ModelVerified(TypedDict):
    """`cstd models verify`: one version."""

    model: str
    version: str
    ok: bool
    reason: str | None
    message: str | None


class ModelDifference(TypedDict):
    """`cstd models diff`: one place where the two cards differ."""

    key: str
    version: Any
    other: Any
