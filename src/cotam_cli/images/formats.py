"""Pixels to the bytes of a picture file, and which format that is."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cotam_cli.errors import CotamError, ImageError
from cotam_cli.images.picture import Picture

_FORMATS: dict[str, tuple[str, int, dict[str, Any]]] = {
    # Level 3 on decoded Kodak pictures: 3 to 6 % smaller than level 1 for 25 ms more, and a third of the
    # time of level 6, which saves another 10 % at best and is larger on busy pictures.
    "png": ("PNG", 2**31 - 1, {"compress_level": 3}),
    "jpg": ("JPEG", 65500, {"quality": 95, "subsampling": 0}),
    # Lossless; here `quality` is effort. 0 is faster than PNG and 25 % smaller; more effort saves 3 to 10 %.
    "webp": ("WEBP", 16383, {"lossless": True, "method": 0, "quality": 0}),
    "ppm": ("PPM", 2**31 - 1, {}),
}
"""Our name: Pillow's name, longest side, options."""

_ALIASES = {"jpeg": "jpg", "jpe": "jpg", "pnm": "ppm"}


def format_for(path: str | os.PathLike[str], explicit: str | None = None) -> str:
    """Choose the format of a picture file to write.

    Args:
        path: where it goes; `-` and names without a suffix mean PNG.
        explicit: a format that the user named; wins over the path. Case and a leading dot do not matter.

    Returns:
        "png", "jpg", "webp" or "ppm".

    Raises:
        CotamError: another format or suffix.
    """
    wanted = explicit if explicit is not None else (Path(path).suffix or "png")
    name = wanted.lower().removeprefix(".")
    name = _ALIASES.get(name, name)
    if name not in _FORMATS:
        raise CotamError(f"cannot write {wanted!r} pictures; choose one of {', '.join(_FORMATS)}")
    return name


def encode_picture(pixels: NDArray[np.uint8], format: str) -> bytes:
    """Encode pixels as a picture file: png, ppm and webp without loss, jpg at quality 95 and 4:4:4.

    Args:
        pixels: uint8 [H, W, 3], sRGB.
        format: a name that `format_for` accepts as explicit.

    Raises:
        CotamError: unknown format.
        ImageError: pixels of another type or shape, or too large for the format.
    """
    name = format_for("", format)
    pillow_name, longest, options = _FORMATS[name]
    picture = Picture(np.ascontiguousarray(pixels))
    if max(picture.width, picture.height) > longest:
        size = f"{picture.width}x{picture.height}"
        raise ImageError(f"{size} is over {longest} on a side, too large for {name}; write png or ppm")
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels).save(buffer, pillow_name, **options)
    return buffer.getvalue()
