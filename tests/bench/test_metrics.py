"""PSNR and MS-SSIM on arrays whose values are known."""

import math

import numpy as np
import pytest

from cotam_cli.bench.metrics import MIN_SIDE, decibels, ms_ssim, psnr
from cotam_cli.errors import CotamError


def scene(height, width, seed=0):
    """Smooth shapes with some texture, uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 40
    base = np.stack([np.sin(x + k) * np.cos(y * (k + 1)) for k in range(3)], -1)
    return np.clip(128 + 90 * base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8)


def noisy(pixels, sigma):
    noise = np.random.default_rng(1).normal(0, sigma, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def test_psnr_of_a_known_error():
    a = np.full((4, 5, 3), 100, np.uint8)
    assert psnr(a, a + 10) == pytest.approx(20 * math.log10(255 / 10))
    assert psnr(np.zeros_like(a), np.full_like(a, 255)) == 0
    assert psnr(a, a) == math.inf


def test_psnr_counts_all_channels_alike():
    a = np.full((4, 5, 3), 100, np.uint8)
    b = a.copy()
    b[..., 1] -= 30
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2 / (900 / 3)))


def test_ms_ssim_falls_with_noise():
    a = scene(200, 180)
    values = [ms_ssim(a, noisy(a, sigma)) for sigma in (1, 10, 60)]
    assert ms_ssim(a, a) == pytest.approx(1, abs=1e-6)
    assert 1 > values[0] > values[1] > values[2] > 0


@pytest.mark.parametrize(("height", "width"), [(MIN_SIDE, 300), (176, 192), (201, 173)])
def test_ms_ssim_equals_pytorch_msssim(height, width):
    torch = pytest.importorskip("torch", reason="the reference implementation needs PyTorch")
    reference = pytest.importorskip("pytorch_msssim", reason="pip install pytorch-msssim")
    a = scene(height, width)
    for sigma in (3, 30):
        b = noisy(a, sigma)
        tensors = [torch.from_numpy(p).permute(2, 0, 1)[None].double() for p in (a, b)]
        assert ms_ssim(a, b) == pytest.approx(reference.ms_ssim(*tensors, data_range=255).item(), abs=1e-4)


@pytest.mark.parametrize(
    ("size", "sigma", "expected"),
    [
        ((161, 300), 3, 0.992858),
        ((161, 300), 30, 0.696257),
        ((176, 192), 3, 0.992885),
        ((176, 192), 30, 0.697060),
        ((201, 173), 3, 0.992928),
        ((201, 173), 30, 0.699205),
    ],
)
def test_ms_ssim_of_stored_values(size, sigma, expected):
    """What pytorch-msssim 1.0.0 gives in double precision; odd sizes too."""
    a = scene(*size)
    assert ms_ssim(a, noisy(a, sigma)) == pytest.approx(expected, abs=1e-4)


def test_ms_ssim_needs_161_pixels():
    small = scene(160, 400)
    assert ms_ssim(small, small) is None
    assert ms_ssim(small.transpose(1, 0, 2), small.transpose(1, 0, 2)) is None


def test_unlike_pictures_have_ms_ssim_near_zero_but_a_number():
    a = scene(170, 170)
    assert 0 <= ms_ssim(a, 255 - a) < 0.3


def test_decibels():
    assert decibels(0.9) == pytest.approx(10)
    assert decibels(1.0) == 100


@pytest.mark.parametrize("measure", [psnr, ms_ssim])
def test_sizes_must_agree(measure):
    with pytest.raises(CotamError, match="different sizes"):
        measure(scene(170, 170), scene(170, 171))
