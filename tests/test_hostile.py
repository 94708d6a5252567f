"""Every truncation and every flipped bit of small files, with the checksums as they are and with them put right.

Whatever comes of it is a picture or one CotamError of one line, never anything else. Larger ways to abuse the
format are in attacks/, and `make fuzz` looks for ways that nobody has thought of.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from forge import seal
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from threadpoolctl import threadpool_limits

import cotam_cli
from cotam_cli.bitstream import HEADER_SIZE
from cotam_cli.codec.analysis import MapSpec
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.screen import Screen, encode_screen

PIXELS = np.add.outer(np.arange(20) * 11, np.arange(36) * 5).astype(np.uint8)[..., None].repeat(3, 2)
DRAWN = np.full(PIXELS.shape, 255, np.uint8)
DRAWN[4:12:2, 4:30] = 0
SMALL = 48 * 48  # pixels: a flipped bit of the size may ask for more


def transparent(number: int) -> Image.Image:
    image = Image.fromarray(PIXELS)
    image.putalpha(Image.fromarray((PIXELS[..., 0] // 2 + number).astype(np.uint8)))
    return image


@cache
def make(kind: str) -> bytes:
    if kind == "plain":
        return cotam_cli.encode(PIXELS, quality=1)
    if kind == "map":
        levels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
        return encode_pixels(PIXELS, 3.0, importance=MapSpec(levels, count=3, cell_log2=1, strength=1.0))
    if kind == "drawn":
        return cotam_cli.encode(DRAWN, quality=6)
    if kind == "mixed":
        seen = np.zeros(DRAWN.shape[:2], bool)
        seen[4:16] = True
        return encode_pixels(PIXELS, 1.0, screen=encode_screen(Screen(DRAWN, seen)))
    return cotam_cli.encode(transparent(0), quality=2, alpha=True)


@pytest.fixture(scope="module", params=["plain", "map", "alpha", "drawn", "mixed"])
def file(request: pytest.FixtureRequest) -> Iterator[bytes]:
    with threadpool_limits(1):
        yield make(request.param)


def outcome(data: bytes) -> str:
    """What a decode says; "" for a picture."""
    try:
        image = cotam_cli.decode(data, max_pixels=SMALL)
    except cotam_cli.CotamError as error:
        assert str(error)
        assert "\n" not in str(error)
        return str(error)
    assert image.width * image.height <= SMALL
    return ""


def flips(data: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def test_every_truncation_is_refused(file: bytes) -> None:
    for length in range(len(file)):
        assert outcome(file[:length]), length


def test_every_flipped_bit_is_refused(file: bytes) -> None:
    for number, damaged in enumerate(flips(file)):
        assert outcome(damaged), number


def test_every_flipped_bit_behind_right_checksums(file: bytes) -> None:
    """The latent hash notices all that reaches the latents. Pictures may come only of what it does not cover: for
    whom the file was made, the alpha channel, the visible part of the last blocks, bits of the last coded word."""
    pictures = [outcome(seal(damaged)) for damaged in flips(file)].count("")
    assert pictures < 8 * len(file) // 2


def test_every_truncation_behind_right_checksums(file: bytes) -> None:
    for length in range(HEADER_SIZE + 4, len(file)):
        assert outcome(seal(file[:length])), length


def test_every_byte_left_out_or_doubled(file: bytes) -> None:
    for place in range(len(file)):
        outcome(seal(file[:place] + file[place + 1 :]))
        outcome(seal(file[:place] + file[place : place + 1] + file[place:]))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["plain", "map", "alpha", "drawn", "mixed"]), st.data())
def test_any_splice_behind_right_checksums(kind: str, data: st.DataObject) -> None:
    whole = make(kind)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    outcome(seal(whole[:start] + data.draw(st.binary(max_size=24)) + whole[end:]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_at_all(data: bytes) -> None:
    assert outcome(data)
    assert outcome(b"\x89CTM\x01" + data)
