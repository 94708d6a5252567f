"""Refined latents cost less, bits and distortion together; decoders see ordinary files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cotam_cli
from cotam_cli.bench.metrics import ms_ssim
from cotam_cli.codec.analysis import MapSpec, analyse
from cotam_cli.codec.encoder import TimedPixels, encode_frames, encode_pixels
from cotam_cli.codec.quality import lambdas
from cotam_cli.codec.refining import refine
from cotam_cli.codec.structure import EQUAL

PHOTO = np.asarray(Image.open(Path(__file__).parents[2] / "examples" / "kodim23.png").convert("RGB"))
CROP = np.ascontiguousarray(PHOTO[100:292, 200:456])


def costs(data: bytes, pixels: np.ndarray, quality: float) -> tuple[float, float]:
    """Bits + lambda x squared error, and bits + lambda x structural distance of equal weight."""
    shown = np.asarray(cotam_cli.decode(data, target="human"))
    squared = np.square(shown.astype(float) - pixels).mean()
    structure = EQUAL * (1 - ms_ssim(pixels, shown))
    weight = float(lambdas(quality)) * pixels.shape[0] * pixels.shape[1]
    return 8 * len(data) + weight * squared, 8 * len(data) + weight * structure


def cost(data: bytes, pixels: np.ndarray, quality: float) -> float:
    return costs(data, pixels, quality)[0]


@pytest.mark.parametrize("quality", [3.0, 5.0, 7.5])
def test_a_photo_costs_less(quality: float) -> None:
    plain, fine = (encode_pixels(CROP, quality, effort=effort) for effort in (0, 3))
    assert cost(fine, CROP, quality) < 0.985 * cost(plain, CROP, quality)


@pytest.mark.parametrize(("quality", "share"), [(2.0, 0.983), (5.0, 0.978)])
def test_choosing_symbols_costs_still_less_in_squares_and_in_structure(quality: float, share: float) -> None:
    plain, few, many = (costs(encode_pixels(CROP, quality, effort=n), CROP, quality) for n in (0, 3, 8))
    for k in range(2):
        assert few[k] < 0.99 * plain[k]
        assert many[k] < min(0.997 * few[k], share * plain[k])


def test_with_a_map_too() -> None:
    levels = np.zeros((6, 8), np.uint8)
    levels[2:4, 2:6] = 2
    spec = MapSpec(levels)
    plain, fine, finest = (encode_pixels(CROP, 5.0, importance=spec, effort=effort) for effort in (0, 3, 5))
    assert cost(finest, CROP, 5.0) < cost(fine, CROP, 5.0) < cost(plain, CROP, 5.0)


@pytest.mark.parametrize("shape", [(1, 1), (40, 300), (130, 65)])
def test_any_size(shape: tuple[int, int]) -> None:
    pixels = np.ascontiguousarray(PHOTO[: shape[0], : shape[1]])
    assert cotam_cli.decode(encode_pixels(pixels, 4.0, effort=4)).size == shape[::-1]


def test_tiles_meet_without_a_seam() -> None:
    """A picture of two tiles: next to where they meet, latents move as in a picture of one."""
    wide = np.ascontiguousarray(np.tile(PHOTO[:128], (1, 2, 1))[:, :1152])
    whole = analyse(wide, 5.0, None)
    part = analyse(np.ascontiguousarray(wide[:, 256:896]), 5.0, None)
    moved, alone = refine(whole, wide, 5.0, 1).y - whole.y, refine(part, wide[:, 256:896], 5.0, 1).y - part.y
    seam, same = moved[:, 34:38].ravel(), alone[:, 18:22].ravel()
    assert np.corrcoef(seam, same)[0, 1] > 0.95


def test_nothing_to_refine() -> None:
    blank = np.full((64, 64, 3), 127, np.uint8)
    assert len(encode_pixels(blank, 2.0, effort=5)) <= len(encode_pixels(blank, 2.0)) + 2


def test_animations() -> None:
    frames = [TimedPixels(CROP, None, 40), TimedPixels(np.ascontiguousarray(CROP[::-1]), None, 40)]
    plain, fine = (encode_frames(frames, 5.0, effort=effort) for effort in (0, 2))
    assert len(fine) < len(plain)


def test_a_size_is_kept() -> None:
    plain, fine = (cotam_cli.encode(CROP, max_bytes=3000, effort=effort) for effort in (0, 5))
    assert max(len(plain), len(fine)) <= 3000
    errors = [
        np.square(np.asarray(cotam_cli.decode(data, target="human")).astype(float) - CROP).mean()
        for data in (plain, fine)
    ]
    assert errors[1] < errors[0]


def test_only_0_to_10() -> None:
    with pytest.raises(cotam_cli.CotamError, match="effort is 11; choose a whole number"):
        cotam_cli.encode(CROP, effort=11)
