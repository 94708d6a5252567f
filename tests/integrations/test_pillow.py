"""The Pillow plugin, as programs that know only Pillow meet it."""

import io
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageSequence, UnidentifiedImageError

import cotam_cli
from cotam_cli.bitstream import Container, pack, parse
from cotam_cli.integrations.pillow import register

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"

register()


@pytest.fixture(scope="module")
def original() -> Image.Image:
    return Image.open(PHOTO).convert("RGB").crop((300, 100, 430, 190))


@pytest.fixture(scope="module")
def coded(original: Image.Image) -> bytes:
    return cotam_cli.encode(original, quality=4)


@pytest.fixture
def path(coded: bytes, tmp_path: Path) -> Path:
    target = tmp_path / "x.ctm"
    target.write_bytes(coded)
    return target


def test_open_reads_the_header_only_and_load_what_decode_gives(coded: bytes) -> None:
    file = io.BytesIO(coded)
    image = Image.open(file)
    assert file.tell() == 25
    assert (image.format, image.size, image.mode) == ("CTM", (130, 90), "RGB")
    assert image.get_format_mimetype() == "image/x-ctm"
    assert image.info["quality"] == 4
    assert np.array_equal(np.asarray(image), np.asarray(cotam_cli.decode(coded)))


def test_from_a_path(path: Path) -> None:
    with Image.open(path) as image:
        file = image.fp
        image.load()
        assert file.closed
        image.load()  # a second time costs nothing and fails not
        assert image.resize((13, 9)).size == (13, 9)
        image.putpixel((0, 0), (1, 2, 3))
        assert image.getpixel((0, 0)) == (1, 2, 3)


def test_a_stream_that_the_caller_owns_stays_open(coded: bytes) -> None:
    file = io.BytesIO(coded)
    with Image.open(file) as image:
        image.load()
    assert not file.closed


def test_the_suffix_does_not_matter(path: Path) -> None:
    other = path.rename(path.with_suffix(".png"))
    assert Image.open(other).format == "CTM"


def test_save(original: Image.Image, coded: bytes, tmp_path: Path) -> None:
    target = tmp_path / "y.CTM"
    original.save(target, quality=4, guide="auto")
    assert target.read_bytes() == coded
    original.save(target, quality=4, guide="none")
    assert target.read_bytes() == cotam_cli.encode(original, quality=4, guide="none")
    buffer = io.BytesIO()
    original.save(buffer, "ctm", optimize=True)
    assert buffer.getvalue() == cotam_cli.encode(original)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
def test_save_from_other_modes(original: Image.Image, mode: str) -> None:
    buffer = io.BytesIO()
    original.convert("L" if mode == "I;16" else "RGB").convert(mode).save(buffer, "CTM")
    assert Image.open(buffer).size == original.size


@pytest.mark.parametrize("mode", ["1", "LA", "P", "CMYK", "LAB", "YCbCr", "HSV", "RGBX", "I;16"])
def test_save_all_gives_what_save_gives(original: Image.Image, mode: str) -> None:
    plain, every, several = io.BytesIO(), io.BytesIO(), io.BytesIO()
    image = original.convert("L") if mode == "I;16" else original
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    else:
        image = image.convert(mode)
    image.save(plain, "CTM")
    image.save(every, "CTM", save_all=True)
    assert every.getvalue() == plain.getvalue()
    image.save(several, "CTM", save_all=True, append_images=[Image.new("RGB", image.size)], duration=[30, 60])
    assert Image.open(several).n_frames == 2


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"quality": 85}, "85"),
        ({"quality": "keep"}, "keep"),
        ({"quality": True}, "True"),
        ({"quality": float("nan")}, "nan"),
        ({"guide": "nonsense"}, "guide"),
    ],
)
def test_wrong_options(original: Image.Image, tmp_path: Path, options: dict[str, object], word: str) -> None:
    target = tmp_path / "z.ctm"
    with pytest.raises(ValueError, match=word):
        original.save(target, **options)
    assert not target.exists()


def test_a_mode_that_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "z.ctm"
    with pytest.raises(OSError, match=r"cannot write this picture as CTM: .*floats"):
        Image.new("F", (4, 4)).save(target)
    with pytest.raises(OSError, match=r"cannot write this picture as CTM: .*floats"):
        Image.new("F", (4, 4)).save(target, save_all=True)
    assert not target.exists()


def test_a_damaged_header_is_not_identified(coded: bytes) -> None:
    with pytest.raises(UnidentifiedImageError, match="damaged"):
        Image.open(io.BytesIO(coded[:10] + b"\x00" + coded[11:]))
    with pytest.raises(UnidentifiedImageError, match="version 9"):
        Image.open(io.BytesIO(coded[:4] + b"\x09" + coded[5:]))
    with pytest.raises(UnidentifiedImageError, match="cut off"):
        Image.open(io.BytesIO(coded[:20]))


@pytest.mark.parametrize("cut", [-1, 30, 60])
def test_a_damaged_body_fails_at_load(coded: bytes, cut: int) -> None:
    image = Image.open(io.BytesIO(coded[:cut]))
    with pytest.raises(OSError, match="cut off"):
        image.load()


def test_an_unknown_model_fails_at_load(coded: bytes) -> None:
    container = parse(coded)
    strange = pack(Container(replace(container.header, model=999), container.chunks))
    image = Image.open(io.BytesIO(strange))
    with pytest.raises(OSError, match="model 999"):
        image.load()


