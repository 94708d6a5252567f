"""The library's face; see the package's docstring."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from cotam_cli.bitstream import (
    HEADER_SIZE,
    MAX_PIXELS,
    ORIGINAL_SIZE,
    Chunk,
    ChunkType,
    Container,
    original_size_chunk,
    parse,
    parse_header,
    parse_stream,
)
from cotam_cli.errors import CotamError, GuideError
from cotam_cli.files import open_file, read_file
from cotam_cli.guidance.options import DEFAULTS, GuideOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from cotam_cli.codec.decoder import DecodedFrame
    from cotam_cli.codec.encoder import TimedPixels
    from cotam_cli.images import Metadata, Picture, Wishes

    Guide: TypeAlias = "str | os.PathLike[str] | NDArray[np.generic]"
    Source: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[np.uint8]"

__all__ = [
    "FileInfo",
    "GuideOptions",
    "decode",
    "decode_frames",
    "encode",
    "encode_parts",
    "info",
]

_FREE = {ORIGINAL_SIZE: "size"}


@dataclass(frozen=True)
class FileInfo:
    """What a .ctm file says of itself. Sizes in bytes, `bpp` in bits per coded pixel (of each frame)."""

    width: int
    height: int
    quality: float
    model: int
    bytes: int
    bpp: float
    frames: int
    levels: int
    cell_size: int
    strength: float
    target: Literal["mllm", "human"]
    alpha: bool
    chunks: dict[str, int]  # sum of the payloads of each type
    original_width: int  # before scaling down; `width` where it was not
    original_height: int


def encode(
    image: Source,
    *,
    quality: float = 3.0,
    guide: Guide = "auto",
    guide_options: GuideOptions = DEFAULTS,
    max_bytes: int | None = None,
    base64: bool = False,
    target_bpp: float | None = None,
    effort: int = 0,
    max_side: int | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    alpha: bool = False,
    keep_icc: bool = False,
    keep_metadata: bool = False,
    name: str | None = None,
) -> bytes:
    """Code a picture, or an animation from a GIF, WebP, APNG or AVIF file.

    Args:
        image: a path, the bytes of a picture file or a file that is open for them, a Pillow image (the frame at
            which it stands), or uint8 sRGB pixels [h, w, 3], with alpha [h, w, 4], or grey [h, w].
        quality: 1 (small) to 8 (fine), fractions allowed.
        guide: where the bits go: "auto" (what serves best today), "none" (evenly), "attention", "text", "mix" or
            "focus" (the embedded guide's, see docs/guidance.md), "clip:MODEL/WEIGHTS" (an open_clip tower), a
            guide's FILE.onnx, a grey picture FILE.png, or a map as an array [rows, columns] of any size, high where
            it matters. The file's size stays within 3 % of that of "none". Animations are coded evenly.
        guide_options: levels, thresholds, cell size and strength of the map.
        max_bytes: instead of `quality`: the finest that fits; within 3 % below where the qualities reach so far.
        base64: count max_bytes after base64.
        target_bpp: as max_bytes, in bits per coded pixel (of each frame).
        effort: 0 to 10; each step takes a few decodings' time and gives more for the same bytes, later ones less.
            Decoding is the same.
        max_side: scale down first, so that no side has more pixels; the file tells the original size.
        background: sRGB colour behind transparent parts, where `alpha` is not asked for.
        alpha: keep transparency, without loss.
        keep_icc: keep an RGB picture's own colours and its ICC profile, instead of converting to sRGB.
        keep_metadata: keep EXIF and XMP, place and camera too; without it all is left out.
        name: what errors call the picture; by default its path.

    Returns:
        The bytes of a .ctm file.

    Raises:
        CotamError: not a picture, too large, quality out of range, a guide that cannot be used, an animation of too
            many frames for one file (41, or 2^28 pixels; `cotam encode` writes several, one after the other);
            BudgetError (a CotamError) where no quality fits the bytes.
    """
    parts = encode_parts(
        image,
        quality=quality,
        guide=guide,
        guide_options=guide_options,
        max_bytes=max_bytes,
        base64=base64,
        target_bpp=target_bpp,
        effort=effort,
        max_side=max_side,
        background=background,
        alpha=alpha,
        keep_icc=keep_icc,
        keep_metadata=keep_metadata,
        name=name,
    )
    if len(parts) > 1:
        raise CotamError(
            "the animation has more frames than one .ctm holds; `cotam encode` writes a stream of them"
        )
    return parts[0]


def encode_parts(
    image: Source,
    *,
    quality: float,
    guide: Guide,
    guide_options: GuideOptions,
    max_bytes: int | None,
    base64: bool,
    target_bpp: float | None,
    effort: int,
    max_side: int | None,
    background: tuple[int, int, int],
    alpha: bool,
    keep_icc: bool,
    keep_metadata: bool,
    name: str | None,
) -> list[bytes]:
    """As `encode`, but a long animation gives several files, a stream when they are put one after the other."""
    from cotam_cli.images import Wishes

    if max_side is not None and max_side < 1:
        raise CotamError(f"max_side is {max_side}; give at least 1 pixel")
    if target_bpp is not None and not 0 < target_bpp < math.inf:
        raise CotamError(f"target_bpp is {target_bpp}; give a number above 0")
    if max_bytes is not None and not isinstance(max_bytes, int):
        raise CotamError(f"max_bytes is {max_bytes!r}; give a whole number")
    if not isinstance(effort, int) or effort not in range(11):
        raise CotamError(f"effort is {effort}; choose a whole number from 0 (fast) to 10")
    frames = _frames(image, Wishes(background, alpha, keep_icc, keep_metadata, max_side), name)
    first, duration = next(frames)
    from cotam_cli.codec.animation import Budget, encode_animation

    whole = 3 * (max_bytes // 4) if base64 and max_bytes is not None else max_bytes
    budget = Budget(whole, None if target_bpp is None else target_bpp * first.width * first.height / 8)
    from cotam_cli.codec.guides import find_source, plan_map

    if duration is not None:
        if find_source(guide) is not None:
            raise GuideError("animations are coded evenly so far; leave the guide out or give none")
        timed = _timed(chain([(first, duration)], frames))
        return encode_animation(timed, quality, budget, extras=_extras(first), effort=effort)
    frames.close()  # the file's own pixels, which are no longer needed
    limit = budget.of(1)
    importance = plan_map(first.pixels, guide, guide_options)
    if limit is not None:
        from cotam_cli.codec.budget import encode_to_size

        return [
            encode_to_size(
                first.pixels,
                limit,
                importance=importance,
                alpha=first.alpha,
                extras=_extras(first),
                effort=effort,
            )
        ]
    from cotam_cli.codec.screening import split_screen

    rest, screen = split_screen(first.pixels, quality)
    beside: dict[str, Any] = {
        "screen": screen,
        "alpha": first.alpha,
        "extras": _extras(first),
        "effort": effort,
    }
    if importance is None:
        from cotam_cli.codec.encoder import encode_pixels

        return [encode_pixels(rest, quality, **beside)]
    from cotam_cli.codec.steering import encode_guided

    return [encode_guided(rest, quality, importance, **beside)]


def decode(
    data: str | os.PathLike[str] | bytes,
    *,
    target: Literal["mllm", "human"] = "mllm",
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Decode a .ctm file, given as bytes or as a path, to a Pillow image: RGB, or RGBA if it keeps transparency.

    Of an animation this is the first frame, whose hash cannot be checked alone; `decode_frames` gives all. A kept
    ICC profile, EXIF and XMP are in the image's `info`, as Pillow writes them.

    Args:
        data: the file.
        target: "mllm" adds the model's adapter for machines, "human" leaves it out.
        max_pixels: refuse larger pictures, and animations with more in all their frames together.

    Raises:
        CotamError: damaged, cut off, not a .ctm, of an unknown version or model, or too large.
    """
    from cotam_cli.codec.decoder import decode_frames as decode_all

    container = next(parse_stream(_bytes(data, max_pixels), max_pixels=max_pixels))
    return _image(next(decode_all(container, target=target, first=True)), container)


def decode_frames(
    data: str | os.PathLike[str] | bytes,
    *,
    target: Literal["mllm", "human"] = "mllm",
    max_pixels: int = MAX_PIXELS,
) -> Iterator[tuple[Image.Image, int | None]]:
    """Decode all frames of a .ctm file: each as `decode` gives it, and the milliseconds that it is shown.

    A still picture gives one frame, and None. A long animation is several files, one after the other, whose frames
    come as one. A file's hash is checked with its last frame: frames count once the iteration has ended without an
    error. Arguments and errors as for `decode`.
    """
    from cotam_cli.codec.decoder import decode_frames as decode_all

    for container in parse_stream(_bytes(data, max_pixels), max_pixels=max_pixels):
        for frame in decode_all(container, target=target):
            yield _image(frame, container), frame.duration_ms


def info(data: str | os.PathLike[str] | bytes, *, max_pixels: int = MAX_PIXELS) -> FileInfo:
    """Read and check a .ctm file's header and chunks; no model is loaded. Raises CotamError as `decode`."""
    raw = _bytes(data, max_pixels)
    container = parse(raw, max_pixels=max_pixels)
    header = container.header
    frames = len(container.frames())
    chunks: dict[str, int] = {}
    for chunk in container.chunks:
        known = chunk.type in ChunkType.__members__.values()
        name = ChunkType(chunk.type).name.lower() if known else _FREE.get(chunk.type, str(chunk.type))
        chunks[name] = chunks.get(name, 0) + len(chunk.payload)
    return FileInfo(
        width=header.width,
        height=header.height,
        quality=header.quality_value,
        model=header.model,
        bytes=len(raw),
        bpp=8 * len(raw) / (header.width * header.height * frames),
        frames=frames,
        levels=header.levels,
        cell_size=header.cell_size if header.levels else 0,
        strength=header.strength / 32,
        target="human" if header.target_hint else "mllm",
        alpha=header.alpha,
        chunks=chunks,
        original_width=(container.original_size or (header.width, header.height))[0],
        original_height=(container.original_size or (header.width, header.height))[1],
    )


def _bytes(data: str | os.PathLike[str] | bytes, max_pixels: int) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    with open_file(data) as file:
        head = file.read(HEADER_SIZE)
        parse_header(head, max_pixels=max_pixels)  # what is no .ctm is not read to its end
        return head + file.read()


def _frames(
    image: Source, wishes: Wishes, name: str | None
) -> Generator[tuple[Picture, int | None], None, None]:
    """The picture or its frames, with durations; None for a still picture's."""
    import numpy as np
    from PIL import Image

    from cotam_cli.images import from_pillow, read_frames

    if isinstance(image, np.ndarray):
        grey = image.ndim == 2
        if (
            image.dtype != np.uint8
            or not (grey or (image.ndim == 3 and image.shape[2] in (3, 4)))
            or not image.size
        ):
            raise CotamError(
                f"pixels must be uint8 [height, width, 3], not {image.dtype} {list(image.shape)}"
            )
        picture = Image.fromarray(np.ascontiguousarray(image))
        yield from_pillow(picture, name=name or "image", wishes=wishes), None
    elif isinstance(image, Image.Image):
        yield from_pillow(image, name=name or "image", wishes=wishes), None
    elif isinstance(image, bytes | bytearray | memoryview):
        yield from read_frames(bytes(image), name=name or "input", wishes=wishes)
    elif not isinstance(image, str | os.PathLike):
        yield from read_frames(image.read(), name=name or "input", wishes=wishes)
    else:
        yield from read_frames(read_file(image), name=name or str(image), wishes=wishes)


def _timed(frames: Iterable[tuple[Picture, int | None]]) -> Iterator[TimedPixels]:
    from cotam_cli.codec.encoder import TimedPixels

    for picture, milliseconds in frames:
        yield TimedPixels(picture.pixels, picture.alpha, milliseconds or 0)


def _extras(picture: Picture) -> tuple[Chunk, ...]:
    """Chunks of what goes beside the pixels."""
    beside = picture.metadata
    parts = ((ChunkType.ICC, beside.icc), (ChunkType.EXIF, beside.exif), (ChunkType.XMP, beside.xmp))
    chunks = [Chunk(kind, payload) for kind, payload in parts if payload]
    if picture.original_size is not None:
        chunks.append(original_size_chunk(*picture.original_size))
    return tuple(chunks)


def metadata_of(container: Container) -> Metadata:
    """The profile, EXIF and XMP that a file keeps; EXIF that cannot be read is left out, as others stumble over it."""
    from cotam_cli.images import Metadata
    from cotam_cli.images.metadata import upright_exif

    icc, exif, xmp = (container.payload(kind) for kind in (ChunkType.ICC, ChunkType.EXIF, ChunkType.XMP))
    return Metadata(icc, upright_exif(exif) if exif else None, xmp)


def _image(frame: DecodedFrame, container: Container) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(frame.pixels)
    if frame.alpha is not None:
        image.putalpha(Image.fromarray(frame.alpha))
    elif container.header.alpha:
        image.putalpha(255)  # an opaque frame among others
    beside = metadata_of(container)
    exif = b"Exif\0\0" + beside.exif if beside.exif else None
    found = {"icc_profile": beside.icc, "exif": exif, "xmp": beside.xmp}
    image.info.update({key: value for key, value in found.items() if value})
    return image
