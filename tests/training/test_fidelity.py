"""The multi-level loss, and the adapter from its first step to a decoded picture."""

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("onnx", reason="the export needs ONNX")

import torch

from cotam_cli import CotamError
from cotam_cli.codec import tiling
from cotam_cli.codec.decoder import decode_pixels, decode_to_latents
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.quality import float_planes, undo_gain
from cotam_cli.guidance.torch_vit import Tower
from cotam_cli.training import adapter_loop, fidelity
from cotam_cli.training.adapter_loop import AdapterRun, train_fidelity
from cotam_cli.training.adapter_states import carry_over, merge
from cotam_cli.training.commands import main
from cotam_cli.training.data import DEFAULT_SHARES, Pack, build_pack
from cotam_cli.training.export import export, export_adapter, load_adapter, load_codec
from cotam_cli.training.fidelity import VitTeacher, distances, fidelity_loss, level_weights, view
from cotam_cli.training.network import from_unit
from cotam_cli.training.pixel_loss import cell_errors, pixel_loss
from guidance.making import random_vit
from training.conftest import draw

WORKER = """
import os, sys, torch
from cotam_cli.guidance.torch_vit import Tower
from cotam_cli.training import adapter_loop
from cotam_cli.training.fidelity import VitTeacher
from cotam_cli.training.workers import average_gradients
from guidance.making import random_vit

pack, codec, out, learnt = sys.argv[1:]
teacher = VitTeacher(Tower(random_vit()), (1,), (2, 3), 8)
adapter_loop.load_teachers = lambda names, device: dict.fromkeys(names, teacher)
run = adapter_loop.AdapterRun(pack=pack, out=out, steps=2, batch=2, crop=64)
found = adapter_loop.train_fidelity(run, torch.load(codec), ["teacher"])
rank = int(os.environ["RANK"])
parts = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (1,))]
for number, part in enumerate(parts[:2]):
    part.grad = torch.full_like(part, 10.0 * number + 4 * rank)
average_gradients(parts, 2)
found["gradients"] = [part.grad for part in parts]
torch.save(found, f"{learnt}{rank}.pt")
"""


@pytest.fixture(scope="module")
def teacher():
    return VitTeacher(Tower(random_vit()), (1,), (2, 3), 8)


@pytest.fixture
def known_teacher(teacher, monkeypatch):
    monkeypatch.setattr(adapter_loop, "load_teachers", lambda names, _device: dict.fromkeys(names, teacher))


@pytest.fixture
def options(pack_folder, tmp_path):
    return {"pack": str(pack_folder), "out": str(tmp_path / "run"), "batch": 2, "crop": 64, "log_every": 1}


def learn(options, state, **changes):
    lines = []
    result = train_fidelity(AdapterRun(**{**options, **changes}), state, ["teacher"], lines.append)
    return result, [json.loads(line) for line in lines]


def test_nothing_lies_between_a_picture_and_itself(teacher):
    pixels = torch.rand(2, 3, 48, 64)
    assert [level for level, _ in distances(teacher, pixels, pixels)] == ["shallow", "deep", "deep"]
    assert all(float(distance.max()) == 0 for _, distance in distances(teacher, pixels, pixels))


def test_a_speck_on_a_page_without_text_does_not_outweigh_text():
    def reads(pixels):
        return [("text", pixels[:, 0])]

    blank = torch.zeros(1, 3, 32, 32)
    speck, lines = blank.clone(), blank.clone()
    speck[..., 4:6, 4:6] = 0.05
    lines[..., ::4, :] = 0.9
    ((_, alone),) = distances(reads, blank, speck)
    ((_, missed),) = distances(reads, lines, lines * 0.9)
    assert float(alone) < 0.1 * float(missed)


def test_a_worse_picture_is_further_away_and_the_gradient_leads_back(teacher):
    torch.manual_seed(3)
    original, noise = torch.rand(2, 3, 48, 64), torch.randn(2, 3, 48, 64)
    weights = level_weights(text=0.0)
    near = (original + 0.02 * noise).requires_grad_()
    loss = fidelity_loss(distances(teacher, original, near), weights)
    assert loss < fidelity_loss(distances(teacher, original, original + 0.2 * noise), weights)
    loss.backward()
    step = 1e-3 * near.grad / near.grad.norm()
    assert fidelity_loss(distances(teacher, original, near.detach() - step), weights) < loss


