"""python -m cotam_cli.training: every command once, in the order in which they are used."""

import json
import subprocess
import sys
from dataclasses import fields

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="training needs PyTorch")

from cotam_cli.training.adapter_loop import AdapterRun
from cotam_cli.training.commands import main
from cotam_cli.training.network import NetworkConfig
from cotam_cli.training.options import HELP
from cotam_cli.training.train_config import TrainConfig

SIZES = {
    "latents": 16,
    "hyper": 8,
    "width": 16,
    "encoder-blocks": 1,
    "decoder-blocks": 1,
    "features": 8,
    "context": 16,
}
SMALL = [f"--{name}={value}" for name, value in {**SIZES, "batch": 2, "crop": 64, "threads": 1}.items()]


def call(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_every_option_has_a_help_text():
    names = {field.name for config in (TrainConfig, NetworkConfig, AdapterRun) for field in fields(config)}
    assert names == set(HELP)


def test_from_pictures_to_an_evaluated_model(pictures, tmp_path, use_models):
    pytest.importorskip("onnx", reason="the export needs ONNX")
    pack, run, models, allow_list = (tmp_path / name for name in ("pack", "run", "models", "models.json"))
    assert "6 pictures" in call("pack", pictures, pack, "--drawn", 0)
    call("train", "--pack", pack, "--out", run, "--steps", 3, *SMALL)
    assert "MB" in call("state", run, tmp_path / "carried.pt")
    call(
        "train",
        "--pack",
        pack,
        "--out",
        tmp_path / "on",
        "--steps",
        4,
        "--resume",
        tmp_path / "carried.pt",
        *SMALL,
    )
    for source in (tmp_path / "carried.pt", tmp_path / "on" / "state.pt"):
        call(
            "export",
            "--state",
            source,
            "--pack",
            pack,
            "--models",
            models,
            "--id",
            7,
            "--allow-list",
            allow_list,
        )
    assert json.loads((models / "ctm-7" / "manifest.json").read_text())["training"]["step"] == 4

    use_models(models, allow_list)
    measure = (
        "eval",
        "--data",
        pictures,
        "--out",
        tmp_path / "out",
        "--against",
        "jpeg",
        "--limit",
        1,
        "--workers",
        1,
    )
    output = call(*measure, "--quality", 2, "--quality", 7, "--state", tmp_path / "on" / "state.pt")
    assert "== text, 1 pictures" in output
    assert "over the float networks' bits" in output
    assert "step 3, the model of step 4" in call(*measure, "--state", tmp_path / "carried.pt", code=1)


def test_pictures_of_the_dev_set_stop_the_training(pictures, pack_folder, tmp_path):
    command = ("train", "--pack", pack_folder, "--out", tmp_path, "--dev", pictures / "text", *SMALL)
    assert "2 pictures of" in call(*command, code=1)
    assert not (tmp_path / "state.pt").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--warmup", 0), "--warmup 0: give 1 or more"),
        (("--log-every", 0), "--log-every 0: give 1 or more"),
        (("--optimiser", "sgd"), "--optimiser sgd: give one of muon, adamw"),
        (("--similarity", 2), "--similarity 2.0: give 0 to 1"),
        (("--similarity", 0.5), "--crop 64: give a multiple of 64, 128 or more with --similarity"),
        (("--crop", 100), "--crop 100: give a multiple of 64, 64 or more"),
    ],
)
def test_options_that_no_run_can_follow(pack_folder, tmp_path, options, reason):
    said = call("train", "--pack", pack_folder, "--out", tmp_path / "run", *SMALL, *options, code=1)
    assert said == f"cotam: {reason}\n"
    assert not (tmp_path / "run").exists()


def test_mistakes_are_one_line(pictures, tmp_path):
    assert "holds no pack" in call("train", "--pack", tmp_path, "--out", tmp_path, code=1)
    missing = call("eval", "--data", pictures, "--out", tmp_path, "--set", "art", code=1)
    assert "has no folder art" in missing
    assert len(missing.splitlines()) == 1


def test_without_pytorch_it_says_what_to_install(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    code = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); runpy.run_module('cotam_cli.training')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "cotam: the workshop needs torch; pip install 'cotam-cli[torch]'\n"
