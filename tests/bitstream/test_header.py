"""The fixed header: round trips, every rule, every kind of damage."""

import struct
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotam_cli.bitstream.header import HEADER_SIZE, MAX_PIXELS, VERSION, Header, pack_header, parse_header
from cotam_cli.errors import CotamError, FormatError

PLAIN = Header(model=1, width=768, height=512, quality=12288, latent_hash=0x12345678)
# The worked example of docs/FORMAT.md.
PLAIN_BYTES = bytes.fromhex("8943544d 01 00 0100 0003 0002 0030 00 00 02 78563412 e210d891")

GOOD = {
    "magic": b"\x89CTM",
    "version": 1,
    "flags": 0,
    "model": 1,
    "width": 768,
    "height": 512,
    "quality": 12288,
    "guidance": 0,
    "strength": 0,
    "chunk_count": 2,
    "latent_hash": 0,
}


def raw(**changes: object) -> bytes:
    """A header from raw field values, its checksum right whatever they are."""
    body = struct.pack("<4sBBHHHHBBBI", *(GOOD | changes).values())
    return body + struct.pack("<I", zlib.crc32(body))


@st.composite
def headers(draw: st.DrawFn) -> Header:
    width = draw(st.integers(1, 0xFFFF))
    levels = draw(st.just(0) | st.integers(2, 15))
    return Header(
        model=draw(st.integers(0, 0xFFFF)),
        width=width,
        height=draw(st.integers(1, min(0xFFFF, MAX_PIXELS // width))),
        quality=draw(st.integers(4096, 32768)),
        levels=levels,
        cell_log2=draw(st.integers(1, 6)) if levels else 2,
        strength=draw(st.integers(0, 255)) if levels else 0,
        latent_hash=draw(st.integers(0, 0xFFFF_FFFF)),
        target_hint=draw(st.integers(0, 1)),
        alpha=draw(st.booleans()),
        animation=draw(st.booleans()),
    )


def test_worked_example() -> None:
    assert pack_header(PLAIN, 2) == PLAIN_BYTES
    assert parse_header(PLAIN_BYTES) == (PLAIN, 2)
    assert HEADER_SIZE == len(PLAIN_BYTES) == 25
    assert zlib.crc32(b"123456789") == 0xCBF43926


@given(headers(), st.integers(0, 255), st.binary(max_size=3))
def test_round_trip(header: Header, count: int, rest: bytes) -> None:
    data = pack_header(header, count)
    assert len(data) == HEADER_SIZE
    assert parse_header(data + rest) == (header, count)


u8, u16 = st.integers(0, 255), st.integers(0, 0xFFFF)


@given(
    flags=st.integers(0, 8),
    model=u16,
    width=u16,
    height=u16,
    quality=u16 | st.integers(4096, 32768),
    guidance=st.just(0) | u8,
    strength=st.just(0) | u8,
    chunk_count=u8,
    latent_hash=st.integers(0, 0xFFFF_FFFF),
)
def test_accepted_bytes_are_canonical(**fields: int) -> None:
    data = raw(**fields)
    try:
        header, count = parse_header(data)
    except FormatError:
        return
    assert pack_header(header, count) == data


@given(st.binary(max_size=40))
def test_noise_is_refused(data: bytes) -> None:
    for candidate in (data, PLAIN_BYTES[:4] + data):
        with pytest.raises(FormatError):
            parse_header(candidate)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "format version 2, this release reads version 1"),
        ({"version": 0}, "format version 0, this release reads version 1"),
        ({"flags": 0x08}, "unknown flags (0x08)"),
        ({"flags": 0x87}, "unknown flags (0x80)"),
        ({"width": 0}, "width is 0"),
        ({"height": 0}, "height is 0"),
        ({"width": 0xFFFF, "height": 0xFFFF}, "over the limit of 268435456; raise max_pixels"),
        ({"width": 16384, "height": 16385}, "16384 x 16385 = 268451840 pixels"),
        ({"quality": 4095}, "quality x 4096 is 4095"),
        ({"quality": 32769}, "quality x 4096 is 32769"),
        ({"guidance": 0x21}, "number of map levels is 1"),
        ({"guidance": 0x03}, "log2(map cell / 8) is 0"),
        ({"guidance": 0x73}, "log2(map cell / 8) is 7"),
        ({"guidance": 0x20}, "map cell size but no map"),
        ({"strength": 1}, "strength or cell size but no map"),
    ],
)
def test_each_field_rule(changes: dict[str, int], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_header(raw(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"flags": 0x07},
        {"model": 0xFFFF},
        {"model": 0},
        {"width": 1, "height": 1},
        {"width": 16384, "height": 16384},
        {"quality": 4096},
        {"quality": 32768},
        {"guidance": 0x12},
        {"guidance": 0x6F, "strength": 255},
    ],
)
def test_edges_are_accepted(changes: dict[str, int]) -> None:
    data = raw(**changes)
    header, count = parse_header(data)
    assert pack_header(header, count) == data


