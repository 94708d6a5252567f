"""Folders of test pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cotam_cli.api import read_file
from cotam_cli.errors import CotamError
from cotam_cli.images import read_picture

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}

Pixels = NDArray[np.uint8]


def find_pictures(folder: Path, limit: int | None = None) -> list[Path]:
    """The pictures right in a folder, by name; with a limit that many of them, spread evenly over the list.

    Raises CotamError when there is none.
    """
    files = folder.iterdir() if folder.is_dir() else ()
    found = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    if not found:
        raise CotamError(f"{folder} holds no pictures; give a folder of PNG, JPEG, WebP, BMP or TIFF files")
    if limit is None or limit >= len(found):
        return found
    return [found[k * len(found) // limit] for k in range(limit)]


def load_pixels(path: Path) -> Pixels:
    """uint8 [h, w, 3] sRGB. Raises CotamError when it cannot be read."""
    return read_picture(read_file(path), name=path.name).pixels


def content_hash(pixels: Pixels) -> str:
    """sha256 of a picture's size and RGB bytes: equal pixels, equal hash, whatever the file format."""
    height, width, _ = pixels.shape
    return hashlib.sha256(f"{(width, height)}".encode() + pixels.tobytes()).hexdigest()
