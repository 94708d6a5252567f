"""What an error costs in structure (MS-SSIM) beside what it costs in squares: much where a picture is smooth, little
where it is busy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cotam_cli.codec.tiling import BLOCK

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales (Wang, Simoncelli, Bovik, 2003)
WINDOW = 8
C2 = 0.03**2  # for pixels 0..1
EQUAL = (
    1280.0  # one minus MS-SSIM times this weighs like squared error of 0..255 (CompressAI's pairs of lambdas)
)
BAND = WINDOW << (len(WEIGHTS) - 1)  # pixels that a window of the last scale covers


def structure_weight(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Times the squared error that a small error costs in structural distance, about 0.1 to 22, by position.

    uint8 [16 rows, 16 columns, 3] -> float32 [rows, columns]. An error of variance e takes e / (2 v + C2) from the
    similarity of a window of variance v; windows stand side by side here.
    """
    rows, columns = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    weight = np.empty((rows, columns), np.float32)
    step = BAND // BLOCK
    for top in range(0, rows, step):
        band = pixels[top * BLOCK : top * BLOCK + BAND]
        padded = np.pad(band, ((0, BAND - len(band)), (0, -band.shape[1] % BAND), (0, 0)), mode="edge")
        weight[top : top + step] = _band_weight(padded)[: rows - top, :columns]
    weight *= np.float32(EQUAL / 255**2)
    return weight


def _band_weight(band: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 [128, 128 n, 3] -> float32 [8, 8 n]."""
    x = band.astype(np.float32) * np.float32(1 / 255)
    total = np.zeros((len(band) // BLOCK, band.shape[1] // BLOCK), np.float32)
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            x = _averaged(x, 2)
        variance = np.maximum(_averaged(np.square(x), WINDOW) - np.square(_averaged(x, WINDOW)), 0)
        weak = np.float32(weight) / (2 * variance + np.float32(C2))
        times = (WINDOW << scale) // BLOCK  # positions that a window covers, along each side
        total += (weak.repeat(times, 0).repeat(times, 1) if times else _averaged(weak, 2)).mean(-1)
    return total


def _averaged(x: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Means of squares of `side`; float32 [h, w, channels]."""
    rows, columns, channels = x.shape
    means: NDArray[np.float32] = x.reshape(rows // side, side, columns // side, side, channels).mean((1, 3))
    return means
