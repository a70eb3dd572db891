"""The peers beside cstd: the same recorded frames through each, turn by turn, in one run.

    python bench/peers/run.py [--only NAME]... [--corpus NAME]... [--rounds N] [--passes N] [-o table|json] [--result FILE]

Each peer has an environment of its own under build/peers, made here from its lock, and a process of its own a turn; in each
round every peer has one turn, after cstd's and, where g++ is installed, the C++ floor's. The turn with the best median
counts, the medians of all turns are beside it. In its first turn a peer proves what it does: its top ten is compared with
a plain Decimal book after every message, and a changed checksum must be refused by who says that it verifies. A peer whose
book differs is marked wrong and gets no ratio. One that cannot be installed or driven is told with the reason. Frames:
recordings below CSTD_DATA. Exits 1 when no peer could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
for folder in (HERE, HERE.parent, ROOT):
    sys.path.insert(0, str(folder))

import driver  # noqa: E402 - the folders above are no packages
import environments  # noqa: E402
import result  # noqa: E402
import truth  # noqa: E402

from cstd.research.replay import wire_frames  # noqa: E402
from cstd.storage.recordings import open_recording  # noqa: E402

CORPORA = {
    "btc-d25": "recordings/kraken-v2-btcusd-d25-20260802.jsonl.zst",
    "spot-d1000": "recordings/kraken-v1-spot-20210405.jsonl.zst",  # v1, rewritten to the shape of v2
}
WITH_ORDERS = ("btc-d25",)  # on the other the gates refuse most: it has no history of volume
FLOOR_DEPTH = {"btc-d25": 25}
FLOOR_WARM_PASSES = 3
TURN_S_MAX = 600
RATIO_MIN = 50
QUANTILES = ("p50_ns", "p99_ns", "p999_ns")
Row = dict[str, Any]


def main() -> int:
    args = arguments()
    data = os.environ.get("CSTD_DATA")
    if not data:
        sys.exit("bench/peers/run.py: CSTD_DATA is not set: there are no frames to measure on")
    names = args.only or list(environments.PEERS)
    pythons: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            pythons[name] = environments.ready(environments.PEERS[name])
        except environments.UnavailableError as error:
            missing[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
    figures: Row = {"rounds": args.rounds, "corpora": {}}
    for corpus in args.corpus or CORPORA:
        figures["corpora"][corpus] = measure(corpus, Path(data) / CORPORA[corpus], pythons, missing, args)
    figures["promise"] = promise(figures["corpora"])
    if args.o == "json":
        print(json.dumps(figures))
    else:
        show(figures)
    result.keep(args, "peers", figures, versions=peer_versions(figures))
    measured = [row for rows in figures["corpora"].values() for name, row in rows["rows"].items()
                if name in names and row["verdict"] == "ok"]
    return 0 if measured else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cstd beside its peers on the same recorded frames")
    parser.add_argument("--only", action="append", choices=environments.PEERS, metavar="NAME", help="this peer (repeats): "
                        + ", ".join(environments.PEERS))
    parser.add_argument("--corpus", action="append", choices=CORPORA, metavar="NAME", help="these frames: " + ", ".join(CORPORA))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--passes", type=int, help="over the recording in each turn (default: 10, and 1 where it is long)")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.rounds < 1 or (args.passes is not None and args.passes < 1):
        parser.error("--rounds and --passes are at least 1")
    return args


def measure(corpus: str, recording: Path, pythons: dict[str, Path], missing: dict[str, str], args: argparse.Namespace) -> Row:
    """Rounds over one corpus; a row for each that took part."""
    # Trades of v1 have no id, which v2 clients rely on; peers are compared on books.
    frames = [truth.with_checksum(text) for _, text in wire_frames(open_recording(recording))
              if not text.startswith(b'{"channel":"trade"')]
    path = environments.BUILT / "frames" / f"{corpus}.bin"
    truth.write_frames(path, frames)
    updates = sum(b'"channel":"book","type":"update"' in text[:60] for text in frames)
    books = sum(text.startswith(b'{"channel":"book"') for text in frames)
    passes = args.passes or max(1, 20_000 // updates)
    turns = turns_of(corpus, recording, path, pythons, passes)
    taken: dict[str, list[Row]] = {name: [] for name in turns}
    failed: dict[str, str] = dict(missing)
    for number in range(args.rounds):
        for name, command in turns.items():
            if name not in failed:
                print(f"{corpus} round {number + 1}: {name}", file=sys.stderr)
                proves = not name.startswith("floor")
                try:
                    row = turn([*command, *(["--prove"] if number == 0 and proves else [])])
                    taken[name].append(row if proves else row | {"books": books * (passes + FLOOR_WARM_PASSES)})
                except environments.UnavailableError as error:
                    failed[name] = str(error)
    rows = {name: row_of(found) for name, found in taken.items() if found and name not in failed}
    rows |= {name: {"verdict": "unavailable", "reason": why} for name, why in failed.items()}
    own_ns = rows["cstd"].get("p50_ns")
    for row in rows.values():
        if row["verdict"] == "ok" and own_ns:
            row["ratio"] = round(row["p50_ns"] / own_ns, 2)
    return {"recording": recording.name, "updates": updates, "passes": passes, "rows": rows}


def turns_of(corpus: str, recording: Path, frames: Path, pythons: dict[str, Path], passes: int) -> dict[str, list[str]]:
    """The command of each turn, in their order."""
    turns: dict[str, list[str]] = {}
    paths = ("decision", "order") if corpus in WITH_ORDERS else ("decision",)
    floor = floor_program() if corpus in FLOOR_DEPTH else None
    for path in paths:
        suffix = "-order" if path == "order" else ""
        if floor:
            turns["floor" + suffix] = [str(floor), str(frames), path, str(passes)]
        turns["cstd" + suffix] = [sys.executable, str(HERE / "cstd_path.py"), str(frames), "--recording", str(recording),
                                  "--path", path, "--passes", str(passes)]
    for name, python in pythons.items():
        turns[name] = [str(python), str(HERE / environments.PEERS[name].script), str(frames), "--passes", str(passes)]
    return turns


def floor_program() -> Path | None:
    """The C++ floor, compiled for this processor; None without g++."""
    if shutil.which("g++") is None:
        return None
    program = environments.BUILT / "floor"
    subprocess.run(["g++", "-std=c++17", "-O3", "-march=native", "-o", program, HERE.parent / "floor" / "floor.cpp"], check=True)
    return program


def turn(command: list[str]) -> Row:
    """One process; the JSON object on the last line of its output."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} if command[0] == sys.executable else os.environ
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TURN_S_MAX, env=env)
        row: Row = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise environments.UnavailableError(f"a turn took more than {TURN_S_MAX} s") from None
    except subprocess.CalledProcessError as error:
        raise environments.UnavailableError(f"could not be driven: {environments.reason(error.stderr)}") from None
    except (ValueError, IndexError):
        raise environments.UnavailableError("could not be driven: its turn printed no result") from None
    return row


