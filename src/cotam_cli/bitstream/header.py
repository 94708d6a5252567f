"""The fixed header of a .ctm file: 25 bytes <-> `Header`. The layout is in docs/FORMAT.md."""

import struct
import zlib
from dataclasses import dataclass

from cotam_cli.errors import FormatError

MAGIC = b"\x89CTM"
VERSION = 1
MAX_PIXELS = 2**28  # default limit on width x height x frames: 805 MB as 8-bit RGB

QUALITY_ONE = 4096  # the header's units for quality 1.0
MIN_QUALITY = 1 * QUALITY_ONE
MAX_QUALITY = 8 * QUALITY_ONE
MIN_LEVELS, MAX_LEVELS = 2, 15
MIN_CELL_LOG2, MAX_CELL_LOG2 = 1, 6  # cells of 16 px (a latent's size) to 512 px
DEFAULT_CELL_LOG2 = 2
LATENT_SIZE = 16  # pixels a side

FLAG_HUMAN = 1 << 0
FLAG_ALPHA = 1 << 1
FLAG_ANIMATION = 1 << 2
_KNOWN_FLAGS = FLAG_HUMAN | FLAG_ALPHA | FLAG_ANIMATION

_BODY = struct.Struct("<4sBBHHHHBBBI")
_CRC = struct.Struct("<I")
HEADER_SIZE = _BODY.size + _CRC.size

