"""A map drawn over its picture, for people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cotam_cli.guidance.cells import Levels

RAISED, LOWERED = (255, 140, 0), (40, 90, 220)  # orange and blue: told apart by all eyes
OPACITY = 0.45

Pixels = NDArray[np.uint8]


def overlay(pixels: Pixels, levels: Levels, count: int, cell: int) -> Image.Image:
    """uint8 [h, w, 3] with cells above the middle level tinted orange, those below it blue, the more the farther."""
    height, width = pixels.shape[:2]
    wide = levels.repeat(cell, 0).repeat(cell, 1)[:height, :width].astype(np.float32)
    amount = (2 * wide - (count - 1)) / (count - 1)
    tint = np.where(amount[..., None] > 0, np.array(RAISED), np.array(LOWERED))
    share = OPACITY * np.abs(amount)[..., None]
    mixed = pixels * (1 - share) + tint * share
    return Image.fromarray(np.rint(mixed).astype(np.uint8))
