"""`cstd doctor`: whether this host is fit for the daemon, a line for each thing: ok, warning or problem.

Each says what was found, what it means, and what to do. Nothing is changed and nothing is sent anywhere, but with --venue.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from cstd.cli import host_checks, install_checks
from cstd.cli.host_checks import OK, PROBLEM, WARNING, Check, Surroundings
from cstd.config import Config, load, refusals, template
from cstd.config.problems import problems_of
from cstd.errors import EXIT_FAILURE, EXIT_OK, ConfigError


def main(args: argparse.Namespace) -> int:
    """Print every check; exit 1 when one of them is a problem."""
    checks = [check for check in look(args.config, args.run_dir, venue=args.venue)
              if not (args.without_keys and check.name == "keys")]
    problems = sum(check.state == PROBLEM for check in checks)
    warnings = sum(check.state == WARNING for check in checks)
    if args.output == "json":
        found = {"ok": problems == 0, "problems": problems, "warnings": warnings, "checks": [asdict(check) for check in checks]}
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write(text(checks))
        sys.stdout.write(f"\n{len(checks)} checks, {problems} problems, {warnings} warnings\n")
    return EXIT_FAILURE if problems else EXIT_OK


def look(files: list[str], run_dir: str | None, *, venue: bool = False) -> Iterator[Check]:
    """Yield every check of this host.

    Args:
        files: the configuration's; [] for the shipped practice.toml.
        run_dir: None for the configuration's.
        venue: also ask the venue for its time.
    """
    cfg, found = configuration(files)
    yield from found
    on = Surroundings(cfg, tuple(files), Path(run_dir or cfg.run.dir), os.environ)
    yield from host_checks.all_checks(on)
    yield from install_checks.all_checks(on)
    if venue:
        from cstd.cli.venue_check import venue as ask

        yield from host_checks.looking("venue", lambda: ask(on))


def configuration(files: list[str]) -> tuple[Config, list[Check]]:
    """Return the configuration that the other checks are for, and what was found about it.

    One that is wrong is a problem, and the shipped practice.toml stands in for it.
    """
    try:
        cfg = load(files or [str(template("practice"))], os.environ)
    except ConfigError as error:
        return load([str(template("practice"))], {}), [
            Check("configuration", PROBLEM, problem.line(),
                  "the daemon refuses to start; below, the shipped practice.toml stands in for it",
                  problem.suggestion or "`cstd config check` shows every problem")
            for problem in problems_of(error)]
    named = ", ".join(files) or "no -c: the shipped practice.toml"
    refused = [problem for problem in refusals(cfg, os.environ) if not problem.key.startswith(("KRAKEN_", "process.cpus"))]
    if refused:  # keys and CPUs have their own lines
        return cfg, [Check("configuration", PROBLEM, f"{named}: {problem.line()}",
                           "valid, but the daemon refuses to start with it", problem.suggestion) for problem in refused]
    return cfg, [Check("configuration", OK, f"{named}: mode {cfg.mode}, hash {cfg.config_hash.hex()[:16]}",
                       "valid; `cstd config check` shows the limits in money")]


def text(checks: list[Check]) -> str:
    """Return the checks as text: a line each, and below it what it means and what to do where it is not ok."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        tail = f"; {check.means}" if check.state == OK else ""
        lines.append(f"{check.state:<8} {check.name:<{width}}  {check.found}{tail}")
        if check.state != OK:
            lines.append(f"{'':<{10 + width}} means: {check.means}")
            lines.append(f"{'':<{10 + width}} do:    {check.todo}")
    return "\n".join(lines) + "\n"
