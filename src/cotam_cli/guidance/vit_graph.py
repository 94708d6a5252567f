"""The first blocks of a vision transformer as an ONNX graph that gives its attention map, and nothing more.

Written node by node: a handful of operators, any picture size, weights in half precision. The file runs without
PyTorch; the package `onnx` is needed only to write it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
Array = NDArray[np.float32]
Value = str
Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]


@dataclass(frozen=True)
class Linear:
    """weight [outputs, inputs], bias [outputs]."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over channels."""

    weight: Array
    bias: Array
    eps: float


@dataclass(frozen=True)
class Block:
    """One pre-norm transformer block; layer scales are already multiplied into `out` and `second`."""

    norm1: Norm
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    norm2: Norm
    first: Linear
    second: Linear


@dataclass(frozen=True)
class Vit:
    """A vision transformer, or its first blocks, as plain arrays.

    patch [d, 3, p, p] and patch_bias [d]; positions [d, g, g], zeros where the network has none; class_token [d] with
    its position already added, or None; mean and std of the pixels, 0..1; last_norm: what follows the network's last
    block, None where nothing does.
    """

    patch: Array
    patch_bias: Array
    positions: Array
    class_token: Array | None
    pre_norm: Norm | None
    blocks: tuple[Block, ...]
    heads: int
    activation: Activation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    last_norm: Norm | None = None


