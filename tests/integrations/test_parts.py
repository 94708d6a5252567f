"""Message parts for the SDKs."""

import base64
import json
from pathlib import Path

import pytest
from PIL import Image

import cotam_cli
from cotam_cli.integrations import anthropic, openai


@pytest.fixture
def picture() -> Image.Image:
    return Image.radial_gradient("L").resize((48, 32)).convert("RGB")


def test_the_parts_hold_what_encode_gives(picture: Image.Image) -> None:
    data = cotam_cli.encode(picture, quality=2, guide="none")
    encoded = base64.b64encode(data).decode()
    url = f"data:image/x-ctm;base64,{encoded}"
    options = {"quality": 2, "guide": "none"}
    assert openai.data_url(picture, **options) == url
    assert openai.image_part(picture, **options) == {"type": "image_url", "image_url": {"url": url}}
    assert openai.input_image(picture, **options)["image_url"] == url
    assert anthropic.image_block(picture, **options)["source"] == {
        "type": "base64",
        "media_type": "image/x-ctm",
        "data": encoded,
    }
    json.dumps([openai.image_part(picture), anthropic.image_block(picture)])


def test_a_budget_counts_base64() -> None:
    picture = Image.effect_noise((48, 32), 90)
    for part in (openai.image_part, openai.input_image, anthropic.image_block):
        data = json.dumps(part(picture, max_bytes=400)).split("base64,")[-1].split('"data": "')[-1]
        assert 250 < len(data.split('"')[0]) <= 400


def test_files_of_both_kinds(picture: Image.Image, tmp_path: Path) -> None:
    png, ctm = tmp_path / "x.png", tmp_path / "x.ctm"
    picture.save(png)
    data = cotam_cli.encode(picture)
    ctm.write_bytes(data)
    url = openai.data_url(picture)
    for source in (png, str(png), png.read_bytes(), ctm, str(ctm), data, memoryview(data)):
        assert openai.data_url(source) == url


def test_errors_are_cotams(tmp_path: Path) -> None:
    with pytest.raises(cotam_cli.CotamError, match="does not exist"):
        openai.image_part(tmp_path / "nothing.png")
    with pytest.raises(cotam_cli.CotamError, match="not a picture"):
        anthropic.image_block(b"text")
