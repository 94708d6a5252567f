"""Transparency comes back bit for bit, and a bad payload is an error that costs no memory."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cotam_cli.codec.alpha import decode_alpha, encode_alpha
from cotam_cli.errors import FormatError

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)


@settings(deadline=None)
@given(hnp.arrays(np.uint8, SHAPES))
def test_round_trip(alpha: np.ndarray) -> None:
    assert np.array_equal(decode_alpha(encode_alpha(alpha), *alpha.shape), alpha)


def test_smooth_and_flat_masks_are_small() -> None:
    y, x = np.mgrid[:512, :768]
    disc = np.clip(300 - np.hypot(y - 256, x - 384), 0, 255).astype(np.uint8)
    assert np.array_equal(decode_alpha(encode_alpha(disc), 512, 768), disc)
    assert len(encode_alpha(disc)) < len(zlib.compress(disc.tobytes(), 9))
    assert len(encode_alpha(np.full((512, 768), 255, np.uint8))) < 1100


def test_each_filter_by_hand() -> None:
    rows = bytes([0, 10, 20, 30, 1, 10, 250, 5, 2, 1, 2, 3])
    expected = [[10, 20, 30], [10, 4, 9], [11, 6, 12]]
    assert decode_alpha(zlib.compress(rows), 3, 3).tolist() == expected


GOOD = zlib.compress(bytes(2 * 4))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"x" * 20,
        GOOD[:-1],
        GOOD + b"\0",
        GOOD[:-1] + bytes([GOOD[-1] ^ 1]),
        zlib.compress(bytes(7)),
        zlib.compress(bytes(9)),
        zlib.compress(bytes([3, 0, 0, 0, 0, 0, 0, 0])),
        zlib.compress(bytes(10**7)),
    ],
    ids=["empty", "junk", "cut", "more", "checksum", "short", "long", "filter", "bomb"],
)
def test_bad_payloads(payload: bytes) -> None:
    with pytest.raises(FormatError, match="alpha"):
        decode_alpha(payload, 2, 3)


def test_a_claim_of_size_takes_no_memory() -> None:
    with pytest.raises(FormatError, match="too short"):
        decode_alpha(GOOD, 16384, 16384)


@given(hnp.arrays(np.uint8, SHAPES), st.data())
@settings(deadline=None)
def test_a_damaged_byte_is_noticed(alpha: np.ndarray, data: st.DataObject) -> None:
    payload = bytearray(encode_alpha(alpha))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = decode_alpha(bytes(payload), *alpha.shape)
    except FormatError:
        return
    assert np.array_equal(found, alpha)  # a spare bit of the zlib header or of deflate's last byte
