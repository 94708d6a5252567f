"""The second reader's screen layers: the indices of docs/FORMAT.md, "Indices", pixel by pixel."""

from __future__ import annotations

import zlib
from collections import defaultdict

import numpy as np

from independent_reader import Header, RangeDecoder, check, cumulate

PATCHES = (
    {0: (-5, -1), 1: (-4, 1), 2: (-3, 3), 3: (-2, 2)},
    {0: (-3, -1), 1: (-2, 1), 2: (-2, 2)},
    {0: (-2, -1), 1: (-1, 1), 2: (0, 0)},
    {0: (-1, -1), 1: (-1, 0)},
)
SPREAD = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F)
WORD = (1 << 32) - 1


def read_layer(header: Header, payload: bytes) -> np.ndarray:
    """R G B [A] of every pixel, its checksum checked."""
    count, part = payload[4] + 1, payload[5]
    start = 6 + 3 * (count - part)
    palette = np.frombuffer(payload[6:start], np.uint8).reshape(-1, 3)
    if part:
        opaque = np.hstack([palette, np.full((len(palette), 1), 255, np.uint8)])
        palette = np.vstack([np.zeros((1, 4), np.uint8), opaque])
    indices = Indices(header.width, header.height, count).read(RangeDecoder(payload[start:], tail=True))
    pixels = palette[indices]
    check(zlib.crc32(pixels.tobytes()) == int.from_bytes(payload[:4], "little"), "a layer is damaged")
    return pixels


