"""Where maps come from, behind one face: `open_source` gives a `Source`, whose `field` is the map of a picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cotam_cli.errors import GuideError
from cotam_cli.guidance.cells import Field, resample, soften
from cotam_cli.guidance.onnx_guide import OnnxGuide, load_guide
from cotam_cli.guidance.quiet import beside_quiet
from cotam_cli.guidance.tiles import network_map

Pixels = NDArray[np.uint8]

TOWER = "clip:"
MAX_MAP_PIXELS = 2**28
_MAPS = (
    "PNG",
    "JPEG",
    "BMP",
    "PPM",
    "WEBP",
    "TIFF",
)  # of Pillow's formats; for some others it would start a program


class Source(Protocol):
    """Something that says where a picture matters."""

    def field(self, pixels: Pixels, cell: int) -> Field:
        """uint8 [h, w, 3] to importance for each cell of `cell` pixels, float [rows, columns], high = important."""


@dataclass(frozen=True)
class NetworkSource:
    """A guide that looks at the picture. quiet: the share of where the picture is quiet, beside 1 of what it sees."""

    guide: OnnxGuide
    quiet: float = 0.0

    def field(self, pixels: Pixels, cell: int) -> Field:
        seen = network_map(self.guide, pixels, cell)
        if self.quiet:
            seen = beside_quiet(seen, pixels, cell, self.quiet)
        return soften(seen)


@dataclass(frozen=True)
class PictureSource:
    """A map that is given, float [rows, columns] of any size; it is stretched over the picture."""

    given: NDArray[np.float32]

    def field(self, pixels: Pixels, cell: int) -> Field:
        return resample(self.given, (pixels.shape[0], pixels.shape[1]), cell)


def open_source(spec: str) -> Source:
    """A source by name: clip:MODEL/WEIGHTS, a guide's FILE.onnx, or a grey picture.

    Raises GuideError when it cannot be had or is not what it should be.
    """
    if spec.startswith(TOWER):
        from cotam_cli.guidance.export import export_guide

        return NetworkSource(load_guide(export_guide(spec), spec))
    data = _read(Path(spec))
    if Path(spec).suffix.lower() == ".onnx":
        return NetworkSource(load_guide(data, spec))
    return PictureSource(read_grey(data, spec))


def is_source(spec: str) -> bool:
    """True when a name has the form of a source, whether or not it can be had."""
    return spec.startswith(TOWER) or Path(spec).suffix != "" or Path(spec).is_file()


def read_grey(data: bytes, name: str) -> NDArray[np.float32]:
    """A grey picture, 8 or 16 bits, as float32 [rows, columns]; colours are turned to grey.

    Raises GuideError when it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_MAPS) as picture:
            if picture.width * picture.height > MAX_MAP_PIXELS:
                raise GuideError(f"the map {name} is larger than 2^28 pixels; scale it down")
            grey = picture if picture.mode in ("L", "I;16", "I", "F") else picture.convert("L")
            found = np.asarray(grey, np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GuideError(
            f"the map {name} is not a picture that can be read; give a grey PNG, bright where it matters"
        ) from error
    if not np.isfinite(found).all():
        raise GuideError(f"the map {name} holds values that are no numbers; give a grey PNG")
    return found


def grey_picture(field: NDArray[np.floating]) -> Image.Image:
    """A field as a 16-bit grey picture, one pixel a cell, that `PictureSource` takes back; middle grey when flat."""
    low, high = float(field.min()), float(field.max())
    scaled = (field - low) / (high - low) if high > low else np.full(field.shape, 0.5)
    return Image.fromarray(np.rint(scaled * 65535).astype(np.uint16))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise GuideError(f"the guide {path} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise GuideError(f"the guide {path} is a folder; give a file") from error
    except OSError as error:
        raise GuideError(
            f"the guide {path} cannot be read ({error.strerror}); check its permissions"
        ) from error
