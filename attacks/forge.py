"""Files that no honest writer makes, with every checksum right: for the attacks, the fuzz targets and the tests."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from cotam_cli.bitstream import HEADER_SIZE, Chunk, ChunkType, Container, Header, pack
from cotam_cli.codec.models import load_model
from cotam_cli.codec.quality import quality_plane
from cotam_cli.entropy.coder import Encoder
from cotam_cli.entropy.latents import _Groups, _walk
from cotam_cli.entropy.tables import SKIP

_CRC = struct.Struct("<I")


def seal(data: bytes) -> bytes:
    """The same bytes with both checksums right: of the header's first 21, and of all up to the last 4."""
    if len(data) < HEADER_SIZE + 4:
        return data
    head, body = data[: HEADER_SIZE - 4], data[HEADER_SIZE:-4]
    return head + _CRC.pack(zlib.crc32(head)) + body + _CRC.pack(zlib.crc32(body))


def header(width: int, height: int, **fields: int) -> Header:
    """A header of the newest model, quality 1, and a latent hash that is almost certainly wrong."""
    given = {"model": load_model().record.id, "quality": 4096, "latent_hash": 0x12345678} | fields
    return Header(width=width, height=height, **given)


def still(width: int, height: int, hyper: bytes = b"", latents: bytes = b"", **fields: int) -> bytes:
    """A still picture around any payloads."""
    chunks = (Chunk(ChunkType.HYPER, hyper), Chunk(ChunkType.LATENTS, latents))
    return pack(Container(header(width, height, **fields), chunks), max_pixels=2**32)


def body_of(chunks: bytes, count: int, head: Header | None = None) -> bytes:
    """A file around any bytes as chunks."""
    from cotam_cli.bitstream import pack_header

    return pack_header(head or header(16, 16), count) + chunks + _CRC.pack(zlib.crc32(chunks))


def coded(width: int, height: int, symbol: str = "likeliest", **fields: int) -> tuple[bytes, bytes, int]:
    """Payloads of HYPER and LATENTS and the right hash of a picture whose every latent is its table's likeliest
    symbol (the shortest file of that size that there is) or an escape as far out as there are (the longest)."""
    head, model = header(width, height, **fields), load_model().entropy
    coders = Encoder(model.tables), Encoder(model.tables)
    likeliest = [
        0,
        *(
            int(f.argmax()) - int(r)
            for f, r in zip(model.tables.frequencies, model.tables.reach, strict=True)
        ),
    ]
    choice = np.array(likeliest if symbol == "likeliest" else [0, *[32767] * 63], np.int32)

    def exchange(index: np.ndarray, _mean: np.ndarray | None, turn: int) -> np.ndarray:
        groups = _Groups(index)
        symbols = choice[index]
        symbols[index == SKIP] = 0
        for table, part in groups.parts:
            coders[turn > 0].group(table - 1, symbols[groups.order][part])
        return symbols

    found = _walk(model, quality_plane(head, None), head.quality, exchange, 0)
    return coders[0].finish(), coders[1].finish(), found.crc


def bomb(width: int, height: int, symbol: str = "likeliest", *, right: bool = False, **fields: int) -> bytes:
    """A file of `coded` payloads, with a wrong hash unless `right`."""
    hyper, latents, crc = coded(width, height, symbol, **fields)
    return still(width, height, hyper, latents, **({"latent_hash": crc if right else crc ^ 1} | fields))
