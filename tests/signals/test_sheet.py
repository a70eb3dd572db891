"""Sheets: what was written is read whole, from a process that may die at any moment; a torn read is seen, never used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from cstd.errors import OperatorError
from cstd.signals.scorer.rows import SCORE_ROW, feature_row
from cstd.signals.scorer.sheet import BEGUN, READ_TRIES, SheetReader, SheetWriter

ROW = np.dtype([("a", "<i8"), ("b", "<f8", (3,))])


def write(sheet: SheetWriter, value: int, used: int = 4) -> None:
    """One write of the same value everywhere."""
    with sheet.writing(used, {"value": value}) as rows:
        rows["a"], rows["b"] = value, value


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Rows in use, note and names; before the first write there is nothing, and a copy stays as it was."""
    writer = SheetWriter(tmp_path / "s", ROW, 8, ("x", "y", "z"))
    reader = SheetReader(tmp_path / "s", ROW)
    assert reader.names == ("x", "y", "z") and reader.read()[0] == 0 and not len(reader.read()[1])
    write(writer, 5)
    version, rows, note = reader.read()
    write(writer, 6, used=2)
    assert (version, len(rows), note) == (1, 4, {"value": 5}) and set(rows["a"]) == {5}
    version, rows, note = reader.read()
    assert (version, len(rows), note) == (2, 2, {"value": 6})
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_takes_nothing_from_view(tmp_path: Path) -> None:
    """The last whole one is still read; the next one is whole again."""
    writer = SheetWriter(tmp_path / "s", ROW, 8)
    reader = SheetReader(tmp_path / "s")
    write(writer, 5)
    with pytest.raises(KeyboardInterrupt), writer.writing(4) as rows:
        rows["a"] = 9
        raise KeyboardInterrupt
    assert set(reader.read()[1]["a"]) == {5}
    write(writer, 6)
    assert reader.read()[0] == 2 and set(reader.read()[1]["a"]) == {6} and not reader.torn_reads


def test_a_read_that_was_overtaken_is_repeated(tmp_path: Path) -> None:
    """Counters past the copy that was read: it is read anew, and after too many tries given up."""
    writer = SheetWriter(tmp_path / "s", ROW, 8)
    reader = SheetReader(tmp_path / "s")
    write(writer, 5)
    writer._words[BEGUN] = 3  # as if two more had begun
    with pytest.raises(OperatorError, match="changed during each"):
        reader.read()
    assert reader.torn_reads == READ_TRIES


def test_rows_are_never_mixed(tmp_path: Path) -> None:
    """A reader beside a writer that never rests: every row of a read is of one write, and so is the note."""
    writer, stop = SheetWriter(tmp_path / "s", ROW, 500), threading.Event()
    write(writer, 0, 500)

    def go_on() -> None:
        value = 0
        while not stop.is_set():
            value += 1
            write(writer, value, 500)

    thread = threading.Thread(target=go_on)
    thread.start()
    reader = SheetReader(tmp_path / "s")
    try:
        for _ in range(300):
            _, rows, note = reader.read()
            assert set(rows["a"]) == {note["value"]} and set(rows["b"].ravel()) == {float(note["value"])}
    finally:
        stop.set()
        thread.join()


KILLED = """
import sys, numpy as np
from pathlib import Path
from cstd.signals.scorer.sheet import SheetWriter
sheet = SheetWriter(Path(sys.argv[1]), np.dtype([("a", "<i8"), ("b", "<f8", (3,))]), 500)
value = 0
while True:
    value += 1
    with sheet.writing(500, {"value": value}) as rows:
        rows["a"], rows["b"] = value, value
    print(value, flush=True)
"""


def test_a_writer_that_is_killed_leaves_its_last_write(tmp_path: Path) -> None:
    """By kill -9 at any moment."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "s")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, rows, note = SheetReader(tmp_path / "s").read()
    assert note["value"] >= 20 and set(rows["a"]) == {note["value"]}
    process.stdout.close()


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    """Another row, no sheet at all, a cut one, none; a new file in its place is noticed."""
    SheetWriter(tmp_path / "s", feature_row(78), 8).close()
    with pytest.raises(OperatorError, match="another shape"):
        SheetReader(tmp_path / "s", SCORE_ROW)
    reader = SheetReader(tmp_path / "s", feature_row(78))
    assert not reader.replaced()
    SheetWriter(tmp_path / "s", feature_row(78), 8).close()
    assert reader.replaced()
    os.truncate(tmp_path / "s", 5000)
    with pytest.raises(OperatorError):
        SheetReader(tmp_path / "s")
    (tmp_path / "t").write_bytes(b"x" * 9000)
    for name in ("t", "u"):
        with pytest.raises(OperatorError):
            SheetReader(tmp_path / name)
