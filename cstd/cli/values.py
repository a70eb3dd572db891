"""What a user types for an argument: lengths of time, counts, gates, numbers; each is refused with what it should have been."""

from __future__ import annotations

import argparse
import re
import time

from cstd.units import UNITS_S


def seconds(text: str) -> float:
    """Return a positive, finite number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def since(text: str) -> int:
    """Return the wall time in ns that a length of time before now, such as 90s, 10m, 2h or 1d, or a UTC day or time names."""
    from cstd.clock import since_parse

    try:
        return since_parse(text, time.time_ns())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def gate(text: str) -> str:
    """Return the name of a gate that is given by its name or its code."""
    from cstd.decision.names import gate_named

    return gate_named(text)


def length_s(text: str) -> int:
    """Return a length of time such as 90s, 10m, 2h or 1d in whole seconds."""
    if not (found := re.fullmatch(r"(\d{1,6})([smhd])", text)) or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time: 90s, 10m, 2h, 1d")
    return int(found[1]) * UNITS_S[found[2]]


def uid(text: str) -> int:
    """Return the number of a user."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a user")
    return int(text)


def count(text: str) -> int:
    """Return a positive whole number."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**12):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def millionths(text: str) -> int:
    """Return a number of millionths, from none to one whole."""
    if not (text.isascii() and text.isdigit() and int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 1000000")
    return int(text)


def seed(text: str) -> int:
    """Return a whole number that a generator can begin with."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2147483647")
    return int(text)


def output(parser: argparse.ArgumentParser, default: str = "table", choices: tuple[str, ...] = ("json", "table")) -> None:
    """Add `-o`: what a verb prints."""
    parser.add_argument("-o", "--output", choices=choices, default=default, help=f"what to print (default {default})")
