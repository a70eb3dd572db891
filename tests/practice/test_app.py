"""The process: its files, its exit, its refusals, its cost."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from practice_client import Client, run
from practice_world import start_practice, stop_practice

from cstd.practice.app import main


def test_practice_json_is_private_and_loopback(tmp_path: Path) -> None:
    """practice.json equals what is printed, is readable by its owner alone, and names loopback addresses only."""
    process, printed = start_practice(tmp_path)
    try:
        path = tmp_path / "practice.json"
        assert json.loads(path.read_text()) == printed
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert set(printed) == {"rest", "ws_public", "ws_private", "ws_futures", "api_key", "api_secret"}
        assert all("//127.0.0.1:" in printed[k] for k in ("rest", "ws_public", "ws_private", "ws_futures"))
    finally:
        assert stop_practice(process) == 0


def test_truth_tells_orders_fills_and_balances_at_exit(tmp_path: Path) -> None:
    """The truth file after SIGTERM holds every order and fill, with balances that fit them."""
    truth_path = tmp_path / "elsewhere.json"
    process, addresses = start_practice(tmp_path, "--truth", str(truth_path))

    async def scenario() -> None:
        async with Client(addresses) as client:
            for cl_ord_id, price in (("rests", "30000"), ("takes", "90000")):
                await client.private(
                    "AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.0004", price=price, cl_ord_id=cl_ord_id
                )

    run(scenario())
    assert stop_practice(process) == 0
    truth = json.loads(truth_path.read_text())
    orders = {o["cl_ord_id"]: o for o in truth["orders"]}
    assert (orders["rests"]["status"], orders["rests"]["filled_qty"]) == ("new", "0.00000000")
    assert (orders["takes"]["status"], orders["takes"]["filled_qty"]) == ("filled", "0.00040000")
    assert set(orders["takes"]) == {"cl_ord_id", "order_id", "symbol", "side", "status", "order_qty", "filled_qty"}
    fills = truth["fills"]
    assert {f["cl_ord_id"] for f in fills} == {"takes"}
    assert set(fills[0]) == {"exec_id", "cl_ord_id", "symbol", "side", "qty", "price", "fee", "fee_asset"}
    assert Decimal(truth["balances"]["BTC"]) == Decimal("0.0504")
    spent = sum((Decimal(f["qty"]) * Decimal(f["price"]) + Decimal(f["fee"]) for f in fills), Decimal(0))
    assert abs(Decimal(10_000) - spent - Decimal(truth["balances"]["USD"])) < Decimal("0.0001")


def test_two_runs_with_one_seed_give_different_keys_and_ids(tmp_path: Path) -> None:
    """The seed makes the market, not the secrets."""
    keys = []
    for name in ("a", "b"):
        process, addresses = start_practice(tmp_path / name, "--seed", "5")
        keys.append(addresses["api_key"])
        stop_practice(process)
    assert keys[0] != keys[1]


def test_a_port_in_use_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A taken port is exit 1 and the message names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = main(["--run-dir", str(tmp_path), "--ports", f"0,{port},0,0"])
    assert code == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--faults", "none.jsonl"], ["--fault-seed", "x"], ["--faults", "x", "--fault-seed", "3"], ["--instruments", "0"],
        ["--instruments", "9999"], ["--rate", "0"],
        ["--ports", "1,2,3"], ["--ports", "a,b,c,d"], ["--loop"], ["--nonsense"], ["--tier", "gold"],
    ],
)  # fmt: skip
def test_usage_errors_are_exit_2(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done as asked is refused before anything is bound."""
    assert main(["--run-dir", str(tmp_path / "run"), *arguments]) == 2
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().err


def test_a_run_directory_is_one_exchanges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second exchange would take a running daemon's away from it: refused, with the pid of the first; the next one may."""
    process, _ = start_practice(tmp_path)
    kept = (tmp_path / "practice.json").read_bytes()
    try:
        assert main(["--run-dir", str(tmp_path)]) == 1
        assert f"another practice exchange (pid {process.pid})" in capsys.readouterr().err
        assert (tmp_path / "practice.json").read_bytes() == kept
    finally:
        assert stop_practice(process) == 0
    process, _ = start_practice(tmp_path)
    assert stop_practice(process) == 0


@pytest.mark.parametrize("where", ["/dev/null", "/proc/exchange"])
def test_a_run_directory_that_cannot_be_one_is_named(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, or a place where nothing can be made: one line, exit 1, no traceback."""
    assert main(["--run-dir", where]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"cstd practice: the run directory {where} cannot be used: ") and "--run-dir" in told
    assert told.count("\n") == 1


def test_two_instruments_cost_a_small_part_of_a_core(tmp_path: Path) -> None:
    """With two books, trades and tickers subscribed, three seconds of the default flow cost far less than a core."""
    process, addresses = start_practice(tmp_path)

    def cpu_s() -> float:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def scenario() -> float:
        async with Client(addresses) as client:
            ws = await client.socket("ws_public")
            names = ["BTC/USD", "ETH/USD"]
            for channel in ("book", "trade", "ticker"):
                extra = {"depth": 25} if channel == "book" else {}
                await ws.send("subscribe", 1, channel=channel, symbol=names, **extra)
            before = cpu_s()
            deadline = asyncio.get_running_loop().time() + 3
            while asyncio.get_running_loop().time() < deadline:
                await ws.ws.receive_str(timeout=2)
            return (cpu_s() - before) / 3

    try:
        assert run(scenario()) < 0.4  # about 0.06 on an idle machine; the bound allows for a busy one
    finally:
        stop_practice(process)


def test_practice_imports_neither_the_venue_nor_the_compiled_core() -> None:
    """The exchange is an own reading of the protocol."""
    code = "import sys, cstd.practice.app; print([m for m in sys.modules if m.startswith(('cstd.venue', 'cstd._fast'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
