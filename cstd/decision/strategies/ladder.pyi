"""Types of the strategy of `cstd live-check`, see ladder.pyx."""

PARAMS: tuple[str, ...]
def address() -> int: ...
