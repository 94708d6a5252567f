"""Integer networks in NumPy: the same bits from every BLAS, thread count, summation order and FMA.

Activations and weights are int16, biases int32, held in float64 arrays; every product and partial sum is an
integer below 2^53 (`Dense.bound`), so float64 arithmetic is exact. A layer ends with a right shift with
round-half-up, floor(acc / 2^shift + 1/2), an optional leaky ReLU of slope 1/8 by the same kind of shift, and a
clip to +-32767. Layout is [rows, columns, channels] everywhere. The arithmetic is specified in docs/FORMAT.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIMIT = 32767
EXACT = 2**53
CACHED = 1 << 15  # numbers that stay in the cache from one step of `_finish` to the next

Activations = NDArray[np.float64]  # integers within +-LIMIT


def _finish(acc: Activations, bias: Activations, leaky: bool) -> Activations:
    """Bias, round half up, leaky ReLU, clip; in place. `acc` [rows, channels] and `bias` [channels] are scaled by
    2^-shift, and the bias holds the half of the rounding."""
    rows, channels = acc.shape
    step = max(1, CACHED // channels)
    scratch = np.empty((step, channels))
    for top in range(0, rows, step):
        part = acc[top : top + step]
        part += bias
        np.floor(part, out=part)
        if leaky:
            negative = np.multiply(part, 0.125, out=scratch[: len(part)])
            negative += 0.5
            np.floor(negative, out=negative)
            np.maximum(part, negative, out=part)  # for v < 0, v <= round(v / 8) <= 0
        np.clip(part, -LIMIT, LIMIT, out=part)
    return acc


def product(x: Activations, weight: Activations) -> Activations:
    """Matrix product of integers held in float64; exact, so any implementation gives the same bits."""
    return x @ weight


@dataclass(frozen=True)
class Dense:
    """1x1 convolution. weight int16 [inputs, outputs], bias int32 [outputs], shift 1..31 bits."""

    weight: NDArray[np.int16]
    bias: NDArray[np.int32]
    shift: int
    leaky: bool = False

    def __post_init__(self) -> None:
        unit = 2.0**-self.shift  # a power of two: scaling by it is exact
        object.__setattr__(self, "scaled_weight", np.ascontiguousarray(self.weight, dtype=np.float64) * unit)
        object.__setattr__(self, "scaled_bias", self.bias.astype(np.float64) * unit + 0.5)

    def bound(self) -> int:
        """The largest magnitude that any partial sum can reach, for any input within +-32767."""
        sums = np.abs(self.weight.astype(np.int64)).sum(0) * LIMIT + np.abs(self.bias.astype(np.int64))
        return int(sums.max(initial=0)) + (1 << self.shift)

    def __call__(self, x: Activations) -> Activations:
        rows, columns, inputs = x.shape
        acc = product(x.reshape(rows * columns, inputs), self.scaled_weight)  # type: ignore[attr-defined]
        return _finish(acc, self.scaled_bias, self.leaky).reshape(rows, columns, -1)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Depthwise:
    """3x3 depthwise convolution, zero padding. weight int16 [3, 3, channels], bias int32 [channels]."""

    weight: NDArray[np.int16]
    bias: NDArray[np.int32]
    shift: int

    def __post_init__(self) -> None:
        unit = 2.0**-self.shift
        object.__setattr__(self, "scaled_weight", self.weight.astype(np.float64) * unit)
        object.__setattr__(self, "scaled_bias", self.bias.astype(np.float64) * unit + 0.5)

    def bound(self) -> int:
        """As `Dense.bound`."""
        sums = np.abs(self.weight.astype(np.int64)).sum((0, 1)) * LIMIT + np.abs(self.bias.astype(np.int64))
        return int(sums.max(initial=0)) + (1 << self.shift)

    def __call__(self, x: Activations) -> Activations:
        rows, columns, channels = x.shape
        padded = np.zeros((rows + 2, columns + 2, channels))
        padded[1:-1, 1:-1] = x
        acc = np.zeros_like(x)
        part = np.empty_like(x)
        for i in range(3):
            for j in range(3):
                np.multiply(padded[i : i + rows, j : j + columns], self.scaled_weight[i, j], out=part)  # type: ignore[attr-defined]
                acc += part
        _finish(acc.reshape(-1, channels), self.scaled_bias, leaky=False)  # type: ignore[attr-defined]
        return acc


@dataclass(frozen=True)
class Block:
    """Residual block: depthwise, dense with leaky ReLU, dense, added to the input and clipped."""

    spatial: Depthwise
    up: Dense
    down: Dense

    def __call__(self, x: Activations) -> Activations:
        y = self.down(self.up(self.spatial(x)))
        y += x
        return np.clip(y, -LIMIT, LIMIT, out=y)


def shuffle_up(x: Activations, factor: int = 2) -> Activations:
    """Depth to space: channel (dy * factor + dx) * c + k goes to row dy, column dx, channel k."""
    rows, columns, channels = x.shape
    c = channels // factor**2
    y = x.reshape(rows, columns, factor, factor, c).transpose(0, 2, 1, 3, 4)
    return np.asarray(y.reshape(rows * factor, columns * factor, c))


def compand(x: Activations) -> Activations:
    """Fixed-point values in 1/64: slope 1 up to 4 (256), 1/8 beyond, rounded half up, clipped."""
    inner = np.clip(x, -256, 256)
    return np.clip(inner + np.floor((x - inner) * 0.125 + 0.5), -LIMIT, LIMIT)


@dataclass(frozen=True)
class HyperSynthesis:
    """Hyper latents at 1/64 to features at 1/16."""

    first: Dense
    second: Dense
    block: Block
    third: Dense
    last: Block

    def __call__(self, z: Activations) -> Activations:
        """z symbols [rows, columns, hyper] -> features [4 rows, 4 columns, features]."""
        x = self.second(self.first(compand(z * 64)))
        x = self.third(self.block(shuffle_up(x)))
        return self.last(shuffle_up(x))


@dataclass(frozen=True)
class Parameters:
    """Context to means (1/64 of a symbol) and scale offsets (1/256 of a scale index) of one pass.

    A pass codes one group of channels at each position, so that the heads are kept apart by group.
    """

    stem: Dense
    block: Block | None
    mean: tuple[Dense, ...]  # by channel group
    scale: tuple[Dense, ...]

    def trunk(self, x: Activations) -> Activations:
        """x [rows, columns, inputs] -> what the heads take, [rows, columns, context]."""
        x = self.stem(x)
        return x if self.block is None else self.block(x)


def all_layers(net: HyperSynthesis | Parameters | Block) -> list[Dense | Depthwise]:
    """Every layer with weights in a network, in order of execution."""
    layers: list[Dense | Depthwise] = []
    for part in vars(net).values():
        if isinstance(part, Dense | Depthwise):
            layers.append(part)
        elif isinstance(part, Block):
            layers += all_layers(part)
        elif isinstance(part, tuple):
            layers += part
    return layers


def prove_exact(net: HyperSynthesis | Parameters) -> int:
    """The largest bound over all layers. Raises ValueError when a partial sum could reach 2^53."""
    worst = max(layer.bound() for layer in all_layers(net))
    if worst >= EXACT:
        raise ValueError(f"a partial sum of an integer network can reach {worst}, not below 2^53")
    return worst
