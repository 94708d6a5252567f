"""Importance maps <-> payloads: a few levels per cell, coded row by row in the context of the cell above.

Frequencies adapt from row to row by counting, in integers, so that a row is one vectorised call per context.
"""

from __future__ import annotations

import constriction
import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.coder import exact_model
from cotam_cli.errors import FormatError

Levels = NDArray[np.uint8]
TOTAL = 1 << 16


def encode_map(levels: Levels, count: int) -> bytes:
    """Code uint8 [rows, columns] of levels 0..count-1."""
    coder = constriction.stream.queue.RangeEncoder()
    counts = _first_counts(count)
    above = np.full(levels.shape[1], count)
    for row in levels.astype(np.int32):
        for context in range(count + 1):
            chosen = row[above == context]
            if chosen.size:
                coder.encode(chosen, exact_model(_frequencies(counts[context])))
                counts[context] += np.bincount(chosen, minlength=count)
        above = row
    return bytes(coder.get_compressed().astype(">u4").tobytes().rstrip(b"\0"))


def decode_map(payload: bytes, rows: int, columns: int, count: int) -> Levels:
    """The inverse of `encode_map`. Raises FormatError on payloads that no encoder wrote."""
    if payload.endswith(b"\0"):
        raise FormatError("the map chunk ends in a zero byte, which no encoder writes; the file is damaged")
    words = np.frombuffer(payload + b"\0" * (-len(payload) % 4), dtype=">u4").astype(np.uint32)
    coder = constriction.stream.queue.RangeDecoder(words)
    counts = _first_counts(count)
    levels = np.empty((rows, columns), np.uint8)
    above = np.full(columns, count)
    for row in levels:
        for context in range(count + 1):
            where = np.flatnonzero(above == context)
            if where.size:
                try:
                    chosen = coder.decode(exact_model(_frequencies(counts[context])), where.size)
                except (AssertionError, ValueError) as error:
                    raise FormatError("the coded map is damaged; fetch the file again") from error
                row[where] = chosen
                counts[context] += np.bincount(chosen, minlength=count)
        above = row.astype(np.int64)
    if not coder.maybe_exhausted():
        raise FormatError("the map chunk goes on behind its last cell; the file is damaged")
    return levels


def _first_counts(count: int) -> NDArray[np.int64]:
    """[context, level]: the level above (the last context: no row above) is expected to repeat."""
    counts = np.ones((count + 1, count), np.int64)
    counts[np.arange(count), np.arange(count)] += 3
    return counts


def _frequencies(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts to frequencies >= 1 that sum to 65536; what rounding leaves goes to the first largest count."""
    frequencies: NDArray[np.int64] = 1 + counts * (TOTAL - len(counts)) // counts.sum()
    frequencies[counts.argmax()] += TOTAL - frequencies.sum()
    return frequencies
