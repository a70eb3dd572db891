"""Errors, told apart by whose fault they are.

    CstdError
    ├── OperatorError              the operator can fix it: exit 1
    │   ├── ConfigError            a configuration file or key: exit 78
    │   └── UsageError             the command line: exit 2
    ├── PeerError                  the venue, or the road to it
    │   ├── ConnectivityError      worth another try
    │   │   └── EdgeRefusedError   HTTP 429 or 403: a ban, or the way to one; stay away first
    │   ├── VenueRejectError       the venue said no, with a code
    │   └── ProtocolViolationError what came is not what was promised: resync
    ├── InvariantError             ours: latch the kill switch, flush the journal, exit
    └── VerificationError          a checksum, sequence or chain does not hold: exit 3
        └── ParityError            what was decided comes out otherwise

A refusal by a gate is a value, never an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_VERIFICATION = 3
EXIT_PARITY = 4  # of the projector alone, to the process whose child it is
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h; systemd is told not to restart on it


class CstdError(Exception):
    """Base of all errors this project raises; abstract, raise a subclass.

    Attributes:
        message: one sentence that names the key, the value with its unit and the limit.
        suggestion: what the operator can do, or "".
        category: the word in the JSON form of the error.
        retryable: True when the same call may succeed later unchanged.
        exit_code: what the process exits with when nobody catches it.
    """

    category = "error"
    retryable = False
    exit_code = EXIT_FAILURE

    def __init__(self, message: str, *, suggestion: str = "") -> None:
        if type(self) is CstdError:
            raise TypeError("CstdError is abstract: raise the subclass that says whose fault it is")
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion

    def to_json(self) -> dict[str, object]:
        """Return the error as the object that `-o json` prints."""
        return {
            "error": self.category,
            "message": self.message,
            "retryable": self.retryable,
            "suggestion": self.suggestion,
        }


class OperatorError(CstdError):
    """The operator asked for something that cannot be done as asked."""

    category = "operator"


class ConfigError(OperatorError):
    """The configuration is wrong; carries every problem found, not the first alone."""

    category = "configuration"
    exit_code = EXIT_CONFIG

    def __init__(self, message: str, *, suggestion: str = "", problems: Sequence[object] = ()) -> None:
        super().__init__(message, suggestion=suggestion)
        self.problems = tuple(problems)


class UsageError(OperatorError):
    """The command line is wrong."""

    category = "usage"
    exit_code = EXIT_USAGE


class PeerError(CstdError):
    """The venue, or the road to it, did not do its part."""

    category = "venue"


class ConnectivityError(PeerError):
    """No connection, a timeout, a 5xx: worth another try."""

    category = "connectivity"
    retryable = True


class EdgeRefusedError(ConnectivityError):
    """The edge in front of the venue refuses this address: HTTP 429 or 403.

    Attributes:
        retry_after_ns: how long it asks to stay away, 0 where it does not say.
    """

    def __init__(self, message: str, *, retry_after_ns: int = 0) -> None:
        super().__init__(message)
        self.retry_after_ns = retry_after_ns


class VenueRejectError(PeerError):
    """The venue understood and said no.

    Attributes:
        code: the venue's own error text, e.g. "EOrder:Insufficient funds".
    """

    category = "venue_reject"

    def __init__(self, message: str, *, code: str, suggestion: str = "") -> None:
        super().__init__(message, suggestion=suggestion)
        self.code = code


class ProtocolViolationError(PeerError):
    """The venue sent what its protocol does not allow; the stream it came on is resynchronised."""

    category = "protocol"


class InvariantError(CstdError):
    """Something this code guarantees did not hold; nothing may be traded on it."""

    category = "invariant"


class VerificationError(CstdError):
    """Stored or received data failed its checksum, sequence, chain or comparison.

    Attributes:
        place: where, as names and numbers (file, block, offset, seq ...), for the JSON form.
    """

    category = "verification"
    exit_code = EXIT_VERIFICATION

    def __init__(self, message: str, *, suggestion: str = "", place: Mapping[str, object] | None = None) -> None:
        super().__init__(message, suggestion=suggestion)
        self.place = dict(place or {})

    def to_json(self) -> dict[str, object]:
        """Return the error as JSON, with the place where verification failed."""
        return {**super().to_json(), "place": self.place}


class ParityError(VerificationError):
    """The engine does not make of a journal what the journal holds: what was decided cannot be repeated."""
