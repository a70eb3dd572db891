"""Who types: the name that goes with an acknowledgement or a step of a model."""

from __future__ import annotations

import os
import pwd


def own_name() -> str:
    """Return the name of the user of this process, its number where the host has no name for it; never what a variable says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
