"""A daemon that decides by limits that no record tells of: what a fault of the program or of the host would be like."""

from __future__ import annotations

import sys

from cstd.cli.app import main
from cstd.daemon.process import TradingProcess
from cstd.research.bench import open_limits


def boot(self: TradingProcess) -> None:
    """Boot, and then widen the churn counts behind the journal's back."""
    booted(self)
    open_limits(self.engine)


booted = TradingProcess._boot
TradingProcess._boot = boot  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
