"""`cstd live-check`: whether this account and this key trade as they must, tried with the least order before any other.

The venue has no sandbox, so the proof is a real order: post-only, near the least that the venue takes, well below the market.
The daemon itself makes it (`strategy.name = "ladder"`): the same process, gates, gateway, dead man's switch and journal as later.
Nothing here can send an order; it asks that daemon as an operator would (live_ladder.py).

What the files say of a strategy does not count here, and equity for limits is no more than the ladder needs; every other limit is
the configuration's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

import msgspec

from cstd.cli.doctor import text
from cstd.cli.host_checks import OK, PROBLEM, WARNING, Check, Surroundings
from cstd.cli.live_ladder import Ladder, Rungs
from cstd.cli.venue_check import venue as clock_checks
from cstd.clock import SystemClock, utc_text
from cstd.config import Config, Credentials, load, load_credentials, refusals
from cstd.config.credentials import PRACTICE_FILE
from cstd.config.problems import config_error
from cstd.daemon.key_check import checked_key
from cstd.errors import EXIT_FAILURE, EXIT_OK, CstdError, OperatorError, UsageError
from cstd.ops.client import AdminClient
from cstd.ops.confirm import confirm
from cstd.ops.logs import Logs
from cstd.storage.journal_files import lock_directory
from cstd.storage.run_dir import JOURNAL_DIR, NONCE_FILE
from cstd.units import BPS_PER_UNIT, NS_PER_S, format_decimal
from cstd.venue.fields import FieldError, decode_json, mapping_of
from cstd.venue.http import Credentials as ApiKey
from cstd.venue.http import HttpClient
from cstd.venue.nonce import NonceFile, carry_mark
from cstd.venue.rest.models import PairRow, parse_asset_pairs, parse_depth
from cstd.venue.rest.request import RestRequest, asset_pairs, depth

OVERLAY_FILE = "live-check.toml"
CALL_NS = 8 * NS_PER_S
KEY_S = 30.0
# Of the venue's least order: amended down to six tenths of it, it is still above the least, also where the price falls by 15 %.
SIZE_OF_LEAST = Decimal("2.4")
AMENDED_FRAC = Decimal("0.6")
# Equity for limits lets the opening through whole, with this much to spare.
ROOM = Decimal("1.05")
# Far from a fill, and inside the price band of gate 7 also where the market moves while it rests.
BELOW_BAND_FRAC = Decimal("0.8")
LIFETIME_S_MAX = 60
# What the overlay says must not be said otherwise by the environment, which would win.
OVERLAID = ("CSTD__STRATEGY__", "CSTD__ACCOUNT__CAPITAL", "CSTD__RUN__", "CSTD__RISK__DAY_LOSS_MAX")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the ladder will do, in money."""

    instrument: str
    notional: Decimal
    below_bps: Decimal
    capital: Decimal
    amended_bps: int

    def overlay(self, cfg: Config, socket: Path) -> str:
        """Return the file that makes of the user's configuration the ladder's."""
        loss_max = min(cfg.risk.day_loss_max, self.capital * cfg.risk.day_loss_shutdown_bps / BPS_PER_UNIT)
        lifetime_s = min(cfg.policy.lifetime_s_max, Decimal(LIFETIME_S_MAX))
        return (f"[run]\nsocket = {json.dumps(str(socket))}\n\n[account]\ncapital = {self.capital:f}\n\n"
                f'[portfolio]\nadopt = "none"\n\n[risk]\nday_loss_max = {loss_max:f}\n\n'
                f'[strategy]\nname = "ladder"\n\n[strategy.ladder]\ninstrument = "{self.instrument}"\n'
                f"notional = {self.notional:f}\nbelow_bps = {self.below_bps:f}\nlifetime_s = {lifetime_s:f}\nretry_s = 1\n")


def main(args: argparse.Namespace) -> int:
    """Run every check, the ladder last; exit 1 when one of them is a problem."""
    cfg = load(args.config, os.environ)
    if cfg.mode == "paper":
        raise UsageError("mode paper has no account at the venue", suggestion="-c config/live.toml, or practice.toml to try it")
    instrument = args.instrument or cfg.instruments.names[0]
    if instrument not in cfg.instruments.names:
        raise UsageError(f"--instrument {instrument}: not among instruments.names",
                         suggestion=f"one of {', '.join(cfg.instruments.names)}")
    home = Path(args.run_dir or cfg.run.dir).resolve()
    with _nobody_trades(cfg, home) as held:
        credentials = load_credentials(cfg.mode, home, os.environ)
        run_dir = _new_folder(home, credentials, cfg.mode)
        rungs = Rungs()
        with _one_scale(home, run_dir):
            plan, found = _looked_at(args, cfg, (home, run_dir), credentials, instrument)
            if plan is not None:
                _confirm(args, cfg, plan)
                # Somebody may have started the first daemon while that was read.
                with nullcontext() if held else _nobody_trades(cfg, home):
                    found += _climb(cfg, args.config, run_dir, plan, rungs)
    return _tell(args, found, rungs, run_dir)