class Graph:
    """Collects nodes; every method adds one step and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> Value:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, array: NDArray[Any]) -> Value:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def half(self, array: NDArray[Any]) -> Value:
        """A float32 constant, stored in half precision."""
        return self.op("Cast", self.constant(array.astype(np.float16)), to=TensorProto.FLOAT)

    def integers(self, *values: int) -> Value:
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float) -> Value:
        return self.constant(np.array(value, np.float32))

    def linear(self, x: Value, layer: Linear) -> Value:
        return self.op("Add", self.op("MatMul", x, self.half(layer.weight.T)), self.constant(layer.bias))

    def norm(self, x: Value, layer: Norm) -> Value:
        weights = self.constant(layer.weight), self.constant(layer.bias)
        return self.op("LayerNormalization", x, *weights, epsilon=layer.eps)

    def activation(self, x: Value, kind: Activation) -> Value:
        if kind == "quick_gelu":
            return self.op("Mul", x, self.op("Sigmoid", self.op("Mul", x, self.scalar(1.702))))
        if kind == "gelu_tanh":
            cube = self.op("Mul", self.op("Mul", x, x), x)
            inner = self.op("Add", x, self.op("Mul", cube, self.scalar(0.044715)))
            gate = self.op("Tanh", self.op("Mul", inner, self.scalar(math.sqrt(2 / math.pi))))
        else:
            gate = self.op("Erf", self.op("Mul", x, self.scalar(math.sqrt(0.5))))
        return self.op("Mul", self.op("Mul", x, self.scalar(0.5)), self.op("Add", gate, self.scalar(1.0)))

    def heads(self, x: Value, layer: Linear, count: int, perm: list[int]) -> Value:
        width = layer.weight.shape[0]
        split = self.op("Reshape", self.linear(x, layer), self.integers(0, 0, count, width // count))
        return self.op("Transpose", split, perm=perm)

    def probabilities(self, y: Value, block: Block, heads: int) -> Value:
        """Attention of every token to every token, [n, heads, tokens, tokens]."""
        scale = (block.query.weight.shape[0] // heads) ** -0.5
        query = Linear(block.query.weight * scale, block.query.bias * scale)
        q = self.heads(y, query, heads, [0, 2, 1, 3])
        k = self.heads(y, block.key, heads, [0, 2, 3, 1])
        return self.op("Softmax", self.op("MatMul", q, k), axis=-1)

    def block(
        self, x: Value, block: Block, heads: int, kind: Activation, last: bool = False
    ) -> tuple[Value, Value]:
        """(tokens after the block, attention); the last block stops at its attention when only that is wanted."""
        y = self.norm(x, block.norm1)
        attention = self.probabilities(y, block, heads)
        if last:
            return x, attention
        v = self.heads(y, block.value, heads, [0, 2, 1, 3])
        mixed = self.op("Transpose", self.op("MatMul", attention, v), perm=[0, 2, 1, 3])
        width = block.value.weight.shape[0]
        joined = self.op("Reshape", mixed, self.integers(0, 0, width))
        x = self.op("Add", x, self.linear(joined, block.out))
        hidden = self.activation(self.linear(self.norm(x, block.norm2), block.first), kind)
        return self.op("Add", x, self.linear(hidden, block.second)), attention

    def positioned(self, grid: Value, positions: Array, mode: str = "cubic") -> Value:
        """Add positions [d, g, g], interpolated to the grid [n, d, rows, columns], and make tokens [n, r c, d]."""
        sides = self.op("Slice", self.op("Shape", grid), self.integers(2), self.integers(4))
        sizes = self.op("Concat", self.integers(1, positions.shape[0]), sides, axis=0)
        table = self.op(
            "Resize",
            self.half(positions[None]),
            "",
            "",
            sizes,
            mode=mode,
            coordinate_transformation_mode="half_pixel",
        )
        tokens = self.op("Reshape", self.op("Add", grid, table), self.integers(0, positions.shape[0], -1))
        return self.op("Transpose", tokens, perm=[0, 2, 1])

    def finish(
        self,
        results: Mapping[Value, onnx.ValueInfoProto],
        facts: Mapping[str, str],
        name: str = "guide",
        more: Sequence[onnx.ValueInfoProto] = (),
    ) -> bytes:
        """A whole model: uint8 `pixels` [n, h, w, 3] and more inputs to the results, with facts in its metadata."""
        for value, output in results.items():
            self.nodes.append(helper.make_node("Identity", [value], [output.name]))
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "height", "width", 3])
        graph = helper.make_graph(self.nodes, name, [pixels, *more], list(results.values()), self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def attention_graph(vit: Vit, facts: Mapping[str, str], first_block: int = 1) -> bytes:
    """uint8 pixels [n, h, w, 3] (sides multiples of the patch) -> float32 `attention` [n, rows, columns].

    The mean over heads and blocks, from `first_block` on, of the class token's attention to each patch; without a class
    token, of the attention that each patch receives.
    """
    g = Graph()
    pixels = g.op("Transpose", g.op("Cast", "pixels", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    mean, std = np.array(vit.mean), np.array(vit.std)
    weight = (
        vit.patch / (255 * std)[None, :, None, None]
    )  # takes 0..255, so that no pass over pixels is needed
    bias = vit.patch_bias - np.einsum("dcyx,c->d", vit.patch, mean / std)
    side = vit.patch.shape[-1]
    grid = g.op(
        "Conv",
        pixels,
        g.constant(weight.astype(np.float32)),
        g.constant(bias.astype(np.float32)),
        kernel_shape=[side, side],
        strides=[side, side],
    )
    x = g.positioned(grid, vit.positions)
    first = 0
    if vit.class_token is not None:
        first = 1
        count = g.op("Slice", g.op("Shape", grid), g.integers(0), g.integers(1))
        shape = g.op("Concat", count, g.integers(1, len(vit.class_token)), axis=0)
        token = g.op("Expand", g.constant(vit.class_token[None, None]), shape)
        x = g.op("Concat", token, x, axis=1)
    if vit.pre_norm is not None:
        x = g.norm(x, vit.pre_norm)
    maps = []
    for number, block in enumerate(vit.blocks, 1):
        x, attention = g.block(x, block, vit.heads, vit.activation, last=number == len(vit.blocks))
        if number < first_block:
            continue
        if first:
            start, end = g.integers(0, 1), g.integers(1, np.iinfo(np.int64).max)
            attention = g.op("Slice", attention, start, end, g.integers(2, 3))
        maps.append(g.op("ReduceMean", attention, axes=[1, 2], keepdims=0))
    total = maps[0] if len(maps) == 1 else g.op("Mean", *maps)
    sides = g.op("Slice", g.op("Shape", grid), g.integers(2), g.integers(4))
    shape = g.op("Concat", g.integers(-1), sides, axis=0)
    output = helper.make_tensor_value_info("attention", TensorProto.FLOAT, ["n", "rows", "columns"])
    return g.finish({g.op("Reshape", total, shape): output}, facts)
