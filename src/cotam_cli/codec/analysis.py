"""Pixels to coded latents: the encoder's network, gain and rounding, entropy coding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream import Frame, Header
from cotam_cli.codec.models import Model, load_model
from cotam_cli.codec.quality import Plane, apply_gain, float_planes, quality_plane
from cotam_cli.codec.tiling import run_analysis
from cotam_cli.entropy.coder import Ints
from cotam_cli.entropy.latents import Features, Latents, Trace, encode_latents, hyper_features, hyper_grid
from cotam_cli.entropy.maps import encode_map
from cotam_cli.entropy.tables import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT
from cotam_cli.errors import CotamError

Pixels = NDArray[np.uint8]
Levels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class MapSpec:
    """An importance map to code with: levels uint8 [cell rows, cell columns] of 0..count-1."""

    levels: Levels
    count: int = 3
    cell_log2: int = 2  # cells of 8 << cell_log2 pixels
    strength: float = 1.0  # quality units that one level adds or takes


@dataclass(frozen=True)
class Hyper:
    """Hyper latents and the features that follow from them."""

    symbols: Ints
    features: Features


@dataclass(frozen=True)
class Analysis:
    """A picture's latents before gain and rounding; what is left of it to code at any quality."""

    model: Model
    height: int
    width: int
    importance: MapSpec | None
    y: Floats  # [rows, columns, latents]
    hyper: Hyper | None = None  # where they do not follow from y


@dataclass(frozen=True)
class Coded:
    """One frame coded at a quality; `crc` runs on from the frames before it."""

    frame: Frame
    hyper: Hyper
    latents: Latents

    @property
    def crc(self) -> int:
        return self.latents.crc


def analyse(pixels: Pixels, quality: float, importance: MapSpec | None) -> Analysis:
    """The first half of encoding, the network; the quality tells it how coarse the rounding will be."""
    model = load_model()
    height, width = pixels.shape[:2]
    blank = Analysis(model, height, width, importance, np.empty(0, np.float32))
    plane = make_plane(blank, quality)
    padded = pad_to(pixels, plane.shape[0] * 16, plane.shape[1] * 16)
    return replace(blank, y=run_analysis(model.analysis, padded, float_planes(plane)))


def code(
    analysis: Analysis,
    quality: float,
    *,
    hyper: Hyper | None = None,
    trace: Trace | None = None,
    crc: int = 0,
    last: bool = False,
) -> Coded:
    """The second half: gain, rounding, entropy coding. `hyper` of a quality close by may be taken over; without it, the
    analysis' own are.

    With `last`, the analysis is used up, which saves a copy as large as four bytes for each pixel.
    """
    model, header = analysis.model, make_header(analysis, quality)
    plane = make_plane(analysis, quality)
    gained = apply_gain(model.gains, analysis.y if last else analysis.y.copy(), plane)
    hyper = hyper or analysis.hyper
    if hyper is None:
        symbols = _hyper_symbols(model, gained)
        hyper = Hyper(symbols, hyper_features(model.entropy, symbols))
    z_payload, y_payload, latents = encode_latents(
        model.entropy,
        hyper.symbols,
        gained,
        plane,
        header.quality,
        crc=crc,
        features=hyper.features,
        trace=trace,
    )
    spec = analysis.importance if header.levels else None
    coded_map = None if spec is None else encode_map(spec.levels, spec.count)
    return Coded(Frame(None, coded_map, z_payload, y_payload, None, None), hyper, latents)


def pad_to(pixels: Pixels, height: int, width: int) -> Pixels:
    """Replicate the last row and column up to a size."""
    h, w = pixels.shape[:2]
    if (h, w) == (height, width):
        return pixels
    return np.pad(pixels, ((0, height - h), (0, width - w), (0, 0)), mode="edge")


def check_quality(quality: float) -> None:
    """Raise CotamError for a quality out of range."""
    low, high = MIN_QUALITY / QUALITY_UNIT, MAX_QUALITY / QUALITY_UNIT
    if not low <= quality <= high:
        raise CotamError(
            f"quality {quality:g} is out of range; choose from {low:g} (small) to {high:g} (fine)"
        )


def make_header(analysis: Analysis, quality: float) -> Header:
    """The header of a still picture, its latent hash left at 0. Raises CotamError for a quality out of range."""
    check_quality(quality)
    header = Header(
        model=analysis.model.record.id,
        width=analysis.width,
        height=analysis.height,
        quality=round(quality * QUALITY_UNIT),
        latent_hash=0,
    )
    importance = analysis.importance
    if importance is None or importance.levels.min() == importance.levels.max():
        return header  # a uniform map says nothing
    return replace(
        header,
        levels=importance.count,
        cell_log2=importance.cell_log2,
        strength=round(importance.strength * 32),
    )


def make_plane(analysis: Analysis, quality: float) -> Plane:
    """The effective quality of each latent position with the analysis' map, int64 [h/16, w/16] in 1/4096."""
    header, importance = make_header(analysis, quality), analysis.importance
    return quality_plane(header, importance.levels if importance is not None and header.levels else None)


def _hyper_symbols(model: Model, gained: Floats) -> Ints:
    rows, columns = hyper_grid(*gained.shape[:2])
    extra = 4 * rows - gained.shape[0], 4 * columns - gained.shape[1]
    padded = np.pad(gained, ((0, extra[0]), (0, extra[1]), (0, 0)), mode="edge") if any(extra) else gained
    (z,) = model.hyper_analysis.run(None, {"gained": padded[None]})
    return np.asarray(np.rint(z[0]), np.int32)
