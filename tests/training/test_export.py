"""From a float network to files that the package runs: the same picture, nearly the same probabilities."""

import json
import math
import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("onnx", reason="the export needs ONNX")

import torch

from cotam_cli import api
from cotam_cli.codec.decoder import decode_pixels, decode_to_latents
from cotam_cli.codec.models import load_model
from cotam_cli.codec.quality import float_planes
from cotam_cli.codec.tiling import run_analysis
from cotam_cli.entropy.tables import QUALITY_UNIT, SCALES, t_of_quality
from cotam_cli.errors import CotamError
from cotam_cli.training.data import Pack
from cotam_cli.training.export import export, export_adapter, load_codec
from cotam_cli.training.integers import FIRST_SCALE, LOG_STEP
from cotam_cli.training.layers import quadratic
from cotam_cli.training.network import from_unit, to_unit
from cotam_cli.training.rateloss import integer_predictions, network_predictions, rate_loss, total


def picture(seed=3, height=160, width=208):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 25
    base = np.stack([np.sin(x + k) * np.cos(y * (k + 1)) for k in range(3)], -1)
    return np.clip(128 + 90 * base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8)


@pytest.fixture(params=[1.0, 4.5, 8.0])
def quality(request):
    return request.param


@pytest.fixture
def decoded(tiny_model, quality):
    return decode_to_latents(api.encode(picture(), quality=quality, guide="none"))


def planes_of(decoded):
    t = torch.from_numpy(t_of_quality(decoded.plane) / QUALITY_UNIT).float()[None, None]
    return t, torch.cat([t, t * t], 1)


def test_the_model_folder_says_what_it_is(exported, state):
    manifest = json.loads((exported / "models" / "ctm-9" / "manifest.json").read_text())
    assert manifest["id"] == 9
    assert manifest["network"]["latents"] == 16
    assert manifest["training"]["step"] == state["step"] == 4
    (entry,) = json.loads((exported / "models.json").read_text())
    assert entry["id"] == 9 and entry["since"] == "0.0.1"


def test_a_manifest_is_json_where_no_loss_was_logged(state, pack_folder, tmp_path):
    export(state | {"loss": math.nan}, Pack(pack_folder), tmp_path, tmp_path / "models.json", 9, "0.0.1")
    text = (tmp_path / "ctm-9" / "manifest.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["training"]["loss"] is None


def test_weights_that_no_integer_holds(state, pack_folder, tmp_path):
    average = {name: x * 1e9 if name == "passes.0.stem.weight" else x for name, x in state["average"].items()}
    with pytest.raises(CotamError, match="too large for int16"):
        export(
            state | {"average": average}, Pack(pack_folder), tmp_path, tmp_path / "models.json", 9, "0.0.1"
        )


def test_an_adapter_for_a_model_that_no_list_knows_changes_nothing(state, exported, tmp_path):
    model = shutil.copytree(exported / "models" / "ctm-9", tmp_path / "ctm-9")
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    (tmp_path / "models.json").write_text("[]")
    adapted = state | {"adapter": {"weights": load_codec(state).synthesis.state_dict(), "training": {}}}
    with pytest.raises(CotamError, match=r"is not in .*models\.json"):
        export_adapter(adapted, tmp_path, tmp_path / "models.json", 9)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_the_export_gives_the_same_files_again(exported, state, pack_folder, tmp_path):
    export(state, Pack(pack_folder), tmp_path / "models", tmp_path / "models.json", 9, "0.0.1")
    for path in (exported / "models" / "ctm-9").iterdir():
        assert (tmp_path / "models" / "ctm-9" / path.name).read_bytes() == path.read_bytes(), path.name


def test_means_of_the_integer_networks(decoded, state):
    codec = load_codec(state)
    with torch.no_grad():
        mean, _ = network_predictions(codec, decoded)
    floats = mean[0].permute(1, 2, 0).numpy()
    turn = codec.pass_of(mean.shape, mean.device)[0].permute(1, 2, 0).numpy()
    for number, group in enumerate(integer_predictions(decoded)[1:]):
        where = turn == number
        difference = np.abs(group.mean / 64 - floats[where])
        assert np.abs(floats[where]).max() > 0.1  # the network says something at all
        assert difference.max() < 0.05


def test_scales_of_the_integer_networks(decoded, state):
    codec = load_codec(state)
    with torch.no_grad():
        _, log_scale = network_predictions(codec, decoded)
    exact = 1 + (log_scale[0].permute(1, 2, 0).numpy() - math.log(FIRST_SCALE)) / LOG_STEP
    turn = codec.pass_of(log_scale.shape, log_scale.device)[0].permute(1, 2, 0).numpy()
    for number, group in enumerate(integer_predictions(decoded)[1:]):
        expected = np.clip(exact[turn == number], 0, SCALES - 1)
        assert np.abs(group.index - expected).max() < 0.7  # half of it is rounding


def test_the_integer_path_decodes_to_the_float_networks_picture(decoded, state, quality):
    codec = load_codec(state)
    t, _ = planes_of(decoded)
    latents = torch.from_numpy(decoded.latents.y.transpose(2, 0, 1)[None] / 64).float()
    with torch.no_grad():
        latents = latents * torch.exp(quadratic(codec.log_regain - codec.log_gain, t))
        floats = from_unit(codec.synthesis(latents, t)).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255
    pixels = decode_pixels(api.encode(picture(), quality=quality, guide="none"))
    difference = np.abs(pixels - floats[: pixels.shape[0], : pixels.shape[1]])
    assert difference.max() <= 1.0


def test_the_analysis_is_the_float_networks(decoded, state):
    codec = load_codec(state)
    t, _ = planes_of(decoded)
    pixels = picture()
    with torch.no_grad():
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        floats = codec.analysis(to_unit(tensor), t)[0].permute(1, 2, 0).numpy()
    y = run_analysis(load_model().analysis, pixels, float_planes(decoded.plane))
    assert np.abs(y - floats).max() < 0.005 * np.abs(floats).max()


def test_the_rate_is_the_tables_entropy_and_nearly_the_networks(tiny_model, state, quality):
    codec = load_codec(state)
    losses = [rate_loss(api.encode(picture(k), quality=quality, guide="none"), codec) for k in (3, 4)]
    for loss in losses:
        assert (
            -1 <= loss.payload - loss.tables <= 0.005 * loss.tables + 2 * 48
        )  # two payloads end in whole bytes
        assert loss.skipped + loss.coded == 10 * 13 * 16 + 3 * 4 * 8
    together = total(losses)
    assert together.payload == losses[0].payload + losses[1].payload
    assert together.coder_percent == pytest.approx(100 * (together.payload / together.tables - 1))
    assert abs(together.integer_percent) < 5
    assert rate_loss(api.encode(picture(), quality=quality, guide="none")).integer_percent is None


def test_pictures_of_odd_sizes_survive(tiny_model):
    pixels = picture(1, 67, 33)
    assert decode_pixels(api.encode(pixels, quality=8.0, guide="none")).shape == pixels.shape
