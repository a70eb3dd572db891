"""Starts the scorer process, a little behind the trading process in the host's favour."""

import os
import sys

if __name__ == "__main__":
    os.nice(5)
    from cstd.signals.scorer.process import main

    sys.exit(main())
