"""A network's map of a picture of any size: a global look, and for large pictures a closer look tile by tile.

Tiles overlap by half and fade into one another, so that no seam shows. Their number is bounded, as a picture is not
looked at more closely than `MAX_AREA`. Each look is normalised, and the two are summed.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from cotam_cli.guidance.cells import Field, normalise, resample
from cotam_cli.guidance.onnx_guide import Maps, OnnxGuide, resized

LARGE = 1.5  # times the network's own area: up to here the global look is enough
MAX_AREA = 12.0  # times the network's own area: a closer look than this is not taken
QUIET = 0.5  # tiles that vary less than this share of the average tile are not blown up to its size

Pixels = NDArray[np.uint8]


def network_map(guide: OnnxGuide, pixels: Pixels, cell: int) -> Field:
    """uint8 [h, w, 3] to importance for each cell of `cell` pixels, float [rows, columns] of zero mean."""
    height, width = pixels.shape[:2]
    size = (height, width)
    whole = resized(pixels, guide.input_size(size))
    found = normalise(resample(guide.maps(whole[None])[0], size, cell))
    area = height * width / guide.native**2
    if area <= LARGE:
        return found
    near = local_map(guide, resized(pixels, guide.input_size(size, min(area, MAX_AREA))))
    return normalise(found + normalise(resample(near, size, cell)))


def local_map(guide: OnnxGuide, pixels: Pixels) -> Field:
    """Overlapping tiles of the network's own size: uint8 [h, w, 3], sides multiples of the patch, to one map."""
    tile = max(1, guide.native // guide.patch)
    grid = pixels.shape[0] // guide.patch, pixels.shape[1] // guide.patch
    shape = min(tile, grid[0]), min(tile, grid[1])
    corners = list(product(*(tile_starts(count, side) for count, side in zip(grid, shape, strict=True))))
    parts = [
        pixels[
            top * guide.patch : (top + shape[0]) * guide.patch,
            left * guide.patch : (left + shape[1]) * guide.patch,
        ]
        for top, left in corners
    ]
    maps = _mixed(guide, guide.fields(np.stack(parts)))
    window = np.outer(_fade(shape[0]), _fade(shape[1]))
    total, weight = np.zeros(grid), np.zeros(grid)
    for (top, left), found in zip(corners, maps, strict=True):
        area = (slice(top, top + shape[0]), slice(left, left + shape[1]))
        total[area] += window * found
        weight[area] += window
    return np.asarray(total / weight)


def tile_starts(count: int, tile: int) -> list[int]:
    """Evenly spread starts of tiles over `count` patches, each overlapping the next by about half or more."""
    if count <= tile:
        return [0]
    steps = -(-(count - tile) // max(1, tile // 2))
    return [round(k * (count - tile) / steps) for k in range(steps + 1)]


def _mixed(guide: OnnxGuide, fields: Maps) -> Field:
    """Fields [tiles, rows, columns, fields], each normalised in its tile, summed by the guide's weights."""
    total = np.zeros(fields.shape[:3])
    for k, (share, floor) in enumerate(zip(guide.weights, guide.floors, strict=True)):
        if share:
            common = QUIET * float(np.sqrt(fields[..., k].astype(np.float64).var((1, 2)).mean()))
            total += share * np.stack([normalise(part, max(floor, common)) for part in fields[..., k]])
    return total


def _fade(count: int) -> Field:
    """Weights that fall towards a tile's edges and never reach zero."""
    return np.asarray(1 - np.abs((np.arange(count) + 0.5) / count * 2 - 1) + 1e-3)
