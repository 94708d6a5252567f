"""What becomes of a picture before an encoder sees it, and where its patches lie among the latents."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cotam_cli.codec.tokens import Preprocessing, axis_weights, prepare, safetensors, shrunk

MEAN, STD = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)


def how(resize, size=56):
    return Preprocessing(resize, size, "bicubic", MEAN, STD)


@pytest.mark.parametrize(
    ("resize", "size", "box", "shape"),
    [
        ("squash", (60, 200), (0, 0, 60, 200), (56, 56)),
        ("shortest", (60, 200), (0, 70, 60, 60), (56, 56)),
        ("fit", (60, 200), (0, 0, 60, 200), (14, 56)),
        ("fit", (20, 30), (0, 0, 20, 30), (14, 28)),
        ("shortest", (56, 56), (0, 0, 56, 56), (56, 56)),
    ],
)
def test_what_the_encoder_sees(resize, size, box, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found, view = prepare(pixels, how(resize), 14)
    assert found.shape == (*shape, 3)
    assert np.allclose((view.top, view.left, view.height, view.width), box, atol=0.8)
    assert (view.rows, view.columns) == (shape[0] // 14, shape[1] // 14)


def test_a_thin_picture_is_not_blown_up_before_it_is_cut():
    found, view = prepare(np.zeros((1, 60_000, 3), np.uint8), how("shortest", 224), 14)
    assert found.shape == (224, 224, 3)
    assert (view.height, view.width) == (1, 1)
    assert view.left == pytest.approx(30_000, abs=1)


def test_the_middle_is_scaled_as_in_the_whole():
    pixels = np.random.default_rng(0).integers(0, 256, (120, 301, 3), dtype=np.uint8)
    found, view = prepare(pixels, how("shortest"), 14)
    whole = Image.fromarray(pixels).resize((140, 56), Image.Resampling.BICUBIC)
    expected = np.asarray(whole.crop((42, 0, 98, 56))).astype(int)
    assert np.abs(found - expected).max() <= 1
    assert view.left == pytest.approx(42 * 301 / 140)


@given(
    st.integers(1, 200), st.sampled_from([16, 32]), st.floats(0, 0.5), st.floats(0.1, 1), st.integers(1, 40)
)
def test_weights_are_means_about_the_patches_middles(latents, pitch, start, share, patches):
    first, length = start * latents * pitch, share * latents * pitch
    weights = axis_weights(latents, pitch, first, length, patches)
    assert weights.shape == (patches, latents)
    assert weights.min() >= 0
    assert np.allclose(weights.sum(1), 1, atol=1e-5)
    found = weights @ np.arange(latents)  # non-decreasing along the axis
    assert np.all(np.diff(found) >= -1e-3)


def test_equal_grids_need_no_resampling():
    assert np.allclose(axis_weights(7, 16, 0, 112, 7), np.eye(7), atol=1e-6)


def test_a_ramp_stays_a_ramp():
    weights = axis_weights(32, 16, 64, 256, 18)
    middles = (64 + (np.arange(18) + 0.5) * 256 / 18) / 16 - 0.5
    assert np.allclose(weights @ np.arange(32), middles, atol=1e-4)


def test_shrinking_takes_means():
    values = np.arange(24, dtype=np.float32).reshape(4, 6, 1)
    assert shrunk(values, 2)[..., 0].tolist() == [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]
    assert shrunk(values[:3], 2).shape == (2, 3, 1)
    assert shrunk(values, 1) is values


def test_the_files_layout():
    arrays = {"a": np.ones((2, 3), np.float32), "b": np.zeros(1, np.float32)}
    raw = safetensors(arrays, {"key": "välue"})
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    assert header["b"] == {"dtype": "F32", "shape": [1], "data_offsets": [24, 28]}
    assert header["__metadata__"] == {"key": "välue"}
    assert (len(raw), length % 8) == (8 + length + 28, 0)
    loaded = pytest.importorskip("safetensors.numpy", reason="reads it as users do").load(raw)
    assert np.array_equal(loaded["a"], arrays["a"])
