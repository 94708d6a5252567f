"""The context's order by phases: positions of the 2x2 grid apart, so that a pass computes only the latents that it
codes, a quarter of all. As the files' passes do (docs/FORMAT.md), with gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PASSES = 4
STEPS = (
    0,
    2,
    3,
    1,
)  # of positions (0, 0), (0, 1), (1, 0), (1, 1); pass g codes channels c with c + step = g (mod 4)


def to_phases(x: Tensor) -> Tensor:
    """[n, c, h, w], h and w even -> [4, n h/2 w/2, c]."""
    n, c, h, w = x.shape
    y = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c).permute(2, 4, 0, 1, 3, 5)
    return y.reshape(4, -1, c)


def from_phases(x: Tensor, n: int, h: int, w: int) -> Tensor:
    """The inverse: [4, n h/2 w/2, c] -> [n, c, h, w]."""
    y = x.reshape(2, 2, n, h // 2, w // 2, -1).permute(2, 3, 0, 4, 1, 5)
    return y.reshape(n, h, w, -1).permute(0, 3, 1, 2)


def own_channels(x: Tensor, number: int) -> Tensor:
    """What pass `number` codes: [4, p, c] -> [4, p, c / 4]."""
    return torch.stack(
        [phase[:, (number - step) % PASSES :: PASSES] for phase, step in zip(x, STEPS, strict=True)]
    )


def own_rows(weight: Tensor, number: int) -> Tensor:
    """The rows of a head that pass `number` needs in each phase: [c, ...] -> [4, c / 4, ...]."""
    return torch.stack([weight[(number - step) % PASSES :: PASSES] for step in STEPS])


def gather_passes(coded: Sequence[Tensor]) -> Tensor:
    """The passes' latents, each [4, p, c / 4], in their channels: [4, p, c], zero where passes are yet to come."""
    blank = torch.zeros_like(coded[0])
    known = [*coded, *[blank] * (PASSES - len(coded))]
    phases = [
        torch.stack([known[(r + step) % PASSES][p] for r in range(PASSES)], 2) for p, step in enumerate(STEPS)
    ]
    return torch.stack(phases).flatten(2)
