"""`cstd practice`: the exchange's own options, with ports that the environment may set."""

from __future__ import annotations

import os
from collections.abc import Mapping

PORT_KEYS = ("rest_port", "ws_public_port", "ws_private_port", "ws_futures_port")
ENV_PREFIX = "CSTD__PRACTICE__"


def environment_ports(environ: Mapping[str, str]) -> list[str]:
    """Return `--ports ...` when `CSTD__PRACTICE__..._PORT` variables say so, else nothing.

    Raises:
        UsageError: one of them is unknown or is no port.
    """
    from cstd.errors import UsageError

    given = {name[len(ENV_PREFIX):].lower(): value for name, value in environ.items() if name.startswith(ENV_PREFIX)}
    for key, value in given.items():
        if key not in PORT_KEYS:
            raise UsageError(f"{ENV_PREFIX}{key.upper()} is unknown",
                             suggestion="known are " + ", ".join(ENV_PREFIX + k.upper() for k in PORT_KEYS))
        if not (value.isascii() and value.isdigit() and int(value) < 65_536):
            raise UsageError(f"{ENV_PREFIX}{key.upper()} = {value!r} is no port", suggestion="0 to 65535, 0 for any")
    return ["--ports", ",".join(given.get(key, "0") for key in PORT_KEYS)] if given else []


def main(argv: list[str]) -> int:
    """Run the exchange; options given on the command line win over the environment."""
    from cstd.practice.app import main as run

    defaults = [] if any(word.split("=")[0] == "--ports" for word in argv) else environment_ports(os.environ)
    if not any(word.split("=")[0] == "--run-dir" for word in argv) and (directory := os.environ.get("CSTD__RUN__DIR")):
        defaults += ["--run-dir", directory]
    return run([*defaults, *argv])
