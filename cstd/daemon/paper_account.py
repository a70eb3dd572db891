"""The simulated account of mode paper on disk: the records of its books, beside the journal.

A line is what one step of the venue changed, whole or not at all: a line that a crash cut off was never told to anybody and
goes. It is on disk before the engine hears of it, so after a crash of the host, too, the venue knows at least what the journal
knows, as a real one does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cstd.errors import OperatorError, VerificationError
from cstd.orders.simulated_history import FORM, Record, SimulatedHistory, StartRecord

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Record])


def read_account(path: Path) -> tuple[SimulatedHistory, int]:
    """Return the books as a file has them, and how many of its bytes are whole lines; empty books where there is no file.

    Raises:
        VerificationError: a line is none that was written here.
        OperatorError: it cannot be read, or is of another version's form.
    """
    history = SimulatedHistory()
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise OperatorError(f"the simulated account {path} cannot be read: {error}") from error
    whole = content.rfind(b"\n") + 1
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            records = _DECODER.decode(line)
            if number == 1 and not (isinstance(records[0], StartRecord) and records[0].form == FORM):
                raise OperatorError(f"{path} is of a form that this cstd does not know")
            history.apply(records)
        except (ValueError, LookupError) as error:  # no text, no records, or what cannot follow those before
            raise VerificationError(f"{path}, line {number}: {type(error).__name__}: {error}",
                                    suggestion="bring it back from a backup, or begin anew with another --run-dir") from error
    return history, whole


class PaperAccount:
    """The file; `open` makes it where there is none, and makes it ready to be written.

    Args:
        path: the file.

    Attributes:
        history: the books as it has them.
    """

    def __init__(self, path: Path) -> None:
        self.history, self._whole_bytes = read_account(path)
        self._path = path
        self._file = -1

    def open(self) -> None:
        """Open the file and cut off what is no whole line. Raises OperatorError."""
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, self._whole_bytes)
        except OSError as error:
            raise OperatorError(f"the simulated account {self._path} cannot be written: {error}") from error

    def keep(self, records: Sequence[Record], *, on_disk: bool = True) -> None:
        """Write records, together, and wait until they are on disk; without that a crash of the host may lose them.

        Raises OSError.
        """
        line = _ENCODER.encode(records) + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"{written} of {len(line)} bytes were written")
        if on_disk:
            os.fdatasync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
