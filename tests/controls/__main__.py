"""Write docs/controls.md: `make controls`."""

from __future__ import annotations

from tests.controls.source import ROOT
from tests.controls.table import document

if __name__ == "__main__":
    (ROOT / "docs" / "controls.md").write_text(document(), "utf-8")
