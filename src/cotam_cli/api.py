"""The library's face; see the package's docstring."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from cotam_cli.bitstream import MAX_PIXELS, ChunkType, parse
from cotam_cli.errors import CotamError, GuideError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Source: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]"


@dataclass(frozen=True)
class FileInfo:
    """What a .ctm file says of itself. Sizes in bytes, `bpp` in bits per pixel of the original."""

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


def encode(image: Source, *, quality: float = 3.0, guide: str = "auto") -> bytes:
    """Code a picture.

    Args:
        image: a path, the bytes of a picture file, a Pillow image, or uint8 [h, w, 3] sRGB pixels.
        quality: 1 (small) to 8 (fine), fractions allowed.
        guide: "auto" (the model's own guide; the models of this release have none) or "none".

    Returns:
        The bytes of a .ctm file.

    Raises:
        CotamError: not a picture, too large, quality out of range, unknown guide.
    """
    from cotam_cli.codec.encoder import encode_pixels

    if guide not in ("auto", "none"):
        raise GuideError(f"unknown guide {guide!r}; this release knows auto and none")
    return encode_pixels(_pixels(image), quality)


def decode(
    data: str | os.PathLike[str] | bytes,
    *,
    target: Literal["mllm", "human"] = "mllm",
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Decode a .ctm file, given as bytes or as a path, to an RGB Pillow image.

    Args:
        data: the file.
        target: "mllm" adds the model's adapter for machines, "human" leaves it out; the models of this release
            have no adapter, so both give the same picture.
        max_pixels: refuse larger pictures.

    Raises:
        CotamError: damaged, cut off, not a .ctm, of an unknown version or model, or too large.
    """
    from PIL import Image

    from cotam_cli.codec.decoder import decode_pixels

    return Image.fromarray(decode_pixels(_bytes(data), target=target, max_pixels=max_pixels))


def info(data: str | os.PathLike[str] | bytes, *, max_pixels: int = MAX_PIXELS) -> FileInfo:
    """Read and check a .ctm file's header and chunks; no model is loaded. Raises CotamError as `decode`."""
    raw = _bytes(data)
    container = parse(raw, max_pixels=max_pixels)
    header = container.header
    chunks: dict[str, int] = {}
    for chunk in container.chunks:
        known = chunk.type in ChunkType.__members__.values()
        name = ChunkType(chunk.type).name.lower() if known else str(chunk.type)
        chunks[name] = chunks.get(name, 0) + len(chunk.payload)
    return FileInfo(
        width=header.width,
        height=header.height,
        quality=header.quality_value,
        model=header.model,
        bytes=len(raw),
        bpp=8 * len(raw) / (header.width * header.height),
        frames=len(container.frames()),
        levels=header.levels,
        cell_size=header.cell_size if header.levels else 0,
        strength=header.strength / 32,
        target="human" if header.target_hint else "mllm",
        alpha=header.alpha,
        chunks=chunks,
    )


def _bytes(data: str | os.PathLike[str] | bytes) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    return read_file(data)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes; CotamError with the cure when it cannot be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise CotamError(f"{path} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise CotamError(f"{path} is a folder; give a file") from error
    except OSError as error:
        raise CotamError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _pixels(image: Source) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    from cotam_cli.images import from_pillow, read_picture

    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise CotamError(
                f"pixels must be uint8 [height, width, 3], not {image.dtype} {list(image.shape)}"
            )
        return image
    if isinstance(image, Image.Image):
        return from_pillow(image).pixels
    if isinstance(image, bytes | bytearray | memoryview):
        return read_picture(bytes(image)).pixels
    return read_picture(read_file(image), name=str(image)).pixels
