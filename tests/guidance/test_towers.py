"""Guides from open_clip's towers: small networks of random weights, saved and loaded as real ones are."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cotam_cli.errors import GuideError
from cotam_cli.guidance.export import export_guide
from cotam_cli.guidance.onnx_guide import load_guide
from cotam_cli.guidance.sources import open_source
from guidance.making import random_vit

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 64, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}
PIXELS = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def open_clip():
    pytest.importorskip("torch", reason="towers need PyTorch")
    return pytest.importorskip("open_clip", reason="towers need open_clip")


@pytest.fixture(scope="module")
def tower(open_clip, tmp_path_factory):
    """(guide name, network) of a tiny tower that open_clip knows, its weights in a checkpoint."""
    import torch

    folder = tmp_path_factory.mktemp("tower")
    (folder / "tiny-vit.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-vit.json")
    torch.manual_seed(5)
    network = open_clip.create_model("tiny-vit")
    with torch.no_grad():
        for values in network.visual.parameters():
            values.add_(0.1 * torch.randn_like(values))
    torch.save(network.state_dict(), folder / "tiny.pt")
    return f"clip:tiny-vit/{folder / 'tiny.pt'}", network.eval()


def attention_of(network, blocks):
    """The class token's attention as PyTorch's own layers give it."""
    import torch

    visual, kept = network.visual, []
    x = torch.from_numpy(PIXELS).permute(2, 0, 1)[None].float() / 255
    config = visual.preprocess_cfg
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))

    def watch(block, arguments):
        y = block.ln_1(arguments[0])
        kept.append(block.attn(y, y, y, need_weights=True)[1][0, 0, 1:])

    hooks = [block.register_forward_pre_hook(watch) for block in visual.transformer.resblocks[:blocks]]
    with torch.no_grad():
        network.encode_image((x - mean) / std)
    for hook in hooks:
        hook.remove()
    return torch.stack(kept).mean(0).view(4, 4).numpy()


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_exported_map_is_the_towers_attention(tower, blocks):
    name, network = tower
    guide = load_guide(export_guide(name, blocks), "x")
    assert (guide.patch, guide.native) == (16, 64)
    found = guide.fields(PIXELS[None])[0, ..., 0]
    wanted = attention_of(network, blocks)
    assert np.abs(found - wanted).max() < 0.01 * wanted.max()


def test_the_last_blocks_alone(tower):
    name, network = tower
    found = load_guide(export_guide(name, 3, first=2), "x").fields(PIXELS[None])[0, ..., 0]
    wanted = (3 * attention_of(network, 3) - attention_of(network, 1)) / 2
    assert np.abs(found - wanted).max() < 0.01 * wanted.max()
    with pytest.raises(GuideError, match="blocks 3 to 2"):
        export_guide(name, 2, first=3)


def test_a_tower_guides_a_picture_of_any_size(tower):
    field = open_source(tower[0]).field(np.ascontiguousarray(np.tile(PIXELS, (3, 5, 1))[:150]), 32)
    assert field.shape == (5, 10)
    assert field.std() > 0


def test_an_exported_file_gives_what_the_tower_gives(tower, tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(export_guide(tower[0]))
    assert path.stat().st_size < 700_000
    assert np.array_equal(open_source(str(path)).field(PIXELS, 16), open_source(tower[0]).field(PIXELS, 16))


def test_a_tower_without_a_class_token(open_clip):
    """SigLIP's kind: the attention that each patch receives."""
    import torch
    from timm.models.vision_transformer import VisionTransformer

    from cotam_cli.guidance.onnx_guide import guide_facts
    from cotam_cli.guidance.towers import read_tower
    from cotam_cli.guidance.vit_graph import attention_graph

    torch.manual_seed(1)
    trunk = VisionTransformer(
        img_size=64, patch_size=16, embed_dim=48, depth=3, num_heads=3, class_token=False, global_pool="avg"
    ).eval()
    vit = read_tower(SimpleNamespace(trunk=trunk), 2)
    assert vit.class_token is None
    guide = load_guide(attention_graph(vit, guide_facts(16, 64, "siglip")), "x")
    found = guide.fields(PIXELS[None])[0, ..., 0]
    kept = []

    def watch(block, arguments):
        attention = block.attn
        y = block.norm1(arguments[0])
        q, k, _ = attention.qkv(y).reshape(1, 16, 3, 3, 16).permute(2, 0, 3, 1, 4)
        kept.append((q @ k.transpose(-1, -2) / 4).softmax(-1)[0].mean((0, 1)))

    for block in trunk.blocks[:2]:
        block.register_forward_pre_hook(watch)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)
    with torch.no_grad():
        trunk((torch.from_numpy(PIXELS).permute(2, 0, 1)[None].float() / 255 - mean) / std)
    wanted = torch.stack(kept).mean(0).view(4, 4).numpy()
    assert np.abs(found - wanted).max() < 0.01 * wanted.max()


