"""Embedded ICC profiles, CMYK and LAB: everything ends in sRGB."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from cotam_cli.images import Wishes, from_pillow, read_picture
from images.making import grey, image_of, row, saved

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
D50 = struct.pack(">3i", 63190, 65536, 54061)


def profile(space, pcs, tags):
    """A small ICC profile (version 2) with the given tags."""
    tags = {b"wtpt": b"XYZ " + bytes(4) + D50, **tags}
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", offset + len(body), b"test", 0x02400000, b"prtr", space, pcs)
    header = (header.ljust(36, b"\0") + b"acsp").ljust(68, b"\0") + D50
    return header.ljust(128, b"\0") + table + body


def cmyk_profile():
    """Sees black ink only: without K the paper is white, with full K black, whatever C, M and Y are."""
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    line = bytes(range(256))
    lightness = b"".join(bytes([0 if node & 1 else 255, 128, 128]) for node in range(16))  # K runs fastest
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + line * 4 + lightness + line * 3
    return profile(b"CMYK", b"Lab ", {b"A2B0": lut})


GREEN_IS_RED = SRGB.tobytes().replace(b"rXYZ", b"temp").replace(b"gXYZ", b"rXYZ").replace(b"temp", b"gXYZ")
LINEAR_GREY = profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv" + bytes(8)})


def test_srgb_changes_nothing():
    every = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), -1).reshape(18, -1, 3)
    data = saved(Image.fromarray(every), icc_profile=SRGB.tobytes())
    assert np.array_equal(read_picture(data).pixels, every)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_swapped_primaries(format):
    data = saved(image_of([(200, 30, 90), (0, 255, 7)], "RGB"), format, icc_profile=GREEN_IS_RED)
    assert np.allclose(row(read_picture(data)), [(30, 200, 90), (255, 0, 7)], atol=1)


def test_transparency_is_flattened_after_the_conversion():
    data = saved(image_of([(200, 30, 90, 255), (200, 30, 90, 0)], "RGBA"), icc_profile=GREEN_IS_RED)
    picture = read_picture(data, wishes=Wishes((1, 2, 3)))
    assert np.allclose(row(picture), [(30, 200, 90), (1, 2, 3)], atol=1)


def test_palette():
    image = image_of([1, 0], "P")
    image.putpalette([200, 30, 90, 0, 255, 7])
    data = saved(image, icc_profile=GREEN_IS_RED)
    assert np.allclose(row(read_picture(data)), [(255, 0, 7), (30, 200, 90)], atol=1)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_linear_grey(mode):
    image = image_of([0, 55, 128, 255], "L").convert(mode)
    data = saved(image, icc_profile=LINEAR_GREY)
    assert np.allclose(row(read_picture(data)), grey(0, 128, 188, 255), atol=1)


def test_grey_with_an_rgb_profile():
    data = saved(image_of([0, 90, 255], "L"), icc_profile=SRGB.tobytes())
    assert row(read_picture(data)) == grey(0, 90, 255)


def test_cmyk_through_its_profile():
    image = image_of([(255, 0, 0, 0), (0, 0, 0, 255)], "CMYK")
    plain = read_picture(saved(image, "TIFF"))
    assert row(plain) == [[0, 255, 255], [0, 0, 0]]
    through = read_picture(saved(image, "TIFF", icc_profile=cmyk_profile()))
    assert np.allclose(row(through), [[255, 255, 255], [0, 0, 0]], atol=1)


def test_adobe_cmyk_jpeg():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixels = read_picture(saved(image, "JPEG", quality=100)).pixels
    assert np.allclose(pixels, [255, 0, 0], atol=3)


def test_lab():
    colours = [(255, 255, 255), (0, 0, 0), (200, 30, 90), (20, 160, 60)]
    lab = ImageCms.profileToProfile(
        image_of(colours, "RGB"), SRGB, ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab.mode == "LAB"
    assert np.allclose(row(from_pillow(lab)), colours, atol=8)  # 8-bit a and b are coarse
    assert row(read_picture(saved(lab, "TIFF"))) == row(from_pillow(lab))
    assert row(from_pillow(image_of([(128, 0, 0)], "LAB"))) == grey(119)  # L* = 50.2


@pytest.mark.parametrize("icc", [b"nonsense", SRGB.tobytes()[:300], cmyk_profile(), LINEAR_GREY])
def test_broken_or_alien_profiles_are_ignored(icc):
    data = saved(image_of([(200, 30, 90)], "RGB"), icc_profile=icc)
    assert row(read_picture(data)) == [[200, 30, 90]]
