"""Picture files to uint8 sRGB pixels, for every mode that Pillow delivers.

| what comes in                     | what goes out                                                      |
|-----------------------------------|--------------------------------------------------------------------|
| RGB, RGBX                         | as it is                                                           |
| grey (L, LA), 1-bit               | three equal channels; 1-bit gives 0 and 255                        |
| palette (P, PA)                   | its colours                                                        |
| RGBA, LA, PA, RGBa, La, tRNS      | flattened onto `background`, white if not told, rounded to nearest;|
|                                   | or kept beside the colours on request                              |
| 16-bit grey (I;16, I;16L, I;16B)  | v / 257, rounded to nearest, never clipped                         |
| 32-bit integers (I)               | read as 16-bit grey; a value outside 0..65535 is an error          |
| floats (F)                        | an error: nothing says which value is white                        |
| 16-bit RGB and RGBA               | the 8 bits that Pillow delivers: of PNG and TIFF the upper byte    |
| CMYK                              | through its ICC profile; without one, Pillow's plain formula       |
|                                   | (Adobe's inverted CMYK JPEGs are turned right by Pillow)           |
| LAB                               | CIE L*a*b* (D50) to sRGB                                           |
| YCbCr, HSV                        | Pillow's plain formula                                             |
| embedded ICC profile              | converted to sRGB, perceptual intent, 8 bits; one that is broken,  |
|                                   | or of another colour space than the picture, is ignored; one of an |
|                                   | RGB picture is kept, and its pixels left alone, on request         |
| PNG gamma, chromaticities, cICP   | ignored, as Pillow does not apply them                             |
| EXIF orientation                  | applied; broken EXIF is ignored                                    |
| animation (GIF, WebP, APNG, AVIF) | all frames from `read_frames`, else the first                      |
| several pages (TIFF and others)   | the first (`from_pillow`: the one at which the image stands)       |
| EPS                               | an error: Pillow would start Ghostscript on it                     |
| Pillow's rarer formats            | an error, their parsers never see the file (READ below); formats   |
|                                   | that the program itself has taught Pillow are read                 |
| over 65535 on a side, over 2^28   | an error, before any pixel is decoded                              |
| pixels or Pillow's own limit      |                                                                    |

The transparent colour (tRNS) of a grey PNG of 2 or 4 bits, or of an RGB one of 16, is compared as Pillow
compares it, which may match nothing.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from cotam_cli.errors import ImageError
from cotam_cli.images.metadata import Metadata, exif_and_xmp
from cotam_cli.images.picture import Picture, check_size
from cotam_cli.images.scaling import scale_down
from cotam_cli.images.transparency import Colour, fill_hidden, flatten

__all__ = ["Picture", "Wishes", "from_pillow", "read_frames", "read_picture"]

WHITE: Colour = (255, 255, 255)

_CTM_MAGIC = b"\x89CTM"

_READ = "PNG JPEG GIF BMP PPM WEBP AVIF TIFF JPEG2000 QOI DIB ICO PCX PSD TGA"
READ = tuple(_READ.split())
"""Pillow's formats that are read, the usual ones first: a hostile file reaches none of its other parsers."""

_EPS_MAGIC = (b"%!PS", b"\xc5\xd0\xd3\xc6")
_EPS = "EPS is a program, not a picture; convert it to PNG first"

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes it upright; 1 and values outside the standard need nothing."""

_SIDEWAYS = {
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
}

_ANIMATED = {"GIF", "WEBP", "PNG", "AVIF"}

_ICC_SPACE = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Picture mode to the colour space that its ICC profile must have."""

_DAMAGED = (
    OSError,  # truncated data, decoder errors
    SyntaxError,  # "broken PNG file" and its like, halfway through a file
    ValueError,
    TypeError,  # a TIFF tag of the wrong type
    AttributeError,  # the same, and formats tried one after the other
    RuntimeError,  # AVIF; also NotImplementedError: variants that Pillow lacks
    LookupError,  # IndexError, KeyError
    ArithmeticError,  # OverflowError, ZeroDivisionError
    EOFError,
    struct.error,
    zlib.error,
    Warning,  # only where the caller has turned warnings into errors
)
"""What Pillow raises on a bad file: seen by cutting and flipping files of 38 kinds, or in its code."""


@dataclass(frozen=True)
class Wishes:
    """How to read a picture.

    background   sRGB colour behind transparent parts, each value 0..255
    alpha        keep transparency instead
    keep_icc     keep an RGB picture's pixels and ICC profile as they are, instead of converting to sRGB
    keep_metadata  keep EXIF and XMP
    max_side     scale down so that no side is longer, in pixels
    """

    background: Colour = WHITE
    alpha: bool = False
    keep_icc: bool = False
    keep_metadata: bool = False
    max_side: int | None = None

    def __post_init__(self) -> None:
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise ImageError(f"background is {self.background}; give three values of 0 to 255")


def read_picture(data: bytes, *, name: str = "input", wishes: Wishes | None = None) -> Picture:
    """Decode the bytes of a picture file.

    Args:
        data: a whole file in one of the formats of `READ`, or one that the program has taught Pillow.
        name: what error messages call it, such as the file's name.
        wishes: what can be asked for.

    Raises:
        ImageError: no picture, a damaged or too large one, or a kind that the module's table calls an error.
    """
    with _opened(data, name) as image:
        return _to_picture(image, name, wishes or Wishes())


