"""Latents moved downhill before they are coded: what the analysis left on the table, at no cost to the decoder.

The cost is the training's, bits + lambda x distortion (half squared error, half structural distance). The distortion's
slope comes from the synthesis run forwards and backwards (`slope.onnx`); that of the bits from the tables, for each
latent by itself: what a change does to its neighbours' predictions is left out, which hardly matters.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cotam_cli.codec.analysis import Analysis, MapSpec, Pixels, analyse, code, make_plane, pad_to
from cotam_cli.codec.quality import float_planes, gain_curve, lambdas, regain_curve, undo_gain
from cotam_cli.codec.tiling import BLOCK, run_slope
from cotam_cli.entropy.estimate import WIDEST, Costs, cost_table
from cotam_cli.entropy.latents import UNIT, Trace
from cotam_cli.entropy.tables import QUALITY_UNIT, SKIP, scale_index

Floats = NDArray[np.float32]

LENGTHS = (0.016, 0.012, 0.01)
"""Of a symbol, by the number of steps: the root mean square by which the first one moves the latents that are coded."""


def analyse_finely(pixels: Pixels, quality: float, importance: MapSpec | None, effort: int) -> Analysis:
    """`analyse`, then so many steps downhill; each takes some two and a half times as long as decoding."""
    analysis = analyse(pixels, quality, importance)
    return refine(analysis, pixels, quality, effort) if effort else analysis


def refine(analysis: Analysis, pixels: Pixels, quality: float, steps: int) -> Analysis:
    """The analysis of uint8 [h, w, 3] pixels with its latents moved by 1 to 3 steps, for a quality."""
    model, plane = analysis.model, make_plane(analysis, quality)
    original = pad_to(pixels, plane.shape[0] * BLOCK, plane.shape[1] * BLOCK)
    gain, regain = gain_curve(model.gains, plane), regain_curve(model.gains, plane)
    weight = lambdas(plane / QUALITY_UNIT).astype(np.float32)[..., None]
    costs, planes = cost_table(model.entropy.tables), float_planes(plane)
    y, length = analysis.y, 0.0
    for _ in range(steps):
        trace = Trace.empty(y.shape)
        latents = undo_gain(model.gains, code(replace(analysis, y=y), quality, trace=trace).latents.y, plane)
        slope = run_slope(model.slope, latents, planes, original)
        slope *= weight
        slope *= regain
        count = _add_bits(slope, costs, trace, y, gain)
        steepness = math.sqrt(float(np.vdot(slope, slope)) / max(count, 1))
        if not steepness:  # nothing is coded
            break
        length = length or LENGTHS[steps - 1] / steepness
        slope *= np.float32(length)
        slope /= gain
        y = y - slope
    return replace(analysis, y=y)


def _add_bits(slope: Floats, costs: Costs, trace: Trace, y: Floats, gain: Floats) -> int:
    """Add the slope of each latent's own bits, in place, and level it where none is coded. Returns how many are coded.

    What is differentiated is the mean over unit noise, as in training: the difference of the bits half a symbol
    above and below, and between symbols a straight line.
    """
    count = 0
    for row in range(len(slope)):
        index = scale_index(trace.sums[row])
        coded = index != SKIP
        slope[row][~coded] = 0
        k = index[coded]
        gained = y[row] * (gain if gain.ndim == 1 else gain[row])
        above = gained[coded] - trace.means[row][coded] * np.float32(1 / UNIT) + np.float32(0.5)
        low = np.clip(np.floor(above), 1 - WIDEST, WIDEST - 1).astype(np.int32)
        part = np.clip(above - low, 0, 1)
        here = costs[k, low + WIDEST]
        up, down = costs[k, low + WIDEST + 1] - here, here - costs[k, low + WIDEST - 1]
        slope[row][coded] += down + part * (up - down)
        count += len(k)
    return count
