"""How far a decoded picture is from the original: PSNR and MS-SSIM over RGB."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import CotamError

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]

WINDOW = 11  # pixels across the Gaussian window, of standard deviation 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik, 2003
MIN_SIDE = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

_offsets = np.arange(WINDOW) - WINDOW // 2
_gauss = np.exp(-(_offsets**2) / (2 * 1.5**2))
TAPS = tuple(float(tap) for tap in _gauss / _gauss.sum())


def psnr(original: Pixels, decoded: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over all three channels; infinite for equal pictures.

    Both uint8 [h, w, 3]. Raises CotamError when the sizes differ.
    """
    _check(original, decoded)
    error = original.astype(np.int32) - decoded
    mean_square = float(np.mean(error * error, dtype=np.float64))
    return math.inf if mean_square == 0 else 10 * math.log10(255**2 / mean_square)


def ms_ssim(original: Pixels, decoded: Pixels) -> float | None:
    """Multi-scale structural similarity, 0 to 1, the mean of the channels; None below 161 pixels a side.

    Five scales, as pytorch-msssim computes it. Both uint8 [h, w, 3]. Raises CotamError when the sizes differ.
    """
    _check(original, decoded)
    if min(original.shape[:2]) < MIN_SIDE:
        return None
    planes = (picture.transpose(2, 0, 1).astype(np.float32) for picture in (original, decoded))
    return float(np.mean([_ms_ssim_plane(x, y) for x, y in zip(*planes, strict=True)]))


def decibels(similarity: float) -> float:
    """MS-SSIM in dB, -10 log10(1 - x): near 1 the plain figure hides differences. 100 dB at most."""
    return -10 * math.log10(max(1 - similarity, 1e-10))


def _check(original: Pixels, decoded: Pixels) -> None:
    if original.shape != decoded.shape:
        raise CotamError(f"pictures of different sizes: {list(original.shape)} and {list(decoded.shape)}")


def _ms_ssim_plane(x: Plane, y: Plane) -> float:
    result = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        last = scale == len(SCALE_WEIGHTS) - 1
        similarity, contrast = _ssim_plane(x, y)
        result *= max(similarity if last else contrast, 0.0) ** weight
        if not last:
            x, y = _halve(x), _halve(y)
    return result


def _ssim_plane(x: Plane, y: Plane) -> tuple[float, float]:
    """Means of SSIM and of its contrast and structure part."""
    mean_x, mean_y = _blur(x), _blur(y)
    xx, yy, xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    variances = _blur(x * x + y * y) - xx - yy  # the formula needs only their sum: one blur less
    contrast = (2 * (_blur(x * y) - xy) + C2) / (variances + C2)
    similarity = (2 * xy + C1) / (xx + yy + C1) * contrast
    return float(similarity.mean(dtype=np.float64)), float(contrast.mean(dtype=np.float64))


def _blur(x: Plane) -> Plane:
    """The Gaussian window, along columns and then rows; only where it lies fully inside."""
    return np.asarray(_blur_rows(_blur_rows(x).T).T)


def _blur_rows(x: Plane) -> Plane:
    count = len(x) - WINDOW + 1
    middle = WINDOW // 2
    total: Plane = x[middle : middle + count] * np.float32(TAPS[middle])
    for k in range(middle):
        mirror = WINDOW - 1 - k
        total += (x[k : k + count] + x[mirror : mirror + count]) * np.float32(TAPS[k])
    return total


def _halve(x: Plane) -> Plane:
    """Means of 2x2 pixels; an odd side gets a row or column of zeros in front, as in pytorch-msssim."""
    rows, columns = x.shape
    x = np.pad(x, ((rows % 2, 0), (columns % 2, 0)))
    top, bottom = x[::2], x[1::2]
    return np.asarray((top[:, ::2] + top[:, 1::2] + bottom[:, ::2] + bottom[:, 1::2]) * np.float32(0.25))
