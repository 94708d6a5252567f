"""The evaluation from folders of pictures to a report."""

import json

import pytest

from cotam_cli.bench.codecs import anchors
from cotam_cli.errors import CotamError
from cotam_cli.training import evaluate as module
from cotam_cli.training.evaluate import evaluate


@pytest.fixture
def folders(pictures):
    return {"photo": pictures / "photo", "text": pictures / "text"}


def test_from_pictures_to_a_report(folders, tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    results = evaluate(folders, (1.0, 4.0, 8.0), out, cache=cache, workers=1, limit=1, only=["jpeg", "webp"])
    assert list(results) == ["photo", "text"]
    for result in results.values():
        assert result.pictures == 1
        assert list(result.curves) == ["cotam", "jpeg", "webp"]
        assert [point.rung for point in result.curves["cotam"]] == [1, 4, 8]
        assert [comparison.anchor for comparison in result.comparisons] == ["jpeg", "webp"]
        assert all(-1 < loss.coder_percent < 10 for loss in result.rate_losses.values())
    summary = json.loads((out / "evaluation.json").read_text())
    assert summary["sets"]["photo"]["curves"]["jpeg"][0]["bpp"] > 0
    rows = json.loads((out / "pictures.json").read_text())["text"]
    assert [row["codec"] for row in rows] == ["cotam", "jpeg", "webp"]
    text = (out / "evaluation.txt").read_text()
    assert "== photo, 1 pictures" in text and "cotam against" in text
    assert len(list(cache.rglob("*.bin"))) == 2 * (3 + 2 * 11)


def test_the_drawing_has_every_set(folders, tmp_path):
    evaluate(folders, (1.0, 8.0), tmp_path, workers=1, limit=1, only=["jpeg"])
    drawing = (tmp_path / "evaluation.svg").read_text()
    assert "PSNR, photo" in drawing and "PSNR, text" in drawing


def test_missing_codecs_are_reported(folders, tmp_path, monkeypatch):
    found, _ = anchors()
    monkeypatch.setattr(
        module, "anchors", lambda: (found[:1], {"jxl": "pip install it", "avif": "get another"})
    )
    evaluate({"photo": folders["photo"]}, (1.0, 8.0), tmp_path, workers=1, limit=1)
    text = (tmp_path / "evaluation.txt").read_text()
    assert "jxl: NOT MEASURED (pip install it)" in text
    assert "avif: NOT MEASURED (get another)" in text


def test_kept_results_are_used(folders, tmp_path, monkeypatch):
    def run(out):
        photos = {"photo": folders["photo"]}
        return evaluate(photos, (1.0, 8.0), out, cache=tmp_path / "cache", workers=1, limit=1, only=["jpeg"])

    run(tmp_path / "a")
    for file in (tmp_path / "cache").rglob("1.0.json"):
        point = json.loads(file.read_text())
        file.write_text(json.dumps({**point, "psnr": 1.25}))
    curves = run(tmp_path / "b")["photo"].curves
    assert curves["jpeg"][0].values["PSNR"] == curves["cotam"][0].values["PSNR"] == 1.25


def test_mistakes(folders, tmp_path):
    with pytest.raises(CotamError, match="unknown codec gif"):
        evaluate(folders, (1.0,), tmp_path, only=["gif"])
    with pytest.raises(CotamError, match="holds no pictures"):
        evaluate({"photo": tmp_path}, (1.0,), tmp_path)
    with pytest.raises(CotamError, match="out of range"):
        evaluate(folders, (9.0,), tmp_path, workers=1, only=["jpeg"])
