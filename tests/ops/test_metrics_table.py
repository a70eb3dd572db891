"""docs/metrics.md is what the exposition is, and the exposition is bounded."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from cstd.ops import recent
from cstd.ops.metric_texts import WORDS, all_counters
from cstd.ops.metrics import INSTRUMENTS_LABELLED_MAX, BoardCollector
from cstd.ops.metrics_table import OLD_NAMES, Specimen, exposed_name, families, table
from tests.ops.fake_view import FakeView

REPOSITORY = Path(__file__).parents[2]
SERIES_FIXED_MAX = 600  # without those of instruments
SERIES_PER_INSTRUMENT_MAX = 16


class Crowd(Specimen):
    """A board with many instruments of which as many have a book as the board shows."""

    def __init__(self, count: int) -> None:
        view = FakeView()
        row = view.instruments()[0]
        self._regions: dict[str, Any] = {
            "status": view.status(), "equity": view.equity(), "gates": view.gates(), "latency": view.latency(),
            "counters": dict.fromkeys(all_counters(), 1), "alert_limits": view.alert_limits(),
            "instruments": [{**row, "name": f"A{number}/USD"} for number in range(count)],
            "books": [{**book, "name": f"A{number}/USD"} for number, book in enumerate(view.books(2) * 20)]}

    def value(self, name: str) -> Any:
        """Return a region."""
        return self._regions.get(name, [])


def series(count: int) -> int:
    """Return how many series a scrape has with so many instruments."""
    registry = CollectorRegistry()
    registry.register(BoardCollector(Crowd(count)))  # type: ignore[arg-type]
    return sum(not line.startswith(b"#") for line in generate_latest(registry).splitlines())


def test_the_table_is_current() -> None:
    """`make metrics` would change nothing."""
    assert (REPOSITORY / "docs" / "metrics.md").read_text("utf-8") == table(), "run `make metrics`"


def test_a_generator_that_fails_leaves_the_table(tmp_path: Path) -> None:
    """`make metrics` replaces the page by a whole one only."""
    table_file, python = tmp_path / "docs" / "metrics.md", tmp_path / "bin" / "python"
    for path in (table_file, python):
        path.parent.mkdir()
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    table_file.write_text("as it was")
    python.write_text("#!/bin/sh\necho half a page\nexit 1\n")
    python.chmod(0o755)
    make = ["make", "-C", str(tmp_path), "-o", "build", "BIN=bin", "metrics"]
    assert subprocess.run(make, capture_output=True, check=False, timeout=30).returncode
    assert table_file.read_text() == "as it was"
    python.write_text("#!/bin/sh\necho a page\n")
    assert subprocess.run(make, capture_output=True, check=False, timeout=30).returncode == 0
    assert table_file.read_text() == "a page\n"


def test_every_family_is_explained() -> None:
    """Each has words of its own, and none only repeats its name."""
    for family in families():
        assert len(family.documentation) > 8, family.name
        assert not re.fullmatch(r"Counter .* of the trading process\.", family.documentation), family.name


def test_old_names_lead_to_metrics_that_exist() -> None:
    """Each of the founding documents' metrics has its counterparts, or a reason."""
    names = {exposed_name(family) for family in families()}
    assert len(OLD_NAMES) == 35
    for old, (new, remark) in OLD_NAMES.items():
        assert set(new) <= names, old
        assert new or remark, old


def test_series_do_not_grow_with_instruments_beyond_a_limit() -> None:
    """So many for each instrument while they are few, and no more when they are a thousand."""
    none, few, crowd = series(0), series(INSTRUMENTS_LABELLED_MAX), series(2_000)
    assert none <= SERIES_FIXED_MAX
    assert (few - none) / INSTRUMENTS_LABELLED_MAX <= SERIES_PER_INSTRUMENT_MAX
    assert crowd <= few


def test_the_words_of_counters_are_the_engines() -> None:
    """Families of counters end in the words that the engine counts by."""
    from cstd._fast.codes import BookFault
    from cstd._fast.gateway import COUNTERS
    from cstd.market.audit import INCONCLUSIVE
    from cstd.market.evidence import ENDS
    from cstd.orders.exit_prices import FAILURES

    assert {fault.name[6:].lower() for fault in BookFault if 0 < fault < BookFault.FAULT_COUNT} == set(WORDS["book_fault_"])
    assert (WORDS["evidence_fetches_"], WORDS["exit_prices_failed_"]) == (ENDS, FAILURES)
    assert WORDS["book_audit_inconclusive_"] == INCONCLUSIVE
    assert set(COUNTERS) - set(all_counters()) == {"book_updates"}  # exposed by instrument


def test_slippage_is_the_95th_percentile_of_a_day() -> None:
    """Of the fills shown that have one and are no older than 24 hours; none without."""
    day_ns = 86_400 * 10**9
    fills = [{"slippage_bps": float(bps), "wall_ns": day_ns} for bps in range(40)]
    assert recent.slippage_p95([*fills, {"slippage_bps": 900.0, "wall_ns": -1}, {"wall_ns": day_ns}], day_ns) == (38 / 1e4, 40)
    assert recent.slippage_p95([], day_ns) == (None, 0)


def test_immediate_orders_fill_by_their_parts() -> None:
    """Ended immediate orders count, each by its filled part; resting and live ones do not."""
    def order(filled: str, kind: str = "IOC", state: str = "canceled") -> dict[str, str]:
        return {"filled_qty": filled, "order_qty": "4", "time_in_force": kind, "state": state}

    assert recent.immediate_fill_ratio([order("4"), order("1"), order("0", "GTD"), order("0", state="sent")]) == 0.625
    assert recent.immediate_fill_ratio([order("0", "GTD")]) is None


def test_thin_books_are_judged_by_the_newest_decision_of_each_instrument() -> None:
    """An older decision of the same instrument, or one older than ten minutes, says nothing."""
    def decision(name: str, age_s: int, *, deep: bool) -> dict[str, Any]:
        return {"instrument": name, "decided_wall_ns": 10**13 - age_s * 10**9,
                "gates": [{"name": "spread", "passed": False}, {"name": "depth", "passed": deep}]}

    rows = [decision("A", 1, deep=False), decision("B", 2, deep=True), decision("A", 3, deep=True),
            decision("C", 601, deep=False)]
    assert recent.depth_judged(rows, 10**13) == (2, 1)
