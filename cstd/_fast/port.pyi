"""Types of the order port, see port.pyx."""



class OrderPort:
    up: bool
    durable: bool
    def __init__(self) -> None: ...

class KeptPort(OrderPort):
    def take(self) -> list[bytes]: ...
