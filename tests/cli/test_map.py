"""cotam map and cotam guide, and --guide of cotam encode, as a user meets them."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cotam_cli.cli import main
from guidance.making import brightness_bytes

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """photo.png, 224x160, and guide.onnx."""
    path = tmp_path_factory.mktemp("map")
    Image.open(PHOTO).crop((300, 100, 524, 260)).save(path / "photo.png")
    (path / "guide.onnx").write_bytes(brightness_bytes())
    return path


@pytest.fixture
def cotam(folder, monkeypatch):
    """Run a command in the folder; (exit code, stdout, stderr)."""
    from runner import runner

    monkeypatch.chdir(folder)

    def run(*arguments):
        result = runner().invoke(main, [str(a) for a in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout_bytes, result.stderr

    return run


def test_the_overlay_tints_what_matters_and_what_does_not(cotam, folder):
    assert cotam("map", "photo.png", "-o", "map.png", "--guide", "guide.onnx", "-f")[0] == 0
    before = np.asarray(Image.open(folder / "photo.png").convert("RGB"), float)
    after = np.asarray(Image.open(folder / "map.png"), float)
    assert after.shape == before.shape
    change = (after - before).reshape(5, 32, 7, 32, 3).mean((1, 3))
    grey = before.reshape(5, 32, 7, 32, 3).mean((1, 3, 4))
    bright, dark = np.unravel_index(grey.argmax(), (5, 7)), np.unravel_index(grey.argmin(), (5, 7))
    assert change[bright][2] < change[bright][0]  # towards orange
    assert change[dark][2] > change[dark][0]  # towards blue
    assert (np.abs(change).max(-1) < 1e-9).any()  # some cells are kept


def test_a_raw_map_guides_as_its_source_does(cotam, folder):
    assert cotam("map", "photo.png", "-o", "raw.png", "--raw", "--guide", "guide.onnx", "-f")[0] == 0
    with Image.open(folder / "raw.png") as raw:
        assert raw.size == (7, 5)
        assert raw.mode.startswith("I")
    for guide in ("raw.png", "guide.onnx"):
        assert cotam("encode", "photo.png", "-o", f"{guide}.ctm", "--guide", guide, "-f")[0] == 0
    assert (folder / "raw.png.ctm").read_bytes() == (folder / "guide.onnx.ctm").read_bytes()
    assert b"map: 3 levels" in cotam("info", "raw.png.ctm")[1]


def test_a_raw_map_on_stdout(folder):
    words = ["map", "photo.png", "-o", "-", "--raw", "--guide", "guide.onnx"]
    out = subprocess.run(
        [sys.executable, "-m", "cotam_cli", *words], cwd=folder, capture_output=True, check=True
    )
    assert Image.open(io.BytesIO(out.stdout)).size == (7, 5)


def test_strength_zero_is_no_map(cotam, folder):
    cotam("encode", "photo.png", "-o", "a.ctm", "--guide", "guide.onnx", "--guide-strength", "0", "-f")
    cotam("encode", "photo.png", "-o", "b.ctm", "--guide", "none", "-f")
    assert (folder / "a.ctm").read_bytes() == (folder / "b.ctm").read_bytes()


@pytest.mark.parametrize(
    ("guide", "code", "words"),
    [
        ("sharp", 2, "auto, none, attention, text, mix, focus, clip:MODEL/WEIGHTS"),
        ("gone.png", 1, "does not exist"),
        ("gone.onnx", 1, "does not exist"),
        ("photo.png.txt", 1, "does not exist"),
        ("broken.png", 1, "grey PNG"),
        ("broken.onnx", 1, "cotam guide export"),
        ("../", 1, "unknown guide"),
    ],
)
@pytest.mark.parametrize("command", ["encode", "map"])
def test_bad_guides_are_one_line_with_the_cure(cotam, folder, command, guide, code, words):
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    (folder / "broken.onnx").write_bytes(b"broken")
    target = "x.png" if command == "map" else "x.ctm"
    found, out, err = cotam(command, "photo.png", "-o", target, "--guide", guide)
    assert (found, out) == (code, b"")
    assert words in err
    assert code == 2 or (err.count("\n") == 1 and err.startswith("cotam: "))
    assert not (folder / target).exists()


def test_there_is_no_map_of_none(cotam):
    code, _, err = cotam("map", "photo.png", "-o", "x.png", "--guide", "none")
    assert code == 1
    assert "no map to show" in err


def test_strength_out_of_range(cotam):
    assert cotam("encode", "photo.png", "-o", "x.ctm", "--guide-strength", "9")[0] == 2


def test_export_writes_a_guide(cotam, folder):
    from guidance.making import random_vit
    from guidance.test_towers import hugging_face_file

    hugging_face_file(folder / "vit.onnx", random_vit(width=64, heads=1))
    code, out, err = cotam("guide", "export", "vit.onnx", "-o", "own.onnx", "--blocks", "2", "-f")
    assert (code, out) == (0, b"")
    assert "blocks 1 to 2" in err
    assert cotam("map", "photo.png", "-o", "own.png", "--guide", "own.onnx", "-f")[0] == 0
    assert cotam("guide", "export", "vit.onnx", "-o", "own.onnx")[0] == 1  # exists


@pytest.mark.parametrize("tower", ["gone.onnx", "photo.png", "guide.onnx", "No-Such/tag"])
def test_towers_that_cannot_be_exported(cotam, folder, tower):
    code, out, err = cotam("guide", "export", tower, "-o", "x.onnx")
    assert (code, out) == (1, b"")
    assert err.count("\n") == 1
    assert not (folder / "x.onnx").exists()


def test_a_map_is_a_png(cotam, folder):
    code, _, said = cotam("map", "photo.png", "-o", "look.jpg")
    assert code == 1
    assert ".png" in said
    assert not (folder / "look.jpg").exists()
