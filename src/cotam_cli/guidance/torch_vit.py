"""A whole vision transformer from the plain arrays of `Vit`, as a frozen PyTorch module.

The gradient flows to the pixels, or to the embedded tokens: a teacher for losses, and a view of every layer. Needs the
extra `torch`; import it inside functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cotam_cli.guidance.vit_graph import Activation, Block, Linear, Norm, Vit


@dataclass(frozen=True)
class Seen:
    """What a tower made of pictures.

    embedded [n, tokens, d]: the tokens before block 1 (patch embeddings, class token, positions, the pre-norm where the
    tower has one). tokens[k] [n, tokens, d]: raw, after block k (from 1); k = 0 are the embedded ones. attention[k]
    [n, heads, queries, keys] of block k, float32. The class token comes first where there is one, then the patches row
    by row.
    """

    embedded: Tensor
    tokens: dict[int, Tensor]
    attention: dict[int, Tensor]


class Tower(nn.Module):
    """A vision transformer whose weights are buffers: nothing of it trains."""

    def __init__(self, vit: Vit) -> None:
        super().__init__()
        self.patch, self.width, self.grid = vit.patch.shape[-1], len(vit.patch), vit.positions.shape[-1]
        self.extra = 0 if vit.class_token is None else 1
        self.depth = len(vit.blocks)
        self._keep("mean", torch.tensor(vit.mean).view(1, 3, 1, 1))
        self._keep("std", torch.tensor(vit.std).view(1, 3, 1, 1))
        self._keep("weight", torch.tensor(vit.patch))
        self._keep("bias", torch.tensor(vit.patch_bias))
        self._keep("positions", torch.tensor(vit.positions)[None])
        self._keep("class_token", None if vit.class_token is None else torch.tensor(vit.class_token))
        self.pre_norm = None if vit.pre_norm is None else _Norm(vit.pre_norm)
        self.last_norm = None if vit.last_norm is None else _Norm(vit.last_norm)
        self.blocks = nn.ModuleList(_Block(block, vit.heads, vit.activation) for block in vit.blocks)
        self.eval()

    def _keep(self, name: str, values: Tensor | None) -> None:
        self.register_buffer(name, values, persistent=False)

    def forward(self, pixels: Tensor, tokens: Iterable[int] = (), attention: Iterable[int] = ()) -> Seen:
        """Pixels, float [n, 3, h, w] in 0..1 with sides that are multiples of `patch`, to the blocks asked for.

        Runs no further than the last of them. Raises ValueError for other sides.
        """
        return self.run_from(self.embed(pixels), tokens, attention)

    def embed(self, pixels: Tensor) -> Tensor:
        """The tokens before block 1, [n, extra + patches, d]; `pixels` as for `forward`."""
        rows, columns = (side // self.patch for side in pixels.shape[-2:])
        if (rows * self.patch, columns * self.patch) != tuple(pixels.shape[-2:]):
            raise ValueError(f"sides of {tuple(pixels.shape[-2:])} are no multiples of {self.patch}")
        grid = F.conv2d((pixels - self.mean) / self.std, self.weight, self.bias, stride=self.patch)
        x = (grid + self.positions_for(rows, columns)).flatten(2).transpose(1, 2)
        if self.extra:
            x = torch.cat([self.class_token.to(x.dtype).expand(len(x), 1, -1), x], 1)
        return x if self.pre_norm is None else self.pre_norm(x)

    def positions_for(self, rows: int, columns: int) -> Tensor:
        """The patches' positions [1, d, rows, columns]: as stored, or interpolated (bicubic) to exactly this grid."""
        if (rows, columns) == (self.grid, self.grid):
            return self.positions
        return F.interpolate(self.positions, size=(rows, columns), mode="bicubic", align_corners=False)

    def run_from(self, embedded: Tensor, tokens: Iterable[int] = (), attention: Iterable[int] = ()) -> Seen:
        """Embedded tokens [n, tokens, d] to the blocks asked for. Raises ValueError for blocks that do not exist."""
        wanted, watched = set(tokens), set(attention)
        last = max(wanted | watched, default=0)
        if last > self.depth or min(wanted | watched, default=0) < 0 or 0 in watched:
            raise ValueError(f"the tower has the blocks 1 to {self.depth}")
        seen, x = Seen(embedded, {}, {}), embedded
        if 0 in wanted:
            seen.tokens[0] = x
        for number in range(1, last + 1):
            x, weights = self.blocks[number - 1](x, number in watched)
            if weights is not None:
                seen.attention[number] = weights
            if number in wanted:
                seen.tokens[number] = x
        return seen

    def walk(self, embedded: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Tokens after each block, and its attention (see `Seen`), one block at a time: all at once would not fit."""
        x = embedded
        for block in self.blocks:
            x, weights = block(x, True)
            yield x, weights

    def normed(self, tokens: Tensor) -> Tensor:
        """Tokens after the tower's last norm; unchanged where it has none."""
        return tokens if self.last_norm is None else self.last_norm(tokens)


class _Linear(nn.Module):
    """One or several linear layers of the same input, side by side."""

    def __init__(self, *layers: Linear) -> None:
        super().__init__()
        weight = torch.cat([torch.tensor(layer.weight) for layer in layers])
        bias = torch.cat([torch.tensor(layer.bias) for layer in layers])
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class _Norm(nn.Module):
    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.register_buffer("weight", torch.tensor(norm.weight), persistent=False)
        self.register_buffer("bias", torch.tensor(norm.bias), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class _Block(nn.Module):
    def __init__(self, block: Block, heads: int, kind: Activation) -> None:
        super().__init__()
        self.heads, self.kind = heads, kind
        self.norm1, self.norm2 = _Norm(block.norm1), _Norm(block.norm2)
        self.qkv = _Linear(block.query, block.key, block.value)
        self.out, self.first, self.second = (
            _Linear(layer) for layer in (block.out, block.first, block.second)
        )

    def forward(self, x: Tensor, watched: bool) -> tuple[Tensor, Tensor | None]:
        n, count, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = None
        if watched:
            weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).float().softmax(-1)
            mixed = weights.to(v.dtype) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, count, width))
        hidden = self.first(self.norm2(x))
        if self.kind == "quick_gelu":
            hidden = hidden * torch.sigmoid(1.702 * hidden)
        else:
            hidden = F.gelu(hidden, approximate="tanh" if self.kind == "gelu_tanh" else "none")
        return x + self.second(hidden), weights
