"""Pixels to the bytes of a picture file, and which format that is."""

import io
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from cotam_cli.errors import CotamError, ImageError
from cotam_cli.images.metadata import Metadata
from cotam_cli.images.transparency import Colour, flatten

WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class _Format:
    pillow: str
    longest: int  # pixels on a side
    options: dict[str, Any]
    alpha: bool = True
    metadata: bool = True
    frames: bool = False


_FORMATS = {
    # Level 3 on decoded Kodak pictures: 3 to 6 % smaller than level 1 for 25 ms more, and a third of the
    # time of level 6, which saves another 10 % at best and is larger on busy pictures.
    "png": _Format("PNG", 2**31 - 1, {"compress_level": 3}, frames=True),
    "jpg": _Format("JPEG", 65500, {"quality": 95, "subsampling": 0}, alpha=False),
    # Lossless; here `quality` is effort. 0 is faster than PNG and 25 % smaller; more effort saves 3 to 10 %.
    "webp": _Format("WEBP", 16383, {"lossless": True, "method": 0, "quality": 0, "exact": True}, frames=True),
    "avif": _Format("AVIF", 65535, {"quality": 95, "subsampling": "4:4:4", "speed": 8}, frames=True),
    "ppm": _Format("PPM", 2**31 - 1, {}, alpha=False, metadata=False),
    "npy": _Format("", 2**31 - 1, {}, metadata=False),
}

_REFUSED = (ValueError, OverflowError, TypeError, RuntimeError, SyntaxError, LookupError, struct.error)
"""What Pillow raises on pictures and metadata that it cannot write."""

_ALIASES = {"jpeg": "jpg", "jpe": "jpg", "pnm": "ppm", "apng": "png"}


@dataclass(frozen=True)
class Output:
    """A frame to write: pixels uint8 [H, W, 3]; alpha uint8 [H, W] or None; milliseconds shown, or None."""

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    duration_ms: int | None = None


def names() -> tuple[str, ...]:
    """The formats that can be written."""
    return tuple(_FORMATS)


def format_for(path: str | os.PathLike[str], explicit: str | None = None) -> str:
    """Choose the format of a picture file to write.

    Args:
        path: where it goes; `-` and names without a suffix mean PNG.
        explicit: a format that the user named; wins over the path. Case and a leading dot do not matter.

    Returns:
        "png", "jpg", "webp", "avif", "ppm" or "npy".

    Raises:
        CotamError: another format or suffix.
    """
    wanted = explicit if explicit is not None else (Path(path).suffix or "png")
    name = wanted.lower().removeprefix(".")
    name = _ALIASES.get(name, name)
    if name not in _FORMATS:
        raise CotamError(f"cannot write {wanted!r} pictures; choose one of {', '.join(_FORMATS)}")
    return name


def holds_frames(format: str) -> bool:
    """Whether one file of this format can be an animation."""
    return _FORMATS[format].frames or format == "npy"


def encode_picture(
    pixels: NDArray[np.uint8],
    format: str,
    *,
    alpha: NDArray[np.uint8] | None = None,
    metadata: Metadata | None = None,
    background: Colour = WHITE,
) -> bytes:
    """Encode pixels as a picture file: png, ppm, npy and webp without loss, jpg and avif at quality 95 and 4:4:4.

    Args:
        pixels: uint8 [H, W, 3], sRGB, or in the colours of metadata.icc.
        format: a name that `format_for` accepts as explicit.
        alpha: uint8 [H, W]; jpg and ppm, which hold none, are flattened onto the background.
        metadata: written where the format can; ppm and npy, which hold no profile, get sRGB.

    Raises:
        CotamError: unknown format.
        ImageError: pixels of another type or shape, or too large for the format.
    """
    name = format_for("", format)
    kind, beside = _FORMATS[name], metadata or Metadata()
    image = _to_pillow(Output(pixels, alpha), name, beside, background)
    if name == "npy":
        return _npy(np.asarray(image))
    return _save([image], kind, kind.options | _beside(kind, beside))


def encode_animation(
    frames: Iterable[Output], format: str, *, metadata: Metadata | None = None, background: Colour = WHITE
) -> bytes:
    """Encode frames as one file: an animated png (APNG), webp or avif, played for ever, or npy [N, H, W, 3 or 4].

    Frames are taken one by one. Raises as `encode_picture`, and CotamError for a format without animations.
    """
    name = format_for("", format)
    kind, beside = _FORMATS[name], metadata or Metadata()
    if not holds_frames(name):
        can = ", ".join(other for other in _FORMATS if holds_frames(other))
        raise CotamError(
            f"{name} holds no animation; write {can}, or frames into numbered files (x-%03d.{name})"
        )
    durations: list[int] = []

    def images() -> Iterator[Image.Image]:
        for frame in frames:
            durations.append(frame.duration_ms or 0)
            yield _to_pillow(frame, name, beside, background)

    if name == "npy":
        stack = list(images())
        modes = {image.mode for image in stack}
        return _npy(np.stack([np.asarray(i.convert("RGBA") if len(modes) > 1 else i) for i in stack]))
    return _save(list(images()), kind, kind.options | _beside(kind, beside), durations)


def _to_pillow(frame: Output, name: str, metadata: Metadata, background: Colour) -> Image.Image:
    kind = _FORMATS[name]
    pixels = frame.pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(f"pixels are {pixels.dtype} {list(pixels.shape)}; give uint8 [height, width, 3]")
    if max(pixels.shape[:2]) > kind.longest:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise ImageError(f"{size} is over {kind.longest} on a side, too large for {name}; write png or ppm")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if metadata.icc and not kind.metadata:
        image = _through_profile(image, metadata.icc)
    if frame.alpha is not None:
        alpha = Image.fromarray(np.ascontiguousarray(frame.alpha))
        if kind.alpha:
            image.putalpha(alpha)
        else:
            image = flatten(image, alpha, background)
    return image


def _through_profile(image: Image.Image, icc: bytes) -> Image.Image:
    """RGB in the colours of a profile to sRGB; as it is where the profile is broken."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB").apply(image)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image


def _beside(kind: _Format, metadata: Metadata) -> dict[str, Any]:
    """Pillow's options that write the metadata."""
    if not kind.metadata:
        return {}
    exif = b"Exif\0\0" + metadata.exif if metadata.exif else None
    found = {"icc_profile": metadata.icc, "exif": exif, "xmp": metadata.xmp}
    if kind.pillow == "PNG" and metadata.xmp:
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
        found |= {"xmp": None, "pnginfo": text}  # type: ignore[dict-item]
    return {key: value for key, value in found.items() if value}


def _save(
    images: list[Image.Image], kind: _Format, options: dict[str, Any], durations: list[int] | None = None
) -> bytes:
    if durations is not None:
        options = options | {"save_all": True, "append_images": images[1:], "duration": durations, "loop": 0}
    buffer = io.BytesIO()
    try:
        images[0].save(buffer, kind.pillow, **options)
    except (OSError, *_REFUSED) as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"cannot be written as {kind.pillow} ({reason}); choose another format") from error
    return buffer.getvalue()


def _npy(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, pixels, allow_pickle=False)
    return buffer.getvalue()
