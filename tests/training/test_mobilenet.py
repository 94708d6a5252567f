"""MobileNetV2 as a teacher: its shapes, its answers without batch normalisation, its file."""

import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

import torch

from cotam_cli import CotamError
from cotam_cli.training.fidelity import distances, load_teacher
from cotam_cli.training.mobilenet import MobileNetV2, load_mobilenet


@pytest.fixture(scope="module")
def network():
    """The network with random weights, and batch normalisation that has seen something."""
    torch.manual_seed(2)
    made = MobileNetV2().train()
    with torch.no_grad():
        made(torch.rand(4, 3, 64, 64))
    return made.eval()


@pytest.fixture
def weights(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "mobilenet.pt")
    return tmp_path / "mobilenet.pt"


def test_its_size_is_that_of_the_paper(network):
    """3.4 million weights with the classifier's 1,281,000; layers at strides 4, 8 and 16 and the means."""
    assert sum(values.numel() for values in network.parameters()) == 2_223_872
    shapes = [tuple(answer.shape) for answer in network(torch.rand(2, 3, 64, 96))]
    assert shapes == [(2, 24, 16, 24), (2, 32, 8, 12), (2, 96, 4, 6), (2, 1280)]


def test_taking_in_the_normalisation_changes_no_answer(network, weights):
    loaded = load_mobilenet(weights)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in loaded.modules())
    assert not any(values.requires_grad for values in loaded.parameters())
    pixels = torch.rand(1, 3, 64, 64)
    for found, wanted in zip(loaded(pixels), network(pixels), strict=True):
        assert torch.allclose(found, wanted, atol=1e-4)


def test_it_teaches(weights):
    teacher = load_teacher(f"mobilenet:{weights}")
    assert not teacher.reads
    original, noise = torch.rand(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    near = (original + 0.02 * noise).requires_grad_()
    found = distances(teacher, original, near)
    far = distances(teacher, original, original + 0.2 * noise)
    assert [level for level, _ in found] == ["shallow", "shallow", "deep", "deep"]
    assert all(a.mean() < b.mean() for (_, a), (_, b) in zip(found, far, strict=True))
    found[-1][1].mean().backward()
    assert float(near.grad.abs().max()) > 0


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"features.0.0.weight": torch.zeros(1)}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt", "missing.pt"):
        with pytest.raises(CotamError, match="holds no weights of MobileNetV2"):
            load_mobilenet(tmp_path / name)
