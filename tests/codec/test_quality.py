"""Quality planes as docs/FORMAT.md has them, and gains that undo each other where the model says so."""

import numpy as np
import pytest
from PIL import Image

from cotam_cli.bitstream import Header
from cotam_cli.codec.analysis import MapSpec
from cotam_cli.codec.decoder import decode_pixels
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.models import Gains
from cotam_cli.codec.quality import apply_gain, quality_plane, undo_gain
from cotam_cli.entropy.tables import t_of_quality


def header(**fields: int) -> Header:
    return Header(model=1, width=100, height=70, quality=12288, latent_hash=0, **fields)


def test_without_a_map_the_plane_is_flat() -> None:
    assert np.array_equal(quality_plane(header(), None), np.full((5, 7), 12288))


def test_levels_move_the_quality_by_the_strength() -> None:
    """Three levels, cells of 32 pixels, strength 1.5 (48 / 32): 1.5, 3 and 4.5, cut to the latent grid."""
    levels = np.array([[0, 1, 2, 1], [1, 1, 1, 0], [2, 0, 1, 2]], np.uint8)
    plane = quality_plane(header(levels=3, cell_log2=2, strength=48), levels)
    wanted = (12288 + 6144 * (levels.astype(int) - 1)).repeat(2, 0).repeat(2, 1)[:5, :7]
    assert np.array_equal(plane, wanted)


def test_an_even_number_of_levels_has_no_middle_one() -> None:
    levels = np.array([[0, 1]] * 2, np.uint8)
    plane = quality_plane(header(levels=2, cell_log2=3, strength=32), levels)
    assert np.array_equal(plane[0], [10240] * 4 + [14336] * 3)


def test_qualities_are_clipped() -> None:
    levels = np.zeros((3, 4), np.uint8)
    levels[0] = 14
    plane = quality_plane(header(levels=15, cell_log2=2, strength=255), levels)
    assert plane[0].tolist() == [32768] * 7
    assert plane[-1].tolist() == [4096] * 7


@pytest.mark.parametrize(("quality", "t"), [(4096, -4096), (18432, 0), (32768, 4096), (12288, -1755)])
def test_t_of_quality(quality: int, t: int) -> None:
    assert t_of_quality(np.array(quality)) == t


def test_gains_follow_the_plane() -> None:
    curve = np.array([[0.5, -0.25], [1.0, 2.0], [0.0, 0.5]], np.float32)
    gains = Gains(curve, -curve)
    plane = np.array([[4096, 18432], [32768, 20000]], np.int64)
    y = np.random.default_rng(0).normal(0, 30, (2, 2, 2)).astype(np.float32)
    gained = apply_gain(gains, y.copy(), plane)
    assert gained[1, 0, 1] == pytest.approx(y[1, 0, 1] * np.exp(-0.25 + 2 + 0.5), rel=1e-5)
    back = undo_gain(gains, np.rint(gained * 64).astype(np.int32), plane)
    assert np.allclose(back, y, atol=0.5)


def test_a_map_moves_bits(photo: Image.Image) -> None:
    """The half that a map raises comes back closer to the original, the other half less close."""
    pixels = np.asarray(photo.crop((200, 100, 456, 356)))
    levels = np.zeros((8, 8), np.uint8)
    levels[:, 4:] = 2
    flat, mapped = (
        decode_pixels(encode_pixels(pixels, 4.0, importance=spec)).astype(float)
        for spec in (None, MapSpec(levels, strength=2.0))
    )
    left, right = np.s_[:, :112], np.s_[:, 144:]

    def error(decoded: np.ndarray, part: tuple[slice, slice]) -> float:
        return float(np.mean((decoded[part] - pixels[part]) ** 2))

    assert error(mapped, right) < error(flat, right)
    assert error(mapped, left) > error(flat, left)
