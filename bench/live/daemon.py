"""The daemon of the live benches: the trading process of `cstd run`, whole, with two settings that no configuration has.

The strategy is `bench` (a wish at each pass), and the counts of gate 1 and the rate counter, which such a strategy uses up at
once, are opened wide. Everything else is as configured: fifteen gates, journal, status page, admin socket, dead man's switch,
practice mode.

    python bench/live/daemon.py -c config/practice.toml [-c MORE.toml] --run-dir DIR [--strategy bench|none|rehearsal]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import uvloop

from cstd.config import load, load_credentials, refusals
from cstd.config.problems import config_error
from cstd.daemon.process import TradingProcess
from cstd.decision.setup import strategy_setup
from cstd.errors import CstdError
from cstd.research.bench import open_limits


class BenchedProcess(TradingProcess):
    """The trading process with another strategy and wide churn counts."""

    strategy = "bench"

    def _boot(self) -> None:
        super()._boot()
        core = self.engine.core
        core.set_strategy(*strategy_setup(self.cfg, self.strategy))
        open_limits(self.engine)


def main() -> int:
    parser = argparse.ArgumentParser(description="the trading process under a strategy that wants an order at each frame")
    parser.add_argument("-c", dest="config", action="append", required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--strategy", choices=("bench", "none", "rehearsal"), default="bench")
    args = parser.parse_args()
    try:
        cfg = load(args.config, os.environ)
        if cfg.mode != "practice" or refusals(cfg, os.environ):
            raise config_error(refusals(cfg, os.environ))
        run_dir = args.run_dir.resolve()
        process = BenchedProcess(cfg, run_dir, load_credentials(cfg.mode, run_dir, os.environ), for_s=None)
        process.strategy = args.strategy
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(process.main())
    except CstdError as error:
        print(f"bench/live/daemon.py: {error.message}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
