"""Latents <-> payloads: the exact path, the same for encoder and decoder.

The hyper latents z are coded first, then the latents y in four passes. Each pass codes one group of channels at
each position; the groups take turns over 2x2 positions, so that every group is seen at one position of four after
the first pass, and diagonally at two after the second. A latent is a pair: its symbol (int16) and the mean (int16,
1/64) that the networks predicted; its value is 64 * symbol + mean. Networks run in strips of rows, so that memory
stays bounded; integers make strips exact.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.coder import MAX_SYMBOL, MIN_SYMBOL, Decoder, Encoder, Ints
from cotam_cli.entropy.integer_net import compand
from cotam_cli.entropy.tables import (
    GROUPS,
    PARTS,
    SCALES,
    SKIP,
    EntropyModel,
    scale_index,
    t_of_quality,
    t_squared,
)

UNIT = 64  # a symbol in the units of means and values
STRIP = 8192  # latent positions that a network sees at once

Floats = NDArray[np.float32]
Features = NDArray[np.int16]
Number = TypeVar("Number", bound=np.generic)
# (pass, scale indices, means or None), both flat in coding order, to symbols
Exchange = Callable[[NDArray[np.uint8], Ints | None, int], Ints]


@dataclass(frozen=True)
class Latents:
    """Decoded latents. z int32 [h/64, w/64, hyper] symbols; y int32 [h/16, w/16, latents] in 1/64; CRC-32."""

    z: Ints
    y: Ints
    crc: int

    @classmethod
    def none(cls, crc: int) -> Latents:
        """Of a frame that has none; the CRC of those before it."""
        return cls(np.zeros((0, 0, 0), np.int32), np.zeros((0, 0, 0), np.int32), crc)


def hyper_grid(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of hyper latents for a grid of latents."""
    return -(-rows // 4), -(-columns // 4)


@dataclass(frozen=True)
class Trace:
    """What the networks said of each latent, int16 [h/16, w/16, latents]."""

    sums: NDArray[np.int16]  # 1/256 of a scale index, before rounding and clipping
    means: NDArray[np.int16]  # 1/64 of a symbol

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Trace:
        return cls(np.zeros(shape, np.int16), np.zeros(shape, np.int16))


def encode_latents(
    model: EntropyModel,
    z: Ints,
    gained: Floats,
    plane: NDArray[np.int64],
    quality: int,
    *,
    crc: int = 0,
    features: Features | None = None,
    trace: Trace | None = None,
) -> tuple[bytes, bytes, Latents]:
    """Quantise and code. z int32 symbols [h/64, w/64, hyper]; gained float32 [h/16, w/16, latents] in symbol
    units; plane int64 [h/16, w/16] effective quality in 1/4096; quality the header's.

    crc goes on from the frames before. features, the `hyper_features` of z, save their computing. trace is
    filled with what the networks said.

    Returns the payloads of z and y and what the decoder will see.
    """
    coders = Encoder(model.tables), Encoder(model.tables)
    coded_z = _coded_hyper(model, z, quality)
    if not np.array_equal(coded_z, z):
        z, features = coded_z, None  # the given features are not those that a decoder will have

    def exchange(index: NDArray[np.uint8], mean: Ints | None, turn: int) -> Ints:
        if mean is None:
            exact: NDArray[np.float32 | np.int32] = z.ravel()
        else:
            exact = np.rint(take_pass(gained, turn - 1).ravel() - mean * np.float32(1 / UNIT))
        symbols = np.clip(exact, MIN_SYMBOL, MAX_SYMBOL).astype(np.int32)
        symbols[index == SKIP] = 0
        groups = _Groups(index)
        ordered = symbols[groups.order]
        for table, part in groups.parts:
            coders[turn > 0].group(table - 1, ordered[part])
        return symbols

    latents = _walk(model, plane, quality, exchange, crc, features, trace)
    return coders[0].finish(), coders[1].finish(), latents


def decode_latents(
    model: EntropyModel,
    z_payload: bytes,
    y_payload: bytes,
    plane: NDArray[np.int64],
    quality: int,
    *,
    crc: int = 0,
) -> Latents:
    """The inverse of `encode_latents`. Raises FormatError on payloads that no encoder wrote."""
    coders = Decoder(model.tables, z_payload), Decoder(model.tables, y_payload)

    def exchange(index: NDArray[np.uint8], _mean: Ints | None, turn: int) -> Ints:
        coder = coders[turn > 0]
        counts = np.bincount(index, minlength=SCALES).tolist()
        coder.expect((k - 1, count) for k, count in enumerate(counts) if k != SKIP)
        groups = _Groups(index)
        ordered = np.zeros(index.size, np.int32)
        for table, part in groups.parts:
            ordered[part] = coder.group(table - 1, part.stop - part.start)
        if turn in (0, GROUPS):
            coder.finish()
        symbols = np.empty_like(ordered)
        symbols[groups.order] = ordered
        return symbols

    return _walk(model, plane, quality, exchange, crc)


def _hyper_index(model: EntropyModel, quality: int) -> NDArray[np.uint8]:
    """The scale index of each channel of z at a header's quality, [hyper]."""
    return scale_index(model.z_curve(t_of_quality(np.array(quality, np.int64))))


def _coded_hyper(model: EntropyModel, z: Ints, quality: int) -> Ints:
    """z as a decoder will have it: zero in the channels that a quality does not code, within int16."""
    index = _hyper_index(model, quality)
    return np.where(index == SKIP, 0, np.clip(z, MIN_SYMBOL, MAX_SYMBOL)).astype(np.int32)


def expect_hyper(model: EntropyModel, z_payload: bytes, rows: int, columns: int, quality: int) -> None:
    """Raise FormatError when a payload of z is too short for rows x columns latents.

    Costs nothing: for a decoder that has other work to do for each pixel first.
    """
    index = _hyper_index(model, quality)
    height, width = hyper_grid(rows, columns)
    counts = (np.bincount(index, minlength=SCALES) * (height * width)).tolist()
    Decoder(model.tables, z_payload).expect((k - 1, count) for k, count in enumerate(counts) if k != SKIP)


def corners(number: int) -> Iterator[tuple[int, tuple[slice, slice], slice]]:
    """What pass 0..3 codes: for each corner of 2x2 positions (group, its positions, the group's channels)."""
    for row, columns in enumerate(((0, 2), (3, 1))):
        for column, step in enumerate(columns):
            group = (number - step) % GROUPS
            yield group, (slice(row, None, 2), slice(column, None, 2)), PARTS[group]


def take_pass(values: NDArray[Number], number: int) -> NDArray[Number]:
    """The latents of one pass, [rows, columns, latents] -> [rows, columns, latents / 4]."""
    rows, columns, channels = values.shape
    found = np.empty((rows, columns, channels // GROUPS), values.dtype)
    for _, place, part in corners(number):
        found[place] = values[place][..., part]
    return found


def put_pass(values: NDArray[Number], number: int, found: NDArray[Number]) -> None:
    """The inverse of `take_pass`, into values [rows, columns, latents]."""
    for _, place, part in corners(number):
        values[place][..., part] = found[place]


class _Groups:
    """Positions sorted by scale index: `order` has them all, `parts` (scale index, slice of `order`) of each index
    that occurs, skipped ones left out, in rising order."""

    def __init__(self, index: NDArray[np.uint8]) -> None:
        self.order = np.argsort(index, kind="stable")
        ends = np.cumsum(np.bincount(index, minlength=SCALES)).tolist()
        starts = [0, *ends]
        self.parts = [
            (k, slice(starts[k], ends[k])) for k in range(SCALES) if k != SKIP and ends[k] > starts[k]
        ]


def _walk(
    model: EntropyModel,
    plane: NDArray[np.int64],
    quality: int,
    exchange: Exchange,
    crc: int,
    features: Features | None = None,
    trace: Trace | None = None,
) -> Latents:
    rows, columns = plane.shape
    t = t_of_quality(plane)
    z_shape = (*hyper_grid(rows, columns), model.hyper)
    z_index = _hyper_index(model, quality)
    z = exchange(np.broadcast_to(z_index, z_shape).ravel(), None, 0).reshape(z_shape)
    crc = _crc(z, crc)
    if features is None:
        features = hyper_features(model, z)
    features = features[:rows, :columns]

    y = np.zeros((rows, columns, model.latents), np.int32)
    for number in range(GROUPS):
        sums, mean = _predict(model, features, t, y, number)
        symbols = exchange(scale_index(sums), mean, number + 1)
        crc = _crc(mean, _crc(symbols, crc))
        put_pass(y, number, (symbols * UNIT + mean).reshape(rows, columns, -1))
        if trace is not None:
            put_pass(trace.sums, number, sums.reshape(rows, columns, -1))
            put_pass(trace.means, number, mean.astype(np.int16).reshape(rows, columns, -1))
    return Latents(z, y, crc)


def _crc(values: Ints, crc: int) -> int:
    return zlib.crc32(values.astype("<i2").tobytes(), crc)


def hyper_features(model: EntropyModel, z: Ints) -> Features:
    """Hyper synthesis, int16 [4 rows, 4 columns, features], strip by strip, with a halo of one row of z."""
    rows, columns, _ = z.shape
    step = max(1, STRIP // (16 * columns))
    parts = []
    for top in range(0, rows, step):
        low, high = max(0, top - 1), min(rows, top + step + 1)
        part = model.hyper_synthesis(z[low:high].astype(np.float64))
        parts.append(part[4 * (top - low) : 4 * (min(rows, top + step) - low)].astype(np.int16))
    return np.concatenate(parts)


def _predict(
    model: EntropyModel, features: Features, t: NDArray[np.int64], y: Ints, number: int
) -> tuple[NDArray[np.int16], Ints]:
    """Sums in 1/256 of a scale index (clipped to int16, far beyond all indices) and means of the latents of pass
    0..3, flat in coding order. y holds 0 where not yet known."""
    rows, columns, channels = y.shape
    net, halo = model.passes[number], min(number, 1)
    sums = np.empty((rows, columns, channels // GROUPS), np.int16)
    mean = np.empty(sums.shape, np.int32)
    step = max(2, STRIP // columns & ~1)  # even: a strip begins with a first row of 2x2
    for top in range(0, rows, step):
        end = min(rows, top + step)
        low, high = max(0, top - halo), min(rows, end + halo)
        inputs: list[NDArray[np.generic]] = [features[low:high]]
        if number:
            inputs.append(compand(y[low:high].astype(np.float64)))
        planes = np.stack([t[low:high], t_squared(t[low:high])], -1)
        x = net.trunk(np.concatenate([*inputs, planes], -1, dtype=np.float64))[top - low : end - low]
        for group, place, _ in corners(number):
            part = x[place]
            if part.size:
                exact = model.y_curves[group](t[top:end][place]) + net.scale[group](part).astype(np.int64)
                sums[top:end][place] = np.clip(exact, -32768, 32767)
                mean[top:end][place] = net.mean[group](part)
    return sums.ravel(), mean.ravel()
