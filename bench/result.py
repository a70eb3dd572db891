"""Result files of the benchmark commands: one JSON object a suite, with the machine, the commit and the versions it is of.

    {"suite": "peers", "taken_at": "2026-01-31T12:00:00Z", "commit": "...", "machine": {...}, "versions": {...}, "figures": {...}}

Every benchmark command writes it with `--result FILE`, by convention bench/results/<suite>.json; as JSON on stdout it prints the
figures alone. What prints or stores its figures otherwise is wrapped:

    cstd bench -o json | python bench/result.py path --result bench/results/path.json
    python bench/result.py kernels --benchmark FILE --result bench/results/kernels.json     what --benchmark-json stored
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIELDS = {"suite": str, "taken_at": str, "commit": str, "machine": dict, "versions": dict, "figures": dict}
PACKAGES = ("cstd", "cython", "numpy", "numba", "picows", "uvloop", "aiohttp", "cryptography")
TAKEN_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
LOAD_1M = round(os.getloadavg()[0], 2)  # at the import, before the command makes a load of its own


class ResultError(Exception):
    """A file is no result, with its name and what is wrong with it."""


def make(suite: str, figures: dict[str, Any], *, taken_at: str | None = None,
         versions: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the result object of a suite; `taken_at` is UTC to the second, now when it is not said."""
    return checked({
        "suite": suite, "taken_at": taken_at or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "commit": commit(),
        "machine": machine(), "versions": own_versions() | (versions or {}), "figures": figures,
    }, f"result of {suite}")


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(checked(result, str(path)), indent=1) + "\n")
    part.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read a result file; ResultError when it is none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ResultError(f"{path}: not JSON: {error}") from None
    return checked(value, str(path))


def checked(value: Any, where: str) -> dict[str, Any]:
    """Return the object when it has every field of a result in its type."""
    if not isinstance(value, dict):
        raise ResultError(f"{where}: a result is an object, this is a {type(value).__name__}")
    for name, kind in FIELDS.items():
        if name not in value:
            raise ResultError(f"{where}: no field {name!r}")
        if not isinstance(value[name], kind):
            raise ResultError(f"{where}: {name} is a {type(value[name]).__name__}, not a {kind.__name__}")
    if not TAKEN_AT.fullmatch(value["taken_at"]):
        raise ResultError(f"{where}: taken_at is {value['taken_at']!r}, not like 2026-01-31T12:00:00Z")
    if not value["figures"]:
        raise ResultError(f"{where}: no figures")
    return value


def commit() -> str:
    """What git calls this tree, -dirty when it has changes beside its results; unknown outside a checkout."""
    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)

    name, changes = git("describe", "--always", "--abbrev=12"), git("status", "--porcelain", "--", ".", ":!bench/results")
    if name.returncode or changes.returncode:
        return "unknown"
    return name.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, kernel, load as the command began, governor where the system tells it."""
    return {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "arch": platform.machine(),
            "load_1m": LOAD_1M, "governor": GOVERNOR.read_text().strip() if GOVERNOR.exists() else "unknown"}


def cpu_model() -> str:
    """The processor's own name."""
    try:
        text = Path("/proc/cpuinfo").read_text("ascii", errors="replace")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def own_versions() -> dict[str, str]:
    """Versions of cstd, Python, what the core is built with and the daemon runs on, and of the compilers."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in ("gcc", "g++"):
        try:
            versions[name] = subprocess.run([name, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            continue
    return versions


def of_benchmarks(text: str) -> dict[str, Any]:
    """Figures of pytest-benchmark's JSON by test: what the test noted (`ns_each`, the median cost of one unit, and more)."""
    return {bench["name"]: {"ns_each": bench["extra_info"]["ns_each"], **bench["extra_info"], "rounds": bench["stats"]["rounds"]}
            for bench in json.loads(text)["benchmarks"]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two arguments of every benchmark command."""
    parser.add_argument("--result", type=Path, metavar="FILE", help="write a result file; bench/results/<suite>.json")
    parser.add_argument("--taken-at", type=time_text, metavar="TIME", help="its time in UTC, like 2026-01-31T12:00:00Z (now)")


def time_text(text: str) -> str:
    """The argument of --taken-at, refused before anything is measured when it is no time."""
    if not TAKEN_AT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 2026-01-31T12:00:00Z")
    return text


def keep(args: argparse.Namespace, suite: str, figures: dict[str, Any], *, versions: dict[str, str] | None = None) -> None:
    """Write the result file that the arguments of `add_arguments` name, if they name one; a line on stderr says so."""
    if args.result is None:
        return
    try:
        write(args.result, make(suite, figures, taken_at=args.taken_at, versions=versions))
    except OSError as error:
        sys.exit(f"{args.result}: cannot be written: {error.strerror}")
    print(f"written: {args.result}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description="wrap a command's JSON into a result file")
    parser.add_argument("suite", help="name of the suite, path for `cstd bench`")
    parser.add_argument("--benchmark", type=Path, metavar="FILE", help="what --benchmark-json wrote (default: JSON on stdin)")
    add_arguments(parser)
    args = parser.parse_args()
    if args.result is None:
        parser.error("--result FILE: nothing to write to")
    try:
        figures = of_benchmarks(args.benchmark.read_text("utf-8")) if args.benchmark else json.load(sys.stdin)
        keep(args, args.suite, figures)
    except (ResultError, OSError, ValueError, KeyError) as error:
        sys.exit(f"bench/result.py: {type(error).__name__}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
