"""Training on an accelerator, as far as a processor can run it: all but the recording of steps."""

import copy
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

import torch

from cotam_cli.errors import CotamError
from cotam_cli.training import device_loop, optimisers
from cotam_cli.training.data import Pack
from cotam_cli.training.device_loop import Step
from cotam_cli.training.device_pack import DevicePack, device_planes
from cotam_cli.training.loop import Run, resume_or_start
from cotam_cli.training.network import Codec, NetworkConfig
from cotam_cli.training.states import grow
from cotam_cli.training.train_config import TrainConfig
from training.conftest import SIZES, draw

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def on_device(pack_folder):
    return DevicePack(Pack(pack_folder), CPU, [64, 128])


def test_crops_are_places_of_the_pictures(pack_folder, on_device):
    torch.manual_seed(1)
    crops = (on_device.crops(60, 64) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    wholes = [draw(k) for k in range(6)]
    found = sum(any(_lies_in(crop, whole) for whole in wholes) for crop in crops)
    mirrored = sum(any(_lies_in(crop[:, ::-1], whole) for whole in wholes) for crop in crops)
    assert 20 <= found + mirrored < 60  # the others are scaled down
    assert mirrored >= 5


def _lies_in(crop, whole):
    rows, columns = (a - b + 1 for a, b in zip(whole.shape[:2], crop.shape[:2], strict=True))
    corners = (whole[:rows, :columns] == crop[0, 0]).all(-1)
    return any(
        np.array_equal(whole[y : y + len(crop), x : x + crop.shape[1]], crop) for y, x in np.argwhere(corners)
    )


def test_groups_are_drawn_by_their_shares(pack_folder):
    pack = Pack(pack_folder, {"photo": 0.2, "text": 0.8})
    pictures = DevicePack(pack, CPU, [64])
    odds = torch.diff(pictures.until[64], prepend=torch.zeros(1))
    assert float(odds[pictures.mirrored].sum()) == pytest.approx(0.2)  # photos are mirrored
    assert float(odds.sum()) == pytest.approx(1)


def test_small_pictures_are_scaled_up_for_wide_crops(pack_folder):
    """Pictures of 150x130, which no crop of 160 fits."""
    pictures = DevicePack(Pack(pack_folder), CPU, [64, 160])
    assert pictures.crops(4, 160).shape == (4, 3, 160, 160)
    sizes = torch.stack([pictures.height, pictures.width], 1)
    drawn, small = (torch.diff(pictures.until[side], prepend=torch.zeros(1)) > 0 for side in (160, 64))
    assert sizes[drawn].tolist() == [[160, 185]] * 6
    assert int(sizes[small].max()) == 150  # what is scaled up is for wide crops alone


def test_planes_are_within_range_and_of_three_families():
    torch.manual_seed(2)
    planes, base = device_planes(400, 12, CPU)
    assert planes.shape == (400, 1, 12, 12) and base.shape == (400, 1, 1, 1)
    assert float(planes.abs().max()) <= 1
    uniform = planes.flatten(1).std(1) == 0
    assert 0.5 < float(uniform.float().mean()) < 0.7
    assert torch.allclose(planes[uniform].amax((1, 2, 3)), base[uniform].flatten())
    ramps = sum(bool((p.diff(dim=0) == 0).all() ^ (p.diff(dim=1) == 0).all()) for p in planes[~uniform, 0])
    assert 0.1 < ramps / int((~uniform).sum()) < 0.4


def test_a_step_learns_and_counts(settings, on_device, tmp_path):
    config = TrainConfig(out=str(tmp_path), **{**settings, "batch": 8, "rate": 3e-3})
    run = Run(config, NetworkConfig(**SIZES))
    run.start(Pack(Path(config.pack)))
    step = Step(run, on_device, 8, 64)
    losses = []
    for _ in range(6):
        for _ in range(5):
            step.advance()
            step.steps += 1
        losses.append(step.means()["loss"])
    assert losses[-1] < 0.97 * losses[0]
    assert step.means()["loss"] == 0  # begins again
    assert not torch.equal(run.average.analysis.klt, run.codec.analysis.klt)


@pytest.fixture
def unrecorded(monkeypatch):
    """Steps run where they would be recorded and replayed, on a processor."""

    def record(step):
        for _ in range(device_loop.WARM_UP):
            step.advance()
        step.sums.zero_()

    def replay(step):
        step.advance()
        step.steps += 1

    monkeypatch.setattr(Step, "record", record)
    monkeypatch.setattr(Step, "replay", replay)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)


