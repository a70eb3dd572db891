"""`main`: parse, import the verb's module, run it, turn errors into exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from itertools import pairwise

from cstd.cli.parser import Verb, parse
from cstd.errors import EXIT_FAILURE, CstdError, OperatorError

EXIT_INTERRUPTED = 130  # 128 + SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = wants_json(words)
    try:
        return run(words)
    except CstdError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except PermissionError as error:
        if words[:1] == ["run"]:  # of a daemon it is worth knowing where it happened
            raise
        print_error(OperatorError(f"{error.filename or 'the system'}: {error.strerror}",
                                  suggestion="see its rights and those of the folders above it, or be the daemon's user"),
                    as_json=as_json)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); stdout is pointed away so that the exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE


def run(words: list[str]) -> int:
    """Run one command line; errors are raised."""
    # The practice exchange reads its own options, so that it can be started without this package too.
    if words[:1] == ["practice"]:
        from cstd.cli.practice import main as practice

        return practice(words[1:])
    args = parse(words)
    if args is None:
        return 0
    verb: Verb = args.verb
    code = verb.call(importlib.import_module(verb.module), args)
    sys.stdout.flush()
    return code


def wants_json(words: Sequence[str]) -> bool:
    """Tell whether argv asks for JSON, also when the rest of it is wrong."""
    return any(word in ("-ojson", "-o=json", "--output=json") for word in words) or any(
        pair in (("-o", "json"), ("--output", "json")) for pair in pairwise(words))


def print_error(error: CstdError, *, as_json: bool) -> None:
    """Write an error to stderr: as the JSON object of the interface, or as text with what to do about it."""
    if as_json:
        import json

        sys.stderr.write(json.dumps(error.to_json()) + "\n")
        return
    sys.stderr.write("".join(f"cstd: {line}\n" for line in error.message.splitlines() or [""]))
    if error.suggestion and error.suggestion not in error.message:
        sys.stderr.write(f"      {error.suggestion}\n")
