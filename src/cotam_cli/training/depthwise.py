"""3x3 depthwise convolution on NVIDIA accelerators, as Triton kernels.

ctm-6 was trained with them. Called one by one from Python they take as long as cuDNN's (0.70 ms against 0.71, forward
and back, 64x192x24x24 in bfloat16, most of it Python's own time); inside a recorded step the two were not compared.

x is channels-last [n, c, h, w], that is rows of c numbers; a program handles some positions and some channels, and
finds its neighbours by index, zeros outside the picture.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

POSITIONS, CHANNELS = 16, 64  # of a program
CHUNKS = 512  # of positions, each with its own sums for the weights' gradient


@triton.jit
def _neighbours(x, places, channels, mask, height, width, total_channels, down, across):  # type: ignore[no-untyped-def]
    row, column = (places // width) % height + down, places % width + across
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = (places + down * width + across)[:, None] * total_channels + channels[None, :]
    return tl.load(x + index, mask=inside[:, None] & mask, other=0.0).to(tl.float32)


@triton.jit
def _convolve(  # type: ignore[no-untyped-def]
    x, weight, bias, y, places_in_all, height, width, total_channels,
    FLIPPED: tl.constexpr, WITH_BIAS: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    places = tl.program_id(0) * P + tl.arange(0, P)
    channels = tl.program_id(1) * C + tl.arange(0, C)
    real = channels < total_channels
    mask = (places < places_in_all)[:, None] & real[None, :]
    sums = tl.zeros((P, C), tl.float32)
    if WITH_BIAS:
        sums += tl.load(bias + channels, mask=real, other=0.0).to(tl.float32)[None, :]
    for tap in tl.static_range(9):
        source = 8 - tap if FLIPPED else tap
        factor = tl.load(weight + channels * 9 + source, mask=real, other=0.0).to(tl.float32)
        near = _neighbours(
            x, places, channels, mask, height, width, total_channels, tap // 3 - 1, tap % 3 - 1
        )
        sums += near * factor[None, :]
    index = places[:, None] * total_channels + channels[None, :]
    tl.store(y + index, sums.to(y.dtype.element_ty), mask=mask)


@triton.jit
def _weight_sums(  # type: ignore[no-untyped-def]
    x, gradient, sums, places_in_all, height, width, total_channels,
    STEPS: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    channels = tl.program_id(1) * C + tl.arange(0, C)
    real = channels < total_channels
    target = sums + chunk * 10 * total_channels + channels
    for tap in tl.static_range(10):
        total = tl.zeros((P, C), tl.float32)
        for step in range(STEPS):
            places = (chunk * STEPS + step) * P + tl.arange(0, P)
            mask = (places < places_in_all)[:, None] & real[None, :]
            index = places[:, None] * total_channels + channels[None, :]
            part = tl.load(gradient + index, mask=mask, other=0.0).to(tl.float32)
            if tap < 9:
                part *= _neighbours(
                    x, places, channels, mask, height, width, total_channels, tap // 3 - 1, tap % 3 - 1
                )
            total += part
        tl.store(target + tap * total_channels, tl.sum(total, 0), mask=real)


def _rows(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _run(x: Tensor, weight: Tensor, bias: Tensor | None, flipped: bool) -> Tensor:
    n, c, h, w = x.shape
    y = torch.empty_like(x, memory_format=torch.channels_last)
    grid = (triton.cdiv(n * h * w, POSITIONS), triton.cdiv(c, CHANNELS))
    _convolve[grid](
        x, weight, weight if bias is None else bias, y, n * h * w, h, w, c,
        FLIPPED=flipped, WITH_BIAS=bias is not None, P=POSITIONS, C=CHANNELS,
    )  # fmt: skip
    return y


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = _rows(x)
        ctx.save_for_backward(x, weight)
        return _run(x, weight, bias, flipped=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        n, c, h, w = x.shape
        gradient = _rows(gradients[0])
        sums = torch.empty(CHUNKS, 10, c, device=x.device)
        steps = triton.cdiv(n * h * w, CHUNKS * POSITIONS)
        grid = (CHUNKS, triton.cdiv(c, CHANNELS))
        _weight_sums[grid](x, gradient, sums, n * h * w, h, w, c, STEPS=steps, P=POSITIONS, C=CHANNELS)
        total = sums.sum(0)
        to_weight = total[:9].T.reshape(c, 1, 3, 3)
        return _run(gradient, weight, None, flipped=True), to_weight, total[9]


def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [n, c, h, w] on an accelerator, weight float32 [c, 1, 3, 3], bias float32 [c] -> the same shape and dtype as x,
    zeros around the picture."""
    result: Tensor = _Depthwise.apply(x, weight, bias)
    return result
