"""Types of the layout constants, see layout.pyx."""

no_bid: int
no_ask: int
money_scale: int
checked_build: bool
