"""The bytes of a .ctm file to pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bitstream import MAX_PIXELS, Frame, Header, parse
from cotam_cli.codec.models import Model, load_model
from cotam_cli.codec.quality import Plane, float_planes, quality_plane, undo_gain
from cotam_cli.codec.tiling import run_synthesis
from cotam_cli.entropy.latents import Latents, decode_latents
from cotam_cli.entropy.maps import decode_map
from cotam_cli.errors import CotamError, FormatError

Target = Literal["mllm", "human"]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class DecodedLatents:
    """The exact half of decoding: what every machine agrees on."""

    header: Header
    model: Model
    plane: Plane
    latents: Latents


def decode_to_latents(data: bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedLatents:
    """Parse and entropy-decode the first frame; the header's hash of the latents is checked.

    Raises FormatError for bytes that are not a whole .ctm file, ModelError when its model is not here.
    """
    container = parse(data, max_pixels=max_pixels)
    header = container.header
    model = load_model(header.model)
    frame = container.frames()[0]
    plane = quality_plane(header, _levels(header, frame))
    latents = decode_latents(model.entropy, frame.hyper, frame.latents, plane, header.quality)
    if not header.animation and latents.crc != header.latent_hash:
        raise FormatError(
            "the decoded latents do not match the file's hash; the file is damaged, fetch it again"
        )
    return DecodedLatents(header, model, plane, latents)


def decode_pixels(data: bytes, *, target: Target = "mllm", max_pixels: int = MAX_PIXELS) -> Pixels:
    """A .ctm file to uint8 [h, w, 3] sRGB pixels. Raises as `decode_to_latents`."""
    if target not in ("mllm", "human"):
        raise CotamError(f"unknown target {target!r}; choose mllm or human")
    decoded = decode_to_latents(data, max_pixels=max_pixels)
    values = undo_gain(decoded.model.gains, decoded.latents.y, decoded.plane)
    pixels = run_synthesis(decoded.model.synthesis, values, float_planes(decoded.plane))
    return pixels[: decoded.header.height, : decoded.header.width]


def _levels(header: Header, frame: Frame) -> NDArray[np.uint8] | None:
    if frame.map is None:
        return None
    return decode_map(frame.map, *header.cell_grid, header.levels)
