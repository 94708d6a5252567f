"""What the exact path costs: bytes of real files against the entropy of the integer tables, and against the
bits that the float networks would need for the same latents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream import ChunkType, parse
from cotam_cli.codec.decoder import DecodedLatents, decode_to_latents
from cotam_cli.entropy.coder import Tables
from cotam_cli.entropy.latents import UNIT, _predict, hyper_features, put_pass, take_pass
from cotam_cli.entropy.tables import GROUPS, QUALITY_UNIT, SKIP, scale_index, t_of_quality

if TYPE_CHECKING:
    from torch import Tensor

    from cotam_cli.training.network import Codec

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Predicted:
    """Symbols of one group of latents, flat in coding order, with what the integer networks said of them.

    index uint8 scale indices, mean int32 in 1/64, symbol int32; all [n].
    """

    index: NDArray[np.uint8]
    mean: Ints
    symbol: Ints


@dataclass(frozen=True)
class RateLoss:
    """Bits of one or more files. `networks` is None where no float networks were given."""

    payload: float  # of the coded latents, whole bytes
    tables: float  # entropy of the same symbols under the integer tables, escapes included
    networks: float | None  # under the float networks' logistics
    coded: int  # latents that were coded, hyper latents included
    skipped: int  # latents that were certainly zero

    @property
    def coder_percent(self) -> float:
        """What the range coder adds to the tables' entropy, in per cent."""
        return 100 * (self.payload / self.tables - 1) if self.tables else 0.0

    @property
    def integer_percent(self) -> float | None:
        """What the whole integer path adds to the float networks' estimate, in per cent."""
        return 100 * (self.payload / self.networks - 1) if self.networks else None


def total(parts: Sequence[RateLoss]) -> RateLoss:
    """The sum over files."""
    networks = [part.networks for part in parts if part.networks is not None]
    return RateLoss(
        payload=sum(part.payload for part in parts),
        tables=math.fsum(part.tables for part in parts),
        networks=math.fsum(networks) if len(networks) == len(parts) else None,
        coded=sum(part.coded for part in parts),
        skipped=sum(part.skipped for part in parts),
    )


def rate_loss(data: bytes, codec: Codec | None = None) -> RateLoss:
    """Measure a .ctm file; `codec` is the float network that its model was exported from.

    Raises CotamError as decoding does.
    """
    decoded = decode_to_latents(data)
    if not decoded.latents.y.size:  # all screen
        return RateLoss(0, 0.0, None if codec is None else 0.0, 0, 0)
    groups = integer_predictions(decoded)
    latents = (ChunkType.HYPER, ChunkType.LATENTS)
    payload = sum(8 * len(chunk.payload) for chunk in parse(data).chunks if chunk.type in latents)
    skipped = sum(int((group.index == SKIP).sum()) for group in groups)
    return RateLoss(
        payload=payload,
        tables=math.fsum(table_bits(decoded.model.entropy.tables, group) for group in groups),
        networks=network_bits(codec, decoded) if codec is not None else None,
        coded=sum(group.index.size for group in groups) - skipped,
        skipped=skipped,
    )


def integer_predictions(decoded: DecodedLatents) -> list[Predicted]:
    """The integer networks' view of a decoded file: z, then y pass by pass."""
    model, y, z = decoded.model.entropy, decoded.latents.y, decoded.latents.z
    rows, columns, _ = y.shape
    t = t_of_quality(decoded.plane)
    base = t_of_quality(np.array(decoded.header.quality, np.int64))
    z_index = np.broadcast_to(scale_index(model.z_curve(base)), z.shape).ravel()
    groups = [Predicted(z_index, np.zeros(z.size, np.int32), z.ravel())]
    features = hyper_features(model, z)[:rows, :columns]
    known = np.zeros_like(y)
    for number in range(GROUPS):
        sums, mean = _predict(model, features, t, known, number)
        values = take_pass(y, number)
        groups.append(Predicted(scale_index(sums), mean, (values.ravel() - mean) // UNIT))
        put_pass(known, number, values)
    return groups


def table_bits(tables: Tables, group: Predicted) -> float:
    """Ideal bits of symbols under the tables that they are coded with."""
    bits = 0.0
    for index in np.unique(group.index[group.index != SKIP]).tolist():
        symbol = group.symbol[group.index == index].astype(np.int64)
        reach = int(tables.reach[index - 1])
        outside = np.abs(symbol) > reach
        cost = 16 - np.log2(tables.frequencies[index - 1])
        bits += float(cost[np.where(outside, 2 * reach + 1, symbol + reach)].sum())
        # An escape goes on with a prefix for the length of the folded value, then its bits but the first.
        value = symbol[outside]
        length = np.floor(np.log2(2 * (np.abs(value) - reach - 1) + (value < 0) + 1)).astype(np.int64)
        bits += float((16 - np.log2(tables.prefix[length]) + length).sum())
    return bits


def network_bits(codec: Codec, decoded: DecodedLatents) -> float:
    """Bits of a file's latents under the float networks, which see the same latents as context."""
    import torch

    from cotam_cli.training.bits import logistic_bits
    from cotam_cli.training.layers import quadratic
    from cotam_cli.training.network import MAX_LOG_SCALE, MIN_LOG_SCALE

    with torch.no_grad():
        mean, log_scale = network_predictions(codec, decoded)
        y = _tensor(decoded.latents.y / UNIT)
        z = _tensor(decoded.latents.z)
        t = t_of_quality(np.array(decoded.header.quality, np.int64)) / QUALITY_UNIT
        z_scale = quadratic(codec.z_prior, torch.full((1, 1, 1, 1), float(t)))
        z_bits = logistic_bits(z, z_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)).double().sum()
        return float(logistic_bits(y - mean, log_scale).double().sum() + z_bits)


def network_predictions(codec: Codec, decoded: DecodedLatents) -> tuple[Tensor, Tensor]:
    """Means and log scales of the float networks for a file's latents, each [1, latents, h/16, w/16]."""
    import torch

    from cotam_cli.training.layers import quadratic
    from cotam_cli.training.network import MAX_LOG_SCALE, MIN_LOG_SCALE

    rows, columns, _ = decoded.latents.y.shape
    plane = torch.from_numpy(t_of_quality(decoded.plane) / QUALITY_UNIT).float()[None, None]
    planes = torch.cat([plane, plane * plane], 1)
    features = codec.hyper_synthesis(_tensor(decoded.latents.z))[:, :, :rows, :columns]
    y = _tensor(decoded.latents.y / UNIT)
    turn = codec.pass_of(y.shape, y.device)
    mean, log_scale = torch.zeros_like(y), quadratic(codec.y_prior, plane)
    for number in range(GROUPS):
        own_mean, own_scale = codec.predict(number, features, planes, y * (turn < number))
        mean += own_mean * (turn == number)
        log_scale = log_scale + own_scale * (turn == number)
    return mean, log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)


def _tensor(values: NDArray[np.generic]) -> Tensor:
    """[h, w, c] to float32 [1, c, h, w]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)[None], dtype=np.float32))
