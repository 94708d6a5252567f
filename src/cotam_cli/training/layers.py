"""Layers of the float network. Shapes are NCHW, in channels-last memory."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 16  # pixels per latent position, each way
LEAK = 0.125  # a slope that an integer network does by a shift


def compand(x: Tensor) -> Tensor:
    """Latents in symbol units, made small: slope 1 up to 4, 1/8 beyond (the integer path does the same)."""
    inner = x.clamp(-4, 4)
    return inner + (x - inner) * LEAK


def quadratic(coefficients: Tensor, t: Tensor) -> Tensor:
    """Per-channel curve a + b t + c t^2. coefficients [3, channels]; t [n, 1, h, w] -> [n, channels, h, w]."""
    a, b, c = (k.view(1, -1, 1, 1) for k in coefficients)
    return a + t * (b + t * c)


def ste_round(x: Tensor) -> Tensor:
    """Rounding with the gradient of the identity."""
    return x + (torch.round(x) - x).detach()


def shuffle_down(x: Tensor, r: int) -> Tensor:
    """Space to depth in channels-last order, [n, c, h, w] -> [n, r * r * c, h / r, w / r]; channel = (dy r + dx) c + k.

    As `pixel_unshuffle`, but it keeps the c channels of a pixel together: ten times faster in channels_last.
    """
    n, c, h, w = x.shape
    y = x.permute(0, 2, 3, 1).reshape(n, h // r, r, w // r, r, c).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(n, h // r, w // r, r * r * c).permute(0, 3, 1, 2)


def shuffle_up(x: Tensor, r: int) -> Tensor:
    """Depth to space, the inverse of `shuffle_down` (ONNX DepthToSpace, mode DCR)."""
    n, c, h, w = x.shape
    k = c // (r * r)
    y = x.permute(0, 2, 3, 1).reshape(n, h, w, r, r, k).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(n, h * r, w * r, k).permute(0, 3, 1, 2)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1x1 convolution, weight [out, in]. As a matrix product: forward and back in 0.56 of the time of `conv2d`."""
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


def between(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """2x2 convolution onto the places between positions, [n, in, h, w] -> [n, out, h + 1, w + 1], zeros around;
    weight [out, in, 2, 2]. Four shifted copies and one matrix product."""
    wide = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    shifted = [wide[:, a : a - 1 or None, b : b - 1 or None] for a in (0, 1) for b in (0, 1)]
    matrix = weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1)
    return F.linear(torch.cat(shifted, 3), matrix, bias).permute(0, 3, 1, 2)


class Dense(nn.Module):
    """1x1 convolution; its weight is a plain [out, in] matrix, as matrix optimisers want it."""

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * (gain / math.sqrt(inputs)))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight, self.bias)


class Depthwise(nn.Module):
    """3x3 depthwise convolution, zero padding; starts as the identity plus a little noise."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        weight = torch.randn(channels, 1, 3, 3) * 0.1
        weight[:, 0, 1, 1] += 1
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            from cotam_cli.training.depthwise import depthwise

            return depthwise(x, self.weight, self.bias)
        return F.conv2d(x, self.weight, self.bias, padding=1, groups=self.weight.shape[0])


def lapped_klt(klt: Tensor) -> Tensor:
    """A transform of 16x16 blocks, [768, latents], as a 2x2 convolution onto the blocks between them,
    [768, latents, 2, 2]: each block lies in four of these, a quarter in each."""
    wide = klt.new_zeros(BLOCK, BLOCK, 3, klt.shape[1], 2, 2)
    blocks, half = klt.view(BLOCK, BLOCK, 3, -1), BLOCK // 2
    for down in (0, 1):
        for right in (0, 1):
            rows, columns = (slice(half * k, half * (k + 1)) for k in (down, right))
            to_rows, to_columns = (slice(half * (1 - k), half * (2 - k)) for k in (down, right))
            wide[to_rows, to_columns, :, :, 1 - down, 1 - right] = blocks[rows, columns]
    return wide.reshape(klt.shape[0], klt.shape[1], 2, 2)


class Lapped(nn.Module):
    """Features at 1/8 to pixels, each position painting 16x16 of them: twice its own 8x8 each way, so that neighbours
    overlap and no grid of blocks shows (lapped transform). A 2x2 convolution onto blocks between the positions.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3 * 64, inputs, 2, 2))
        self.bias = nn.Parameter(torch.zeros(3 * 64))

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, 3, 8 h, 8 w]."""
        wide = shuffle_up(between(x, self.weight, self.bias), 8)
        return wide[:, :, 4:-4, 4:-4]


class Block(nn.Module):
    """Residual block: 3x3 depthwise, 1x1 up, leaky ReLU, 1x1 down (starts at zero)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.spatial = Depthwise(channels)
        self.up = Dense(channels, hidden, gain=1.4)
        self.down = Dense(hidden, channels, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.leaky_relu(self.up(self.spatial(x)), LEAK))
