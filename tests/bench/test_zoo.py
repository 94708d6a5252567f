"""CompressAI's networks as codecs. Weights are random here: nothing is fetched."""

import pytest

from bench.making import scene
from cotam_cli.bench import zoo
from cotam_cli.bench.metrics import psnr
from cotam_cli.bench.zoo import zoo_codec
from cotam_cli.errors import CotamError

compressai = pytest.importorskip("compressai", reason="needs the extra torch")


@pytest.fixture
def untrained(monkeypatch):
    import compressai.zoo
    import torch

    real = compressai.zoo.image_models["bmshj2018-factorized"]

    def make(quality, metric, pretrained):
        assert pretrained and metric == "mse"
        torch.manual_seed(quality)
        network = real(quality=quality, metric=metric, pretrained=False)
        network.update()
        return network

    monkeypatch.setitem(compressai.zoo.image_models, "bmshj2018-factorized", make)
    zoo._network.cache_clear()
    yield
    zoo._network.cache_clear()


def test_real_files_of_any_size(untrained):
    codec = zoo_codec("compressai:bmshj2018-factorized")
    assert codec.ladder == tuple(map(float, range(1, 9)))
    pixels = scene(70, 90)
    data = codec.encode(pixels, 1.0)
    decoded = codec.decode(data)
    assert decoded.shape == pixels.shape
    assert psnr(pixels, decoded) > 3
    assert codec.encode(pixels, 1.0) == data


def test_offline_it_says_what_to_do(monkeypatch):
    import compressai.zoo

    def offline(**_):
        raise OSError("no route to host")

    monkeypatch.setitem(compressai.zoo.image_models, "bmshj2018-factorized", offline)
    zoo._network.cache_clear()
    with pytest.raises(
        CotamError, match=r"cannot be fetched \(no route to host\); run it once with a network"
    ):
        zoo_codec("compressai:bmshj2018-factorized")


def test_an_architecture_that_is_none():
    with pytest.raises(CotamError, match=r"has no magic; it has .*bmshj2018-factorized"):
        zoo_codec("compressai:magic")
