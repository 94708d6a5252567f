"""The graph that differentiates by hand against automatic differentiation."""

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("onnx", reason="the export needs ONNX")

import torch

from cotam_cli.codec.structure import EQUAL
from cotam_cli.training.network import Codec, NetworkConfig, from_unit
from cotam_cli.training.similarity import structural_distance
from cotam_cli.training.slopes import SIMILARITY, slope_graph

SMALL = NetworkConfig(
    latents=32, hyper=16, width=24, encoder_blocks=1, decoder_blocks=2, features=16, context=16
)


@pytest.fixture(scope="module")
def synthesis():
    torch.manual_seed(0)
    net = Codec(SMALL).synthesis
    for parameter in net.parameters():
        parameter.data = torch.randn_like(parameter) * 0.1
    return net.eval().requires_grad_(False)


def test_slope_of_the_distortion(synthesis):
    torch.manual_seed(1)
    latents = torch.randn(1, 32, 8, 12) * 0.3
    planes = torch.full((1, 1, 8, 12), 0.25)
    shown = from_unit(synthesis(latents, planes))
    noise = torch.nn.functional.avg_pool2d(torch.randn_like(shown), 5, 1, 2)
    wanted = ((shown + 0.1 * noise).clamp(0, 1) * 255).round().byte()
    latents.requires_grad_(True)
    found = from_unit(synthesis(latents, planes)).clamp(0, 1)
    original = wanted.float() / 255
    squared = (found - original).square().mean() * 255**2
    structure = EQUAL * structural_distance(found, original, 16).mean()
    pixels = 16 * 8 * 16 * 12
    (pixels * ((1 - SIMILARITY) * squared + SIMILARITY * structure)).backward()
    session = onnxruntime.InferenceSession(slope_graph(synthesis), providers=["CPUExecutionProvider"])
    (slope,) = session.run(
        None,
        {
            "latents": latents.detach().permute(0, 2, 3, 1).numpy(),
            "planes": torch.cat([planes, planes**2], 1).permute(0, 2, 3, 1).numpy(),
            "pixels": wanted.permute(0, 2, 3, 1).numpy(),
        },
    )
    exact = latents.grad.permute(0, 2, 3, 1).numpy()
    # the training spreads the distances of wide windows over 16x16 cells, the graph leaves them where they are
    assert np.corrcoef(slope.ravel(), exact.ravel())[0, 1] > 0.99
    assert np.sqrt(np.square(slope).mean() / np.square(exact).mean()) == pytest.approx(1, abs=0.05)
