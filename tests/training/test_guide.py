"""The embedded guide's training: teachers' answers, distillation, export, ablation; on tiny networks and pictures."""

import json
import shlex
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from guidance.making import random_vit
from guidance.test_towers import hugging_face_file

pytest.importorskip("torch", reason="training needs PyTorch")


@pytest.fixture(scope="module")
def shards(pack_folder, tmp_path_factory):
    """Two shards of answers for training and one for testing, asked from a random transformer."""
    from cotam_cli.training import guide_data
    from cotam_cli.training.guide_commands import guide

    folder = tmp_path_factory.mktemp("guide")
    hugging_face_file(folder / "teacher.onnx", random_vit(width=64, heads=1, patch=16, grid=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guide_data, "SHARD", 6)
        patch.setattr(guide_data, "SHAPES", ((64, 96),))
        patch.setattr(guide_data, "HELD_OUT", 2)
        words = [
            "ask",
            "--pack",
            pack_folder,
            "--teacher",
            folder / "teacher.onnx",
            "--shards",
            4,
            folder / "s",
        ]
        result = CliRunner().invoke(guide, list(map(str, words)))
        assert result.exit_code == 0, result.output
        yield folder / "s"


def settings(shards, out, steps):
    from cotam_cli.training.guide_loop import GuideRun
    from cotam_cli.training.guide_network import GuideConfig

    run = GuideRun(str(shards), str(out), steps=steps, batch=4, rate=3e-3, warmup=2)
    return run, GuideConfig(width=32, heads=2, blocks=2, stem=8, grid=4)


@pytest.fixture(scope="module")
def run(shards, tmp_path_factory):
    from cotam_cli.training.guide_loop import train_guide

    out = tmp_path_factory.mktemp("run")
    train_guide(*settings(shards, out, 120))
    return out


def test_answers_are_kept_and_the_same_again(shards, pack_folder):
    from cotam_cli.training.data import Pack
    from cotam_cli.training.guide_data import load_shards, shard_numbers, shard_pictures

    assert (shard_numbers(shards, test=True), shard_numbers(shards, test=False)) == ([0, 2], [1, 3])
    (shard,) = load_shards(shards, [1])
    assert shard.pixels.shape == (6, 64, 96, 3)
    assert shard.fields.shape == (6, 2, 3, 2)
    assert np.array_equal(shard.pixels, shard_pictures(Pack(pack_folder), 1))
    assert json.loads((shards / "teacher.json").read_text())["attention"] == "teacher, 3 blocks"


def test_a_student_learns_its_teachers_map(run, shards):
    import torch

    from cotam_cli.training.guide_loop import agreement, load_student, train_guide

    fresh = load_student(train_guide(*settings(shards, run.parent / "fresh", 1)))
    trained = load_student(torch.load(run / "state.pt", weights_only=True))
    before, after = agreement(fresh, shards), agreement(trained, shards)
    assert after.pictures == 12
    assert after.attention > before.attention
    assert after.attention > 0.3


def test_a_run_goes_on_as_if_never_stopped(shards, tmp_path):
    import torch

    from cotam_cli.training.guide_data import load_shards
    from cotam_cli.training.guide_loop import Distillation

    pictures = load_shards(shards, [1, 3])
    run, sizes = settings(shards, tmp_path, 20)
    whole = Distillation(run, sizes)
    for _ in range(4):
        whole.advance(pictures)
    first = Distillation(run, sizes)
    for _ in range(2):
        first.advance(pictures)
    first.save()
    second = Distillation(run, sizes)
    assert second.step == 2
    for _ in range(2):
        second.advance(pictures)
    for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_exported_guide_is_the_network(run, shards, tmp_path):
    import torch

    from cotam_cli.guidance.onnx_guide import load_guide
    from cotam_cli.training.guide_commands import guide
    from cotam_cli.training.guide_loop import load_student

    words = ["export", "--run", run, "--shards", shards, "--models", tmp_path, "--id", 7, "--weights", 1, 0.5]
    words += ["--allow-list", tmp_path / "guides.json"]
    result = CliRunner().invoke(guide, list(map(str, words)))
    assert result.exit_code == 0, result.output
    (entry,) = json.loads((tmp_path / "guides.json").read_text())
    assert (entry["id"], entry["name"]) == (7, "guide-7")
    data = (tmp_path / "guide-7" / "guide.onnx").read_bytes()
    found = load_guide(data, "x")
    assert (found.patch, found.weights) == (32, (1.0, 0.5))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)
    wanted = load_student(torch.load(run / "state.pt", weights_only=True))(torch.from_numpy(pixels)).numpy()
    assert np.abs(found.fields(pixels) - wanted).max() < 0.02 * np.abs(wanted).max()