class Indices:
    """One picture's indices and what is remembered of them. A place is (strip, piece, line, place in the line)."""

    def __init__(self, width: int, height: int, count: int) -> None:
        self.width, self.height, self.count = width, height, count
        self.strips, self.pieces = -(-width // 256), -(-height // 512)
        self.lines, self.places = -(-width // self.strips), max(-(-height // self.pieces), 3)
        self.found: dict[tuple[int, int, int, int], int] = {}
        self.guess = defaultdict(lambda: (0, 0, 0))
        self.flat = [10, 22]
        self.hit = defaultdict(lambda: [10, 22])
        self.rank = defaultdict(lambda: [2] * 13)
        self.missed = np.zeros((count, count), np.int64)
        self.escaped = np.zeros(count, np.int64)

    def read(self, decoder: RangeDecoder) -> np.ndarray:
        self.decoder = decoder
        for step in range(self.places + 2 * (self.lines - 1)):
            self.step(
                [
                    (strip, piece, line, step - 2 * line)
                    for strip in range(self.strips)
                    for piece in range(self.pieces)
                    for line in range(self.lines)
                    if 0 <= step - 2 * line < self.places
                ]
            )
        out = np.zeros((self.strips * self.lines, self.pieces * self.places), np.uint8)
        for (strip, piece, line, place), index in self.found.items():
            out[strip * self.lines + line, piece * self.places + place] = index
        return out[: self.width, : self.height].T

    def near(self, at: tuple[int, int, int, int], r: int, c: int) -> int:
        strip, piece, line, place = at
        return self.found.get((strip, piece, line - r, place + c), 0)

    def key(self, at: tuple[int, int, int, int], patch: int) -> int:
        total = 0
        for r, (first, last) in PATCHES[patch].items():
            row = 0
            for c in range(first, last + 1):
                row = (row * 0x2F0B4C47 + self.near(at, r, c) + 1) & WORD
            total += row * SPREAD[r]
        total &= WORD
        return ((total ^ total >> 15) * 0x2C1B3C6D & WORD) >> 12

    def symbol(self, weights: list[int]) -> int:
        k, total = len(weights), max(sum(weights), 1)
        f = [w * (65536 - k) // total + 1 for w in weights]
        f[0] += 65536 - sum(f)
        return self.decoder.symbol(cumulate(np.array(f)))

    def bit(self, pair: list[int]) -> int:
        sure = min(max(pair[1] * 65536 // sum(pair), 1), 65535)
        return self.decoder.symbol(cumulate(np.array([65536 - sure, sure])))

    def step(self, pixels: list[tuple[int, int, int, int]]) -> None:
        flat = {at for at in pixels if self.is_flat(at)}
        calm = {at for at in pixels if at in flat and self.bit(self.flat)}
        new = {at: self.near(at, 0, -1) for at in calm}
        self.count_up([(self.flat, 1 if at in calm else 0) for at in pixels if at in flat])
        others = [at for at in pixels if at not in calm]
        keys = {at: [(p, self.key(at, p)) for p in range(4)] for at in others}
        before = {at: [self.guess[key] for key in keys[at]] for at in others}
        kinds, wrong, bits = {}, [], []
        for at in others:
            best, p, agree, kind = self.best(at, before[at], at in flat)
            kinds[at] = best, p, agree
            right = 0
            if at not in flat:
                right = self.bit(self.hit[kind])
                bits.append((self.hit[kind], right))
            if right:
                new[at] = best
            else:
                wrong.append(at)
        self.count_up(bits)
        self.misses(wrong, kinds, before, new)
        learnt = [(key, old, new[at]) for at in others for key, old in zip(keys[at], before[at], strict=True)]
        for key, (first, second, count), x in learnt:
            if count and x == first:
                self.guess[key] = first, second, min(count + 1, 255)
            elif count > 4:
                self.guess[key] = first, x, count // 2
            else:
                self.guess[key] = (x, first, 1) if count else (x, x, 1)
        self.found.update(new)

    def is_flat(self, at: tuple[int, int, int, int]) -> bool:
        patch = [self.near(at, r, c) for r, (a, b) in PATCHES[0].items() for c in range(a, b + 1)]
        return len(set(patch)) == 1

    def count_up(self, bits: list[tuple[list[int], int]]) -> None:
        for pair, bit in bits:
            pair[bit] += 32
        for pair in {id(pair): pair for pair, _ in bits}.values():
            if sum(pair) > 32000:
                pair[:] = pair[0] // 2 + 1, pair[1] // 2 + 1

    def best(
        self, at: tuple[int, int, int, int], guesses: list[tuple[int, int, int]], flat: bool
    ) -> tuple[int, int, int, int]:
        """Best guess, its patch, how many agree, and the kind."""
        left, above = self.near(at, 0, -1), self.near(at, 1, 0)
        best, p, level, agree, doubt = left, 4, 0, 0, 0
        known = [patch for patch in range(4) if guesses[patch][2]]
        if known and not flat:
            p = known[0]
            best, second, count = guesses[p]
            level = sum(limit <= count for limit in (1, 2, 3, 4, 8, 16, 64, 255))
            agree = sum(guesses[patch][0] == best for patch in known[1:])
            doubt = int(second != best)
        kind = ((p * 9 + level) * 4 + agree) * 8 + 4 * (best != left) + 2 * (best != above) + doubt
        return best, p, agree, kind

    def misses(self, wrong: list, kinds: dict, before: dict, new: dict) -> None:
        """Rounds 3 and 4."""
        read = []
        for at in wrong:
            best, p, agree = kinds[at]
            seen = [guess for guess in before[at] if guess[2]]
            places = [(0, -1), (1, 0), (1, -1), (1, 1)]
            every = [g[0] for g in seen] + [g[1] for g in seen] + [self.near(at, *place) for place in places]
            candidates = [x for x in dict.fromkeys(every) if x != best]
            n = len(candidates)
            place = (p * 4 + agree) * 13 + n
            weights = self.rank[place]
            symbol = self.symbol([*weights[:n], *[0] * (12 - n), weights[12]])
            check(symbol < n or symbol == 12, "a layer is damaged")
            read.append((at, place, symbol, [best, *candidates]))
        total = int(self.escaped.sum())
        for at, _, symbol, named in read:
            if symbol < 12:
                new[at] = named[1 + symbol]
                continue
            left = self.near(at, 0, -1)
            weights = [
                64 * int(self.missed[left, i]) + 1024 * int(self.escaped[i]) // (total + 1) + 4
                for i in range(self.count)
            ]
            new[at] = self.symbol([0 if i in named else w for i, w in enumerate(weights)])
        for at, place, symbol, _ in read:
            self.rank[place][symbol] += 16
            self.missed[self.near(at, 0, -1), new[at]] += 1
            self.escaped[new[at]] += symbol == 12