def read_frames(
    data: bytes, *, name: str = "input", wishes: Wishes | None = None
) -> Iterator[tuple[Picture, int | None]]:
    """Decode the bytes of a picture file, an animation too: each frame and how long it is shown, in milliseconds.

    A still picture gives one frame, and None. Raises as `read_picture`, for a frame when it is reached.
    """
    wishes = wishes or Wishes()
    with _opened(data, name) as image:
        count = getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1
        if count == 1:
            yield _to_picture(image, name, wishes), None
            return
        for number in range(count):
            image.seek(number)
            picture = _to_picture(image, name, wishes)
            yield picture, max(0, round(image.info.get("duration", 100)))


def from_pillow(image: Image.Image, *, name: str = "image", wishes: Wishes | None = None) -> Picture:
    """Convert a Pillow image of any mode, its EXIF orientation and ICC profile applied; see `read_picture`.

    The image itself keeps its mode and pixels; it is loaded if it was not.
    """
    with _explained(name):
        return _to_picture(image, name, wishes or Wishes())


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    if not data:
        raise ImageError(f"{name}: empty, 0 bytes; give a picture file")
    if data.startswith(_CTM_MAGIC):
        raise ImageError(f"{name}: this is already a .ctm; use `cotam decode`")
    if data.startswith(_EPS_MAGIC):
        raise ImageError(f"{name}: {_EPS}")
    taught = [
        kind for kind, (opens, _) in list(Image.OPEN.items()) if not opens.__module__.startswith("PIL.")
    ]
    with _explained(name), Image.open(io.BytesIO(data), formats=[*READ, *taught]) as image:
        yield image


def _to_picture(image: Image.Image, name: str, wishes: Wishes) -> Picture:
    if image.format == "EPS":
        raise ImageError(f"{name}: {_EPS}")
    check_size(*image.size, name=name)
    size = image.size
    if wishes.max_side and image.format == "JPEG" and min(size) > 2 * wishes.max_side:
        image.draft(None, (2 * wishes.max_side, 2 * wishes.max_side))  # skips detail while decoding
    image.load()
    colour, alpha = _split(image, name)
    icc = image.info.get("icc_profile")
    kept = icc if wishes.keep_icc and colour.mode == "RGB" and _space(icc) == "RGB" else None
    rgb = colour if kept else _to_srgb(colour, icc)
    if alpha is not None and alpha.getextrema()[0] == 255:
        alpha = None
    if alpha is not None and not wishes.alpha:
        rgb, alpha = flatten(rgb, alpha, wishes.background), None
    rgb, alpha = scale_down(rgb, alpha, size, wishes.max_side)
    if alpha is not None:
        rgb = fill_hidden(rgb, alpha)
    turn = _TURN.get(_orientation(image))
    if turn is not None:
        rgb, alpha = rgb.transpose(turn), alpha.transpose(turn) if alpha else None
        size = size[::-1] if turn in _SIDEWAYS else size
    beside = exif_and_xmp(image) if wishes.keep_metadata else Metadata()
    return Picture(
        np.ascontiguousarray(np.asarray(rgb)),
        None if alpha is None else np.ascontiguousarray(np.asarray(alpha)),
        replace(beside, icc=kept),
        size if rgb.size != size else None,
    )


def _split(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None]:
    """Colours in one of the modes L, RGB, CMYK, LAB, and the alpha channel in mode L if there is one."""
    mode = image.mode
    if mode == "F":
        raise ImageError(f"{name}: a picture of floats has no fixed white; scale it to 8 or 16 bits first")
    if mode == "I" or mode.startswith("I;16"):
        return _split_wide_grey(image, name)
    if mode in ("CMYK", "LAB"):
        return image, None
    grey = mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        return image.convert("L" if grey else "RGB"), None
    if mode in ("La", "RGBa"):  # premultiplied: Pillow goes straight only to LA and RGBA
        image = image.convert(mode.upper())
    rgba = image.convert("RGBA")
    return rgba.getchannel("R") if grey else rgba.convert("RGB"), rgba.getchannel("A")


def _split_wide_grey(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None]:
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"{name}: grey values run from {low} to {high}; scale them to 0..65535 first")
    grey = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    key = image.info.get("transparency")
    if key is None:
        return grey, None
    return grey, Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))


def _to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """A picture of mode L, RGB, CMYK or LAB in sRGB."""
    if image.mode == "LAB":
        return _through(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), image)
    if icc:
        try:
            profile, space = ImageCms.ImageCmsProfile(io.BytesIO(icc)), _space(icc)
            if space == "RGB" and image.mode == "L":  # common: scanners tag grey pages with sRGB
                image = image.convert("RGB")
            if space == _ICC_SPACE[image.mode]:
                return _through(profile, image)
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass  # the pixels are still good
    return image.convert("RGB")


def _space(icc: bytes | None) -> str | None:
    """Colour space of an ICC profile, None if there is none or it is broken."""
    if not icc:
        return None
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _through(profile: ImageCms.ImageCmsProfile, image: Image.Image) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.PERCEPTUAL
    return ImageCms.buildTransform(profile, srgb, image.mode, "RGB", renderingIntent=intent).apply(image)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where none can be read.

    Not ImageOps.exif_transpose: it also rewrites the EXIF block, and fails where another tag is broken.
    """
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGED:
        return 1
    return value if isinstance(value, int) else 1


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what Pillow raises into an ImageError of one line."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        told = re.findall(r"[0-9]+", str(error))
        size = " of at most ".join(told[:2])
        raise ImageError(f"{name}: too many pixels to decode safely ({size}); make it smaller") from error
    except UnidentifiedImageError as error:
        known = "PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP"
        raise ImageError(f"{name}: not a picture of a known format; give {known}") from error
    except MemoryError as error:
        raise ImageError(f"{name}: not enough memory to decode it; make the picture smaller") from error
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: damaged or cut off ({reason}); get it again or save it anew") from error
