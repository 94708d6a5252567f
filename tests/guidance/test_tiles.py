"""Maps of large pictures: a global look and tiles."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotam_cli.guidance.tiles import MAX_AREA, local_map, network_map, tile_starts
from guidance.making import brightness


@given(st.integers(1, 400), st.integers(1, 60))
def test_tiles_cover_everything_and_overlap(count, tile):
    starts = tile_starts(count, tile)
    assert starts[0] == 0
    assert starts[-1] + tile >= count
    assert all(b - a <= max(1, tile // 2) for a, b in pairwise(starts))
    assert starts[-1] <= max(0, count - tile)


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_tiles_are_few_for_a_picture_of_any_size(height, width):
    """Together at most 50 times the network's own input, so that no picture takes memory or time without bounds."""
    guide = brightness(native=640)
    tile = guide.native // guide.patch
    sides = guide.input_size((height, width), MAX_AREA)
    tiles = [min(tile, side // guide.patch) * len(tile_starts(side // guide.patch, tile)) for side in sides]
    assert tiles[0] * tiles[1] <= 50 * tile**2


@pytest.mark.parametrize("batch", [1, 64])
def test_the_map_does_not_depend_on_how_tiles_are_batched(batch, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    pixels[64:128] //= 4
    in_eights = network_map(brightness(native=64), pixels, 32)
    monkeypatch.setattr("cotam_cli.guidance.onnx_guide.BATCH", batch)
    assert np.allclose(network_map(brightness(native=64), pixels, 32), in_eights, atol=1e-6)


def test_a_small_picture_is_seen_whole():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[32:, :32] = 200
    found = network_map(brightness(), pixels, 32)
    assert found.shape == (2, 2)
    assert found.argmax() == 2


def test_an_evenly_lit_picture_shows_no_seams():
    """Brightness rises evenly, so that a step of the map between two cells is a seam."""
    ramp = np.linspace(0, 255, 512)[None, :, None].repeat(256, 0).repeat(3, 2).astype(np.uint8)
    near = local_map(brightness(native=64), ramp)
    assert near.shape == (32, 64)
    assert np.abs(np.diff(near, axis=0)).max() < 1e-6
    steps = np.diff(near[0])
    assert np.abs(steps).max() < 0.6  # within a tile a step is about 0.4


def test_large_pictures_keep_the_global_and_gain_the_local_look():
    """A faint spot in the dark half: the global look alone hardly sees it, the tiles do."""
    pixels = np.zeros((512, 512, 3), np.uint8)
    pixels[:, 256:] = 200
    pixels[128:160, 96:128] = 30
    found = network_map(brightness(native=64), pixels, 32)
    assert found[:, 10:].mean() > found[:, :6].mean()  # bright half
    dark = found[:, :6]
    assert np.unravel_index(dark.argmax(), dark.shape) == (4, 3)


def test_a_flat_picture_has_a_flat_map():
    assert not network_map(brightness(), np.full((300, 300, 3), 77, np.uint8), 32).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (33, 17), (700, 9)])
def test_any_size(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = network_map(brightness(), pixels, 32)
    assert found.shape == (-(-size[0] // 32), -(-size[1] // 32))
    assert np.isfinite(found).all()
