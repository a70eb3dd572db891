"""`cstd models drift`: whether the model that scores has drifted, as the daemon knows it, and what that asks for.

The job `drift-check` is this. A trigger is a name and a sentence, on record in the job's attempts; a rollback is done only where
`drift.rollback` says so, and only of the version that the daemon scores with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cstd.cli.jobs import HEALTH_TIMEOUT_S, places
from cstd.cli.models import _now, _step
from cstd.cli.models_outputs import DriftTrigger, ModelDriftChecked, ModelStep
from cstd.config import load
from cstd.config.schema import Config
from cstd.errors import EXIT_OK, EXIT_VERIFICATION, CstdError
from cstd.ops.client import AdminClient
from cstd.signals import registry
from cstd.signals.registry import log as registry_log

WHO = "drift-check"
ASSESSED = ("none", "watch", "drifted", "broken")
BROKEN, DRIFTED, NO_REFERENCE = "drift_broken", "drift_shadow", "drift_no_reference"


def triggers_of(drift: Mapping[str, Any] | None) -> list[DriftTrigger]:
    """Return what the states of the instruments ask for; one strange coin is no reason to put a model aside, half of all is."""
    if drift is None:
        return []
    states: Mapping[str, int] = drift["states"]
    assessed = sum(states.get(state, 0) for state in ASSESSED)
    broken, drifted = states.get("broken", 0), states.get("broken", 0) + states.get("drifted", 0)
    furthest = f"the furthest is {drift['feature']} of {drift['instrument']}, {drift['beyond']:.3f} beyond training's own PSI"
    found = []
    if assessed and 2 * broken >= assessed:
        found.append(DriftTrigger(name=BROKEN, asks="rollback",
                                  reason=f"{broken} of {assessed} instruments are broken; {furthest}"))
    if assessed and 2 * drifted >= assessed:
        found.append(DriftTrigger(name=DRIFTED, asks="retraining",
                                  reason=f"{drifted} of {assessed} instruments have drifted; {furthest}"))
    if missing := states.get("not assessable", 0):
        found.append(DriftTrigger(name=NO_REFERENCE, asks="retraining",
                                  reason=f"the card has no reference: {missing} instruments cannot be assessed"))
    return found


def run(args: argparse.Namespace) -> int:
    """Print the check; returns 0, or 3 where something is asked for.

    Raises:
        OperatorError: no daemon answers.
    """
    _, socket, _ = places(args)
    with AdminClient(socket, HEALTH_TIMEOUT_S) as client:
        status: dict[str, Any] = client.request("status")
    drift, version = status["model_drift"], status["scorer"]["version"]
    triggers = triggers_of(drift)
    cfg = load(args.config, os.environ) if args.config else None
    asked = next((one for one in triggers if one["asks"] == "rollback"), None)
    steps: list[ModelStep] = []
    if cfg is not None and asked is not None:
        try:
            steps = _rolled_back(cfg, version, f"{asked['name']}: {asked['reason']}")
        except CstdError as error:  # what asks for it is told all the same, and last
            sys.stderr.write(f"cstd: not rolled back: {error.message}\n")
    _print(args, ModelDriftChecked(version=version, drift=drift, triggers=triggers, steps=steps))
    return EXIT_VERIFICATION if triggers else EXIT_OK


def _rolled_back(cfg: Config, version: str | None, reason: str) -> list[ModelStep]:
    """Roll back where the configuration says so, and the version in production is still the one that has drifted."""
    scorer = cfg.scorer
    if scorer is None or cfg.drift is None or not cfg.drift.rollback:
        return []
    root, key = Path(scorer.models), registry.read_key(scorer.key or None)
    if registry_log.read(root, key).in_production(scorer.name) != version:
        return []
    return [_step(step) for step in registry.rollback(root, scorer.name, key, who=WHO, when=_now(), reason=reason)]


def _print(args: argparse.Namespace, found: ModelDriftChecked) -> None:
    drift = found["drift"]
    if args.output == "json":
        sys.stdout.write(json.dumps(found) + "\n")
    elif drift is None:
        sys.stdout.write("no score is known: there is nothing to assess\n")
    else:
        states = ", ".join(f"{count} {state}" for state, count in drift["states"].items() if count)
        sys.stdout.write(f"version {found['version']}: {states}\n")
        for step in found["steps"]:
            sys.stdout.write(f"{step['version']}: {step['from_state']} -> {step['to_state']}\n")
    # The last line is what a job's record keeps.
    for one in reversed(found["triggers"]):
        sys.stderr.write(f"cstd: {one['name']} asks for {one['asks']}: {one['reason']}\n")
