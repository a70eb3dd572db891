"""Change seeds the way bytes go wrong: cut, doubled, swapped, replaced by what a JSON reader has to decide about."""

from __future__ import annotations

import random

TOKENS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"false", b"-", b"0", b"00", b".", b"e5", b"1e-08",
    b"-0", b"-0.0", b"9" * 18, b"9" * 19, b"0.000000001", b"\xff", b"\xc3\xa9", b"\\u0041", b" ", b"\n", b"\x00",
    b'"ratecounter":1.5,', b'"ratecount":2,', b'"fees":[],', b'"price":1.0', b'"symbol":"ETH/USD"', b'"snapshot"', b'"update"',
    b"T24:00:00", b"02-30", b"02-29", b"23:59:60", b".123456789Z", b'{"asset":"USD","qty":0.1}', b'"sequence":1',
)


def mutated(seed: bytes, random_source: random.Random) -> bytes:
    """One to four changes of `seed`."""
    data = bytearray(seed)
    for _ in range(random_source.randint(1, 4)):
        at = random_source.randint(0, len(data))
        end = min(len(data), at + random_source.choice((0, 1, 2, 8, 40)))
        token = random_source.choice(TOKENS)
        kind = random_source.randrange(6)
        if kind == 0:
            data[at:end] = token
        elif kind == 1:
            data[at:at] = token
        elif kind == 2:
            del data[at:end]
        elif kind == 3 and at < len(data):
            data[at] ^= 1 << random_source.randrange(8)
        elif kind == 4:
            data[at:at] = data[at:end]
        else:
            _swap_fields(data, random_source)
    return bytes(data)


def _swap_fields(data: bytearray, random_source: random.Random) -> None:
    """Swap two neighbouring comma-separated pieces: fields in another order."""
    commas = [i for i, byte in enumerate(data) if byte == ord(",")]
    if len(commas) < 3:
        return
    i = random_source.randrange(len(commas) - 2)
    first, second, third = commas[i : i + 3]
    data[first:third] = data[second:third] + data[first:second]
