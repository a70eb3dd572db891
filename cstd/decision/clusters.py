"""`cstd clusters` as text: what moves together, and by which correlations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text(found: Mapping[str, Any]) -> str:
    """Return the clusters and pairs as text for a terminal."""
    if not found["measured"]:
        return "correlations are off (risk.correlation_min = 0): everything counts as one cluster\n"
    rule = f"linked from a correlation of {found['correlation_min']:g} on, until below {found['correlation_leave']:g}"
    lines = [f"{rule}; with fewer than {found['returns_min']} common five-minute returns as well"]
    if not found["clusters"]:
        lines.append("nothing is held or on order")
    for cluster in found["clusters"]:
        share = f"  {cluster['exposure_bps']:.1f} bps of equity" if cluster["exposure_bps"] is not None else ""
        lines.append(f"  cluster {', '.join(cluster['instruments'])}: {cluster['exposure']}{share}")
    for pair in found["pairs"]:
        reading = "    – " if pair["correlation"] is None else f"{pair['correlation']:6.3f}"
        word = "linked" if pair["linked"] else "apart"
        note = f"{pair['returns']} returns" + ("" if pair["ready"] else ", too few: counts as 1")
        lines.append(f"  {pair['instrument']:<14} {pair['other']:<14} {reading}  {word:<7} {note}")
    return "\n".join(lines) + "\n"
