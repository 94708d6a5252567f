"""The attacks, by name. Each makes its files in a folder and says what to run on them."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import forge
import numpy as np
from PIL import Image
from run import Attack

import cotam_cli
from cotam_cli.bitstream import Chunk, ChunkType, Container, FrameInfo, original_size_chunk, pack, parse
from cotam_cli.codec.screen import Screen, encode_screen

ATTACKS: dict[str, Callable[[Path], Attack]] = {}
PICTURE = np.add.outer(np.arange(24), np.arange(40)).astype(np.uint8)[..., None].repeat(3, 2)


def attack(make: Callable[[Path], Attack]) -> Callable[[Path], Attack]:
    ATTACKS[make.__name__.replace("_", "-")] = make
    return make


def decode(folder: Path, data: bytes, says: str = "", **expected: object) -> Attack:
    (folder / "in.ctm").write_bytes(data)
    return Attack(["decode", "in.ctm", "-o", "out.png"], says=says, **expected)


def encode(folder: Path, data: bytes, says: str = "", **expected: object) -> Attack:
    (folder / "in.png").write_bytes(data)
    return Attack(["encode", "in.png", "-o", "out.ctm"], says=says, **expected)


# Sizes


@attack
def huge_picture_in_33_bytes(folder: Path) -> Attack:
    return decode(folder, forge.still(16384, 16384), "too few for the picture's size")


@attack
def over_the_pixel_limit(folder: Path) -> Attack:
    return decode(folder, forge.still(65535, 65535), "over the limit")


@attack
def huge_picture_of_noise_bytes(folder: Path) -> Attack:
    noise = np.random.default_rng(1).bytes(65_000) + b"\1"
    return decode(folder, forge.still(16384, 16384, noise, noise))


@attack
def thin_huge_picture(folder: Path) -> Attack:
    return decode(folder, forge.still(65535, 4096, quality=32768), "too few")


@attack
def most_pixels_in_1_kB(folder: Path) -> Attack:
    """The likeliest symbol everywhere: no file of that size can be shorter. Only its hash is wrong."""
    return decode(folder, forge.bomb(832, 832), "hash")


@attack
def most_pixels_in_6_kB_costs_its_size(folder: Path) -> Attack:
    return decode(folder, forge.bomb(2048, 2048), "hash", limited=False)


@attack
def most_pixels_in_23_kB_costs_its_size(folder: Path) -> Attack:
    return decode(folder, forge.bomb(4096, 4096), "hash", limited=False)


@attack
def the_same_under_a_limit(folder: Path) -> Attack:
    (folder / "in.ctm").write_bytes(forge.still(4096, 4096, b"\1" * 7000))
    return Attack(
        ["decode", "in.ctm", "-o", "out.png", "--max-pixels", "1000000"], says="over the limit of 1000000"
    )


# Symbols, maps, tables


@attack
def escape_bomb(folder: Path) -> Attack:
    """Every latent an escape of the longest kind."""
    return decode(folder, forge.bomb(256, 256, "far"), "hash")


@attack
def escape_out_of_range(folder: Path) -> Attack:
    return decode(folder, forge.still(64, 64, b"\xff" * 400, b"\xff" * 400, quality=32768))


@attack
def map_bomb(folder: Path) -> Attack:
    """The most cells that there are, and not one byte for them."""
    head = forge.header(65535, 4096, levels=15, cell_log2=1, strength=255)
    chunks = (Chunk(ChunkType.MAP, b""), Chunk(ChunkType.HYPER, b""), Chunk(ChunkType.LATENTS, b""))
    return decode(folder, pack(Container(head, chunks)), "too few")


@attack
def map_bomb_of_noise(folder: Path) -> Attack:
    head = forge.header(65535, 4096, levels=15, cell_log2=1, strength=255)
    noise = np.random.default_rng(2).bytes(600_000) + b"\1"
    chunks = (Chunk(ChunkType.MAP, noise), Chunk(ChunkType.HYPER, b""), Chunk(ChunkType.LATENTS, b""))
    return decode(folder, pack(Container(head, chunks)))


@attack
def strength_beyond_all_qualities(folder: Path) -> Attack:
    head = forge.header(64, 64, levels=15, cell_log2=1, strength=255)
    chunks = (
        Chunk(ChunkType.MAP, b"\x5a" * 9),
        Chunk(ChunkType.HYPER, b"\x11" * 9),
        Chunk(ChunkType.LATENTS, b"\x77" * 99),
    )
    return decode(folder, pack(Container(head, chunks)))


# Chunks


@attack
def chunk_over_the_end(folder: Path) -> Attack:
    return decode(folder, forge.body_of(b"\x02\xff\xff\xff\x7f\x03\0", 2), "needs 268435455 bytes")


@attack
def chunk_over_the_checksum(folder: Path) -> Attack:
    return decode(folder, forge.body_of(b"\x02\x00\x03\x02", 2), "checksum at its end is missing")


@attack
def hole_in_a_length(folder: Path) -> Attack:
    return decode(folder, forge.body_of(b"\x02\x80\x80\x00\x03\0", 2), "shortest form")


@attack
def more_chunks_than_counted(folder: Path) -> Attack:
    return decode(folder, forge.body_of(b"\x02\0\x03\0\x80\0", 2), "goes on")


@attack
def chunks_twice(folder: Path) -> Attack:
    return decode(folder, forge.body_of(b"\x02\0\x03\0\x02\0\x03\0", 4), "repeated or out of order")


@attack
def bytes_behind_the_end(folder: Path) -> Attack:
    return decode(folder, cotam_cli.encode(PICTURE) + b"PK\x03\x04 another format", "goes on after its end")


@attack
def endless_bytes_behind_the_end(folder: Path) -> Attack:
    (folder / "in.ctm").write_bytes(cotam_cli.encode(PICTURE))
    os.truncate(folder / "in.ctm", 1 << 40)  # a hole, as large as a disk
    return Attack(["decode", "in.ctm", "-o", "out.png"], says="goes on after its end")


@attack
def bytes_behind_the_last_latent(folder: Path) -> Attack:
    container = parse(cotam_cli.encode(PICTURE))
    chunks = (
        container.chunks[0],
        replace(container.chunks[1], payload=container.chunks[1].payload + b"hidden words"),
    )
    return decode(folder, pack(replace(container, chunks=chunks)), "goes on behind")


@attack
def endless_zeros(_folder: Path) -> Attack:
    return Attack(["decode", "/dev/zero", "-o", "out.png"], says="not a .ctm file")


@attack
def endless_noise_in_a_pipe(_folder: Path) -> Attack:
    return Attack(["decode", "-", "-o", "out.png"], stdin=Path("/dev/urandom"), says="not a .ctm file")


# What goes beside the pixels


def with_chunk(kind: int, payload: bytes, **fields: int) -> bytes:
    container = parse(cotam_cli.encode(PICTURE))
    return pack(Container(replace(container.header, **fields), (Chunk(kind, payload), *container.chunks)))


@attack
def profile_over_the_limit(folder: Path) -> Attack:
    return decode(folder, forge.body_of(b"\x10\x81\x80\x80\x08", 1), "over the limit of 16777216")


@attack
def profile_of_junk(folder: Path) -> Attack:
    """The profile is nobody's business here: the picture is good, and the junk is handed on as it is."""
    return decode(folder, with_chunk(ChunkType.ICC, b"acsp" * 50_000), code=0, makes={"out.png"})


