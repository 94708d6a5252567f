"""What is kept on request: transparency, colours, metadata, frames; and smaller pictures."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from cotam_cli.errors import ImageError
from cotam_cli.images import (
    Metadata,
    Output,
    Wishes,
    encode_animation,
    encode_picture,
    from_pillow,
    read_frames,
    read_picture,
)
from cotam_cli.images.metadata import upright_exif
from cotam_cli.images.scaling import fit


def file_of(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def half_clear() -> Image.Image:
    image = Image.new("RGBA", (40, 20), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))  # black where nothing is seen
    image.putpixel((19, 10), (200, 30, 30, 128))
    return image


def test_alpha_is_kept_and_hidden_colours_are_not_black() -> None:
    picture = read_picture(file_of(half_clear()), wishes=Wishes(alpha=True))
    assert np.array_equal(picture.alpha, np.asarray(half_clear().getchannel("A")))
    assert picture.pixels[:, :20].min(axis=(0, 1)).tolist() == pytest.approx([200, 30, 30], abs=6)


def test_alpha_is_flattened_onto_the_background_otherwise() -> None:
    picture = read_picture(file_of(half_clear()), wishes=Wishes(background=(0, 0, 255)))
    assert picture.alpha is None
    assert picture.pixels[0, 0].tolist() == [0, 0, 255]


def test_opaque_alpha_is_dropped() -> None:
    opaque = Image.new("RGBA", (4, 4), (1, 2, 3, 255))
    assert read_picture(file_of(opaque), wishes=Wishes(alpha=True)).alpha is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_max_side(kind: str) -> None:
    image = Image.effect_noise((3000, 1500), 60).convert("RGB")
    picture = read_picture(file_of(image, kind), wishes=Wishes(max_side=300))
    assert (picture.width, picture.height) == (300, 150)
    assert picture.original_size == (3000, 1500)
    assert picture.pixels.std() < 12  # noise averages out: no aliasing
    same = read_picture(file_of(image.crop((0, 0, 300, 200)), kind), wishes=Wishes(max_side=300))
    assert (same.width, same.height, same.original_size) == (300, 200, None)


def test_max_side_of_a_picture_on_its_side() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file_of(Image.new("RGB", (80, 40)), "JPEG", exif=exif)
    picture = read_picture(data, wishes=Wishes(max_side=20))
    assert (picture.width, picture.height) == (10, 20)
    assert picture.original_size == (40, 80)


def test_scaling_weighs_by_alpha() -> None:
    picture = read_picture(file_of(half_clear()), wishes=Wishes(alpha=True, max_side=8))
    assert picture.alpha.shape == (4, 8)
    assert picture.pixels[2, 5].tolist() == pytest.approx([200, 30, 30], abs=3)


def test_metadata_is_left_out_unless_kept_and_comes_back_upright() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 8, "Maker"
    exif.get_ifd(0x8825)[1] = "N"
    xmp = b'<x tiff:Orientation="8"/><y><tiff:Orientation>3</tiff:Orientation></y>'
    data = file_of(Image.new("RGB", (32, 16)), "JPEG", exif=exif, xmp=xmp)
    assert read_picture(data).metadata == Metadata()
    picture = read_picture(data, wishes=Wishes(keep_metadata=True))
    assert (picture.width, picture.height) == (16, 32)
    for kind in ("png", "jpg", "webp", "avif"):
        back = Image.open(io.BytesIO(encode_picture(picture.pixels, kind, metadata=picture.metadata)))
        back.load()
        found = back.getexif()
        assert (found[0x0112], found[0x010F], found.get_ifd(0x8825)) == (1, "Maker", {1: "N"}), kind
        assert back.info["xmp"] == xmp.replace(b"8", b"1").replace(b"3", b"1"), kind


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_the_orientation_changes(order: str) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    turned, upright = (struct.pack(order + "HHIHH", 0x0112, 3, 1, value, 0) for value in (6, 1))
    entries = turned + struct.pack(order + "HHII", 0x9999, 4, 1, 77)
    exif = mark + struct.pack(order + "IH", 8, 2) + entries + bytes(4) + b"maker's own"
    wanted = exif.replace(turned, upright)
    assert upright_exif(b"Exif\0\0" + exif) == wanted


@pytest.mark.parametrize(
    "exif", [b"", b"junk", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_broken_exif_is_left_out(exif: bytes) -> None:
    assert upright_exif(exif) is None


def wide() -> bytes:
    """A profile whose red is sRGB's green, so that conversion shows."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_icc_is_kept_on_request_only_for_rgb() -> None:
    profile = wide()  # made once: it holds the time of its making
    data = file_of(Image.new("RGB", (8, 8), (10, 200, 30)), icc_profile=profile)
    assert read_picture(data).metadata.icc is None
    kept = read_picture(data, wishes=Wishes(keep_icc=True))
    assert kept.metadata.icc == profile
    assert kept.pixels[0, 0].tolist() == [10, 200, 30]
    back = Image.open(io.BytesIO(encode_picture(kept.pixels, "png", metadata=kept.metadata)))
    assert back.info["icc_profile"] == profile
    grey = file_of(Image.new("L", (8, 8), 99), icc_profile=b"broken")
    assert read_picture(grey, wishes=Wishes(keep_icc=True)).metadata.icc is None


