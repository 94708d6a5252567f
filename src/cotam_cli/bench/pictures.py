"""Folders of test pictures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import CotamError
from cotam_cli.files import read_file
from cotam_cli.images import read_picture

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A readable picture file. digest: `content_hash` of its pixels; width and height in pixels."""

    path: Path
    digest: str
    width: int
    height: int

    @property
    def name(self) -> str:
        """The file's name, without the folder."""
        return self.path.name


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


def open_picture(path: Path) -> Picture:
    """Read a picture once, to know its size and content. Raises CotamError when it cannot be read."""
    pixels = load_pixels(path)
    return Picture(path, content_hash(pixels), pixels.shape[1], pixels.shape[0])


def content_hash(pixels: Pixels) -> str:
    """sha256 of a picture's size and RGB bytes: equal pixels, equal hash, whatever the file format."""
    height, width, _ = pixels.shape
    return hashlib.sha256(f"{(width, height)}".encode() + pixels.tobytes()).hexdigest()
