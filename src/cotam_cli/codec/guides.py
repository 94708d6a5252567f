"""From a guide's name to the map that a picture is coded with."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cotam_cli.codec.analysis import MapSpec
from cotam_cli.codec.models import guide_file
from cotam_cli.errors import GuideError
from cotam_cli.guidance.cells import Field, to_levels
from cotam_cli.guidance.onnx_guide import load_guide
from cotam_cli.guidance.options import CELLS, MAX_STRENGTH, GuideOptions
from cotam_cli.guidance.quiet import QUIET_SHARE
from cotam_cli.guidance.sources import NetworkSource, PictureSource, Source, is_source, open_source

NONE, AUTO = "none", "auto"
BEST = NONE  # what `auto` stands for


@dataclass(frozen=True)
class Recipe:
    """A map of the embedded guide: shares of its shallow attention, deep attention and text, and of quiet places."""

    weights: tuple[float, float, float]
    quiet: float = 0.0


EMBEDDED = {
    "attention": Recipe((1.0, 0.0, 0.0)),
    "text": Recipe((0.0, 0.0, 1.0)),
    "mix": Recipe((1.0, 0.0, 1.0)),
    "focus": Recipe((0.0, 1.0, 1.0), QUIET_SHARE),
}

Pixels = NDArray[np.uint8]
Guide = str | os.PathLike[str] | NDArray[np.generic]


def plan_map(pixels: Pixels, guide: Guide, options: GuideOptions) -> MapSpec | None:
    """The map of uint8 [h, w, 3] pixels, None to code evenly.

    Raises GuideError for an unknown guide, one that cannot be used, or options out of range.
    """
    if options.cell not in CELLS:
        raise GuideError(f"cells of {options.cell} px are not possible; choose {', '.join(map(str, CELLS))}")
    if not 0 <= options.strength <= MAX_STRENGTH:
        raise GuideError(f"strength {options.strength} is out of range; choose 0 to {MAX_STRENGTH}")
    field = importance_field(pixels, guide, options.cell)
    if field is None or round(options.strength * 32) == 0:
        return None
    levels = to_levels(field, options.levels, options.k)
    return MapSpec(levels, options.levels, CELLS.index(options.cell) + 1, options.strength)


def importance_field(pixels: Pixels, guide: Guide, cell: int) -> Field | None:
    """Importance for each cell, float [rows, columns], high = important; None for a guide that says nothing.

    Raises GuideError as `plan_map`.
    """
    source = find_source(guide)
    return None if source is None else source.field(pixels, cell)


def find_source(guide: Guide) -> Source | None:
    """What a guide's name stands for; None: nothing. Networks are kept for the next picture. Raises GuideError."""
    if isinstance(guide, np.ndarray):
        if guide.ndim != 2 or not guide.size or guide.dtype.kind not in "buif":
            raise GuideError(
                f"a map must be numbers [rows, columns], not {guide.dtype} {list(guide.shape)}; give a 2-D array"
            )
        return PictureSource(guide.astype(np.float32))
    name = os.fspath(guide)
    name = BEST if name == AUTO else name
    if name == NONE:
        return None
    if name in EMBEDDED:
        return _embedded(name)
    if not is_source(name):
        raise GuideError(
            f"unknown guide {name!r}; choose auto, none, {', '.join(EMBEDDED)}, "
            "clip:MODEL/WEIGHTS, FILE.onnx or FILE.png"
        )
    if name.startswith("clip:"):
        return _opened(name, 0)
    if name.lower().endswith(".onnx") and Path(name).is_file():
        return _opened(name, Path(name).stat().st_mtime_ns)
    return open_source(name)


@lru_cache(maxsize=4)
def _opened(name: str, _changed: int) -> Source:
    return open_source(name)


@lru_cache(maxsize=4)
def _embedded(name: str) -> Source:
    recipe = EMBEDDED[name]
    guide = replace(load_guide(guide_file(), "the embedded guide"), weights=recipe.weights)
    return NetworkSource(guide, recipe.quiet)
