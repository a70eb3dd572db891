"""What a test needs and does not find: a skip with its reason, or a failure where it is required."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import needs

LACKING: dict[str, Callable[[], object]] = {
    "program": lambda: needs.program("no-such-program"),
    "CPUs": lambda: needs.cpus(1 << 20),
    "installable": lambda: needs.not_installable("it cannot be installed here"),
    "data": lambda: needs.no_data("no recordings"),
}


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
@pytest.mark.parametrize("required", [True, False])
def test_what_is_lacking(monkeypatch: pytest.MonkeyPatch, lacking: Callable[[], object], required: bool) -> None:
    """Required it fails and says by what; otherwise the reason is in the skip."""
    monkeypatch.setattr(needs, "CI", required)
    monkeypatch.delenv("CSTD_REQUIRE_DATA", raising=False)
    kind = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(kind, match=r"not installed|fewer than|cannot be installed|no recordings") as raised:
        lacking()
    assert ("CI=true requires it" in str(raised.value)) == required
