"""The float transforms over pictures of any size: tiles with a halo as wide as the network sees, so that a
tiled run gives what a whole run would."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnxruntime

TILE = 64  # latent positions a side: 1024 pixels, about 150 MB of activations
SLOPE_TILE = 48  # going back keeps what it met on the way: three times the memory
HALO = 7  # latent positions: 112 pixels, what the synthesis sees around a position
ANALYSIS_HALO = 3  # what the analysis sees
BLOCK = 16

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Number = TypeVar("Number", bound=np.generic)


class Tile(NamedTuple):
    """One axis of a tile in latent positions: the part kept, and the part run."""

    start: int
    end: int
    low: int
    high: int

    @property
    def inner(self) -> slice:
        return slice(self.start - self.low, self.end - self.low)


def axis_tiles(size: int, tile: int = TILE, halo: int = HALO) -> list[Tile]:
    """Even tiles over `size` positions, at most `tile` each."""
    count = -(-size // tile)
    edges = [round(k * size / count) for k in range(count + 1)]
    return [Tile(a, b, max(0, a - halo), min(size, b + halo)) for a, b in pairwise(edges)]


def grid_tiles(rows: int, columns: int, tile: int = TILE, halo: int = HALO) -> Iterator[tuple[Tile, Tile]]:
    """All tiles of a latent grid, row by row."""
    for down in axis_tiles(rows, tile, halo):
        for across in axis_tiles(columns, tile, halo):
            yield down, across


def run_analysis(session: onnxruntime.InferenceSession, pixels: Pixels, planes: Floats) -> Floats:
    """pixels uint8 [16 rows, 16 columns, 3], planes float32 [1, rows, columns, 2] -> y [rows, columns, latents]."""
    _, rows, columns, _ = planes.shape
    y = np.empty((rows, columns, session.get_outputs()[0].shape[-1]), np.float32)
    for down, across in grid_tiles(rows, columns, halo=ANALYSIS_HALO):
        part = pixels[down.low * BLOCK : down.high * BLOCK, across.low * BLOCK : across.high * BLOCK]
        plane = planes[:, down.low : down.high, across.low : across.high].repeat(2, 1).repeat(2, 2)
        (result,) = session.run(None, {"pixels": np.ascontiguousarray(part[None]), "planes": plane})
        y[down.start : down.end, across.start : across.end] = result[0, down.inner, across.inner]
    return y


def run_slope(
    session: onnxruntime.InferenceSession, latents: Floats, planes: Floats, pixels: Pixels
) -> Floats:
    """latents float32 [rows, columns, latents], planes [1, rows, columns, 2], the original uint8 [16 rows,
    16 columns, 3] -> slope [rows, columns, latents]. At the edges of tiles it is near to a whole run's."""
    rows, columns, _ = latents.shape
    slope = np.empty(latents.shape, np.float32)
    for down, across in grid_tiles(rows, columns, SLOPE_TILE):
        extra = _up_to(down.high - down.low), _up_to(across.high - across.low)
        part = _extended(latents[down.low : down.high, across.low : across.high], extra)
        plane = _extended(planes[0, down.low : down.high, across.low : across.high], extra)
        seen = pixels[down.low * BLOCK : down.high * BLOCK, across.low * BLOCK : across.high * BLOCK]
        wanted = _extended(seen, (extra[0] * BLOCK, extra[1] * BLOCK))
        (result,) = session.run(None, {"latents": part[None], "planes": plane[None], "pixels": wanted[None]})
        slope[down.start : down.end, across.start : across.end] = result[0, down.inner, across.inner]
    return slope


def _up_to(size: int) -> int:
    """Positions that are missing from a multiple of 4, and from 8: what structural distance needs."""
    return max(-size % 4, 8 - size)


def _extended(values: NDArray[Number], extra: tuple[int, int]) -> NDArray[Number]:
    return np.pad(values, ((0, extra[0]), (0, extra[1]), (0, 0)), mode="edge")


def run_synthesis(session: onnxruntime.InferenceSession, latents: Floats, planes: Floats) -> Pixels:
    """latents float32 [rows, columns, latents], planes [1, rows, columns, 2] -> uint8 [16 rows, 16 columns, 3]."""
    rows, columns, _ = latents.shape
    pixels = np.empty((rows * BLOCK, columns * BLOCK, 3), np.uint8)
    for down, across in grid_tiles(rows, columns):
        part = latents[None, down.low : down.high, across.low : across.high]
        plane = planes[:, down.low : down.high, across.low : across.high]
        (result,) = session.run(
            None, {"latents": np.ascontiguousarray(part), "planes": np.ascontiguousarray(plane)}
        )
        rows_in = slice(down.inner.start * BLOCK, down.inner.stop * BLOCK)
        columns_in = slice(across.inner.start * BLOCK, across.inner.stop * BLOCK)
        target = pixels[down.start * BLOCK : down.end * BLOCK, across.start * BLOCK : across.end * BLOCK]
        target[:] = result[0, rows_in, columns_in]
    return pixels
