"""The pixels' part of the adapter's loss: squared errors beside the prior's, cell by cell."""

from __future__ import annotations

from torch import Tensor, nn

FLAT = 1e-5
"""Squared error of a cell, 0..1, below which it is as good as none (two thirds of a level of 8 bits)."""
BLANK = 0.05  # share of cells with an error, below which a crop counts less: what is blank has no ratio


def cell_errors(found: Tensor, pixels: Tensor) -> Tensor:
    """Mean squared error of each cell of 16x16 pixels, (N, H / 16, W / 16), of pictures (N, 3, H, W)."""
    return nn.functional.avg_pool2d((found - pixels).square().mean(1, keepdim=True), 16)[:, 0]


def pixel_loss(error: Tensor, before: Tensor) -> Tensor:
    """Squared errors beside the prior's, cell by cell: 1 where nothing changed.

    By whole crops, faint textures in smooth places cost nothing: busy places have most of the error.
    """
    softened = before + FLAT
    shares = (before / softened).mean((1, 2)).clamp(min=BLANK)
    return ((error / softened).mean((1, 2)) / shares).mean()
