"""Crops at equal bytes, and the map that a .ctm file carries."""

import numpy as np

from bench.making import save, scene
from cotam_cli.bench.codecs import anchors
from cotam_cli.bench.exhibits import busiest, importance_map, make_exhibits
from cotam_cli.bench.measuring import Job, measure
from cotam_cli.codec.analysis import MapSpec
from cotam_cli.codec.encoder import encode_pixels


def test_the_window_with_the_most_edges():
    pixels = np.full((800, 1000, 3), 128, np.uint8)
    pixels[448:640, 640:900:2] = 255
    left, top, width, height = busiest(pixels)
    assert (width, height) == (384, 288)
    assert left <= 640 and left + width >= 900 and top <= 448 and top + height >= 640
    assert busiest(scene(20, 30)) == (0, 0, 30, 20)


def test_the_map_is_read_from_the_file():
    levels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    data = encode_pixels(scene(64, 96), 2.0, importance=MapSpec(levels))
    found = importance_map(data)
    assert (found.count, found.cell) == (3, 32)
    np.testing.assert_array_equal(found.levels, levels)
    assert importance_map(encode_pixels(scene(64, 96), 2.0)) is None
    assert importance_map(b"\xff\xd8 a JPEG") is None


def test_every_codec_comes_near_the_first_ones_size(tmp_path):
    kept = tmp_path / "kept"
    codecs = [codec for codec in anchors()[0] if codec.name in ("jpeg", "webp")]
    pictures = [save(tmp_path / f"{k}.png", k, (120, 160)) for k in range(4)]
    points = {p.name: measure(Job(p, codecs[0], kept=kept)).points for p in pictures}
    exhibits, failures = make_exhibits(pictures, codecs, points, kept, workers=1)
    assert not failures
    assert [exhibit.picture.name for exhibit in exhibits] == ["0.png", "1.png", "2.png"]
    for exhibit in exhibits:
        first, second = exhibit.shown
        assert exhibit.lead == first.codec == "jpeg"
        assert abs(second.bytes / first.bytes - 1) < 0.25
        assert first.pixels.shape == exhibit.original.shape == (120, 160, 3)
        assert exhibit.map is None


def test_fewer_pictures_than_places(tmp_path):
    picture = save(tmp_path / "a.png")
    jpeg = anchors()[0][:1]
    points = {"a.png": measure(Job(picture, jpeg[0])).points}
    exhibits, _ = make_exhibits([picture], jpeg, points, tmp_path, workers=1)
    assert len(exhibits) == 1
