"""Where a small error costs structure: in smooth places, by the definition of MS-SSIM."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotam_cli.bench.metrics import ms_ssim
from cotam_cli.codec.structure import EQUAL, WEIGHTS, structure_weight

RNG = np.random.default_rng(5)
FLATTEST = EQUAL / 255**2 / 0.03**2 * sum(WEIGHTS)


def busy(rows: int, columns: int, spread: float = 60) -> np.ndarray:
    """Blobs of some eight pixels, which no scale averages away at once."""
    coarse = RNG.normal(128, spread, (rows // 8 + 1, columns // 8 + 1, 3))
    return coarse.repeat(8, 0).repeat(8, 1)[:rows, :columns].clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("grey", [0, 127, 255])
def test_a_flat_picture_weighs_most(grey: int) -> None:
    weight = structure_weight(np.full((160, 144, 3), grey, np.uint8))
    assert weight.shape == (10, 9)
    np.testing.assert_allclose(weight, FLATTEST, rtol=1e-4)


def test_busy_places_weigh_little() -> None:
    pixels = np.full((256, 512, 3), 127, np.uint8)
    pixels[:, 256:] = RNG.integers(0, 256, (256, 256, 3))
    weight = structure_weight(pixels)
    assert weight[:, :16] == pytest.approx(FLATTEST, rel=1e-4)
    assert weight[:, 16:].max() < 0.3 * FLATTEST


def test_it_foretells_what_ms_ssim_loses() -> None:
    """The same error in pictures of less and more contrast: what it costs falls as the weight does."""
    error = RNG.normal(0, 2, (64, 64, 3)).repeat(4, 0).repeat(4, 1)
    lost, weights = [], []
    for spread in (6, 20, 60):
        original = busy(256, 256, spread)
        shown = (original + error).clip(0, 255).round().astype(np.uint8)
        lost.append(1 - ms_ssim(original, shown))
        weights.append(structure_weight(original).mean())
    assert lost[0] > 2 * lost[1] > 4 * lost[2]
    ratios = np.array(lost) / weights
    assert ratios.max() < 3 * ratios.min()


@given(st.integers(1, 20), st.integers(1, 20))
def test_what_lies_128_pixels_away_does_not_matter(rows: int, columns: int) -> None:
    pixels = busy(16 * rows, 16 * columns)
    weight = structure_weight(pixels)
    assert weight.shape == (rows, columns)
    assert (weight > 0).all() and (weight <= FLATTEST * 1.001).all()
    other = pixels.copy()
    other[128:] = 0
    np.testing.assert_array_equal(structure_weight(other)[:8], weight[:8])
