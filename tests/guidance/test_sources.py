"""Where maps come from: files of every kind, good and bad."""

import io

import numpy as np
import pytest
from PIL import Image

from cotam_cli.errors import GuideError
from cotam_cli.guidance.sources import grey_picture, is_source, open_source, read_grey
from guidance.making import brightness_bytes

PIXELS = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def png(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("size", [(3, 4), (96, 128), (7, 5), (1, 1), (300, 400)])
def test_a_grey_map_of_any_size_is_stretched_over_the_picture(tmp_path, size):
    grey = np.linspace(0, 255, size[1]).astype(np.uint8)[None].repeat(size[0], 0)
    path = tmp_path / "map.png"
    path.write_bytes(png(grey))
    field = open_source(str(path)).field(PIXELS, 32)
    assert field.shape == (3, 4)
    assert (np.diff(field[0]) > 0).all() or size[1] == 1


def test_a_map_comes_back_from_its_picture():
    field = np.random.default_rng(1).standard_normal((9, 13))
    out = io.BytesIO()
    grey_picture(field).save(out, "PNG")
    back = read_grey(out.getvalue(), "x")
    assert back.shape == field.shape
    assert np.corrcoef(back.ravel(), field.ravel())[0, 1] > 0.999999


def test_colours_become_grey_and_flat_fields_stay_flat():
    assert read_grey(png(PIXELS), "x").shape == (96, 128)
    assert len(np.unique(np.asarray(grey_picture(np.full((3, 3), 2.0))))) == 1


def test_a_guide_file(tmp_path):
    path = tmp_path / "guide.onnx"
    path.write_bytes(brightness_bytes())
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, 32:] = 255
    assert open_source(str(path)).field(pixels, 32).argmax() == 1


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("map.png", b"no picture", "grey PNG"),
        ("map.png", b"", "grey PNG"),
        ("map.png", png(PIXELS)[:700], "grey PNG"),
        ("guide.onnx", png(PIXELS), "guide export"),
        ("gone.png", None, "does not exist"),
        ("gone.onnx", None, "does not exist"),
    ],
)
def test_bad_files_name_the_cure(tmp_path, name, data, words):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(GuideError, match=words):
        open_source(str(path))


def test_a_folder(tmp_path):
    (tmp_path / "map.png").mkdir()
    with pytest.raises(GuideError, match="folder"):
        open_source(str(tmp_path / "map.png"))


def test_what_looks_like_a_source():
    assert all(map(is_source, ["a.png", "b.onnx", "clip:ViT-B-16/openai", "/x/y.tif"]))
    assert not any(map(is_source, ["sharp", "", "attention"]))


def test_a_map_that_is_a_program_is_not_started(monkeypatch):
    def start(*_, **__):
        raise AssertionError("started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", start)
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "EPS")
    with pytest.raises(GuideError, match="give a grey PNG"):
        read_grey(out.getvalue(), "x")
