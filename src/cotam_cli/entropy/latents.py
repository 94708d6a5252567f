"""Latents <-> payloads: the exact path, the same for encoder and decoder.

The hyper latents z are coded first, then the latents y in two passes over a dual checkerboard. A latent is a
pair: its symbol (int16) and the mean (int16, 1/64) that the networks predicted; its value is
64 * symbol + mean. Networks run in strips of rows, so that memory stays bounded; integers make strips exact.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.coder import MAX_SYMBOL, MIN_SYMBOL, Decoder, Encoder, Ints
from cotam_cli.entropy.integer_net import compand
from cotam_cli.entropy.tables import SCALES, SKIP, EntropyModel, t_of_quality, t_squared

UNIT = 64  # a symbol in the units of means and values
STRIP = 8192  # latent positions that a network sees at once

Floats = NDArray[np.float32]
# (pass, scale indices, means or None), both flat in coding order, to symbols
Exchange = Callable[[NDArray[np.uint8], Ints | None, int], Ints]


@dataclass(frozen=True)
class Latents:
    """Decoded latents. z int32 [h/64, w/64, hyper] symbols; y int32 [h/16, w/16, latents] in 1/64; CRC-32."""

    z: Ints
    y: Ints
    crc: int


def hyper_grid(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of hyper latents for a grid of latents."""
    return -(-rows // 4), -(-columns // 4)


def encode_latents(
    model: EntropyModel, z: Ints, gained: Floats, plane: NDArray[np.int64], quality: int
) -> tuple[bytes, bytes, Latents]:
    """Quantise and code. z int32 symbols [h/64, w/64, hyper]; gained float32 [h/16, w/16, latents] in symbol
    units; plane int64 [h/16, w/16] effective quality in 1/4096; quality the header's.

    Returns the payloads of z and y and what the decoder will see.
    """
    coders = Encoder(model.tables), Encoder(model.tables)
    first = first_pass_mask(0, *gained.shape)
    wanted = (z.ravel(), gained[first], gained[~first])

    def exchange(index: NDArray[np.uint8], mean: Ints | None, turn: int) -> Ints:
        exact = wanted[turn] if mean is None else np.rint(wanted[turn] - mean * np.float32(1 / UNIT))
        symbols = np.clip(exact, MIN_SYMBOL, MAX_SYMBOL).astype(np.int32)
        symbols[index == SKIP] = 0
        groups = _Groups(index)
        ordered = symbols[groups.order]
        for table, part in groups.parts:
            coders[turn > 0].group(table - 1, ordered[part])
        return symbols

    latents = _walk(model, plane, quality, exchange)
    return coders[0].finish(), coders[1].finish(), latents


def decode_latents(
    model: EntropyModel, z_payload: bytes, y_payload: bytes, plane: NDArray[np.int64], quality: int
) -> Latents:
    """The inverse of `encode_latents`. Raises FormatError on payloads that no encoder wrote."""
    coders = Decoder(model.tables, z_payload), Decoder(model.tables, y_payload)

    def exchange(index: NDArray[np.uint8], _mean: Ints | None, turn: int) -> Ints:
        groups = _Groups(index)
        ordered = np.zeros(index.size, np.int32)
        for table, part in groups.parts:
            ordered[part] = coders[turn > 0].group(table - 1, part.stop - part.start)
        symbols = np.empty_like(ordered)
        symbols[groups.order] = ordered
        return symbols

    return _walk(model, plane, quality, exchange)


def first_pass_mask(top: int, rows: int, columns: int, channels: int) -> NDArray[np.bool_]:
    """True where (row + column + channel) is even: coded in the first pass."""
    row, column, channel = (
        (part & 1).astype(np.bool_) for part in np.ogrid[top : top + rows, :columns, :channels]
    )
    return np.asarray(row ^ column ^ ~channel)


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


def _to_index(sum_256: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale indices from sums in 1/256, rounded half up and clipped."""
    index = (sum_256.astype(np.int64) + 128) >> 8
    return np.asarray(np.clip(index, 0, SCALES - 1), np.uint8)


def _walk(model: EntropyModel, plane: NDArray[np.int64], quality: int, exchange: Exchange) -> Latents:
    rows, columns = plane.shape
    t = t_of_quality(plane)
    z_shape = (*hyper_grid(rows, columns), model.hyper)
    z_sums = np.broadcast_to(model.z_curve(t_of_quality(np.array(quality, np.int64))), z_shape)
    z = exchange(_to_index(z_sums).ravel(), None, 0).reshape(z_shape)
    crc = _crc(z, 0)
    features = _features(model, z)[:rows, :columns]

    y = np.zeros((rows, columns, model.latents), np.int32)
    for turn in (1, 2):
        index, mean = _predict(model, features, t, y, turn)
        symbols = exchange(index, mean, turn)
        crc = _crc(mean, _crc(symbols, crc))
        mask = first_pass_mask(0, *y.shape)
        y[mask if turn == 1 else ~mask] = symbols * UNIT + mean
    return Latents(z, y, crc)


def _crc(values: Ints, crc: int) -> int:
    return zlib.crc32(values.astype("<i2").tobytes(), crc)


def _features(model: EntropyModel, z: Ints) -> NDArray[np.int16]:
    """Hyper synthesis in strips of z rows; one row of halo covers its receptive field."""
    rows, columns, _ = z.shape
    step = max(1, STRIP // (16 * columns))
    parts = []
    for top in range(0, rows, step):
        low, high = max(0, top - 1), min(rows, top + step + 1)
        part = model.hyper_synthesis(z[low:high].astype(np.float64))
        parts.append(part[4 * (top - low) : 4 * (min(rows, top + step) - low)].astype(np.int16))
    return np.concatenate(parts)


def _predict(
    model: EntropyModel, features: NDArray[np.int16], t: NDArray[np.int64], y: Ints, turn: int
) -> tuple[NDArray[np.uint8], Ints]:
    """Scale indices and means of one pass's latents, flat in coding order."""
    rows, columns, channels = y.shape
    net, halo = (model.first_pass, 0) if turn == 1 else (model.second_pass, 1)
    step = max(1, STRIP // columns)
    indices, means = [], []
    for top in range(0, rows, step):
        end = min(rows, top + step)
        low, high = max(0, top - halo), min(rows, end + halo)
        inputs: list[NDArray[np.generic]] = [features[low:high]]
        if turn == 2:
            inputs.append(compand(y[low:high].astype(np.float64)))
        planes = np.stack([t[low:high], t_squared(t[low:high])], -1)
        mean, scale = net(np.concatenate([*inputs, planes], -1, dtype=np.float64))
        inner = slice(top - low, end - low)
        mask = first_pass_mask(top, end - top, columns, channels) ^ (turn == 2)
        sums = model.y_curve(t[top:end]) + scale[inner].astype(np.int64)
        indices.append(_to_index(sums[mask]))
        means.append(mean[inner][mask].astype(np.int32))
    return np.concatenate(indices), np.concatenate(means)
