"""The container: round trips, every rule with its checksums right, every kind of damage."""

import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotam_cli.bitstream import Chunk, ChunkType, Container, Frame, FrameInfo, Header, pack, parse
from cotam_cli.bitstream.chunks import MAX_METADATA, MAX_PAYLOAD
from cotam_cli.bitstream.header import HEADER_SIZE, pack_header
from cotam_cli.errors import FormatError

PLAIN = Header(model=1, width=48, height=32, quality=12288, latent_hash=7)
MAPPED = replace(PLAIN, levels=3, strength=16)
ALPHA = replace(PLAIN, alpha=True)
ANIMATION = replace(PLAIN, animation=True)
FRAME = FrameInfo(40).pack()
MAP, HYPER, LATENTS, ALPHA_TYPE, FRAME_TYPE, SCREEN, ICC, EXIF, XMP = ChunkType
SMALL = Container(
    replace(MAPPED, alpha=True),
    (Chunk(ICC, b"icc"), Chunk(MAP, b"m"), Chunk(HYPER, b""), Chunk(LATENTS, b"y" * 130), Chunk(4, b"a")),
)


def chunks_of(*types: int) -> tuple[Chunk, ...]:
    """One chunk of each type; all payloads but frame headers are one byte."""
    return tuple(Chunk(kind, FRAME if kind == FRAME_TYPE else b"x") for kind in types)


def raw(header: Header, body: bytes, count: int) -> bytes:
    """A file around any body, both checksums right."""
    return pack_header(header, count) + body + struct.pack("<I", zlib.crc32(body))


def raw_body(chunks: tuple[Chunk, ...]) -> bytes:
    """Chunks without any check; payloads under 128 bytes."""
    return b"".join(bytes([c.type, len(c.payload)]) + c.payload for c in chunks)


def refused(data: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        parse(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


skippable = st.builds(Chunk, st.integers(128, 255), st.binary(max_size=5))
payloads = st.binary(max_size=200)


@st.composite
def containers(draw: st.DrawFn) -> Container:
    animation, alpha = draw(st.booleans()), draw(st.booleans())
    levels = draw(st.sampled_from([0, 2, 3, 15]))
    header = replace(PLAIN, animation=animation, alpha=alpha, levels=levels)
    chunks = [Chunk(kind, draw(payloads)) for kind in (ICC, EXIF, XMP) if draw(st.booleans())]
    for _ in range(draw(st.integers(1, 4)) if animation else 1):
        if animation:
            chunks.append(Chunk(FRAME_TYPE, FrameInfo(draw(st.integers(0, 2**32 - 1))).pack()))
        drawn = draw(st.sampled_from(["", "partly", "wholly"]))
        if levels and drawn != "wholly" and draw(st.booleans()):
            chunks.append(Chunk(MAP, draw(payloads)))
        if drawn != "wholly":
            chunks += [Chunk(HYPER, draw(payloads)), Chunk(LATENTS, draw(payloads))]
        if drawn:
            chunks.append(Chunk(SCREEN, draw(payloads)))
        if alpha and (not animation or draw(st.booleans())):
            chunks.append(Chunk(ALPHA_TYPE, draw(payloads)))
    for extra in draw(st.lists(skippable, max_size=3)):
        chunks.insert(draw(st.integers(0, len(chunks))), extra)
    return Container(header, tuple(chunks))


@given(containers())
def test_round_trip(container: Container) -> None:
    data = pack(container)
    assert parse(data) == container
    assert pack(parse(data)) == data


kinds = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 19, 127, 128, 255])
usual = st.sampled_from([(2, 3), (1, 2, 3), (5, 2, 3), (5, 1, 2, 3, 4), (16,), (18,), (2, 3, 4), (200,)])