def row_of(turns: list[Row]) -> Row:
    """The turn with the best median, the medians of all, what was proven, and the verdict."""
    best = min(turns, key=lambda turn: int(turn["p50_ns"]))
    row = {name: best[name] for name in ("n", *QUANTILES)} | {"turns_p50_ns": [turn["p50_ns"] for turn in turns]}
    if "proof" not in turns[0]:  # the floor counts what it verified; the counts are the proof
        does = driver.does("floor", parse="C++", book="C++", checksum=True, truncation=True, features=True,
                           order=best["orders"] > 0)
        return row | {"does": does, "versions": {}} | verdict_of(
            [] if best["verified"] == best["books"] else [f"verified {best['verified']} of {best['books']} book messages"])
    proof, does = turns[0]["proof"], turns[0]["does"]
    row |= {"does": does, "versions": turns[0]["versions"], "proof": proof, "timer_ns": best["timer_ns"]}
    wrong = [text for bad, text in (
        (proof["top_ten_equal"] != proof["book_messages"],
         f"top ten differs after {proof['book_messages'] - proof['top_ten_equal']} of {proof['book_messages']} messages"),
        (not all(turn["end_equal"] for turn in turns), "top ten differs at the end of a timed turn"),
        (does["checksum"] and not proof["changed_checksum_refused"], "a changed checksum was not refused"),
        (not does["checksum"] and proof["changed_checksum_refused"], "says that it verifies no checksum, and refused one"),
    ) if bad]
    return row | verdict_of(wrong and [*wrong, *filter(None, [does.get("note")])])


def verdict_of(wrong: list[str]) -> Row:
    """A row is ok, or wrong for these reasons."""
    return {"verdict": "wrong", "reason": "; ".join(wrong)} if wrong else {"verdict": "ok"}


def promise(corpora: dict[str, Row]) -> dict[str, Row]:
    """By corpus: the ratio to the fastest that verifies, among clients as they ship and among all."""
    out: dict[str, Row] = {}
    for corpus, measured in corpora.items():
        for which, kinds in (("client", ("client",)), ("client or parts", ("client", "parts"))):
            rows = [(row["ratio"], name) for name, row in measured["rows"].items()
                    if "ratio" in row and row["does"]["kind"] in kinds and row["does"]["checksum"]]
            if rows:
                ratio, name = min(rows)
                out[f"{corpus}, fastest verifying {which}"] = {"peer": name, "ratio": ratio, "ratio_min": RATIO_MIN,
                                                               "holds": ratio >= RATIO_MIN}
    return out


def peer_versions(figures: Row) -> dict[str, str]:
    """Versions of all packages that took part, by peer."""
    return {f"{name}: {package}": version for measured in figures["corpora"].values() for name, row in measured["rows"].items()
            for package, version in row.get("versions", {}).items()}


def show(figures: Row) -> None:
    """Print a table a corpus."""
    for corpus, measured in figures["corpora"].items():
        print(f"{corpus}: {measured['recording']}, {measured['updates']:,} book updates; ns, best of {figures['rounds']} turns")
        print(f"  {'':14} {'p50':>10} {'p99':>10} {'p99.9':>10} {'x cstd':>7}  {'kind':7} {'crc':4} {'depth':6} {'features':9} "
              f"{'order':6} parse")
        for name, row in measured["rows"].items():
            print(f"  {name:14} {line_of(row)}")
    for what, row in figures["promise"].items():
        print(f"{what}: {row['peer']} takes {row['ratio']:.1f} times as long; at least {row['ratio_min']} "
              f"{'holds' if row['holds'] else 'DOES NOT HOLD'}")


def line_of(row: Row) -> str:
    if "p50_ns" not in row:
        return f"{row['verdict']}: {row['reason']}"
    marks = {True: "yes", False: "no"}
    does = row["does"]
    numbers = " ".join(f"{row[name]:>10,}" for name in QUANTILES)
    ratio = f"{row['ratio']:>7.1f}" if "ratio" in row else f"{row['verdict']:>7}"
    columns = f"{marks[does['checksum']]:4} {marks[does['truncation']]:6} {marks[does['features']]:9} {marks[does['order']]:6}"
    return f"{numbers} {ratio}  {does['kind']:7} {columns} {does['parse']}" + (f"  ({row['reason']})" if "reason" in row else "")


if __name__ == "__main__":
    sys.exit(main())
