"""Guides as ONNX files: the attention of a transformer, the contract of the metadata, damaged files."""

import math

import numpy as np
import pytest

from cotam_cli.errors import CotamError, GuideError
from cotam_cli.guidance.onnx_guide import load_guide, resized
from guidance.making import brightness, brightness_bytes, random_vit, vit_bytes


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def half(layer):
    return layer.weight.astype(np.float16).astype(np.float64), layer.bias.astype(np.float64)


def norm(x, layer):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + layer.eps) * layer.weight + layer.bias


def apply(x, layer):
    weight, bias = half(layer)
    return x @ weight.T + bias


def attention_by_hand(vit, pixels):
    """The paper's map in plain NumPy, for a picture of the network's own grid."""
    side, grid = vit.patch.shape[-1], vit.positions.shape[-1]
    x = (pixels / 255 - vit.mean) / vit.std
    patches = x.reshape(grid, side, grid, side, 3).transpose(0, 2, 4, 1, 3).reshape(grid * grid, -1)
    x = patches @ vit.patch.reshape(len(vit.patch), -1).T + vit.patch_bias
    x = x + vit.positions.astype(np.float16).reshape(len(vit.patch), -1).T
    if vit.class_token is not None:
        x = np.concatenate([vit.class_token[None], x])
    maps = []
    for block in vit.blocks:
        y = norm(x, block.norm1)
        q, k, v = (
            apply(y, layer).reshape(len(x), vit.heads, -1).transpose(1, 0, 2)
            for layer in (block.query, block.key, block.value)
        )
        p = softmax(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1]))
        maps.append(p[:, 0, 1:].mean(0) if vit.class_token is not None else p.mean((0, 1)))
        x = x + apply((p @ v).transpose(1, 0, 2).reshape(len(x), -1), block.out)
        hidden = apply(norm(x, block.norm2), block.first)
        x = x + apply(hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))), block.second)
    return np.mean(maps, axis=0).reshape(grid, grid)


@pytest.mark.parametrize("class_token", [True, False])
def test_the_map_is_the_mean_of_the_shallow_blocks_attention(class_token):
    pixels = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    guide = load_guide(vit_bytes(class_token=class_token), "x")
    found = guide.fields(pixels[None])[0, ..., 0]
    wanted = attention_by_hand(random_vit(class_token=class_token), pixels)
    assert np.abs(found - wanted).max() < 2e-3 * wanted.max()
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.9999


def test_tiles_of_one_call_do_not_see_each_other():
    pixels = np.random.default_rng(1).integers(0, 256, (11, 40, 64, 3), dtype=np.uint8)
    guide = load_guide(vit_bytes(), "x")
    together = guide.fields(pixels)
    assert together.shape == (11, 5, 8, 1)
    assert np.allclose(together[9], guide.fields(pixels[9:10])[0], rtol=1e-4)


def test_input_keeps_the_shape_and_the_networks_area():
    guide = brightness(native=320)
    height, width = guide.input_size((512, 768))
    assert height % 8 == 0 and width % 8 == 0
    assert width / height == pytest.approx(1.5, rel=0.05)
    assert height * width == pytest.approx(320 * 320, rel=0.05)
    assert guide.input_size((40, 64)) == (40, 64)  # never enlarged
    assert guide.input_size((1, 3000))[0] == 8


def test_resized_is_antialiased():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, ::2] = 255
    assert np.abs(resized(pixels, (16, 16)).astype(int) - 127).max() < 12
    assert resized(pixels, (64, 64)) is pixels


def test_source_and_weights_come_from_the_metadata():
    guide = brightness()
    assert (guide.patch, guide.native, guide.source, guide.weights) == (8, 64, "brightness", (1.0,))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a readable ONNX file"),
        (b"not onnx at all", "not a readable ONNX file"),
        (brightness_bytes()[:300], "not a readable ONNX file"),
        (brightness_bytes(**{"cotam.guide": "9"}), "not a guide of version 1"),
        (brightness_bytes(**{"cotam.patch": "many"}), "damaged metadata"),
        (brightness_bytes(**{"cotam.patch": "0"}), "damaged metadata"),
    ],
)
def test_other_files_are_refused_with_a_cure(data, words):
    with pytest.raises(GuideError, match=words) as caught:
        load_guide(data, "my.onnx")
    assert "my.onnx" in str(caught.value)
    assert "export" in str(caught.value)


def test_threads_come_from_the_environment_and_do_not_wait_in_a_busy_loop(monkeypatch):
    monkeypatch.setenv("COTAM_THREADS", "1")
    options = brightness().session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_cpu_mem_arena
    monkeypatch.setenv("COTAM_THREADS", "many")
    with pytest.raises(CotamError, match="COTAM_THREADS"):
        brightness()
