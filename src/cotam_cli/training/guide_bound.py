"""The upper bound of a map: what a vision model's features gain, per bit, from a little more quality in each cell.

The picture is coded evenly a little below and a little above a quality. The gradient of the multi-level loss with
respect to the decoded pixels, times what the pixels change, is the features' gain; the entropy of the scale tables
gives the bits. Their quotient, ranked, is the map: in an even file every cell whose quotient is above the mean deserves
more. It needs the original and two codings, so that it is a bound to distil from and no guide to ship.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cotam_cli.codec.analysis import analyse, code
from cotam_cli.codec.decoder import decode_pixels
from cotam_cli.codec.encoder import build
from cotam_cli.codec.steering import expected_costs
from cotam_cli.entropy.latents import Trace
from cotam_cli.guidance.torch_vit import Tower

STEP = 0.5  # units of quality below and above
LONG_SIDE = 392  # pixels: half a minute for a picture would be too long

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Coded:
    """An evenly coded picture: decoded pixels, uint8 [h, w, 3], and expected bits, float [h/16, w/16]."""

    pixels: Pixels
    bits: NDArray[np.float64]


def code_evenly(pixels: Pixels, quality: float) -> Coded:
    """Code and decode at one quality everywhere."""
    analysis = analyse(pixels, quality, None)
    trace = Trace.empty(analysis.y.shape)
    data = build(analysis, quality, code(analysis, quality, trace=trace))
    return Coded(decode_pixels(data, target="human"), expected_costs(analysis.model, trace.sums).sum(-1))


def feature_gain(tower: Tower, original: Pixels, low: Pixels, high: Pixels) -> NDArray[np.float64]:
    """Loss that each pixel of `high` saves over `low`, to first order, float [h, w].

    The multi-level loss: 1 - cosine of tokens, summed over a shallow, two middle and the last layer.
    """
    height, width, _ = original.shape
    side = tower.patch
    layers = sorted({max(1, tower.depth * part // 4) for part in (1, 2, 3, 4)})
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = [max(1, round(s * scale / side)) * side for s in (height, width)]

    def look(x: Tensor) -> list[Tensor]:
        seen = tower(F.interpolate(x, size=size, mode="bilinear", antialias=True) / 255, layers)
        return [seen.tokens[layer][:, tower.extra :] for layer in layers]

    first, second = _tensor(low), _tensor(high)
    middle = ((first + second) / 2).requires_grad_(True)
    with torch.no_grad():
        wanted = look(_tensor(original))
    loss = sum(
        (1 - F.cosine_similarity(a, b, dim=-1)).mean() for a, b in zip(look(middle), wanted, strict=True)
    )
    assert isinstance(loss, Tensor)
    (gradient,) = torch.autograd.grad(loss, middle)
    gained: NDArray[np.float64] = -(gradient * (second - first)).sum(1)[0].double().numpy()
    return gained


def bound_map(tower: Tower, pixels: Pixels, quality: float, cell: int = 32) -> NDArray[np.float64]:
    """The map of a picture, float [rows, columns] of ranks 0..1."""
    low = code_evenly(pixels, max(1.0, quality - STEP))
    high = code_evenly(pixels, min(8.0, quality + STEP))
    gain = feature_gain(tower, pixels, low.pixels, high.pixels)
    bits = np.maximum(high.bits - low.bits, 0)
    quotient = _cells(gain, cell) / (_cells(bits, cell // 16) + 1.0)
    ranks = np.empty(quotient.size)
    ranks[np.argsort(quotient.ravel(), kind="stable")] = np.linspace(0, 1, quotient.size)
    return ranks.reshape(quotient.shape)


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])).float()


def _cells(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sums over squares of `side`, the last ones cut off by the edge."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], side), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, values.shape[1], side), axis=1))
