"""The configuration files of a daemon that trades, read and checked as a start would, in a process of their own.

To read TOML and to check every key takes longer than the trading process may spend on it: it takes what the child
prints. The child does not stand back behind everything else, because somebody waits for it; it has the children's CPUs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

import msgspec

from cstd.child import exit_code_of, follow_parent
from cstd.config import Config, Problem, load, refusals
from cstd.config.problems import config_error
from cstd.daemon.child_output import output_of
from cstd.errors import ConfigError, OperatorError

LIMIT_S = 12.0  # less than the admin socket waits, which waits less than `cstd reload`


class Checked(msgspec.Struct):
    """What a child prints: the configuration, or what is wrong with the files."""

    config: Config | None = None
    message: str = ""
    suggestion: str = ""
    problems: list[Problem] = []


def checked(files: Sequence[str]) -> Config:
    """Return the configuration of files and environment.

    Raises:
        ConfigError: it is wrong, or a daemon would not start with it.
    """
    cfg = load(list(files), os.environ)
    # Which CPUs a start may use is not what a child of a daemon that is pinned may; another list needs a restart in any case.
    if problems := [problem for problem in refusals(cfg, os.environ) if not problem.key.startswith("process.cpus")]:
        raise config_error(problems)
    return cfg


def answer(files: Sequence[str]) -> bytes:
    """Return the `Checked` of files as JSON."""
    try:
        return msgspec.json.encode({"config": msgspec.Raw(checked(files).to_canonical_json())})
    except ConfigError as error:
        problems = [problem for problem in error.problems if isinstance(problem, Problem)]
        return msgspec.json.encode(Checked(message=error.message, suggestion=error.suggestion, problems=problems))


async def read_apart(files: Sequence[str], on_spawn: Callable[[int], None]) -> Config:
    """Return the configuration of files and environment, read by a child.

    Args:
        files: later ones win. on_spawn: called with the child's process id.

    Raises:
        ConfigError: it is wrong, or a daemon would not start with it.
        OperatorError: the child could not be started, failed, or took too long.
    """
    command = [sys.executable, "-m", "cstd.daemon.files_check", "--parent", str(os.getpid()), "--", *files]
    try:
        found = msgspec.json.decode(await output_of(command, on_spawn, LIMIT_S), type=Checked)
    except TimeoutError:
        raise OperatorError(f"the configuration was not read within {LIMIT_S:g} s",
                            suggestion="is the host short of CPU? Try again") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise OperatorError(f"the configuration cannot be read while it trades: {error}",
                            suggestion="`cstd config check` reads it as well") from error
    if found.config is None:
        raise ConfigError(found.message, suggestion=found.suggestion, problems=found.problems)
    return found.config


def main(argv: Sequence[str] | None = None) -> int:
    """The daemon's child: prints the `Checked` of its files. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cstd.daemon.files_check")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args(argv)

    def run() -> None:
        follow_parent(args.parent)
        sys.stdout.buffer.write(answer(args.files))

    return exit_code_of("files_check", run)


if __name__ == "__main__":
    sys.exit(main())