@pytest.mark.parametrize(
    "changes",
    [
        {"model": -1},
        {"model": 0x10000},
        {"width": 0},
        {"width": 0x10000},
        {"height": 0},
        {"width": 0x7FFF, "height": 0x7FFF},
        {"quality": 4095},
        {"quality": 32769},
        {"quality": 4096.0},
        {"levels": 1},
        {"levels": 16},
        {"levels": 3, "cell_log2": 0},
        {"levels": 3, "cell_log2": 7},
        {"levels": 3, "strength": 256},
        {"cell_log2": 3},
        {"strength": 1},
        {"latent_hash": -1},
        {"latent_hash": 2**32},
        {"target_hint": 2},
    ],
)
def test_pack_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        pack_header(replace(PLAIN, **changes), 2)


@pytest.mark.parametrize("count", [-1, 256])
def test_pack_refuses_chunk_count(count: int) -> None:
    with pytest.raises(FormatError, match="number of chunks"):
        pack_header(PLAIN, count)


def test_limit_can_be_raised_and_lowered() -> None:
    huge = replace(PLAIN, width=0xFFFF, height=0xFFFF)
    data = pack_header(huge, 2, max_pixels=2**32)
    assert parse_header(data, max_pixels=2**32)[0] == huge
    with pytest.raises(FormatError, match="over the limit of 100;"):
        parse_header(PLAIN_BYTES, max_pixels=100)


def test_every_truncation_is_refused() -> None:
    for length in range(HEADER_SIZE):
        with pytest.raises(FormatError, match="empty" if length == 0 else "cut off"):
            parse_header(PLAIN_BYTES[:length])


def test_every_bit_flip_is_refused() -> None:
    for bit in range(8 * HEADER_SIZE):
        data = bytearray(PLAIN_BYTES)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            parse_header(bytes(data))


def test_checks_run_in_order() -> None:
    """Magic before version before size before checksum before fields."""
    bad_crc = raw(width=0)[:21] + PLAIN_BYTES[21:]
    steps = [
        (b"none" + raw(version=9)[4:], "not a .ctm file"),
        (raw(version=9)[:10], "format version 9"),
        (bad_crc[:24], "cut off"),
        (bad_crc, "checksum"),
        (raw(width=0), "width"),
    ]
    for data, message in steps:
        with pytest.raises(FormatError, match=message):
            parse_header(data)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"GIF89a", "GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
        (b"\0\0\0\x20ftypheic", "HEIC"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
        (b"II*\0", "TIFF"),
        (b"BM\x10\0", "BMP"),
        (b"%PDF-1.7", "PDF"),
        (b"iUNUTQEA", "base64"),
        ("\ufffdCTM".encode(), "as text"),
        (b"hello", "68 65 6c 6c 6f"),
    ],
)
def test_other_formats_are_named(data: bytes, name: str) -> None:
    with pytest.raises(FormatError, match=r"not a \.ctm file: ") as caught:
        parse_header(data)
    assert name in str(caught.value)
    assert isinstance(caught.value, CotamError)


def test_properties() -> None:
    header = replace(PLAIN, width=769, height=31, levels=3, cell_log2=2)
    assert header.quality_value == 3.0
    assert header.cell_size == 32
    assert header.latent_grid == (2, 49)
    assert header.cell_grid == (1, 25)
    assert replace(header, cell_log2=6).cell_size == 512
    assert VERSION == 1