def clip(kind: str, **options) -> bytes:
    frames = [Image.new("RGB", (24, 16), (40 * k, 255 - 40 * k, 10)) for k in range(4)]
    return file_of(
        frames[0], kind, save_all=True, append_images=frames[1:], duration=[20, 40, 60, 80], **options
    )


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_and_durations(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    frames = list(read_frames(clip(kind, **options)))
    assert [duration for _, duration in frames] == [20, 40, 60, 80]
    for number, (picture, _) in enumerate(frames):
        assert picture.pixels[3, 3].tolist() == pytest.approx([40 * number, 255 - 40 * number, 10], abs=3)


def test_a_still_has_one_frame_without_duration() -> None:
    ((picture, duration),) = read_frames(file_of(Image.new("RGB", (5, 4))))
    assert (picture.width, picture.height, duration) == (5, 4, None)


def test_pages_are_no_animation() -> None:
    pages = [Image.new("RGB", (5, 4)), Image.new("RGB", (9, 9))]
    data = file_of(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [(p.width, duration) for p, duration in read_frames(data)] == [(5, None)]


@pytest.mark.parametrize("kind", ["png", "webp", "avif", "npy"])
def test_animations_are_written(kind: str) -> None:
    frames = [Output(np.full((16, 24, 3), 60 * k, np.uint8), None, 20 * (k + 1)) for k in range(3)]
    data = encode_animation(frames, kind)
    if kind == "npy":
        assert np.load(io.BytesIO(data)).shape == (3, 16, 24, 3)
        return
    image = Image.open(io.BytesIO(data))
    assert image.n_frames == 3
    durations = []
    for k in range(3):
        image.seek(k)
        image.load()
        durations.append(round(image.info["duration"]))
    assert durations == [20, 40, 60]


def test_formats_without_alpha_or_frames() -> None:
    alpha = np.zeros((4, 4), np.uint8)
    pixels = np.zeros((4, 4, 3), np.uint8)
    ppm = encode_picture(pixels, "ppm", alpha=alpha, background=(7, 8, 9))
    assert np.asarray(Image.open(io.BytesIO(ppm)))[0, 0].tolist() == [7, 8, 9]
    assert np.load(io.BytesIO(encode_picture(pixels, "npy", alpha=alpha))).shape == (4, 4, 4)
    with pytest.raises(Exception, match="numbered"):
        encode_animation([Output(pixels, None, 1)], "jpg")


def test_metadata_too_large_for_a_format_is_told() -> None:
    with pytest.raises(ImageError, match="another format"):
        encode_picture(np.zeros((4, 4, 3), np.uint8), "jpg", metadata=Metadata(exif=b"II*\0" + bytes(70_000)))


def test_fit_never_scales_up() -> None:
    pixels = np.zeros((30, 60, 3), np.uint8)
    assert fit(pixels, None, (100, 100))[0] is pixels
    small, alpha = fit(pixels, np.zeros((30, 60), np.uint8), (20, 20))
    assert (small.shape, alpha.shape) == ((10, 20, 3), (10, 20))


def test_a_pillow_image_stays_as_it_is() -> None:
    image = half_clear()
    from_pillow(image, wishes=Wishes(alpha=True, max_side=8))
    assert (image.size, image.mode) == ((40, 20), "RGBA")
