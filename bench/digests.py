"""One session under faults, replayed many times in several builds and on several processors: one digest, or where they part.

    python bench/digests.py [--for SECONDS] [--replays N] [--seed N] [--journal DIR] [--keep DIR] [-o table|json] [--result FILE]

A practice exchange and a daemon run for --for seconds (default 600). The venue misbehaves all the time, by a seed, and every
minute (or ten times a run) the daemon is killed and started again. The journal that is left is then replayed N times (default
100), each by a process of its own, and every output of it is compared with what is recorded:

    release     the build that traded, on this processor as it is
    masked      FMA, AVX and all after them hidden from the C library and from NumPy, which choose their code by them
    checked     built with CSTD_DEBUG=1: asserts, bounds, address and undefined-behaviour sanitizers (built once, minutes)
    emulated    qemu-x86_64 with a processor that has no FMA, AVX2 or SHA instructions at all, where qemu is installed

The digest is of every decision row and order frame. Exit 3 when there are two, when it is not the daemon's own, or when an output
differs; --journal DIR replays one that is there, --keep DIR leaves the run directory. Exit 1 when a variant could not run at all;
without qemu `emulated` is left out, and said.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import result

REPOSITORY = Path(__file__).resolve().parents[1]
CHECKED = REPOSITORY / "build" / "checked"
COPIED = ("cstd", "pyproject.toml", "setup.py", "README.md", "LICENSE")
SHARES = {"masked": 4, "checked": 5, "emulated": 20}  # one of so many replays; the release has the rest
LOADER = Path("/lib64/ld-linux-x86-64.so.2")  # of glibc: it tells what it takes the processor to have
MASKED = ("AVX", "AVX2", "AVX512F", "FMA", "FMA4", "BMI1", "BMI2")
# AVX, and nothing after it. Older models end in OpenBLAS' own start, before any of ours.
PROCESSOR = "SandyBridge"
KILLS = 10
KILL_EVERY_S = 60.0
READY_S = 120.0
REPLAY_S = 1_800.0


@dataclass(frozen=True)
class Variant:
    """A way to run the replay: words before the interpreter's, and what the environment gets."""

    name: str
    words: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


def main() -> int:
    parser = argparse.ArgumentParser(description="one digest over many replays of a session under faults")
    parser.add_argument("--for", dest="for_s", type=float, default=600.0, metavar="S", help="seconds of trading (default 600)")
    parser.add_argument("--replays", type=int, default=100, metavar="N", help="over all variants (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the exchange, its faults and the kills (default 1)")
    parser.add_argument("--variants", default="release,masked,checked,emulated", metavar="LIST", help="default: all four")
    parser.add_argument("--journal", type=Path, metavar="DIR", help="replay this one instead; no session is run")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="run the session there, and leave it")
    parser.add_argument("--replay", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", choices=("table", "json"), default="table")
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.replay is not None:
        print(json.dumps(replayed(args.replay)))
        return 0
    names = args.variants.split(",")
    if unknown := set(names) - {"release", *SHARES}:
        parser.error(f"--variants: {', '.join(sorted(unknown))} is none")
    if args.for_s < 10 or args.replays < len(names):
        parser.error("at least 10 s, and a replay of each variant")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        session = recorded(args.keep or Path(folder), args.for_s, args.seed) if args.journal is None else None
        journal = args.journal or (args.keep or Path(folder)) / "journal"
        figures = compared(journal, args.replays, names, session)
    print(json.dumps(figures)) if args.o == "json" else show(figures)
    result.keep(args, "digests", figures)
    if figures["parted"] or not figures["agree"]:
        return 3
    return 1 if figures["failed"] else 0


# The session.


def recorded(run_dir: Path, for_s: float, seed: int) -> dict[str, Any]:
    """Trade under faults for a while; the journal stays in run_dir. Returns what was done, and the daemon's own digest."""
    from cstd.chaos.session import Session

    run_dir.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    kill_every_s = min(KILL_EVERY_S, for_s / KILLS)
    session, kills = Session(run_dir), 0
    try:
        session.start_exchange(seed)
        session.start_ready(READY_S)
        session.tell_exchange("faults", seed=seed)
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            time.sleep(min(kill_every_s * chance.uniform(0.5, 1.5), max(0.0, until_s - time.monotonic())))
            if time.monotonic() < until_s:
                session.kill_nine()
                session.start()
                session.wait(lambda: session.state() != "", READY_S, "the daemon does not answer")
                kills += 1
        hits = session.tell_exchange("heal")["hits"]
        session.wait_state("ready", READY_S)
        session.terminate(READY_S)
        summary = json.loads((run_dir / "summary.json").read_bytes())
    finally:
        session.close()
        session.keep_ring()
        session.remove_ring()
    return {"for_s": for_s, "seed": seed, "kills": kills, "faults": hits,
            **{name: summary[name] for name in ("frames", "intents", "orders", "fills", "digest")}}


# The replays.


def replayed(journal: Path) -> dict[str, Any]:
    """One replay in this process, every output compared."""
    from cstd._fast.layout import checked_build
    from cstd.engine.recovery import begin
    from cstd.errors import VerificationError
    from cstd.signals.agents.loader import load
    from cstd.storage.journal_reader import Walk

    began_s = time.monotonic()
    found = begin(journal, load(), whole=True)
    try:
        for batch in Walk(journal, start=found.start).batches():
            found.replay.take(batch)
    except VerificationError as error:
        found.replay.differences.append(str(error))
    replay, recorder = found.replay, found.engine.recorder
    return {"digest": recorder.hexdigest(), "records": recorder.seq, "differences": replay.difference_count,
            "first": replay.differences[0] if replay.differences else None, "checked": bool(checked_build),
            "took_s": round(time.monotonic() - began_s, 3)}


def variants(names: list[str]) -> Iterator[Variant | str]:
    """Yield each variant that was asked for and can run here, or why it cannot."""
    if "release" in names:
        yield Variant("release")
    if "masked" in names:
        yield Variant("masked", env=masks()) if platform.machine() == "x86_64" else "masked: these masks are of x86-64"
    if "checked" in names:
        yield Variant("checked", env=checked_copy())
    if "emulated" in names:
        qemu = os.environ.get("QEMU_X86_64") or shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
        yield (Variant("emulated", (qemu, "-cpu", PROCESSOR)) if qemu is not None
               else "emulated: qemu-x86_64 is not here (apt-get install qemu-user; QEMU_X86_64 may name it)")


def masks() -> dict[str, str]:
    """Return the environment that hides FMA and what came with it.

    That the C library follows is seen, by what its loader says that it supports.
    """
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    env = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in MASKED),
           "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))}
    if LOADER.exists():
        told = subprocess.run([LOADER, "--help"], env=os.environ | env, capture_output=True, text=True, check=False).stdout
        if "x86-64-v3 (supported" in told:
            sys.exit("bench/digests.py: this C library does not let FMA be hidden from it")
    return env


