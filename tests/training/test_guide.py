"""The embedded guide's training: teachers' answers, distillation, export, ablation; on tiny networks and pictures."""

import json
import os
import signal

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
    assert shard.fields.shape == (6, 2, 3, 3)
    assert np.array_equal(shard.pixels, shard_pictures(Pack(pack_folder), 1))
    assert json.loads((shards / "teacher.json").read_text())["attention"] == "teacher, blocks 1-3"


def test_answers_of_several_teachers_are_not_mixed(shards, pack_folder, tmp_path):
    from cotam_cli.training.guide_commands import guide

    hugging_face_file(tmp_path / "other.onnx", random_vit(width=64, heads=1, patch=16, grid=4))
    before = (shards / "teacher.json").read_bytes()

    def ask(teacher):
        words = ["ask", "--pack", pack_folder, "--teacher", teacher, "--shards", 4, shards]
        return CliRunner().invoke(guide, list(map(str, words)))

    refused = ask(tmp_path / "other.onnx")
    assert refused.exit_code == 1
    assert "holds answers of teacher, blocks 1-3, teacher, block" in refused.output
    assert ask(shards.parent / "teacher.onnx").exit_code == 0
    assert (shards / "teacher.json").read_bytes() == before


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


def test_a_signal_saves_and_stops(shards, tmp_path, monkeypatch):
    import torch

    from cotam_cli.training.guide_loop import Distillation, train_guide

    advance = Distillation.advance

    def interrupted(self, pictures):
        loss = advance(self, pictures)
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    monkeypatch.setattr(Distillation, "advance", interrupted)
    assert train_guide(*settings(shards, tmp_path, 5))["step"] == 2
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2


def test_a_gradient_that_is_not_finite_changes_nothing(shards, tmp_path):
    import torch

    from cotam_cli.training.guide_data import Shard, load_shards
    from cotam_cli.training.guide_loop import Distillation

    (shard,) = load_shards(shards, [1])
    work = Distillation(*settings(shards, tmp_path, 5))
    before = [values.detach().clone() for values in work.net.parameters()]
    work.advance([Shard(shard.pixels, np.full_like(shard.fields, np.nan))])
    assert all(torch.equal(a, b) for a, b in zip(before, work.net.parameters(), strict=True))
    work.advance([shard])
    assert not all(torch.equal(a, b) for a, b in zip(before, work.net.parameters(), strict=True))


def test_the_exported_guide_is_the_network(run, shards, tmp_path):
    import torch

    from cotam_cli.guidance.onnx_guide import load_guide
    from cotam_cli.training.guide_commands import guide
    from cotam_cli.training.guide_loop import load_student

    words = [
        "export",
        "--run",
        run,
        "--shards",
        shards,
        "--models",
        tmp_path,
        "--id",
        7,
        "--weights",
        1,
        0,
        0.5,
    ]
    words += ["--allow-list", tmp_path / "guides.json"]
    result = CliRunner().invoke(guide, list(map(str, words)))
    assert result.exit_code == 0, result.output
    (entry,) = json.loads((tmp_path / "guides.json").read_text())
    assert (entry["id"], entry["name"]) == (7, "guide-7")
    data = (tmp_path / "guide-7" / "guide.onnx").read_bytes()
    found = load_guide(data, "x")
    assert (found.patch, found.weights) == (32, (1.0, 0.0, 0.5))
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


