"""Tiles give what a whole run gives: no seams, whatever the size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cotam_cli.codec import tiling
from cotam_cli.codec.decoder import decode_pixels, decode_to_latents
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.models import load_model
from cotam_cli.codec.quality import float_planes


@given(st.integers(1, 5000), st.integers(1, 200))
def test_tiles_cover_an_axis_once(size: int, tile: int) -> None:
    tiles = tiling.axis_tiles(size, tile)
    assert [t.start for t in tiles] == [0, *[t.end for t in tiles[:-1]]]
    assert tiles[-1].end == size
    for t in tiles:
        assert 1 <= t.end - t.start <= tile
        assert t.low == max(0, t.start - tiling.HALO)
        assert t.high == min(size, t.end + tiling.HALO)


@pytest.fixture(scope="module")
def pixels(photo: Image.Image) -> np.ndarray:
    return np.asarray(photo.crop((100, 60, 100 + 400, 60 + 304)))


def test_a_tiled_analysis_is_the_whole_one(pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = float_planes(np.full((19, 25), 12288, np.int64))
    session = load_model().analysis
    whole = tiling.run_analysis(session, pixels, planes)
    monkeypatch.setattr(tiling.grid_tiles, "__defaults__", (6, tiling.HALO))
    tiled = tiling.run_analysis(session, pixels, planes)
    scale = np.abs(whole).max()
    assert np.abs(tiled - whole).max() <= 1e-5 * scale


@pytest.mark.parametrize("quality", [1.0, 8.0])
def test_a_tiled_decoding_has_no_seams(
    pixels: np.ndarray, quality: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode_pixels(pixels, quality)
    whole = decode_pixels(data).astype(int)
    latents = decode_to_latents(data).latents
    monkeypatch.setattr(tiling.grid_tiles, "__defaults__", (6, tiling.HALO))
    tiled = decode_pixels(data).astype(int)
    assert np.abs(tiled - whole).max() <= 1
    assert decode_to_latents(data).latents.crc == latents.crc
