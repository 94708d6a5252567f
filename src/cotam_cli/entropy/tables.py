"""Everything of a model that lives between bytes and latents, as integers read from one file.

`entropy.npz` holds the integer networks, the per-channel curves of the scale index, and the coder's tables.
Nothing in it is a float, and nothing of it is computed at run time.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.coder import Tables
from cotam_cli.entropy.integer_net import Block, Dense, Depthwise, HyperSynthesis, Parameters, prove_exact
from cotam_cli.errors import ModelError

QUALITY_UNIT = 4096
T_MIDDLE = 18432  # quality 4.5 in 1/4096
MIN_QUALITY, MAX_QUALITY = 4096, 32768
SCALES = 64
SKIP = 0  # the scale index of "certainly zero": not coded
GROUPS = 4  # of channels, and passes; channel c is in group c mod 4
PARTS = tuple(slice(group, None, GROUPS) for group in range(GROUPS))

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Curve:
    """Per-channel scale index as a quadratic in t; a, b, c int64 [channels] in 1/256 of an index."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    c: NDArray[np.int64]

    def __call__(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        """t [...] in 1/4096 -> [..., channels] in 1/256 of an index: a + floor((b t + c t2 + 2048) / 4096)."""
        t = t[..., None]
        return self.a + ((self.b * t + self.c * t_squared(t) + 2048) >> 12)


@dataclass(frozen=True)
class EntropyModel:
    """Integer networks, curves and tables of one model."""

    hyper_synthesis: HyperSynthesis
    passes: tuple[Parameters, ...]
    y_curves: tuple[Curve, ...]  # by channel group
    z_curve: Curve
    tables: Tables

    @property
    def latents(self) -> int:
        return GROUPS * len(self.y_curves[0].a)

    def y_curve(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        """All groups' curves: t [...] in 1/4096 -> [..., latents] in 1/256 of an index."""
        sums = np.empty((*t.shape, self.latents), np.int64)
        for curve, part in zip(self.y_curves, PARTS, strict=True):
            sums[..., part] = curve(t)
        return sums

    @property
    def hyper(self) -> int:
        return len(self.z_curve.a)


def scale_index(sum_256: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale indices from sums in 1/256, rounded half up and clipped."""
    index = (sum_256.astype(np.int64) + 128) >> 8
    return np.asarray(np.clip(index, 0, SCALES - 1), np.uint8)


def t_of_quality(quality: NDArray[np.int64]) -> NDArray[np.int64]:
    """Quality in 1/4096 (4096..32768) to t in 1/4096 (-4096..4096): floor((2 (q - 18432) + 3) / 7)."""
    return (2 * (quality - T_MIDDLE) + 3) // 7


def t_squared(t: NDArray[np.int64]) -> NDArray[np.int64]:
    """t^2 in 1/4096, rounded half up."""
    return (t * t + 2048) >> 12


def load_entropy_model(data: bytes) -> EntropyModel:
    """Read the bytes of `entropy.npz`. Raises ModelError when they are not a model's."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        model = EntropyModel(
            hyper_synthesis=HyperSynthesis(
                _dense(arrays, "hyper.first", leaky=True),
                _dense(arrays, "hyper.second", leaky=True),
                _block(arrays, "hyper.block"),
                _dense(arrays, "hyper.third", leaky=True),
                _block(arrays, "hyper.last"),
            ),
            passes=tuple(_parameters(arrays, f"pass{number}") for number in range(GROUPS)),
            y_curves=tuple(_curve(arrays, "y_curve", part) for part in PARTS),
            z_curve=_curve(arrays, "z_curve"),
            tables=_tables(arrays),
        )
        prove_exact(model.hyper_synthesis)
        for net in model.passes:
            prove_exact(net)
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise ModelError(f"the model's entropy.npz is damaged ({error}); reinstall cotam-cli") from error
    return model


def _dense(arrays: Arrays, name: str, leaky: bool = False) -> Dense:
    weight, bias, shift = (arrays[f"{name}.{part}"] for part in ("weight", "bias", "shift"))
    return Dense(weight.astype(np.int16), bias.astype(np.int32), int(shift), leaky)


def _block(arrays: Arrays, name: str) -> Block:
    weight, bias, shift = (arrays[f"{name}.spatial.{part}"] for part in ("weight", "bias", "shift"))
    spatial = Depthwise(weight.astype(np.int16), bias.astype(np.int32), int(shift))
    return Block(spatial, _dense(arrays, f"{name}.up", leaky=True), _dense(arrays, f"{name}.down"))


def _parameters(arrays: Arrays, name: str) -> Parameters:
    block = _block(arrays, f"{name}.block") if f"{name}.block.up.weight" in arrays else None
    stem = _dense(arrays, f"{name}.stem", leaky=True)
    mean, scale = (_dense(arrays, f"{name}.{head}") for head in ("mean", "scale"))
    return Parameters(stem, block, _by_group(mean), _by_group(scale))


def _by_group(head: Dense) -> tuple[Dense, ...]:
    return tuple(Dense(head.weight[:, part], head.bias[part], head.shift) for part in PARTS)


def _curve(arrays: Arrays, name: str, part: slice = slice(None)) -> Curve:
    a, b, c = arrays[name][:, part].astype(np.int64)
    return Curve(a, b, c)


def _tables(arrays: Arrays) -> Tables:
    """Tables are stored one after the other, each 2 * reach + 2 frequencies."""
    reach = arrays["tables.reach"].astype(np.int64)
    ends = np.cumsum(2 * reach + 2)
    rows = tuple(np.split(arrays["tables.frequencies"].astype(np.int64), ends[:-1]))
    prefix = arrays["tables.prefix"].astype(np.int64)
    for row in (*rows, prefix):
        if row.min() < 1 or row.sum() != 1 << 16:
            raise ValueError("a frequency table does not sum to 65536")
    return Tables(reach, rows, prefix)
