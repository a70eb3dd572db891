"""Draws what the result files hold: ns per frame by peer, for the README.

    python bench/picture.py bench/results -o docs/speed.svg

Made from <folder>/peers.json alone, which `bench/peers/run.py --result` writes: no figure is in this file. Bars are the best
median of a frame on a logarithmic scale, with p99 as a tick; who compares the checksum on every message is filled and has
a check mark. Rows that are wrong or unavailable are named below without a bar. The SVG takes its colours from the
reader's light or dark scheme.
"""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import result

CORPUS = "btc-d25"
WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 860, 205, 150, 78, 30, 18
MARGIN, CAPTION_CHARS = 12, 125
LABELS = {"floor": "C++ floor", "floor-order": "C++ floor, to order bytes", "cstd": "cstd", "cstd-order": "cstd, to order bytes",
          "kraken_sdk": "python-kraken-sdk", "ccxt": "ccxt.pro", "nautilus": "nautilus_trader",
          "order_book": "order-book + msgspec"}
KINDS = {"floor": "same work in C++", "cstd": "", "client": "as shipped", "parts": "parts put together here"}
STYLE = """
svg{font:13px system-ui,sans-serif}text{fill:#1f2328}.dim{fill:#59636e}.grid{stroke:#d1d9e0}.p99{stroke:#59636e}
.cstd{fill:#0969da;stroke:#0969da}.floor{fill:#818b98;stroke:#818b98}.peer{fill:#bc4c00;stroke:#bc4c00}.unverified{fill-opacity:.18}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.dim{fill:#9198a1}.grid{stroke:#3d444d}.p99{stroke:#9198a1}
.cstd{fill:#4493f8;stroke:#4493f8}.floor{fill:#656c76;stroke:#656c76}.peer{fill:#db6d28;stroke:#db6d28}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="draw ns per frame by peer from the result files")
    parser.add_argument("folder", type=Path, help="folder of result files, bench/results")
    parser.add_argument("-o", type=Path, required=True, metavar="FILE", help="the SVG to write")
    args = parser.parse_args()
    try:
        text = draw(result.read(args.folder / "peers.json"))
        args.o.parent.mkdir(parents=True, exist_ok=True)
        args.o.write_text(text, "utf-8")
    except result.ResultError as error:
        sys.exit(f"bench/picture.py: {error}")
    except OSError as error:
        sys.exit(f"bench/picture.py: {args.o}: {error.strerror}")
    return 0


def draw(found: dict[str, Any], corpus: str = CORPUS) -> str:
    """Return the SVG of a peers result; ResultError where it has not what a bar needs."""
    rows, missing = rows_of(found, corpus)
    scale = Scale(min(row["p50_ns"] for _, row in rows), max(row["p99_ns"] for _, row in rows))
    bottom = TOP + ROW * len(rows)
    parts = [*axis(scale, bottom)]
    for number, (name, row) in enumerate(rows):
        parts += bar(name, row, scale, TOP + ROW * number)
    notes = captions(found, corpus, rows, missing)
    parts += [text(MARGIN, bottom + 44 + 18 * n, line, "dim") for n, line in enumerate(notes)]
    height = bottom + 44 + 18 * len(notes)
    title = "Time per recorded Kraken book message, median, logarithmic; shorter is better"
    how = "Filled, ✓: compares the checksum of every message. Tick: p99. Right: times as long as cstd."
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
            f'{text(MARGIN, 24, title, bold=True)}\n'
            f'{text(MARGIN, 44, how, "dim")}\n'
            + "\n".join(parts) + "\n</svg>\n")


def rows_of(found: dict[str, Any], corpus: str) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Rows with a bar, fastest first, and a sentence for each without one."""
    if found["suite"] != "peers":
        raise result.ResultError(f"a result of the suite {found['suite']!r}, not peers")
    corpora = found["figures"].get("corpora")
    if not isinstance(corpora, dict) or corpus not in corpora:
        raise result.ResultError(f"peers: no figures of {corpus}")
    rows, missing = [], []
    for name, row in corpora[corpus].get("rows", {}).items():
        if row.get("verdict") != "ok":
            missing.append(f"{LABELS.get(name, name)}: {row.get('verdict')}, {row.get('reason', 'no reason told')}")
            continue
        if not all(isinstance(row.get(key), (int, float)) and row[key] > 0 for key in ("p50_ns", "p99_ns")):
            raise result.ResultError(f"peers: {corpus}: {name} has no p50_ns and p99_ns above 0")
        if not isinstance(row.get("does"), dict) or row["does"].get("kind") not in KINDS:
            raise result.ResultError(f"peers: {corpus}: {name} does not say what it does")
        rows.append((name, row))
    if not rows:
        raise result.ResultError(f"peers: {corpus}: no row that could be drawn")
    return sorted(rows, key=lambda row: row[1]["p50_ns"]), missing


