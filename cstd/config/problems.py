"""One thing that is wrong with a configuration, said so that the operator can fix it without reading code."""

from __future__ import annotations

import msgspec

from cstd.errors import ConfigError


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One finding.

    `file` is the path, or the environment variable, that set the key last ("" when nothing did); `key` is dotted;
    `limit` says what is allowed.
    """

    key: str
    reason: str
    file: str = ""
    value: str = ""
    limit: str = ""
    suggestion: str = ""
    warning: bool = False

    def line(self) -> str:
        """Return the finding as one line of text."""
        text = f"{self.file}: {self.key}" if self.file else self.key
        if self.value:
            text += f" = {self.value}"
        text += f": {self.reason}"
        if self.limit:
            text += f" (allowed: {self.limit})"
        if self.suggestion:
            text += f"; {self.suggestion}"
        return text


def problems_of(error: ConfigError) -> list[Problem]:
    """Return what an error carries, one at least: its own message where it carries nothing."""
    found = [problem for problem in error.problems if isinstance(problem, Problem)]
    return found or [Problem(key="(configuration)", reason=error.message, suggestion=error.suggestion)]


def config_error(problems: list[Problem]) -> ConfigError:
    """Return the error that carries all problems, one to a line."""
    first = next((p.suggestion for p in problems if p.suggestion), "")
    return ConfigError("\n".join(p.line() for p in problems), suggestion=first, problems=problems)
