"""The shipped practice.toml with keys replaced where they stand."""

from __future__ import annotations

from pathlib import Path

from cstd.config import template


def written(path: Path, **keys: str) -> Path:
    """Write a copy with these values; returns its path."""
    lines = template("practice").read_text().splitlines()
    for name, value in keys.items():
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"{name} =")]
        lines[at] = f"{name} = {value}"
    path.write_text("\n".join(lines) + "\n")
    return path
