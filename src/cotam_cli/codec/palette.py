"""A drawn picture in few colours: the palette that costs least, and what it costs in each cell."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from cotam_cli.codec.screen import Mask, Pixels, packed, strips, unpacked

CELL = 32  # pixels a side
COLOURS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 255)
MANY = 4096  # distinct colours among which clusters are looked for; rarer ones take the nearest
ROUNDS = 8
STRUCTURE, CONTRAST = (
    1000.0,
    100.0,
)  # see `perceived`; the networks' training has 1280 (1 - SSIM) beside squared error
SAVING = 0.6  # of the bytes of WebP lossless: what `entropy.indices` takes, 0.55 to 0.7 of them on screens and charts
RATE = 0.1  # of a colour's own entropy: what one pixel of it costs, in the context of its neighbours

Cells = NDArray[np.bool_]
Costs = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """uint8 [h, w, 3] pixels in few colours, and what each cell costs: bits, and squared error in bits."""

    pixels: Pixels
    costs: Costs  # [rows, columns], 0 outside the cells that were drawn
    perceived: float  # the sum with `perceived` errors, by which the number of colours is chosen


@dataclass(frozen=True)
class Drawing:
    """The colours of some cells of a picture, most frequent first, and where they are."""

    source: Pixels
    cells: Cells
    colours: Pixels  # [n, 3]
    counts: NDArray[np.int64]  # [n]
    index: NDArray[np.uint32]  # [h, w] of colours, 0 outside the cells

    @classmethod
    def of(cls, pixels: Pixels, cells: Cells) -> Drawing:
        height, width = pixels.shape[:2]
        inside = spread(cells, height, width)
        several = [
            np.unique(packed(pixels[part])[inside[part]], return_counts=True) for part in strips(pixels, CELL)
        ]
        found, where = np.unique(np.concatenate([colours for colours, _ in several]), return_inverse=True)
        counts = np.bincount(where.ravel(), np.concatenate([counts for _, counts in several])).astype(
            np.int64
        )
        order = counts.argsort(kind="stable")[::-1]
        rank = np.empty(len(order), np.uint32)
        rank[order] = np.arange(len(order))
        index = np.zeros((height, width), np.uint32)
        for part in strips(pixels, CELL):
            at = rank[np.searchsorted(found, packed(pixels[part])).clip(max=len(found) - 1)]
            index[part] = np.where(inside[part], at, 0)
        colours = unpacked(found[order])
        return cls(pixels, cells, colours, counts[order], index)

    def best(self, start: int, weight: float) -> Drawn:
        """With the number of colours that costs least at a lambda `weight`: from the `start`th of COLOURS, down and up
        while that falls."""
        best = self.draw(COLOURS[start], weight)
        for step in (-1, 1):
            place = start + step
            while 0 <= place < len(COLOURS):
                following = self.draw(COLOURS[place], weight)
                if following.perceived >= best.perceived:
                    break
                best, place = following, place + step
        return best

    def draw(self, count: int, weight: float) -> Drawn:
        """The cells in a number of colours."""
        palette, nearest = cluster(self.colours, self.counts, count, weight)
        which = nearest.astype(np.uint8)[self.index]
        pixels = palette[which]
        change = np.zeros(which.shape, np.uint8)
        change[:, 1:] += which[:, 1:] != which[:, :-1]
        change[1:] += which[1:] != which[:-1]
        activity = np.where(self.cells, sums(change) + 0.5, 0)
        bits = 8 * SAVING * webp_size(np.where(spread(self.cells, *which.shape)[..., None], pixels, 0))
        costs = activity * (bits / activity.sum()) + weight / 3 * squared_errors(self.source, pixels)
        error = np.square(self.colours.astype(np.float64) - palette[nearest]).sum(1)
        total = bits + weight / 3 * float((perceived(error) * self.counts).sum())
        return Drawn(pixels, np.where(self.cells, costs, 0), total)


def can_estimate() -> bool:
    """True where Pillow was built with WebP, as its wheels are."""
    return bool(features.check("webp"))


def webp_size(pixels: Pixels) -> int:
    """Bytes of uint8 [h, w, 3] pixels as WebP without loss, in a tenth of the time that `encode_indices` takes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, exact=True, quality=75, method=4)
    return file.tell()


