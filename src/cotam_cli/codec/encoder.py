"""Pixels to the bytes of a .ctm file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from cotam_cli.bitstream import Chunk, ChunkType, Container, Frame, FrameInfo, pack
from cotam_cli.codec.alpha import encode_alpha
from cotam_cli.codec.analysis import Analysis, Coded, Hyper, MapSpec, Pixels, code, make_header
from cotam_cli.codec.models import load_model
from cotam_cli.codec.refining import analyse_finely
from cotam_cli.codec.screen import covers_all
from cotam_cli.entropy.latents import Latents
from cotam_cli.errors import CotamError, FormatError


@dataclass(frozen=True)
class TimedPixels:
    """One frame of an animation: uint8 [h, w, 3], its alpha uint8 [h, w] or None, milliseconds shown, and the payload
    of its screen layer."""

    pixels: Pixels
    alpha: Pixels | None
    duration_ms: int
    screen: bytes | None = None


def encode_pixels(
    pixels: Pixels,
    quality: float = 3.0,
    *,
    importance: MapSpec | None = None,
    screen: bytes | None = None,
    alpha: Pixels | None = None,
    extras: tuple[Chunk, ...] = (),
    effort: int = 0,
) -> bytes:
    """Code uint8 [h, w, 3] sRGB pixels at a quality of 1..8 (fractions allowed).

    screen is the payload of the layer that goes over them, and stands in their stead where it is whole; alpha uint8
    [h, w] (255 opaque) is coded without loss; extras are chunks of metadata, in the format's order; effort is the
    number of steps by which latents are refined, 0..10.

    Raises CotamError for a quality out of range or a picture too large.
    """
    analysis, coded = _coded(pixels, quality, importance, screen, 0, effort)
    return build(analysis, quality, coded, screen, alpha, extras)


def encode_frames(
    frames: Iterable[TimedPixels],
    quality: float = 3.0,
    *,
    extras: tuple[Chunk, ...] = (),
    effort: int = 0,
) -> bytes:
    """Code an animation, frame by frame; all frames have one size. Raises as `encode_pixels`."""
    coded: list[Frame] = []
    crc, header = 0, None
    for timed in frames:
        analysis, result = _coded(timed.pixels, quality, None, timed.screen, crc, effort)
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
    pixels: Pixels, quality: float, importance: MapSpec | None, screen: bytes | None, crc: int, effort: int
) -> tuple[Analysis, Coded]:
    if screen is not None and covers_all(screen):
        height, width = pixels.shape[:2]
        blank = Analysis(load_model(), height, width, None, np.empty(0, np.float32))
        none = Latents.none(crc)
        hyper = Hyper(none.z, none.z.astype(np.int16))
        return blank, Coded(Frame(None, None, None, None, screen, None), hyper, none)
    analysis = analyse_finely(pixels, quality, importance, effort)
    return analysis, code(analysis, quality, crc=crc, last=True)


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
