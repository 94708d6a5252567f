"""Where a picture is quiet: detail there is seen and costs little, in a busy texture it costs much and is lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cotam_cli.guidance.cells import Field, normalise

QUIET_SHARE = 0.5  # of the map `focus`, beside 1 of deep attention and text
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601 luma

Pixels = NDArray[np.uint8]


def quiet_field(pixels: Pixels, cell: int) -> Field:
    """uint8 [h, w, 3] to -log(1 + variance of luma) of each cell of `cell` pixels, float [rows, columns].

    The adaptive quantisation of video encoders (x264's) rests on the same figure. Cells that the edge cuts off are
    filled up with the edge's pixels.
    """
    height, width = pixels.shape[:2]
    rows, columns = -(-height // cell), -(-width // cell)
    field = np.empty((rows, columns))
    for row in range(rows):  # a row of cells at a time: floats of a whole large picture would not fit
        strip = pixels[row * cell : (row + 1) * cell].astype(np.float32) @ GREY
        wide = np.pad(strip, ((0, cell - len(strip)), (0, columns * cell - width)), mode="edge")
        wide -= 128  # squares of smaller numbers lose less
        mean, square = (x.mean(0).reshape(columns, cell).mean(1) for x in (wide, wide * wide))
        field[row] = -np.log1p(np.maximum(0, square - mean * mean))
    return field


def beside_quiet(seen: Field, pixels: Pixels, cell: int, share: float) -> Field:
    """A map [rows, columns] of what is seen, normalised, and so much of where the picture is quiet."""
    return normalise(seen) + share * normalise(quiet_field(pixels, cell))
