"""`cstd` of which mode paper finds a practice exchange where Kraken is: for tests, which reach nothing outside this host.

The addresses go where they go in every mode, into what the trading process is made with; no configuration has a place for
them. Nothing of the private side is given: its addresses lead nowhere.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from cstd.cli.app import main
from cstd.config.credentials import Credentials, Endpoints, load_credentials, read_practice_file
from cstd.daemon import process

NOWHERE = "ws://127.0.0.1:9"


def beside_practice(mode: str, run_dir: str | Path, environ: Mapping[str, str]) -> Credentials:
    """What paper is made with, but for the two public addresses."""
    assert mode == "paper", mode
    real, told = load_credentials(mode, run_dir, environ), read_practice_file(run_dir)
    assert not real.api_key and not real.api_secret
    endpoints = Endpoints(rest=told["rest"], ws_public=told["ws_public"], ws_private=NOWHERE, ws_futures=NOWHERE)
    return Credentials(endpoints=endpoints, api_key="", api_secret="", notes=real.notes)


if __name__ == "__main__":
    process.load_credentials = beside_practice  # type: ignore[attr-defined]
    sys.exit(main(sys.argv[1:]))
