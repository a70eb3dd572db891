"""Real outputs against `cstd schema`: closed, so that a key that no schema tells of is a failure too."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from cstd.cli.schemas import schema


def closed(node: Any) -> Any:
    """Return a schema in which an object has the keys that are named and no others."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: closed(value) for key, value in node.items()}
    return inner | {"additionalProperties": False} if "properties" in node and "additionalProperties" not in node else inner


@cache
def _validator(name: str) -> Draft202012Validator:
    printed = schema(name)
    Draft202012Validator.check_schema(printed)
    return Draft202012Validator(closed(printed))


def assert_fits(name: str, value: Any) -> None:
    """Fail with every place where a value is not what the schema of a verb says."""
    found = [f"{'.'.join(map(str, error.absolute_path)) or 'all of it'}: {error.message[:300]}"
             + "".join(f"\n    {inner.message[:200]}" for inner in error.context or ())
             for error in _validator(name).iter_errors(value)]
    assert found == [], f"cstd {name}: " + "\n".join(found)
