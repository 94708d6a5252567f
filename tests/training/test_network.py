"""Pieces of the float network."""

import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

import torch
import torch.nn.functional as F

from cotam_cli.training.bits import logistic_bits, training_bits
from cotam_cli.training.layers import Lapped, between, pointwise


def test_each_position_paints_twice_its_own_block():
    head = Lapped(2)
    torch.nn.init.uniform_(head.weight, 0.5, 1.0)
    features = torch.zeros(1, 2, 5, 6)
    features[0, :, 2, 3] = 1.0
    with torch.no_grad():
        picture = head(features)
    assert picture.shape == (1, 3, 40, 48)
    painted = picture[0].ne(0).all(0)
    assert painted[12:28, 20:36].all()  # 4 pixels beyond 16..24 and 24..32 each way
    assert painted.sum() == 16 * 16


def test_matrix_products_are_the_convolutions():
    torch.manual_seed(2)
    x, bias = torch.randn(2, 5, 6, 7), torch.randn(4)
    small, wide = torch.randn(4, 5), torch.randn(4, 5, 2, 2)
    torch.testing.assert_close(pointwise(x, small, bias), F.conv2d(x, small[:, :, None, None], bias))
    torch.testing.assert_close(between(x, wide, bias), F.conv2d(x, wide, bias, padding=1))


def test_bits_in_training_are_exact_for_the_scale_and_noisy_for_the_residual():
    torch.manual_seed(3)
    residual, log_scale = 3 * torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    residual.requires_grad_(), log_scale.requires_grad_()
    torch.manual_seed(4)
    noise = torch.rand_like(residual) - 0.5
    exact, noisy = (
        logistic_bits(residual.detach().round(), log_scale),
        logistic_bits(residual + noise, log_scale),
    )
    to_scale = torch.autograd.grad(exact.sum(), log_scale)[0]
    to_residual = torch.autograd.grad(noisy.sum(), residual)[0]
    torch.manual_seed(4)
    bits = training_bits(residual, log_scale)
    torch.testing.assert_close(bits, exact)
    found = torch.autograd.grad(bits.sum(), (residual, log_scale))
    torch.testing.assert_close(found, (to_residual, to_scale), rtol=1e-4, atol=1e-5)
