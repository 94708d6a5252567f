"""The body of a .ctm file: chunks and their checksum <-> `Container`. The layout is in docs/FORMAT.md."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from cotam_cli.bitstream.header import (
    HEADER_SIZE,
    MAGIC,
    MAX_PIXELS,
    Header,
    check_pixels,
    pack_header,
    parse_header,
)
from cotam_cli.errors import FormatError

MAX_CHUNKS = 255  # the header counts them in one byte
MAX_LENGTH_BYTES = 4
MAX_PAYLOAD = 2 ** (7 * MAX_LENGTH_BYTES) - 1  # 268,435,455 bytes: what the length field can say
MAX_METADATA = 16 * 2**20  # bytes of one ICC, EXIF or XMP chunk; real ones stay under a few hundred KB
FIRST_SKIPPABLE, LAST_TYPE = 128, 255
ORIGINAL_SIZE = 128  # width and height before the writer scaled the picture down: told, not needed

_CRC = struct.Struct("<I")
_FRAME_INFO = struct.Struct("<IH")
_SIZE = struct.Struct("<II")
_FAULTY_WRITER = "the program that wrote it is faulty"


class ChunkType(IntEnum):
    """The chunk types of version 1. Types from 128 on are free for others and skipped by readers."""

    MAP = 1
    HYPER = 2
    LATENTS = 3
    ALPHA = 4
    FRAME = 5
    SCREEN = 6
    ICC = 16
    EXIF = 17
    XMP = 18


_METADATA = (ChunkType.ICC, ChunkType.EXIF, ChunkType.XMP)
_FRAME_ORDER = (
    ChunkType.FRAME,
    ChunkType.MAP,
    ChunkType.HYPER,
    ChunkType.LATENTS,
    ChunkType.SCREEN,
    ChunkType.ALPHA,
)
_NAMES = {kind.value: kind.name for kind in ChunkType}


@dataclass(frozen=True)
class Chunk:
    """One chunk: its type, 1..255 (a `ChunkType`, or from 128 on anything), and its bytes."""

    type: int
    payload: bytes


@dataclass(frozen=True)
class FrameInfo:
    """Payload of a FRAME chunk: how long the frame is shown, in milliseconds, 0..2^32-1."""

    duration_ms: int

    def pack(self) -> bytes:
        """Return the 6 payload bytes. Raises FormatError if the duration is out of range."""
        if not isinstance(self.duration_ms, int) or not 0 <= self.duration_ms <= 0xFFFF_FFFF:
            raise FormatError(f"frame duration is {self.duration_ms} ms, but must be from 0 to 4294967295")
        return _FRAME_INFO.pack(self.duration_ms, 0)

    @classmethod
    def parse(cls, payload: bytes) -> "FrameInfo":
        """Read the 6 payload bytes. Raises FormatError if there are more or fewer, or if a flag is set."""
        if len(payload) != _FRAME_INFO.size:
            raise FormatError(
                f"a FRAME chunk has {len(payload)} bytes, not {_FRAME_INFO.size}; {_FAULTY_WRITER}"
            )
        duration_ms, flags = _FRAME_INFO.unpack(payload)
        if flags:
            raise FormatError(f"a frame sets unknown flags (0x{flags:04x}); a newer cotam may read this file")
        return cls(duration_ms)


@dataclass(frozen=True)
class Frame:
    """The payloads of one frame. `info` is None in a still picture, the others where they are absent: `hyper` and
    `latents` both or neither, and one of these and `screen` is there."""

    info: FrameInfo | None
    map: bytes | None
    hyper: bytes | None
    latents: bytes | None
    screen: bytes | None
    alpha: bytes | None


@dataclass(frozen=True)
class Container:
    """A whole .ctm file. `chunks` are in file order, skippable ones included."""

    header: Header
    chunks: tuple[Chunk, ...]

    def payload(self, kind: int) -> bytes | None:
        """Return the payload of the first chunk of this type, or None. Frames have `frames`."""
        return next((chunk.payload for chunk in self.chunks if chunk.type == kind), None)

    @property
    def original_size(self) -> tuple[int, int] | None:
        """Width and height before the writer scaled the picture down, if it says so in a well-formed chunk."""
        payload = self.payload(ORIGINAL_SIZE)
        if payload is None or len(payload) != _SIZE.size:
            return None
        width, height = _SIZE.unpack(payload)
        return width, height

    def frames(self) -> list[Frame]:
        """Return the frames in order: one for a still picture, one or more for an animation.

        Raises FormatError if types, order or presence of chunks break the rules of docs/FORMAT.md, so this is
        also the check that `pack` and `parse` make.
        """
        groups = _group(self.header, self.chunks)
        return [_frame(self.header, group, number) for number, group in enumerate(groups, 1)]


def original_size_chunk(width: int, height: int) -> Chunk:
    """The chunk that tells the size in pixels before scaling down."""
    return Chunk(ORIGINAL_SIZE, _SIZE.pack(width, height))


def pack(container: Container, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return the file's bytes. Raises FormatError for all that `parse` would refuse under the same limit."""
    _check_count(len(container.chunks))
    check_pixels(container.header, max_pixels, len(container.frames()))
    parts = []
    for chunk in container.chunks:
        _check_length(chunk.type, len(chunk.payload))
        parts += [bytes([chunk.type]), _pack_length(len(chunk.payload)), chunk.payload]
    body = b"".join(parts)
    head = pack_header(container.header, len(container.chunks), max_pixels=max_pixels)
    return head + body + _CRC.pack(zlib.crc32(body))