def test_the_first_fifth_is_shallow_where_wanted(state, options, known_teacher, monkeypatch):
    weights = []
    whole = adapter_loop.fidelity_loss
    monkeypatch.setattr(
        adapter_loop, "fidelity_loss", lambda found, given: weights.append(given) or whole(found, given)
    )
    learn(options, state, steps=10, alone=0.2, pages=0.0)
    assert weights[:2] == [{"shallow": 0.1, "deep": 0.0, "text": 0.0, "reading": 0.0}] * 2
    assert weights[2:] == [{"shallow": 0.1, "deep": 1.0, "text": 0.2, "reading": 0.2}] * 8


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.setattr(fidelity.NetworkTeacher, "to", lambda _self, _device: None)
    return fidelity.NetworkTeacher(
        lambda lines: lines.mean((1, 2))[:, None, :6].softmax(-1), fidelity.letters
    )


@pytest.fixture
def looks(monkeypatch):
    """The teachers that looked, step by step."""
    found = []
    whole = adapter_loop.distances
    monkeypatch.setattr(adapter_loop, "distances", lambda who, *rest: found.append(who) or whole(who, *rest))
    monkeypatch.setattr(adapter_loop, "PRIOR_EVERY", 100)
    return found


def test_pages_are_for_teachers_that_read_and_photos_for_the_others(
    state, options, monkeypatch, teacher, reader, looks
):
    both = {"teacher": teacher, "reader": reader}
    monkeypatch.setattr(adapter_loop, "load_teachers", lambda _names, _device: both)
    learn({**options, "out": options["out"] + "pages"}, state, steps=3, pages=1.0)
    assert looks and all(who is reader for who in looks)
    looks.clear()
    learn({**options, "out": options["out"] + "photos"}, state, steps=3, pages=0.0)
    assert looks and all(who is teacher for who in looks)


@pytest.mark.parametrize("reads", [False, True])
def test_no_step_goes_without_a_teacher(state, options, monkeypatch, teacher, reader, looks, reads):
    """Teachers of one kind look at every step, at pictures for their kind."""
    only = reader if reads else teacher
    monkeypatch.setattr(adapter_loop, "load_teachers", lambda _names, _device: {"only": only})
    seen = []
    batch = adapter_loop.Fidelity.batch
    monkeypatch.setattr(
        adapter_loop.Fidelity,
        "batch",
        lambda self, pack, *rest: seen.append(set(pack.groups)) or batch(self, pack, *rest),
    )
    learn(options, state, steps=6, pages=0.5)
    assert len(looks) == 7  # and once at the prior
    assert seen == [{"text"} if reads else {"photo"}] * 6


