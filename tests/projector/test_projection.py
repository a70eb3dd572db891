"""The journal as rows: what they say is what happened, and it does not matter how they came to be written."""

from __future__ import annotations

import json
import random
import sqlite3
import zlib
from decimal import Decimal
from pathlib import Path

import pytest

from cstd._fast.codes import EventKind
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.errors import OperatorError, UsageError, VerificationError
from cstd.orders.lifecycle import STATE_NAMES
from cstd.projector.database import LedgerDatabase
from cstd.projector.projection import Projection
from cstd.projector.rebuild import rebuild
from cstd.storage import checkpoints
from cstd.storage.run_dir import LEDGER_SCHEMA
from cstd.units import from_raw
from tests.projector.sessions import TABLES, append, columns, follow, opened, rows, written
from tests.simulation.simulated import Simulation

SEEDS = range(2, 50)


@pytest.fixture(scope="module")
def session() -> Simulation:
    """A session with crashes, cuts and lost messages, judged against the exchange already."""
    return next(played for seed in SEEDS if (played := Simulation(seed).run(60)).crashes > 1)


@pytest.fixture(scope="module")
def run_dir(session: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its journal."""
    return written(tmp_path_factory.mktemp("session"), session.journal)


@pytest.fixture(scope="module")
def ledger(run_dir: Path) -> Path:
    """The database made of it in one go."""
    rebuild(run_dir / "journal", run_dir / "whole.db", None)
    return run_dir / "whole.db"


def test_orders_are_those_of_the_exchange(session: Simulation, ledger: Path) -> None:
    """Each order of the exchange is there with what was filled of it; any other never got there."""
    ours = {row[0]: row[1:] for row in columns(
        ledger, "SELECT cl_ord_id, state, qty_raw, filled_raw, side, instrument, order_id FROM orders")}
    assert ours
    for order in session.exchange.account.orders.values():
        state, qty_raw, filled_raw, side, instrument, order_id = ours.pop(order.cl_ord_id)
        assert (filled_raw, instrument, order_id) == (order.filled_raw, "BTC/USD", order.order_id)
        assert state == order.status or state == "rejected"
        assert side in ("buy", "sell")
        assert qty_raw >= filled_raw
    assert {row[0] for row in ours.values()} <= {"rejected", "canceled", "expired"}
    known = {name: STATE_NAMES[order["state"]] for name, order in session.engine.tracker.history.items()}
    assert {row[0]: row[1] for row in columns(ledger, "SELECT cl_ord_id, state FROM orders")} == known


def test_fills_and_money_are_those_of_the_exchange(session: Simulation, ledger: Path) -> None:
    """Every execution of the exchange once, exact; their sum is the cash flow, and the last mark is the engine's."""
    truth = {fill.exec_id: fill for fill in session.exchange.account.fills}
    booked = columns(ledger, "SELECT exec_id, qty_raw, qty_precision, price, cost, side FROM fills")
    assert {row[0] for row in booked} == truth.keys()
    assert booked
    for exec_id, qty_raw, precision, price, cost, side in booked:
        assert qty_raw == truth[exec_id].qty_raw
        assert from_raw(qty_raw, precision) * Decimal(price) == pytest.approx(Decimal(cost), abs=Decimal("0.00001"))
        assert side in ("buy", "sell")
    flow = sum(((1 if side == "sell" else -1) * Decimal(cost) for *_, cost, side in booked), Decimal(0))
    fees = sum((Decimal(amount) for (amount,) in columns(ledger, "SELECT amount FROM fees")), Decimal(0))
    assert flow - fees == session.engine.ledger.cash_flow
    last = columns(ledger, "SELECT nav_raw, equity_raw, cash_flow FROM marks ORDER BY seq DESC LIMIT 1")[0]
    assert last == (session.engine.nav.nav, session.engine.nav.equity, str(session.engine.ledger.cash_flow))


def test_decisions_name_the_gate_and_its_numbers(session: Simulation, ledger: Path) -> None:
    """One row for each decision in the journal; a refusal has its gate with value and limit, an approval its order."""
    recorded = [number for number, entry in enumerate(session.journal, 1) if entry[0] == 64]
    found = columns(ledger, "SELECT seq, verdict, gate, gate_value, gate_limit, cl_ord_id, rejudged FROM decisions")
    assert sorted(row[0] for row in found) == recorded
    known = {row[0] for row in columns(ledger, "SELECT cl_ord_id FROM orders")}
    verdicts = set()
    for _, verdict, gate, value, limit, cl_ord_id, rejudged in found:
        verdicts.add(verdict)
        if verdict == "refuse":
            assert gate
            assert value is not None or limit is not None or gate in ("data_gap", "kill_switch", "price")
        elif not rejudged:
            assert cl_ord_id in known
    assert verdicts >= {"approve", "refuse"}
    gates = columns(ledger, "SELECT count(*) FROM decisions, json_each(gates)")[0][0]
    assert gates == 15 * len(found)


def test_every_start_and_balance_is_there(session: Simulation, ledger: Path) -> None:
    """A row for each boot, with epochs that rise; the newest balances are the exchange's."""
    boots = columns(ledger, "SELECT boot_epoch, mode, config FROM boots ORDER BY seq")
    assert len(boots) == sum(entry[0] == 1 for entry in session.journal) > 1
    assert sorted({row[0] for row in boots}) == [row[0] for row in boots]
    assert {row[1] for row in boots} == {"practice"}
    newest = dict(columns(ledger, "SELECT asset, qty FROM balances ORDER BY seq"))
    assert {asset: Decimal(qty) for asset, qty in newest.items()} == session.engine.risk.balances
    states = [row[0] for row in columns(ledger, "SELECT state FROM states ORDER BY seq")]
    told = [json.loads(entry[4])["state"] for entry in session.journal if entry[0] == EventKind.OUT_STATE]
    assert states == told
    assert {"reconciling", "ready"} < set(states)


def test_no_number_is_a_float(ledger: Path) -> None:
    """Every value is an integer, a text, or nothing; what explains a decision is packed, and has no float in it either."""
    found = rows(ledger)
    packed = found.pop("explained")
    kinds = {type(value) for table in found.values() for row in table for value in row}
    assert kinds == {int, str, type(None)}
    assert {tuple(map(type, row)) for row in packed} == {(int, bytes)}
    for _, whole in packed:
        json.loads(zlib.decompress(whole), parse_float=lambda text: pytest.fail(f"a float: {text}"))


@pytest.mark.parametrize("seed", range(2))
def test_followed_over_restarts_equals_rebuilt(session: Simulation, ledger: Path, tmp_path: Path, seed: int) -> None:
    """A projector that is ended at any block, while the journal grows and after, leaves what a rebuild makes, row by row."""
    chance = random.Random(seed)
    path = tmp_path / "followed.db"
    entries = session.journal
    cuts = sorted(chance.sample(range(1, len(entries)), 3))
    for begin, end in zip([0, *cuts], [*cuts, len(entries)], strict=True):
        with opened(tmp_path) as journal:
            append(journal, entries[begin:end])
            follow(tmp_path, path, blocks=chance.randrange(1, 200), commit_every=chance.randrange(1, 9))
        follow(tmp_path, path, blocks=chance.randrange(1, 400), commit_every=chance.randrange(1, 9))
    follow(tmp_path, path)
    follow(tmp_path, path)
    rebuild(tmp_path / "journal", tmp_path / "rebuilt.db", None)
    assert rows(path) == rows(tmp_path / "rebuilt.db")
    # Blocks end elsewhere in the other journal of the same records; only the place may say so.
    ours, theirs = rows(path), rows(ledger)
    assert {table: ours[table] for table in TABLES[1:]} == {table: theirs[table] for table in TABLES[1:]}


def test_rows_and_place_are_one_transaction(run_dir: Path, tmp_path: Path) -> None:
    """A commit that cannot be finished leaves neither its rows nor its place."""
    path = tmp_path / "ledger.db"
    assert follow(run_dir, path, blocks=30, commit_every=20) == 30
    before = rows(path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER fails BEFORE INSERT ON place BEGIN SELECT RAISE(ABORT, 'no space'); END")
    connection.close()
    with pytest.raises(OperatorError, match="no space"):
        follow(run_dir, path)
    assert rows(path) == before
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER fails")
    connection.close()
    follow(run_dir, path)
    rebuild(run_dir / "journal", tmp_path / "rebuilt.db", None)
    assert rows(path) == rows(tmp_path / "rebuilt.db")


def test_the_database_of_another_journal_is_refused(session: Simulation, run_dir: Path, tmp_path: Path) -> None:
    """Rows are never mixed: neither with another journal's, nor with one that is shorter than the database."""
    path = tmp_path / "ledger.db"
    follow(run_dir, path)
    other = written(tmp_path / "other", session.journal)
    with pytest.raises(VerificationError, match="another journal"):
        follow(other, path)
    short = written(tmp_path / "short", session.journal[:len(session.journal) // 2])
    with pytest.raises(VerificationError, match="beyond the journal's end"):
        follow(short, path)


def test_a_journal_that_the_engine_does_not_make_again_is_refused(session: Simulation, tmp_path: Path) -> None:
    """A changed decision stops the projection at its record, and nothing after it is written."""
    entries = list(session.journal)
    number = next(index for index, entry in enumerate(entries) if entry[0] == 65)
    kind, tag, mono_ns, wall_ns, payload = entries[number]
    entries[number] = (kind, tag, mono_ns, wall_ns, payload.replace(b"buy", b"BUY"))
    other = written(tmp_path / "run", entries)
    with pytest.raises(VerificationError, match=f"record {number + 1}"):
        follow(other, tmp_path / "ledger.db", commit_every=1)
    assert rows(tmp_path / "ledger.db")["place"][0][1] <= number


@pytest.mark.parametrize(("pragma", "says"), [
    (f"user_version = {LEDGER_SCHEMA + 1}", "a newer cstd"), (f"user_version = {LEDGER_SCHEMA - 1}", "an older cstd"),
    ("application_id = 7", "another program's")])
def test_another_schema_is_a_clear_error(tmp_path: Path, pragma: str, says: str) -> None:
    """A file of a newer or older schema, or of another program, is named and left as it is."""
    path = tmp_path / "ledger.db"
    LedgerDatabase(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {pragma}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(OperatorError, match=says) as caught:
        LedgerDatabase(path)
    assert caught.value.suggestion
    assert path.read_bytes() == before


def test_what_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    """Text, and a directory, are refused with what to do."""
    (tmp_path / "ledger.db").write_text("not a database at all, but a text that is long enough to be read as a header\n" * 20)
    with pytest.raises(OperatorError, match="not a database") as caught:
        LedgerDatabase(tmp_path / "ledger.db")
    assert "rebuild" in caught.value.suggestion
    with pytest.raises(OperatorError, match="cannot be opened"):
        LedgerDatabase(tmp_path)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """The database has mode 0600."""
    LedgerDatabase(tmp_path / "ledger.db").close()
    assert (tmp_path / "ledger.db").stat().st_mode & 0o777 == 0o600


def test_an_empty_journal_gives_a_usage_error(tmp_path: Path) -> None:
    """A journal without a record on disk cannot be rebuilt from."""
    opened(tmp_path).close()
    with pytest.raises(UsageError, match="no record"):
        rebuild(tmp_path / "journal", tmp_path / "ledger.db", None)


@pytest.mark.parametrize("kept", [1380764735, None])
def test_a_life_that_begins_at_a_checkpoint_writes_the_same_rows(session: Simulation, ledger: Path, tmp_path: Path,
                                                                 kept: int | None) -> None:
    """Lives that end anywhere, checkpoints made meanwhile anywhere: the rows are those of one way from the first record.

    The kept seed has a checkpoint between the frame that brought a fill and the timer that marks it.
    """
    seed = kept if kept is not None else random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    run_dir, begun = tmp_path / "run", []
    run_dir.mkdir()
    parts = sorted(chance.sample(range(1, len(session.journal)), 9))
    with opened(run_dir) as journal:
        for number, (first, last) in enumerate(zip([0, *parts], [*parts, len(session.journal)], strict=True)):
            append(journal, session.journal[first:last])
            # In the middle so that one life at least begins at a checkpoint: one made, and two ways through to the end.
            if number == 4 or (number not in (5, 6) and chance.random() < 0.6):
                bring_up_to_date(run_dir / "journal", None)
            database = LedgerDatabase(run_dir / "ledger.db")
            start = Projection(database, run_dir / "journal", None).start
            assert start is None or start.last_seq < database.place.last_seq, f"seed {seed}"  # type: ignore[union-attr]
            begun.append(start is not None)
            database.close()
            follow(run_dir, run_dir / "ledger.db", blocks=1 << 30 if number in (4, 5) else chance.randrange(1, 400))
        follow(run_dir, run_dir / "ledger.db")
    assert begun[6], f"seed {seed}: {begun}"
    ours, whole = rows(run_dir / "ledger.db"), rows(ledger)
    # Block boundaries differ from the other journal's: the present state of an order is looked at behind each block.
    for table in set(TABLES) - {"place"}:
        assert ours[table] == whole[table], f"seed {seed}: {table}"


def test_a_rebuild_of_what_retention_left_begins_at_the_base(session: Simulation, tmp_path: Path) -> None:
    """Without the oldest segments there are rows from the oldest checkpoint on, with the engine's past in them."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    half = len(session.journal) // 2
    with opened(run_dir, segment_bytes=1 << 16) as journal:
        append(journal, session.journal[:half])
        bring_up_to_date(run_dir / "journal", None)
        append(journal, session.journal[half:])
        bring_up_to_date(run_dir / "journal", None)
    rebuild(run_dir / "journal", run_dir / "all.db", None)
    assert checkpoints.trim(run_dir / "journal", 1, needed_from_seq=1) == [], "somebody still needs them"
    assert checkpoints.trim(run_dir / "journal", 1, needed_from_seq=len(session.journal))
    rebuild(run_dir / "journal", run_dir / "left.db", None)
    left, all_ = rows(run_dir / "left.db"), rows(run_dir / "all.db")
    base = checkpoints.base(run_dir / "journal")
    assert base is not None
    for table in ("decisions", "fills", "states"):
        seq = columns_of(run_dir / "left.db", table).index("seq")
        later = [row for row in all_[table] if row[seq] > base.last_seq]
        assert left[table] == later and len(later) < len(all_[table]), table
    assert left["place"] == all_["place"]


def columns_of(path: Path, table: str) -> list[str]:
    """Names of a table's columns."""
    return [row[0] for row in columns(path, f"SELECT name FROM pragma_table_info('{table}')")]
