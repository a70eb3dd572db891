"""Read bar files: `time,open,high,low,close,volume[,trades]`, unix seconds of the bar's start, plain or gzip.

A header is optional; with one, columns are found by name. The first bar that cannot exist ends the reading with its
line and the reason: an indicator over a repaired file would describe a market that never was.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cstd.errors import OperatorError

COLUMNS = ("time", "open", "high", "low", "close", "volume")
GZIP_MAGIC = b"\x1f\x8b"
# Larger than any price or volume; beyond it an indicator's squares would leave the range of a double.
NUMBER_MAX = 1e24
TIME_MAX_S = 2**33

_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?|\.[0-9]+([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[0-9]{1,18}(\.0*)?")


def _doubles() -> array[float]:
    return array("d")


@dataclass
class Bars:
    """Bars of one file, oldest first; times in unix seconds, prices in quote per base, volume in base."""

    time_s: list[int] = field(default_factory=list)
    open: array[float] = field(default_factory=_doubles)
    high: array[float] = field(default_factory=_doubles)
    low: array[float] = field(default_factory=_doubles)
    close: array[float] = field(default_factory=_doubles)
    volume: array[float] = field(default_factory=_doubles)

    def __len__(self) -> int:
        return len(self.time_s)

    def interval_s(self) -> int:
        """Return the bar length: the smallest step between two bars (a gap is a larger one); 60 for a single bar."""
        steps = [later - earlier for earlier, later in zip(self.time_s, self.time_s[1:], strict=False)]
        return min(steps, default=60)


def read(path: Path | str) -> Bars:
    """Return the bars of a file.

    Raises:
        OperatorError: the file cannot be read, holds no bars, or a line is not a bar (file, line and reason are named).
    """
    bars = Bars()
    places = dict(zip(COLUMNS, range(len(COLUMNS)), strict=True))
    for line, cells in _lines(Path(path)):
        if line == 1 and cells and not _NUMBER.fullmatch(cells[0].strip()):
            places = _header(path, cells)
            continue
        try:
            _append(bars, cells, places)
        except ValueError as error:
            raise OperatorError(f"{path}, line {line}: {error}") from None
    if not bars:
        raise OperatorError(f"{path} holds no bars")
    return bars


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw).decode("ascii")
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise OperatorError(f"{path} is a damaged gzip file: {error}") from None
    except UnicodeDecodeError as error:
        raise OperatorError(f"{path} is not text: byte {error.start} is not ASCII") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise OperatorError(f"{path}, line {reader.line_num}: {error}") from None
        yield reader.line_num, cells


def _header(path: Path | str, cells: list[str]) -> dict[str, int]:
    names = [cell.strip().lower() for cell in cells]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise OperatorError(f"{path}, line 1: neither a bar nor a header with {', '.join(missing)}",
                            suggestion="columns are time,open,high,low,close,volume,trades")
    return {name: names.index(name) for name in COLUMNS}


def _append(bars: Bars, cells: list[str], places: dict[str, int]) -> None:
    """Add one row to the bars; raise ValueError with the reason when it is not a bar after the last one."""
    if len(cells) <= max(places.values()):
        raise ValueError(f"{len(cells)} columns, need {max(places.values()) + 1}")
    time_s = _time(cells[places["time"]].strip())
    open_, high, low, close, volume = (_number(name, cells[places[name]].strip()) for name in COLUMNS[1:])
    if bars.time_s and time_s <= bars.time_s[-1]:
        raise ValueError(f"time {time_s} is not after the bar before it ({bars.time_s[-1]})")
    if not low > 0:
        raise ValueError(f"low {low} is not above zero")
    if not low <= min(open_, close) <= max(open_, close) <= high:
        raise ValueError(f"not low <= open, close <= high: open {open_}, high {high}, low {low}, close {close}")
    bars.time_s.append(time_s)
    for column, value in ((bars.open, open_), (bars.high, high), (bars.low, low), (bars.close, close),
                          (bars.volume, volume)):
        column.append(value)


def _time(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"time {text!r} is not a whole number of unix seconds")
    time_s = int(text.partition(".")[0])
    if time_s >= TIME_MAX_S:
        raise ValueError(f"time {text} is not in seconds (the year would be beyond 2200)")
    return time_s


def _number(name: str, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{name} {text!r} is not a number of at least zero")
    value = float(text)
    if not value <= NUMBER_MAX:
        raise ValueError(f"{name} {text} is beyond {NUMBER_MAX:g}")
    return value
