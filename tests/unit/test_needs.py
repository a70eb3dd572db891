"""What a test needs and does not find: a skip with its reason, or a failure where it is required."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import needs

LACKING: dict[str, Callable[[], object]] = {
    "program": lambda: needs.program("no-such-program"),
    "file": lambda: needs.file(Path("/no/such/file"), "nothing"),
    "CPUs": lambda: needs.cpus(1 << 20),
    "installable": lambda: needs.not_installable("it cannot be installed here"),
    "data": lambda: needs.no_data("no recordings"),
    "root": needs.root,
}


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
@pytest.mark.parametrize("required", [True, False])
def test_what_is_lacking(monkeypatch: pytest.MonkeyPatch, lacking: Callable[[], object], required: bool) -> None:
    """Required it fails and says by what; otherwise the reason is in the skip."""
    monkeypatch.setattr(needs, "CI", required)
    monkeypatch.delenv("CSTD_REQUIRE_DATA", raising=False)
    monkeypatch.setattr(needs.os, "getuid", lambda: 1000)
    monkeypatch.setattr(needs.shutil, "which", lambda _name: None)
    kind = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(kind, match=r"not installed|not there|fewer than|cannot be|no recordings|neither root") as raised:
        lacking()
    assert ("CI=true requires it" in str(raised.value)) == required


@pytest.mark.parametrize(("named", "ci", "required_by"), [
    ("1", False, "CSTD_REQUIRE_DATA=1"), ("1", True, "CSTD_REQUIRE_DATA=1"), ("0", True, None), ("0", False, None)])
def test_data_is_required_or_waived_by_name(monkeypatch: pytest.MonkeyPatch, named: str, ci: bool,
                                            required_by: str | None) -> None:
    """CSTD_REQUIRE_DATA decides for recordings, whatever CI says."""
    monkeypatch.setattr(needs, "CI", ci)
    monkeypatch.setenv("CSTD_REQUIRE_DATA", named)
    with pytest.raises(pytest.skip.Exception if required_by is None else pytest.fail.Exception, match="no recordings") as raised:
        needs.no_data("no recordings")
    assert (f"and {required_by} requires it" in str(raised.value)) == (required_by is not None)
