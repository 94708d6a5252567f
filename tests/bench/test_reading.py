"""Words in pictures, and how they are counted."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cotam_cli.bench.reading import Tesseract, words_found
from cotam_cli.bench.tasks import Truth, read_truth
from cotam_cli.errors import CotamError


@pytest.mark.parametrize(
    ("wanted", "read", "score"),
    [
        (["TOTAL", "8.70"], ["total:", "$8.70"], (1.0, 2)),
        (["to", "to"], ["to"], (0.5, 2)),
        (["a", "-"], [], (0.0, 0)),
        (["naïve"], ["NAÏVE!"], (1.0, 1)),
    ],
)
def test_words(wanted, read, score):
    assert words_found(wanted, read) == score


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_tesseract_reads():
    picture = Image.new("RGB", (420, 80), "white")
    ImageDraw.Draw(picture).text(
        (10, 15), "Hello printed words", fill="black", font=ImageFont.load_default(36)
    )
    reader = Tesseract()
    read = reader.answer(np.asarray(picture))
    empty = reader.answer(np.full((80, 420, 3), 255, np.uint8))
    assert reader.score(read, read, Truth(("Hello", "words", "missing"))) == {
        "agreement": (1.0, 3),
        "accuracy": (pytest.approx(2 / 3), 3),
    }
    assert reader.score(read, empty, Truth())["agreement"] == (0.0, 3)
    assert reader.score(empty, read, Truth()) == {}
    with pytest.raises(CotamError, match="no language xyz"):
        Tesseract("xyz")


def test_without_tesseract(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(CotamError, match="apt install tesseract-ocr"):
        Tesseract()


def test_truth_and_labels(tmp_path):
    truth, labels = tmp_path / "truth.json", tmp_path / "labels.json"
    truth.write_text('{"a.png": {"kind": "receipt", "words": ["x", 1]}}')
    labels.write_text('{"a.png": 3, "b.png": 4}')
    assert read_truth(truth, labels) == {"a.png": Truth(("x", "1"), 3), "b.png": Truth(None, 4)}
    for bad in ("[]", "{", '{"a.png": ["x"]}'):
        truth.write_text(bad)
        with pytest.raises(CotamError, match=r"truth\.json"):
            read_truth(truth, None)
    labels.write_text('{"a.png": "cat"}')
    with pytest.raises(CotamError, match="index of its class"):
        read_truth(None, labels)
