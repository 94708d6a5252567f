"""How steady a teacher's map is: a second look at the same picture, mirrored or a little smaller, moves the grid of
patches and with it the map. A student cannot agree with one look better than the teacher agrees with itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cotam_cli.errors import CotamError
from cotam_cli.guidance.cells import Field, normalise
from cotam_cli.guidance.onnx_guide import OnnxGuide
from cotam_cli.training.guide_data import load_shards, look, shard_numbers
from cotam_cli.training.guide_loop import spearman
from cotam_cli.training.guide_network import SmallVit

FEWER = 2  # patches that the smaller look has on each side

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Steadiness:
    """Spearman's rank correlations over 32x32 pixels, means over pictures.

    mirrored, smaller: the teacher's look at the picture against its look at the picture mirrored, or smaller.
    teacher, student: its look, and the student's field, against the mean of three other looks (mirrored, smaller, and
    both), which holds less of what a grid of patches adds by chance.
    """

    pictures: int
    mirrored: float
    smaller: float
    teacher: float
    student: float


@torch.no_grad()
def steadiness(net: SmallVit, folder: Path, teacher: OnnxGuide, pictures: int) -> Steadiness:
    """Ask the teacher again on up to so many test pictures, spread evenly over the shards."""
    shards = load_shards(folder, shard_numbers(folder, test=True))
    places = [(shard, k) for shard in shards for k in range(len(shard.fields))]
    if not places:
        raise CotamError(f"{folder} holds no test shards; make some with: guide ask")
    count = min(pictures, len(places))
    rows = []
    for shard, k in (places[n * len(places) // count] for n in range(count)):
        pixels = np.array(shard.pixels[k])
        first = look(teacher, pixels)  # the kept answer is a mean of looks, the mirrored one among them
        mirrored, smaller, both = (other(pixels) for other in _looks(teacher))
        others = normalise(mirrored) + normalise(smaller) + normalise(both)
        found = net(torch.from_numpy(pixels[None]))[0, ..., 0].numpy()
        rows.append(
            (
                spearman(first, mirrored),
                spearman(first, smaller),
                spearman(first, others),
                spearman(found, others),
            )
        )
    return Steadiness(count, *(float(value) for value in np.mean(rows, 0)))


def _looks(teacher: OnnxGuide) -> tuple[Callable[[Pixels], Field], ...]:
    def smaller(pixels: Pixels) -> Field:
        return look(teacher, pixels, fewer=FEWER)

    def mirror(other: Callable[[Pixels], Field]) -> Callable[[Pixels], Field]:
        return lambda pixels: other(pixels[:, ::-1])[:, ::-1]

    return mirror(lambda pixels: look(teacher, pixels)), smaller, mirror(smaller)
