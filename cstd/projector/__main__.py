"""Starts the projector process; stands back first, because loading what it needs is a second of work already."""

import sys

from cstd.child import stand_back

if __name__ == "__main__":
    stand_back()
    from cstd.projector.process import main

    sys.exit(main())
