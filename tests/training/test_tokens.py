"""The token adapter from end to end, on a tiny codec, tiny pictures and a tiny tower of open_clip."""

import json
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cotam_cli.errors import CotamError, ModelError

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("onnx", reason="the export needs ONNX")

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 64, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """clip:MODEL/WEIGHTS of a tiny tower with a class token and a norm before its blocks."""
    open_clip = pytest.importorskip("open_clip", reason="its towers are the encoders")
    folder = tmp_path_factory.mktemp("tower")
    (folder / "tokens-vit.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tokens-vit.json")
    torch.manual_seed(5)
    network = open_clip.create_model("tokens-vit")
    with torch.no_grad():
        for values in network.visual.parameters():
            values.add_(0.05 * torch.randn_like(values))
    torch.save(network.state_dict(), folder / "tiny.pt")
    return f"clip:tokens-vit/{folder / 'tiny.pt'}"


@pytest.fixture(scope="module")
def faded(state):
    """The tiny codec with a fault that an adapter can mend: its pictures have lost most of their contrast."""
    average = dict(state["average"])
    average["synthesis.klt"] = 0.4 * average["synthesis.klt"]
    return {**state, "average": average}


@pytest.fixture(scope="module")
def exported(faded, pack_folder, tmp_path_factory):
    from cotam_cli.training.data import Pack
    from cotam_cli.training.export import export

    folder = tmp_path_factory.mktemp("faded")
    export(faded, Pack(pack_folder), folder / "models", folder / "models.json", 9, "0.0.1")
    return folder