# First bytes of what people pass by mistake: (offset, bytes, what it is and what to do).
_LOOKALIKES = (
    (0, b"\x89PNG", "a PNG picture; encode it first"),
    (0, b"\xff\xd8\xff", "a JPEG picture; encode it first"),
    (0, b"GIF8", "a GIF picture; encode it first"),
    (8, b"WEBP", "a WebP picture; encode it first"),
    (4, b"ftypavi", "an AVIF picture; encode it first"),
    (4, b"ftyphe", "a HEIC picture; encode it first"),
    (4, b"ftypmif1", "a HEIF picture; encode it first"),
    (0, b"\xff\x0a", "a JPEG XL picture; encode it first"),
    (4, b"JXL ", "a JPEG XL picture; encode it first"),
    (0, b"II*\x00", "a TIFF picture; encode it first"),
    (0, b"MM\x00*", "a TIFF picture; encode it first"),
    (0, b"BM", "a BMP picture; encode it first"),
    (0, b"%PDF", "a PDF document; make pictures of its pages first"),
    (0, b"iUNUT", "a .ctm file as base64 text; decode the base64 first"),
    (0, b"data:", "a data URL; decode its base64 part first"),
    (0, b"\xef\xbf\xbdCTM", "a .ctm file damaged by a transfer as text; transfer it as binary"),
    (0, b"\xc2\x89CTM", "a .ctm file damaged by a transfer as text; transfer it as binary"),
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the fixed header says. Ranges are checked by `pack_header` and `parse_header`, not here.

    model        id of the model that decodes the file, 0..65535 (which ids exist: codec/models.py)
    width        original width in pixels, 1..65535
    height       original height in pixels, 1..65535
    quality      quality x 4096, 4096..32768
    levels       levels of the importance map, 2..15; 0 = no map
    cell_log2    log2(cell side in pixels / 8), 1..6; without a map it keeps its default
    strength     what one level adds or takes, in quality units x 32, 0..255; 0 without a map
    latent_hash  CRC-32 of all decoded latents, 0..2^32-1
    target_hint  whom the file was made for: 0 = vision model ("mllm"), 1 = human
    alpha        an alpha chunk follows
    animation    several timed frames follow
    """

    model: int
    width: int
    height: int
    quality: int
    levels: int = 0
    cell_log2: int = DEFAULT_CELL_LOG2
    strength: int = 0
    latent_hash: int
    target_hint: int = 0
    alpha: bool = False
    animation: bool = False

    @property
    def quality_value(self) -> float:
        """Quality as people write it, 1.0..8.0."""
        return self.quality / QUALITY_ONE

    @property
    def cell_size(self) -> int:
        """Side of one map cell in pixels, 16..512."""
        return 8 << self.cell_log2

    @property
    def latent_grid(self) -> tuple[int, int]:
        """Rows and columns of latents: the picture in 16-pixel steps, rounded up."""
        return _grid(self, LATENT_SIZE)

    @property
    def cell_grid(self) -> tuple[int, int]:
        """Rows and columns of map cells: the picture in steps of `cell_size`, rounded up."""
        return _grid(self, self.cell_size)


def pack_header(header: Header, chunk_count: int, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return the header's 25 bytes; chunk_count is 0..255.

    Raises FormatError for every value that `parse_header` would refuse under the same max_pixels.
    """
    _check_fields(header, max_pixels)
    _check_range("number of chunks", chunk_count, 0, 255)
    flags = header.target_hint * FLAG_HUMAN
    flags |= FLAG_ALPHA if header.alpha else 0
    flags |= FLAG_ANIMATION if header.animation else 0
    guidance = header.levels | header.cell_log2 << 4 if header.levels else 0
    body = _BODY.pack(
        MAGIC,
        VERSION,
        flags,
        header.model,
        header.width,
        header.height,
        header.quality,
        guidance,
        header.strength,
        chunk_count,
        header.latent_hash,
    )
    return body + _CRC.pack(zlib.crc32(body))


def parse_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[Header, int]:
    """Read the first 25 bytes of data; return the header and the number of chunks, 0..255.

    Later bytes are not looked at. Raises FormatError if the bytes are too few, are not a .ctm file, are of
    another version, are damaged, hold a value out of range, or describe more than max_pixels pixels.
    """
    _check_envelope(data)
    _, _, flags, model, width, height, quality, guidance, strength, chunk_count, latent_hash = (
        _BODY.unpack_from(data)
    )
    if flags & ~_KNOWN_FLAGS:
        raise FormatError(
            f"the header sets unknown flags (0x{flags & ~_KNOWN_FLAGS:02x}); a newer cotam may read this file"
        )
    levels, cell_log2 = guidance & 15, guidance >> 4
    if levels == 0:
        if cell_log2:
            raise FormatError("the header gives a map cell size but no map; its writer is faulty")
        cell_log2 = DEFAULT_CELL_LOG2
    header = Header(
        model=model,
        width=width,
        height=height,
        quality=quality,
        levels=levels,
        cell_log2=cell_log2,
        strength=strength,
        latent_hash=latent_hash,
        target_hint=1 if flags & FLAG_HUMAN else 0,
        alpha=bool(flags & FLAG_ALPHA),
        animation=bool(flags & FLAG_ANIMATION),
    )
    _check_fields(header, max_pixels)
    return header, chunk_count


def _check_envelope(data: bytes) -> None:
    """Check what must hold before any field means anything: magic, version, size, checksum."""
    if not data:
        raise FormatError("the input is empty (0 bytes); check the path or the program that feeds the pipe")
    # A short input is compared as far as it goes, so that 10 bytes of JPEG are still called JPEG.
    if data[:4] != MAGIC[: len(data)]:
        raise FormatError(f"not a .ctm file: {_describe(data)}")
    if len(data) > 4 and data[4] != VERSION:
        raise FormatError(
            f"the file has format version {data[4]}, this release reads version {VERSION}; "
            "update cotam, or use the release that wrote the file"
        )
    if len(data) < HEADER_SIZE:
        raise FormatError(
            f"the file is cut off: {len(data)} bytes, the header alone has {HEADER_SIZE}; transfer it again"
        )
    if _CRC.unpack_from(data, _BODY.size)[0] != zlib.crc32(data[: _BODY.size]):
        raise FormatError("the header is damaged (its checksum differs); transfer the file again")


def _describe(data: bytes) -> str:
    for offset, prefix, what in _LOOKALIKES:
        if data.startswith(prefix, offset):
            return f"it looks like {what}"
    return f"it starts with {data[:8].hex(' ')}; a .ctm file starts with {MAGIC.hex(' ')}"


def check_pixels(header: Header, max_pixels: int, frames: int = 1) -> None:
    """Raise FormatError where all frames together have more than max_pixels pixels."""
    pixels = header.width * header.height * frames
    if pixels > max_pixels:
        what = "the picture has" if frames == 1 else f"the animation has {frames} x"
        raise FormatError(
            f"{what} {header.width} x {header.height} = {pixels} pixels, "
            f"over the limit of {max_pixels}; raise max_pixels (--max-pixels) if you trust its source"
        )


def _check_fields(header: Header, max_pixels: int) -> None:
    _check_range("model id", header.model, 0, 0xFFFF)
    _check_range("width", header.width, 1, 0xFFFF)
    _check_range("height", header.height, 1, 0xFFFF)
    check_pixels(header, max_pixels)
    _check_range("quality x 4096", header.quality, MIN_QUALITY, MAX_QUALITY)
    _check_range("strength x 32", header.strength, 0, 255)
    if header.levels:
        _check_range("number of map levels", header.levels, MIN_LEVELS, MAX_LEVELS)
        _check_range("log2(map cell / 8)", header.cell_log2, MIN_CELL_LOG2, MAX_CELL_LOG2)
    elif header.strength or header.cell_log2 != DEFAULT_CELL_LOG2:
        raise FormatError("the header sets a strength or cell size but no map levels; its writer is faulty")
    _check_range("latent hash", header.latent_hash, 0, 0xFFFF_FFFF)
    _check_range("target hint", header.target_hint, 0, 1)


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or not low <= value <= high:
        raise FormatError(f"{name} is {value}, but must be a whole number from {low} to {high}")


def _grid(header: Header, step: int) -> tuple[int, int]:
    return -(-header.height // step), -(-header.width // step)