def test_towers_without_attention_are_refused(open_clip):
    from open_clip.modified_resnet import ModifiedResNet

    from cotam_cli.guidance.towers import read_tower

    with pytest.raises(GuideError, match="no attention"):
        read_tower(ModifiedResNet([1, 1, 1, 1], 32, 2, image_size=64, width=8), 3, "RN-tiny")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("clip:No-Such-Model/openai", "knows no model"),
        ("clip:ViT-B-16", "names no weights"),
        ("clip:ViT-B-16/no-such-tag", "cannot load"),
        ("clip:ViT-B-16/gone.pt", "cannot load"),
    ],
)
def test_towers_that_cannot_be_had(open_clip, name, words):
    with pytest.raises(GuideError, match=words):
        export_guide(name)


def test_more_blocks_than_there_are(tower):
    with pytest.raises(GuideError, match="4 blocks"):
        export_guide(tower[0], 5)


def test_without_open_clip_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(GuideError, match=r"cotam-cli\[torch\]"):
        open_source("clip:ViT-B-16/openai")


def hugging_face_file(path, vit, transposed=True):
    """The weights of a `Vit` under the names of Hugging Face's DINOv2."""
    arrays = {
        "embeddings.patch_embeddings.projection.weight": vit.patch,
        "embeddings.patch_embeddings.projection.bias": vit.patch_bias,
        "embeddings.cls_token": vit.class_token.reshape(1, 1, -1) / 2,
        "embeddings.position_embeddings": np.concatenate(
            [vit.class_token[None] / 2, vit.positions.reshape(len(vit.patch), -1).T]
        )[None],
    }
    for k, block in enumerate(vit.blocks):
        layers = {
            "attention.attention.query": block.query,
            "attention.attention.key": block.key,
            "attention.attention.value": block.value,
            "attention.output.dense": block.out,
            "mlp.fc1": block.first,
            "mlp.fc2": block.second,
        }
        for name, layer in layers.items():
            arrays[f"encoder.layer.{k}.{name}.weight"] = layer.weight.T if transposed else layer.weight
            arrays[f"encoder.layer.{k}.{name}.bias"] = layer.bias
        for name, layer in (("norm1", block.norm1), ("norm2", block.norm2)):
            arrays[f"encoder.layer.{k}.{name}.weight"] = layer.weight
            arrays[f"encoder.layer.{k}.{name}.bias"] = layer.bias
    weights = [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in arrays.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    path.write_bytes(
        helper.make_model(helper.make_graph([node], "vit", [value], [result], weights)).SerializeToString()
    )


@pytest.mark.parametrize("transposed", [True, False])
def test_a_vit_as_an_onnx_file(tmp_path, transposed):
    from cotam_cli.guidance.onnx_guide import guide_facts
    from cotam_cli.guidance.vit_graph import attention_graph

    vit = random_vit(width=64, heads=1)
    hugging_face_file(tmp_path / "dino.onnx", vit, transposed)
    guide = load_guide(export_guide(str(tmp_path / "dino.onnx"), 2), "x")
    assert guide.source == "dino, blocks 1-2"
    plain = random_vit(width=64, heads=1, blocks=3)
    wanted = attention_graph(
        type(plain)(
            **{
                **plain.__dict__,
                "blocks": plain.blocks[:2],
                "mean": (0.485, 0.456, 0.406),
                "std": (0.229, 0.224, 0.225),
            }
        ),
        guide_facts(8, 48, "x"),
    )
    pixels = PIXELS[None, :48, :48]
    assert np.allclose(guide.fields(pixels), load_guide(wanted, "x").fields(pixels), atol=1e-4)


def test_other_onnx_files_are_refused(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(GuideError, match="cannot be read"):
        export_guide(str(tmp_path / "bad.onnx"))
    from guidance.making import brightness_bytes

    (tmp_path / "other.onnx").write_bytes(brightness_bytes())
    with pytest.raises(GuideError, match="Hugging Face"):
        export_guide(str(tmp_path / "other.onnx"))
    with pytest.raises(GuideError, match="does not exist"):
        export_guide(str(tmp_path / "gone.onnx"))
