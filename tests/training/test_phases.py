"""The context by phases against the definition by masks."""

import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

import torch

from cotam_cli.training.bits import logistic_bits
from cotam_cli.training.layers import quadratic
from cotam_cli.training.network import Codec, NetworkConfig, to_unit
from cotam_cli.training.phases import PASSES, from_phases, gather_passes, own_channels, to_phases


def test_phases_come_together_again():
    x = torch.arange(2 * 8 * 4 * 6).reshape(2, 8, 4, 6).float()
    phases = to_phases(x)
    assert torch.equal(from_phases(phases, 2, 4, 6), x)
    coded = [own_channels(phases, number) for number in range(PASSES)]
    assert torch.equal(gather_passes(coded), phases)


def test_passes_code_what_the_order_says():
    codec = Codec(NetworkConfig(latents=8))
    turn = codec.pass_of(torch.Size((1, 8, 4, 6)), torch.device("cpu"))
    for number in range(PASSES):
        assert bool((own_channels(to_phases(turn), number) == number).all())


@torch.no_grad()
def test_bits_and_latents_are_those_of_all_positions_under_masks():
    torch.manual_seed(1)
    codec = Codec(NetworkConfig(latents=16, hyper=8, width=16, features=8, context=16))
    for parameter in codec.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    pixels, plane = torch.rand(2, 3, 128, 64), 0.3 * torch.randn(2, 1, 8, 4)
    base = torch.zeros(2, 1, 1, 1)
    latents, y_bits, _ = codec.code(pixels, plane, base)

    gained = codec.analysis(to_unit(pixels), plane) * torch.exp(quadratic(codec.log_gain, plane))
    features = codec.hyper_synthesis(codec.hyper_analysis(gained).round())
    planes = torch.cat([plane, plane * plane], 1)
    turn = codec.pass_of(gained.shape, gained.device)
    known, bits = torch.zeros_like(gained), torch.zeros_like(gained)
    for number in range(PASSES):
        mean, log_scale = codec.predict(number, features, planes, known)
        residual = (gained - mean).round()
        bits += (turn == number) * logistic_bits(residual, quadratic(codec.y_prior, plane) + log_scale)
        known += (turn == number) * (residual + mean)
    torch.testing.assert_close(y_bits, bits.sum(1, keepdim=True), rtol=1e-4, atol=1e-3)
    expected = known * torch.exp(quadratic(codec.log_regain - codec.log_gain, plane))
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
