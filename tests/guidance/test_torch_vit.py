"""Whole towers as PyTorch modules, against open_clip's own layers and the ONNX graphs."""

from types import SimpleNamespace

import numpy as np
import pytest

from cotam_cli.guidance.onnx_guide import guide_facts, load_guide
from cotam_cli.guidance.vit_graph import attention_graph
from guidance.making import random_vit

torch = pytest.importorskip("torch", reason="towers need PyTorch")

from cotam_cli.guidance.torch_vit import Tower  # noqa: E402  (only where torch is)

PIXELS = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))


def perturbed(network):
    with torch.no_grad():
        for values in network.parameters():
            values.add_(0.1 * torch.randn_like(values))
    return network.eval()


def normalised(vit, pixels):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (vit.mean, vit.std))
    return (pixels - mean) / std


@pytest.mark.parametrize("quick", [False, True])
def test_an_own_tower_of_open_clip(quick):
    open_clip = pytest.importorskip("open_clip", reason="its towers are read")
    from open_clip.transformer import QuickGELU, VisionTransformer

    from cotam_cli.guidance.towers import read_tower

    torch.manual_seed(2)
    act = QuickGELU if quick else torch.nn.GELU
    visual = perturbed(VisionTransformer(64, 16, 48, 3, 3, 4.0, output_dim=32, act_layer=act))
    visual.preprocess_cfg = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    vit = read_tower(visual)
    tower = Tower(vit)
    assert (tower.depth, tower.patch, tower.extra) == (3, 16, 1)
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        wanted = visual.forward_intermediates(
            normalised(vit, pixels), indices=3, output_fmt="NLC", output_extra_tokens=True
        )
        seen = tower(pixels, tokens=(1, 2, 3))
        last = visual.proj.T @ tower.normed(seen.tokens[3])[:, 0].T
    for k in range(3):
        whole = torch.cat([wanted["image_intermediates_prefix"][k], wanted["image_intermediates"][k]], 1)
        assert torch.allclose(seen.tokens[k + 1], whole, atol=2e-5)
    assert torch.allclose(last.T, wanted["image_features"], atol=2e-5)


@pytest.mark.parametrize("token", [True, False])
def test_a_tower_of_timm(token):
    pytest.importorskip("open_clip", reason="its towers are read")
    from timm.models.vision_transformer import VisionTransformer

    from cotam_cli.guidance.towers import read_tower

    torch.manual_seed(3)
    trunk = perturbed(
        VisionTransformer(
            img_size=64, patch_size=16, embed_dim=48, depth=3, num_heads=3, class_token=token,
            global_pool="token" if token else "", init_values=0.5,
        )
    )  # fmt: skip
    vit = read_tower(SimpleNamespace(trunk=trunk))
    tower, pixels = Tower(vit), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = trunk.forward_features(normalised(vit, pixels))
        found = tower.normed(tower(pixels, tokens=(3,)).tokens[3])
    assert found.shape == (1, 16 + token, 48)
    assert torch.allclose(found, wanted, atol=2e-5)


def test_attention_and_positions_are_those_of_the_graph():
    """At another grid than the tower's own, so that positions are interpolated."""
    vit = random_vit(blocks=3)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 40, 72, 3), dtype=np.uint8)
    wanted = load_guide(attention_graph(vit, guide_facts(8, 48, "x")), "x").fields(pixels)[0, ..., 0]
    given = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    seen = Tower(vit)(given, attention=(1, 2, 3))
    assert not seen.tokens
    assert seen.attention[2].shape == (1, 4, 46, 46)
    assert torch.allclose(seen.attention[2].sum(-1), torch.ones(()), atol=1e-5)
    found = torch.stack([seen.attention[k][0, :, 0, 1:].mean(0) for k in (1, 2, 3)]).mean(0).view(5, 9)
    assert np.abs(found.numpy() - wanted).max() < 0.01 * wanted.max()


def test_watching_changes_no_token():
    tower = Tower(random_vit())
    plain, watched = tower(PIXELS, tokens=(3,)), tower(PIXELS, tokens=(3,), attention=(1, 3))
    assert torch.allclose(plain.tokens[3], watched.tokens[3], atol=1e-5)


def test_it_goes_on_from_embedded_tokens():
    tower = Tower(random_vit())
    seen = tower(PIXELS, tokens=(0, 2))
    assert set(seen.tokens) == {0, 2}
    assert torch.equal(seen.tokens[0], seen.embedded)
    assert torch.equal(tower.run_from(seen.embedded, tokens=(2,)).tokens[2], seen.tokens[2])


def test_the_gradient_reaches_the_pixels_and_nothing_trains():
    tower = Tower(random_vit())
    pixels = PIXELS.clone().requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        found = tower(pixels, tokens=(3,)).tokens[3]
        loss = tower.normed(found).float().square().mean()
    loss.backward()
    assert pixels.grad.abs().mean() > 0
    assert not list(tower.parameters())
    exact = tower(PIXELS, tokens=(3,)).tokens[3]
    assert torch.nn.functional.cosine_similarity(found.float(), exact, dim=-1).min() > 0.99


def test_wrong_sides_and_blocks_are_refused():
    tower = Tower(random_vit())
    with pytest.raises(ValueError, match="multiples of 8"):
        tower(PIXELS[..., :50])
    with pytest.raises(ValueError, match="1 to 3"):
        tower(PIXELS, tokens=(4,))
    with pytest.raises(ValueError, match="1 to 3"):
        tower(PIXELS, attention=(0,))
