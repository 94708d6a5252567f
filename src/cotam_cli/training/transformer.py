"""A transformer block to train, and what its layers are as plain arrays for an ONNX graph."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from cotam_cli.guidance.vit_graph import Block, Linear, Norm


class TransformerBlock(nn.Module):
    """Pre-norm transformer block with a hidden layer of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for last in (self.out, self.second):
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        n, count, width = x.shape
        y = self.norm1(x)
        q, k, v = (
            layer(y).view(n, count, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, count, width)
        x = x + self.out(mixed)
        return x + self.second(F.gelu(self.first(self.norm2(x))))


def plain_array(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().float().numpy())


def plain_linear(layer: nn.Linear) -> Linear:
    return Linear(plain_array(layer.weight), plain_array(layer.bias))


def plain_norm(layer: nn.LayerNorm) -> Norm:
    return Norm(plain_array(layer.weight), plain_array(layer.bias), layer.eps)


def plain_block(block: TransformerBlock) -> Block:
    return Block(
        plain_norm(block.norm1),
        plain_linear(block.query),
        plain_linear(block.key),
        plain_linear(block.value),
        plain_linear(block.out),
        plain_norm(block.norm2),
        plain_linear(block.first),
        plain_linear(block.second),
    )
