"""`cstd agents build`: sources to a checked shared object and its manifest.

Two child processes do the work: `aot` compiles and links, `selftest` tries the result with bounds checks. Only when both
have agreed are `agents.so` and `agents.json` put in place, the manifest last, so that a build which was cut short leaves
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
from typing import Any, Literal, TypedDict

from cstd.errors import OperatorError
from cstd.signals.agents.api import ABI_VERSION, FEATURES_SHA256
from cstd.signals.agents.loader import LIBRARY, MANIFEST, default_dir
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


@dataclass(frozen=True)
class Manifest:
    """What was built, from what, for which interface."""

    abi: int
    features_sha256: str
    machine: str
    cpu: str
    numba: str
    so_sha256: str
    agents: list[BuiltAgent]


def builtin_dir() -> Path:
    """Return the folder of the built-in agents' sources."""
    return Path(__file__).parent / "builtin"


def build(source_dir: Path | str, out_dir: Path | str, *, selftest_timeout_s: float = SELFTEST_TIMEOUT_S) -> Manifest:
    """Compile, test and put in place the agents of a folder.

    Raises:
        OperatorError: a source is wrong, there is no compiler, or the self-test refused an agent; `out_dir` is then as
            it was.
    """
    sources = Path(source_dir).resolve()
    out = Path(out_dir).resolve()
    if not sources.is_dir():
        raise OperatorError(f"{source_dir} is not a folder")
    with tempfile.TemporaryDirectory(prefix="cstd-agents-") as name:
        work = Path(name)
        made = _child("cstd.signals.agents.aot", sources, work, COMPILE_TIMEOUT_S)
        counts = _child("cstd.signals.agents.selftest", sources, work, selftest_timeout_s)
        code = (work / LIBRARY).read_bytes()
    agents = [BuiltAgent(name=agent["name"], per=agent["per"], source=agent["source"], source_sha256=agent["source_sha256"],
                         selftest=counts[agent["name"]]) for agent in made["agents"]]
    manifest = Manifest(ABI_VERSION, FEATURES_SHA256, platform.machine(), made["cpu"], made["numba"],
                        hashlib.sha256(code).hexdigest(), agents)
    out.mkdir(parents=True, exist_ok=True)
    _put(out / LIBRARY, code)
    _put(out / MANIFEST, (json.dumps(asdict(manifest), indent=1) + "\n").encode())
    return manifest


def _put(path: Path, content: bytes) -> None:
    """Write beside and rename, so that nobody sees half a file."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    beside.replace(path)


def _child(module: str, sources: Path, work: Path, timeout_s: float) -> Any:
    """Run one child; return the JSON it printed.

    Raises:
        OperatorError: with the child's own reason, or how it ended.
    """
    command = [sys.executable, "-m", module, str(sources), str(work)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False,
                              env=child_environment(work))
    except subprocess.TimeoutExpired:
        names = ", ".join(sorted(path.stem for path in sources.glob("*.py")))
        raise OperatorError(f"{module.rpartition('.')[2]} of {names} did not end within {timeout_s:g} s",
                            suggestion="does an agent loop without a bound?") from None
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