@given(
    st.sampled_from([PLAIN, MAPPED, ALPHA, ANIMATION, replace(ANIMATION, alpha=True, levels=2)]),
    st.lists(usual | kinds.map(lambda kind: (kind,)), max_size=4),
)
def test_pack_and_parse_refuse_the_same(header: Header, groups: list[tuple[int, ...]]) -> None:
    container = Container(header, chunks_of(*(kind for group in groups for kind in group)))
    data = raw(header, raw_body(container.chunks), len(container.chunks))
    try:
        assert parse(data) == container
    except FormatError:
        with pytest.raises(FormatError):
            pack(container)
    else:
        assert pack(container) == data


@given(st.binary(max_size=60), st.integers(0, 6))
def test_any_body_parses_canonically_or_is_refused(body: bytes, count: int) -> None:
    data = raw(MAPPED, body, count)
    try:
        container = parse(data)
    except FormatError:
        return
    assert pack(container) == data


def test_every_truncation_is_refused() -> None:
    data = pack(SMALL)
    assert "empty" in refused(b"")
    for length in range(1, len(data)):
        assert "cut off" in refused(data[:length])


def test_every_bit_flip_is_refused() -> None:
    data = pack(SMALL)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        refused(bytes(damaged))


def test_damage_and_trailing_bytes_are_named() -> None:
    data = pack(SMALL)
    assert "damaged" in refused(data[:-10] + b"?" + data[-9:])
    assert "goes on 3 bytes after its end" in refused(pack(SMALL) + b"\0\0\0")
    assert "follow each other" in refused(pack(SMALL) + pack(SMALL))


def test_smallest_file_and_overhead() -> None:
    data = pack(Container(PLAIN, (Chunk(HYPER, b""), Chunk(LATENTS, b""))))
    assert data[HEADER_SIZE:] == bytes.fromhex("0200 0300 544460a0")  # the worked example of docs/FORMAT.md
    full = pack(Container(PLAIN, (Chunk(HYPER, b"z" * 900), Chunk(LATENTS, b"y" * 16383))))
    assert len(full) - 900 - 16383 <= 40


