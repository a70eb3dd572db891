"""`cstd` whose kill switch shadows for no time once it is cleared: bench/start.py gives many kills in one session.

Nothing else differs. What it records does not replay with the grace, so its run directory is for nothing but the figures.
"""

from __future__ import annotations

import sys

from cstd.cli.app import main
from cstd.decision import kill

if __name__ == "__main__":
    kill.SHADOW_GRACE_NS = 0
    sys.exit(main())