def cluster(
    colours: Pixels, counts: NDArray[np.int64], k: int, weight: float
) -> tuple[Pixels, NDArray[np.int64]]:
    """k-means over colours [n, 3], most frequent first, weighted by counts: palette uint8 [<= k, 3], nearest [n].

    Rare colours cost more bits and are taken less readily (entropy-constrained vector quantisation; Chou, Lookabaugh,
    Gray 1989) at a lambda `weight` of error, mean of the three components, to bits.
    """
    some, weights = colours[:MANY].astype(np.float64), counts[:MANY].astype(np.float64)
    centres = some[:1]
    distance = np.square(some - centres[0]).sum(1)
    while len(centres) < min(k, len(some)):  # each new centre where most error is
        centres = np.vstack([centres, some[(perceived(distance) * weights).argmax()]])
        distance = np.minimum(distance, np.square(some - centres[-1]).sum(1))
    rate = np.zeros(len(centres))
    for _ in range(ROUNDS):
        nearest = _nearest(some, centres, rate)
        distance = np.square(some - centres[nearest]).sum(1)
        pull = weights * (
            1 + STRUCTURE * CONTRAST / np.square(distance / 3 + CONTRAST)
        )  # slope of `perceived`
        mass = np.bincount(nearest, pull, len(centres))
        moved = np.stack([np.bincount(nearest, pull * c, len(centres)) for c in some.T], 1)
        centres = np.where(mass[:, None] > 0, moved / np.maximum(mass, 1)[:, None], centres)
        share = np.maximum(np.bincount(nearest, weights, len(centres)), 1) / weights.sum()
        rate = -RATE * 3 / weight * np.log2(share)
    palette = np.rint(centres)
    every = np.concatenate(
        [_nearest(part, palette, rate) for part in np.array_split(colours, _parts(colours))]
    )
    return palette.astype(np.uint8), every


def perceived(squared: Costs) -> Costs:
    """Squared error, summed over three components, with what the loss of a line or an edge costs however faint it is:
    the mean over components is worth d + STRUCTURE d / (d + CONTRAST), as structural similarity saturates."""
    return squared * (1 + STRUCTURE / (squared / 3 + CONTRAST))


def _parts(colours: Pixels) -> int:
    """Pieces that bound the memory of distances to 256 colours."""
    return -(-len(colours) // 65536)


def _nearest(colours: NDArray[np.generic], centres: Costs, rate: Costs) -> NDArray[np.int64]:
    given = colours.astype(np.float64)
    squared = np.square(given).sum(1)[:, None] + np.square(centres).sum(1) - 2 * given @ centres.T
    return np.asarray((perceived(np.maximum(squared, 0)) + rate).argmin(1))


def spread(cells: Cells, height: int, width: int) -> Mask:
    """Cells to pixels, bool [height, width]."""
    return cells.repeat(CELL, 0)[:height].repeat(CELL, 1)[:, :width]


def squared_errors(pixels: Pixels, other: Pixels) -> Costs:
    """Squared error of each cell, summed over pixels and components."""
    return np.concatenate(
        [
            sums(np.square(pixels[part].astype(np.int32) - other[part]).sum(-1))
            for part in strips(pixels, CELL)
        ]
    )


def sums(values: NDArray[np.generic], side: int = CELL) -> Costs:
    """Sums over the cells, `side` values each way, of [h, w] values; those at the edge as if filled up with zeros."""
    wide = np.pad(values, [(0, -length % side) for length in values.shape])
    rows, columns = wide.shape[0] // side, wide.shape[1] // side
    return np.asarray(wide.reshape(rows, side, columns, side).sum((1, 3), dtype=np.float64))
