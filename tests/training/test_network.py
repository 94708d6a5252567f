"""Pieces of the float network."""

import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

import torch

from cotam_cli.training.layers import Lapped


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
