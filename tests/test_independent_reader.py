"""The format page is enough: a reader written from it alone decodes the golden files to the same latents."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
READER = HERE / "independent_reader.py"
GOLDEN = HERE / "golden"
FILES = sorted(path.name for path in GOLDEN.glob("*.ctm"))

SPEC = importlib.util.spec_from_file_location("independent_reader", READER)
reader = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reader)

# The smallest file of docs/FORMAT.md; its latent hash is made up.
SMALLEST = bytes.fromhex(
    "89 43 54 4D 01 00 01 00 00 03 00 02 00 30 00 00 02 78 56 34 12 E2 10 D8 91 02 00 03 00 54 44 60 A0"
)
NEWEST = max(map(int, (name.split("-")[1] for name in FILES)), default=0)
KNOWN = {1: HERE, NEWEST: HERE}


def test_golden_files_are_there() -> None:
    """Without golden files nothing below would be tested, so their absence is a failure."""
    assert FILES, f"golden files are missing: no *.ctm in {GOLDEN}"
    assert (GOLDEN / "hashes.json").is_file(), f"golden files are missing: no hashes.json in {GOLDEN}"
    assert sorted(json.loads((GOLDEN / "hashes.json").read_text())) == FILES


@pytest.mark.parametrize("name", FILES)
def test_golden_file(name: str) -> None:
    """The latents have the hash of the header, and header and values are those of hashes.json."""
    decoded = reader.decode((GOLDEN / name).read_bytes())
    wanted = json.loads((GOLDEN / "hashes.json").read_text())[name]
    values = b"".join(frame.values.astype("<i4").tobytes() for frame in decoded.frames)
    assert decoded.latent_hash == decoded.header.latent_hash == wanted["latent_hash"]
    assert hashlib.sha256(values).hexdigest() == wanted["values_sha256"]


def test_reader_stands_alone() -> None:
    """It imports the standard library and NumPy only, and is short."""
    code = (
        "import runpy, sys, numpy; before = set(sys.modules)\n"
        f"runpy.run_path({str(READER)!r})\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'numpy'}))\n"
    )
    command = [sys.executable, "-I", "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    text = READER.read_text(encoding="utf-8")
    assert "import cotam_cli" not in text
    assert "from cotam_cli" not in text
    assert len(text.splitlines()) <= 320


def test_example_of_the_page() -> None:
    """The container of the worked example is read as the page says."""
    header, frames = reader.read_container(SMALLEST, KNOWN)
    assert header == (0, 1, 768, 512, 12288, 0, 0, 2, 0x12345678)
    assert frames == [{"H": b"", "L": b""}]


def test_cut_or_changed_file_is_refused() -> None:
    """No beginning of a file is a file, and any flipped bit is noticed."""
    for cut in range(len(SMALLEST)):
        with pytest.raises(ValueError, match=r"."):
            reader.read_container(SMALLEST[:cut], KNOWN)
    for bit in range(8 * len(SMALLEST)):
        damaged = bytearray(SMALLEST)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r"."):
            reader.read_container(bytes(damaged), KNOWN)


def build(chunks: bytes, count: int, flags: int = 0, guidance: int = 0) -> bytes:
    """A file with right checksums around these chunks."""
    start = b"\x89CTM\x01" + struct.pack("<BHHHHBBBI", flags, NEWEST, 20, 10, 12288, guidance, 0, count, 0)
    return start + struct.pack("<I", zlib.crc32(start)) + chunks + struct.pack("<I", zlib.crc32(chunks))


FRAME = bytes([5, 6, 40, 0, 0, 0, 0, 0])
PAIR = b"\x02\0\x03\0"


def layer(part: int, colours: int = 1) -> bytes:
    """A SCREEN chunk of one colour and no indices."""
    head = struct.pack("<IBB", 0, colours - 1, part) + bytes(3)
    return bytes([6, len(head)]) + head


WHOLE, PART = layer(0), layer(1)


@pytest.mark.parametrize(
    ("chunks", "count", "flags", "guidance", "frames"),
    [
        pytest.param(PAIR, 2, 0, 0, 1, id="still"),
        pytest.param(PAIR, 2, 1, 0, 1, id="for people"),
        pytest.param(b"\x80\0\x10\0\x02\0\xff\0\x12\0\x03\0", 6, 0, 0, 0, id="metadata after HYPER"),
        pytest.param(b"\x80\0\x10\0\x12\0\x02\0\xff\0\x03\0", 6, 0, 0, 1, id="metadata and free chunks"),
        pytest.param(b"\x12\0\x10\0\x02\0\x03\0", 4, 0, 0, 0, id="metadata in the wrong order"),
        pytest.param(b"\x10\0\x10\0\x02\0\x03\0", 4, 0, 0, 0, id="two profiles"),
        pytest.param(b"\x02\0\x03\0\x02\0\x03\0", 4, 0, 0, 0, id="two frames in a still picture"),
        pytest.param(b"\x03\0\x02\0", 2, 0, 0, 0, id="LATENTS before HYPER"),
        pytest.param(b"\x02\0", 1, 0, 0, 0, id="no LATENTS"),
        pytest.param(b"", 0, 0, 0, 0, id="nothing"),
        pytest.param(b"\x07\0\x02\0\x03\0", 3, 0, 0, 0, id="reserved type"),
        pytest.param(WHOLE, 1, 0, 0, 1, id="all drawn"),
        pytest.param(FRAME + WHOLE + FRAME + PAIR, 5, 4, 0, 2, id="one frame all drawn"),
        pytest.param(PAIR + PART, 3, 0, 0, 1, id="drawn parts"),
        pytest.param(b"\x01\0" + PAIR + PART, 4, 0, 0x12, 1, id="drawn parts and a map"),
        pytest.param(PART, 1, 0, 0, 0, id="drawn parts without latents"),
        pytest.param(PAIR + WHOLE, 3, 0, 0, 0, id="all drawn, and latents"),
        pytest.param(b"\x01\0" + WHOLE, 2, 0, 0x12, 0, id="all drawn, and a map"),
        pytest.param(b"\x02\0" + WHOLE, 2, 0, 0, 0, id="all drawn, and HYPER"),
        pytest.param(layer(0, 3), 1, 0, 0, 0, id="colours cut off"),
        pytest.param(layer(2), 1, 0, 0, 0, id="an unknown kind of layer"),
        pytest.param(b"\0\0\x02\0\x03\0", 3, 0, 0, 0, id="type 0"),
        pytest.param(b"\x01\0\x02\0\x03\0", 3, 0, 0x12, 1, id="map"),
        pytest.param(PAIR, 2, 0, 0x12, 1, id="uniform map"),
        pytest.param(b"\x01\0\x02\0\x03\0", 3, 0, 0, 0, id="map that the header does not announce"),
        pytest.param(b"\x02\0\x03\0\x04\0", 3, 2, 0, 1, id="alpha"),
        pytest.param(PAIR, 2, 2, 0, 0, id="alpha is missing"),
        pytest.param(b"\x02\0\x03\0\x04\0", 3, 0, 0, 0, id="alpha that the header does not announce"),
        pytest.param((FRAME + PAIR) * 2, 6, 4, 0, 2, id="animation"),
        pytest.param(FRAME + PAIR + b"\x04\0" + FRAME + PAIR, 7, 6, 0, 2, id="alpha in one frame"),
        pytest.param(PAIR, 2, 4, 0, 0, id="animation without FRAME"),
        pytest.param(FRAME + PAIR, 3, 0, 0, 0, id="still picture with FRAME"),
        pytest.param(FRAME[:-1] + b"\x01\x02\0\x03\0", 3, 4, 0, 0, id="flags of a frame"),
        pytest.param(b"\x05\x05" + bytes(5) + b"\x02\0\x03\0", 3, 4, 0, 0, id="short FRAME"),
        pytest.param(b"\x02\x80\0\x03\0", 2, 0, 0, 0, id="length not in its shortest form"),
        pytest.param(b"\x02\x80\x80\x80\x80\0\x03\0", 2, 0, 0, 0, id="length of five bytes"),
        pytest.param(b"\x02\x80\x01" + bytes(128) + b"\x03\0", 2, 0, 0, 1, id="length of two bytes"),
        pytest.param(b"\x02\0\x03\x01", 2, 0, 0, 0, id="payload cut off"),
        pytest.param(b"\x02\0\x03\0\0", 2, 0, 0, 0, id="a byte left over"),
        pytest.param(PAIR, 2, 8, 0, 0, id="unknown flag"),
        pytest.param(PAIR, 2, 0, 0x11, 0, id="one level"),
        pytest.param(PAIR, 2, 0, 0x02, 0, id="cells of 8 pixels"),
        pytest.param(PAIR, 2, 0, 0x72, 0, id="cells of 1024 pixels"),
        pytest.param(PAIR, 2, 0, 0x10, 0, id="cells but no levels"),
    ],
)
def test_container_rules(chunks: bytes, count: int, flags: int, guidance: int, frames: int) -> None:
    """What the page allows is read; what it forbids (0 frames) is refused with right checksums too."""
    data = build(chunks, count, flags, guidance)
    if frames:
        assert len(reader.read_container(data, KNOWN)[1]) == frames
    else:
        with pytest.raises(ValueError, match=r"."):
            reader.read_container(data, KNOWN)


def test_range_decoder_reads_zeros_after_the_end() -> None:
    """An empty payload reads as zeros, so the first symbol again and again; a zero at the end is refused."""
    decoder = reader.RangeDecoder(b"")
    assert [decoder.symbol(reader.cumulate(np.array([1, 65535]))) for _ in range(100)] == [0] * 100
    with pytest.raises(ValueError, match="zero"):
        reader.RangeDecoder(b"\x01\0")


def test_wrong_hash_is_refused() -> None:
    """A file whose latents differ from its header is refused."""
    with pytest.raises(ValueError, match="latent hash"):
        reader.decode(build(PAIR, 2))


def test_animation() -> None:
    """Each frame is decoded by itself; one hash runs through all of them."""
    frame = FRAME + bytes([2, 4, 0x5A, 0x3C, 0x77, 0x19, 3, 5, 0x81, 0x0F, 0xC4, 0x2B, 0x66])
    still, animation = build(frame[8:], 2), build(frame * 2, 6, flags=4)
    model = reader.Model(reader.MODELS / f"ctm-{NEWEST}")
    header, payloads = reader.read_container(animation, KNOWN)
    frames = [reader.read_frame(model, header, each) for each in payloads]
    once = reader.add_to_hash(0, frames[0])
    twice = reader.add_to_hash(once, frames[1])
    assert len(reader.decode(with_hash(still, once)).frames) == 1
    assert len(reader.decode(with_hash(animation, twice)).frames) == 2
    with pytest.raises(ValueError, match="latent hash"):
        reader.decode(with_hash(animation, once))


def with_hash(data: bytes, latent_hash: int) -> bytes:
    """The same file with another latent hash in its header."""
    start = data[:17] + struct.pack("<I", latent_hash)
    return start + struct.pack("<I", zlib.crc32(start)) + data[25:]