def test_every_cut_and_flip_gives_an_exception_that_pillow_allows(coded: bytes) -> None:
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(coded), 60):
        flipped = coded[:position] + bytes([coded[position] ^ 1 << int(position) % 8]) + coded[position + 1 :]
        for data in (flipped, coded[:position]):
            with pytest.raises(OSError):
                Image.open(io.BytesIO(data)).load()


def test_verify(coded: bytes, path: Path) -> None:
    Image.open(path).verify()
    Image.open(io.BytesIO(coded)).verify()
    with pytest.raises(OSError, match="damaged"):
        Image.open(io.BytesIO(coded[:-8] + bytes([coded[-8] ^ 1]) + coded[-7:])).verify()


def test_verify_of_what_is_loaded(path: Path) -> None:
    image = Image.open(path)
    image.load()
    image.verify()


def test_pillows_bomb_guard_comes_before_decoding(coded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(coded))


def test_the_incremental_parser(coded: bytes) -> None:
    parser = ImageFile.Parser()
    for start in range(0, len(coded), 100):
        parser.feed(coded[start : start + 100])
    assert np.array_equal(np.asarray(parser.close()), np.asarray(cotam_cli.decode(coded)))


def test_pickle_and_copy(path: Path) -> None:
    image = Image.open(path)
    again = pickle.loads(pickle.dumps(image))
    assert np.array_equal(np.asarray(again), np.asarray(image.copy()))


def shades(*values: int) -> list[Image.Image]:
    return [Image.new("RGB", (40, 24), (value,) * 3) for value in values]


def test_animations_come_back_frame_by_frame(tmp_path: Path) -> None:
    first, *others = shades(20, 120, 220)
    target = tmp_path / "x.ctm"
    first.save(target, save_all=True, append_images=others, duration=[40, 80, 120], quality=4)
    with Image.open(target) as image:
        assert (image.n_frames, image.is_animated, image.tell()) == (3, True, 0)
        expected = [np.asarray(frame) for frame, _ in cotam_cli.decode_frames(target)]
        frames = [(np.asarray(frame), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
        assert [duration for _, duration in frames] == [40, 80, 120]
        assert all(np.array_equal(ours, theirs) for (ours, _), theirs in zip(frames, expected, strict=True))
        for number in (0, 2, 1, 1):
            image.seek(number)
            assert image.tell() == number
            assert np.array_equal(np.asarray(image), expected[number])
        with pytest.raises(EOFError):
            image.seek(3)
        assert image.tell() == 1
    with Image.open(target) as image:
        image.save(tmp_path / "x.webp", save_all=True, lossless=True)
    assert Image.open(tmp_path / "x.webp").n_frames == 3


def test_a_still_picture_has_one_frame(coded: bytes) -> None:
    image = Image.open(io.BytesIO(coded))
    assert (image.n_frames, image.is_animated) == (1, False)
    image.seek(0)
    with pytest.raises(EOFError):
        image.seek(1)
    assert "duration" not in image.info


def test_a_damaged_animation(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    first, *others = shades(20, 120)
    first.save(buffer, "CTM", save_all=True, append_images=others)
    image = Image.open(io.BytesIO(buffer.getvalue()[:-9]))
    with pytest.raises(OSError, match="cut off"):
        _ = image.n_frames
    with pytest.raises(OSError, match="cut off"):
        image.load()


def test_transparency(original: Image.Image) -> None:
    see_through = original.copy()
    see_through.putalpha(Image.linear_gradient("L").resize(original.size))
    kept, flat = io.BytesIO(), io.BytesIO()
    see_through.save(kept, "CTM", alpha=True)
    see_through.save(flat, "CTM")
    assert Image.open(flat).mode == "RGB"
    image = Image.open(kept)
    assert image.mode == "RGBA"
    assert np.array_equal(np.asarray(image.getchannel("A")), np.asarray(see_through.getchannel("A")))


def test_other_formats_are_left_alone(original: Image.Image) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF"):
        buffer = io.BytesIO()
        original.save(buffer, kind)
        assert Image.open(buffer).format == kind
    with pytest.raises(UnidentifiedImageError, match="cannot identify"):
        Image.open(io.BytesIO(b"\x89CTL" + bytes(40)))


def test_importing_the_short_name_registers(path: Path) -> None:
    script = (
        "import sys, cotam_cli.pillow\nfrom PIL import Image\n"
        "assert 'onnxruntime' not in sys.modules\n"
        f"print(Image.open({str(path)!r}).size, 'numpy' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "(130, 90) False"


def test_a_budget_and_effort(original: Image.Image) -> None:
    small, fine, bad = io.BytesIO(), io.BytesIO(), io.BytesIO()
    original.save(small, "CTM", max_bytes=800)
    original.save(fine, "CTM", quality=np.float32(3), effort=1)
    assert len(small.getvalue()) <= 800
    assert fine.getvalue() == cotam_cli.encode(original, effort=1)
    with pytest.raises(ValueError, match="effort"):
        original.save(bad, "CTM", effort=11)


def test_a_long_animation_is_one(coded: bytes) -> None:
    frames = [Image.new("RGB", (32, 32), (5 * k, 0, 0)) for k in range(3)]
    parts = io.BytesIO()
    frames[0].save(parts, "CTM", save_all=True, append_images=frames[1:], duration=50, quality=8)
    with Image.open(io.BytesIO(2 * parts.getvalue())) as image:
        assert image.n_frames == 6
        reds = [frame.convert("RGB").getpixel((16, 16))[0] for frame in ImageSequence.Iterator(image)]
        image.verify()
    assert np.abs(np.array(reds) - [0, 5, 10, 0, 5, 10]).max() <= 3