def checked_copy() -> dict[str, str]:
    """Build the checked core in a copy of the tree, or bring it up to date; return the environment that a replay of it needs."""
    CHECKED.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, CHECKED / name, dirs_exist_ok=True, copy_function=_copied,
                            ignore=shutil.ignore_patterns("*.cpython-*.so", "__pycache__"))
        else:
            _copied(str(source), str(CHECKED / name))
    print(f"building the checked core in {CHECKED}", file=sys.stderr)
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=CHECKED, check=True, stdout=sys.stderr,
                   env=os.environ | {"CSTD_DEBUG": "1", "PYTHONPATH": str(CHECKED)})
    sanitizers = [subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
                  for name in ("libasan.so", "libubsan.so")]
    return {"PYTHONPATH": str(CHECKED), "LD_PRELOAD": " ".join(sanitizers), "ASAN_OPTIONS": "detect_leaks=0"}


def _copied(source: str, target: str) -> str:
    """Copy a file unless it is there as it is: a newer time would build it again."""
    there, here = Path(target), Path(source)
    if not there.exists() or there.read_bytes() != here.read_bytes():
        shutil.copyfile(here, there)
    return target


def replay(journal: Path, variant: Variant) -> dict[str, Any]:
    """One replay in a process of its own; what cannot be read of it is told in `failed`."""
    try:
        done = subprocess.run([*variant.words, sys.executable, __file__, "--replay", str(journal)], check=False,
                              capture_output=True, text=True, env=os.environ | variant.env, cwd=REPOSITORY, timeout=REPLAY_S)
        if done.returncode:
            return {"failed": f"exit code {done.returncode}: {done.stderr.strip()[-800:]}"}
        row: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        return {"failed": str(error)}
    if row["checked"] != (variant.name == "checked"):
        return {"failed": "another build than was asked for was replayed"}
    return row


def compared(journal: Path, replays: int, names: list[str], session: dict[str, Any] | None) -> dict[str, Any]:
    """Replay so often, and say whether all agree, and with the daemon that traded."""
    usable = list(variants(names))
    left_out = [each for each in usable if isinstance(each, str)]
    chosen = [each for each in usable if isinstance(each, Variant)]
    counts = {each.name: max(1, replays // SHARES.get(each.name, replays)) for each in chosen}
    if chosen:
        counts[chosen[0].name] += max(0, replays - sum(counts.values()))  # release, where that was asked for
    digests: Counter[str] = Counter()
    rows, parted, failed = {}, [], []
    for each in chosen:
        found = [replay(journal, each) for _ in range(counts[each.name])]
        failed += [f"{each.name}: {row['failed']}" for row in found if "failed" in row]
        good = [row for row in found if "failed" not in row]
        digests.update(row["digest"] for row in good)
        parted += [{"variant": each.name, "digest": row["digest"], "differences": row["differences"], "first": row["first"]}
                   for row in good if row["differences"] or row["first"]]
        rows[each.name] = {"n": len(found), "records": max((row["records"] for row in good), default=0),
                           "took_s": max((row["took_s"] for row in good), default=0.0),
                           "digests": sorted({row["digest"] for row in good})}
    own = {session["digest"]} if session is not None else set()
    agree = len(digests.keys() | own) <= 1
    return {"session": session, "replays": sum(row["n"] for row in rows.values()), "variants": rows, "left_out": left_out,
            "digests": dict(digests), "agree": agree, "one": agree and not parted and bool(digests), "parted": parted,
            "failed": failed}


def show(figures: dict[str, Any]) -> None:
    """Print what was found."""
    session = figures["session"]
    if session is not None:
        print(f"session of {session['for_s']:g} s, seed {session['seed']}: {session['kills']} kills, "
              f"{sum(session['faults'].values())} faults of the venue; {session['frames']:,} frames, "
              f"{session['intents']:,} intents, {session['orders']} orders, {session['fills']} fills")
        print(f"{'traded':9} digest {session['digest']}")
    for name, row in figures["variants"].items():
        for digest in row["digests"]:
            print(f"{name:9} digest {digest}   {row['n']:3} replays of {row['records']:,} records, {row['took_s']:.1f} s at most")
    for each in figures["parted"]:
        print(f"{each['variant']}: {each['differences']} differences; the first: {each['first']}")
    for text in (*figures["failed"], *(f"left out: {text}" for text in figures["left_out"])):
        print(text)
    print(f"{figures['replays']} replays: " + ("one digest" if figures["one"] else f"NOT ONE: {len(figures['digests'])} digests"))


if __name__ == "__main__":
    sys.exit(main())
