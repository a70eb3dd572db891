"""The registry of models: versions with cards, signed; their states, logged; nothing is used that does not verify.

Purpose: let a model into scoring only if it is the one that was trained, evaluated and promoted, byte for byte.
Takes: cards and ONNX files from training (`write_version`), commands of an operator (`promote`, `rollback`), a key.
Gives: verified versions as bytes (`verify`, `production`), states and their history (`log.read`).
Owns: `models/<name>/<version>/` (card.json, card.json.hmac, *.onnx), `models/registry.jsonl` and its head; one writer at a time,
    held by a lock.
Invariants: the signature is checked before the card is parsed, the hash of each file before it is loaded; there is no default
    key and no pickle; a version is there whole or not at all and is never changed; one production version of a name; a
    model that was not shown to beat its baselines gets no further than being put aside.
Fails by: RefusedVersionError with one of `refusals.REASONS` (exit 3); OperatorError for keys, rights and locks.
Try it: `cstd models list`

Why this way: HMAC, not a public-key signature, because one operator trains, promotes and runs; who can write the key's file
can sign anything, so the key belongs to who trains and to the scorer, and to nobody else. No onnxruntime is imported here:
the daemon and the command line look at models without loading any.
"""

from cstd.signals.registry.card import Card, features_hash
from cstd.signals.registry.keys import read_key
from cstd.signals.registry.refusals import REASONS, RefusedVersionError
from cstd.signals.registry.store import (
    Verified,
    production,
    promote,
    put_unsigned,
    rollback,
    sign_version,
    verify,
    versions,
    write_version,
)

__all__ = ["REASONS", "Card", "RefusedVersionError", "Verified", "features_hash", "production", "promote", "put_unsigned",
           "read_key", "rollback", "sign_version", "verify", "versions", "write_version"]
