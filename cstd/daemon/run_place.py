"""The run directory: whether it can be one, and whether what is in it is of this mode."""

from __future__ import annotations

import os
from pathlib import Path

from cstd.config import Config, Problem
from cstd.config.problems import config_error
from cstd.errors import OperatorError


def make_run_dir(run_dir: Path) -> None:
    """Make the run directory where it is not there.

    Raises:
        OperatorError: there can be none, or nothing can be written there.
    """
    try:
        run_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        why = "" if os.access(run_dir, os.W_OK | os.X_OK) else "it is not yours to write"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise OperatorError(f"the run directory {run_dir} cannot be used: {why}",
                            suggestion="name a folder that you may write, with --run-dir or [run] dir")


def same_mode(before: Config | None, cfg: Config, run_dir: Path) -> None:
    """Refuse to go on with a journal of another mode: what one held or pretended to hold is not the other's.

    Raises:
        ConfigError: it is.
    """
    if before is not None and before.mode != cfg.mode:
        raise config_error([Problem(key="mode", value=cfg.mode, limit=before.mode, suggestion="name another --run-dir",
                                    reason=f"the journal in {run_dir} is of mode {before.mode}")])
