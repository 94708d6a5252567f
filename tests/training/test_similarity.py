"""The structural distance against the measure that it approximates."""

import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

import torch

from cotam_cli.training.similarity import _window_means, structural_distance
from training.conftest import draw


def pair(noise):
    torch.manual_seed(1)
    wanted = torch.from_numpy(draw(4, (192, 192))).permute(2, 0, 1)[None].float() / 255
    return (wanted + noise * torch.randn_like(wanted)).clamp(0, 1), wanted


def test_equal_pictures_have_no_distance():
    _, wanted = pair(0)
    assert structural_distance(wanted, wanted, 16).abs().max() < 1e-5


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.03])
def test_its_mean_is_near_one_minus_ms_ssim(noise):
    measure = pytest.importorskip("pytorch_msssim", reason="the measure to compare with").ms_ssim
    found, wanted = pair(noise)
    distance = float(structural_distance(found, wanted, 16).mean())
    assert distance == pytest.approx(1 - float(measure(found, wanted, data_range=1.0)), rel=0.3)


def test_damage_counts_where_it_is():
    found, wanted = pair(0)
    found = wanted.clone()
    found[:, :, :64, :64] = found[:, :, :64, :64].mean((2, 3), keepdim=True)
    cells = structural_distance(found, wanted, 16)[0, 0]
    assert cells.shape == (12, 12)
    assert cells[:4, :4].min() > 3 * cells[7:, 7:].mean()


def test_the_gradient_restores_contrast():
    _, wanted = pair(0)
    found = (0.5 + 0.5 * (wanted - 0.5)).requires_grad_()
    distance = structural_distance(found, wanted, 16).mean()
    distance.backward()
    better = found.detach() - 20 * found.grad
    assert structural_distance(better, wanted, 16).mean() < distance


def test_windows_are_those_of_the_definition():
    found, _ = pair(0.02)
    torch.testing.assert_close(_window_means(found), torch.nn.functional.avg_pool2d(found, 8, 4))