def _looked_at(args: argparse.Namespace, cfg: Config, places: tuple[Path, Path], credentials: Credentials,
               instrument: str) -> tuple[Plan | None, list[Check]]:
    """Return what was looked at before anything is sent, and the plan where nothing of it is a problem."""
    home, run_dir = places
    checks = list(_before(cfg, args.config, home, run_dir, credentials, instrument))
    found = [check for check in checks if isinstance(check, Check)]
    plan = next((check for check in checks if isinstance(check, Plan)), None)
    return None if any(check.state == PROBLEM for check in found) else plan, found


@contextmanager
def _nobody_trades(cfg: Config, home: Path) -> Iterator[bool]:
    """Hold the lock of the daemon's journal, so that none trades and none starts meanwhile; yields whether there is one.

    Where no daemon was ever started there is nothing to hold; it is looked again before the first order.

    One account has one trading daemon: cancel-all-after and the kill of another would be ours too. The lock decides, not whether
    the daemon answers: one that is stuck, or that this user may not ask, trades as well.

    Raises:
        OperatorError: a daemon has it, or it cannot be had.
    """
    journal = home / JOURNAL_DIR
    if not journal.is_dir():
        yield False  # no daemon has ever been started here
        return
    try:
        lock = lock_directory(journal)
    except OSError as error:
        raise OperatorError(f"whether a daemon runs in {home} cannot be told: {journal}: {error.strerror or error}",
                            suggestion="run as the daemon's user") from error
    except OperatorError:
        raise OperatorError(f"a daemon{_pid_of(cfg, home)} runs in {home}, and one account has one trading daemon",
                            suggestion="stop it first, or look at it with `cstd status`") from None
    with lock:
        yield True


def _pid_of(cfg: Config, home: Path) -> str:
    """Return the daemon's process id for a message, "" where it does not say."""
    try:
        with AdminClient(cfg.run.socket or home / "cstd.sock", timeout_s=2.0) as client:
            return f" (pid {client.request('status').get('pid')})"
    except OperatorError:
        return ""


@contextmanager
def _one_scale(home: Path, run_dir: Path) -> Iterator[None]:
    """Have the check's nonces begin above the daemon's, and the daemon's above the check's afterwards: the key is one."""
    carry_mark(home / NONCE_FILE, run_dir / NONCE_FILE)
    try:
        yield
    finally:
        carry_mark(run_dir / NONCE_FILE, home / NONCE_FILE)


def _new_folder(home: Path, credentials: Credentials, mode: str) -> Path:
    """Make a run directory for this check alone: its journal has nothing of the daemon's own, and stays as evidence."""
    stamp = utc_text(SystemClock().wall_ns())[:19].replace("-", "").replace(":", "")
    folder = home / "live-check" / stamp
    try:
        folder.mkdir(parents=True, mode=0o700)
        if mode == "practice":
            shutil.copy(home / PRACTICE_FILE, folder / PRACTICE_FILE)  # with its mode 0600
    except OSError as error:
        raise OperatorError(f"{folder} cannot be made: {error.strerror or error}",
                            suggestion="check free space and rights, or name another place with --run-dir") from error
    for note in credentials.notes:
        sys.stderr.write(f"cstd: {note}\n")
    return folder


def _before(cfg: Config, files: list[str], home: Path, run_dir: Path, credentials: Credentials,
            instrument: str) -> Iterator[Check | Plan]:
    """Yield what is looked at before anything is sent; last the plan, where there can be one."""
    stand_in = msgspec.structs.replace(cfg, strategy=msgspec.structs.replace(cfg.strategy, name="ladder"))
    if problems := refusals(stand_in, os.environ):
        raise config_error(problems)
    yield Check("configuration", OK, f"mode {cfg.mode}, hash {cfg.config_hash.hex()[:16]}", "its limits hold for the ladder too")
    yield from clock_checks(Surroundings(cfg, tuple(files), home, os.environ))
    yield from asyncio.run(_ask(cfg, run_dir, credentials, instrument))


async def _ask(cfg: Config, run_dir: Path, credentials: Credentials, instrument: str) -> list[Check | Plan]:
    """Return what the venue says of the key and of the instrument, and the plan that follows."""
    http = HttpClient(credentials.endpoints.rest, clock=SystemClock(), nonces=NonceFile(run_dir / NONCE_FILE),
                      credentials=ApiKey(credentials.api_key, credentials.api_secret))
    found: list[Check | Plan] = []
    try:
        try:
            async with asyncio.timeout(KEY_S):
                key = await checked_key(http, Logs(level="error").channel("application"))
            found.append(Check("key", OK, f"may {', '.join(sorted(key.permissions))}", "it trades, and it cannot withdraw"))
        except TimeoutError:
            found.append(Check("key", PROBLEM, f"the venue did not say within {KEY_S:g} s what the key may do",
                               "the daemon would wait, without its private socket", "try again; see the venue's status page"))
        try:
            pairs = parse_asset_pairs(await _result(http, asset_pairs([instrument])))
            book = parse_depth(await _result(http, depth(instrument, 1)))
            found += _planned(cfg, instrument, pairs[0], max(price for price, _, _ in book.asks))
        except (OperatorError, FieldError, IndexError, ValueError) as error:
            found.append(Check("instrument", PROBLEM, f"{instrument}: {error}", "without its minimums there is no least order",
                               "try again; is the instrument listed?"))
    finally:
        await http.close()
    return found


