"""Why a version, a key or the log is refused: each reason by a name that tests, metrics and operators share."""

from __future__ import annotations

from cstd.errors import VerificationError

REASONS: dict[str, str] = {
    "absent": "there is no such version",
    "unsigned": "the card has no signature",
    "forged": "the signature is of other bytes, or of another key",
    "malformed": "the card is not a card of this schema",
    "name": "the name or the version is none",
    "swapped": "the card belongs into another folder, or another card was registered here",
    "features": "the list of features is empty, too long or repeats itself",
    "features_hash": "the hash of the features does not match their list",
    "dtype": "the type of the rows is not float32",
    "path": "a file's name leads elsewhere",
    "horizon": "a horizon contradicts itself",
    "missing": "a file that the card names is not there",
    "extra": "the folder holds what the card does not name",
    "sha256": "a file is not the one that the card was made with",
    "size": "a file is too large",
    "unregistered": "the log knows nothing of this version",
    "log": "a line of the log was changed, removed or put in",
    "truncated": "the end of the log is gone",
    "verdict": "a model that was not shown to beat its baselines cannot be promoted",
    "transition": "no such step between two states",
    "no_previous": "there is no earlier production version that still verifies",
}


class RefusedVersionError(VerificationError):
    """A version that may not be used. `reason` is a key of REASONS."""

    def __init__(self, reason: str, message: str, *, suggestion: str = "", place: dict[str, object] | None = None) -> None:
        super().__init__(message, suggestion=suggestion, place={"reason": reason, **(place or {})})
        self.reason = reason


def refuse(reason: str, message: str, *, suggestion: str = "", **place: object) -> RefusedVersionError:
    """Return the refusal for a reason of the table."""
    assert reason in REASONS, reason
    return RefusedVersionError(reason, f"{message} ({reason})", suggestion=suggestion, place=place)