class Scale:
    """Logarithmic, from the power of ten below the least value to a bit above the most."""

    def __init__(self, least: float, most: float) -> None:
        self.first = 10 ** math.floor(math.log10(least))
        self._from, self._to = math.log10(self.first), math.log10(most * 1.1)

    def x(self, ns: float) -> float:
        """Position of a value in the picture."""
        share = (math.log10(ns) - self._from) / (self._to - self._from)
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)

    def ticks(self) -> list[int]:
        """Powers of ten within."""
        return [10**n for n in range(round(self._from), math.floor(self._to) + 1)]


def axis(scale: Scale, bottom: int) -> list[str]:
    parts = []
    for ns in scale.ticks():
        label = f"{ns:,} ns" if ns < 1_000 else f"{ns // 1_000:,} µs" if ns < 1_000_000 else f"{ns // 1_000_000:,} ms"
        parts.append(f'<line class="grid" x1="{scale.x(ns)}" x2="{scale.x(ns)}" y1="{TOP - 14}" y2="{bottom}"/>')
        parts.append(text(scale.x(ns), bottom + 16, label, "dim", anchor="middle"))
    return parts


def bar(name: str, row: dict[str, Any], scale: Scale, y: int) -> list[str]:
    kind, verifies = row["does"]["kind"], row["does"].get("checksum")
    style = (kind if kind in ("cstd", "floor") else "peer") + ("" if verifies else " unverified")
    end, tick = scale.x(row["p50_ns"]), scale.x(row["p99_ns"])
    value = f"{row['p50_ns']:,} ns"
    if "ratio" in row and kind not in ("cstd", "floor"):
        value += f" · {row['ratio']:.0f} ×" if row["ratio"] >= 10 else f" · {row['ratio']:.1f} ×"
    parsed, book = row["does"].get("parse"), row["does"].get("book")
    what = escape("; ".join(filter(None, (KINDS[kind], f"parse: {parsed}", f"book: {book}"))))
    drawn = (f'<rect class="{style}" x="{LEFT}" y="{y}" width="{max(1.0, end - LEFT):.1f}" height="{BAR}" rx="2">'
             f'<title>{what}</title></rect>')
    return [
        text(LEFT - 8, y + 14, LABELS.get(name, name) + (" ✓" if verifies else ""), anchor="end", bold=kind == "cstd"),
        drawn,
        f'<line class="p99" x1="{tick}" x2="{tick}" y1="{y + 2}" y2="{y + BAR - 2}" stroke-width="2"/>',
        text(WIDTH - RIGHT + 10, y + 14, value, "dim"),
    ]


def captions(found: dict[str, Any], corpus: str, rows: list[tuple[str, dict[str, Any]]], missing: list[str]) -> list[str]:
    """Machine, commit, day, recording, what the comparison does not level, and what has no bar; in lines that fit."""
    machine, measured = found["machine"], found["figures"]["corpora"][corpus]
    parsed = [LABELS.get(name, name) for name, row in rows if str(row["does"].get("parse")).startswith("none")]
    made = f"{machine.get('cpu')}, {machine.get('cores')} cores; commit {found['commit']}; {found['taken_at'][:10]}"
    lines = [
        f"{made}; {str(measured.get('recording')).partition('.')[0]}",
        "cstd and the floor also keep features and votes, and to order bytes judge fifteen gates; no peer does",
        *(f"{name}: no parsing in its time, it takes events made beforehand" for name in parsed), *missing,
    ]
    return [part for line in lines for part in textwrap.wrap(line, CAPTION_CHARS)]


def text(x: float, y: float, words: str, style: str = "", *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" class="{style}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


if __name__ == "__main__":
    sys.exit(main())
