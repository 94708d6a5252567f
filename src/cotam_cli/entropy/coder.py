"""Range coding of integer symbols with integer tables.

The coder is constriction's range coder (32-bit words, 64-bit state, 24-bit probabilities). A table is a row of
16-bit frequencies that sum to 65536, for the symbols -reach..reach and, last, an escape. Symbols of one table
are coded together, so that a whole picture is a few dozen vectorised calls. docs/FORMAT.md says the same in
terms of bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import constriction
import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import FormatError

PRECISION = 16  # bits of a table's frequencies
CODER_PRECISION = 24  # bits of constriction's probabilities
PREFIXES = 17  # Exp-Golomb prefixes 0..16: any int16 outside a table fits
MIN_SYMBOL, MAX_SYMBOL = -32768, 32767
SLACK = 512  # bits that symbols may carry beyond their payload: zero bytes at its end were dropped

Ints = NDArray[np.int32]


def exact_model(frequencies: NDArray[np.int64]) -> constriction.stream.model.Categorical:
    """A constriction model whose probabilities are exactly frequencies / 2^16.

    Constriction gives each of n symbols one unit of 2^24 and shares out the other 2^24 - n in proportion to
    floats. Asking for (256 f - 1) of 2^24 - n makes that share exact: all sums are integers below 2^24, which
    float32 holds.
    """
    return constriction.stream.model.Categorical(exact_shares(frequencies), perfect=False)


def exact_shares(frequencies: NDArray[np.int64]) -> NDArray[np.float32]:
    """What constriction must be asked for (see `exact_model`); any number of rows."""
    return ((frequencies << (CODER_PRECISION - PRECISION)) - 1).astype(np.float32)


def to_bytes(coder: constriction.stream.queue.RangeEncoder) -> bytes:
    """The payload: 32-bit words, most significant byte first, without the zero bytes at its end."""
    return np.asarray(coder.get_compressed(), ">u4").tobytes().rstrip(b"\0")


def to_words(payload: bytes) -> NDArray[np.uint32]:
    """The inverse of `to_bytes`, for a range decoder."""
    return np.frombuffer(payload + b"\0" * (-len(payload) % 4), ">u4").astype(np.uint32)


@dataclass(frozen=True)
class Tables:
    """The tables that symbols are coded with: one for each scale index from 1, one for escapes' prefixes."""

    reach: NDArray[np.int64]  # [tables]: table k codes -reach[k]..reach[k], then escape
    frequencies: tuple[NDArray[np.int64], ...]  # each [2 * reach + 2], sum 65536, all >= 1
    prefix: NDArray[np.int64]  # [17], sum 65536
    least: tuple[float, ...] = field(init=False, repr=False)  # bits of the likeliest symbol of each table
    models: tuple[constriction.stream.model.Categorical, ...] = field(init=False, repr=False)
    prefix_model: constriction.stream.model.Categorical = field(init=False, repr=False)

    def __post_init__(self) -> None:
        least = tuple(PRECISION - float(np.log2(f.max())) for f in self.frequencies)
        object.__setattr__(self, "least", least)
        object.__setattr__(self, "models", tuple(exact_model(f) for f in self.frequencies))
        object.__setattr__(self, "prefix_model", exact_model(self.prefix))


class Encoder:
    """Writes groups of symbols; `finish` gives the payload."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.coder = constriction.stream.queue.RangeEncoder()

    def group(self, table: int, symbols: Ints) -> None:
        """Code int32 [n] symbols, all with one table; values outside it follow as escapes."""
        reach = int(self.tables.reach[table])
        outside = np.abs(symbols) > reach
        index = np.where(outside, 2 * reach + 1, symbols + reach).astype(np.int32)
        self.coder.encode(index, self.tables.models[table])
        if outside.any():
            self._escapes(symbols[outside].astype(np.int64), reach)

    def _escapes(self, values: NDArray[np.int64], reach: int) -> None:
        folded = 2 * (np.abs(values) - reach - 1) + (values < 0) + 1
        prefix = np.frexp(folded.astype(np.float64))[1].astype(np.int32) - 1
        self.coder.encode(prefix, self.tables.prefix_model)
        for k in range(1, PREFIXES):
            chosen = folded[prefix == k]
            if chosen.size:
                self.coder.encode(
                    (chosen - (1 << k)).astype(np.int32), constriction.stream.model.Uniform(1 << k)
                )

    def finish(self) -> bytes:
        """The payload: 32-bit words, most significant byte first, without the zero bytes at its end."""
        return to_bytes(self.coder)


class Decoder:
    """Reads what `Encoder` wrote, given the same tables and counts."""

    def __init__(self, tables: Tables, payload: bytes) -> None:
        if payload.endswith(b"\0"):
            raise FormatError(
                "a latents chunk ends in a zero byte, which no encoder writes; the file is damaged"
            )
        self.tables = tables
        self.coder = constriction.stream.queue.RangeDecoder(to_words(payload))
        self.left = 8.0 * len(payload) + SLACK

    def expect(self, counts: Iterable[tuple[int, int]]) -> None:
        """To be called with (table, count) of groups to come. Raises FormatError when the payload is too short for
        them, were each symbol the likeliest: a few bytes cannot claim the time and memory of a large picture."""
        self.left -= sum(count * self.tables.least[table] for table, count in counts)
        if self.left < 0:
            raise FormatError(
                "the coded latents are too few for the picture's size; the file is damaged, fetch it again"
            )

    def group(self, table: int, count: int) -> Ints:
        """int32 [count] symbols of one table. Raises FormatError when the payload holds no such symbols."""
        reach = int(self.tables.reach[table])
        index = self._decode(self.tables.models[table], count)
        symbols: Ints = index - np.int32(reach)
        outside = index == 2 * reach + 1
        if outside.any():
            symbols[outside] = self._escapes(int(outside.sum()), reach)
        return symbols

    def finish(self) -> None:
        """To be called after the last symbol. Raises FormatError when the payload holds more than the symbols."""
        if not self.coder.maybe_exhausted():
            raise FormatError("a latents chunk goes on behind its last latent; the file is damaged")

    def _escapes(self, count: int, reach: int) -> Ints:
        prefix = self._decode(self.tables.prefix_model, count)
        folded = np.ones(count, np.int64)
        for k in range(1, PREFIXES):
            chosen = prefix == k
            if chosen.any():
                rest = self._decode(constriction.stream.model.Uniform(1 << k), int(chosen.sum()))
                folded[chosen] = rest.astype(np.int64) + (1 << k)
        folded -= 1
        values = (folded >> 1) + reach + 1
        values = np.where(folded & 1, -values, values)
        if values.min() < MIN_SYMBOL or values.max() > MAX_SYMBOL:
            raise FormatError("an escaped latent is outside int16; the file is damaged, fetch it again")
        return values.astype(np.int32)

    def _decode(self, model: object, count: int) -> Ints:
        try:
            return np.asarray(self.coder.decode(model, count), dtype=np.int32)
        except (AssertionError, ValueError) as error:
            raise FormatError("the coded latents are damaged; fetch the file again") from error
