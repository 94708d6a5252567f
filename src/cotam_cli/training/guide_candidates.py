"""The maps that an ablation compares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cotam_cli.codec.guides import importance_field
from cotam_cli.errors import CotamError
from cotam_cli.guidance.cells import Field, normalise, resample
from cotam_cli.guidance.onnx_guide import OnnxGuide, load_guide, resized
from cotam_cli.guidance.options import DEFAULTS
from cotam_cli.guidance.quiet import QUIET_SHARE, beside_quiet, quiet_field
from cotam_cli.guidance.torch_vit import Tower
from cotam_cli.training.guide_ablation import Mapper
from cotam_cli.training.guide_bound import bound_map
from cotam_cli.training.guide_data import DEEP_AREA, TextDetector, look, smoothed

LONGEST = 1280  # pixels: larger pictures are scaled down for the text detector
TEXT_FLOOR = 0.05  # deviation of the share of text below which there is hardly any

Pixels = NDArray[np.uint8]


def find_candidates(
    guides: Mapping[str, str],
    text: Path | None,
    deep: Path | None,
    bound: Path | None,
    quality: float,
    quiet: bool,
) -> dict[str, Mapper]:
    """Mappers by name: the guides, where wanted `quiet`, with a detector `text` and `mix`, with deep attention as well
    `focus`, with a tower `bound`.

    quality: where the bound is taken. Raises CotamError for `deep` without `text`.
    """
    found: dict[str, Mapper] = {name: partial(guide_map, guide=guide) for name, guide in guides.items()}
    if quiet:
        found["quiet"] = partial(quiet_field, cell=DEFAULTS.cell)
    if text is not None:
        detector = TextDetector(text)
        found["text"] = partial(text_map, detector)
        if guides:
            found["mix"] = partial(mixed_map, detector, next(iter(guides.values())))
    if deep is not None:
        if text is None:
            raise CotamError("the candidate focus needs a text detector too; name one with --text")
        found["focus"] = partial(focus_map, detector, load_guide(deep.read_bytes(), str(deep)))
    if bound is not None:
        found["bound"] = partial(_bound, tower_file(bound), quality=quality)
    return found


def tower_file(path: Path) -> Tower:
    """All blocks of an ONNX file of a ViT or DINOv2."""
    from cotam_cli.guidance.towers import count_blocks, onnx_vit

    return Tower(onnx_vit(path, count_blocks(path)))


def guide_map(pixels: Pixels, guide: str) -> Field:
    """A guide's map."""
    field = importance_field(pixels, guide, DEFAULTS.cell)
    if field is None:
        raise CotamError(f"guide {guide} has no map; name another")
    return field


def text_map(detector: TextDetector, pixels: Pixels) -> Field:
    """The share of text in each cell, as a detector sees it."""
    height, width = size = (pixels.shape[0], pixels.shape[1])
    scale = min(1.0, LONGEST / max(size))
    down, across = (max(1, round(side * scale / 32)) * 32 for side in (height, width))
    return resample(detector.field(resized(pixels, (down, across))), size, DEFAULTS.cell)


def mixed_map(detector: TextDetector, guide: str, pixels: Pixels) -> Field:
    """A guide's map and the text map, each normalised, summed."""
    return normalise(guide_map(pixels, guide)) + normalise(text_map(detector, pixels))


def focus_map(detector: TextDetector, deep: OnnxGuide, pixels: Pixels) -> Field:
    """Deep attention and text, and half as much of where the picture is quiet."""
    looked = smoothed(look(deep, pixels, DEEP_AREA))
    fields = resample(looked, (pixels.shape[0], pixels.shape[1]), DEFAULTS.cell), text_map(detector, pixels)
    seen = normalise(fields[0]) + normalise(fields[1], TEXT_FLOOR)
    return beside_quiet(seen, pixels, DEFAULTS.cell, QUIET_SHARE)


def _bound(tower: Tower, pixels: Pixels, quality: float) -> Field:
    return bound_map(tower, pixels, quality, DEFAULTS.cell)
