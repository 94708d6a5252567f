"""Every codec that is here makes real files that come back, from small to fine."""

import importlib.util
import pickle

import numpy as np
import pytest

from cotam_cli.bench import codecs
from cotam_cli.bench.codecs import Codec, anchors, bits_per_pixel, cotam, encode_near
from cotam_cli.bench.metrics import psnr

FOUND, MISSING = anchors()
SIGNATURES = {
    "jpeg": b"\xff\xd8",
    "webp": b"RIFF",
    "avif": b"ftypavif",
    "jxl": b"\xff\x0a",
    "cotam": b"\x89CTM",
}


def picture(height=96, width=128):
    y, x = np.mgrid[:height, :width] / 12
    base = np.stack([np.sin(x + k) * np.cos(y * (k + 1)) for k in range(3)], -1)
    noise = np.random.default_rng(0).normal(0, 12, base.shape)
    return np.clip(128 + 90 * base + noise, 0, 255).astype(np.uint8)


def test_what_is_missing_is_named():
    assert {codec.name for codec in FOUND} | set(MISSING) == {"jpeg", "webp", "avif", "jxl"}
    assert ("jxl" in MISSING) == (importlib.util.find_spec("pillow_jxl") is None)
    assert all(cure for cure in MISSING.values())


def test_a_missing_plugin_is_reported(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pillow_jxl" else real(name)
    )
    monkeypatch.setattr(codecs.features, "check", lambda name: name != "avif")
    found, missing = anchors()
    assert [codec.name for codec in found] == ["jpeg", "webp"]
    assert set(missing) == {"avif", "jxl"}
    assert "pip install" in missing["jxl"]


@pytest.mark.parametrize("codec", [*FOUND, cotam()], ids=lambda codec: codec.name)
class TestEachCodec:
    def test_there_and_back(self, codec):
        pixels = picture()
        data = codec.encode(pixels, codec.ladder[-1])
        assert SIGNATURES[codec.name] in data[:12]
        decoded = codec.decode(data)
        assert decoded.shape == pixels.shape
        assert decoded.dtype == np.uint8
        assert psnr(pixels, decoded) > 20

    def test_the_ladder_rises(self, codec):
        pixels = picture()
        sizes = [len(codec.encode(pixels, setting)) for setting in (codec.ladder[0], codec.ladder[-1])]
        assert sizes[0] < sizes[1]
        assert list(codec.ladder) == sorted(set(codec.ladder))
        assert set(codec.ladder) <= set(codec.settings)
        assert list(codec.settings) == sorted(set(codec.settings))

    def test_a_worker_process_can_have_it(self, codec):
        pixels = picture(32, 32)
        again = pickle.loads(pickle.dumps(codec))
        assert again.encode(pixels, again.ladder[1]) == codec.encode(pixels, codec.ladder[1])


def test_avif_does_not_depend_on_the_number_of_processors():
    assert codecs._AVIF["max_threads"] == 1
    assert codecs._AVIF["autotiling"] is False


def counting(sizes):
    """A codec whose files have the sizes of a list; it counts what it is asked for."""
    asked = []

    def encode(_pixels, setting):
        asked.append(setting)
        return bytes(sizes[round(setting * 2)])

    settings = tuple(k / 2 for k in range(len(sizes)))
    return Codec("counting", "1", (0.0,), settings, encode, lambda data: None), asked


@pytest.mark.parametrize(
    ("target", "setting"), [(0.0, 0.0), (8.0, 0.0), (24.0, 1.0), (27.0, 1.0), (29.0, 1.5), (900, 49.5)]
)
def test_nearest_to_a_target(target, setting):
    codec, asked = counting([k + 1 for k in range(100)])
    result = encode_near(codec, np.zeros((1, 1, 3), np.uint8), target)
    assert result.setting == setting
    assert result.bpp == 8 * len(result.data)
    assert len(asked) <= 8


def test_few_tries_where_the_rate_grows_as_it_mostly_does():
    asked = []

    def encode(_pixels, setting):
        asked.append(setting)
        return bytes(round(1000 * 1.01**setting + 200))

    codec = Codec("steady", "1", (), tuple(range(449)), encode, lambda data: np.zeros((1, 1, 3), np.uint8))
    result = encode_near(codec, np.zeros((100, 100, 3), np.uint8), 4.0)
    assert result.bpp == pytest.approx(4.0, rel=0.01)
    assert len(asked) <= 5


def test_nearest_to_a_target_with_a_real_codec():
    pixels = picture()
    jpeg = FOUND[0]
    result = encode_near(jpeg, pixels, 2.0)
    assert result.data == jpeg.encode(pixels, result.setting)
    assert result.bpp == bits_per_pixel(result.data, pixels) == pytest.approx(2.0, rel=0.1)
