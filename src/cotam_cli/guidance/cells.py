"""Fields of importance on a grid of cells: resampling, normalising, quantising to levels.

A field is float [rows, columns] that covers a whole picture evenly, high where the picture matters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import GuideError

Field = NDArray[np.float64]
Levels = NDArray[np.uint8]

FLAT = 1e-6  # a field that varies less than this, relative to its mean, says nothing


def resample(field: NDArray[np.floating], size: tuple[int, int], cell: int) -> Field:
    """A field to the cells of a picture of `size` (height, width), cells of `cell` pixels.

    Triangle filter, as wide as the larger of the two grids' steps; the last row and column of cells may reach
    over the picture's edge. The same grid comes back unchanged.
    """
    down, across = (_axis_weights(count, side, cell) for count, side in zip(field.shape, size, strict=True))
    result: Field = down @ field.astype(np.float64) @ across.T
    return result


def _axis_weights(count: int, side: int, cell: int) -> Field:
    """[cells, count] weights along one axis; each row sums to 1."""
    cells = -(-side // cell)
    if cells == count:
        return np.eye(count)
    middles = (np.arange(cells) + 0.5) * (cell * count / side) - 0.5
    reach = max(1.0, cell * count / side)
    middles = middles.clip(0, count - 1)
    weights = np.maximum(0.0, 1 - np.abs(middles[:, None] - np.arange(count)) / reach)
    normal: Field = weights / weights.sum(1, keepdims=True)
    return normal


def normalise(field: NDArray[np.floating], floor: float = 0.0) -> Field:
    """Zero mean, unit standard deviation; all zeros when the field is flat.

    floor: divide by at least this deviation, so that a nearly flat field stays nearly flat.
    """
    wide = field.astype(np.float64)
    mean, deviation = wide.mean(), max(float(wide.std()), floor)
    if deviation <= FLAT * max(abs(float(mean)), 1e-12):
        return np.zeros_like(wide)
    return np.asarray((wide - mean) / deviation)


def soften(field: Field) -> Field:
    """Means of neighbouring cells, 1-2-1 each way: a map with smoother borders takes a quarter fewer bytes."""
    for axis in (0, 1):
        wide = np.moveaxis(
            np.pad(field, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], mode="edge"), axis, 0
        )
        field = np.moveaxis((wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4, 0, axis)
    return field


def to_levels(field: NDArray[np.floating], count: int, k: float) -> Levels:
    """Quantise by statistics: uint8 of 0..count-1, the middle where the field is near its mean.

    Thresholds lie 2 k standard deviations apart around the mean: at +-k for three levels. A flat field gives the
    middle level everywhere. Raises GuideError for levels outside 2..15, k not above 0, or values that are no numbers.
    """
    if not 2 <= count <= 15:
        raise GuideError(f"{count} levels are out of range; choose 2 to 15")
    if not 0 < k <= 10:
        raise GuideError(f"k {k} is out of range; choose above 0, at most 10")
    if not np.isfinite(field).all():
        raise GuideError("the importance map holds values that are no numbers; give another guide")
    normal = normalise(field)
    if not normal.any():
        return np.full(field.shape, count // 2, np.uint8)
    thresholds = k * (2 * np.arange(count - 1) - (count - 2))
    return np.searchsorted(thresholds, normal.ravel()).reshape(field.shape).astype(np.uint8)