def test_first_crops_come_from_all_groups_whatever_the_kind_of_the_step(tmp_path):
    """Pictures of one colour a group; shares of the first crops of the steps with pages, narrow and wide."""
    names = {"scan": "text/sroie", "text": "text", "drawn": "drawn"}
    for level, name in enumerate(names.values()):
        (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 64), 100 * level).save(tmp_path / "pictures" / name / "0.png")
    build_pack([tmp_path / "pictures"], tmp_path / "pack", drawn=0)
    pages, run = Pack(tmp_path / "pack"), AdapterRun(pack="", out="")
    found = {wide: [] for wide in (False, True)}
    for step in range(3000):
        page, wide = adapter_loop.step_kind(run, step)
        if page:
            crop = pages.crop(adapter_loop.step_randomness(run.seed, step), 64)
            found[wide].append(int(crop[0, 0, 0]) // 100)
    total = sum(DEFAULT_SHARES[group] for group in names)
    for firsts in found.values():
        for level, group in enumerate(names):
            assert firsts.count(level) / len(firsts) == pytest.approx(DEFAULT_SHARES[group] / total, abs=0.08)


def test_a_texture_in_a_smooth_place_costs_more_than_in_a_busy_one():
    pixels = torch.full((1, 3, 64, 128), 0.5)
    prior = pixels + 0.005
    prior[..., 64:] += 0.1 * torch.randn(1, 3, 64, 64)
    before = cell_errors(prior, pixels)
    assert float(pixel_loss(before, before)) == pytest.approx(1)
    losses = []
    for half in (slice(0, 64), slice(64, 128)):
        found = prior.clone()
        found[..., half][..., ::2] += 0.02
        losses.append(float(pixel_loss(cell_errors(found, pixels), before)))
    assert losses[0] > 3 > 1.1 > losses[1]


def test_an_empty_crop_has_no_ratio_that_drowns_the_others():
    empty = torch.full((1, 4, 4), 1e-12)
    assert float(pixel_loss(torch.full((1, 4, 4), 1e-7), empty)) < 1


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_view_is_the_same_region_of_all(scale):
    x = torch.rand(1, 3, 128, 100)
    a, b = view(random.Random(1), (x, x + 1), 14, scale)
    assert a.shape == b.shape and a.shape[2] % 14 == a.shape[3] % 14 == 0
    assert torch.allclose(a + 1, b, atol=1e-6)


def test_an_adapter_learns_what_the_teacher_misses(state, options, known_teacher):
    result, log = learn(
        options, state, steps=60, distant=0.0, pixels=0.0, shallow=1.0, rate=1e-3, muon_rate=0.01
    )
    assert result["step"] == 60 and result["crops"] == 120
    share = np.mean([line["0deep1"] for line in log[45:] if "0deep1" in line])
    assert share < 0.985  # of the prior's error
    assert log[0]["0deep1"] == pytest.approx(1, abs=1e-3)  # it starts as nothing


def test_a_resumed_run_goes_on_as_if_never_stopped(state, options, known_teacher, tmp_path):
    whole, _ = learn(options, state, steps=6)
    options = {**options, "out": str(tmp_path / "other")}
    pieces = {"step": 0}
    while pieces["step"] < 6:
        pieces, _ = learn(options, state, steps=6, minutes=0.001)
    for name, values in whole["average"].items():
        assert torch.equal(values, pieces["average"][name]), name


def test_a_resumed_run_takes_new_rates(state, options, known_teacher, tmp_path):
    learn(options, state, steps=1)
    before = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["adapter"]
    result, _ = learn(options, state, steps=3, rate=0.0, muon_rate=0.0)
    assert result["step"] == 3
    assert all(torch.equal(values, before[name]) for name, values in result["adapter"].items())


def test_a_run_goes_on_with_its_own_teachers(state, options, known_teacher, tmp_path):
    learn(options, state, steps=1)
    run = AdapterRun(**options, steps=2)
    with pytest.raises(CotamError, match=r"learns from teacher; name these"):
        train_fidelity(run, state, ["text:other.onnx"])
    assert train_fidelity(run, state, ["elsewhere/teacher"], list)["step"] == 2  # as it was kept before


def test_two_workers_take_one_step_together(state, pack_folder, tmp_path):
    """Each has crops of its own; gradients are the means of both, and what they learn is the same."""
    torch.save(state, tmp_path / "codec.pt")
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    paths = [str(tmp_path / name) for name in ("codec.pt", "run", "learnt")]
    arguments = [str(program), str(pack_folder), *paths]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    here["PYTHONPATH"] = os.pathsep.join(sys.path)
    both = [
        subprocess.Popen([sys.executable, *arguments], env=here | {"RANK": str(rank)}) for rank in range(2)
    ]
    assert [worker.wait(120) for worker in both] == [0, 0]
    first, second = (torch.load(tmp_path / f"learnt{rank}.pt") for rank in range(2))
    assert first["crops"] == 2 * 2 * 2
    for found in (first, second):
        square, row, none = found["gradients"]
        assert torch.equal(square, torch.full((2, 3), 2.0)) and torch.equal(row, torch.full((4,), 12.0))
        assert none is None
    assert all(torch.equal(first["adapter"][name], second["adapter"][name]) for name in first["adapter"])
    assert any(
        not torch.equal(first["adapter"][name], state["average"][f"synthesis.{name}"])
        for name in first["adapter"]
    )


def test_a_run_belongs_to_one_codec(state, options, known_teacher, tmp_path):
    learn(options, state, steps=1)
    other = {**state, "step": 5}
    with pytest.raises(CotamError, match="step 4 of the codec, not 5"):
        learn(options, other, steps=2)
    with pytest.raises(CotamError, match="step 4 of the codec, not 5"):
        merge(other, tmp_path / "run", tmp_path / "merged")


def test_merging_adds_what_the_carried_adapter_had_seen(state, options, known_teacher, tmp_path):
    learn(options, state, steps=2)
    merge(state, tmp_path / "run", tmp_path / "once")
    with pytest.raises(CotamError, match="no run of an adapter"):
        merge(state, tmp_path / "once", tmp_path / "again")
    carried = torch.load(tmp_path / "once" / "state.pt", weights_only=True)
    learn({**options, "out": str(tmp_path / "more")}, carried, steps=3)
    merge(carried, tmp_path / "more", tmp_path / "twice")
    twice = torch.load(tmp_path / "twice" / "state.pt", weights_only=True)
    assert (twice["adapter"]["training"]["step"], twice["adapter"]["training"]["crops"]) == (5, 10)


def test_what_an_accelerator_learnt_goes_on_and_merges_without_one(
    state, options, known_teacher, tmp_path, monkeypatch
):
    path = tmp_path / "run" / "state.pt"
    learn(options, state, steps=1)
    kept = torch.load(path, weights_only=True)
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _storage: "cuda:7")
        torch.save(kept, path)
    merge(state, tmp_path / "run", tmp_path / "merged")
    result, _ = learn(options, state, steps=2)
    assert result["step"] == 2


