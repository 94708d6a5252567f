"""The float transforms as ONNX graphs, written node by node: few operators, any picture size, uint8 pixels in
and out, weights in half precision (cast once when a session starts). `slopes` has what differentiates the synthesis."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from cotam_cli.training.layers import BLOCK, LEAK, Block, Dense, lapped_klt
from cotam_cli.training.network import PIXEL_SCALE, Codec, Synthesis

OPSET = 17
Value = str


class Graph:
    """Collects nodes; every method adds one step and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> Value:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, array: NDArray[np.generic], half: bool = False) -> Value:
        name = f"w{len(self.weights)}"
        stored = array.astype(np.float16) if half else array
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(stored), name))
        return self.op("Cast", name, to=TensorProto.FLOAT) if half else name

    def scalar(self, value: float) -> Value:
        return self.constant(np.array(value, np.float32))

    def pointwise(self, x: Value, weight: Tensor, bias: Tensor | None = None) -> Value:
        inputs = [self.constant(weight.detach().numpy()[:, :, None, None], half=True)]
        if bias is not None:
            inputs.append(self.constant(bias.detach().numpy()))
        return self.op("Conv", x, *inputs, kernel_shape=[1, 1])

    def dense(self, x: Value, module: Dense, leaky: bool = False) -> Value:
        y = self.pointwise(x, module.weight, module.bias)
        return self.op("LeakyRelu", y, alpha=LEAK) if leaky else y

    def spatial(self, x: Value, module: Block) -> Value:
        kernel = module.spatial.weight.detach().numpy()
        weight = self.constant(kernel, half=True)
        assert module.spatial.bias is not None
        bias = self.constant(module.spatial.bias.detach().numpy())
        channels, _, side, _ = kernel.shape
        return self.op(
            "Conv", x, weight, bias, kernel_shape=[side, side], pads=[side // 2] * 4, group=channels
        )

    def block(self, x: Value, module: Block) -> Value:
        inner = self.dense(self.spatial(x, module), module.up, leaky=True)
        return self.op("Add", x, self.dense(inner, module.down))

    def lapped(self, x: Value, weight: Tensor, bias: Tensor | None, block: int) -> Value:
        """A 2x2 convolution onto the blocks between the positions, cut to the picture."""
        inputs = [self.constant(weight.detach().numpy(), half=True)]
        if bias is not None:
            inputs.append(self.constant(bias.detach().numpy()))
        wide = self.up(self.op("Conv", x, *inputs, kernel_shape=[2, 2], pads=[1] * 4), block)
        half = block // 2
        edges = (np.array(side, np.int64) for side in ([half, half], [-half, -half], [2, 3]))
        return self.op("Slice", wide, *(self.constant(side) for side in edges))

    def down(self, x: Value, factor: int) -> Value:
        return self.op("SpaceToDepth", x, blocksize=factor)

    def up(self, x: Value, factor: int) -> Value:
        return self.op("DepthToSpace", x, blocksize=factor, mode="DCR")

    def compand(self, x: Value) -> Value:
        inner = self.op("Clip", x, self.scalar(-4.0), self.scalar(4.0))
        return self.op("Add", inner, self.op("Mul", self.op("Sub", x, inner), self.scalar(LEAK)))

    def to_channels_first(self, x: Value) -> Value:
        return self.op("Transpose", x, perm=[0, 3, 1, 2])

    def to_channels_last(self, x: Value) -> Value:
        return self.op("Transpose", x, perm=[0, 2, 3, 1])

    def finish(self, result: Value, inputs: list[onnx.ValueInfoProto], output: onnx.ValueInfoProto) -> bytes:
        self.nodes.append(helper.make_node("Identity", [result], [output.name]))
        graph = helper.make_graph(self.nodes, "cotam", inputs, [output], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def image_info(name: str, kind: int, channels: int, size: str) -> onnx.ValueInfoProto:
    """An input or output [1, rows, columns, channels]; `size` names its rows and columns."""
    return helper.make_tensor_value_info(name, kind, [1, f"{size}_rows", f"{size}_columns", channels])


def analysis_graph(codec: Codec) -> bytes:
    """pixels uint8 [1, h, w, 3], planes float32 [1, h/8, w/8, 2] (t and t^2) -> y float32 [1, h/16, w/16, latents].

    h and w are multiples of 16.
    """
    g, net = Graph(), codec.analysis
    pixels = g.op("Cast", g.to_channels_first("pixels"), to=TensorProto.FLOAT)
    unit = g.op("Mul", g.op("Sub", pixels, g.scalar(127.5)), g.scalar(PIXEL_SCALE / 255))
    linear = g.pointwise(g.down(unit, BLOCK), net.klt)
    x = g.op("Concat", g.down(unit, 8), g.to_channels_first("planes"), axis=1)
    x = g.dense(x, net.stem)
    for block in net.blocks:
        assert isinstance(block, Block)
        x = g.block(x, block)
    y = g.op("Add", linear, g.dense(g.down(x, 2), net.head))
    inputs = [
        image_info("pixels", TensorProto.UINT8, 3, "pixel"),
        image_info("planes", TensorProto.FLOAT, 2, "eighth"),
    ]
    return g.finish(
        g.to_channels_last(y), inputs, image_info("y", TensorProto.FLOAT, codec.config.latents, "latent")
    )


def hyper_graph(codec: Codec) -> bytes:
    """gained float32 [1, h, w, latents] (h and w multiples of 4) -> z float32 [1, h/4, w/4, hyper], not rounded."""
    g, net = Graph(), codec.hyper_analysis
    x = g.dense(g.compand(g.to_channels_first("gained")), net.first, leaky=True)
    x = g.dense(g.down(x, 2), net.second, leaky=True)
    z = g.dense(g.down(g.block(x, net.block), 2), net.head)
    inputs = [image_info("gained", TensorProto.FLOAT, codec.config.latents, "latent")]
    return g.finish(
        g.to_channels_last(z), inputs, image_info("z", TensorProto.FLOAT, codec.config.hyper, "hyper")
    )


def synthesis_graph(net: Synthesis) -> bytes:
    """latents float32 [1, h, w, latents], planes float32 [1, h, w, 2] -> pixels uint8 [1, 16 h, 16 w, 3]."""
    g = Graph()
    latents = g.to_channels_first("latents")
    linear = g.lapped(latents, lapped_klt(net.klt.detach()) + net.lap.detach(), None, BLOCK)
    scale = net.input_scale.detach()
    weight = net.stem.weight.detach().clone()
    weight[:, : len(scale)] *= scale
    x = g.op("Concat", latents, g.to_channels_first("planes"), axis=1)
    x = g.up(g.pointwise(x, weight, net.stem.bias), 2)
    for block in net.blocks:
        assert isinstance(block, Block)
        x = g.block(x, block)
    total = g.op("Add", linear, g.lapped(x, net.head.weight, net.head.bias, BLOCK // 2))
    pixels = g.op("Add", g.op("Mul", total, g.scalar(255 / PIXEL_SCALE)), g.scalar(127.5))
    rounded = g.op("Round", g.op("Clip", pixels, g.scalar(0.0), g.scalar(255.0)))
    output = g.op("Cast", g.to_channels_last(rounded), to=TensorProto.UINT8)
    inputs = [
        image_info("latents", TensorProto.FLOAT, len(scale), "latent"),
        image_info("planes", TensorProto.FLOAT, 2, "latent"),
    ]
    return g.finish(output, inputs, image_info("pixels", TensorProto.UINT8, 3, "pixel"))
