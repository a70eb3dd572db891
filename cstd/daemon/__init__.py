"""The trading process: one loop, the links, the engine, the journal, the admin socket, and the children it watches.

Purpose: give the engine its events and carry out what it asks for; nothing is decided here.
Takes: sockets, timers, commands, signals.
Gives: events to the engine; frames, requests, log lines, the board.
Owns: the loop, the journal's life, the child processes.
Invariants: no Python in a second thread; every event reaches the journal before the engine acts on it; READY=1 is sent
    once the admin socket is served, also while the venue is down.
Fails by: a clear error and a non-zero exit before start; a halt with its reason afterwards.
Try it: `make run`
"""

from __future__ import annotations

import argparse
import os

# Read by libraries when they are loaded: numpy's OpenBLAS starts a thread for each further CPU, and libuv one of the kernel
# that polls a submission queue. Nothing here computes with the one or reads files through the other.
NATIVE_THREADS = {"OPENBLAS_NUM_THREADS": "1", "UV_USE_IO_URING": "0"}


def run(args: argparse.Namespace) -> int:
    """`cstd run`: start the daemon and return its exit code (see cstd.daemon.process.run_daemon)."""
    for name, value in NATIVE_THREADS.items():
        os.environ.setdefault(name, value)
    from cstd.daemon.process import run_daemon

    return run_daemon(args)