def test_a_cool_down_ends_the_run(settings, tmp_path, unrecorded):
    """And is not begun again after its end."""
    config = TrainConfig(out=str(tmp_path), decay_steps=3, **settings)
    for _ in range(2):
        run = resume_or_start(config, NetworkConfig(**SIZES))
        device_loop.train_on_device(run, Pack(Path(config.pack)))
        assert run.step == 3


@pytest.mark.parametrize("steps", [0, 2])
def test_recording_changes_nothing(settings, on_device, tmp_path, unrecorded, steps):
    """Neither weights nor what optimisers remember, at a run's start and later."""
    run = Run(TrainConfig(out=str(tmp_path), **settings), NetworkConfig(**SIZES))
    run.start(Pack(Path(settings["pack"])))
    step = Step(run, on_device, 2, 64)
    for _ in range(steps):
        step.advance()
    before = copy.deepcopy(run.state())
    device_loop._record(run, [step])
    after = run.state()
    for part in ("codec", "average"):
        assert all(torch.equal(values, after[part][name]) for name, values in before[part].items())
    for old, new in zip(before["optimisers"], after["optimisers"], strict=True):
        for number, values in new["state"].items():
            for name, value in values.items():
                was = old["state"][number][name] if steps else torch.zeros_like(value)
                assert torch.equal(value, was), name


def test_stacked_muon_is_muon():
    torch.manual_seed(3)
    shapes = [(6, 4), (6, 4), (4, 9)]
    theirs = [torch.nn.Parameter(torch.randn(*shape)) for shape in shapes]
    ours = [torch.nn.Parameter(p.detach().clone()) for p in theirs]
    muon = torch.optim.Muon(
        [{"params": theirs, "lr": 0.02}], weight_decay=0.01, adjust_lr_fn="original", ns_steps=4
    )
    stacked = optimisers.StackedMuon([{"params": ours, "lr": torch.tensor(0.02), "top": 0.02}])
    for _ in range(3):
        for a, b in zip(theirs, ours, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        muon.step()
        stacked.step()
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(theirs, ours, strict=True))


def test_a_broken_gradient_changes_nothing():
    p = torch.nn.Parameter(torch.ones(3, 2))
    muon = optimisers.StackedMuon([{"params": [p], "lr": torch.tensor(0.1), "top": 0.1}])
    p.grad = torch.full_like(p, float("nan"))
    muon.found_inf = torch.tensor(1.0)
    muon.step()
    assert torch.equal(p, torch.ones(3, 2))
    p.grad = torch.randn(3, 2)
    muon.found_inf = torch.tensor(0.0)
    muon.step()
    assert torch.isfinite(p).all() and not torch.equal(p, torch.ones(3, 2))


def test_a_codec_grows_without_a_change(state):
    larger = NetworkConfig(**{**SIZES, "encoder_blocks": 2, "decoder_blocks": 3, "context_hidden": 40})
    small = Codec(NetworkConfig(**state["network"]))
    small.load_state_dict(state["average"])
    large = Codec(larger)
    large.load_state_dict(grow(state, larger)["average"])
    pixels, plane = torch.rand(1, 3, 64, 128), torch.zeros(1, 1, 4, 8)
    with torch.no_grad():
        a, b = (net(pixels, plane, plane[..., :1, :1]) for net in (small, large))
    assert torch.allclose(a.pixels, b.pixels, atol=1e-5)
    assert torch.allclose(a.y_bits, b.y_bits, atol=1e-2)


@pytest.mark.parametrize("change", [{"latents": 32}, {"decoder_blocks": 0}, {"context_hidden": 8}])
def test_a_codec_grows_in_depth_and_hidden_channels_alone(state, change):
    with pytest.raises(CotamError, match=r"grow|shrink"):
        grow(state, NetworkConfig(**{**SIZES, **change}))


KERNELS = """
import torch
from cotam_cli.training import depthwise
torch.manual_seed(0)
depthwise.CHUNKS = 4
x = torch.randn(2, 20, 6, 5).to(memory_format=torch.channels_last).requires_grad_()
w, b = torch.randn(20, 1, 3, 3, requires_grad=True), torch.randn(20, requires_grad=True)
gradient = torch.randn(2, 20, 6, 5)
def run(f):
    y = f(x, w, b)
    return y.detach(), *torch.autograd.grad(y, (x, w, b), gradient)
ours = run(depthwise.depthwise)
theirs = run(lambda x, w, b: torch.nn.functional.conv2d(x, w, b, padding=1, groups=20))
assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs))
"""


def test_the_kernels_are_the_convolution():
    """In Triton's interpreter, which has to be asked for before it is loaded."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("the kernels need Triton, which comes with PyTorch for accelerators")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", KERNELS], check=True, env=environment, timeout=120)
