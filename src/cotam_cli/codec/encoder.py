"""Pixels to the bytes of a .ctm file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream import Chunk, ChunkType, Container, Header, pack
from cotam_cli.codec.models import Model, load_model
from cotam_cli.codec.quality import apply_gain, float_planes, quality_plane
from cotam_cli.codec.tiling import run_analysis
from cotam_cli.entropy.latents import encode_latents, hyper_grid
from cotam_cli.entropy.maps import encode_map
from cotam_cli.entropy.tables import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT
from cotam_cli.errors import CotamError

Pixels = NDArray[np.uint8]
Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class MapSpec:
    """An importance map to code with: levels uint8 [cell rows, cell columns] of 0..count-1."""

    levels: Levels
    count: int = 3
    cell_log2: int = 2  # cells of 8 << cell_log2 pixels
    strength: float = 1.0  # quality units that one level adds or takes


def encode_pixels(pixels: Pixels, quality: float = 3.0, *, importance: MapSpec | None = None) -> bytes:
    """Code uint8 [h, w, 3] sRGB pixels at a quality of 1..8 (fractions allowed).

    Raises CotamError for a quality out of range or a picture too large.
    """
    model = load_model()
    header = _header(model, pixels.shape[0], pixels.shape[1], quality, importance)
    levels = importance.levels if importance is not None and header.levels else None
    plane = quality_plane(header, levels)
    padded = pad_to(pixels, plane.shape[0] * 16, plane.shape[1] * 16)
    y = run_analysis(model.analysis, padded, float_planes(plane))
    gained = apply_gain(model.gains, y, plane)
    z_payload, y_payload, latents = encode_latents(
        model.entropy, _hyper_symbols(model, gained), gained, plane, header.quality
    )
    chunks = [Chunk(ChunkType.HYPER, z_payload), Chunk(ChunkType.LATENTS, y_payload)]
    if importance is not None and header.levels:
        chunks.insert(0, Chunk(ChunkType.MAP, encode_map(importance.levels, importance.count)))
    return pack(Container(replace(header, latent_hash=latents.crc), tuple(chunks)))


def pad_to(pixels: Pixels, height: int, width: int) -> Pixels:
    """Replicate the last row and column up to a size."""
    h, w = pixels.shape[:2]
    if (h, w) == (height, width):
        return pixels
    return np.pad(pixels, ((0, height - h), (0, width - w), (0, 0)), mode="edge")


def _header(model: Model, height: int, width: int, quality: float, importance: MapSpec | None) -> Header:
    low, high = MIN_QUALITY / QUALITY_UNIT, MAX_QUALITY / QUALITY_UNIT
    if not low <= quality <= high:
        raise CotamError(
            f"quality {quality:g} is out of range; choose from {low:g} (small) to {high:g} (fine)"
        )
    header = Header(
        model=model.record.id,
        width=width,
        height=height,
        quality=round(quality * QUALITY_UNIT),
        latent_hash=0,
    )
    if importance is None or importance.levels.min() == importance.levels.max():
        return header  # a uniform map says nothing
    return replace(
        header,
        levels=importance.count,
        cell_log2=importance.cell_log2,
        strength=round(importance.strength * 32),
    )


def _hyper_symbols(model: Model, gained: NDArray[np.float32]) -> NDArray[np.int32]:
    rows, columns = hyper_grid(*gained.shape[:2])
    extra = 4 * rows - gained.shape[0], 4 * columns - gained.shape[1]
    padded = np.pad(gained, ((0, extra[0]), (0, extra[1]), (0, 0)), mode="edge") if any(extra) else gained
    (z,) = model.hyper_analysis.run(None, {"gained": padded[None]})
    return np.asarray(np.rint(z[0]), np.int32)
