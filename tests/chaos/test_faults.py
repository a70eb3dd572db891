"""Each fault says how it strikes, and is offered by the name that it goes by."""

from __future__ import annotations

import pytest

from cstd.chaos.faults import FAULTS, Fault


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_goes_by_its_name(name: str) -> None:
    """What `--faults` offers can be made, and calls itself so."""
    fault = FAULTS[name]()
    assert fault.name == name
    assert type(fault).strike is not Fault.strike


def test_a_fault_that_does_not_strike_cannot_be_made() -> None:
    """Nothing that does nothing can be played, and so never counts as passed."""
    silent = type("Silent", (Fault,), {"name": "silent"})
    with pytest.raises(TypeError, match="abstract"):
        silent()
