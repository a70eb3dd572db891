"""Types of what Python sees of the gateway, see gateway.pyx."""

COUNTERS: tuple[str, ...]

class RestCancel:
    @property
    def method(self) -> str: ...
    @property
    def params(self) -> tuple[tuple[str, str], ...]: ...

class RestExit:
    @property
    def method(self) -> str: ...
    @property
    def params(self) -> tuple[tuple[str, str], ...]: ...

class Gateway: ...