def logits_file(path):
    """A classifier of two classes: is a picture bright or dark?"""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["column"]),
        helper.make_node("MatMul", ["column", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [
            numpy_helper.from_array(np.array([-1, 1]), "shape"),
            numpy_helper.from_array(np.array([[-1.0, 1.0]], np.float32), "weights"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_an_ablation_measures_every_candidate(pictures, tmp_path):
    from cotam_cli.training.guide_commands import guide

    hugging_face_file(tmp_path / "vit.onnx", random_vit(width=64, heads=1, patch=16, grid=4, blocks=4))
    from cotam_cli.guidance.export import export_guide

    (tmp_path / "guide.onnx").write_bytes(export_guide(str(tmp_path / "vit.onnx")))
    logits_file(tmp_path / "bright.onnx")
    contract = {"kind": "logits", "model": "bright.onnx", "input": {"mean": [0.5] * 3, "std": [0.1] * 3}}
    (tmp_path / "bright.json").write_text(json.dumps(contract))
    words = ["ablate", "--data", pictures, "--out", tmp_path / "out", "--set", "photo", "--limit", "photo=2"]
    words += ["--quality", 3, "--guide", f"attention={tmp_path / 'guide.onnx'}", "--quiet"]
    words += ["--bound", tmp_path / "vit.onnx", "--judge", f"photo={tmp_path / 'bright.json'}"]
    words += ["--strength", 0.75, "--k", 0.5]
    result = CliRunner().invoke(guide, list(map(str, words)))
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "ablation-0.75-0.5.txt").read_text()
    head, agreement, divergence, size = text.splitlines()[1:]
    assert head.split() == ["photo,", "2", "pictures", "unguided", "attention", "quiet", "bound"]
    assert agreement.split()[:3] == ["bright", "agreement", "1.0000"]
    assert divergence.split()[1] == "divergence"
    assert all(abs(float(change)) < 3 for change in size.split()[3::3])
    kept = sorted(path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.json"))
    words[words.index("photo=2")] = "photo=3"  # a third picture, for which there is no time
    again = CliRunner().invoke(guide, list(map(str, [*words, "--minutes", 0])))
    assert text in again.output
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.json")) == kept


def test_divergence_is_that_of_the_shares():
    from cotam_cli.bench.tasks import Truth
    from cotam_cli.training.guide_ablation import Divergence

    before, after = ({"logits": np.log(np.array(shares))} for shares in ((0.5, 0.3, 0.2), (0.25, 0.5, 0.25)))
    scores = Divergence(None).score(before, after, Truth(label=1))
    wanted = 0.5 * np.log(2) + 0.3 * np.log(0.6) + 0.2 * np.log(0.8)
    assert scores["divergence"] == (pytest.approx(wanted), 1.0)
    assert (scores["agreement"], scores["accuracy"]) == ((0.0, 1.0), (1.0, 1.0))


def test_a_missing_judge_is_named(pictures, tmp_path):
    from cotam_cli.training.guide_commands import guide

    words = ["ablate", "--data", pictures, "--out", tmp_path / "out", "--set", "photo"]
    result = CliRunner().invoke(guide, list(map(str, [*words, "--judge", "photo=nowhere.json"])))
    assert result.exit_code == 1
    assert "nowhere.json" in result.output


def judged(*bytes_and_scores):
    from cotam_cli.training.guide_ablation import Judged

    return [Judged(size, {"score": (value, 1.0)}) for size, value in bytes_and_scores]


def test_equal_bytes_are_interpolated():
    from cotam_cli.training.guide_ablation import compare

    plain = judged((1000, 0.5), (2000, 0.7))
    row, size = compare("set", "x", plain, judged((1000, 0.6), (2000, 0.7)), (2, 2))
    assert (row.unguided, row.change, size.change) == (pytest.approx(0.6), pytest.approx(0.05), 0)
    row, size = compare("set", "x", plain, judged((1414, 0.6), (2828, 0.8)), (2, 2))
    assert row.change == pytest.approx(0, abs=1e-3)
    assert size.change == pytest.approx(41.4)
    (row, _) = compare("set", "x", plain, judged((1414, 0.7)), (2, 1))
    assert (row.unguided, row.change) == (0.5, pytest.approx(0.1, abs=1e-3))


def test_the_error_is_that_of_the_mean_over_pictures():
    from cotam_cli.training.guide_ablation import compare

    rng = np.random.default_rng(3)
    changes = rng.normal(0.02, 0.1, 50)
    plain = judged(*[pair for _ in changes for pair in ((1000, 0.5), (2000, 0.5))])
    row, _ = compare("set", "x", plain, judged(*[(1000, 0.5 + change) for change in changes]), (2, 1))
    assert row.pictures == 50
    assert row.change == pytest.approx(changes.mean())
    assert row.error == pytest.approx(changes.std() / 50**0.5, rel=0.1)


def test_a_teacher_is_asked_how_steady_it_is(run, shards):
    from cotam_cli.training.guide_commands import guide

    words = ["test", "--run", run, "--shards", shards, "--teacher", shards.parent / "teacher.onnx"]
    result = CliRunner().invoke(guide, list(map(str, [*words, "--again", 5])))
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["agreement"]["pictures"] == 12
    assert found["steadiness"]["pictures"] == 5
    assert all(-1 <= found["steadiness"][name] <= 1 for name in ("mirrored", "smaller", "teacher", "student"))
