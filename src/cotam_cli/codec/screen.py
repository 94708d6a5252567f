"""The screen layer: drawn parts of a picture (type, lines, flat colours) as plain pixels, beside the latents.

A transform spends most of its bits on the edges of type, where a few flat colours say all. So a frame may carry a
layer of at most 256 colours that is coded without loss (`entropy.indices`), and the decoder puts it over what the
networks paint: mixed raster content, as in ITU-T T.44. The layout is in docs/FORMAT.md, "SCREEN".
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.indices import decode_indices, encode_indices
from cotam_cli.errors import FormatError

MAX_PIXELS = 2**25  # what a screen of 7680x4320 has
MAX_RATIO = 4096  # pixels a byte, so that a few bytes do not claim much; blank pages are filled up with zeros
STRIP = 1 << 20  # pixels
MAX_COLOURS = 256  # one of them stands for "not seen" in a layer for a part of the picture

_HEAD = struct.Struct("<IBB")  # checksum, colours - 1, 1 where the first stands for "not seen"

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Screen:
    """Pixels uint8 [h, w, 3] that stand for the picture where `seen`, bool [h, w], is True; None: everywhere."""

    pixels: Pixels
    seen: Mask | None


def fits(height: int, width: int) -> bool:
    """True where a picture of this size may have a screen layer."""
    return height * width <= MAX_PIXELS


def covers_all(payload: bytes) -> bool:
    """True where a SCREEN payload is the whole picture, so that no latents stand beside it. Raises FormatError where it
    is too short to say."""
    return not _head(payload)[2]


def encode_screen(screen: Screen) -> bytes:
    """The payload of a SCREEN chunk. The layer has at most 256 colours, 255 where some of it is not seen."""
    height, width = screen.pixels.shape[:2]
    seen = None if screen.seen is None or screen.seen.all() else screen.seen
    part = seen is not None
    values = np.unique(
        np.concatenate([np.unique(_numbers(screen.pixels, seen, rows)) for rows in strips(screen.pixels)])
    )
    if len(values) > MAX_COLOURS:
        raise ValueError(f"{len(values)} colours in a screen layer")
    index = np.empty((height, width), np.uint8)
    for rows in strips(index):
        index[rows] = np.searchsorted(values, _numbers(screen.pixels, seen, rows))
    palette = unpacked(values[part:] - np.uint32(part))
    head = _HEAD.pack(_checksum(index, palette, part), len(values) - 1, part)
    payload = head + palette.tobytes() + encode_indices(index, len(values))
    return payload.ljust(-(-height * width // MAX_RATIO), b"\0")


def decode_screen(payload: bytes, height: int, width: int) -> Screen:
    """The inverse of `encode_screen`, for a picture of this size. Takes no memory before the sizes agree.

    Raises FormatError on payloads that no encoder wrote, or for a size that has no layer.
    """
    if not fits(height, width):
        raise FormatError(
            f"a screen chunk in a picture of {width}x{height}; the program that wrote it is faulty"
        )
    if height * width > MAX_RATIO * len(payload):
        raise FormatError("the screen chunk is too short for the picture's size; the file is damaged")
    checksum, count, part = _head(payload)
    start = _HEAD.size + 3 * (count - part)
    if len(payload) < start:
        raise FormatError("the screen chunk ends within its colours; the file is damaged")
    palette = np.frombuffer(payload[_HEAD.size : start], np.uint8).reshape(-1, 3)
    index = decode_indices(payload[start:], height, width, count)
    if _checksum(index, palette, bool(part)) != checksum:
        raise FormatError("the screen chunk's pixels do not match its checksum; fetch the file again")
    if part:
        palette = np.vstack([np.zeros((1, 3), np.uint8), palette])
    return Screen(palette[index], index > 0 if part else None)


def put_screen(pixels: Pixels, screen: Screen) -> Pixels:
    """uint8 [h, w, 3] pixels with the layer put over them."""
    return screen.pixels if screen.seen is None else np.where(screen.seen[..., None], screen.pixels, pixels)


def _head(payload: bytes) -> tuple[int, int, int]:
    """Checksum, how many colours, and 1 where the first of them stands for "not seen"."""
    if len(payload) < _HEAD.size:
        raise FormatError("the screen chunk is damaged; fetch the file again")
    checksum, last, part = _HEAD.unpack_from(payload)
    if part > 1:
        raise FormatError(
            "the screen chunk is of an unknown kind; the file is damaged, or of a later version"
        )
    return checksum, last + 1, part


def strips(pixels: Pixels, unit: int = 1) -> list[slice]:
    """Rows of about a million pixels each, a multiple of `unit`: what is computed on the way has four and more bytes a
    component, too many for a whole large picture."""
    height, width = pixels.shape[:2]
    rows = max(1, STRIP // (unit * width)) * unit
    return [slice(top, top + rows) for top in range(0, height, rows)]


def packed(pixels: Pixels) -> NDArray[np.uint32]:
    """uint8 [..., 3] as one number a pixel, 0xRRGGBB."""
    red, green, blue = (pixels[..., k].astype(np.uint32) for k in range(3))
    return np.asarray(red << 16 | green << 8 | blue, np.uint32)


def unpacked(values: NDArray[np.uint32]) -> Pixels:
    """The inverse of `packed`."""
    return (values[..., None] >> np.array([16, 8, 0], np.uint32) & 255).astype(np.uint8)


def _numbers(pixels: Pixels, seen: Mask | None, rows: slice) -> NDArray[np.uint32]:
    """Some rows, `packed`; in a part layer one more, and 0 where it is not seen."""
    numbers = packed(pixels[rows])
    return numbers if seen is None else np.where(seen[rows], numbers + np.uint32(1), np.uint32(0))


def _checksum(index: NDArray[np.uint8], palette: Pixels, part: bool) -> int:
    """CRC-32 of R G B, or in a part layer R G B A with alpha 255 where it is seen and all zeros where it is not."""
    if part:
        opaque = np.hstack([palette, np.full((len(palette), 1), 255, np.uint8)])
        palette = np.vstack([np.zeros((1, 4), np.uint8), opaque])
    checksum = 0
    for rows in strips(index):
        checksum = zlib.crc32(palette[index[rows]].tobytes(), checksum)
    return checksum