def parse(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Container:
    """Read a whole file; max_pixels limits width x height x frames.

    Raises FormatError, and nothing else, if the bytes are not one complete, undamaged, valid file. Checks run
    from the outside in: header, lengths against the bytes that are there, end, checksum, chunk rules.
    """
    container, end = _parse_one(data, max_pixels)
    if data.startswith(MAGIC, end):
        raise FormatError(
            "several .ctm files follow each other, as where an animation is long; `cotam decode` or decode_frames "
            "reads them"
        )
    _check_end(data, end)
    return container


def parse_stream(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Iterator[Container]:
    """Files that follow each other, each when it is reached. Raises as `parse`, for each."""
    more = True
    while more:
        container, end = _parse_one(data, max_pixels)
        more = data.startswith(MAGIC, end)
        if not more:
            _check_end(data, end)
        yield container
        data = data[end:]


def _check_end(data: bytes, end: int) -> None:
    if len(data) > end:
        raise FormatError(f"the file goes on {len(data) - end} bytes after its end; cut them off")


def _parse_one(data: bytes, max_pixels: int) -> tuple[Container, int]:
    """The file that the bytes start with, and where it ends."""
    header, count = parse_header(data, max_pixels=max_pixels)
    chunks = []
    position = HEADER_SIZE
    for number in range(1, count + 1):
        chunk, position = _parse_chunk(data, position, f"chunk {number} of {count}")
        chunks.append(chunk)
    left = len(data) - position
    if left < _CRC.size:
        raise _cut_off("the checksum at its end is missing")
    if _CRC.unpack_from(data, position)[0] != zlib.crc32(memoryview(data)[HEADER_SIZE:position]):
        _check_end(data, position + _CRC.size)
        raise FormatError("the chunks are damaged (their checksum differs); transfer the file again")
    container = Container(header, tuple(chunks))
    check_pixels(header, max_pixels, len(container.frames()))
    return container, position + _CRC.size


def _parse_chunk(data: bytes, position: int, name: str) -> tuple[Chunk, int]:
    """Return the chunk that starts at position, and the position after it. Slices only what is there."""
    if position >= len(data):
        raise _cut_off(f"{name} is missing")
    kind = data[position]
    length, position = _parse_length(data, position + 1, name)
    _check_length(kind, length)
    left = len(data) - position
    if length > left:
        raise _cut_off(f"{name} needs {length} bytes, {left} are left")
    return Chunk(kind, data[position : position + length]), position + length


def _pack_length(length: int) -> bytes:
    out = bytearray()
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    return bytes(out)


def _parse_length(data: bytes, position: int, name: str) -> tuple[int, int]:
    """Read a LEB128 number of at most 4 bytes in its shortest form; return it and the position after it."""
    length = 0
    for index in range(MAX_LENGTH_BYTES):
        if position + index >= len(data):
            raise _cut_off(f"the length of {name} is missing")
        byte = data[position + index]
        length |= (byte & 127) << 7 * index
        if byte < 128:
            if byte == 0 and index > 0:
                raise FormatError(f"the length of {name} is not in its shortest form; {_FAULTY_WRITER}")
            return length, position + index + 1
    raise FormatError(f"the length of {name} takes more than {MAX_LENGTH_BYTES} bytes; {_FAULTY_WRITER}")


def _check_length(kind: int, length: int) -> None:
    limit = MAX_METADATA if kind in _METADATA else MAX_PAYLOAD
    if length > limit:
        raise FormatError(
            f"{_name(kind)} chunk of {length} bytes, over the limit of {limit}; shrink it or drop it"
        )


def _check_count(count: int) -> None:
    if count > MAX_CHUNKS:
        raise FormatError(
            f"{count} chunks, but a file holds at most {MAX_CHUNKS}; split the animation or drop chunks"
        )


def _group(header: Header, chunks: tuple[Chunk, ...]) -> list[list[Chunk]]:
    """Check the types and the metadata; return the other chunks by frame, skippable ones left out."""
    groups: list[list[Chunk]] = []
    last_metadata = 0
    for chunk in chunks:
        if chunk.type in _METADATA:
            if groups or chunk.type <= last_metadata:
                raise FormatError(
                    f"{_name(chunk.type)} chunk out of place; first come ICC, EXIF, XMP, each at most once"
                )
            last_metadata = chunk.type
        elif chunk.type in _FRAME_ORDER:
            if not groups or chunk.type == ChunkType.FRAME:
                groups.append([])
            groups[-1].append(chunk)
        elif not FIRST_SKIPPABLE <= chunk.type <= LAST_TYPE:
            raise FormatError(f"unknown chunk type {chunk.type}; a newer cotam may read this file")
    if not groups:
        raise FormatError("the file holds no picture (no HYPER and LATENTS chunk); encode it again")
    return groups


def _frame(header: Header, group: list[Chunk], number: int) -> Frame:
    """Check the chunks of one frame against each other and the header, and give them names."""
    where = f"frame {number}"
    ranks = [_FRAME_ORDER.index(ChunkType(chunk.type)) for chunk in group]
    if any(second <= first for first, second in pairwise(ranks)):
        raise FormatError(f"{where}: chunks repeated or out of order; {_FAULTY_WRITER}")
    found = {chunk.type: chunk.payload for chunk in group}

    _check_presence(where, ChunkType.FRAME, found, allowed=header.animation, required=header.animation)
    coded = bool({ChunkType.HYPER, ChunkType.LATENTS} & found.keys()) or ChunkType.SCREEN not in found
    if ChunkType.MAP in found and not coded:
        raise FormatError(f"{where}: MAP chunk, but no latents for it; {_FAULTY_WRITER}")
    _check_presence(where, ChunkType.MAP, found, allowed=header.levels > 0, required=False)
    _check_presence(where, ChunkType.HYPER, found, allowed=True, required=coded)
    _check_presence(where, ChunkType.LATENTS, found, allowed=True, required=coded)
    still_alpha = header.alpha and not header.animation
    _check_presence(where, ChunkType.ALPHA, found, allowed=header.alpha, required=still_alpha)
    return Frame(
        info=FrameInfo.parse(found[ChunkType.FRAME]) if header.animation else None,
        map=found.get(ChunkType.MAP),
        hyper=found.get(ChunkType.HYPER),
        latents=found.get(ChunkType.LATENTS),
        screen=found.get(ChunkType.SCREEN),
        alpha=found.get(ChunkType.ALPHA),
    )


def _check_presence(
    where: str, kind: ChunkType, found: dict[int, bytes], *, allowed: bool, required: bool
) -> None:
    if kind in found and not allowed:
        raise FormatError(f"{where}: {kind.name} chunk, but the header announces none; {_FAULTY_WRITER}")
    if required and kind not in found:
        raise FormatError(f"{where}: no {kind.name} chunk; {_FAULTY_WRITER}")


def _name(kind: int) -> str:
    return _NAMES.get(kind, f"type {kind}")


def _cut_off(what: str) -> FormatError:
    return FormatError(f"the file is cut off: {what}; transfer it again")
