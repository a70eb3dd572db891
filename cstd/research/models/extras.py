"""What training needs beyond the daemon's own packages, imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any

from cstd.errors import OperatorError


def need(module: str, extra: str = "train") -> Any:
    """Return an optional package's module.

    Raises:
        OperatorError: it is not installed; the extra that has it is named.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OperatorError(f"{module} cannot be imported: {error}", suggestion=f"pip install 'cstd[{extra}]'") from None
