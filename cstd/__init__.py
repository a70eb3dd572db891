"""cstd: a low-latency trading daemon for Kraken spot.

Purpose: trade one Kraken account by one deterministic engine, which live, paper, practice and replay all drive.
Takes: websocket and REST bytes of Kraken (or of the practice exchange), TOML configuration, operator commands.
Gives: orders, a journal from which every decision can be recomputed, a status port, a command line.
Owns: nothing itself; each package below names the state it owns and that state's one writer.
Invariants: imports run downwards only, from `__main__` to `_fast`; the contract in pyproject.toml is a test.
Fails by: raising a `cstd.errors.CstdError`, whose class says whose fault it is and fixes the exit code.
Try it: `cstd --help`
"""

__version__ = "0.1.0"
