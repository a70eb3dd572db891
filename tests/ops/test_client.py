"""The command line's verbs against a real socket: output, confirmations, errors, exit codes, start time."""

from __future__ import annotations

import argparse
import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd.ops import client
from tests.ops.fake_view import FakeView
from tests.ops.running import FakeDaemon, admin_socket
from tests.schemas import assert_fits


@pytest.fixture
def daemon(tmp_path: Path, view: FakeView) -> Iterator[FakeDaemon]:
    """A daemon that serves tmp_path/s."""
    with admin_socket(tmp_path / "s", view) as (fake, _):
        yield fake


class Terminal(io.StringIO):
    """Somebody who types, or looks."""

    def isatty(self) -> bool:
        """Whether there is somebody."""
        return True


def run(tmp_path: Path, verb: str, output: str = "json", **given: Any) -> int:
    """Run a verb as the command line does."""
    return client.main(verb, argparse.Namespace(socket=str(tmp_path / "s"), output=output, **given))


@pytest.mark.parametrize("verb", ["status", "positions", "gates"])
def test_json_is_exactly_what_the_daemon_says(daemon: FakeDaemon, tmp_path: Path, view: FakeView, verb: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    """stdout is one JSON document, stderr is empty, exit code 0."""
    assert run(tmp_path, verb) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == getattr(view, verb)()
    assert printed.err == ""


def test_status_has_the_promised_keys(daemon: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The eight keys that outside scripts rely on are there."""
    run(tmp_path, "status")
    assert {"pid", "mode", "state", "ready", "boot_epoch", "kill", "level", "instruments"} <= set(
        json.loads(capsys.readouterr().out))


def test_orders_and_fills_have_the_fields_of_the_truth_file(daemon: FakeDaemon, tmp_path: Path, view: FakeView,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    """Both are arrays; --all gives all, without it orders are the working ones."""
    run(tmp_path, "orders", all=True)
    orders = json.loads(capsys.readouterr().out)
    assert len(orders) == len(view.order_rows)
    assert {"cl_ord_id", "order_id", "symbol", "side", "status", "order_qty", "filled_qty"} <= set(orders[0])
    run(tmp_path, "orders", all=False)
    assert {order["state"] for order in json.loads(capsys.readouterr().out)} == {"open"}
    run(tmp_path, "fills", all=True)
    fills = json.loads(capsys.readouterr().out)
    assert {"exec_id", "cl_ord_id", "symbol", "side", "qty", "price", "fee", "fee_asset"} <= set(fills[0])
    assert len(fills) == len(view.fill_rows)


def test_tables_are_plain_when_stdout_is_no_terminal(daemon: FakeDaemon, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are aligned, without colour codes and frames."""
    assert run(tmp_path, "gates", output="table") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 16
    assert lines[0].split()[:3] == ["gate", "name", "limit"]
    assert "\x1b" not in "".join(lines)
    assert run(tmp_path, "status", output="table") == 0
    assert "links.public.up" in capsys.readouterr().out


def test_tables_of_orders_and_fills_say_when(daemon: FakeDaemon, tmp_path: Path, view: FakeView,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    """A time is shown as UTC, to the millisecond; what was not sent has none."""
    view.fill_rows[0]["wall_ns"] = 1_789_000_000_004_999_999
    view.order_rows[0]["sent_wall_ns"] = None
    run(tmp_path, "fills", output="table", all=True)
    heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split()[:2] == ["utc", "exec_id"]
    assert any(row.startswith("2026-09-10 00:26:40.004  ") for row in rows)
    run(tmp_path, "orders", output="table", all=True)
    heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split()[:2] == ["sent_utc", "cl_ord_id"]
    assert any(row.startswith("-  ") for row in rows)


def test_a_terminal_gets_a_rich_table(daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the table is rendered by rich, and brackets in data stay as they are."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    daemon.view.fill_rows[0]["fee_asset"] = "[b]USD"
    assert run(tmp_path, "fills", output="table", all=True) == 0
    assert "[b]USD" in terminal.getvalue().replace("\n", "")


def test_why_asks_for_what_was_named(daemon: FakeDaemon, tmp_path: Path, view: FakeView,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """--last gives the latest decision, --instrument and --refused-by the latest such; nothing named is an error."""
    assert run(tmp_path, "why", last=True) == 0
    assert json.loads(capsys.readouterr().out)["intent_seq"] == view.decision_rows[0]["intent_seq"]
    assert run(tmp_path, "why", refused_by="position_size") == 0
    assert json.loads(capsys.readouterr().out)["first_failing"] == "position_size"
    assert run(tmp_path, "why", instrument="BTC/USD") == 0
    assert json.loads(capsys.readouterr().out)["instrument"] == "BTC/USD"
    assert run(tmp_path, "why", instrument="DOGE/USD") == 1
    assert "DOGE/USD is no instrument of this session" in capsys.readouterr().err
    assert run(tmp_path, "why", refused_by="idempotency") == 1
    assert "no such decision" in capsys.readouterr().err
    assert run(tmp_path, "why", id="1", last=True) == 2
    assert run(tmp_path, "why") == 2


def test_why_as_a_table_is_the_waterfall(daemon: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text has the verdict, fifteen gates and what would have passed."""
    assert run(tmp_path, "why", output="table", refused_by="spread") == 0
    text = capsys.readouterr().out
    assert text.startswith("REFUSE  buy")
    assert "> " in text
    assert text.count(" pass") >= 14
    assert "at most 50 bps" in text


def test_dangerous_verbs_need_yes_without_a_terminal(daemon: FakeDaemon, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    """kill and flatten do nothing without --yes when nobody can be asked; exit code 2."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    for verb in ("kill", "flatten"):
        assert run(tmp_path, verb) == 2
        assert json.loads(capsys.readouterr().err)["suggestion"] == "add --yes"
    assert daemon.commands == []
    assert run(tmp_path, "kill", yes=True, hold=True, reason="test") == 0
    assert run(tmp_path, "flatten", yes=True) == 0
    assert [(command["verb"], command["args"]) for command in daemon.commands] == [
        ("kill", {"hold": True, "reason": "test"}), ("flatten", {})]


def test_clusters_are_told(daemon: FakeDaemon, tmp_path: Path, view: FakeView, capsys: pytest.CaptureFixture[str]) -> None:
    """As the daemon says them in JSON; as text one line a cluster and a pair, of one instrument where it is named."""
    assert run(tmp_path, "clusters", instrument="eth/usd") == 0
    assert json.loads(capsys.readouterr().out) == view.clusters("ETH/USD")
    assert run(tmp_path, "clusters", output="table") == 0
    rule, cluster, pair = capsys.readouterr().out.splitlines()
    assert "0.7 on, until below 0.6" in rule
    assert cluster.split() == ["cluster", "BTC/USD:", "199.97", "200.0", "bps", "of", "equity"]
    assert pair.split() == ["BTC/USD", "ETH/USD", "0.812", "linked", "400", "returns"]


def test_opportunities_are_told(daemon: FakeDaemon, tmp_path: Path, view: FakeView, capsys: pytest.CaptureFixture[str]) -> None:
    """As the daemon says them in JSON, every page of them; as text a ranking a horizon; of one horizon and instrument."""
    assert run(tmp_path, "opportunities") == 0
    assert json.loads(capsys.readouterr().out) == view.opportunities()
    assert run(tmp_path, "opportunities", horizon="4h", instrument="eth/usd") == 0
    assert json.loads(capsys.readouterr().out) == view.opportunities(horizon="4h", instrument="ETH/USD")
    assert run(tmp_path, "opportunities", output="table", horizon="1h") == 0
    told = capsys.readouterr().out
    assert "refused by spread" in told and "+0.40 % to +2.00 %" in told and "Nothing is promised" in told
    assert run(tmp_path, "opportunities", output="table", horizon="24h") == 0
    assert "scorer.enabled is false" in capsys.readouterr().out


def test_opportunities_of_nothing_are_errors(daemon: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A horizon that there is not is usage, and names those that there are; an instrument that is not configured is named."""
    assert run(tmp_path, "opportunities", horizon="2h") == 2
    assert json.loads(capsys.readouterr().err)["suggestion"] == "one of 1h, 4h, 24h"
    assert run(tmp_path, "opportunities", instrument="DOGE/USD") == 1
    assert "DOGE/USD is no instrument" in json.loads(capsys.readouterr().err)["message"]


def test_limits_are_listed_set_and_reset(daemon: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list says who changed what; a change needs --yes where nobody can be asked, a refusal comes without asking."""
    change = {"key": "spread_bps_max", "value": "20"}
    assert run(tmp_path, "limits set", **change) == 2
    assert json.loads(capsys.readouterr().err)["suggestion"] == "add --yes"
    assert daemon.commands == []
    assert run(tmp_path, "limits set", **change, yes=True, reason="thin", instrument="eth/usd") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["key"], row["instrument"], row["before"], row["value"]) == ("policy.spread_bps_max", "ETH/USD", "45", "20")
    assert daemon.commands[-1]["args"] == {**change, "instrument": "eth/usd", "reason": "thin"}
    assert run(tmp_path, "limits set", **change, yes=True, instrument="eth/usd", output="table") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:6] == ["policy.spread_bps_max", "ETH/USD", "20", "20", "bps", "45"]
    assert run(tmp_path, "limits", output="table") == 0
    heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split()[:8] == ["gate", "name", "key", "instrument", "value", "unit", "configured", "tighter"]
    assert [line.split()[:6] for line in rows if " operator " in line] == [
        ["2", "spread", "policy.spread_bps_max", "ETH/USD", "20", "bps"]]
    assert run(tmp_path, "limits", instrument="ETH/USD") == 0
    assert {row["instrument"] for row in json.loads(capsys.readouterr().out)} == {None, "ETH/USD"}
    assert run(tmp_path, "limits reset", key="policy.spread_bps_max", yes=True) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "configuration"
    assert run(tmp_path, "limits set", key="policy.deadline_ms", value="1000") == 1
    assert "no command may trap an exit" in capsys.readouterr().err
    assert run(tmp_path, "limits set", key="spred_bps_max", value="1") == 1
    assert "did you mean spread_bps_max?" in capsys.readouterr().err


def test_a_terminal_is_asked_with_what_holds_now(daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """The question has the value, the configured one, and what would come; no is no."""
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert run(tmp_path, "limits set", key="risk.positions_max", value="3") == 1
    assert "set risk.positions_max to 3? It is 10 positions, configured 10 [y/N]" in capsys.readouterr().err
    assert daemon.commands == []
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run(tmp_path, "limits reset", key="policy.spread_bps_max", instrument="BTC/USD") == 0
    assert "take back what commands made of policy.spread_bps_max for BTC/USD?" in capsys.readouterr().err
    assert len(daemon.commands) == 1
    assert run(tmp_path, "limits set", key="risk.day_loss_shutdown_bps", value="300") == 1
    assert "reached already latches its level at once" in capsys.readouterr().err


def test_the_peak_is_set_anew_once_it_is_confirmed(daemon: FakeDaemon, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    """The question has peak, value, drawdown and what no book shows now; without an answer only the first step was taken."""
    assert run(tmp_path, "limits rebase-peak", reason="looked into") == 2
    assert capsys.readouterr().err.count("measure drawdown from 8900.00000000 USD on, of which ETH/USD at a bid that is not "
                                         "verified now? The peak is 10000.00000000, the drawdown 1100 bps") == 1
    assert [command["args"] for command in daemon.commands] == [{"reason": "looked into"}]
    assert run(tmp_path, "limits rebase-peak", yes=True) == 0
    answer = json.loads(capsys.readouterr().out)
    assert_fits("limits rebase-peak", answer)
    assert answer["rebased"] is True and daemon.commands[-1]["args"] == {"confirm": "rebase-1"}


def test_a_reset_for_all_names_the_instruments_whose_own_it_ends(daemon: FakeDaemon, tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """In the question, in the table and in the JSON, with what each goes back to."""
    own = {"key": "risk.position_bps_max", "value": "50", "instrument": "ETH/USD", "yes": True}
    assert run(tmp_path, "limits set", **own) == 0
    capsys.readouterr()
    assert run(tmp_path, "limits reset", key=own["key"]) == 2
    assert "risk.position_bps_max, also for each that has its own (ETH/USD 50 -> 200)? It is 200 bps" in capsys.readouterr().err
    assert run(tmp_path, "limits reset", key=own["key"], yes=True) == 0
    answer = json.loads(capsys.readouterr().out)
    assert_fits("limits reset", answer)
    assert [(row["instrument"], row["before"], row["value"]) for row in answer["ended"]] == [("ETH/USD", "50", "200")]
    assert run(tmp_path, "limits set", **own) == 0
    capsys.readouterr()
    assert run(tmp_path, "limits reset", key=own["key"], yes=True, output="table") == 0
    assert [line.split()[1:4] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["-", "200", "200"], ["ETH/USD", "50", "200"]]


@pytest.mark.parametrize("verb", ["limits set", "limits reset"])
@pytest.mark.parametrize("key", ["risk.positions_max", "RISK.Positions_Max", "  Positions_max "])
def test_no_spelling_of_a_key_gets_past_the_question(daemon: FakeDaemon, tmp_path: Path, verb: str, key: str,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """However a key is written that the daemon would take, nothing is sent before a yes; an empty one is no limit."""
    value = {"value": "3"} if verb == "limits set" else {}
    assert run(tmp_path, verb, key=key, **value) == 2
    assert json.loads(capsys.readouterr().err)["suggestion"] == "add --yes"
    assert daemon.commands == []
    assert run(tmp_path, verb, key=key, yes=True, **value) == 0
    assert json.loads(capsys.readouterr().out)["key"] == "risk.positions_max"
    assert run(tmp_path, verb, key="", **value) == 1
    assert "nothing is no limit" in json.loads(capsys.readouterr().err)["message"]


@pytest.mark.parametrize(("answer", "code", "sent"), [("y\n", 0, 1), ("yes\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0)])
def test_a_terminal_is_asked(daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str,
                             code: int, sent: int) -> None:
    """Only yes is yes."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert run(tmp_path, "flatten") == code
    assert len(daemon.commands) == sent


def test_the_kill_switch_is_cleared_in_two_steps(daemon: FakeDaemon, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's confirmation word goes back only after a yes."""
    daemon.view.kill = True
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(tmp_path, "kill", clear=True) == 2
    assert [command["args"] for command in daemon.commands] == [{}]
    assert daemon.view.kill
    assert run(tmp_path, "kill", clear=True, yes=True) == 0
    assert [command["args"] for command in daemon.commands] == [{}, {}, {"confirm": "k1"}]
    assert not daemon.view.kill


def test_no_daemon_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing socket, a dead one and what is none: exit 1, and what to do about it."""
    assert run(tmp_path, "status") == 1
    error = json.loads(capsys.readouterr().err)
    assert error["error"] == "operator"
    assert "there is no socket" in error["message"]
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    assert run(tmp_path, "status", output="table") == 1
    printed = capsys.readouterr()
    assert "nobody listens" in printed.err
    assert printed.out == ""
    (tmp_path / "s").unlink()
    (tmp_path / "s").touch()
    assert run(tmp_path, "status", output="table") == 1
    assert "is no socket" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "tells"), [("orders", "`cstd export orders`"), ("fills", "`cstd export fills`"),
                                             ("why", "`cstd why ID`, `cstd why --since 1d`"), ("pause", None)])
def test_without_a_daemon_the_ledger_is_named(tmp_path: Path, verb: str, tells: str | None,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    """What reads the same from ledger.db, where there is one; a command that acts needs the daemon."""
    given = {"last": True} if verb == "why" else {}
    assert run(tmp_path, verb, **given) == 1
    assert "ledger" not in json.loads(capsys.readouterr().err)["suggestion"]
    (tmp_path / "ledger.db").touch()
    assert run(tmp_path, verb, **given) == 1
    suggestion = json.loads(capsys.readouterr().err)["suggestion"]
    assert "cstd run -c FILE" in suggestion
    assert f"{tmp_path / 'ledger.db'} tells: {tells}" in suggestion if tells else "ledger" not in suggestion


def test_a_daemon_that_breaks_off_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half an answer is not taken for one."""
    script = ("import socket,sys\ns=socket.socket(socket.AF_UNIX);s.bind(sys.argv[1]);s.listen()\n"
              "print('up',flush=True);c,_=s.accept();c.recv(1000);c.sendall(b'{\"ok\": tr');c.close()")
    server = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "s")], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    assert run(tmp_path, "status") == 1
    assert "broke off" in json.loads(capsys.readouterr().err)["message"]
    server.wait(5)
    server.stdout.close()


def test_json_verbs_import_little(daemon: FakeDaemon, tmp_path: Path) -> None:
    """A JSON answer imports neither asyncio's servers, rich, numpy nor aiohttp: that is what makes a verb quick."""
    script = ("import argparse,sys\nfrom cstd.ops import client\n"
              "code=client.main('status', argparse.Namespace(socket=sys.argv[1], output='json'))\n"
              "bad={'rich','numpy','aiohttp','asyncio','prometheus_client'}&set(sys.modules)\n"
              "print(code, sorted(bad), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "s")], capture_output=True, text=True, check=True)
    assert done.stderr.split(maxsplit=1) == ["0", "[]\n"]
