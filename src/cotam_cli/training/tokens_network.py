"""The token adapter: decoded latents to what a vision encoder's embedded tokens lack.

latents -> linear -> class token + positions -> LayerNorm -> one pre-norm transformer block -> linear -> resampled to
the encoder's patches. Its last layer starts at zero, so that training starts from the prior, the encoder's own
embedding of the decoded picture. The exported file holds that embedding too, frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

from cotam_cli.guidance.vit_graph import Graph, Value, Vit
from cotam_cli.training.transformer import (
    TransformerBlock,
    plain_array,
    plain_block,
    plain_linear,
    plain_norm,
)

FADE = 0.8  # the codec's error falls about as exp(-0.8 t): five times from quality 1 to 8


@dataclass(frozen=True)
class AdapterSizes:
    """latents: the codec's channels; width, heads, extra: the encoder's, extra 1 with a class token, else 0."""

    latents: int
    width: int
    heads: int
    extra: int
    grid: int = 16  # of its own positions, a side


class TokenAdapter(nn.Module):
    """Latents to the difference of embedded tokens."""

    def __init__(self, sizes: AdapterSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.register_buffer("input_scale", torch.ones(sizes.latents))
        self.register_buffer("output_scale", torch.ones(sizes.width))
        self.stem = nn.Linear(sizes.latents + 2, sizes.width)
        self.class_token = nn.Parameter(0.02 * torch.randn(sizes.extra, sizes.width))
        self.positions = nn.Parameter(0.02 * torch.randn(sizes.width, sizes.grid, sizes.grid))
        self.norm = nn.LayerNorm(sizes.width)
        self.block = TransformerBlock(sizes.width, sizes.heads)
        self.last = nn.Linear(sizes.width, sizes.width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def start_from(self, input_scale: Tensor, output_scale: Tensor) -> None:
        """1 / deviation of each latent channel, and the deviation of what is to be added to each of the tokens'.

        Encoders' embeddings differ a hundredfold in size: without the latter one learning rate would not do for all.
        """
        self.input_scale.copy_(input_scale)
        self.output_scale.copy_(output_scale)

    def forward(self, latents: Tensor, plane: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """latents [n, channels, r, c] as the synthesis takes them, plane t [n, 1, r, c], down [rows, r] and
        across [columns, c] (see `codec.tokens.axis_weights`) to [n, extra + rows x columns, width]."""
        scaled = latents * self.input_scale.view(1, -1, 1, 1)
        x = self.stem(torch.cat([scaled, plane, plane * plane], 1).permute(0, 2, 3, 1))
        n, r, c, width = x.shape
        table = self.positions[None]
        if (r, c) != (self.sizes.grid, self.sizes.grid):
            table = F.interpolate(table, size=(r, c), mode="bicubic", align_corners=False)
        x = (x + table.permute(0, 2, 3, 1)).reshape(n, r * c, width)
        x = torch.cat([self.class_token.to(x.dtype).expand(n, -1, -1), x], 1)
        amount = torch.exp(-FADE * plane).flatten(1).unsqueeze(-1)  # the finer the picture, the less it lacks
        amount = torch.cat([amount.mean(1, keepdim=True).expand(-1, self.sizes.extra, -1), amount], 1)
        x = self.last(self.block(self.norm(x))) * self.output_scale * amount
        extra = self.sizes.extra
        cells = x[:, extra:].reshape(n, r, c * width)
        rows = torch.matmul(down, cells).view(n, len(down), c, width)
        return torch.cat([x[:, :extra], torch.matmul(across, rows).flatten(1, 2)], 1)


def adapter_graph(vit: Vit, net: TokenAdapter, facts: Mapping[str, str]) -> bytes:
    """The runtime's file, weights in half precision.

    Inputs: pixels uint8 [1, h, w, 3], prepared for the encoder; latents float32 [1, r, c, channels]; planes float32
    [1, r, c, 2] (t and t^2); down float32 [rows, r]; across float32 [columns, c]. Outputs, float32
    [1, extra + rows x columns, width]: prior, the encoder's embedded tokens, and tokens, prior and adapter.
    """
    g = Graph()
    prior = _embedded(g, vit)
    tokens = g.op("Add", prior, _difference(g, net))
    inputs = [
        helper.make_tensor_value_info("latents", TensorProto.FLOAT, [1, "r", "c", net.sizes.latents]),
        helper.make_tensor_value_info("planes", TensorProto.FLOAT, [1, "r", "c", 2]),
        helper.make_tensor_value_info("down", TensorProto.FLOAT, ["rows", "r"]),
        helper.make_tensor_value_info("across", TensorProto.FLOAT, ["columns", "c"]),
    ]
    shape: list[int | str | None] = [1, "count", net.sizes.width]
    results = {
        value: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for value, name in ((prior, "prior"), (tokens, "tokens"))
    }
    return g.finish(results, facts, "tokens", inputs)


def _embedded(g: Graph, vit: Vit) -> Value:
    """The encoder's tokens before its first block. Pixels are normalised apart from the patches' weights, which would
    be too small for half precision otherwise."""
    side = vit.patch.shape[-1]
    pixels = g.op("Transpose", g.op("Cast", "pixels", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    mean, std = (
        g.constant((255 * torch.tensor(v)).view(1, 3, 1, 1).float().numpy()) for v in (vit.mean, vit.std)
    )
    unit = g.op("Div", g.op("Sub", pixels, mean), std)
    weights = g.half(vit.patch), g.constant(vit.patch_bias)
    grid = g.op("Conv", unit, *weights, kernel_shape=[side, side], strides=[side, side])
    x = g.positioned(grid, vit.positions)
    if vit.class_token is not None:
        x = g.op("Concat", g.constant(vit.class_token[None, None]), x, axis=1)
    return x if vit.pre_norm is None else g.norm(x, vit.pre_norm)


def _amount(g: Graph, extra: int) -> Value:
    """How much the tokens may change, [1, extra + r c, 1]."""
    t = g.op("Slice", "planes", g.integers(0), g.integers(1), g.integers(3))
    amount = g.op("Exp", g.op("Mul", g.op("Reshape", t, g.integers(1, -1, 1)), g.scalar(-FADE)))
    if not extra:
        return amount
    return g.op("Concat", g.op("ReduceMean", amount, axes=[1], keepdims=1), amount, axis=1)


def _difference(g: Graph, net: TokenAdapter) -> Value:
    sizes, width = net.sizes, net.sizes.width
    scaled = g.op("Mul", "latents", g.constant(plain_array(net.input_scale)))
    x = g.linear(g.op("Concat", scaled, "planes", axis=3), plain_linear(net.stem))
    x = g.op("Transpose", x, perm=[0, 3, 1, 2])
    x = g.positioned(x, plain_array(net.positions))
    if sizes.extra:
        x = g.op("Concat", g.constant(plain_array(net.class_token)[None]), x, axis=1)
    x, _ = g.block(g.norm(x, plain_norm(net.norm)), plain_block(net.block), sizes.heads, "gelu")
    x = g.op("Mul", g.linear(x, plain_linear(net.last)), g.constant(plain_array(net.output_scale)))
    x = g.op("Mul", x, _amount(g, sizes.extra))
    start, end = g.integers(sizes.extra), g.integers(2**62)
    cells = g.op("Slice", x, start, end, g.integers(1))
    sides = g.op("Slice", g.op("Shape", "latents"), g.integers(1), g.integers(2))
    flat = g.op("Reshape", cells, g.op("Concat", g.integers(1), sides, g.integers(-1), axis=0))
    columns = g.op("Slice", g.op("Shape", "latents"), g.integers(2), g.integers(3))
    shape = g.op("Concat", g.integers(-1), columns, g.integers(width), axis=0)
    rows = g.op("Reshape", g.op("MatMul", "down", flat), shape)
    found = g.op("Reshape", g.op("MatMul", "across", rows), g.integers(1, -1, width))
    if not sizes.extra:
        return found
    first = g.op("Slice", x, g.integers(0), start, g.integers(1))
    return g.op("Concat", first, found, axis=1)
