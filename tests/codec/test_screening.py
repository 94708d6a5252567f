"""Drawn pictures get a layer where it pays, photographs never."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import cotam_cli
from cotam_cli.codec.budget import _encode_plain
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.palette import COLOURS, Drawing, cluster
from cotam_cli.codec.quality import lambdas
from cotam_cli.codec.screening import LEGIBLE, may_pay, network_costs, plan_screen, split_screen

PHOTO = np.asarray(Image.open(Path(__file__).parents[2] / "examples" / "kodim23.png").convert("RGB"))


def page(height: int = 256, width: int = 384) -> np.ndarray:
    """Lines of type with soft edges on white, a coloured bar."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, 30), fill=(20, 60, 130))
    for line in range(8):
        draw.text(
            (12, 44 + 24 * line),
            "The quick brown fox jumps over 13 dogs",
            "black",
            ImageFont.load_default(16),
        )
    return np.asarray(image)


def error(pixels: np.ndarray, data: bytes) -> float:
    found = np.asarray(cotam_cli.decode(data, target="human"), np.float64)
    return float(np.square(found - pixels).mean())


def test_a_photo_has_none_and_is_coded_as_ever() -> None:
    assert not may_pay(PHOTO)
    assert split_screen(PHOTO, 3.0)[1] is None
    assert cotam_cli.encode(PHOTO, quality=2) == encode_pixels(PHOTO, 2.0)


@pytest.mark.parametrize("quality", [4, 6, 8])
def test_a_page_is_smaller_and_closer_with_a_layer(quality: int) -> None:
    pixels = page()
    with_layer, without = cotam_cli.encode(pixels, quality=quality), encode_pixels(pixels, quality)
    assert "screen" in cotam_cli.info(with_layer).chunks
    weight = lambdas(quality) * pixels.shape[0] * pixels.shape[1] / 8
    costs = [len(data) + weight * error(pixels, data) for data in (with_layer, without)]
    assert costs[0] < 0.8 * costs[1]


def test_finer_qualities_are_closer_and_larger() -> None:
    files = [cotam_cli.encode(page(), quality=quality) for quality in (2, 4, 6, 8)]
    errors = [error(page(), data) for data in files]
    assert errors == sorted(errors, reverse=True)
    assert [len(data) for data in files] == sorted(len(data) for data in files)


@pytest.mark.parametrize(
    "cut", [0, 1, 5, 31, 32]
)  # the last rows and columns of the sample's squares may be missing
def test_a_large_page_is_judged_by_a_sample(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    seen = []

    def spy(pixels, quality):
        seen.append(pixels.shape)
        return network_costs(pixels, quality)

    monkeypatch.setattr("cotam_cli.codec.screening.network_costs", spy)
    pixels = np.tile(page(), (5, 4, 1))
    pixels = np.ascontiguousarray(pixels[: pixels.shape[0] - cut, : pixels.shape[1] - cut])
    screen = plan_screen(pixels, 6.0)
    assert screen is not None
    assert screen.seen is None
    assert seen == [(640, 640, 3)]


def test_a_photo_on_a_page_is_left_to_the_networks() -> None:
    pixels = page(512, 768).copy()
    pixels[256:480, 384:736] = PHOTO[100:324, 300:652]
    screen = plan_screen(pixels, 5.0)
    assert screen is not None
    assert screen.seen is not None
    assert screen.seen[:230].mean() > 0.9
    assert screen.seen[270:470, 400:720].mean() < 0.1
    data = cotam_cli.encode(pixels, quality=5)
    assert set(cotam_cli.info(data).chunks) == {"hyper", "latents", "screen"}
    assert len(data) < len(encode_pixels(pixels, 5.0))


def test_a_blank_page_takes_the_bytes_that_bound_its_size() -> None:
    blank = np.full((1024, 1024, 3), 255, np.uint8)
    data = cotam_cli.encode(blank, quality=4)
    assert len(data) < 1024 * 1024 / 4096 + 50
    assert error(blank, data) == 0


def test_costs_of_the_networks_are_those_of_their_file() -> None:
    weight = lambdas(3.0) * PHOTO.shape[0] * PHOTO.shape[1]
    data = encode_pixels(PHOTO, 3.0)
    wanted = 8 * len(data) + weight * error(PHOTO, data)
    assert network_costs(PHOTO, 3.0).sum() == pytest.approx(wanted, rel=0.01)


def test_costs_of_a_drawing_are_those_of_its_pixels() -> None:
    pixels = page()
    cells = np.ones((8, 12), bool)
    drawn = Drawing.of(pixels, cells).draw(8, 0.002)
    assert len(np.unique(drawn.pixels.reshape(-1, 3), axis=0)) <= 8
    change = np.square(drawn.pixels.astype(np.float64) - pixels).sum() / 3
    assert drawn.costs.sum() > 0.002 * change
    assert drawn.perceived > drawn.costs.sum()


def test_more_colours_than_there_are_lose_nothing() -> None:
    pixels = page()
    drawing = Drawing.of(pixels, np.ones((8, 12), bool))
    assert np.array_equal(drawing.draw(COLOURS[-1], 1e6).pixels, pixels)


def test_rare_colours_are_taken_less_readily_where_bits_count_more() -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [120, 120, 120], [126, 126, 126]], np.uint8)
    counts = np.array([10000, 9000, 8000, 3])
    for weight, kept in ((1e-4, False), (1e3, True)):
        palette, nearest = cluster(colours, counts, 4, weight)
        assert (nearest[3] != nearest[2]) is np.bool_(kept)
        assert palette[nearest[0]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("quality", [-30.0, 0.5, 8.1, 1e6, float("nan")])
def test_a_quality_out_of_range(quality: float) -> None:
    with pytest.raises(cotam_cli.CotamError, match="out of range"):
        cotam_cli.encode(page(), quality=quality)


def test_an_animation_of_pages() -> None:
    frames = [Image.fromarray(page()) for _ in range(2)]
    frames[1].paste((200, 30, 30), (100, 100, 140, 120))
    from io import BytesIO

    file = BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=100)
    data = cotam_cli.encode(file.getvalue(), quality=6)
    assert set(cotam_cli.info(data).chunks) == {"frame", "screen"}
    for frame, (image, duration) in zip(frames, cotam_cli.decode_frames(data), strict=True):
        assert duration == 100
        assert np.square(np.asarray(image, np.float64) - np.asarray(frame)).mean() < 10
    small = cotam_cli.encode(file.getvalue(), max_bytes=len(data))
    assert len(small) <= len(data)


def test_a_budget_is_used_for_what_comes_closest() -> None:
    pixels = page()
    for budget in (1200, 2400, 4000):
        data = cotam_cli.encode(pixels, max_bytes=budget)
        assert len(data) <= budget
        assert error(pixels, data) <= LEGIBLE * error(
            pixels, _encode_plain(pixels, budget, None, None, (), 0)
        )
