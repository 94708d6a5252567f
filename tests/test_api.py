"""The library's face."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cotam_cli
from cotam_cli.bitstream import Chunk, ChunkType, pack, parse
from cotam_cli.codec import animation

PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.asarray(Image.open(PHOTO).convert("RGB"))[100:190, 300:430]


def test_every_source_gives_the_same_file(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    files = {
        cotam_cli.encode(s, quality=2) for s in (pixels, path, str(path), path.read_bytes(), Image.open(path))
    }
    assert len(files) == 1


def test_round_trip_and_info(pixels: np.ndarray, tmp_path: Path) -> None:
    data = cotam_cli.encode(pixels, quality=3.25)
    picture = cotam_cli.decode(data)
    assert picture.size == (130, 90)
    assert picture.mode == "RGB"
    facts = cotam_cli.info(data)
    assert (facts.width, facts.height, facts.quality, facts.bytes) == (130, 90, 3.25, len(data))
    path = tmp_path / "x.ctm"
    path.write_bytes(data)
    assert cotam_cli.info(path) == facts
    assert np.array_equal(np.asarray(cotam_cli.decode(path)), np.asarray(picture))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (64, 65)])
def test_any_size_comes_back(size: tuple[int, int]) -> None:
    height, width = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cotam_cli.decode(cotam_cli.encode(pixels)).size == (width, height)


@pytest.mark.parametrize("quality", [0.99, 8.01, -1, float("nan"), float("inf")])
def test_quality_out_of_range(pixels: np.ndarray, quality: float) -> None:
    with pytest.raises(cotam_cli.CotamError, match="quality"):
        cotam_cli.encode(pixels, quality=quality)


@pytest.mark.parametrize(
    "pixels", [np.zeros(4, np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_wrong_arrays(pixels: np.ndarray) -> None:
    with pytest.raises(cotam_cli.CotamError, match="uint8"):
        cotam_cli.encode(pixels)


def test_unknown_guide_and_target(pixels: np.ndarray) -> None:
    with pytest.raises(cotam_cli.CotamError, match="guide"):
        cotam_cli.encode(pixels, guide="nonsense")
    with pytest.raises(cotam_cli.CotamError, match="target"):
        cotam_cli.decode(cotam_cli.encode(pixels), target="nonsense")  # type: ignore[arg-type]


@pytest.mark.parametrize("exif", [b"garbage", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff"])
def test_broken_exif_does_not_stop_anybody(pixels: np.ndarray, exif: bytes) -> None:
    container = parse(cotam_cli.encode(pixels))
    data = pack(replace(container, chunks=(Chunk(ChunkType.EXIF, exif), *container.chunks)))
    image = cotam_cli.decode(data)
    assert "exif" not in image.info
    image.save(io.BytesIO(), "AVIF")


def test_an_animation_is_cut_where_a_reader_would_refuse_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [Image.new("RGB", (64, 64), (40 * k, 0, 0)) for k in range(5)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=50)
    monkeypatch.setattr(animation, "MAX_PIXELS", 2 * 64 * 64 + 10)
    with pytest.raises(cotam_cli.CotamError, match="more frames"):
        cotam_cli.encode(tmp_path / "a.png")


def test_pixel_limit(pixels: np.ndarray) -> None:
    with pytest.raises(cotam_cli.CotamError, match="limit"):
        cotam_cli.decode(cotam_cli.encode(pixels), max_pixels=1000)


def test_a_stream_of_files_is_read_as_one(pixels: np.ndarray, tmp_path: Path) -> None:
    one, two = cotam_cli.encode(pixels), cotam_cli.encode(pixels[::-1])
    frames = [np.asarray(image) for image, _ in cotam_cli.decode_frames(one + two)]
    assert np.array_equal(frames[0], np.asarray(cotam_cli.decode(one + two)))
    assert np.array_equal(frames[1], np.asarray(cotam_cli.decode(two)))
    with pytest.raises(cotam_cli.CotamError, match="several"):
        cotam_cli.info(one + two)
    with pytest.raises(cotam_cli.CotamError, match="goes on 3 bytes"):
        list(cotam_cli.decode_frames(one + two + b"abc"))


def test_open_files_grey_and_alpha(pixels: np.ndarray) -> None:
    with PHOTO.open("rb") as file:
        assert cotam_cli.encode(file, max_side=64) == cotam_cli.encode(PHOTO, max_side=64)
    grey = cotam_cli.decode(cotam_cli.encode(pixels[..., 0]))
    assert np.abs(np.diff(np.asarray(grey).astype(int), axis=-1)).mean() < 3
    clear = np.dstack([pixels, np.full(pixels.shape[:2], 100, np.uint8)])
    assert cotam_cli.decode(cotam_cli.encode(clear, alpha=True)).getchannel("A").getextrema() == (100, 100)


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ({"target_bpp": float("inf")}, "target_bpp"),
        ({"target_bpp": float("nan")}, "target_bpp"),
        ({"max_bytes": float("nan")}, "max_bytes"),
        ({"effort": 1.0}, "effort"),
        ({"background": (1, 2)}, "background"),
    ],
)
def test_values_that_are_none(pixels: np.ndarray, option: dict[str, object], word: str) -> None:
    with pytest.raises(cotam_cli.CotamError, match=word):
        cotam_cli.encode(pixels, **option)  # type: ignore[arg-type]
