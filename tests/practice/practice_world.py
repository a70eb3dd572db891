"""What the practice tests start from: an exchange on virtual time, a practice process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from cstd.practice.account import Account
from cstd.practice.exchange import Exchange
from cstd.practice.instruments import first

START_NS = 1_790_000_000 * 1_000_000_000


def build_exchange(count: int = 2, tier: str = "pro", **options: object) -> Exchange:
    """Return an exchange with empty books; time is whatever the test says."""
    instruments, assets = first(count)
    account = Account({"USD": Decimal(10_000), "BTC": Decimal("0.05")})
    return Exchange(
        instruments,
        assets,
        seed=1,
        id_seed=1,
        tier=tier,
        wall_ns=START_NS,
        history=None,
        account=account,
        **options,  # type: ignore[arg-type]
    )


def start_practice(run_dir: Path, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start a practice process and return it with its practice.json."""
    command = [sys.executable, "-m", "cstd.practice.app", "--run-dir", str(run_dir), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the practice exchange did not start"
    return process, json.loads(line)


def stop_practice(process: subprocess.Popen[str]) -> int:
    """Stop a practice process as an operator would and return its exit code."""
    process.send_signal(signal.SIGTERM)
    code = process.wait(10)
    assert process.stdout is not None
    process.stdout.close()
    return code
