"""Every mode, colour space and orientation, on pictures small enough to write down the pixels."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cotam_cli.errors import ImageError
from cotam_cli.images import MAX_PIXELS, Picture, Wishes, from_pillow, read_picture
from cotam_cli.images.picture import check_size
from images.making import grey, image_of, row, saved

BLOCK = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3) * 7


class TestModes:
    def test_rgb_is_kept_byte_for_byte(self):
        picture = read_picture(saved(Image.fromarray(BLOCK)))
        assert (picture.width, picture.height) == (4, 3)
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.flags.c_contiguous
        assert np.array_equal(picture.pixels, BLOCK)

    def test_rgbx_drops_the_fourth_byte(self):
        assert row(from_pillow(image_of([(9, 8, 7, 3)], "RGBX"))) == [[9, 8, 7]]

    def test_grey_gives_three_equal_channels(self):
        assert row(read_picture(saved(image_of([0, 7, 255], "L")))) == grey(0, 7, 255)

    def test_one_bit_gives_black_and_white(self):
        image = image_of([0, 255, 7, 255], "L").point(lambda v: 255 if v > 127 else 0).convert("1")
        assert row(read_picture(saved(image))) == grey(0, 255, 0, 255)

    def test_palette(self):
        image = image_of([0, 2, 1], "P")
        image.putpalette([1, 2, 3, 40, 50, 60, 255, 0, 9])
        assert row(read_picture(saved(image))) == [[1, 2, 3], [255, 0, 9], [40, 50, 60]]

    def test_ycbcr_and_hsv_take_pillows_formula(self):
        for mode in ("YCbCr", "HSV"):
            image = Image.fromarray(BLOCK).convert(mode)
            assert np.array_equal(from_pillow(image).pixels, np.asarray(image.convert("RGB")))

    def test_the_callers_image_is_left_alone(self):
        image = image_of([(10, 20, 30, 128)], "RGBA")
        from_pillow(image)
        assert (image.mode, image.getpixel((0, 0))) == ("RGBA", (10, 20, 30, 128))

    @pytest.mark.parametrize("mode", ["F", "EPS"])
    def test_kinds_that_are_refused(self, mode):
        floats = mode == "F"
        image = image_of([0.5], "F", np.float32) if floats else Image.fromarray(BLOCK)
        data = saved(image, "TIFF" if floats else "EPS")
        with pytest.raises(ImageError, match=r"first$"):
            read_picture(data)


class TestTransparency:
    def test_rgba_lies_on_white_rounded_to_nearest(self):
        pixels = [(100, 0, 9, 0), (100, 0, 9, 255), (100, 0, 9, 51)]  # 51 / 255 = 1/5
        assert row(read_picture(saved(image_of(pixels, "RGBA")))) == [
            [255, 255, 255],
            [100, 0, 9],
            [224, 204, 206],  # 255 - 31, 255 - 51, 255 - 49.2
        ]

    def test_another_background(self):
        data = saved(image_of([(200, 0, 0, 0), (200, 0, 0, 51)], "RGBA"))
        assert row(read_picture(data, wishes=Wishes((0, 10, 20)))) == [[0, 10, 20], [40, 8, 16]]

    def test_grey_with_alpha(self):
        data = saved(image_of([(0, 255), (0, 51), (100, 0)], "LA"))
        assert row(read_picture(data)) == grey(0, 204, 255)

    def test_premultiplied(self):
        assert row(from_pillow(image_of([(20, 0, 51, 51)], "RGBa"))) == [[224, 204, 255]]
        assert row(from_pillow(image_of([(0, 51)], "La"))) == grey(204)

    def test_palette_with_alpha_values_and_with_one_clear_entry(self):
        image = image_of([0, 1, 2], "P")
        image.putpalette([0, 0, 0, 40, 50, 60, 255, 0, 9])
        half = saved(image, transparency=bytes([51, 255, 0]))
        assert row(read_picture(half)) == [[204, 204, 204], [40, 50, 60], [255, 255, 255]]
        clear = saved(image, "GIF", transparency=1)
        assert row(read_picture(clear)) == [[0, 0, 0], [255, 255, 255], [255, 0, 9]]

    def test_palette_with_an_alpha_channel(self):
        image = image_of([(1, 255), (0, 0)], "PA")
        image.putpalette([9, 9, 9, 40, 50, 60])
        assert row(from_pillow(image)) == [[40, 50, 60], [255, 255, 255]]

    @pytest.mark.parametrize(
        ("image", "key", "expected"),
        [
            (image_of([3, 4], "L"), 3, grey(255, 4)),
            (image_of([(1, 2, 3), (1, 2, 4)], "RGB"), (1, 2, 3), [[255, 255, 255], [1, 2, 4]]),
            (image_of([771, 772], "I;16", np.uint16), 772, grey(3, 255)),
        ],
        ids=["grey", "RGB", "16-bit grey"],
    )
    def test_a_png_colour_declared_transparent(self, image, key, expected):
        assert row(read_picture(saved(image, transparency=key))) == expected


class TestDeepGrey:
    values = (0, 128, 129, 257, 386, 32767, 65407, 65535)
    expected = grey(0, 0, 1, 1, 2, 127, 255, 255)  # 128/257 < 1/2; 386/257 > 1.5; 32767/257 < 127.5

    @pytest.mark.parametrize(("mode", "dtype"), [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "i4")])
    def test_scaled_by_257_and_rounded(self, mode, dtype):
        assert row(from_pillow(image_of(self.values, mode, dtype))) == self.expected

    @pytest.mark.parametrize("format", ["PNG", "TIFF"])
    def test_in_files(self, format):
        assert row(read_picture(saved(image_of(self.values, "I;16", "<u2"), format))) == self.expected

    @pytest.mark.parametrize("value", [-1, 65536, -(2**31), 2**31 - 1])
    def test_integers_outside_16_bits_are_refused(self, value):
        with pytest.raises(ImageError, match=r"scale them to 0\.\.65535 first"):
            from_pillow(image_of([5, value], "I", "i4"))

    def test_rgb_of_16_bits_comes_as_pillow_delivers_it(self):
        body = struct.pack(">3H", 0x12FF, 0x8000, 0xFFFF)
        assert row(read_picture(b"P6 1 1 65535\n" + body)) == [[0x13, 0x80, 0xFF]]
        header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
        chunks = {b"IHDR": header, b"IDAT": zlib.compress(b"\0" + body)}
        png = b"\x89PNG\r\n\x1a\n"
        for name, data in chunks.items():
            png += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        assert row(read_picture(png)) == [[0x12, 0x80, 0xFF]]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (0, lambda a: a),  # not in the standard
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90),
        (9, lambda a: a),
    ],
)
def test_orientation_is_applied(format, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(Image.fromarray(BLOCK), format, exif=exif, **options)
    assert np.array_equal(read_picture(data).pixels, upright(BLOCK))


def test_orientation_with_transparency_and_deep_grey():
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = saved(image_of([0, 65535], "I;16", "<u2"), exif=exif)
    assert read_picture(deep).pixels[:, 0, 0].tolist() == [0, 255]
    clear = saved(image_of([(0, 0), (0, 255)], "LA"), exif=exif)
    assert read_picture(clear).pixels[:, 0, 0].tolist() == [255, 0]


def test_the_first_frame_of_an_animation():
    frames = [image_of([value] * 2, "L") for value in (10, 20, 30)]
    for format in ("GIF", "PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert row(read_picture(data)) == grey(10, 10), format


class TestLimits:
    def test_a_side_over_16_bits(self):
        with pytest.raises(ImageError, match="65536x1 is over 65535 on a side"):
            from_pillow(Image.new("1", (65536, 1)))
        assert from_pillow(Image.new("1", (65535, 1))).width == 65535

    def test_no_pixels(self):
        with pytest.raises(ImageError, match="0x5 holds no pixels"):
            from_pillow(Image.new("RGB", (0, 5)))

    def test_the_formats_pixel_limit(self):
        from cotam_cli import bitstream

        assert bitstream.MAX_PIXELS == MAX_PIXELS
        check_size(16384, 16384)
        with pytest.raises(ImageError, match="over 268435456 pixels"):
            check_size(16384, 16385)

    @pytest.mark.parametrize(
        "pixels",
        [
            np.zeros((4, 4), np.uint8),
            np.zeros((4, 4, 4), np.uint8),
            np.zeros((4, 4, 3), np.float32),
            np.zeros((4, 4, 3), np.uint8)[:, ::2],
        ],
    )
    def test_pixels_of_another_form(self, pixels):
        with pytest.raises(ImageError, match="give a C-contiguous uint8 array"):
            Picture(pixels)
