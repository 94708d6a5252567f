"""Coding of palette indices: pictures in few colours, without loss, in half of the bytes of PNG and WebP.

Type repeats itself: what follows a patch of pixels is mostly what followed the same patch before. Four tables remember
it, for patches of 3 to 23 pixels before each pixel. Their best guess is right for 97 to 99 % of a screen's pixels, and
how sure it is gives the probability that is coded (as symbol ranking does for text; Fenwick 1997). Flat surroundings
go without.

The pixels on a slanted line, two columns on for each row up, know nothing of each other: they are coded together in
NumPy, and tiles beside each other. All arithmetic is on integers, so that every machine decodes the same.
docs/FORMAT.md, "SCREEN", says the same in terms of single pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.guesses import (
    ORDERS,
    Coder,
    Counts,
    Indices,
    Memory,
    Reader,
    Words,
    Writer,
)

T = TypeVar("T", bound=np.generic)

ROWS, COLUMNS = 256, 512  # of a tile, at most; it sees nothing of the others but what the tables learnt
LEAST_COLUMNS = 3
REACH = 3  # rows above that patches see
HISTORY = 9  # steps back that patches see: the column dx of r rows up was coded 2 r - dx steps ago
# Patches, the longest first: (rows up, first column, last column), relative to the pixel.
PATCHES = (
    ((0, -5, -1), (1, -4, 1), (2, -3, 3), (3, -2, 2)),
    ((0, -3, -1), (1, -2, 1), (2, -2, 2)),
    ((0, -2, -1), (1, -1, 1), (2, 0, 0)),
    ((0, -1, -1), (1, -1, 0)),
)
NEIGHBOURS = ((0, -1), (1, 0), (1, -1), (1, 1))  # left, above, above left, above right
ROLL, SPREAD = 0x2F0B4C47, (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F)
LONGEST = 255  # what a run is counted to


def _points() -> tuple[tuple[tuple[int, int], ...], Words]:
    """Places of rolling hashes, (rows up, column), and what each order's key takes of them, [orders, places].

    A row's rolling hash at a column, times ROLL for each column on and taken from a later one, leaves the hash of what
    lies between.
    """
    places = sorted({(up, dx) for up, a, b in chain(*PATCHES) for dx in (a - 1, b)})
    factors = np.zeros((ORDERS, len(places)), np.uint32)
    for number, patch in enumerate(PATCHES):
        for (up, first, last), factor in zip(patch, SPREAD, strict=False):
            power = pow(ROLL, last - first + 1, 1 << 32)
            factors[number, places.index((up, last))] += np.uint32(factor)
            factors[number, places.index((up, first - 1))] += np.uint32(-power * factor % (1 << 32))
    return tuple(places), factors


PLACES, FACTORS = _points()


def encode_indices(index: Indices, colours: int) -> bytes:
    """uint8 [h, w] below `colours` (1..256) to bytes, without the zero bytes at their end."""
    index = index.T
    (down, rows), (across, columns) = tiles_of(*index.shape)
    filled = np.pad(
        index, ((0, down * rows - index.shape[0]), (0, across * columns - index.shape[1])), mode="edge"
    )
    tiles = filled.reshape(down, rows, across, columns).swapaxes(1, 2).reshape(down * across, -1)
    writer = Writer()
    _code(tiles, rows, colours, writer, known=True)
    return writer.finish()


def decode_indices(payload: bytes, height: int, width: int, colours: int) -> Indices:
    """The inverse of `encode_indices`; zero bytes behind the payload change nothing. Any bytes decode to some picture
    or raise FormatError."""
    (down, rows), (across, columns) = tiles_of(width, height)
    tiles = np.zeros((down * across, rows * columns), np.uint8)
    _code(tiles, rows, colours, Reader(payload), known=False)
    found = tiles.reshape(down, across, rows, columns).swapaxes(1, 2)
    return np.asarray(found.reshape(down * rows, across * columns)[:width, :height].T)


def tiles_of(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tiles and their rows down a picture, tiles and their columns across; the last may go beyond the picture."""
    down, across = -(-height // ROWS), -(-width // COLUMNS)
    return (down, -(-height // down)), (across, max(-(-width // across), LEAST_COLUMNS))


@dataclass(frozen=True)
class Past:
    """The last steps: indices, the rolling hashes and the runs of equal indices of their rows, [HISTORY, tiles, lanes].

    Lanes are the rows of a tile below REACH rows of nothing; step t stands at t modulo HISTORY.
    """

    index: Indices
    sums: Words
    runs: Indices

    @classmethod
    def start(cls, tiles: int, rows: int) -> Past:
        """Before step 0 there was index 0 everywhere."""
        shape = (HISTORY, tiles, REACH + rows)
        past = cls(np.zeros(shape, np.uint8), np.zeros(shape, np.uint32), np.full(shape, LONGEST, np.uint8))
        for step in range(1, HISTORY):
            past.sums[step] = past.sums[step - 1] * np.uint32(ROLL) + np.uint32(1)
        return past

    def before(
        self, history: NDArray[np.generic], step: int, rows: slice, up: int, dx: int
    ) -> NDArray[np.generic]:
        """What `history` says of `up` rows above and `dx` columns on, [tiles, rows]."""
        return history[(step - 2 * up + dx) % HISTORY, :, rows.start - up : rows.stop - up]

    def flat(self, step: int, rows: slice) -> NDArray[np.bool_]:
        """True where the longest patch has one colour, bool [tiles, rows]."""
        left = self.before(self.index, step, rows, 0, -1)
        equal = np.ones(left.shape, bool)
        for up, first, last in PATCHES[0]:
            equal &= np.greater(self.before(self.runs, step, rows, up, last), last - first)
            equal &= np.equal(self.before(self.index, step, rows, up, last), left)
        return equal

    def gather(
        self, history: NDArray[T], step: int, places: tuple[tuple[int, int], ...], lanes: Counts
    ) -> NDArray[T]:
        """[places, lanes]: what `history` says of (rows up, column) at lanes, numbered through the tiles."""
        lane_count = history[0].size
        offsets = [(step - 2 * up + dx) % HISTORY * lane_count - up for up, dx in places]
        return history.ravel()[np.array(offsets)[:, None] + lanes]

    def add(self, step: int, rows: slice, symbols: Indices) -> None:
        """Note a step's indices, [tiles, rows]; the other lanes have 0."""
        now, last = step % HISTORY, (step - 1) % HISTORY
        index = self.index[now]
        index[:, : rows.start] = 0
        index[:, rows] = symbols
        index[:, rows.stop :] = 0
        self.sums[now] = self.sums[last] * np.uint32(ROLL) + index + np.uint32(1)
        longer = np.minimum(self.runs[last], LONGEST - 1) + np.uint8(1)
        self.runs[now] = np.where(index == self.index[last], longer, 1)


def _code(index: Indices, rows: int, colours: int, coder: Coder, known: bool) -> None:
    """Code the indices, uint8 [tiles, rows * columns], step by step: at step t column t - 2 y of row y."""
    tiles, width = index.shape[0], index.shape[1] // rows
    memory, past = Memory(colours), Past.start(tiles, rows)
    numbers = np.arange(tiles * (REACH + rows)).reshape(tiles, -1)
    for step in range(width + 2 * (rows - 1)):
        low, high = max(0, -(-(step - width + 1) // 2)), min(rows - 1, step // 2) + 1
        first = low * (width - 2) + step
        line = index[:, first : first + (high - low - 1) * (width - 2) + 1 : width - 2]
        part = slice(REACH + low, REACH + high)
        symbols = past.before(past.index, step, part, 0, -1).copy()
        flat = past.flat(step, part)
        same = memory.code_flat(coder, flat.sum(), (line == symbols)[flat] if known else None)
        other = ~flat
        other[flat] = ~same
        if other.any():
            lanes = numbers[:, part][other]
            wanted = line[other] if known else None
            keys = FACTORS @ past.gather(past.sums, step, PLACES, lanes)
            near = past.gather(past.index, step, NEIGHBOURS, lanes)
            symbols[other] = memory.code_others(coder, keys, near, flat[other], wanted)
        if not known:
            line[...] = symbols
        past.add(step, part, symbols)