@pytest.mark.parametrize(
    ("header", "types", "message"),
    [
        (PLAIN, (), "no picture"),
        (PLAIN, (16,), "no picture"),
        (PLAIN, (0, 2, 3), "unknown chunk type 0"),
        (PLAIN, (2, 3, 7), "unknown chunk type 7"),
        (PLAIN, (2, 3, 127), "unknown chunk type 127"),
        (PLAIN, (2, 3, 16), "ICC chunk out of place"),
        (PLAIN, (2, 17, 3), "EXIF chunk out of place"),
        (PLAIN, (17, 16, 2, 3), "ICC chunk out of place"),
        (PLAIN, (16, 16, 2, 3), "ICC chunk out of place"),
        (PLAIN, (16, 200, 16, 2, 3), "ICC chunk out of place"),
        (PLAIN, (3, 2), "frame 1: chunks repeated or out of order"),
        (PLAIN, (2, 3, 3), "frame 1: chunks repeated or out of order"),
        (PLAIN, (2, 3, 2, 3), "frame 1: chunks repeated or out of order"),
        (MAPPED, (2, 1, 3), "frame 1: chunks repeated or out of order"),
        (PLAIN, (2,), "frame 1: no LATENTS chunk"),
        (PLAIN, (3,), "frame 1: no HYPER chunk"),
        (PLAIN, (2, 6), "frame 1: no LATENTS chunk"),
        (PLAIN, (3, 6), "frame 1: no HYPER chunk"),
        (PLAIN, (6, 2, 3), "frame 1: chunks repeated or out of order"),
        (MAPPED, (1, 6), "frame 1: MAP chunk, but no latents for it"),
        (PLAIN, (1, 2, 3), "frame 1: MAP chunk, but the header announces none"),
        (PLAIN, (2, 3, 4), "frame 1: ALPHA chunk, but the header announces none"),
        (ALPHA, (2, 3), "frame 1: no ALPHA chunk"),
        (PLAIN, (5, 2, 3), "frame 1: FRAME chunk, but the header announces none"),
        (ANIMATION, (2, 3), "frame 1: no FRAME chunk"),
        (ANIMATION, (2, 3, 5, 2, 3), "frame 1: no FRAME chunk"),
        (ANIMATION, (5, 2, 3, 5), "frame 2: no HYPER chunk"),
        (ANIMATION, (5, 2, 3, 5, 3), "frame 2: no HYPER chunk"),
        (ANIMATION, (5, 2, 3, 2, 3), "frame 1: chunks repeated or out of order"),
        (ANIMATION, (5, 2, 3, 16, 5, 2, 3), "ICC chunk out of place"),
    ],
)
def test_each_order_rule(header: Header, types: tuple[int, ...], message: str) -> None:
    chunks = chunks_of(*types)
    assert message in refused(raw(header, raw_body(chunks), len(chunks)))
    with pytest.raises(FormatError) as caught:
        pack(Container(header, chunks))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("header", "types"),
    [
        (PLAIN, (200, 16, 128, 17, 18, 200, 2, 255, 3, 200)),
        (MAPPED, (1, 2, 3)),
        (MAPPED, (2, 3)),
        (ALPHA, (2, 3, 4)),
        (ANIMATION, (5, 2, 3)),
        (replace(ANIMATION, alpha=True), (5, 2, 3, 4, 5, 2, 3)),
    ],
)
def test_valid_orders(header: Header, types: tuple[int, ...]) -> None:
    container = Container(header, chunks_of(*types))
    assert parse(pack(container)) == container


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (b"\x80\x00", "not in its shortest form"),
        (b"\x83\x80\x80\x00", "not in its shortest form"),
        (b"\xff\xff\xff\x80\x01", "more than 4 bytes"),
        (b"\x80\x80\x80\x80\x00", "more than 4 bytes"),
        (b"\xff\xff\xff\x7f", "needs 268435455 bytes, 8 are left"),
        (b"\x09", "needs 9 bytes, 8 are left"),
    ],
)
def test_each_length_rule(length: bytes, message: str) -> None:
    assert message in refused(raw(PLAIN, b"\x02" + length + b"abcd", 1))


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21])
def test_length_edges(size: int) -> None:
    container = Container(PLAIN, (Chunk(HYPER, b""), Chunk(LATENTS, bytes(size))))
    assert parse(pack(container)) == container


def test_chunk_count_must_match() -> None:
    body = raw_body(chunks_of(2, 3))
    assert "cut off" in refused(raw(PLAIN, body, 3)[:-4])
    assert "cut off: chunk 3 of 3 is missing" in refused(pack_header(PLAIN, 3) + body)
    assert "goes on" in refused(raw(PLAIN, body, 1))


def test_metadata_limit() -> None:
    at_limit = Container(PLAIN, (Chunk(ICC, bytes(MAX_METADATA)), *chunks_of(2, 3)))
    assert parse(pack(at_limit)) == at_limit
    over = Chunk(XMP, bytes(MAX_METADATA + 1))
    with pytest.raises(FormatError, match="XMP chunk of 16777217 bytes, over the limit of 16777216"):
        pack(Container(PLAIN, (over, *chunks_of(2, 3))))
    # The claim alone is refused; no byte of the chunk needs to be there.
    assert "over the limit" in refused(raw(PLAIN, b"\x12\x81\x80\x80\x08", 1))


