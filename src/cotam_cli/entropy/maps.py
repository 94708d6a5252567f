"""Importance maps <-> payloads: a few levels per cell, coded one by one in the context of the cells left and above.

Frequencies start from what the neighbours say and adapt by counting, all in integers. First counts learned for each
context would save 1 % more on photos, and with two more neighbours 5 % on text pictures: not worth a table in the
format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.coder import exact_model, to_bytes, to_words
from cotam_cli.errors import FormatError

Levels = NDArray[np.uint8]
TOTAL = 1 << 16
START = (32, 4, 1)
"""First counts of a level from the lower to the higher of its neighbours, one outside of that, and farther away."""
STEP = 4


def encode_map(levels: Levels, count: int) -> bytes:
    """Code uint8 [rows, columns] of levels 0..count-1."""
    coder = constriction.stream.queue.RangeEncoder()
    given = iter(levels.ravel().tolist())

    def code(model: Any) -> int:
        level: int = next(given)
        coder.encode(level, model)
        return level

    rows, columns = levels.shape
    _walk(rows, columns, count, code)
    return to_bytes(coder)


def decode_map(payload: bytes, rows: int, columns: int, count: int) -> Levels:
    """The inverse of `encode_map`. Raises FormatError on payloads that no encoder wrote."""
    if payload.endswith(b"\0"):
        raise FormatError("the map chunk ends in a zero byte, which no encoder writes; the file is damaged")
    coder = constriction.stream.queue.RangeDecoder(to_words(payload))
    try:
        levels = _walk(rows, columns, count, lambda model: int(coder.decode(model)))
    except (AssertionError, ValueError) as error:
        raise FormatError("the coded map is damaged; fetch the file again") from error
    if not coder.maybe_exhausted():
        raise FormatError("the map chunk goes on behind its last cell; the file is damaged")
    return levels


def _walk(rows: int, columns: int, count: int, code: Callable[[Any], int]) -> Levels:
    """Row by row, `code` of each cell's model: it writes or reads the level, and gives it back."""
    levels = np.empty((rows, columns), np.uint8)
    counts = [[_first_counts(left, above, count) for above in range(count)] for left in range(count)]
    over: list[int] = []
    for row in levels:
        line: list[int] = []
        for column in range(columns):
            left = line[-1] if line else over[0] if over else count // 2
            own = counts[left][over[column] if over else left]
            level = code(exact_model(_frequencies(own)))
            own[level] += STEP
            line.append(level)
        row[:] = over = line
    return levels


def _first_counts(left: int, above: int, count: int) -> list[int]:
    low, high = min(left, above), max(left, above)
    return [START[min(max(low - level, level - high, 0), 2)] for level in range(count)]


def _frequencies(counts: list[int]) -> NDArray[np.int64]:
    """Counts to frequencies >= 1 that sum to 65536; what rounding leaves goes to the first largest count."""
    total, room = sum(counts), TOTAL - len(counts)
    frequencies = [1 + count * room // total for count in counts]
    frequencies[counts.index(max(counts))] += TOTAL - sum(frequencies)
    return np.array(frequencies, np.int64)