def test_merging_half_way(state, options, known_teacher, tmp_path):
    learn(options, state, steps=3, shallow=1.0)
    for share in (1.0, 0.5):
        merge(state, tmp_path / "run", tmp_path / f"at {share}", share)
    whole, half = (
        torch.load(tmp_path / f"at {share}" / "state.pt", weights_only=True)["adapter"]["weights"]
        for share in (1.0, 0.5)
    )
    for name, values in half.items():
        middle = (state["average"][f"synthesis.{name}"] + whole[name]) / 2
        assert torch.allclose(values, middle, atol=1e-6), name


def test_a_newer_codec_takes_the_adapter_along(state, options, known_teacher, tmp_path):
    learn(options, state, steps=4, shallow=1.0)
    merge(state, tmp_path / "run", tmp_path / "merged")
    old = torch.load(tmp_path / "merged" / "state.pt", weights_only=True)
    new = {**state, "average": {name: values * 1.5 for name, values in state["average"].items()}}
    carry_over(old, new, tmp_path / "carried")
    carried = torch.load(tmp_path / "carried" / "state.pt", weights_only=True)["adapter"]["weights"]
    for name, weights in carried.items():
        beyond = old["adapter"]["weights"][name] - state["average"][f"synthesis.{name}"]
        assert torch.allclose(weights, 1.5 * state["average"][f"synthesis.{name}"] + beyond, atol=1e-6), name
    with pytest.raises(CotamError, match="carries no adapter"):
        carry_over(state, new, tmp_path / "none")


def test_what_is_exported_decodes_as_it_was_trained(
    state, options, known_teacher, tmp_path, pack_folder, use_models, monkeypatch
):
    learn(options, state, steps=12, shallow=1.0, pixels=0.0)
    merge(state, tmp_path / "run", tmp_path / "merged")
    merged = torch.load(tmp_path / "merged" / "state.pt", weights_only=True)
    merged["adapter"]["weights"]["head.bias"].add_(0.1)  # what twelve steps learn is less than rounding
    export(merged, Pack(pack_folder), tmp_path / "models", tmp_path / "models.json", 9, "0.0.1")
    manifest = json.loads((tmp_path / "models" / "ctm-9" / "manifest.json").read_text())
    assert manifest["adapter"]["teachers"] == ["teacher"] and manifest["adapter"]["crops"] == 24
    use_models(tmp_path / "models", tmp_path / "models.json")

    data = encode_pixels(np.asarray(draw(11, (150, 110))), 2.0)
    human, machine = (decode_pixels(data, target=target).astype(int) for target in ("human", "mllm"))
    assert np.abs(human - machine).max() > 1
    decoded = decode_to_latents(data)
    planes = torch.from_numpy(float_planes(decoded.plane)).permute(0, 3, 1, 2)
    values = undo_gain(decoded.model.gains, decoded.latents.y, decoded.plane)
    latents = torch.from_numpy(values).permute(2, 0, 1)[None]
    codec, adapter = load_codec(merged), load_adapter(merged)
    with torch.no_grad():
        pictures = [net(latents, planes[:, :1]) for net in (codec.synthesis, adapter)]
    for found, picture in zip((human, machine), pictures, strict=True):
        wanted = (from_unit(picture)[0] * 255).clamp(0, 255).permute(1, 2, 0).numpy()
        assert np.abs(found - wanted[:110, :150]).max() < 1

    whole = decode_pixels(data)
    monkeypatch.setattr(tiling.grid_tiles, "__defaults__", (4, tiling.HALO))
    assert np.abs(decode_pixels(data).astype(int) - whole).max() <= 1


