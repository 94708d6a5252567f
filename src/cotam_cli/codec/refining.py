"""Latents moved downhill before they are coded: what the analysis left on the table, at no cost to the decoder.

The cost is the training's, bits + lambda x distortion (half squared error, half structural distance). The distortion's
slope comes from the synthesis run forwards and backwards (`slope.onnx`); that of the bits from the tables, for each
latent by itself: what a change does to its neighbours' predictions is left out.

The first steps move all latents a little, so that those near the middle between two symbols go to the better one. Later
ones change one symbol at each position by one, where a parabola foresees the greatest gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cotam_cli.codec.analysis import Analysis, Hyper, MapSpec, Pixels, analyse, code, make_plane, pad_to
from cotam_cli.codec.quality import Plane, float_planes, gain_curve, lambdas, regain_curve, undo_gain
from cotam_cli.codec.structure import structure_weight
from cotam_cli.codec.tiling import BLOCK, run_slope
from cotam_cli.entropy.coder import Ints
from cotam_cli.entropy.estimate import WIDEST, Costs, cost_table
from cotam_cli.entropy.latents import UNIT, Trace
from cotam_cli.entropy.tables import QUALITY_UNIT, SKIP, scale_index

Floats = NDArray[np.float32]

LENGTHS = (0.016, 0.012)
"""Of a symbol, by the number of steps that move all latents: the root mean square by which the first one moves those
that are coded."""
SQUARES, STRUCTURE = 16.0, 9.0
"""Curvature of the distortion in bits a squared symbol: what squared error has, and what structural distance adds,
times its weight beside squared error at the position (`structure_weight`)."""
TRUST = 10.0
"""Squared symbols of changes whose measured curvature weighs as much as the one foreseen."""
LEAST = 0.5
"""Share of the curvature foreseen that is kept, whatever was measured."""


@dataclass(frozen=True)
class Seen:
    """What a coding tells. values int32 [h, w, latents] in 1/64 of a symbol, as a decoder has them; slope float32
    [h, w, latents] of the distortion, in bits a symbol."""

    values: Ints
    slope: Floats


def analyse_finely(pixels: Pixels, quality: float, importance: MapSpec | None, effort: int) -> Analysis:
    """`analyse`, then so many steps downhill; each takes some two and a half times as long as decoding."""
    if not effort:
        return analyse(pixels, quality, importance)
    return refine(analyse(pixels, quality, importance), pixels, quality, effort)


def refine(analysis: Analysis, pixels: Pixels, quality: float, steps: int) -> Analysis:
    """The analysis of uint8 [h, w, 3] pixels with its latents moved by 1 to 10 steps, for a quality.

    It has the hyper latents of before: others would predict other means, and undo what was chosen.
    """
    model, plane = analysis.model, make_plane(analysis, quality)
    original = pad_to(pixels, plane.shape[0] * BLOCK, plane.shape[1] * BLOCK)
    gain, costs = gain_curve(model.gains, plane), cost_table(model.entropy.tables)
    foreseen = SQUARES + STRUCTURE * structure_weight(original)
    moves = 1 if steps < 3 else 2
    length, before = 0.0, None
    resistance, change = np.zeros(plane.shape, np.float32), np.zeros(plane.shape, np.float32)
    for step in range(steps):
        now, trace, hyper = _look(analysis, quality, plane, original)
        if before is not None:
            _measure(before, now, trace, resistance, change)
        if step < moves:
            y = now.slope.copy()
            steepness = _add_bits(y, trace, costs, analysis.y, gain)
            if not steepness:  # nothing is coded
                break
            length = length or LENGTHS[moves - 1] / steepness
            y *= np.float32(length)
            y /= gain
            np.subtract(analysis.y, y, out=y)
        else:
            curvature = (foreseen * TRUST + resistance) / (TRUST + change)
            y = _exchanged(now, trace, costs, np.maximum(curvature, LEAST * foreseen), analysis.y, gain)
        before = now if steps > moves else None
        analysis = replace(analysis, y=y, hyper=hyper)
        del now, trace, y  # hundreds of megabytes of a large picture
    return analysis


def _look(analysis: Analysis, quality: float, plane: Plane, original: Pixels) -> tuple[Seen, Trace, Hyper]:
    """Code once, and ask for the slope."""
    model = analysis.model
    trace = Trace.empty(analysis.y.shape)
    coded = code(analysis, quality, trace=trace)
    latents = undo_gain(model.gains, coded.latents.y, plane)
    slope = run_slope(model.slope, latents, float_planes(plane), original)
    slope *= lambdas(plane / QUALITY_UNIT).astype(np.float32)[..., None]
    slope *= regain_curve(model.gains, plane)
    return Seen(coded.latents.y, slope), trace, coded.hyper


def _add_bits(slope: Floats, trace: Trace, costs: Costs, y: Floats, gain: Floats) -> float:
    """Add the slope of each latent's own bits, in place, and level it where none is coded. Returns the root mean square
    where some are.

    The bits that are differentiated are the mean over unit noise, as in training: the difference of the bits half a
    symbol above and below, and between symbols a straight line.
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
    return math.sqrt(float(np.vdot(slope, slope)) / max(count, 1))


def _measure(before: Seen, now: Seen, trace: Trace, resistance: Floats, change: Floats) -> None:
    """Add what a step has changed: at each position [h, w] the squares of the changes in symbols, and how much steeper
    each has become for itself. Their quotient is a curvature with all that neighbours do."""
    for row in range(len(now.slope)):
        coded = scale_index(trace.sums[row]) != SKIP
        moved = (now.values[row] - before.values[row]) * (coded * np.float32(1 / UNIT))
        resistance[row] += np.einsum("pc,pc->p", moved, now.slope[row] - before.slope[row])
        change[row] += np.einsum("pc,pc->p", moved, moved)


def _exchanged(now: Seen, trace: Trace, costs: Costs, curvature: Floats, y: Floats, gain: Floats) -> Floats:
    """y, and at each position the one latent that gains most by it one symbol higher or lower."""
    y = y.copy()
    places = np.arange(y.shape[1])
    for row in range(len(y)):
        index, values = scale_index(trace.sums[row]), now.values[row]
        symbols = np.clip((values - trace.means[row]) // UNIT, 1 - WIDEST, WIDEST - 1) + WIDEST
        here, slope = costs[index, symbols], now.slope[row]
        dearer = np.stack(
            [costs[index, symbols + 1] - here + slope, costs[index, symbols - 1] - here - slope]
        )
        dearer += curvature[row][:, None] / 2
        dearer[:, index == SKIP] = 0
        up, down = dearer
        way = np.where(up < down, 1, -1)
        cheapest = np.minimum(up, down)
        channel = cheapest.argmin(1)
        gains = np.flatnonzero(cheapest[places, channel] < 0)
        channel = channel[gains]
        wanted = values[gains, channel] * np.float32(1 / UNIT) + way[gains, channel]
        y[row][gains, channel] = wanted / (gain[channel] if gain.ndim == 1 else gain[row][gains, channel])
    return y
