"""Multi-scale structural similarity, cell by cell: a distortion that sees contrast and structure where squared error
sees sums. Nearly free beside the network, and closer to what vision models lose than squared error is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales (Wang, Simoncelli, Bovik, 2003)
WINDOW, STEP = 8, 4
C1, C2 = 0.01**2, 0.03**2  # for pixels 0..1
EQUAL = (
    1280.0  # one minus MS-SSIM times this weighs like squared error of 0..255 (CompressAI's pairs of lambdas)
)


def structural_distance(found: Tensor, wanted: Tensor, cell: int) -> Tensor:
    """One minus MS-SSIM, to first order: the weighted sum of the scales instead of their product.

    float [n, 3, h, w] in 0..1, sides at least 128 -> [n, 1, h / cell, w / cell].
    """
    size = (found.shape[2] // cell, found.shape[3] // cell)
    x, y = found.float(), wanted.float()
    total = torch.zeros((), device=x.device)
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        likeness = _likeness(x, y, with_light=scale == len(WEIGHTS) - 1)
        distance = 1 - likeness.mean(1, keepdim=True)
        total = total + weight * F.interpolate(distance, size=size, mode="bilinear", align_corners=False)
    return total


def _likeness(x: Tensor, y: Tensor, with_light: bool) -> Tensor:
    """Contrast and structure of overlapping windows, and at the last scale their light, [n, 3, rows, columns]."""
    means = F.avg_pool2d(torch.cat([x, y, x * x + y * y, x * y], 1), WINDOW, STEP)
    mean_x, mean_y, squares, products = means.chunk(4, 1)
    both, light = mean_x * mean_y, mean_x.square() + mean_y.square()
    contrast = (2 * (products - both) + C2) / (squares - light + C2)
    return contrast * (2 * both + C1) / (light + C1) if with_light else contrast
