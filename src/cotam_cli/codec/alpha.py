"""Transparency <-> the payload of an ALPHA chunk, without loss: rows filtered as in PNG, then zlib.

The layout is in docs/FORMAT.md, "ALPHA".
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import FormatError

NONE, LEFT, ABOVE = range(3)
MAX_RATIO = 1032  # deflate cannot expand more: 258 bytes from 2 bits

Alpha = NDArray[np.uint8]


def encode_alpha(alpha: Alpha) -> bytes:
    """Code uint8 [h, w], 0 transparent to 255 opaque."""
    height, width = alpha.shape
    rows = np.empty((height, width + 1), np.uint8)
    best = np.full(height, -1)
    for kind, filtered in ((NONE, alpha), (LEFT, _minus_left(alpha)), (ABOVE, _minus_above(alpha))):
        # PNG's rule of thumb: the filter whose bytes, as signed numbers, are smallest in sum.
        cost = np.abs(filtered.view(np.int8).astype(np.int16)).sum(1, dtype=np.int64)
        better = (best < 0) | (cost < best)
        rows[better, 0] = kind
        rows[better, 1:] = filtered[better]
        best = np.where(better, cost, best)
    return zlib.compress(rows.tobytes(), 9)


def decode_alpha(payload: bytes, height: int, width: int) -> Alpha:
    """The inverse of `encode_alpha`. Takes no memory beyond what this size needs.

    Raises FormatError on a payload that is not exactly one zlib stream of this many bytes, or has unknown filters.
    """
    size = height * (width + 1)
    if size > MAX_RATIO * len(payload):
        raise FormatError("the alpha chunk is too short for the picture's size; the file is damaged")
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(payload, size)
        over = b"" if inflater.eof else inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as error:
        raise FormatError("the alpha chunk is damaged; fetch the file again") from error
    if len(raw) != size or over or not inflater.eof or inflater.unused_data:
        raise FormatError("the alpha chunk does not fit the picture's size; the file is damaged")
    rows = np.frombuffer(raw, np.uint8).reshape(height, width + 1)
    kinds = rows[:, 0]
    if kinds.max() > ABOVE:
        raise FormatError(f"the alpha chunk has an unknown filter {kinds.max()}; the file is damaged")
    alpha = np.empty((height, width), np.uint8)
    above = np.zeros(width, np.uint8)
    for kind, row, out in zip(kinds, rows[:, 1:], alpha, strict=True):
        if kind == NONE:
            out[:] = row
        elif kind == LEFT:
            np.cumsum(row, dtype=np.uint8, out=out)
        else:
            np.add(row, above, out=out)
        above = out
    return alpha


def _minus_left(alpha: Alpha) -> Alpha:
    filtered: Alpha = alpha.copy()
    filtered[:, 1:] -= alpha[:, :-1]
    return filtered


def _minus_above(alpha: Alpha) -> Alpha:
    filtered: Alpha = alpha.copy()
    filtered[1:] -= alpha[:-1]
    return filtered
