"""The upper bound of a map: what a vision model's features gain, per bit, from a little more quality in each cell.

The picture is coded evenly a little below and a little above a quality. The gradient of the multi-level loss with
respect to the decoded pixels, times what the pixels change, is the features' gain; the entropy of the scale tables
gives the bits. Their quotient, ranked, is the map: in an even file every cell whose quotient is above the mean deserves
more. It needs the original and two codings, so that it is a bound to distil from and no guide to ship.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cotam_cli.codec.decoder import decode_pixels
from cotam_cli.codec.encoder import analyse, build, code
from cotam_cli.codec.steering import expected_costs
from cotam_cli.entropy.latents import Trace
from cotam_cli.guidance.vit_graph import Block, Vit

STEP = 0.5  # units of quality below and above
LONG_SIDE = 392  # pixels: half a minute for a picture would be too long

Pixels = NDArray[np.uint8]


class Tower:
    """The arrays of a `Vit` as a frozen network that a gradient passes through."""

    def __init__(self, vit: Vit) -> None:
        self.vit = vit

    def tokens(self, pixels: Tensor, layers: tuple[int, ...]) -> list[Tensor]:
        """[n, 3, h, w] of 0..255, sides multiples of the patch, to the patches' tokens after some blocks (from 1)."""
        vit = self.vit
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (vit.mean, vit.std))
        weight = torch.from_numpy(vit.patch)
        grid = F.conv2d(
            (pixels / 255 - mean) / std, weight, torch.from_numpy(vit.patch_bias), stride=weight.shape[-1]
        )
        table = torch.from_numpy(vit.positions)[None]
        table = F.interpolate(table, size=grid.shape[-2:], mode="bicubic", align_corners=False)
        x = (grid + table).flatten(2).transpose(1, 2)
        first = 0
        if vit.class_token is not None:
            first = 1
            x = torch.cat([torch.from_numpy(vit.class_token).expand(len(x), 1, -1), x], 1)
        if vit.pre_norm is not None:
            x = self._norm(x, vit.pre_norm)
        found = []
        for number, block in enumerate(vit.blocks, 1):
            x = self._block(x, block)
            if number in layers:
                found.append(x[:, first:])
        return found

    def _block(self, x: Tensor, block: Block) -> Tensor:
        n, count, width = x.shape
        y = self._norm(x, block.norm1)
        q, k, v = (
            self._linear(y, layer).view(n, count, self.vit.heads, -1).transpose(1, 2)
            for layer in (block.query, block.key, block.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, count, width)
        x = x + self._linear(mixed, block.out)
        hidden = self._linear(self._norm(x, block.norm2), block.first)
        kind = self.vit.activation
        if kind == "quick_gelu":
            hidden = hidden * torch.sigmoid(1.702 * hidden)
        else:
            hidden = F.gelu(hidden, approximate="tanh" if kind == "gelu_tanh" else "none")
        return x + self._linear(hidden, block.second)

    @staticmethod
    def _linear(x: Tensor, layer: Any) -> Tensor:
        return F.linear(x, torch.tensor(layer.weight), torch.tensor(layer.bias))

    @staticmethod
    def _norm(x: Tensor, layer: Any) -> Tensor:
        weight, bias = torch.tensor(layer.weight), torch.tensor(layer.bias)
        return F.layer_norm(x, weight.shape, weight, bias, layer.eps)


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
    depth, side = len(tower.vit.blocks), tower.vit.patch.shape[-1]
    layers = tuple(sorted({max(1, depth * part // 4) for part in (1, 2, 3, 4)}))
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = [max(1, round(s * scale / side)) * side for s in (height, width)]

    def look(x: Tensor) -> list[Tensor]:
        return tower.tokens(F.interpolate(x, size=size, mode="bilinear", antialias=True), layers)

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