@attack
def exif_of_junk(folder: Path) -> Attack:
    return decode(
        folder, with_chunk(ChunkType.EXIF, b"II*\0\x08\0\0\0" + b"\xff" * 60_000), code=0, makes={"out.png"}
    )


@attack
def exif_that_nobody_reads(folder: Path) -> Attack:
    (folder / "in.ctm").write_bytes(with_chunk(ChunkType.EXIF, b"garbage"))
    return Attack(["decode", "in.ctm", "-o", "out.avif"], code=0, makes={"out.avif"})


@attack
def xmp_of_16_MiB(folder: Path) -> Attack:
    return decode(folder, with_chunk(ChunkType.XMP, b"<" * (1 << 24)), code=0, makes={"out.png"})


@attack
def exif_too_large_for_jpeg(folder: Path) -> Attack:
    (folder / "in.ctm").write_bytes(with_chunk(ChunkType.EXIF, b"II*\0\x08\0\0\0" + bytes(100_000)))
    return Attack(["decode", "in.ctm", "-o", "out.jpg"], says="choose another format")


@attack
def free_chunks_of_64_MB(folder: Path) -> Attack:
    container = parse(cotam_cli.encode(PICTURE))
    junk = tuple(Chunk(200, bytes(1 << 18)) for _ in range(250))
    return decode(
        folder,
        pack(replace(container, chunks=(*junk, *container.chunks))),
        code=0,
        makes={"out.png"},
        limited=False,
    )


@attack
def original_size_beyond_sense(folder: Path) -> Attack:
    data = with_chunk(128, original_size_chunk(2**32 - 1, 2**32 - 1).payload)
    (folder / "in.ctm").write_bytes(data)
    return Attack(["info", "in.ctm"], code=0)


