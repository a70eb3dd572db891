"""The question before what is dangerous: on a terminal, or a word on the command line."""

from __future__ import annotations

import sys

from cstd.errors import OperatorError, UsageError
from cstd.printed import one_line


def confirm(question: str, *, yes: bool) -> None:
    """Ask, and return where the answer is yes; `yes` is the operator's answer beforehand.

    Raises:
        UsageError: nobody can be asked. OperatorError: the answer is no.
    """
    if yes:
        return
    question = one_line(question)  # it may quote what somebody else wrote
    if not sys.stdin.isatty():
        raise UsageError(f"this needs a confirmation and stdin is no terminal: {question}", suggestion="add --yes")
    sys.stderr.write(f"cstd: {question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise OperatorError("not confirmed, nothing was done")