def test_pack_refuses_bad_sizes_counts_types_and_headers() -> None:
    with pytest.raises(FormatError, match="LATENTS chunk of 268435456 bytes, over the limit of 268435455"):
        pack(Container(PLAIN, (Chunk(HYPER, b""), Chunk(LATENTS, bytes(MAX_PAYLOAD + 1)))))
    with pytest.raises(FormatError, match="at most 255"):
        pack(Container(PLAIN, chunks_of(2, 3, *[200] * 254)))
    with pytest.raises(FormatError, match="unknown chunk type 256"):
        pack(Container(PLAIN, (Chunk(256, b""), *chunks_of(2, 3))))
    with pytest.raises(FormatError, match="unknown chunk type -1"):
        pack(Container(PLAIN, (Chunk(-1, b""), *chunks_of(2, 3))))
    with pytest.raises(FormatError, match="width"):
        pack(Container(replace(PLAIN, width=0), chunks_of(2, 3)))
    most = Container(PLAIN, chunks_of(2, 3, *[200] * 253))
    assert parse(pack(most)) == most


def test_pixel_limit_is_handed_on() -> None:
    huge = Container(replace(PLAIN, width=65535, height=65535), chunks_of(2, 3))
    with pytest.raises(FormatError, match="over the limit"):
        pack(huge)
    data = pack(huge, max_pixels=2**32)
    assert "raise max_pixels" in refused(data)
    assert parse(data, max_pixels=2**32) == huge


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "0 bytes, not 6"),
        (FRAME + b"\0", "7 bytes, not 6"),
        (b"\0\0\0\0\x01\0", "unknown flags (0x0001)"),
        (b"\0\0\0\0\0\x80", "unknown flags (0x8000)"),
    ],
)
def test_each_frame_header_rule(payload: bytes, message: str) -> None:
    chunks = (Chunk(FRAME_TYPE, payload), *chunks_of(2, 3))
    assert message in refused(raw(ANIMATION, raw_body(chunks), 3))


def test_frame_info() -> None:
    assert FrameInfo(40).pack() == bytes.fromhex("28000000 0000")
    assert FrameInfo.parse(FrameInfo(2**32 - 1).pack()) == FrameInfo(2**32 - 1)
    for duration in (-1, 2**32):
        with pytest.raises(FormatError, match="frame duration"):
            FrameInfo(duration).pack()


def test_the_limit_counts_all_frames() -> None:
    frame = (Chunk(FRAME_TYPE, FrameInfo(10).pack()), Chunk(HYPER, b"1"), Chunk(LATENTS, b"2"))
    animation = Container(ANIMATION, 3 * frame)
    pixels = 3 * ANIMATION.width * ANIMATION.height
    assert parse(pack(animation), max_pixels=pixels) == animation
    with pytest.raises(FormatError, match=r"animation has 3 x .* over the limit"):
        parse(pack(animation), max_pixels=pixels - 1)


def test_frames_and_payload() -> None:
    assert SMALL.frames() == [
        Frame(info=None, map=b"m", hyper=b"", latents=b"y" * 130, screen=None, alpha=b"a")
    ]
    assert SMALL.payload(ChunkType.ICC) == b"icc"
    assert SMALL.payload(ChunkType.XMP) is None
    assert SMALL.payload(ChunkType.HYPER) == b""

    animation = Container(
        replace(ANIMATION, alpha=True),
        (
            *(Chunk(FRAME_TYPE, FrameInfo(10).pack()), Chunk(HYPER, b"1"), Chunk(LATENTS, b"2")),
            Chunk(200, b"skipped"),
            *(Chunk(FRAME_TYPE, FrameInfo(20).pack()), Chunk(HYPER, b"3"), Chunk(LATENTS, b"4")),
            Chunk(SCREEN, b"s"),
            Chunk(ALPHA_TYPE, b"5"),
            *(Chunk(FRAME_TYPE, FrameInfo(30).pack()), Chunk(SCREEN, b"6")),
        ),
    )
    assert animation.frames() == [
        Frame(info=FrameInfo(10), map=None, hyper=b"1", latents=b"2", screen=None, alpha=None),
        Frame(info=FrameInfo(20), map=None, hyper=b"3", latents=b"4", screen=b"s", alpha=b"5"),
        Frame(info=FrameInfo(30), map=None, hyper=None, latents=None, screen=b"6", alpha=None),
    ]
