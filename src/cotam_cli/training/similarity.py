"""Multi-scale structural similarity, cell by cell: a distortion that sees contrast and structure where squared error
sees sums. Nearly free beside the network, and closer to what vision models lose than squared error is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cotam_cli.codec.structure import C2, WEIGHTS, WINDOW

STEP = 4
C1 = 0.01**2  # for pixels 0..1


def structural_distance(found: Tensor, wanted: Tensor, cell: int) -> Tensor:
    """One minus MS-SSIM, to first order: the weighted sum of the scales instead of their product.

    float [n, 3, h, w] in 0..1, sides at least 128 and multiples of 64 -> [n, 1, h / cell, w / cell].
    """
    size = (found.shape[2] // cell, found.shape[3] // cell)
    x, y = found.float().contiguous(), wanted.float().contiguous()
    total = torch.zeros((), device=x.device)
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        likeness = _likeness(x, y, with_light=scale == len(WEIGHTS) - 1)
        distance = 1 - likeness.mean(1, keepdim=True)
        total = total + weight * F.interpolate(distance, size=size, mode="bilinear", align_corners=False)
    return total


def _window_means(x: Tensor) -> Tensor:
    """`avg_pool2d(x, 8, 4)` of [n, c, h, w], sides multiples of 4, by way of 4x4 blocks and a matrix product, in a
    third of the time: the windows overlap, and pooling is slow to differentiate."""
    pool = torch.eye(x.shape[3] // STEP, device=x.device).repeat_interleave(STEP, 0) / STEP**2
    blocks = (x @ pool).unflatten(2, (-1, STEP)).sum(3)
    return F.avg_pool2d(blocks, WINDOW // STEP, 1)


def _likeness(x: Tensor, y: Tensor, with_light: bool) -> Tensor:
    """Contrast and structure of overlapping windows, and at the last scale their light, [n, 3, rows, columns]."""
    mean_x, mean_y = _window_means(x), _window_means(y)
    squares, products = _window_means(torch.addcmul(x * x, y, y)), _window_means(x * y)
    both, light = mean_x * mean_y, mean_x.square() + mean_y.square()
    contrast = (2 * (products - both) + C2) / (squares - light + C2)
    return contrast * (2 * both + C1) / (light + C1) if with_light else contrast
