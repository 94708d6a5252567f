"""Picture files as we write them: chosen by name, and without loss but for JPEG."""

import io

import numpy as np
import pytest
from PIL import Image

from cotam_cli.errors import CotamError, ImageError
from cotam_cli.images import encode_picture, format_for, picture

PIXELS = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize(
    ("path", "explicit", "expected"),
    [
        ("a.png", None, "png"),
        ("a.JPEG", None, "jpg"),
        ("folder.x/a.webp", None, "webp"),
        ("a.ppm", None, "ppm"),
        ("-", None, "png"),
        ("/dev/stdout", None, "png"),
        ("a.png", "WebP", "webp"),
        ("a.xyz", ".jpg", "jpg"),
    ],
)
def test_chosen_by_name_or_by_word(path, explicit, expected):
    assert format_for(path, explicit) == expected


@pytest.mark.parametrize(("path", "explicit"), [("a.bmp", None), ("a.png", "tiff"), ("a.png", "")])
def test_unknown(path, explicit):
    with pytest.raises(CotamError, match="choose one of png, jpg, webp, avif, ppm, npy"):
        format_for(path, explicit)


@pytest.mark.parametrize("format", ["png", "webp", "ppm"])
def test_lossless(format):
    with Image.open(io.BytesIO(encode_picture(PIXELS, format))) as image:
        assert image.format == format.upper()
        assert np.array_equal(np.asarray(image), PIXELS)


@pytest.mark.parametrize("format", ["jpg", "jpeg"])
def test_jpeg_is_close(format):
    ramp = np.stack([np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))] * 3, -1)
    with Image.open(io.BytesIO(encode_picture(ramp, format))) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - ramp).max() <= 4


def test_views_are_accepted():
    view = PIXELS[::-1, ::2]
    with Image.open(io.BytesIO(encode_picture(view, "png"))) as image:
        assert np.array_equal(np.asarray(image), view)


@pytest.mark.parametrize(("format", "width"), [("webp", 16384), ("jpg", 65501)])
def test_too_large_for_the_format(format, width):
    with pytest.raises(ImageError, match="write png or ppm"):
        encode_picture(np.zeros((1, width, 3), np.uint8), format)
    assert encode_picture(np.zeros((1, width - 1, 3), np.uint8), format)


def test_other_pixels():
    with pytest.raises(ImageError, match="give uint8"):
        encode_picture(PIXELS.astype(np.float32), "png")


def test_pictures_over_the_limit_for_reading_are_written(monkeypatch):
    monkeypatch.setattr(picture, "MAX_PIXELS", 10)
    assert encode_picture(PIXELS, "ppm").endswith(PIXELS.tobytes())