def with_alpha(width: int, height: int, payload: bytes) -> bytes:
    hyper, latents, crc = forge.coded(width, height)
    head = forge.header(width, height, latent_hash=crc, alpha=True)
    pairs = ((ChunkType.HYPER, hyper), (ChunkType.LATENTS, latents), (ChunkType.ALPHA, payload))
    return pack(Container(head, tuple(Chunk(kind, payload) for kind, payload in pairs)))


@attack
def alpha_bomb(folder: Path) -> Attack:
    return decode(
        folder, with_alpha(16, 16, zlib.compress(bytes(1 << 28), 9)), "does not fit the picture's size"
    )


@attack
def alpha_too_short(folder: Path) -> Attack:
    return decode(folder, with_alpha(512, 512, zlib.compress(b"")), "too short")


@attack
def alpha_with_unknown_filter(folder: Path) -> Attack:
    return decode(
        folder, with_alpha(16, 16, zlib.compress(b"\x07" + bytes(16) + bytes(17 * 15))), "unknown filter"
    )


def with_layer(width: int, height: int, payload: bytes) -> bytes:
    head = forge.header(width, height, latent_hash=0)
    return pack(Container(head, (Chunk(ChunkType.SCREEN, payload),)))


def blank_layer(width: int, height: int) -> bytes:
    return encode_screen(Screen(np.full((height, width, 3), 200, np.uint8), None))


@attack
def layer_of_another_size(folder: Path) -> Attack:
    drawn = np.random.default_rng(3).integers(0, 2, (32, 32, 1), np.uint8).repeat(3, 2)
    return decode(folder, with_layer(64, 64, encode_screen(Screen(drawn, None))), "checksum")


@attack
def layer_that_claims_33_megapixels(folder: Path) -> Attack:
    return decode(folder, with_layer(8192, 4096, bytes(99)), "too short")


@attack
def layer_of_noise(folder: Path) -> Attack:
    noise = np.random.default_rng(3).bytes(60_000)
    return decode(folder, with_layer(1024, 1024, b"\0\0\0\0\xff\0" + noise), "damaged")


@attack
def layer_with_another_checksum(folder: Path) -> Attack:
    return decode(folder, with_layer(640, 480, b"\1\2\3\4" + blank_layer(640, 480)[4:]), "checksum")


@attack
def most_pixels_in_an_8_kB_layer_costs_its_size(folder: Path) -> Attack:
    layer = blank_layer(8192, 4096)
    broken = bytes([layer[0] ^ 1]) + layer[1:]
    return decode(folder, with_layer(8192, 4096, broken), "checksum", limited=False)


@attack
def animation_of_85_empty_frames(folder: Path) -> Attack:
    head = forge.header(4096, 4096, animation=True)
    frame = (
        Chunk(ChunkType.FRAME, FrameInfo(1).pack()),
        Chunk(ChunkType.HYPER, b""),
        Chunk(ChunkType.LATENTS, b""),
    )
    return decode(folder, pack(Container(head, frame * 85), max_pixels=2**40), "over the limit")


def forged_animation() -> bytes:
    """40 frames of 512x512 whose hash, checked with the last one, is wrong."""
    hyper, latents, _ = forge.coded(512, 512)
    frame = (
        Chunk(ChunkType.FRAME, FrameInfo(1).pack()),
        Chunk(ChunkType.HYPER, hyper),
        Chunk(ChunkType.LATENTS, latents),
    )
    return pack(Container(forge.header(512, 512, animation=True), frame * 40))


@attack
def most_pixels_in_40_frames_costs_its_size(folder: Path) -> Attack:
    return decode(folder, forged_animation(), "hash", limited=False)


@attack
def the_same_animation_under_a_limit(folder: Path) -> Attack:
    (folder / "in.ctm").write_bytes(forged_animation())
    return Attack(["decode", "in.ctm", "-o", "out.png", "--max-pixels", "4000000"], says="over the limit")


# Models


@attack
def unknown_model(folder: Path) -> Attack:
    return decode(folder, forge.still(16, 16, model=0xFFFF), "model 65535")


@attack
def model_zero(folder: Path) -> Attack:
    return decode(folder, forge.still(16, 16, model=0), "model 0")


@attack
def huge_picture_of_an_unknown_model(folder: Path) -> Attack:
    return decode(folder, forge.still(16384, 16384, model=77), "model 77")


# Names and places


@attack
def output_is_a_link_to_another_file(folder: Path) -> Attack:
    (folder / "in.ctm").write_bytes(cotam_cli.encode(PICTURE))
    (folder / "secret").write_bytes(b"keep me")
    (folder / "out.png").symlink_to("secret")
    return Attack(["decode", "in.ctm", "-o", "out.png"], says="exists", unharmed="secret")


