"""Random quality planes for training."""

from __future__ import annotations

import random

import torch
from torch import Tensor


def quality_planes(rng: random.Random, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Random quality planes in t, [count, 1, size, size], and each picture's base t, [count, 1, 1, 1].

    The paper's families per cell (uniform, blocky cells, linear gradients), so that any later map just works.
    """
    base = torch.tensor([rng.uniform(-1, 1) for _ in range(count)]).view(-1, 1, 1, 1)
    plane = base.expand(-1, 1, size, size).clone()
    for k in range(count):
        family = rng.random()
        strength = rng.uniform(0.1, 0.5)
        if 0.6 < family <= 0.9:
            cell = rng.choice([1, 2, 4])
            cells = -(-size // cell)
            levels = torch.randint(-1, 2, (1, 1, cells, cells)).float()
            levels = levels.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
            plane[k] += strength * levels[0, :, :size, :size]
        elif family > 0.9:
            ramp = torch.linspace(-1, 1, size)
            ramp = ramp.view(1, 1, -1) if rng.random() < 0.5 else ramp.view(1, -1, 1)
            plane[k] += strength * ramp * rng.choice([-1, 1])
    return plane.clamp(-1, 1), base
