"""A pack in an accelerator's memory: crops and quality planes are drawn there, so that no step waits for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cotam_cli.training.data import Entry, Pack

FACTORS = (1.0, 1.4, 2.0)  # pictures are there scaled down too, where `Pack.crop` scales crop by crop
SCALED = {"photo": 0.35, "art": 0.35}  # share of the crops that are scaled down
OTHERS_SCALED = 0.15
STRETCH = 0.75  # a picture at least this large beside a crop is scaled up to it


class _Version(NamedTuple):
    """A picture at one scale; `only` is the side of the crops it was scaled up for, 0 for all."""

    group: str
    factor: float
    only: int
    pixels: Tensor  # uint8 [h, w, 3]


class DevicePack:
    """The pictures of a pack, uint8, as one tensor, and where each begins."""

    def __init__(self, pack: Pack, device: torch.device, sides: Sequence[int]) -> None:
        self.shares = dict(zip(pack.groups, pack.weights, strict=True))
        versions = [
            version
            for entries in pack.groups.values()
            for entry in entries
            for version in _versions(pack, entry, device, sides)
        ]
        sizes = torch.tensor([version.pixels.shape[:2] for version in versions])
        self.height, self.width = sizes.to(device).T
        ends = (sizes.prod(1) * 3).cumsum(0)
        self.offset = torch.cat([ends.new_zeros(1), ends[:-1]]).to(device)
        self.mirrored = torch.tensor([v.group in SCALED for v in versions], device=device)
        self.until = {side: self._odds(versions, sizes, side).to(device) for side in sides}
        self.pixels = torch.cat([version.pixels.flatten() for version in versions])

    def _odds(self, versions: Sequence[_Version], sizes: Tensor, side: int) -> Tensor:
        """Cumulative probability of each version for crops of a side, float64."""
        fits = [
            min(size) >= side and v.only in (0, side)
            for v, size in zip(versions, sizes.tolist(), strict=True)
        ]
        odds = torch.tensor([f * _share(v) for v, f in zip(versions, fits, strict=True)], dtype=torch.float64)
        for group, share in self.shares.items():
            members = torch.tensor([v.group == group for v in versions])
            odds[members] *= share / odds[members].sum().clamp_min(1e-12)
        return (odds / odds.sum()).cumsum(0)

    def crops(self, count: int, side: int) -> Tensor:
        """Random crops, float32 [count, 3, side, side] in 0..1, channels last; photos are mirrored at random."""
        device = self.pixels.device
        chance = torch.rand(count, dtype=torch.float64, device=device)
        version = torch.searchsorted(self.until[side], chance).clamp_max(len(self.offset) - 1)
        places = torch.rand(2, count, device=device)
        top, left = (
            (place * (size[version] - side + 1)).long()
            for place, size in zip(places, (self.height, self.width), strict=True)
        )
        along = torch.arange(side, device=device)
        turned = self.mirrored[version] & (torch.rand(count, device=device) < 0.5)
        across = torch.where(turned[:, None], side - 1 - along, along)
        rows, columns = top[:, None] + along, left[:, None] + across
        index = rows[:, :, None] * self.width[version][:, None, None] + columns[:, None, :]
        index = self.offset[version][:, None, None] + 3 * index
        return self.pixels[index[..., None] + torch.arange(3, device=device)].permute(0, 3, 1, 2) / 255


def _share(version: _Version) -> float:
    scaled = SCALED.get(version.group, OTHERS_SCALED)
    return 1 - scaled if version.factor == 1.0 else scaled / (len(FACTORS) - 1)


def _versions(pack: Pack, entry: Entry, device: torch.device, sides: Sequence[int]) -> list[_Version]:
    whole = pack.region(entry, 0, 0, entry.height, entry.width)
    pixels = torch.from_numpy(np.array(whole)).to(device)
    found = []
    for factor in FACTORS:
        if min(whole.shape[:2]) / factor >= min(sides):
            found.append(_Version(entry.group, factor, 0, _resized(pixels, factor)))
    for side in sides:
        if STRETCH * side <= min(whole.shape[:2]) < side:
            factor = min(whole.shape[:2]) / side
            found.append(_Version(entry.group, 1.0, side, _resized(pixels, factor)))
    return found


def _resized(pixels: Tensor, factor: float) -> Tensor:
    if factor == 1.0:
        return pixels
    size = [round(side / factor) for side in pixels.shape[:2]]
    picture = pixels.permute(2, 0, 1)[None].float()
    scaled = F.interpolate(picture, size=size, mode="bicubic", antialias=True)
    return scaled[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


def device_planes(count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """`quality_planes` drawn on the device: t [count, 1, size, size] and each picture's base t [count, 1, 1, 1]."""

    def chance() -> Tensor:
        return torch.rand(count, 1, 1, 1, device=device)

    base, family, kind = 2 * chance() - 1, chance(), chance()
    cells = torch.zeros(count, 1, size, size, device=device)
    for number, cell in enumerate((1, 2, 4)):
        side = -(-size // cell)
        levels = torch.randint(-1, 2, (count, 1, side, side), device=device).float()
        levels = levels.repeat_interleave(cell, 2).repeat_interleave(cell, 3)[:, :, :size, :size]
        cells = torch.where((kind * 3).floor() == number, levels, cells)
    ramp = torch.linspace(-1, 1, size, device=device)
    ramps = torch.where(chance() < 0.5, ramp.view(1, 1, 1, -1), ramp.view(1, 1, -1, 1))
    ramps = torch.where(chance() < 0.5, ramps, -ramps)
    change = torch.where(family > 0.9, ramps, torch.where(family > 0.6, cells, torch.zeros_like(cells)))
    return (base + (0.1 + 0.4 * chance()) * change).clamp(-1, 1), base
