"""The layer report, on a small tower whose answers are known."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cotam_cli.errors import CotamError
from guidance.making import random_vit
from guidance.test_towers import hugging_face_file

torch = pytest.importorskip("torch", reason="towers need PyTorch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tower of 3 blocks as tower.onnx, and two pictures in pictures/."""
    folder = tmp_path_factory.mktemp("layers")
    hugging_face_file(folder / "tower.onnx", random_vit(width=64, heads=1, patch=8, grid=8))
    (folder / "pictures").mkdir()
    y, x = np.mgrid[:96, :128]
    for k in range(2):
        waves = 128 + 60 * np.sin(x / (5 + k)) + 40 * np.cos(y / 3)
        noise = np.random.default_rng(k).normal(0, 15, (96, 128))
        grey = np.clip(waves + noise, 0, 255).astype(np.uint8)
        Image.fromarray(np.stack([grey, grey // 2, 255 - grey], -1)).save(folder / "pictures" / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def report(folder):
    from cotam_cli.bench.layers import layer_report

    pictures = sorted((folder / "pictures").iterdir())
    return layer_report(str(folder / "tower.onnx"), pictures, qualities=(1, 6))


def test_every_layer_target_and_quality(report):
    assert (report.tower, report.patch, report.pictures) == ("tower", 8, 2)
    assert [(s.target, s.quality) for s in report.series] == [
        ("human", 1), ("human", 6), ("mllm", 1), ("mllm", 6),
    ]  # fmt: skip
    for series in report.series:
        assert [layer.block for layer in series.layers] == [0, 1, 2, 3]
        assert (series.layers[0].reach, series.layers[0].top) == (None, None)
    assert all(layer.cosine == 1 for layer in report.originals)


def test_finer_files_are_nearer(report):
    coarse, fine = report.series[:2]
    assert coarse.bpp < fine.bpp
    for a, b in zip(coarse.layers, fine.layers, strict=True):
        assert a.cosine < b.cosine < 1


def test_distances_are_those_of_the_attention(folder, report):
    """Against a plain loop over patches."""
    from cotam_cli.bench.pictures import load_pixels
    from cotam_cli.codec.tokens import Preprocessing, prepare
    from cotam_cli.guidance.torch_vit import Tower
    from cotam_cli.guidance.towers import named_vit

    vit = named_vit(str(folder / "tower.onnx"))
    tower, reaches, tops = Tower(vit), [], []
    for path in sorted((folder / "pictures").iterdir()):
        how = Preprocessing("fit", 64, "bicubic", vit.mean, vit.std)
        pixels, view = prepare(load_pixels(path), how, 8)
        assert (view.rows, view.columns) == (6, 8)
        given = torch.tensor(pixels / 255).permute(2, 0, 1)[None].float()
        shares = tower(given, attention=(2,)).attention[2][0, 0, 1:, 1:].numpy()
        for query, row in enumerate(shares):
            far = [8 * np.hypot(key // 8 - query // 8, key % 8 - query % 8) for key in range(48)]
            reaches.append(np.dot(row / row.sum(), far))
            tops.append(far[int(row.argmax())])
    assert report.originals[2].reach == pytest.approx(np.mean(reaches), rel=1e-4)
    assert report.originals[2].top == pytest.approx(np.mean(tops), rel=1e-4)


def test_the_command(folder, capfd):
    from cotam_cli.cli import main

    words = ["layers", folder / "tower.onnx", folder / "pictures", "--limit", 1, "--quality", 2]
    outputs = ["--json", folder / "out.json", "--plot", folder / "out.svg"]
    result = CliRunner().invoke(main, [str(word) for word in (*words, *outputs)])
    assert result.exit_code == 0, result.output
    assert "tower, 1 picture\n" in result.output
    assert "human q2" in result.output and "block 3" in result.output
    figures = json.loads((folder / "out.json").read_text())
    assert figures["series"][1]["target"] == "mllm"
    root = ElementTree.parse(folder / "out.svg").getroot()
    said = [part.get("data-says") for part in root.iter() if part.get("data-says")]
    assert any(text.startswith("human 2: block 3, ") for text in said)
    again = CliRunner().invoke(main, [str(word) for word in (*words, *outputs)])
    assert (again.exit_code, "exists" in again.output) == (1, True)
    capfd.readouterr()
    CliRunner().invoke(main, [str(word) for word in (*words, "--json", "-")])
    assert json.loads(capfd.readouterr().out)["pictures"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": ("ghost",)}, "unknown target ghost"),
        ({"pictures": ()}, "no pictures"),
        ({"tower": "gone.onnx"}, "does not exist"),
        ({"targets": ("tokens",), "adapter": "no-such-encoder"}, "no token adapter"),
    ],
)
def test_mistakes(folder, change, words):
    from cotam_cli.bench.layers import layer_report

    given = {"tower": str(folder / "tower.onnx"), "pictures": [folder / "pictures" / "0.png"], **change}
    with pytest.raises(CotamError, match=words):
        layer_report(given.pop("tower"), given.pop("pictures"), **given)


def test_without_pytorch(folder, monkeypatch):
    from cotam_cli.bench.layers import layer_report

    monkeypatch.setitem(__import__("sys").modules, "cotam_cli.guidance.torch_vit", None)
    with pytest.raises(CotamError, match=r"cotam-cli\[torch\]"):
        layer_report(str(folder / "tower.onnx"), [folder / "pictures" / "0.png"])
