"""The embedded guide, on drawn pictures whose important region is known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cotam_cli.codec.guides import importance_field
from cotam_cli.codec.models import guide_file, guide_records, models_folder

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"
SIZE = (768, 512)


def lit_wall(seed):
    """A soft background without anything to look at."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(90, 170, (3, 4, 3), dtype=np.uint8))
    return coarse.resize(SIZE, Image.Resampling.BICUBIC)


def inside(field, box):
    """Mean of a field inside a box of pixels less that outside, in standard deviations."""
    left, top, right, bottom = (side // 32 for side in box)
    mask = np.zeros(field.shape, bool)
    mask[top:bottom, left:right] = True
    return (field[mask].mean() - field[~mask].mean()) / field.std()


BOXES = [(64, 64, 320, 256), (448, 64, 704, 256), (64, 288, 320, 448), (448, 288, 704, 448)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("guide", ["text", "focus"])
def test_text_is_found(guide, box):
    picture = lit_wall(1)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(20)
    for line, top in enumerate(range(box[1] + 4, box[3] - 24, 28)):
        draw.text((box[0] + 4, top), f"Total {line} of 12.95 due"[:22], fill=(15, 15, 25), font=font)
    assert inside(importance_field(np.asarray(picture), guide, 32), box) > 1


def disc(box):
    picture = lit_wall(3)
    ImageDraw.Draw(picture).ellipse(box, fill=(200, 60, 40), outline=(20, 20, 20), width=6)
    return picture


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("guide", ["attention", "mix", "focus"])
def test_a_thing_draws_more_attention_than_the_wall(guide, box):
    assert inside(importance_field(np.asarray(disc(box)), guide, 32), box) > 1


@pytest.mark.parametrize("box", BOXES)
def test_a_thing_draws_more_attention_than_noise(box):
    picture = disc(box)
    left, top, right, bottom = box
    other = (768 - right, 512 - bottom, 768 - left, 512 - top)
    noise = np.random.default_rng(4).integers(0, 256, (bottom - top, right - left, 3), np.uint8)
    picture.paste(Image.fromarray(noise), other[:2])
    field = importance_field(np.asarray(picture), "attention", 32)
    assert inside(field, box) > inside(field, other) + 1


def test_mix_is_both_fields():
    picture = np.asarray(Image.open(PHOTO).convert("RGB"))
    mix, attention = (importance_field(picture, guide, 32) for guide in ("mix", "attention"))
    assert np.corrcoef(mix.ravel(), attention.ravel())[0, 1] > 0.8  # a photograph without text


def test_a_flat_picture_and_any_size_work():
    for size in ((512, 768), (1, 1), (33, 1000), (1500, 1100)):
        field = importance_field(np.full((*size, 3), 128, np.uint8), "attention", 32)
        assert field.shape == (-(-size[0] // 32), -(-size[1] // 32))
        assert np.isfinite(field).all()


def test_it_is_small_and_shipped_with_its_checksum():
    assert len(guide_file()) < 6_000_000
    folder = models_folder() / guide_records()[-1].name
    assert {path.name for path in folder.iterdir()} == {"guide.onnx", "manifest.json", "README.md"}
