"""Coding to a number of bytes: the finest quality whose file fits.

The analysis network and the hyper latents are reused between trials. A trial leaves a trace of what the entropy
networks said of each latent; from it follows the size at any quality nearby, without network or coder. So one trial
and one final coding do for most pictures. What counts is always the size of the file itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream import Chunk, parse
from cotam_cli.codec.analysis import Analysis, Hyper, MapSpec, Pixels, analyse, code, make_header
from cotam_cli.codec.decoder import decode_pixels
from cotam_cli.codec.encoder import TimedPixels, build, encode_frames, encode_pixels
from cotam_cli.codec.palette import squared_errors
from cotam_cli.codec.quality import Plane, gain_curve, quality_plane
from cotam_cli.codec.refining import analyse_finely
from cotam_cli.codec.screening import LEGIBLE, may_pay, split_frame, split_screen
from cotam_cli.entropy.estimate import cost_table, estimate_bits
from cotam_cli.entropy.latents import Trace
from cotam_cli.entropy.tables import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT, t_of_quality
from cotam_cli.errors import BudgetError

SLACK = 0.97  # a file of this share of the budget is near enough
AIM = 0.987  # where the search aims, so that small misses stay between SLACK and 1
TRIALS = 12
LAYER_TRIALS = 6
NEAR = QUALITY_UNIT  # over which an analysis still serves
VERY_NEAR = QUALITY_UNIT // 2  # over which hyper latents do
SLOPE = 0.4  # growth of ln(bytes) a quality unit, where nothing better is known
USUAL_BPP = 0.06  # at quality 1; only where a search starts
CELL = 64  # pixels a side of the pieces that a sample is made of
SAMPLE_CELLS = 64
SAMPLE_LATENTS = 1 << 17

Number = TypeVar("Number", bound=np.generic)
SizeAt = Callable[[int], float]  # quality in 1/4096 to bytes


@dataclass(frozen=True)
class Trial:
    """A file, its quality in 1/4096, and what its size would be at others."""

    quality: int
    data: bytes
    size_at: SizeAt


def encode_to_size(
    pixels: Pixels,
    max_bytes: int,
    *,
    importance: MapSpec | None = None,
    alpha: Pixels | None = None,
    extras: tuple[Chunk, ...] = (),
    effort: int = 0,
) -> bytes:
    """Code uint8 [h, w, 3] pixels into at most max_bytes, within 3 % below where the qualities reach that far; drawn
    pictures, whose screen layer grows in steps, within what a step leaves.

    Other arguments as for `encode_pixels`. The file's header has the quality that was chosen.

    Raises BudgetError, which knows the smallest possible size, where no quality fits.
    """
    try:
        data = _encode_plain(pixels, max_bytes, importance, alpha, extras, effort)
    except BudgetError as failed:
        if not may_pay(pixels):
            raise
        return _smallest_layered(pixels, max_bytes, failed.smallest, importance, alpha, extras, effort)
    quality = parse(data).header.quality
    layered = _encode_layered(pixels, max_bytes, quality, importance, alpha, extras, effort)
    if layered is None:
        return data
    error, plain = (squared_errors(pixels, decode_pixels(d, target="human")).sum() for d in (layered, data))
    return layered if error <= LEGIBLE * plain else data


def _smallest_layered(
    pixels: Pixels,
    max_bytes: int,
    plain: int,
    importance: MapSpec | None,
    alpha: Pixels | None,
    extras: tuple[Chunk, ...],
    effort: int,
) -> bytes:
    """`_encode_layered` where a file without a layer has at least `plain` bytes, which are too many."""
    layered = _encode_layered(pixels, max_bytes, MIN_QUALITY, importance, alpha, extras, effort)
    if layered is None:
        rest, screen = split_screen(pixels, 1.0)
        least = len(
            encode_pixels(rest, 1.0, importance=importance, screen=screen, alpha=alpha, extras=extras)
        )
        raise BudgetError((pixels.shape[1], pixels.shape[0]), max_bytes, min(plain, least))
    return layered


def _encode_layered(
    pixels: Pixels,
    max_bytes: int,
    quality: int,
    importance: MapSpec | None,
    alpha: Pixels | None,
    extras: tuple[Chunk, ...],
    effort: int,
) -> bytes | None:
    """The largest file with a screen layer that fits, of a few trials from a quality on; None where none was found."""
    low, high = MIN_QUALITY, MAX_QUALITY
    best: bytes | None = None
    for _ in range(LAYER_TRIALS):
        rest, screen = split_screen(pixels, quality / QUALITY_UNIT)
        step = QUALITY_UNIT  # towards the qualities at which a layer pays
        if screen is not None:
            data = encode_pixels(
                rest,
                quality / QUALITY_UNIT,
                importance=importance,
                screen=screen,
                alpha=alpha,
                extras=extras,
                effort=effort,
            )
            step = round(QUALITY_UNIT / SLOPE * math.log(AIM * max_bytes / len(data)))
            if len(data) <= max_bytes and (best is None or len(data) > len(best)):
                best = data
        if best is not None and len(best) >= SLACK * max_bytes:
            break
        low, high = (quality, high) if step > 0 else (low, quality)
        following = quality + step if low < quality + step < high else (low + high) // 2
        if abs(following - quality) < QUALITY_UNIT // 16:
            break
        quality = following
    return best


def _encode_plain(
    pixels: Pixels,
    max_bytes: int,
    importance: MapSpec | None,
    alpha: Pixels | None,
    extras: tuple[Chunk, ...],
    effort: int,
) -> bytes:
    """`encode_to_size` without a screen layer."""
    analysed: tuple[int, Analysis] | None = None
    coded: tuple[int, Hyper] | None = None

    def attempt(quality: int) -> Trial:
        nonlocal analysed, coded
        if analysed is None or abs(quality - analysed[0]) > NEAR:
            analysed = quality, analyse_finely(pixels, quality / QUALITY_UNIT, importance, effort)
            coded = None
        hyper = coded[1] if coded is not None and abs(quality - coded[0]) <= VERY_NEAR else None
        trial, hyper = _trial(analysed[1], quality, hyper, alpha, extras)
        coded = coded if hyper is None else (quality, hyper)
        return trial

    return _search(attempt, _guess(pixels, max_bytes), max_bytes, (pixels.shape[1], pixels.shape[0]))


def encode_frames_to_size(
    frames: Sequence[TimedPixels], max_bytes: int, *, extras: tuple[Chunk, ...] = (), effort: int = 0
) -> bytes:
    """Code an animation, at one quality for all frames, into at most max_bytes; as `encode_to_size`."""
    try:
        return _frames_to_size(frames, max_bytes, extras, split_frame, effort)
    except BudgetError:  # layers take more bytes at the lowest quality than latents do
        return _frames_to_size(frames, max_bytes, extras, lambda frame, _quality: frame, effort)


def _frames_to_size(
    frames: Sequence[TimedPixels],
    max_bytes: int,
    extras: tuple[Chunk, ...],
    split: Callable[[TimedPixels, float], TimedPixels],
    effort: int,
) -> bytes:
    seen: list[tuple[int, int]] = []

    def attempt(quality: int) -> Trial:
        cut = [split(frame, quality / QUALITY_UNIT) for frame in frames]
        data = encode_frames(cut, quality / QUALITY_UNIT, extras=extras, effort=effort)
        slope = SLOPE
        if seen and seen[-1][0] != quality:
            slope = math.log(len(data) / seen[-1][1]) / ((quality - seen[-1][0]) / QUALITY_UNIT)
        seen.append((quality, len(data)))
        return Trial(
            quality, data, lambda q: len(data) * math.exp(max(slope, 0.05) * (q - quality) / QUALITY_UNIT)
        )

    first = frames[0].pixels
    return _search(
        attempt, _guess(first, max_bytes // len(frames)), max_bytes, (first.shape[1], first.shape[0])
    )


def _search(attempt: Callable[[int], Trial], guess: int, max_bytes: int, size: tuple[int, int]) -> bytes:
    fits, over = (
        MIN_QUALITY - 1,
        MAX_QUALITY + 1,
    )  # the finest quality known to fit, the coarsest known not to
    best: bytes | None = None
    sizes: dict[int, int] = {}
    quality = guess
    for _ in range(TRIALS):
        trial = attempt(quality)
        sizes[quality] = len(trial.data)
        if len(trial.data) <= max_bytes:
            fits = quality
            best = trial.data if best is None or len(trial.data) > len(best) else best
            if len(best) >= SLACK * max_bytes:
                break
        else:
            over = quality
        if over - fits == 1:
            break
        if fits in sizes and over in sizes:
            quality = _between((fits, sizes[fits]), (over, sizes[over]), max_bytes)
        else:
            quality = _aim(trial, max_bytes, fits + 1, over - 1)
    if best is None:
        trial = attempt(MIN_QUALITY)
        if len(trial.data) > max_bytes:
            raise BudgetError(size, max_bytes, len(trial.data))
        best = trial.data
    return best


def _between(fits: tuple[int, int], over: tuple[int, int], max_bytes: int) -> int:
    """The quality at the aim on a straight line of ln(bytes) through two trials; estimates need not be asked."""
    part = math.log(max(AIM * max_bytes / fits[1], 1.0)) / math.log(over[1] / fits[1])
    return max(fits[0] + 1, min(over[0] - 1, round(fits[0] + part * (over[0] - fits[0]))))


def _aim(trial: Trial, max_bytes: int, low: int, high: int) -> int:
    """The quality from low to high whose estimated size is nearest the aim: secants of ln(bytes)."""
    target = math.log(max(AIM * max_bytes, 1.0))
    at, value, slope = trial.quality, math.log(len(trial.data)), SLOPE / QUALITY_UNIT
    for _ in range(4):
        step = max(low, min(high, at + round((target - value) / slope)))
        if step == at:
            break
        now = math.log(max(trial.size_at(step), 1.0))
        slope = max((now - value) / (step - at), SLOPE / 8 / QUALITY_UNIT)
        at, value = step, now
        if abs(value - target) < 0.002:
            break
    return max(low, min(high, at))


def _trial(
    analysis: Analysis, quality: int, hyper: Hyper | None, alpha: Pixels | None, extras: tuple[Chunk, ...]
) -> tuple[Trial, Hyper | None]:
    """A file at a quality; and the hyper latents, if they were made anew."""
    trace = Trace.empty(analysis.y.shape)
    coded = code(analysis, quality / QUALITY_UNIT, hyper=hyper, trace=trace)
    data = build(analysis, quality / QUALITY_UNIT, coded, None, alpha, extras)
    latents = len(coded.frame.latents or b"")

    @cache
    def bits() -> tuple[SizeAt, float]:
        at = _bits(analysis, quality, trace)
        return at, max(at(quality), 1.0)

    def size_at(q: int) -> float:
        at, now = bits()
        return len(data) + latents * (at(q) / now - 1)

    trial = Trial(quality, data, size_at)
    return trial, coded.hyper if hyper is None else None


def _bits(analysis: Analysis, quality: int, trace: Trace) -> SizeAt:
    """Estimated bits of the latents (of a sample of their positions) at other qualities."""
    model = analysis.model
    rows, columns, channels = analysis.y.shape
    count = min(rows * columns, max(1, SAMPLE_LATENTS // channels))
    chosen = np.sort(np.random.default_rng(0).permutation(rows * columns)[:count])
    costs = cost_table(model.entropy.tables)

    def plane_at(q: int) -> Plane:
        header = make_header(analysis, q / QUALITY_UNIT)
        if analysis.importance is None or not header.levels:
            return np.full((1, 1), q, np.int64)
        plane: Plane = quality_plane(header, analysis.importance.levels).reshape(-1, 1)[chosen]
        return plane

    def at_chosen(array: NDArray[Number]) -> NDArray[Number]:
        taken: NDArray[Number] = array.reshape(rows * columns, 1, channels)[chosen]
        return taken

    plane = plane_at(quality)
    gain, curve = gain_curve(model.gains, plane), model.entropy.y_curve(t_of_quality(plane))
    residuals = at_chosen(analysis.y) * gain - at_chosen(trace.means) / np.float32(64)
    sums = at_chosen(trace.sums).astype(np.int64)

    def bits_at(q: int) -> float:
        plane = plane_at(q)
        ratio = gain_curve(model.gains, plane) / gain
        shift = model.entropy.y_curve(t_of_quality(plane)) - curve
        return estimate_bits(costs, sums + shift, residuals * ratio)

    return bits_at


def _guess(pixels: Pixels, max_bytes: int) -> int:
    """A quality to start with, from a mosaic of small pieces of a large picture."""
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    count = min(rows * columns // 8, SAMPLE_CELLS)
    bpp = 8 * max(max_bytes, 1) / (pixels.shape[0] * pixels.shape[1])
    quality = round(QUALITY_UNIT * min(8.0, max(1.0, 1 + math.log(bpp / USUAL_BPP) / SLOPE)))
    if count < 4:
        return quality
    chosen = np.random.default_rng(0).permutation(rows * columns)[:count]
    cells = pixels[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2)
    mosaic = cells[chosen // columns, chosen % columns].swapaxes(0, 1).reshape(CELL, count * CELL, 3)
    share = count * CELL * CELL / (pixels.shape[0] * pixels.shape[1])
    for _ in range(2):
        analysis = analyse(mosaic, quality / QUALITY_UNIT, None)
        trial, _ = _trial(analysis, quality, None, None, ())
        tried, quality = quality, _aim(trial, int(max_bytes * share), MIN_QUALITY, MAX_QUALITY)
        if abs(quality - tried) <= 2 * NEAR:
            break
    return quality