@attack
def output_links_in_a_circle(folder: Path) -> Attack:
    (folder / "in.ctm").write_bytes(cotam_cli.encode(PICTURE))
    (folder / "out.png").symlink_to("b")
    (folder / "b").symlink_to("out.png")
    return Attack(["decode", "in.ctm", "-o", "out.png"], says="go in a circle")


@attack
def list_with_steps_up(folder: Path) -> Attack:
    """The output of ../../x.ctm lies inside the output folder."""
    (folder / "x.ctm").write_bytes(cotam_cli.encode(PICTURE))
    (folder / "list").write_text(f"../{folder.name}/x.ctm\n")
    made = {"out", f"out/{folder.name}", f"out/{folder.name}/x.png"}
    return Attack(["decode", "--files-from", "list", "-o", "out", "-j", "1"], code=0, makes=made)


@attack
def list_with_a_root(folder: Path) -> Attack:
    (folder / "x.ctm").write_bytes(cotam_cli.encode(PICTURE))
    (folder / "list").write_text(f"{folder}/x.ctm\n")
    parts = folder.parts[1:]
    made = {"/".join(("out", *parts[:k])) for k in range(len(parts) + 1)} | {
        "/".join(("out", *parts, "x.png"))
    }
    return Attack(["decode", "--files-from", "list", "-o", "out", "-j", "1"], code=0, makes=made)


@attack
def name_that_writes_on_the_terminal(folder: Path) -> Attack:
    """Escape sequences in the name of a bad file must not reach the terminal."""
    name = "\x1b]0;pwned\x07\x1b[31m.ctm"
    (folder / name).write_bytes(b"bad")
    return Attack(["decode", name, "-o", "out.png"], says="not a .ctm file")


@attack
def name_that_is_no_text(folder: Path) -> Attack:
    with open(os.path.join(os.fsencode(folder), b"\xff\xfe.ctm"), "wb") as file:
        file.write(cotam_cli.encode(PICTURE))
    return Attack(
        ["decode", ".", "-r", "-o", "out", "--json", "-j", "1"], code=0, makes={"out", "out/\udcff\udcfe.png"}
    )


@attack
def name_that_looks_like_an_option(folder: Path) -> Attack:
    (folder / "--force.ctm").write_bytes(cotam_cli.encode(PICTURE))
    return Attack(["decode", "--", "--force.ctm", "-o", "out.png"], code=2)


@attack
def bad_file_among_good_ones(folder: Path) -> Attack:
    for name in ("a", "c"):
        (folder / f"{name}.ctm").write_bytes(cotam_cli.encode(PICTURE))
    (folder / "b.ctm").write_bytes(forge.still(16384, 16384))
    made = {"out", "out/a.png", "out/c.png"}
    return Attack(["decode", ".", "-r", "-o", "out", "-j", "1"], lines=2, says="b.ctm", makes=made)


# Pictures to encode


def png(width: int, height: int, *extra: tuple[bytes, bytes], data: bytes = b"") -> bytes:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        *extra,
        (b"IDAT", data),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@attack
def picture_of_3600_megapixels(folder: Path) -> Attack:
    return encode(folder, png(60_000, 60_000), "too many pixels")


@attack
def picture_of_160_megapixels_in_500_kB(folder: Path) -> Attack:
    squeezed = zlib.compressobj(9)
    row = bytes(1 + 3 * 14_000)
    data = b"".join(squeezed.compress(row) for _ in range(14_000)) + squeezed.flush()
    return encode(folder, png(14_000, 14_000, data=data), "too many pixels")


@attack
def text_bomb_in_a_png(folder: Path) -> Attack:
    bomb = zlib.compress(bytes(1 << 28), 9)
    return encode(
        folder, png(8, 8, *[(b"zTXt", b"k\0\0" + bomb)] * 4, data=zlib.compress(bytes(25 * 8))), "TEXT"
    )


@attack
def profile_bomb_in_a_png(folder: Path) -> Attack:
    bomb = zlib.compress(bytes(1 << 28), 9)
    return encode(
        folder, png(8, 8, (b"iCCP", b"k\0\0" + bomb), data=zlib.compress(bytes(25 * 8))), "too large"
    )


@attack
def program_as_a_picture(folder: Path) -> Attack:
    return encode(folder, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n", "EPS")


@attack
def picture_that_is_a_ctm(folder: Path) -> Attack:
    return encode(folder, cotam_cli.encode(PICTURE), "already a .ctm")


@attack
def gif_of_300_frames(folder: Path) -> Attack:
    """Tiny frames by the thousand are coded, a stream of 7 files."""
    buffer = io.BytesIO()
    frames = [Image.new("P", (2, 2), k % 7) for k in range(300)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=20)
    return encode(folder, buffer.getvalue(), code=0, makes={"out.ctm"}, limited=False)
