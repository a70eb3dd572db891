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
