"""How the jobs of a run directory stand, as the status port shows it: read now and then, never for a request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cstd.jobs import records
from cstd.jobs.records import JobRow


class JobSight:
    """The newest reading of the jobs' records."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._rows: Sequence[JobRow] = ()

    def look(self, wall_ns: int) -> None:
        """Read the records; a few small files."""
        self._rows = records.rows(self._run_dir, wall_ns)

    def seen(self) -> Sequence[JobRow]:
        """Return a row for each job, none before the first look."""
        return self._rows
