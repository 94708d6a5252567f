"""Guided files of an unguided file's size: the base quality is shifted until what the map adds here equals what it
takes there.

What a shift costs is read from the trace of a coded file, moved by the curve of the scales and turned into bits by the
entropy of their tables; so each step of the search is a look-up, and the unguided file is not made where the map is
mild.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream import Chunk
from cotam_cli.codec.analysis import MapSpec, code, make_header
from cotam_cli.codec.encoder import build, encode_pixels
from cotam_cli.codec.models import Model
from cotam_cli.codec.quality import Plane, apply_gain, quality_plane
from cotam_cli.codec.refining import analyse_finely
from cotam_cli.codec.screen import covers_all
from cotam_cli.entropy.latents import Trace
from cotam_cli.entropy.maps import encode_map
from cotam_cli.entropy.tables import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT, SCALES, t_of_quality

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

CLOSE = 0.01  # relative difference of size that is let be
NEAR = QUALITY_UNIT // 8  # nearer than this the latents of another base quality serve
SEARCH_STEPS = 12
TURNS = 4  # files made at most
MILD = 0.75  # strength up to which the unguided size is estimated well enough (within 2.5 %)
SMALL = 512 * 512  # pixels; in files of smaller pictures every byte counts


def encode_guided(
    pixels: Pixels,
    quality: float,
    importance: MapSpec,
    *,
    screen: bytes | None = None,
    alpha: Pixels | None = None,
    extras: tuple[Chunk, ...] = (),
    effort: int = 0,
) -> bytes:
    """Code uint8 [h, w, 3] pixels with a map, at the size that `quality` gives without one (within 3 %).

    At the ends of the range of quality there is no room to take from, or to give to: the strength is then halved until
    the size fits, down to a file without a map. alpha, extras, effort and errors as for `encode_pixels`.
    """
    unguided = partial(
        encode_pixels, pixels, quality, screen=screen, alpha=alpha, extras=extras, effort=effort
    )
    if screen is not None and covers_all(screen):
        return unguided()
    strength = importance.strength
    exact = strength > MILD or pixels.shape[0] * pixels.shape[1] < SMALL
    wanted = len(unguided()) if exact else None
    while strength >= 1 / 32 and importance.levels.min() != importance.levels.max():
        spec = replace(importance, strength=strength)
        coded = _match(pixels, quality, spec, wanted, screen, alpha, extras, effort)
        if coded is not None:
            return coded
        strength /= 2
    return unguided()


def _match(
    pixels: Pixels,
    quality: float,
    spec: MapSpec,
    wanted: int | None,
    screen: bytes | None,
    alpha: Pixels | None,
    extras: tuple[Chunk, ...],
    effort: int,
) -> bytes | None:
    """A guided file of the unguided size (`wanted` bytes, where that is known), None where the range of quality ends
    before it."""
    start = min(max(round(quality * QUALITY_UNIT) - _mean_offset(spec), MIN_QUALITY), MAX_QUALITY)
    analysis = analyse_finely(pixels, start / QUALITY_UNIT, spec, effort)
    model, y = analysis.model, analysis.y
    header = make_header(analysis, quality)
    uniform = quality_plane(replace(header, levels=0, strength=0), None)
    map_bits = 8 * (2 + len(encode_map(spec.levels, spec.count)))

    def plane_at(base: int) -> Plane:
        return quality_plane(replace(header, quality=base), spec.levels)

    guess = partial(_guessed_bits, model, y)
    base = _solve(guess, plane_at, guess(uniform) - map_bits)
    if base is not None and abs(base - start) > NEAR:
        analysis = analyse_finely(pixels, base / QUALITY_UNIT, spec, effort)
    tried: list[tuple[int, int]] = []
    for turn in range(TURNS):
        if base is None:
            return None
        trace = Trace.empty(analysis.y.shape)
        coded = code(analysis, base / QUALITY_UNIT, trace=trace)
        data = build(analysis, base / QUALITY_UNIT, coded, screen, alpha, extras)
        plane = plane_at(base)
        bits = _table_bits(model, trace.sums, plane)
        target = bits(uniform) - map_bits
        if wanted is not None:
            latents = len(coded.frame.latents or b"")
            target = bits(plane) * max(latents + wanted - len(data), 1) / max(latents, 1)
        if abs(bits(plane) / target - 1) < CLOSE or turn == TURNS - 1:
            return data
        tried.append((base, len(data)))
        base = _between(tried, wanted) or _solve(bits, plane_at, target)
    return None


def _between(tried: list[tuple[int, int]], wanted: int | None) -> int | None:
    """The base quality on a straight line of ln(bytes) through the last two files, where the wanted size lies between
    them; None elsewhere."""
    if wanted is None or len(tried) < 2:
        return None
    (one, less), (other, more) = sorted(tried[-2:], key=lambda pair: pair[1])
    if not less < wanted < more:
        return None
    return round(one + (other - one) * math.log(wanted / less) / math.log(more / less))


def _mean_offset(spec: MapSpec) -> int:
    """What the map adds on average, in 1/4096 of quality."""
    return round(spec.strength * QUALITY_UNIT / 2 * (2 * float(spec.levels.mean()) - (spec.count - 1)))


def _solve(bits: Callable[[Plane], float], plane_at: Callable[[int], Plane], wanted: float) -> int | None:
    """The base quality at which a guided plane takes so many bits; None when it is out of range."""
    low, high = MIN_QUALITY, MAX_QUALITY
    if bits(plane_at(low)) > wanted * (1 + CLOSE) or bits(plane_at(high)) < wanted * (1 - CLOSE):
        return None
    for _ in range(SEARCH_STEPS):
        middle = (low + high) // 2
        if bits(plane_at(middle)) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) // 2


def _guessed_bits(model: Model, y: Floats, plane: Plane) -> float:
    """Bits that latents will about need, before anything is coded: log2 of 1 + their size in symbols."""
    return sum(
        float(np.log2(1 + np.abs(apply_gain(model.gains, y[part].copy(), plane[part]))).sum())
        for part in _strips(y)
    )


def _table_bits(model: Model, sums: NDArray[np.int16], coded: Plane) -> Callable[[Plane], float]:
    """A function that says what the latents of a coded file would cost on another plane."""
    fine = _entropies(model)

    def bits(plane: Plane) -> float:
        total = 0.0
        for part in _strips(sums):
            change = _curve(model, plane[part]) - _curve(model, coded[part])
            moved = (sums[part] + change) >> 4
            total += float(fine[moved.clip(0, len(fine) - 1)].sum())
        return total

    return bits


def expected_costs(model: Model, sums: NDArray[np.int16]) -> NDArray[np.float64]:
    """Expected bits of every latent, float64 [h/16, w/16, latents], from the sums of a `Trace`."""
    fine = _entropies(model)
    return np.asarray(fine[(sums.astype(np.int32) >> 4).clip(0, len(fine) - 1)])


def _entropies(model: Model) -> NDArray[np.float64]:
    """Entropy in bits of a symbol, for scale indices in 1/16."""
    costs = np.zeros(SCALES)
    for index, row in enumerate(model.entropy.tables.frequencies, 1):
        shares = row / row.sum()
        costs[index] = -(shares * np.log2(shares)).sum()
    return np.interp(np.arange(SCALES * 16) / 16, np.arange(SCALES), costs)


def _strips(latents: NDArray[np.generic]) -> list[slice]:
    """Parts of about 4 million latents, row by row: bounds the memory of a look-up."""
    step = max(1, (1 << 22) // latents[0].size)
    return [slice(top, top + step) for top in range(0, len(latents), step)]


def _curve(model: Model, plane: Plane) -> NDArray[np.int32]:
    """The part of the scales' sums that quality alone sets, int32 [rows, columns, latents] in 1/256."""
    distinct, where = np.unique(plane, return_inverse=True)
    table = model.entropy.y_curve(t_of_quality(distinct)).astype(np.int32)
    return table[where.reshape(plane.shape)]