def test_the_package_checks_the_guides_files(run, shards, tmp_path, monkeypatch):
    from cotam_cli.codec import models
    from cotam_cli.errors import ModelError
    from cotam_cli.training.guide_commands import guide

    words = ["export", "--run", run, "--shards", shards, "--models", tmp_path, "--id", 7]
    CliRunner().invoke(guide, list(map(str, [*words, "--allow-list", tmp_path / "guides.json"])))
    entries = json.loads((tmp_path / "guides.json").read_text())
    monkeypatch.setattr(models, "guide_records", lambda: tuple(models.ModelRecord(**e) for e in entries))
    monkeypatch.setattr(models, "models_folder", lambda: tmp_path)
    path = tmp_path / "guide-7" / "guide.onnx"
    assert models.guide_file() == path.read_bytes()
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelError, match="checksum"):
        models.guide_file()


def test_training_needs_answers(tmp_path):
    from cotam_cli.errors import CotamError
    from cotam_cli.training.guide_loop import train_guide

    with pytest.raises(CotamError, match="guide ask"):
        train_guide(*settings(tmp_path, tmp_path / "run", 1))


JUDGE = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
first, second = (Path(p) for p in sys.argv[1:3])
def error(path):
    a, b = (np.asarray(Image.open(folder / path.name).convert("RGB"), float) for folder in (first, second))
    return float(np.square(a - b).mean())
mean = np.mean([error(p) for p in second.glob("*.png")])
json.dump({"mse": mean, "seconds": 3, "pictures": {"x": 1}}, open(sys.argv[3], "w"))
"""


def test_an_ablation_measures_every_candidate(pictures, tmp_path):
    from cotam_cli.training.guide_commands import guide

    hugging_face_file(tmp_path / "vit.onnx", random_vit(width=64, heads=1, patch=16, grid=4, blocks=4))
    from cotam_cli.guidance.export import export_guide

    (tmp_path / "guide.onnx").write_bytes(export_guide(str(tmp_path / "vit.onnx")))
    (tmp_path / "judge.py").write_text(JUDGE)
    command = f"{shlex.quote(sys.executable)} {tmp_path / 'judge.py'} {{originals}} {{decoded}} {{json}}"
    words = ["ablate", "--data", pictures, "--out", tmp_path / "out", "--set", "photo", "--limit", 2]
    words += ["--quality", 2, "--quality", 4, "--guide", f"attention={tmp_path / 'guide.onnx'}"]
    words += ["--bound", tmp_path / "vit.onnx", "--judge", f"photo={command}", "--strength", 0.75]
    result = CliRunner().invoke(guide, list(map(str, words)))
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "ablation-0.75.txt").read_text()
    head, figure, size = text.splitlines()[1:]
    assert head.split() == ["photo", "unguided", "attention", "contrast", "bound"]
    assert figure.split()[0] == "mse"
    assert len(figure.split()) == 5
    assert all(abs(float(change)) < 3 for change in size.split()[2:])
    again = CliRunner().invoke(guide, list(map(str, words)))
    assert again.output.endswith(result.output[-200:])


def test_a_failing_judge_is_named(pictures, tmp_path):
    from cotam_cli.training.guide_commands import guide

    words = ["ablate", "--data", pictures, "--out", tmp_path / "out", "--set", "photo", "--limit", 1]
    words += ["--quality", 2, "--judge", f"photo={sys.executable} -c 'import sys; sys.exit(3)'"]
    result = CliRunner().invoke(guide, list(map(str, words)))
    assert result.exit_code == 1
    assert "judge" in result.output


def test_equal_bytes_are_interpolated():
    from cotam_cli.training.guide_ablation import Judged, compare

    plain = [Judged(1000, {"score": 0.5}), Judged(2000, {"score": 0.7})]
    (row,) = compare("set", "x", plain, [Judged(1000, {"score": 0.6}), Judged(2000, {"score": 0.7})])
    assert row.change == pytest.approx(0.05)
    (row,) = compare("set", "x", plain, [Judged(1414, {"score": 0.6}), Judged(2828, {"score": 0.8})])
    assert row.change == pytest.approx(0, abs=1e-3)


def test_the_contrast_map_favours_quiet_cells():
    from cotam_cli.training.guide_candidates import contrast_map

    pixels = np.full((64, 96, 3), 90, np.uint8)
    pixels[:32, :32] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    assert contrast_map(pixels).argmin() == 0
