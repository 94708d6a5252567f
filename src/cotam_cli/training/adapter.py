"""The pixel adapter: a residual picture for machines, added to what the synthesis decodes (the prior).

The paper's adapter ends in the vision encoder's tokens; this one ends in pixels, so that any model profits, those
that take nothing but pictures included.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cotam_cli.training.layers import LEAK, Dense, shuffle_down, shuffle_up
from cotam_cli.training.network import Synthesis

CELL = 8  # pixels of a position, each way
SCALE = 0.1  # of the residual: at full size, the first steps of training are larger than what is to be mended


@dataclass(frozen=True)
class AdapterConfig:
    """Sizes; the defaults cost 8.8 kMAC a pixel."""

    width: int = 192
    blocks: int = 2
    hidden: int = 576
    kernel: int = 5


class WideBlock(nn.Module):
    """Residual block with a large depthwise kernel; starts as the identity."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(
            config.width, config.width, config.kernel, padding=config.kernel // 2, groups=config.width
        )
        self.up = Dense(config.width, config.hidden, gain=1.4)
        self.down = Dense(config.hidden, config.width, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.leaky_relu(self.up(self.spatial(x)), LEAK))


class Adapter(nn.Module):
    """Features of the synthesis and its picture to a residual; zero at the start."""

    def __init__(self, config: AdapterConfig, features: int) -> None:
        super().__init__()
        self.config = config
        self.stem = Dense(features + 3 * CELL * CELL + 2, config.width)
        self.blocks = nn.Sequential(*(WideBlock(config) for _ in range(config.blocks)))
        self.head = Dense(config.width, 3 * CELL * CELL, gain=0.0)

    def forward(self, features: Tensor, picture: Tensor, plane: Tensor) -> Tensor:
        """features [n, f, h/8, w/8], picture [n, 3, h, w], plane [n, 1, h/16, w/16] -> a residual like picture."""
        t = F.interpolate(plane, scale_factor=2, mode="nearest")
        x = self.stem(torch.cat([features, shuffle_down(picture, CELL), t, t * t], 1))
        return SCALE * shuffle_up(self.head(self.blocks(x)), CELL)


def adapted(synthesis: Synthesis, adapter: Adapter, latents: Tensor, plane: Tensor) -> tuple[Tensor, Tensor]:
    """The prior and the prior with the adapter's residual, both in the network's range."""
    features = synthesis.features(latents, plane)
    prior = synthesis.picture(latents, features)
    return prior, prior + adapter(features, prior, plane)
