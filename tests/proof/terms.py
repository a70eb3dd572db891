"""Arithmetic on mathematical integers that serves Python's ints and Z3's terms alike.

A condition is a bool or a Z3 formula. What is known already is decided at once, so that on plain ints the same source is
ordinary Python, and on terms no formula holds what it need not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import z3

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

type_of = type


def both(*conditions: Any) -> Any:
    """Whether all of them hold."""
    return _joined(conditions, False, z3.And)


def either(*conditions: Any) -> Any:
    """Whether one of them holds."""
    return _joined(conditions, True, z3.Or)


def _joined(conditions: Iterable[Any], decides: bool, join: Callable[..., Any]) -> Any:
    """Join what is not known; one that is `decides` decides at once."""
    unknown = [condition for condition in conditions if condition is not (not decides)]
    if any(condition is decides for condition in unknown):
        return decides
    return join(*unknown) if unknown else not decides


def no(condition: Any) -> Any:
    """Whether it does not hold."""
    if condition is True or condition is False:
        return not condition
    return z3.Not(condition)


def when(condition: Any, yes: Any, otherwise: Any) -> Any:
    """One of two numbers, or of two conditions."""
    if condition is True:
        return yes
    if condition is False or yes is otherwise:
        return otherwise
    return z3.If(condition, _term(yes), _term(otherwise))


def _term(value: Any) -> Any:
    if isinstance(value, bool):
        return z3.BoolVal(value)
    return z3.IntVal(int(value)) if isinstance(value, int) else value


def first(cases: Iterable[tuple[Any, tuple]], otherwise: tuple) -> tuple:
    """The numbers beside the first condition that holds."""
    open_cases = []
    for condition, result in cases:
        if condition is True:
            otherwise = result
            break
        if condition is not False:
            open_cases.append((condition, result))
    for condition, result in reversed(open_cases):
        otherwise = tuple(when(condition, yes, no_) for yes, no_ in zip(result, otherwise, strict=True))
    return otherwise


def least(a: Any, b: Any) -> Any:
    """The smaller of two."""
    return when(a <= b, a, b)


def most(a: Any, b: Any) -> Any:
    """The larger of two."""
    return when(a >= b, a, b)


def saturated(value: Any) -> Any:
    """The nearest int64."""
    return most(least(value, INT64_MAX), INT64_MIN)


def down(numerator: Any, denominator: Any) -> Any:
    """A quotient rounded down, for denominators above 0; 0 for others, which no reached path divides by."""
    if type_of(denominator) is int:
        if denominator <= 0:
            return 0
        return numerator // denominator if type_of(numerator) is int else numerator / denominator
    return z3.If(denominator > 0, numerator / denominator, 0)


def up(numerator: Any, denominator: Any) -> Any:
    """A quotient rounded up, for denominators above 0."""
    return -down(-numerator, denominator)


def remainder(numerator: Any, denominator: Any) -> Any:
    """What is left of a number from 0 by one above 0; 0 where the divisor is none."""
    if type_of(denominator) is int:
        return numerator % denominator if denominator > 0 else 0
    return z3.If(denominator > 0, _term(numerator) % denominator, 0)


@dataclass(frozen=True, slots=True)
class Fit:
    """A number that the kernel holds in a machine word, where the path that computes it is taken."""

    name: str
    reached: Any
    value: Any
    low: int
    high: int


class Fits:
    """The numbers the kernel computes, with the words they must fit in; nothing is kept where nobody asked."""

    def __init__(self) -> None:
        self.found: list[Fit] = []

    def __call__(self, name: str, reached: Any, value: Any, low: int, high: int) -> None:
        self.found.append(Fit(name, reached, value, low, high))


def unasked(name: str, reached: Any, value: Any, low: int, high: int) -> None:
    """Keep no number."""
