"""Guided files: the unguided size, the map in the header, the ends of the range of quality."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cotam_cli
from cotam_cli.codec.analysis import MapSpec
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.steering import encode_guided

PHOTO = np.asarray(Image.open(Path(__file__).parents[2] / "examples" / "kodim23.png").convert("RGB"))
SMALL = np.ascontiguousarray(PHOTO[128:384, 256:640])
LEVELS = np.random.default_rng(0).choice(3, (8, 12), p=[0.25, 0.5, 0.25]).astype(np.uint8)
TILTED = np.minimum(2, np.arange(12) // 4).astype(np.uint8)[None].repeat(8, 0)


@pytest.mark.parametrize("levels", [LEVELS, TILTED, 2 - TILTED], ids=["random", "right", "left"])
@pytest.mark.parametrize(("quality", "strength"), [(2, 0.5), (3.3, 1.5), (6, 0.75)])
def test_the_size_is_that_of_the_unguided_file(levels, quality, strength):
    plain = encode_pixels(SMALL, quality)
    guided = encode_guided(SMALL, quality, MapSpec(levels, strength=strength))
    assert len(guided) == pytest.approx(len(plain), rel=0.03)
    facts = cotam_cli.info(guided)
    assert (facts.levels, facts.cell_size, facts.strength) == (3, 32, strength)
    assert cotam_cli.decode(guided).size == (384, 256)


def test_important_cells_come_out_better():
    guided = cotam_cli.decode(encode_guided(SMALL, 3, MapSpec(TILTED, strength=1.5)))
    plain = cotam_cli.decode(encode_pixels(SMALL, 3))

    def error(picture, part):
        return np.square(np.asarray(picture, float)[:, part] - SMALL[:, part]).mean()

    left, right = slice(0, 128), slice(256, 384)
    assert error(guided, right) < 0.95 * error(plain, right)
    assert error(guided, left) > 1.05 * error(plain, left)


@pytest.mark.parametrize("quality", [1, 1.05, 7.95, 8])
def test_at_the_ends_of_the_range_the_size_is_kept_at_the_maps_cost(quality):
    plain = encode_pixels(SMALL, quality)
    guided = encode_guided(SMALL, quality, MapSpec(LEVELS, strength=1.0))
    assert len(guided) == pytest.approx(len(plain), rel=0.03)
    assert cotam_cli.info(guided).strength <= 0.5


def test_a_map_that_says_nothing_leaves_the_file_as_it_is():
    for levels in (np.ones((8, 12), np.uint8), np.zeros((8, 12), np.uint8)):
        assert encode_guided(SMALL, 3, MapSpec(levels)) == encode_pixels(SMALL, 3)
    assert encode_guided(SMALL, 3, MapSpec(LEVELS, strength=0.01)) == encode_pixels(SMALL, 3)


def test_the_same_picture_gives_the_same_file():
    spec = MapSpec(LEVELS, strength=0.5)
    assert encode_guided(SMALL, 3, spec) == encode_guided(SMALL, 3, spec)


@pytest.mark.parametrize("guide", ["attention", "mix", "focus"])
def test_the_embedded_guides_map_costs_little(guide):
    facts = cotam_cli.info(cotam_cli.encode(PHOTO, quality=3, guide=guide))
    assert 0 < facts.chunks["map"] <= 42  # 1.5 % of ctm-5's file; later models' are smaller, the map is not
