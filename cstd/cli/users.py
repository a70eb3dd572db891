"""Who types: the name that goes with an acknowledgement or a step of a model."""

from __future__ import annotations

import getpass
import os


def own_name() -> str:
    """Return the name of the user of this process, its number where the host has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