async def _result(http: HttpClient, request: RestRequest) -> object:
    reply = await http.call(request, CALL_NS)
    if reply.transport_error or reply.status != 200:
        raise OperatorError(f"{request.method}: {reply.transport_error or f'HTTP {reply.status}'}")
    document = mapping_of(decode_json(reply.body), "reply")
    if document.get("error"):
        raise OperatorError(f"{request.method}: {document['error']}")
    return document.get("result")


def _planned(cfg: Config, instrument: str, pair: PairRow, ask: Decimal) -> Iterator[Check | Plan]:
    """Yield the venue's least order of the instrument and the plan, or why there is none."""
    least = max((pair.qty_min or Decimal(0)) * ask, pair.cost_min or Decimal(0))
    if pair.status != "online" or least <= 0:
        yield Check("instrument", PROBLEM, f"{instrument}: status {pair.status or 'unknown'}, least order {least:f}",
                    "openings are not taken, or their least size is not known", "another --instrument, or later")
        return
    notional = (least * SIZE_OF_LEAST).quantize(Decimal("0.01"), ROUND_CEILING)
    capital = min(cfg.account.capital,
                  (notional * ROOM * BPS_PER_UNIT / cfg.risk.position_bps_max).quantize(Decimal("0.01"), ROUND_CEILING))
    currency = cfg.account.currency
    if capital * cfg.risk.position_bps_max < notional * BPS_PER_UNIT:
        yield Check("instrument", PROBLEM, f"{instrument}: the least order with room to amend is {notional:f} {currency}",
                    f"risk.position_bps_max of account.capital is {capital * cfg.risk.position_bps_max / BPS_PER_UNIT:f}",
                    "another --instrument, or more capital")
        return
    yield Check("instrument", OK, f"{instrument}: the venue's least order is {format_decimal(least)} {currency}",
                f"the ladder's is {notional:f}, amended to about {notional * AMENDED_FRAC:.2f}")
    amended = int(cfg.risk.position_bps_max * AMENDED_FRAC / ROOM)
    yield Plan(instrument, notional, (cfg.policy.price_band_bps_max * BELOW_BAND_FRAC).quantize(Decimal("0.001")), capital,
               amended)


def _confirm(args: argparse.Namespace, cfg: Config, plan: Plan) -> None:
    """Real orders are asked for, in words, but in practice."""
    if cfg.mode == "practice":
        return
    confirm(f"two post-only buys of about {plan.notional:f} {cfg.account.currency} each, one after the other, "
            f"{plan.below_bps.normalize():f} bps below the best bid of {plan.instrument}, with real money; both are canceled?",
            yes=args.yes)


def _climb(cfg: Config, files: list[str], run_dir: Path, plan: Plan, rungs: Rungs) -> list[Check]:
    """Run the daemon with the ladder and return what each rung came to."""
    overlay = run_dir / OVERLAY_FILE
    overlay.write_text(plan.overlay(cfg, run_dir / "cstd.sock"), encoding="utf-8")
    files = [*files, str(overlay)]
    environ = _environment()
    load(files, environ)  # what contradicts is said here, by key, and not by a child's log
    ladder = Ladder(files, run_dir, environ, plan.amended_bps, rungs)
    try:
        return list(ladder.climb())
    except CstdError as error:
        return [*ladder.found, Check("ladder", PROBLEM, error.message, f"what the daemon said is in {run_dir / 'daemon.log'}",
                                     error.suggestion or "`cstd why` explains from the ledger; try again")]
    finally:
        ladder.stop()


def _environment() -> Mapping[str, str]:
    """Return the daemon's environment: nothing in it says another strategy, capital or port than this check."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(OVERLAID)}
    return {**kept, "CSTD__STATUS__LISTEN": "127.0.0.1:0"}


def _tell(args: argparse.Namespace, checks: list[Check], rungs: Rungs, run_dir: Path) -> int:
    problems = sum(check.state == PROBLEM for check in checks)
    warnings = sum(check.state == WARNING for check in checks)
    if args.output == "json":
        sys.stdout.write(json.dumps({"ok": problems == 0, "problems": problems, "warnings": warnings, "run_dir": str(run_dir),
                                     "checks": [asdict(check) for check in checks], "rungs": asdict(rungs)}) + "\n")
    else:
        sys.stdout.write(text(checks))
        sys.stdout.write(f"\n{len(checks)} checks, {problems} problems, {warnings} warnings; journal and log in {run_dir}\n")
    return EXIT_FAILURE if problems else EXIT_OK
