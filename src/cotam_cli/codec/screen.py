"""The screen layer: drawn parts of a picture (type, lines, flat colours) as plain pixels, beside the latents.

A transform spends most of its bits on the edges of type, where a few flat colours say all. So a frame may carry a
layer that is coded without loss, as a VP8L bitstream (WebP lossless, RFC 9649), and the decoder puts its opaque pixels
over what the networks paint: mixed raster content, as in ITU-T T.44. The layout is in docs/FORMAT.md, "SCREEN".
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from cotam_cli.errors import CotamError, FormatError

MAX_SIDE = 16383  # a VP8L bitstream has 14 bits for each side
MAX_PIXELS = 2**25  # what a screen of 7680x4320 has
MAX_RATIO = 4096  # pixels a byte, so that a few bytes do not claim much; blank pages are filled up with zeros
OPAQUE = 255

_CRC = struct.Struct("<I")
_RIFF = struct.Struct("<4sI4s4sI")
_VP8L_HEAD = 5  # signature, 14 + 14 bits of size, 1 of alpha, 3 of version
_SIGNATURE, _ALPHA_BIT = 0x2F, 1 << 28

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Screen:
    """Pixels uint8 [h, w, 3] that stand for the picture where `seen`, bool [h, w], is True; None: everywhere."""

    pixels: Pixels
    seen: Mask | None


def fits(height: int, width: int) -> bool:
    """True where a picture of this size may have a screen layer."""
    return max(height, width) <= MAX_SIDE and height * width <= MAX_PIXELS


def can_write() -> bool:
    """True where Pillow was built with WebP, as its wheels are."""
    return bool(features.check("webp"))


def covers_all(payload: bytes) -> bool:
    """True where a SCREEN payload has no transparency, so that no latents stand beside it."""
    return not _head(payload) & _ALPHA_BIT


def lossless_size(screen: Screen) -> int:
    """About how many bytes `encode_screen` takes, at a third of its time."""
    return len(_vp8l(_stored(screen), 75))


def encode_screen(screen: Screen) -> bytes:
    """The payload of a SCREEN chunk."""
    stored = _stored(screen)
    payload = _CRC.pack(zlib.crc32(stored.tobytes())) + _vp8l(stored, 100)
    return payload.ljust(-(-stored.shape[0] * stored.shape[1] // MAX_RATIO), b"\0")


def decode_screen(payload: bytes, height: int, width: int) -> Screen:
    """The inverse of `encode_screen`, for a picture of this size. Takes no memory before the sizes agree.

    Raises FormatError on payloads that no encoder wrote, or for a size that has no layer; CotamError where Pillow
    lacks WebP.
    """
    if not fits(height, width):
        raise FormatError(
            f"a screen chunk in a picture of {width}x{height}; the program that wrote it is faulty"
        )
    if height * width > MAX_RATIO * len(payload):
        raise FormatError("the screen chunk is too short for the picture's size; the file is damaged")
    if _head(payload) & ~_ALPHA_BIT != (width - 1) | (height - 1) << 14:  # and version 0 in the bits above
        raise FormatError("the screen chunk has another size than the picture; the file is damaged")
    if not can_write():
        raise CotamError(
            "the file has a screen layer, and this Pillow was built without WebP; install a wheel"
        )
    stored = _decode_vp8l(payload[_CRC.size :])
    if zlib.crc32(stored.tobytes()) != _CRC.unpack_from(payload)[0]:
        raise FormatError("the screen chunk's pixels do not match its checksum; fetch the file again")
    if stored.shape[2] == 3:
        return Screen(stored, None)
    seen = stored[..., 3] == OPAQUE
    if stored[~seen].any():
        raise FormatError("the screen chunk is neither opaque nor clear somewhere; the file is damaged")
    return Screen(stored[..., :3], seen)


def put_screen(pixels: Pixels, screen: Screen) -> Pixels:
    """uint8 [h, w, 3] pixels with the layer put over them."""
    return screen.pixels if screen.seen is None else np.where(screen.seen[..., None], screen.pixels, pixels)


def _head(payload: bytes) -> int:
    """The 32 bits that a VP8L bitstream begins with. Raises FormatError where there are none."""
    head = payload[_CRC.size : _CRC.size + _VP8L_HEAD]
    if len(head) < _VP8L_HEAD or head[0] != _SIGNATURE:
        raise FormatError("the screen chunk is damaged; fetch the file again")
    return int.from_bytes(head[1:], "little")


def _stored(screen: Screen) -> Pixels:
    """uint8 [h, w, 3], or [h, w, 4] with alpha 255 where the layer is seen and all zeros where it is not."""
    if screen.seen is None or screen.seen.all():
        return np.ascontiguousarray(screen.pixels)
    alpha = np.where(screen.seen, OPAQUE, 0).astype(np.uint8)[..., None]
    return np.concatenate([np.where(alpha > 0, screen.pixels, 0), alpha], 2)


def _vp8l(stored: Pixels, effort: int) -> bytes:
    """The bare bitstream; the 20 bytes before it in a WebP file say nothing that is not known."""
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "WEBP", lossless=True, exact=True, quality=effort, method=4)
    whole = file.getvalue()
    *_, length = _RIFF.unpack_from(whole)
    return whole[_RIFF.size : _RIFF.size + length]


def _decode_vp8l(stream: bytes) -> Pixels:
    """uint8 [h, w, 3], or [h, w, 4] where the bitstream has alpha."""
    padding = len(stream) % 2
    riff = _RIFF.pack(b"RIFF", 12 + len(stream) + padding, b"WEBP", b"VP8L", len(stream))
    try:
        with Image.open(io.BytesIO(riff + stream + bytes(padding)), formats=("WEBP",)) as image:
            return np.ascontiguousarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise FormatError("the screen chunk is damaged; fetch the file again") from error
