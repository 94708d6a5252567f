"""The slope of what a decoded picture lacks, in its latents, as an ONNX graph: the synthesis forwards and backwards,
and between them squared error and structural distance (`similarity`), both differentiated by hand.

Encoders follow it downhill (`codec/refining.py`); no decoder needs it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor

from cotam_cli.codec.structure import C2, EQUAL, WEIGHTS, WINDOW
from cotam_cli.training.graphs import Graph, Value, image_info
from cotam_cli.training.layers import BLOCK, LEAK, Block, lapped_klt
from cotam_cli.training.network import PIXEL_SCALE, Synthesis
from cotam_cli.training.similarity import C1, STEP

SIMILARITY = 0.5  # share of structural distance: that of the training


class SlopeGraph(Graph):
    """`Graph` with the ways back. Weights that it meets twice are stored once."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[bytes, Value] = {}

    def constant(self, array: NDArray[np.generic], half: bool = False) -> Value:
        key = array.tobytes() + str((array.shape, array.dtype, half)).encode()
        if key not in self.stored:
            self.stored[key] = super().constant(array, half)
        return self.stored[key]

    def reversed_pointwise(self, g: Value, weight: Tensor) -> Value:
        return self.op("Conv", g, self._turned(weight[:, :, None, None], flip=False), kernel_shape=[1, 1])

    def _turned(self, weight: Tensor, flip: bool) -> Value:
        """A kernel with inputs and outputs exchanged, turned round where it is larger than 1x1."""
        stored = self.constant(weight.detach().numpy(), half=True)
        turned = self.op("Transpose", stored, perm=[1, 0, 2, 3])
        return self._flipped(turned) if flip else turned

    def _flipped(self, kernel: Value) -> Value:
        start, end, axes, steps = ([-1, -1], [-(1 << 30)] * 2, [2, 3], [-1, -1])
        return self.op(
            "Slice", kernel, *(self.constant(np.array(part, np.int64)) for part in (start, end, axes, steps))
        )

    def steep(self, x: Value) -> Value:
        """The slope of a leaky ReLU at `x`, but for values next to nothing."""
        return self.op("Clip", self.op("Mul", x, self.scalar(1e9)), self.scalar(LEAK), self.scalar(1.0))

    def open_block(self, x: Value, module: Block) -> tuple[Value, Value]:
        """A block's output, and the slope of its activation."""
        inner = self.dense(self.spatial(x, module), module.up)
        out = self.dense(self.op("LeakyRelu", inner, alpha=LEAK), module.down)
        return self.op("Add", x, out), self.steep(inner)

    def reversed_block(self, g: Value, module: Block, steep: Value) -> Value:
        inner = self.op("Mul", self.reversed_pointwise(g, module.down.weight), steep)
        kernel = module.spatial.weight.detach()
        channels, _, side, _ = kernel.shape
        turned = self._flipped(self.constant(kernel.numpy(), half=True))
        back = self.op(
            "Conv",
            self.reversed_pointwise(inner, module.up.weight),
            turned,
            kernel_shape=[side, side],
            pads=[side // 2] * 4,
            group=channels,
        )
        return self.op("Add", g, back)

    def reversed_lapped(self, g: Value, weight: Tensor, block: int) -> Value:
        half = block // 2
        pads = self.constant(np.array([0, 0, half, half] * 2, np.int64))
        wide = self.down(self.op("Pad", g, pads), block)
        return self.op("Conv", wide, self._turned(weight, flip=True), kernel_shape=[2, 2])

    # squared error and structure

    def averaged(self, x: Value, side: int, step: int) -> Value:
        return self.op("AveragePool", x, kernel_shape=[side, side], strides=[step, step])

    def spread(self, g: Value, side: int, step: int) -> Value:
        """The way back from `averaged`."""
        kernel = self.constant(np.full((3, 1, side, side), 1 / side**2, np.float32))
        return self.op("ConvTranspose", g, kernel, kernel_shape=[side, side], strides=[step, step], group=3)

    def numbers(self, x: Value) -> Value:
        """How many numbers x has, as a float."""
        return self.op("Cast", self.op("Size", x), to=TensorProto.FLOAT)

    def unlikeness_slope(self, x: Value, y: Value, weight: Value, with_light: bool) -> Value:
        """Slope in x of `weight` (negative) times the mean of `similarity`'s likeness."""
        op, scalar = self.op, self.scalar
        mean_x, mean_y = (self.averaged(v, WINDOW, STEP) for v in (x, y))
        square_x, square_y = op("Mul", mean_x, mean_x), op("Mul", mean_y, mean_y)
        both, light = op("Mul", mean_x, mean_y), op("Add", square_x, square_y)
        squares = self.averaged(op("Add", op("Mul", x, x), op("Mul", y, y)), WINDOW, STEP)
        products = self.averaged(op("Mul", x, y), WINDOW, STEP)
        top = op("Add", op("Mul", op("Sub", products, both), scalar(2.0)), scalar(C2))
        low = op("Add", op("Sub", squares, light), scalar(C2))
        contrast = op("Div", top, low)
        factor = op("Div", weight, self.numbers(contrast))
        to_mean = None
        if with_light:
            bright = op("Add", op("Mul", both, scalar(2.0)), scalar(C1))
            faint = op("Add", light, scalar(C1))
            lit = op("Div", bright, faint)
            # d lit / d mean_x = 2 (mean_y - lit mean_x) / faint
            change = op("Div", op("Sub", mean_y, op("Mul", lit, mean_x)), faint)
            to_mean = op("Mul", op("Mul", contrast, change), op("Mul", factor, scalar(2.0)))
            factor = op("Mul", lit, factor)
        per_low = op("Div", factor, low)
        to_products = op("Mul", per_low, scalar(2.0))
        to_squares = op("Neg", op("Mul", per_low, contrast))
        through = op("Mul", op("Sub", op("Mul", contrast, mean_x), mean_y), to_products)
        through = through if to_mean is None else op("Add", through, to_mean)
        slope = op("Mul", self.spread(to_products, WINDOW, STEP), y)
        slope = op("Add", slope, op("Mul", op("Mul", x, self.spread(to_squares, WINDOW, STEP)), scalar(2.0)))
        return op("Add", slope, self.spread(through, WINDOW, STEP))

    def structure_slope(self, x: Value, y: Value) -> Value:
        """Slope of structural distance times the number of pixels; x and y in 0..1."""
        scales = [(x, y)]
        for _ in WEIGHTS[1:]:
            scales.append((self.averaged(scales[-1][0], 2, 2), self.averaged(scales[-1][1], 2, 2)))
        total, size = None, self.numbers(x)
        for scale in reversed(range(len(WEIGHTS))):
            weight = self.op("Mul", size, self.scalar(-WEIGHTS[scale] / 3))
            last = scale == len(WEIGHTS) - 1
            slope = self.unlikeness_slope(*scales[scale], weight, with_light=last)
            total = slope if total is None else self.op("Add", slope, self.spread(total, 2, 2))
        assert total is not None
        return total


def slope_graph(net: Synthesis) -> bytes:
    """latents float32 [1, h, w, latents], planes float32 [1, h, w, 2], pixels uint8 [1, 16 h, 16 w, 3] (the original)
    -> slope float32 [1, h, w, latents]: of the distortion (of 0..255; half squared error, half structure), summed over
    pixels.

    h and w are at least 8 and multiples of 4.
    """
    g = SlopeGraph()
    op, scalar = g.op, g.scalar
    latents = g.to_channels_first("latents")
    linear_weight = lapped_klt(net.klt.detach()) + net.lap.detach()
    scale = net.input_scale.detach()
    stem = net.stem.weight.detach().clone()
    stem[:, : len(scale)] *= scale
    x = g.up(
        g.pointwise(op("Concat", latents, g.to_channels_first("planes"), axis=1), stem, net.stem.bias), 2
    )
    steeps = []
    for block in net.blocks:
        assert isinstance(block, Block)
        x, steep = g.open_block(x, block)
        steeps.append(steep)
    total = op(
        "Add",
        g.lapped(latents, linear_weight, None, BLOCK),
        g.lapped(x, net.head.weight, net.head.bias, BLOCK // 2),
    )
    found = op("Add", op("Mul", total, scalar(1 / PIXEL_SCALE)), scalar(0.5))
    found = op("Clip", found, scalar(0.0), scalar(1.0))
    wanted = op("Cast", g.to_channels_first("pixels"), to=TensorProto.FLOAT)
    wanted = op("Mul", wanted, scalar(1 / 255))
    squared = op("Mul", op("Sub", found, wanted), scalar((1 - SIMILARITY) * 2 / 3 * 255**2))
    structure = op("Mul", g.structure_slope(found, wanted), scalar(SIMILARITY * EQUAL))
    back = op("Mul", op("Add", squared, structure), scalar(1 / PIXEL_SCALE))
    slope = g.reversed_lapped(back, linear_weight, BLOCK)
    inner = g.reversed_lapped(back, net.head.weight, BLOCK // 2)
    for block, steep in zip(reversed(list(net.blocks)), reversed(steeps), strict=True):
        assert isinstance(block, Block)
        inner = g.reversed_block(inner, block, steep)
    slope = op("Add", slope, g.reversed_pointwise(g.down(inner, 2), stem[:, : len(scale)]))
    inputs = [
        image_info("latents", TensorProto.FLOAT, len(scale), "latent"),
        image_info("planes", TensorProto.FLOAT, 2, "latent"),
        image_info("pixels", TensorProto.UINT8, 3, "pixel"),
    ]
    return g.finish(
        g.to_channels_last(slope), inputs, image_info("slope", TensorProto.FLOAT, len(scale), "latent")
    )
