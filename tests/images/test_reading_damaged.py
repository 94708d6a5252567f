"""Bad files give a picture or one ImageError of one line, never anything else."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from cotam_cli.errors import ImageError
from cotam_cli.images import Picture, read_picture


def seeds():
    """Small files of every common format, with the metadata that makes parsers stumble."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    image, exif = Image.fromarray(noise), Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "camera"
    meta = {"exif": exif, "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    options = {
        "png": (image, "PNG", meta),
        "png-palette": (image.quantize(8), "PNG", {"transparency": bytes(range(8))}),
        "jpeg": (image, "JPEG", meta),
        "jpeg-progressive": (image, "JPEG", {"progressive": True}),
        "gif": (image.quantize(8), "GIF", {"save_all": True, "append_images": [image.convert("L")]}),
        "tiff": (image, "TIFF", {"exif": exif}),
        "tiff-lzw": (image, "TIFF", {"compression": "tiff_lzw"}),
        "webp": (image, "WEBP", {"exif": exif}),
        "webp-alpha": (image.convert("RGBA"), "WEBP", {"lossless": True}),
        "bmp": (image, "BMP", {}),
        "ppm": (image, "PPM", {}),
    }
    files = {}
    for name, (picture, format, extra) in options.items():
        buffer = io.BytesIO()
        picture.save(buffer, format, **extra)
        files[name] = buffer.getvalue()
    return files


SEEDS = seeds()


def survive(data):
    """Read `data`; whether it gave a picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of corrupt EXIF, libtiff of odd tags
            picture = read_picture(data, name="bad.bin")
    except ImageError as error:
        assert str(error).startswith("bad.bin: ")
        assert len(str(error).splitlines()) == 1
        return False
    assert isinstance(picture, Picture)
    return True


@pytest.mark.parametrize("name", SEEDS)
def test_every_truncation(name):
    data = SEEDS[name]
    assert survive(data)
    kept = [survive(data[:length]) for length in range(len(data))]
    assert not all(kept)


@settings(max_examples=400, deadline=None)
@given(
    data=st.sampled_from(sorted(SEEDS.values())),
    flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes(data, flips):
    broken = bytearray(data)
    for place, mask in flips:
        broken[place % len(broken)] ^= mask
    survive(bytes(broken))


@settings(max_examples=200, deadline=None)
@given(start=st.sampled_from([data[:12] for data in SEEDS.values()] + [b""]), rest=st.binary(max_size=200))
def test_garbage(start, rest):
    survive(start + rest)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty, 0 bytes; give a picture file"),
        (b"\x89CTM\x01", "this is already a .ctm; use `cotam decode`"),
        (b"hello, world", "not a picture of a known format; give PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP"),
        (SEEDS["jpeg-progressive"][:-60], "damaged or cut off (image file is truncated"),
    ],
)
def test_messages_say_what_and_what_to_do(data, message):
    with pytest.raises(ImageError) as caught:
        read_picture(data, name="a.png")
    assert str(caught.value).startswith(f"a.png: {message}")


def png_header(width, height):
    """A PNG that claims a size and holds nothing."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")):
        parts.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    with pytest.raises(ImageError, match="too many pixels to decode safely"):
        read_picture(png_header(60_000, 60_000))
    with pytest.raises(ImageError, match="over 65535 on a side"):
        read_picture(png_header(65_536, 2))


def test_warnings_turned_into_errors_are_explained_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="too many pixels"):
            read_picture(png_header(10_000, 10_000))


def test_a_broken_exif_block_costs_only_the_orientation():
    buffer = io.BytesIO()
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    Image.fromarray(pixels).save(buffer, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\x12\x01" * 9)
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        assert np.array_equal(read_picture(buffer.getvalue()).pixels, pixels)
