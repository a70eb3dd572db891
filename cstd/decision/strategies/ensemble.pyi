"""Types of the compiled strategy, see ensemble.pyx."""

AIM: tuple[str, ...]
PARAMS: tuple[str, ...]

def address() -> int: ...
