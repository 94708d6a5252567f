"""Bytes of a .ctm file <-> frozen dataclasses, with all validation. No I/O, no pixels, no coding."""

from cotam_cli.bitstream.chunks import (
    ORIGINAL_SIZE,
    Chunk,
    ChunkType,
    Container,
    Frame,
    FrameInfo,
    original_size_chunk,
    pack,
    parse,
    parse_stream,
)
from cotam_cli.bitstream.header import (
    HEADER_SIZE,
    MAGIC,
    MAX_PIXELS,
    VERSION,
    Header,
    pack_header,
    parse_header,
)

__all__ = [
    "HEADER_SIZE",
    "MAGIC",
    "MAX_PIXELS",
    "ORIGINAL_SIZE",
    "VERSION",
    "Chunk",
    "ChunkType",
    "Container",
    "Frame",
    "FrameInfo",
    "Header",
    "original_size_chunk",
    "pack",
    "pack_header",
    "parse",
    "parse_header",
    "parse_stream",
]