def test_an_adapter_goes_into_its_codecs_model(state, options, known_teacher, tmp_path, exported):
    """All that codes stays byte for byte; another codec's adapter is refused."""
    folder = tmp_path / "exported"
    shutil.copytree(exported, folder)
    models, known, model = folder / "models", folder / "models.json", folder / "models" / "ctm-9"
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    learn(options, state, steps=2)
    merge(state, tmp_path / "run", tmp_path / "merged")
    merged = torch.load(tmp_path / "merged" / "state.pt", weights_only=True)
    assert export_adapter(merged, models, known, 9) == model
    after = {path.name: path.read_bytes() for path in model.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"machine.onnx", "manifest.json"}
    facts, (entry,) = json.loads(after["manifest.json"]), json.loads(known.read_text())
    assert facts["adapter"]["crops"] == 4
    assert facts["files"]["machine.onnx"] == hashlib.sha256(after["machine.onnx"]).hexdigest()
    assert entry["manifest_sha256"] == hashlib.sha256(after["manifest.json"]).hexdigest()
    other = merged | {"average": {name: values * 1.5 for name, values in merged["average"].items()}}
    for wrong, reason in ((state, "carries no adapter"), (other, "its own codec alone")):
        with pytest.raises(CotamError, match=reason):
            export_adapter(wrong, models, known, 9)
    with pytest.raises(CotamError, match="is no model"):
        export_adapter(merged, models, known, 8)


def test_teachers_that_cannot_be_had(tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(CotamError, match="cannot be read as ONNX"):
        fidelity.load_teacher(str(tmp_path / "text.onnx"))
    with pytest.raises(CotamError, match=r"onnx2torch|cannot be read as ONNX"):
        fidelity.load_teacher(f"text:{tmp_path / 'text.onnx'}")


NAMES = {
    "clip:ViT-B-16/openai": "clip:ViT-B-16/openai",
    "clip:ViT-L-14/openai": "clip:ViT-L-14/openai",
    "clip:ViT-B-16/home/me/mine.pt": "clip:ViT-B-16/mine",
    "text:home/me/det/inference.onnx": "text:inference.onnx",
    "read:home/me/rec/inference.onnx": "read:inference.onnx",
    "mobilenet:home/me/weights.pt": "mobilenet:weights.pt",
    "home/me/dinov2.onnx": "dinov2.onnx",
}


def test_teachers_with_the_same_last_part_of_their_names_are_several(monkeypatch):
    monkeypatch.setattr(
        fidelity, "load_teacher", lambda _name: fidelity.NetworkTeacher(torch.nn.Identity(), None)
    )
    found = fidelity.load_teachers(list(NAMES))
    assert list(found) == list(NAMES.values())
    assert list(map(fidelity.teacher_name, found)) == list(found)
    with pytest.raises(CotamError, match=r"two teachers are called text:inference\.onnx"):
        fidelity.load_teachers(["text:a/inference.onnx", "text:b/inference.onnx"])


def test_the_teachers_of_older_runs_are_named_without_their_folders(state, options, known_teacher, tmp_path):
    """They were kept as they had been given."""
    learn(options, state, steps=1)
    path = tmp_path / "run" / "state.pt"
    torch.save(torch.load(path, weights_only=True) | {"teachers": list(NAMES)}, path)
    merge(state, tmp_path / "run", tmp_path / "merged")
    merged = torch.load(tmp_path / "merged" / "state.pt", weights_only=True)
    assert merged["adapter"]["training"]["teachers"] == list(NAMES.values())


def test_the_help_is_that_of_the_command():
    texts = {
        name: " ".join(CliRunner().invoke(main, [*name.split(), "--help"]).output.split())
        for name in ("train", "fidelity train")
    }
    assert "0: never" in texts["train"] and "a quarter as many" in texts["train"]
    assert "0: never" not in texts["fidelity train"] and "a quarter as many" not in texts["fidelity train"]
    assert "at four times the cost" in texts["fidelity train"]


def test_a_reader_looks_at_strips_as_high_as_lines():
    """Letters by column: a strip is 48 pixels high for the reader, and its answer is a root of probabilities."""
    seen = []

    def network(lines):
        seen.append(lines)
        return lines.mean((1, 2))[:, :, None].expand(-1, -1, 3).softmax(-1)

    ((level, answer),) = fidelity.NetworkTeacher(network, fidelity.letters)(torch.rand(2, 3, 64, 96))
    assert level == "reading" and answer.shape == (2, 2 * 144 * 3)
    assert seen[0].shape == (4, 3, 48, 144) and float(seen[0].abs().max()) <= 1
    assert torch.allclose(answer.square(), torch.full_like(answer, 1 / 3), atol=1e-5)
