"""SHA-256 and CRC-32C of the compiled core against independent implementations."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd._fast import journal_scan
from cstd._fast.codes import EventKind
from cstd._fast.recorder import Recorder

INITIAL_STATE = [
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
]  # fmt: skip


def padded(message: bytes) -> bytes:
    """Return the message as whole blocks, padded as FIPS 180-4 says."""
    zeros = -(len(message) + 9) % 64
    return message + b"\x80" + bytes(zeros) + (8 * len(message)).to_bytes(8, "big")


@pytest.mark.parametrize("size", [0, 1, 3, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 65_536 + 64])
def test_sha256_matches_hashlib_at_every_padding_edge(size: int) -> None:
    """The digest equals hashlib's where the padding fits, just fits, and needs a second block."""
    message = bytes(i * 7 & 255 for i in range(size))
    assert journal_scan.sha256(message) == hashlib.sha256(message).digest()
    assert journal_scan.sha256_block1(message) == hashlib.sha256(message).digest()


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_sha256_does_not_depend_on_how_the_bytes_are_cut(parts: list[bytes]) -> None:
    """Updates in any pieces give the digest of the whole."""
    assert journal_scan.sha256(*parts) == hashlib.sha256(b"".join(parts)).digest()


@given(st.binary(max_size=400))
def test_portable_compressor_matches_hashlib(message: bytes) -> None:
    """The compressor used where the processor offers nothing gives the same digest."""
    state = struct.pack("8I", *INITIAL_STATE)
    words = journal_scan.sha256_compress_portable(memoryview(state).cast("I"), padded(message))
    assert b"".join(word.to_bytes(4, "big") for word in words) == hashlib.sha256(message).digest()


def test_backend_is_one_of_the_known_three() -> None:
    """The compressor in use is known by name, so that a bench can say what it measured."""
    assert journal_scan.sha256_backend() in {"portable", "bmi2", "sha_ni"}


def test_crc32c_matches_the_published_vectors() -> None:
    """CRC-32C of the iSCSI test patterns (RFC 3720, B.4) and of the check string."""
    vectors = {
        b"123456789": 0xE3069283,
        bytes(32): 0x8A9136AA,
        b"\xff" * 32: 0x62A8AB43,
        bytes(range(32)): 0x46DD794E,
    }
    for data, expected in vectors.items():
        assert journal_scan.crc32c(data) == expected
        assert journal_scan.crc32c_portable(data) == expected


@given(st.binary(max_size=300), st.integers(0, 300))
def test_crc32c_can_go_on_and_both_ways_agree(data: bytes, cut: int) -> None:
    """Tables and instruction agree, and a checksum can be continued."""
    whole = journal_scan.crc32c(data)
    assert whole == journal_scan.crc32c_portable(data)
    assert whole == journal_scan.crc32c(data[cut:], journal_scan.crc32c(data[:cut]))


def striped(stream: bytes) -> str:
    """The digest as csrc/stripes.h describes it, by hashlib."""
    stripes = [hashlib.sha256() for _ in range(8)]
    for number, at in enumerate(range(0, len(stream), 512)):
        stripes[number % 8].update(stream[at:at + 512])
    return hashlib.sha256(b"".join(stripe.digest() for stripe in stripes)).hexdigest()


@given(st.lists(st.binary(max_size=700) | st.integers(0, 100_000).map(lambda n: bytes(range(256)) * (n // 256)), max_size=30))
def test_digest_is_over_the_bytes_of_all_rows(rows: list[bytes]) -> None:
    """However long the rows are and whenever it was asked for, the digest is that of the stream, in stripes."""
    recorder, stream = Recorder(), b""
    for number, row in enumerate(rows):
        assert recorder.output_py(EventKind.OUT_DECISION, 0, 0, 0, row)
        stream += row
        if number % 7 == 3:
            assert recorder.hexdigest() == striped(stream)
    assert recorder.hexdigest() == striped(stream)


def test_what_is_no_decision_is_not_in_the_digest() -> None:
    """Inputs and other outputs are on record and leave the digest alone."""
    recorder = Recorder()
    assert recorder.input_py(EventKind.EVENT_FRAME, 0, 0, 0, b"frame")
    assert recorder.hexdigest() == striped(b"")
