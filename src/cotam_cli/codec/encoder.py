"""Pixels to the bytes of a .ctm file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream import Chunk, ChunkType, Container, Frame, FrameInfo, Header, pack
from cotam_cli.codec.alpha import encode_alpha
from cotam_cli.codec.models import Model, load_model
from cotam_cli.codec.quality import Plane, apply_gain, float_planes, quality_plane
from cotam_cli.codec.screen import covers_all
from cotam_cli.codec.tiling import run_analysis
from cotam_cli.entropy.coder import Ints
from cotam_cli.entropy.latents import Features, Latents, Trace, encode_latents, hyper_features, hyper_grid
from cotam_cli.entropy.maps import encode_map
from cotam_cli.entropy.tables import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT
from cotam_cli.errors import CotamError, FormatError

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
class TimedPixels:
    """One frame of an animation: uint8 [h, w, 3], its alpha uint8 [h, w] or None, milliseconds shown, and the payload
    of its screen layer."""

    pixels: Pixels
    alpha: Pixels | None
    duration_ms: int
    screen: bytes | None = None


@dataclass(frozen=True)
class Analysis:
    """A picture's latents before gain and rounding; what is left of it to code at any quality."""

    model: Model
    height: int
    width: int
    importance: MapSpec | None
    y: Floats  # [rows, columns, latents]


@dataclass(frozen=True)
class Hyper:
    """Hyper latents and the features that follow from them."""

    symbols: Ints
    features: Features


@dataclass(frozen=True)
class Coded:
    """One frame coded at a quality; `crc` runs on from the frames before it."""

    frame: Frame
    hyper: Hyper
    latents: Latents

    @property
    def crc(self) -> int:
        return self.latents.crc


def encode_pixels(
    pixels: Pixels,
    quality: float = 3.0,
    *,
    importance: MapSpec | None = None,
    screen: bytes | None = None,
    alpha: Pixels | None = None,
    extras: tuple[Chunk, ...] = (),
) -> bytes:
    """Code uint8 [h, w, 3] sRGB pixels at a quality of 1..8 (fractions allowed).

    screen is the payload of the layer that goes over them, and stands in their stead where it is whole; alpha uint8
    [h, w] (255 opaque) is coded without loss; extras are chunks of metadata, in the format's order.

    Raises CotamError for a quality out of range or a picture too large.
    """
    analysis, coded = _coded(pixels, quality, importance, screen, 0)
    return build(analysis, quality, coded, screen, alpha, extras)


def encode_frames(
    frames: Iterable[TimedPixels], quality: float = 3.0, *, extras: tuple[Chunk, ...] = ()
) -> bytes:
    """Code an animation, frame by frame; all frames have one size. Raises as `encode_pixels`."""
    coded: list[Frame] = []
    crc, header = 0, None
    for timed in frames:
        analysis, result = _coded(timed.pixels, quality, None, timed.screen, crc)
        now = make_header(analysis, quality)
        if header is not None and (now.width, now.height) != (header.width, header.height):
            raise CotamError("the frames of an animation differ in size; scale them to one size first")
        header, crc = now, result.crc
        alpha = timed.alpha if timed.alpha is not None and timed.alpha.min() < 255 else None
        coded.append(
            replace(
                result.frame,
                info=FrameInfo(timed.duration_ms),
                screen=timed.screen,
                alpha=None if alpha is None else encode_alpha(alpha),
            )
        )
    if header is None:
        raise FormatError("an animation has at least one frame; give some")
    header = replace(
        header, latent_hash=crc, animation=True, alpha=any(frame.alpha is not None for frame in coded)
    )
    chunks = (*extras, *(chunk for frame in coded for chunk in _chunks(frame)))
    return pack(Container(header, chunks))


def _coded(
    pixels: Pixels, quality: float, importance: MapSpec | None, screen: bytes | None, crc: int
) -> tuple[Analysis, Coded]:
    if screen is not None and covers_all(screen):
        height, width = pixels.shape[:2]
        blank = Analysis(load_model(), height, width, None, np.empty(0, np.float32))
        none = Latents.none(crc)
        hyper = Hyper(none.z, none.z.astype(np.int16))
        return blank, Coded(Frame(None, None, None, None, screen, None), hyper, none)
    analysis = analyse(pixels, quality, importance)
    return analysis, code(analysis, quality, crc=crc, last=True)


def analyse(pixels: Pixels, quality: float, importance: MapSpec | None) -> Analysis:
    """The first half of encoding, the network; the quality tells it how coarse the rounding will be."""
    model = load_model()
    height, width = pixels.shape[:2]
    blank = Analysis(model, height, width, importance, np.empty(0, np.float32))
    plane = _plane(make_header(blank, quality), importance)
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
    """The second half: gain, rounding, entropy coding. `hyper` of a quality close by may be taken over.

    With `last`, the analysis is used up, which saves a copy as large as four bytes for each pixel.
    """
    model, header = analysis.model, make_header(analysis, quality)
    plane = _plane(header, analysis.importance)
    gained = apply_gain(model.gains, analysis.y if last else analysis.y.copy(), plane)
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


def build(
    analysis: Analysis,
    quality: float,
    coded: Coded,
    screen: bytes | None = None,
    alpha: Pixels | None = None,
    extras: tuple[Chunk, ...] = (),
) -> bytes:
    """The file of a still picture."""
    header = replace(make_header(analysis, quality), latent_hash=coded.crc, alpha=alpha is not None)
    frame = replace(coded.frame, screen=screen, alpha=None if alpha is None else encode_alpha(alpha))
    return pack(Container(header, (*extras, *_chunks(frame))))


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


def _plane(header: Header, importance: MapSpec | None) -> Plane:
    return quality_plane(header, importance.levels if importance is not None and header.levels else None)


def _chunks(frame: Frame) -> list[Chunk]:
    """A frame's chunks in the format's order."""
    parts = (
        (ChunkType.FRAME, frame.info.pack() if frame.info else None),
        (ChunkType.MAP, frame.map),
        (ChunkType.HYPER, frame.hyper),
        (ChunkType.LATENTS, frame.latents),
        (ChunkType.SCREEN, frame.screen),
        (ChunkType.ALPHA, frame.alpha),
    )
    return [Chunk(kind, payload) for kind, payload in parts if payload is not None]


def _hyper_symbols(model: Model, gained: Floats) -> Ints:
    rows, columns = hyper_grid(*gained.shape[:2])
    extra = 4 * rows - gained.shape[0], 4 * columns - gained.shape[1]
    padded = np.pad(gained, ((0, extra[0]), (0, extra[1]), (0, 0)), mode="edge") if any(extra) else gained
    (z,) = model.hyper_analysis.run(None, {"gained": padded[None]})
    return np.asarray(np.rint(z[0]), np.int32)
