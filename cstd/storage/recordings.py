"""Recordings of Kraken's public wire: `*.jsonl.zst`, a header line and then one wire message per line.

    {"t": "header", "session": ..., "api": "v2 wss://...", "source": ...}
    {"ts": seconds, "c": connection, "d": "rx" | "tx" | "http", "m": "<wire text>"}

Read as a stream: a recording may be larger than memory. What is no recording, or ends early, is named with its
file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import zstandard

from cstd.errors import UsageError, VerificationError

Api = Literal["v2", "v1", "futures"]
APIS: tuple[Api, ...] = ("v2", "v1", "futures")
DIRECTIONS = ("rx", "tx", "http")

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES = 1 << 18
_LINE_BYTES_MAX = 64 << 20  # the largest wire frame known is half a MB; a file without line ends is no recording
_NS_PER_S = 1_000_000_000
_DECIMAL = re.compile(rb"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?")


class Frame(NamedTuple):
    """One message as it was recorded.

    `recv_ns` is the recorder's clock (the header says which one: unix, or since boot), exact to the digit.
    """

    recv_ns: int
    connection: str
    direction: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """An opened recording; `frames` can be walked once and closes the file at its end."""

    path: Path
    api: Api
    header: dict[str, Any]
    frames: Iterator[Frame]


class _Line(msgspec.Struct):
    ts: msgspec.Raw
    c: str
    d: str
    m: str


def open_recording(path: Path | str) -> Recording:
    """Open a recording and read its header.

    Raises:
        UsageError: the file cannot be read or is no recording, with the reason.
        VerificationError: while walking `frames`, where a line is broken or the file ends early.
    """
    path = Path(path)
    lines = _lines(path)
    try:
        first = next(lines, None)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if first is None:
        raise UsageError(f"{path} is no recording: it is empty")
    header = _header(path, first[1])
    return Recording(path, _api(path, header), header, _frames(path, lines))


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no recording: its first line is not JSON ({error})") from None
    if not isinstance(header, dict) or header.get("t") != "header":
        raise UsageError(f'{path} is no recording: its first line is not {{"t": "header", ...}}')
    return header


def _api(path: Path, header: dict[str, Any]) -> Api:
    word = str(header.get("api", "")).partition(" ")[0]
    for api in APIS:
        if word == api:
            return api
    raise UsageError(f"{path}: the header's api is {word!r}, known are {', '.join(APIS)}")


def _frames(path: Path, lines: Iterator[tuple[int, bytes]]) -> Iterator[Frame]:
    decoder = msgspec.json.Decoder(_Line)
    for number, line in lines:
        if not line.strip():
            continue
        try:
            entry = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _broken(path, number, f"no recorded message: {error}") from None
        if entry.d not in DIRECTIONS:
            raise _broken(path, number, f"direction {entry.d!r}, known are {', '.join(DIRECTIONS)}")
        recv_ns = decimal_seconds_to_ns(bytes(entry.ts))
        if recv_ns is None:
            raise _broken(path, number, f"ts is {bytes(entry.ts)[:40]!r}, not seconds exact to the nanosecond")
        yield Frame(recv_ns, entry.c, entry.d, entry.m.encode())


def decimal_seconds_to_ns(text: bytes) -> int | None:
    """Return the nanoseconds that a JSON number of seconds says, digit by digit; None if it is no such number.

    A float would be wrong in the last hundred nanoseconds of today's unix time. Digits below 1 ns must be zero.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups()
    fraction = fraction or b""
    shift = 9 + int(exponent or 0) - len(fraction)
    scale: int = 10 ** abs(shift)
    ns, rest = (int(whole + fraction) * scale, 0) if shift >= 0 else divmod(int(whole + fraction), scale)
    if rest:
        return None
    return -ns if sign else ns


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line) of a zstd-compressed text, which may have several zstd frames."""
    number, rest = 0, b""
    for chunk in _decompressed(path):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            yield number, line
        if len(rest) > _LINE_BYTES_MAX:
            raise _broken(path, number + 1, f"a line longer than {_LINE_BYTES_MAX} bytes")
    if rest:
        yield number + 1, rest


def _decompressed(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        magic = file.peek(4)[:4]
        if magic and magic != _ZSTD_MAGIC:
            raise UsageError(f"{path} is no recording: it is not zstd-compressed")
        decompressor: zstandard.ZstdDecompressionObj | None = None
        compressed = file.read(_CHUNK_BYTES)
        while compressed:
            if decompressor is None:
                decompressor = zstandard.ZstdDecompressor().decompressobj()
            try:
                yield decompressor.decompress(compressed)
            except zstandard.ZstdError as error:
                raise VerificationError(
                    f"{path}: the compressed data is damaged before byte {file.tell()}: {error}",
                    place={"file": path.name, "offset": file.tell()}) from None
            compressed = b""
            if decompressor.eof:
                compressed, decompressor = decompressor.unused_data, None
            compressed = compressed or file.read(_CHUNK_BYTES)
        if decompressor is not None:
            raise VerificationError(
                f"{path}: the file ends inside its compressed data, after {file.tell()} bytes",
                place={"file": path.name, "offset": file.tell()})


def _broken(path: Path, line: int, what: str) -> VerificationError:
    return VerificationError(f"{path}, line {line}: {what}", place={"file": path.name, "line": line})
