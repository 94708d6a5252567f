"""Quality planes and gains: how the header's quality and map steer every latent position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream.header import Header
from cotam_cli.codec.models import Gains
from cotam_cli.entropy.tables import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT, t_of_quality

LAMBDAS = (0.00018, 0.036)  # at quality 1 and 8: the training's

Plane = NDArray[np.int64]
Floats = NDArray[np.float32]


def quality_plane(header: Header, levels: NDArray[np.uint8] | None) -> Plane:
    """Effective quality of each latent position in 1/4096, int64 [h/16, w/16].

    levels uint8 [cell rows, cell columns] or None for a uniform map. A level adds strength x (level - middle)
    quality units; the sum is clipped to 1..8.
    """
    rows, columns = header.latent_grid
    if levels is None:
        return np.full((rows, columns), header.quality, np.int64)
    factor = header.cell_size // 16
    wide = levels.astype(np.int64).repeat(factor, 0).repeat(factor, 1)[:rows, :columns]
    offset = header.strength * 64 * (2 * wide - (header.levels - 1))  # strength is in 1/32: 128 / 2 a level
    return np.clip(header.quality + offset, MIN_QUALITY, MAX_QUALITY)


def float_planes(plane: Plane) -> Floats:
    """t and t^2 of a quality plane for the float transforms, float32 [1, rows, columns, 2]."""
    t = (t_of_quality(plane) / QUALITY_UNIT).astype(np.float32)
    return np.stack([t, t * t], -1)[None]


def _curve(coefficients: Floats, plane: Plane) -> Floats:
    """exp(a + b t + c t^2) at every position, float32 [rows, columns, latents]; few distinct qualities occur."""
    distinct, where = np.unique(plane, return_inverse=True)
    t = (t_of_quality(distinct) / QUALITY_UNIT).astype(np.float32)[:, None]
    a, b, c = coefficients
    table = np.exp(a + t * (b + t * c)).astype(np.float32)
    chosen: Floats = table[0] if len(distinct) == 1 else table[where.reshape(plane.shape)]
    return chosen


def gain_curve(gains: Gains, plane: Plane) -> Floats:
    """What `apply_gain` multiplies by: float32 [rows, columns, latents], or [latents] where all positions agree."""
    return _curve(gains.gain, plane)


def regain_curve(gains: Gains, plane: Plane) -> Floats:
    """What `undo_gain` multiplies by, as `gain_curve`."""
    return _curve(gains.regain, plane)


def lambdas(quality: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Bits a pixel that one unit of distortion (squared error of 0..255) is worth at a quality of 1..8."""
    low, high = np.log(LAMBDAS)
    return np.asarray(np.exp(low + (high - low) * (np.asarray(quality) - 1) / 7))


def apply_gain(gains: Gains, y: Floats, plane: Plane) -> Floats:
    """Latents of the analysis to symbol units, in place."""
    y *= _curve(gains.gain, plane)
    return y


def undo_gain(gains: Gains, values: NDArray[np.int32], plane: Plane) -> Floats:
    """Decoded values in 1/64 of a symbol to what the synthesis takes."""
    factors = regain_curve(gains, plane) * np.float32(1 / 64)
    return np.asarray(values * factors, np.float32)
