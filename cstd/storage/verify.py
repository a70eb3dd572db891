"""`cstd journal verify DIR`: prove a journal and print what was proven, or the place where it breaks."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from cstd.errors import EXIT_OK, VerificationError
from cstd.printed import print_row
from cstd.storage import journal_reader
from cstd.storage.journal_files import advise_of_backup
from cstd.storage.run_dir import MANIFEST_FILE


def main(args: argparse.Namespace) -> int:
    """Verify `args.dir` and print the result, as JSON when `args.output` is "json", else as a table.

    Returns 0, or 3 when the journal is not what was written, or a signature is not one of its signer (`args.key`, or the
    public key beside the journal); the place is in the output then. What nobody has signed yet is reported, not an error.
    Raises UsageError when there is no journal in the directory, or no public key where one is named.
    """
    try:
        found: dict[str, object] = {"ok": True, **asdict(journal_reader.verify(args.dir, getattr(args, "key", None)))}
        code = EXIT_OK
    except VerificationError as error:
        if (Path(args.dir).absolute().parent / MANIFEST_FILE).exists():
            advise_of_backup(error)
        found = {"ok": False, "directory": str(args.dir), **error.to_json()}
        code = error.exit_code
    if args.output == "json":
        print_row(found, "json")
    else:
        place = found.pop("place", {})
        print_row({**found, **(place if isinstance(place, dict) else {})}, "table")
    if code != EXIT_OK:
        sys.stderr.write(f"cstd: {found['message']}\n")
    return code
