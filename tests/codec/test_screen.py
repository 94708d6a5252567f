"""The screen layer comes back bit for bit, and a bad payload is an error that costs no memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cotam_cli
from cotam_cli.bitstream import Chunk, ChunkType, pack, parse
from cotam_cli.codec.decoder import decode_pixels
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.screen import Screen, covers_all, decode_screen, encode_screen, put_screen
from cotam_cli.errors import FormatError

SIZES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=30)
COLOURS = st.sampled_from([0, 1, 40, 128, 254, 255])  # of each component: 216 in all
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 33, 3), dtype=np.uint8)
DRAWN = (RNG.integers(0, 2, (20, 33, 1)) * 255).repeat(3, 2).astype(np.uint8)
SEEN = RNG.random((20, 33)) < 0.5
WHOLE, PART = encode_screen(Screen(DRAWN, None)), encode_screen(Screen(DRAWN, SEEN))


@settings(deadline=None)
@given(SIZES.flatmap(lambda size: hnp.arrays(np.uint8, (*size, 3), elements=COLOURS)))
def test_a_whole_layer_is_the_picture(pixels: np.ndarray) -> None:
    payload = encode_screen(Screen(pixels, None))
    assert covers_all(payload)
    screen = decode_screen(payload, *pixels.shape[:2])
    assert screen.seen is None
    assert np.array_equal(screen.pixels, pixels)


@settings(deadline=None)
@given(
    SIZES.flatmap(
        lambda size: st.tuples(hnp.arrays(np.uint8, (*size, 3), elements=COLOURS), hnp.arrays(bool, size))
    )
)
def test_a_layer_with_holes_goes_over_the_rest(case: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, seen = case
    screen = decode_screen(encode_screen(Screen(pixels, seen)), *seen.shape)
    under = np.full_like(pixels, 7)
    found = put_screen(under, screen)
    assert np.array_equal(found[seen], pixels[seen])
    assert (found[~seen] == 7).all()


def test_in_a_file_it_is_exact_for_both_targets() -> None:
    data = encode_pixels(PIXELS, 1.0, screen=PART)
    for target in ("human", "mllm"):
        pixels = decode_pixels(data, target=target)
        assert np.array_equal(pixels[SEEN], DRAWN[SEEN])
        assert np.array_equal(pixels[~SEEN], decode_pixels(encode_pixels(PIXELS, 1.0), target=target)[~SEEN])


def test_a_whole_layer_stands_alone() -> None:
    data = encode_pixels(PIXELS, 8.0, screen=WHOLE)
    assert list(cotam_cli.info(data).chunks) == ["screen"]
    assert np.array_equal(decode_pixels(data), DRAWN)


def test_layer_and_latents_must_fit_together() -> None:
    alone = parse(encode_pixels(PIXELS, 1.0, screen=WHOLE))
    holes = pack(replace(alone, chunks=(Chunk(ChunkType.SCREEN, PART),)))
    with pytest.raises(FormatError, match="no latents"):
        decode_pixels(holes)
    both = parse(encode_pixels(PIXELS, 1.0, screen=PART))
    twice = pack(replace(both, chunks=(*both.chunks[:2], Chunk(ChunkType.SCREEN, WHOLE))))
    with pytest.raises(FormatError, match="nobody sees"):
        decode_pixels(twice)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        WHOLE[:5],
        b"x" * 300,
        WHOLE[:-3],
        bytes([WHOLE[0] ^ 1]) + WHOLE[1:],
        WHOLE[:8] + bytes([WHOLE[8] ^ 8]) + WHOLE[9:],
        WHOLE[:40] + bytes([WHOLE[40] ^ 8]) + WHOLE[41:],
        encode_screen(Screen(DRAWN[:-1], None)),
        encode_screen(Screen(DRAWN[:, :-1], None)),
        WHOLE[:5] + b"\2" + WHOLE[6:],
        WHOLE[:4] + b"\xff" + WHOLE[5:20],
    ],
    ids=[
        "empty",
        "cut head",
        "junk",
        "cut",
        "checksum",
        "colour",
        "changed",
        "too low",
        "too narrow",
        "kind",
        "cut colours",
    ],
)
def test_bad_payloads(payload: bytes) -> None:
    with pytest.raises(FormatError, match="screen chunk"):
        decode_screen(payload, 20, 33)


def test_more_colours_than_a_layer_has() -> None:
    with pytest.raises(ValueError, match="colours"):
        encode_screen(Screen(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8), None))


def test_decoding_needs_no_webp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda _name: False)
    assert "latents" in cotam_cli.info(cotam_cli.encode(np.full((64, 64, 3), 255, np.uint8))).chunks
    assert np.array_equal(decode_screen(WHOLE, 20, 33).pixels, DRAWN)


def test_a_claim_of_size_takes_no_memory() -> None:
    with pytest.raises(FormatError, match="too short"):
        decode_screen(bytes(100), 2048, 16384)
    for height, width in ((513, 65535), (65535, 513), (8193, 4097)):
        with pytest.raises(FormatError, match="in a picture of"):
            decode_screen(WHOLE, height, width)
