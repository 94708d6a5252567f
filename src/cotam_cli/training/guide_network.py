"""The embedded guide: a small vision transformer that says, for each 32x32 pixels, how much a large one looks there.

Three fields come out: the logarithms of the teacher's shallow and deep attention, each up to a picture's own mean and
scale, and the logit of text being there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

from cotam_cli.guidance.onnx_guide import guide_facts
from cotam_cli.guidance.vit_graph import Graph
from cotam_cli.training.transformer import (
    TransformerBlock,
    plain_array,
    plain_block,
    plain_linear,
    plain_norm,
)

PATCH = 32  # pixels a side: the default cell of a map
STEM = 4  # pixels a side that the first layer sees
FIELDS = ("attention", "deep", "text")
FLOORS = (0.0, 0.0, 1.5)  # logits of text vary by less than this where there is none
NATIVE = 640  # input side: 640 x 640 pixels are 400 tokens; 768x512 is seen whole


@dataclass(frozen=True)
class GuideConfig:
    """Sizes of the network; the defaults are the shipped guide's (2 million weights)."""

    width: int = 192
    heads: int = 3
    blocks: int = 3
    stem: int = 48
    grid: int = 20  # of position embeddings


class SmallVit(nn.Module):
    """uint8 pixels [n, h, w, 3], sides multiples of 32, to float [n, h/32, w/32, 3] (`FIELDS`)."""

    def __init__(self, config: GuideConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Linear(3 * STEM * STEM, config.stem)
        self.patch = nn.Linear(config.stem * (PATCH // STEM) ** 2, config.width)
        self.positions = nn.Parameter(0.02 * torch.randn(config.width, config.grid, config.grid))
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, config.heads) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, len(FIELDS))

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.float() - 127.5) / 64
        x = F.gelu(self.stem(_depth(x, STEM)))
        x = self.patch(_depth(x, PATCH // STEM))
        n, rows, columns, width = x.shape
        table = F.interpolate(self.positions[None], size=(rows, columns), mode="bilinear")
        x = (x + table.permute(0, 2, 3, 1)).reshape(n, rows * columns, width)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).view(n, rows, columns, len(FIELDS))


def _depth(x: Tensor, side: int) -> Tensor:
    """Space to depth, channels last: [n, h, w, c] -> [n, h/s, w/s, s s c]."""
    n, h, w, c = x.shape
    y = x.reshape(n, h // side, side, w // side, side, c).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(n, h // side, w // side, side * side * c)


def student_graph(net: SmallVit, source: str, weights: tuple[float, ...]) -> bytes:
    """The network as a guide's file; weights: the share of each field in the map."""
    g, config = Graph(), net.config
    pixels = g.op("Cast", g.op("Transpose", "pixels", perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    unit = g.op("Mul", g.op("Sub", pixels, g.scalar(127.5)), g.scalar(1 / 64))
    x = g.op("Transpose", g.op("SpaceToDepth", unit, blocksize=STEM), perm=[0, 2, 3, 1])
    x = g.activation(g.linear(x, plain_linear(net.stem)), "gelu")
    x = g.op("SpaceToDepth", g.op("Transpose", x, perm=[0, 3, 1, 2]), blocksize=PATCH // STEM)
    x = g.linear(g.op("Transpose", x, perm=[0, 2, 3, 1]), plain_linear(net.patch))
    grid = g.op("Transpose", x, perm=[0, 3, 1, 2])
    x = g.positioned(grid, plain_array(net.positions), mode="linear")
    for block in net.blocks:
        assert isinstance(block, TransformerBlock)
        x, _ = g.block(x, plain_block(block), config.heads, "gelu")
    x = g.linear(g.norm(x, plain_norm(net.norm)), plain_linear(net.head))
    sides = g.op("Slice", g.op("Shape", grid), g.integers(2), g.integers(4))
    shape = g.op("Concat", g.integers(-1), sides, g.integers(len(FIELDS)), axis=0)
    output = helper.make_tensor_value_info("fields", TensorProto.FLOAT, ["n", "rows", "columns", len(FIELDS)])
    facts = guide_facts(PATCH, NATIVE, source, weights, FLOORS)
    return g.finish({g.op("Reshape", x, shape): output}, facts)