@pytest.fixture(scope="module")
def known(exported):
    """The faded codec is the package's only model, for the whole module."""
    from cotam_cli.codec import models

    entries = json.loads((exported / "models.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "records", lambda: tuple(models.ModelRecord(**entry) for entry in entries))
        patch.setattr(models, "models_folder", lambda: exported / "models")
        models.load_model.cache_clear()
        yield
    models.load_model.cache_clear()


def settings(state_file, pack_folder, tower, out, **changes):
    from cotam_cli.training.tokens_loop import TokenRun

    options = {"steps": 90, "batch": 4, "crop": 64, "rate": 3e-3, "log_every": 10, **changes}
    return TokenRun(str(state_file), str(pack_folder), tower, str(out), **options)


@pytest.fixture(scope="module")
def state_file(faded, tmp_path_factory):
    path = tmp_path_factory.mktemp("codec") / "state.pt"
    torch.save(faded, path)
    return path


@pytest.fixture(scope="module")
def run(known, state_file, pack_folder, tower, tmp_path_factory):
    from cotam_cli.training.tokens_loop import train_tokens

    out = tmp_path_factory.mktemp("run")
    train_tokens(settings(state_file, pack_folder, tower, out))
    return out


@pytest.fixture(scope="module")
def adapter(run, tower, tmp_path_factory):
    """An exported adapter's folder."""
    from cotam_cli.training.commands import main

    folder = tmp_path_factory.mktemp("adapters") / "mine"
    call(main, "tokens", "export", "--run", run, "--tower", tower, folder)
    return folder


@pytest.fixture(scope="module")
def ctm(known):
    import cotam_cli

    return cotam_cli.encode(picture(), quality=1.5, guide="none")


def picture(size=(150, 110), seed=1):
    from training.conftest import draw

    return draw(seed, size)


def call(command, *arguments, code=0):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def log_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls(run):
    log = log_of(run)
    assert "high" not in log[0]  # the first fifth holds the shallow tokens alone
    deep = [line["high"] for line in log if "high" in line]
    assert len(deep) >= 6
    assert deep[-1] < 0.9 * deep[0]
    assert log[-1]["low"] < 0.8 * log[0]["low"]


def test_tokens_come_closer_to_the_originals_than_the_priors(adapter, tower, known, tmp_path):
    """Shallow and final ones, on pictures that were not trained on."""
    from cotam_cli.training.commands import main

    for seed in (21, 22):
        Image.fromarray(picture((128, 96), seed)).save(tmp_path / f"{seed}.png")
    words = ["--adapter", adapter, "--tower", tower, "--data", tmp_path, "--quality", 1, "--quality", 3]
    output = call(main, "tokens", "test", *words, "--json", tmp_path / "out.json")
    assert "2 pictures" in output
    found = json.loads((tmp_path / "out.json").read_text())["qualities"]
    for row in found.values():
        assert row["adapter_shallow_error"] < row["prior_shallow_error"]
        assert row["adapter_final_error"] < row["prior_final_error"]
        assert row["adapter_final_cosine"] > row["prior_final_cosine"]


@pytest.mark.parametrize("size", [(150, 110), (70, 200), (64, 64)])
def test_the_runtime_gives_what_pytorch_gives(run, adapter, tower, known, size):
    import cotam_cli
    from cotam_cli.codec import tokens
    from cotam_cli.codec.decoder import decode_pixels, decode_to_latents
    from cotam_cli.codec.quality import float_planes, undo_gain
    from cotam_cli.guidance.torch_vit import Tower
    from cotam_cli.guidance.towers import named_vit
    from cotam_cli.training.tokens_export import load_network, load_run

    data = cotam_cli.encode(picture(size), quality=2.0, guide="none")
    found, facts = tokens.tokens_of(data, str(adapter))
    loaded = tokens.TokenAdapter(adapter)
    pixels, view = tokens.prepare(decode_pixels(data, target="human"), loaded.preprocessing, 16)
    assert pixels.shape == (64, 64, 3)
    decoded = decode_to_latents(data)
    latents = undo_gain(decoded.model.gains, decoded.latents.y, decoded.plane)
    plane = float_planes(decoded.plane)[..., :1]
    down = tokens.axis_weights(latents.shape[0], 16, view.top, view.height, view.rows)
    across = tokens.axis_weights(latents.shape[1], 16, view.left, view.width, view.columns)
    net = load_network(load_run(run / "state.pt"))
    with torch.no_grad():
        prior = Tower(named_vit(tower)).embed(torch.tensor(pixels / 255).permute(2, 0, 1)[None].float())
        added = net(
            torch.from_numpy(latents).permute(2, 0, 1)[None],
            torch.from_numpy(plane).permute(0, 3, 1, 2),
            torch.from_numpy(down),
            torch.from_numpy(across),
        )
    assert found.tokens.shape == (1, 17, 64)
    assert np.abs(found.prior - prior.numpy()).max() < 0.01
    assert np.abs(found.tokens - (prior + added).numpy()).max() < 0.02
    assert np.abs(added.numpy()).max() > 0.1
    assert facts["encoder"] == "tokens-vit/tiny"


def test_an_encoder_of_any_size_and_without_a_class_token(known, state_file, pack_folder, tmp_path):
    """An ONNX file of another kind, its pictures at their own shape."""
    from cotam_cli.codec.tokens import tokens_of
    from cotam_cli.training.tokens_export import export_adapter, load_run
    from cotam_cli.training.tokens_loop import train_tokens
    from guidance.making import random_vit
    from guidance.test_towers import hugging_face_file

    path = tmp_path / "vit.onnx"
    hugging_face_file(path, random_vit(width=64, heads=1, patch=16, grid=8))
    train_tokens(settings(state_file, pack_folder, str(path), tmp_path / "run", steps=6, crop=128))
    export_adapter(load_run(tmp_path / "run" / "state.pt"), str(path), tmp_path / "a", "my-vit")
    import cotam_cli

    data = cotam_cli.encode(picture((200, 90)), quality=3.0, guide="none")
    found, facts = tokens_of(data, str(tmp_path / "a"))
    assert (found.rows, found.columns) == (4, 8)  # 90x200 fits into 128 as 64x128
    assert found.tokens.shape == (1, 33, 64)
    assert (facts["encoder"], facts["resize"], facts["grid"]) == ("my-vit", "fit", "[4, 8]")


def test_a_run_goes_on_as_if_never_stopped(known, state_file, pack_folder, tower, tmp_path):
    from cotam_cli.training.data import Pack
    from cotam_cli.training.tokens_loop import TokenTraining

    pack = Pack(pack_folder)
    whole = TokenTraining(settings(state_file, pack_folder, tower, tmp_path / "whole"))
    for k in range(4):
        whole.advance(pack, k / 4)
    parts = settings(state_file, pack_folder, tower, tmp_path / "parts")
    (tmp_path / "parts").mkdir()
    first = TokenTraining(parts)
    for k in range(2):
        first.advance(pack, k / 4)
    first.save()
    second = TokenTraining(parts)
    assert (second.step, second.crops) == (2, 8)
    for k in range(2, 4):
        second.advance(pack, k / 4)
    for a, b in zip(whole.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_of_something_else_is_not_gone_on_with(run, known, state_file, pack_folder, tmp_path):
    from cotam_cli.training.tokens_loop import train_tokens
    from guidance.making import random_vit
    from guidance.test_towers import hugging_face_file

    hugging_face_file(tmp_path / "vit.onnx", random_vit(width=64, heads=1, patch=16, grid=4))
    with pytest.raises(CotamError, match="another tower"):
        train_tokens(settings(state_file, pack_folder, str(tmp_path / "vit.onnx"), run))


@pytest.fixture
def short(known, state_file, pack_folder, tmp_path):
    """A run of one step, and its settings."""
    from cotam_cli.training.tokens_loop import train_tokens
    from guidance.making import random_vit
    from guidance.test_towers import hugging_face_file

    hugging_face_file(tmp_path / "vit.onnx", random_vit(width=64, heads=1, patch=16, grid=4))
    run = settings(state_file, pack_folder, str(tmp_path / "vit.onnx"), tmp_path / "run", steps=1)
    train_tokens(run)
    return run


@pytest.mark.parametrize("change", ["patches", "weights", "preprocessing"])
def test_a_tower_of_the_same_name_and_width_is_another(short, tmp_path, change):
    from dataclasses import replace

    from cotam_cli.training.tokens_export import export_adapter, load_run
    from cotam_cli.training.tokens_loop import train_tokens
    from guidance.making import random_vit
    from guidance.test_towers import hugging_face_file

    path, seed, patch = tmp_path / "vit.onnx", int(change == "weights"), 32 if change == "patches" else 16
    hugging_face_file(path, random_vit(width=64, heads=1, patch=patch, grid=4, seed=seed))
    resize = "squash" if change == "preprocessing" else None
    with pytest.raises(CotamError, match="another tower, preprocessing"):
        train_tokens(replace(short, resize=resize, steps=2))
    if change != "preprocessing":
        with pytest.raises(CotamError, match="other weights"):
            export_adapter(load_run(tmp_path / "run" / "state.pt"), str(path), tmp_path / "x", None)


def test_an_older_run_with_less_of_an_identity_goes_on(short, tmp_path):
    from dataclasses import replace

    from cotam_cli.training.tokens_export import export_adapter, load_run
    from cotam_cli.training.tokens_loop import train_tokens

    path = tmp_path / "run" / "state.pt"
    state = load_run(path)
    older = {"tower": "vit.onnx"} | {key: state["identity"][key] for key in ("sizes", "codec")}
    torch.save(state | {"identity": older}, path)
    export_adapter(load_run(path), short.tower, tmp_path / "adapter", None)
    assert train_tokens(replace(short, steps=2)).step == 2
    torch.save(state | {"identity": older | {"tower": "other.onnx"}}, path)
    with pytest.raises(CotamError, match="another tower, preprocessing"):
        train_tokens(replace(short, steps=3))


def test_a_state_of_another_model_is_refused(known, state, pack_folder, tower, tmp_path):
    from cotam_cli.training.tokens_loop import train_tokens

    torch.save({**state, "step": 99}, tmp_path / "other.pt")
    with pytest.raises(CotamError, match="of step 99"):
        train_tokens(settings(tmp_path / "other.pt", pack_folder, tower, tmp_path / "run"))


def test_the_command_writes_a_file_for_the_encoder(adapter, ctm, tower, tmp_path):
    from cotam_cli.cli import main
    from cotam_cli.codec.tokens import tokens_of

    (tmp_path / "a.ctm").write_bytes(ctm)
    call(main, "decode", tmp_path / "a.ctm", "--tokens", tmp_path / "a.safetensors", "--encoder", adapter)
    raw = (tmp_path / "a.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    assert header["tokens"]["dtype"] == "F32"
    assert header["tokens"]["shape"] == [1, 17, 64]
    facts = header["__metadata__"]
    assert (facts["encoder"], facts["patch"], facts["grid"]) == ("tokens-vit/tiny", "16", "[4, 4]")
    assert (facts["resize"], facts["size"], facts["interpolation"]) == ("shortest", "64", "bicubic")
    safetensors = pytest.importorskip("safetensors.numpy", reason="reads the file as users do")
    found = safetensors.load_file(tmp_path / "a.safetensors")["tokens"]
    assert np.array_equal(found, tokens_of(ctm, str(adapter))[0].tokens)


def test_several_files_go_into_a_folder(adapter, ctm, tmp_path):
    from cotam_cli.cli import main

    for name in ("a", "b"):
        (tmp_path / f"{name}.ctm").write_bytes(ctm)
    (tmp_path / "c.ctm").write_bytes(ctm[:50])
    names = [tmp_path / f"{name}.ctm" for name in "abc"]
    output = call(main, "decode", *names, "--tokens", tmp_path / "out", "--encoder", adapter, "-j", 1, code=1)
    assert "c.ctm" in output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.safetensors", "b.safetensors"]


def test_the_encoder_takes_the_tokens(adapter, ctm, tower):
    """Through open_clip's own blocks, as a user runs them."""
    import open_clip

    from cotam_cli.codec.tokens import tokens_of
    from cotam_cli.guidance.torch_vit import Tower
    from cotam_cli.guidance.towers import named_vit

    name, _, weights = tower.removeprefix("clip:").partition("/")
    visual = open_clip.create_model(name, pretrained=weights).visual.eval()
    given = torch.from_numpy(tokens_of(ctm, str(adapter))[0].tokens)
    with torch.no_grad():
        found = visual.ln_post(visual.transformer(given))
        eyes = Tower(named_vit(tower))
        wanted = eyes.normed(eyes.run_from(given, tokens=(3,)).tokens[3])
    assert torch.allclose(found, wanted, atol=1e-4)


def test_an_allowed_adapter_is_found_by_its_encoder(run, tower, ctm, exported, tmp_path, monkeypatch):
    from cotam_cli.codec import models, tokens
    from cotam_cli.training.commands import main

    folder, listed = exported / "models" / "tokens-3", tmp_path / "tokens.json"
    words = ["tokens", "export", "--run", run, "--tower", tower, "--id", 3, "--allow-list", listed]
    assert "folder tokens-3" in call(main, *words, tmp_path / "other", code=1)
    call(main, *words, folder)
    entries = json.loads(listed.read_text())
    monkeypatch.setattr(tokens, "token_records", lambda: tuple(models.ModelRecord(**e) for e in entries))
    monkeypatch.setattr(tokens, "models_folder", lambda: exported / "models")
    tokens._shipped.cache_clear()
    for name in (None, "tokens-3", "tokens-vit/tiny"):
        assert tokens.tokens_of(ctm, name)[1]["adapter"] == "tokens-3"
    with pytest.raises(ModelError, match="has: tokens-vit/tiny"):
        tokens.tokens_of(ctm, "ViT-L-14-336/openai")
    (folder / "adapter.onnx").write_bytes(b"x")
    tokens._shipped.cache_clear()
    with pytest.raises(ModelError, match="checksum"):
        tokens.tokens_of(ctm)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ModelError, match="checksum"):
        tokens.tokens_of(ctm)
    tokens._shipped.cache_clear()


def test_another_codec_model_is_refused(adapter, ctm, tmp_path):
    from cotam_cli.codec.tokens import tokens_of

    facts = json.loads((adapter / "manifest.json").read_text())
    for change, words in (
        ({"id": 4, "name": "ctm-4"}, "reads model 4"),
        ({"sha256": "0"}, "another version of"),
    ):
        folder = tmp_path / words.replace(" ", "-")
        folder.mkdir()
        (folder / "adapter.onnx").write_bytes((adapter / "adapter.onnx").read_bytes())
        (folder / "manifest.json").write_text(json.dumps({**facts, "codec": facts["codec"] | change}))
        with pytest.raises(ModelError, match=words):
            tokens_of(ctm, str(folder))


def test_without_an_adapter(ctm, tmp_path, monkeypatch):
    from cotam_cli.codec import tokens

    monkeypatch.setattr(tokens, "token_records", lambda: ())
    with pytest.raises(ModelError, match="no token adapter for model 9"):
        tokens.tokens_of(ctm)
    with pytest.raises(ModelError, match="holds no token adapter"):
        tokens.tokens_of(ctm, str(tmp_path))


def test_the_export_wants_the_runs_own_tower(run, tmp_path):
    from cotam_cli.training.tokens_export import export_adapter, load_run

    with pytest.raises(CotamError, match="learnt for tokens-vit/tiny, not for ViT-B-16/openai"):
        export_adapter(load_run(run / "state.pt"), "clip:ViT-B-16/openai", tmp_path / "x", None)
    with pytest.raises(CotamError, match="does not exist"):
        load_run(tmp_path / "state.pt")
