"""What is wrong with the limits that instruments have of their own: names, looseness, and what they contradict."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator

import msgspec

from cstd.config.binding import show
from cstd.config.limit_keys import BY_KEY, LOOSER_BY_INSTRUMENT, for_instrument, own_values, value_of
from cstd.config.problems import Problem
from cstd.config.schema import Config

NAMES_TOLD = 20


def override_problems(config: Config, relations: tuple[Callable[[Config], Iterator[Problem]], ...]) -> Iterator[Problem]:
    """Yield what is wrong with each instrument's own limits.

    Args:
        config: the configuration.
        relations: rules between limits, which have to hold with an instrument's own ones as well.
    """
    names = config.instruments.names
    for name, override in config.overrides.items():
        if name not in names:
            near = difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.5)
            yield Problem(key=f"overrides.{name}", reason="is none of instruments.names", limit=", ".join(names[:NAMES_TOLD]),
                          suggestion=f"did you mean {near[0]}?" if near else "write a name as it is there, in quotes")
            continue
        for key, value in own_values(override):
            general = value_of(config, key)
            if key not in LOOSER_BY_INSTRUMENT and BY_KEY[key].is_looser(value, general):
                word = "at most" if BY_KEY[key].tighter == "lower" else "at least"
                yield Problem(key=f"overrides.{name}.{key}", value=show(value), limit=f"{word} {show(general)}",
                              reason=f"is looser than {key}: an instrument's own limit is as strict or stricter, gate 4's apart",
                              suggestion=f"loosen {key}, and override it for the other instruments")
        yield from _contradictions(config, name, relations)


def _contradictions(config: Config, name: str,
                    relations: tuple[Callable[[Config], Iterator[Problem]], ...]) -> Iterator[Problem]:
    """Yield the relations that hold in general and not with an instrument's own limits."""
    own = for_instrument(config, name)
    for rule in relations:
        known = {problem.key for problem in rule(config)}
        for problem in rule(own):
            if problem.key not in known:
                yield msgspec.structs.replace(problem, key=f"overrides.{name}", value="",
                                              reason=f"with it {problem.key} = {problem.value} {problem.reason}")
