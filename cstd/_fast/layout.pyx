"""Sentinels and scales of the compiled layout, for Python (the structs are in csrc/layout.h)."""

no_bid = NO_BID
no_ask = NO_ASK
money_scale = MONEY_SCALE
