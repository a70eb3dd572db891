"""`cstd agents build`, `cstd strategy build`: sources to a checked shared object and its manifest.

Two child processes do the work: `aot` compiles and links, `selftest` tries the result with bounds checks. Only when both
have agreed are the object and its manifest put in place, the manifest last, so that a build which was cut short leaves
a pair the loader refuses rather than one it believes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from cstd.errors import OperatorError
from cstd.signals.agents.api import FEATURES_SHA256
from cstd.signals.agents.kinds import AGENTS, STRATEGY, Kind
from cstd.signals.agents.loader import default_dir
from cstd.signals.agents.target import child_environment

COMPILE_TIMEOUT_S = 300
SELFTEST_TIMEOUT_S = 30


class BuiltAgent(TypedDict):
    """One agent: its vote is asked for on every book, or on every bar; counts of its self-test."""

    name: str
    per: Literal["book", "bar"]
    source: str
    source_sha256: str
    selftest: dict[str, int]


class BuiltStrategy(TypedDict):
    """The strategy: its parameters with their defaults, in the order of the array; counts of its self-test."""

    name: str
    params: dict[str, int]
    source: str
    source_sha256: str
    selftest: dict[str, int]


@dataclass(frozen=True)
class Built:
    """What was built, from what, for which interface."""

    abi: int
    features_sha256: str
    machine: str
    cpu: str
    numba: str
    so_sha256: str


@dataclass(frozen=True)
class Manifest(Built):
    """Agents that were built."""

    agents: list[BuiltAgent]


@dataclass(frozen=True)
class StrategyManifest(Built):
    """A strategy that was built."""

    strategy: BuiltStrategy


def builtin_dir() -> Path:
    """Return the folder of the built-in agents' sources."""
    return Path(__file__).parent / "builtin"


def build(source_dir: Path | str, out_dir: Path | str, *, selftest_timeout_s: float = SELFTEST_TIMEOUT_S) -> Manifest:
    """Compile, test and put in place the agents of a folder.

    Raises:
        OperatorError: a source is wrong, there is no compiler, or the self-test refused an agent; `out_dir` is then as
            it was.
    """
    if not Path(source_dir).is_dir():
        raise OperatorError(f"{source_dir} is not a folder")
    built, items, code = _made(AGENTS, Path(source_dir).resolve(), selftest_timeout_s)
    manifest = Manifest(**built, agents=[cast("BuiltAgent", item) for item in items])
    _put_pair(AGENTS, Path(out_dir).resolve(), code, manifest)
    return manifest


def build_strategy(source: Path | str, out_dir: Path | str, *,
                   selftest_timeout_s: float = SELFTEST_TIMEOUT_S) -> StrategyManifest:
    """Compile, test and put in place the strategy of a file, or of a folder that holds one.

    Raises:
        OperatorError: as `build`.
    """
    if not Path(source).exists():
        raise OperatorError(f"there is no {source}", suggestion="name the strategy's file, or its folder")
    built, items, code = _made(STRATEGY, Path(source).resolve(), selftest_timeout_s)
    manifest = StrategyManifest(**built, strategy=cast("BuiltStrategy", items[0]))
    _put_pair(STRATEGY, Path(out_dir).resolve(), code, manifest)
    return manifest


def _made(kind: Kind, source: Path, selftest_timeout_s: float) -> tuple[dict[str, Any], list[dict[str, Any]], bytes]:
    """Return what every manifest says, what it says of each source, and the object."""
    with tempfile.TemporaryDirectory(prefix="cstd-build-") as name:
        work = Path(name)
        made = _child("cstd.signals.agents.aot", kind, source, work, COMPILE_TIMEOUT_S)
        counts = _child("cstd.signals.agents.selftest", kind, source, work, selftest_timeout_s)
        code = (work / kind.library).read_bytes()
    built = {"abi": kind.abi, "features_sha256": FEATURES_SHA256, "machine": platform.machine(), "cpu": made["cpu"],
             "numba": made["numba"], "so_sha256": hashlib.sha256(code).hexdigest()}
    return built, [item | {"selftest": counts[item["name"]]} for item in made["items"]], code


def _put_pair(kind: Kind, out: Path, code: bytes, manifest: Built) -> None:
    out.mkdir(parents=True, exist_ok=True)
    _put(out / kind.library, code)
    _put(out / kind.manifest, (json.dumps(asdict(manifest), indent=1) + "\n").encode())


def _put(path: Path, content: bytes) -> None:
    """Write beside and rename, so that nobody sees half a file."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    beside.replace(path)


def _child(module: str, kind: Kind, sources: Path, work: Path, timeout_s: float) -> Any:
    """Run one child; return the JSON it printed.

    Raises:
        OperatorError: with the child's own reason, or how it ended.
    """
    command = [sys.executable, "-m", module, kind.word, str(sources), str(work)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False,
                              env=child_environment(work))
    except subprocess.TimeoutExpired:
        names = sources.stem if sources.is_file() else ", ".join(sorted(path.stem for path in sources.glob("*.py")))
        raise OperatorError(f"{module.rpartition('.')[2]} of {names} did not end within {timeout_s:g} s",
                            suggestion=f"does {'an agent' if kind is AGENTS else 'it'} loop without a bound?") from None
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = done.stderr.strip().splitlines()[-1:] or [""]
    try:
        reason = json.loads(last[0])
    except ValueError:
        raise OperatorError(f"{module} ended with {done.returncode}: {done.stderr.strip()[-1000:]}") from None
    raise OperatorError(reason["message"], suggestion=reason["suggestion"])


def main(args: argparse.Namespace) -> int:
    """Run the verb: build args.source (default: the built-in agents) into args.out; print the manifest."""
    source = getattr(args, "source", None) or builtin_dir()
    manifest = build(source, getattr(args, "out", None) or default_dir())
    if getattr(args, "output", None) == "json":
        print(json.dumps(asdict(manifest)))
        return 0
    for agent in manifest.agents:
        tried = agent["selftest"]
        print(f"{agent['name']}\tper {agent['per']}\tself-test: {tried['votes']} votes, {tried['abstains']} abstentions, "
              f"{tried['faults']} faults")
    print(f"sha256 {manifest.so_sha256}")
    return 0


def main_strategy(args: argparse.Namespace) -> int:
    """Run the verb: build args.source into args.out; print the manifest."""
    manifest = build_strategy(args.source, args.out)
    if args.output == "json":
        print(json.dumps(asdict(manifest)))
        return 0
    built = manifest.strategy
    tried = ", ".join(f"{count} {word}" for word, count in built["selftest"].items())
    params = " ".join(f"{name}={value}" for name, value in built["params"].items())
    print(f"{built['name']}\t{params or 'no parameters'}\tself-test: {tried}")
    print(f"sha256 {manifest.so_sha256}")
    return 0
