"""The command `cstd`, also as `python -m cstd`."""

from __future__ import annotations

import sys

from cstd.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
