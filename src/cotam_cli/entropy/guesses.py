"""What `indices` learns of a picture while it codes it, and the coding of single steps' pixels with that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.coder import PRECISION, exact_model, exact_shares, to_bytes, to_words
from cotam_cli.errors import FormatError

ORDERS = 4
TABLE_BITS = 20
MIX = 0x2C1B3C6D
STRONG, MOST = 4, 255  # a guess that was right more often than STRONG times survives an error
SLOTS = 2 * ORDERS + 4  # candidates after the first: guesses, second guesses, neighbours
LEVELS = np.searchsorted(
    [1, 2, 3, 4, 8, 16, 64, 255], np.arange(256), side="right"
)  # of a guess's count, 0..8
KINDS = (ORDERS + 1) * 9 * ORDERS * 8
HIT_START, HIT_STEP, HIT_LIMIT = (10, 22), 32, 32000
RANK_START, RANK_STEP = 2, 16
COLOUR_START, COLOUR_STEP, COLOUR_COMMON = 4, 64, 1024
TOTAL = 1 << PRECISION
EARLIER = np.arange(SLOTS + 1) <= np.arange(SLOTS)[:, None]  # candidates before each slot
FAMILY = constriction.stream.model.Categorical(perfect=False)

Indices = NDArray[np.uint8]
Words = NDArray[np.uint32]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Coder(Protocol):
    """One side of the range coder. Both methods code symbols, int64 [n], and return them; readers are given None.
    Frequencies sum to 65536."""

    def same(self, symbols: Counts | None, count: int, frequencies: Counts) -> Counts:
        """`count` symbols with the same frequencies, [k]."""
        ...

    def each(self, symbols: Counts | None, frequencies: Counts) -> Counts:
        """Symbols with frequencies of their own, [n, k]."""
        ...


class Writer:
    """The writing side."""

    def __init__(self) -> None:
        self.coder = constriction.stream.queue.RangeEncoder()

    def same(self, symbols: Counts | None, count: int, frequencies: Counts) -> Counts:
        self.coder.encode(np.asarray(symbols, np.int32), exact_model(frequencies))
        return np.asarray(symbols)

    def each(self, symbols: Counts | None, frequencies: Counts) -> Counts:
        self.coder.encode(np.asarray(symbols, np.int32), FAMILY, exact_shares(frequencies))
        return np.asarray(symbols)

    def finish(self) -> bytes:
        """The payload, without the zero bytes at its end."""
        return to_bytes(self.coder)


class Reader:
    """The reading side. Its methods raise FormatError where the payload holds no such symbols."""

    def __init__(self, payload: bytes) -> None:
        self.coder = constriction.stream.queue.RangeDecoder(to_words(payload))

    def same(self, symbols: Counts | None, count: int, frequencies: Counts) -> Counts:
        return self._decode(exact_model(frequencies), count)

    def each(self, symbols: Counts | None, frequencies: Counts) -> Counts:
        return self._decode(FAMILY, exact_shares(frequencies))

    def _decode(self, *what: object) -> Counts:
        try:
            return np.asarray(self.coder.decode(*what), np.int64)
        except (AssertionError, ValueError) as error:
            raise FormatError("the screen chunk is damaged; fetch the file again") from error


@dataclass
class Memory:
    """What was learnt: guesses after patches, how often which kind of guess was right, and what came instead."""

    colours: int
    # A guess is colour | second colour << 8 | count << 16; a table for each order, one behind the other.
    guesses: Words = field(default_factory=lambda: np.zeros(ORDERS << TABLE_BITS, np.uint32))
    flats: Counts = field(default_factory=lambda: np.array(HIT_START))  # wrong, right
    hits: Counts = field(default_factory=lambda: np.tile(np.array(HIT_START), (KINDS, 1)))
    ranks: Counts = field(
        default_factory=lambda: np.full(((ORDERS + 1) * ORDERS * (SLOTS + 1), SLOTS + 1), RANK_START)
    )
    missed: Counts = field(init=False)  # [colour at the left, colour]
    escaped: Counts = field(init=False)  # [colour]

    def __post_init__(self) -> None:
        self.missed = np.zeros((self.colours, self.colours), np.int64)
        self.escaped = np.zeros(self.colours, np.int64)

    def code_flat(self, coder: Coder, count: int, same: Flags | None) -> Flags:
        """Whether pixels in flat surroundings go on with the colour there, bool [count]."""
        if not count:
            return np.zeros(0, bool)
        sure = _chance(self.flats)
        found = coder.same(
            None if same is None else same.astype(np.int64), count, np.array([TOTAL - sure, sure])
        )
        right = int(found.sum())
        self.flats += HIT_STEP * np.array([count - right, right])
        if self.flats.sum() > HIT_LIMIT:
            self.flats = self.flats // 2 + 1
        return found.astype(bool)

    def code_others(
        self, coder: Coder, keys: Words, near: Indices, flat: Flags, wanted: Indices | None
    ) -> Indices:
        """Pixels of one step, uint8 [n]: all in busy surroundings, and those in `flat` ones that did not go on.

        keys [orders, n] as sums, near [4, n] what is left, above, above left and above right.
        """
        keys = (keys ^ keys >> np.uint32(15)) * np.uint32(MIX) >> np.uint32(32 - TABLE_BITS)
        places = keys.astype(np.int64) + (np.arange(ORDERS) << TABLE_BITS)[:, None]
        guesses = self.guesses[places]
        counts, colours = guesses >> np.uint32(16), (guesses & np.uint32(255)).astype(np.uint8)
        seconds = (guesses >> np.uint32(8) & np.uint32(255)).astype(np.uint8)
        seen = counts > 0
        lanes = np.arange(flat.size)
        known = seen.any(0) & ~flat
        at = seen.argmax(0)
        best = np.where(known, colours[at, lanes], near[0])
        level = np.where(known, LEVELS[counts[at, lanes]], 0)
        order = np.where(known, at, ORDERS)
        agree = np.maximum((seen & (colours == best)).sum(0) - 1, 0) * known
        right = np.zeros(flat.size, np.int64)
        busy = np.flatnonzero(~flat)
        if busy.size:
            doubt = known & (seconds[at, lanes] != best)
            kind = (
                ((order * 9 + level) * ORDERS + agree) * 8
                + (best != near[0]) * 4
                + (best != near[1]) * 2
                + doubt
            )
            right[busy] = self._hits(coder, kind[busy], None if wanted is None else (wanted == best)[busy])
        symbols: Indices = best
        wrong = np.flatnonzero(right == 0)
        if wrong.size:
            candidates = np.concatenate([best[None], colours, seconds, near])[:, wrong]
            place = (order * ORDERS + agree)[wrong]
            symbols = best.copy()
            symbols[wrong] = self._misses(
                coder, candidates, seen[:, wrong], place, None if wanted is None else wanted[wrong]
            )
        self._learn(places, guesses, symbols)
        return symbols

    def _hits(self, coder: Coder, kind: Counts, right: Flags | None) -> Counts:
        """Whether best guesses are right."""
        sure = _chance(self.hits[kind])
        found = coder.each(
            None if right is None else right.astype(np.int64), np.stack([TOTAL - sure, sure], 1)
        )
        self.hits += HIT_STEP * np.bincount(2 * kind + found, minlength=2 * KINDS).reshape(KINDS, 2)
        many = self.hits.sum(1) > HIT_LIMIT
        if many.any():
            self.hits[many] = self.hits[many] // 2 + 1
        return found

    def _misses(
        self, coder: Coder, candidates: Indices, seen: Flags, place: Counts, wanted: Indices | None
    ) -> Indices:
        """Pixels that the best guess, candidates[0], missed: which other candidate, else which colour.

        candidates uint8 [1 + slots, n]; seen bool [orders, n]; place [n] says which ranks to expect.
        """
        slots, left = candidates[1:], candidates[-4]
        valid = np.concatenate([seen, seen, np.ones((4, left.size), bool)])
        equal = (slots[:, None] == candidates) & np.concatenate([np.ones((1, left.size), bool), valid])
        new = valid & ~(equal & EARLIER[..., None]).any(1)
        count = new.sum(0)
        slots = np.take_along_axis(slots, (~new).argsort(0, kind="stable"), 0)  # the new ones first
        place = place * (SLOTS + 1) + count
        weights = self.ranks[place]
        behind = np.arange(SLOTS) >= count[:, None]
        weights[:, :SLOTS][behind] = 0
        rank = None
        if wanted is not None:
            match = (slots == wanted) & ~behind.T
            rank = np.where(match.any(0), match.argmax(0), SLOTS)
        rank = coder.each(rank, _frequencies(weights))
        if ((rank >= count) & (rank < SLOTS)).any():
            raise FormatError("the screen chunk is damaged; fetch the file again")
        symbols = slots[np.minimum(rank, SLOTS - 1), np.arange(left.size)]
        escapes = np.flatnonzero(rank == SLOTS)
        if escapes.size:
            named = np.where(behind.T, candidates[0], slots)[:, escapes]
            weights = self._colours(left[escapes], np.concatenate([candidates[:1, escapes], named]))
            symbols[escapes] = coder.each(
                None if wanted is None else wanted[escapes].astype(np.int64), _frequencies(weights)
            )
        np.add.at(self.ranks, (place, rank), RANK_STEP)
        np.add.at(self.missed, (left, symbols), 1)
        np.add.at(self.escaped, symbols[escapes], 1)
        return symbols

    def _colours(self, left: Indices, named: Indices) -> Counts:
        """Weights of the colours beside `left`, [n, colours], but for those that were `named` and refused, [k, n]."""
        common = self.escaped * COLOUR_COMMON // (self.escaped.sum() + 1)
        weights = self.missed[left] * COLOUR_STEP + common + COLOUR_START
        weights[np.arange(left.size), named] = 0
        return np.asarray(weights)

    def _learn(self, places: Counts, guesses: Words, symbols: Indices) -> None:
        """What came after patches. Where two of a step's pixels have one place, the later is remembered."""
        colour, count = guesses & np.uint32(255), guesses >> np.uint32(16)
        same = colour == symbols
        strong = ~same & (count > STRONG)
        symbol = np.where(strong, colour, symbols)
        second = np.where(
            same, guesses >> np.uint32(8) & np.uint32(255), np.where(strong | (count == 0), symbols, colour)
        )
        count = np.where(
            same, np.minimum(count + np.uint32(1), MOST), np.where(strong, count >> np.uint32(1), 1)
        )
        self.guesses[places] = symbol | second << np.uint32(8) | count.astype(np.uint32) << np.uint32(16)


def _chance(hits: Counts) -> Counts:
    """Counts of (wrong, right), [..., 2], to the frequency of right."""
    return np.asarray(np.clip((hits[..., 1] << PRECISION) // hits.sum(-1), 1, TOTAL - 1))


def _frequencies(weights: Counts) -> Counts:
    """Weights [n, k] as rows of frequencies, each at least 1; what rounding leaves goes to the first."""
    count = weights.shape[1]
    shared = weights * (TOTAL - count) // np.maximum(weights.sum(1, keepdims=True), 1) + 1
    shared[:, 0] += TOTAL - shared.sum(1)
    return np.asarray(shared)
