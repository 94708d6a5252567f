"""The bytes of a .ctm file to pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream import MAX_PIXELS, Container, Frame, Header, parse
from cotam_cli.codec.alpha import decode_alpha
from cotam_cli.codec.models import Model, Target, load_model
from cotam_cli.codec.quality import Plane, float_planes, quality_plane, undo_gain
from cotam_cli.codec.screen import Screen, decode_screen, put_screen
from cotam_cli.codec.tiling import run_synthesis
from cotam_cli.entropy.latents import Latents, decode_latents, expect_hyper
from cotam_cli.entropy.maps import decode_map
from cotam_cli.errors import CotamError, FormatError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class DecodedLatents:
    """The exact half of decoding: what every machine agrees on. A whole screen layer has no latents beside it."""

    header: Header
    model: Model
    plane: Plane
    latents: Latents
    screen: Screen | None = None


@dataclass(frozen=True)
class DecodedFrame:
    """uint8 [h, w, 3] pixels; alpha uint8 [h, w], None where all is opaque; milliseconds, None for a still."""

    pixels: Pixels
    alpha: Pixels | None
    duration_ms: int | None


def decode_to_latents(data: bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedLatents:
    """Parse and entropy-decode the first frame; the header's hash of the latents is checked.

    Raises FormatError for bytes that are not a whole .ctm file, ModelError when its model is not here.
    """
    container = parse(data, max_pixels=max_pixels)
    decoded = _latents(container.header, container.frames()[0], 0)
    if not container.header.animation:
        _check_hash(container.header, decoded.latents.crc)
    return decoded


def decode_pixels(data: bytes, *, target: Target = "mllm", max_pixels: int = MAX_PIXELS) -> Pixels:
    """A .ctm file, or its first frame, to uint8 [h, w, 3] sRGB pixels. Raises as `decode_to_latents`."""
    (frame,) = decode_frames(data, target=target, max_pixels=max_pixels, first=True)
    return frame.pixels


def decode_frames(
    data: bytes | Container, *, target: Target = "mllm", max_pixels: int = MAX_PIXELS, first: bool = False
) -> Iterator[DecodedFrame]:
    """Decode frame by frame, with alpha; a still picture has one.

    The hash of an animation's latents can be checked only after its last frame: what was given before that
    counts once the iterator ends without an error. With `first`, only the first frame comes.

    Raises as `decode_to_latents`, when a frame is reached.
    """
    check_target(target)
    container = data if isinstance(data, Container) else parse(data, max_pixels=max_pixels)
    header, crc = container.header, 0
    frames = container.frames()
    for number, frame in enumerate(frames, 1):
        decoded = _latents(header, frame, crc)
        crc = decoded.latents.crc
        if number == len(frames):
            _check_hash(header, crc)
        alpha = None if frame.alpha is None else decode_alpha(frame.alpha, header.height, header.width)
        duration = frame.info.duration_ms if frame.info is not None else None
        yield DecodedFrame(synthesise(decoded, target), alpha, duration)
        if first:
            return


def check_target(target: str) -> None:
    """Raise CotamError for a target that is neither mllm nor human."""
    if target not in ("mllm", "human"):
        raise CotamError(f"unknown target {target!r}; choose mllm or human")


def _latents(header: Header, frame: Frame, crc: int) -> DecodedLatents:
    model = load_model(header.model)
    if frame.hyper is None or frame.latents is None:
        whole = decode_screen(frame.screen or b"", header.height, header.width)
        if whole.seen is not None:
            raise FormatError("the screen layer has holes and no latents for them; the file is damaged")
        return DecodedLatents(header, model, quality_plane(header, None), Latents.none(crc), whole)
    expect_hyper(model.entropy, frame.hyper, *header.latent_grid, header.quality)
    screen = None if frame.screen is None else decode_screen(frame.screen, header.height, header.width)
    if screen is not None and screen.seen is None:
        raise FormatError("a whole screen layer with latents that nobody sees; the file is damaged")
    plane = quality_plane(header, _levels(header, frame))
    latents = decode_latents(model.entropy, frame.hyper, frame.latents, plane, header.quality, crc=crc)
    return DecodedLatents(header, model, plane, latents, screen)


def synthesise(decoded: DecodedLatents, target: Target) -> Pixels:
    """Decoded latents, and the screen layer over what they give, to uint8 [h, w, 3] pixels."""
    if decoded.screen is not None and decoded.screen.seen is None:
        return decoded.screen.pixels
    values = undo_gain(decoded.model.gains, decoded.latents.y, decoded.plane)
    session = decoded.model.synthesis(target)
    pixels = run_synthesis(session, values, float_planes(decoded.plane))
    pixels = pixels[: decoded.header.height, : decoded.header.width]
    return pixels if decoded.screen is None else put_screen(pixels, decoded.screen)


def _check_hash(header: Header, crc: int) -> None:
    if crc != header.latent_hash:
        raise FormatError(
            "the decoded latents do not match the file's hash; the file is damaged, fetch it again"
        )


def _levels(header: Header, frame: Frame) -> NDArray[np.uint8] | None:
    if frame.map is None:
        return None
    return decode_map(frame.map, *header.cell_grid, header.levels)
