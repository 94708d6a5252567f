"""Measuring over a ladder: averages, and results that are kept."""

import io

import numpy as np
import pytest
from PIL import Image

from cotam_cli.bench import ladder
from cotam_cli.bench.codecs import Codec, anchors
from cotam_cli.bench.ladder import Measured, Point, average, measure, measure_picture, measure_pictures
from cotam_cli.bench.pictures import content_hash, find_pictures, load_pixels
from cotam_cli.errors import CotamError


def save(path, value, size=(40, 32)):
    pixels = np.random.default_rng(value).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def shifting(version="1", **options):
    """Adds its setting to every pixel; its files are PNG. `calls` counts."""
    calls = []

    def encode(pixels, setting):
        calls.append(setting)
        out = io.BytesIO()
        Image.fromarray(pixels // 2 + np.uint8(setting)).save(out, "PNG")
        return out.getvalue()

    def decode(data):
        return np.asarray(Image.open(io.BytesIO(data)))

    return Codec("shifting", version, (1.0, 2.0, 3.0), (1.0, 2.0, 3.0), encode, decode, **options), calls


def test_a_point():
    pixels = np.zeros((16, 32, 3), np.uint8)
    codec, _ = shifting()
    point = measure(codec, pixels, 3.0)
    assert point.bpp == 8 * point.bytes / (16 * 32)
    assert point.psnr == pytest.approx(10 * np.log10(255**2 / 9))
    assert point.ms_ssim is None


def test_unchanged_pictures_count_as_100_db():
    codec, _ = shifting()
    assert measure(codec, np.zeros((16, 32, 3), np.uint8), 0.0).psnr == 100


def test_results_are_kept_by_content_and_version(tmp_path):
    cache = tmp_path / "cache"
    save(tmp_path / "a.png", 1)
    save(tmp_path / "same.bmp", 1)
    save(tmp_path / "other.png", 2)
    codec, calls = shifting()
    first = measure_picture(tmp_path / "a.png", [codec], cache)
    assert calls == [1, 2, 3]
    again = measure_picture(tmp_path / "same.bmp", [codec], cache)
    assert calls == [1, 2, 3]
    assert again.points == first.points
    measure_picture(tmp_path / "other.png", [codec], cache)
    assert len(calls) == 6
    newer, newer_calls = shifting("2")
    measure_picture(tmp_path / "a.png", [newer], cache)
    assert len(newer_calls) == 3


def test_a_longer_ladder_costs_only_what_is_new(tmp_path):
    save(tmp_path / "a.png", 1)
    codec, _ = shifting()
    measure_picture(tmp_path / "a.png", [codec], tmp_path / "cache")
    longer, calls = shifting()
    longer = Codec(**{**vars(longer), "ladder": (3.0, 4.0, 1.0)})
    points = measure_picture(tmp_path / "a.png", [longer], tmp_path / "cache").points["shifting"]
    assert calls == [4.0]
    assert [point.setting for point in points] == [3.0, 4.0, 1.0]


def test_a_codec_may_ask_not_to_be_kept(tmp_path):
    save(tmp_path / "a.png", 1)
    codec, calls = shifting(cache=False)
    for _ in range(2):
        measure_picture(tmp_path / "a.png", [codec], tmp_path / "cache")
    assert len(calls) == 6
    assert not (tmp_path / "cache").exists()


def test_worker_processes_give_the_same(tmp_path):
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        save(path, k)
    jpeg = anchors()[0][:1]
    alone = list(measure_pictures(paths, jpeg, workers=1))
    assert [measured.name for measured in alone] == ["0.png", "1.png", "2.png"]
    assert list(measure_pictures(paths, jpeg, workers=2, cache=tmp_path / "cache")) == alone


def test_averages():
    def measured(scale, similar):
        points = tuple(Point(k, 10 * k * scale, 0.1 * k * scale, 30 + k, similar) for k in (1, 2))
        return Measured(f"{scale}", {"x": points})

    one, two = average([measured(1, 0.5), measured(3, None)], "x")
    assert (one.setting, one.bytes, one.psnr, one.ms_ssim) == (1, 20, 31, 0.5)
    assert two.bpp == pytest.approx(0.4)
    assert average([measured(1, None)], "x")[0].ms_ssim is None


def test_folders_of_pictures(tmp_path):
    for k in range(10):
        save(tmp_path / f"{k}.png", k)
    (tmp_path / "notes.txt").write_text("not a picture")
    assert len(find_pictures(tmp_path)) == 10
    assert [path.name for path in find_pictures(tmp_path, 4)] == ["0.png", "2.png", "5.png", "7.png"]
    with pytest.raises(CotamError, match="holds no pictures"):
        find_pictures(tmp_path / "none")


def test_the_content_hash_sees_pixels_and_size_only(tmp_path):
    pixels = save(tmp_path / "a.png", 1)
    save(tmp_path / "a.webp.png", 2)
    assert content_hash(load_pixels(tmp_path / "a.png")) == content_hash(pixels)
    assert content_hash(pixels) != content_hash(pixels.reshape(40, 32, 3))


def test_half_written_results_do_not_stay(tmp_path, monkeypatch):
    save(tmp_path / "a.png", 1)
    codec, _ = shifting()
    monkeypatch.setattr(ladder, "ms_ssim", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure_picture(tmp_path / "a.png", [codec], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
