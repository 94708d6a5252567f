"""The format page is enough for screen layers too: a reader of single pixels finds what the package wrote."""

from __future__ import annotations

import hashlib
import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from cotam_cli.codec.screen import Screen, encode_screen
from independent_layers import read_layer
from independent_reader import read_container

Size = namedtuple("Size", "width height")
RNG = np.random.default_rng(5)
GOLDEN = Path(__file__).resolve().parent / "golden"
HASHES = json.loads((GOLDEN / "hashes.json").read_text())


def page(height: int, width: int, colours: int) -> np.ndarray:
    """Glyphs in lines on a plain page, and some noise."""
    glyphs = RNG.integers(0, colours, (4, 7, 6)) * (RNG.random((4, 7, 6)) < 0.6)
    index = np.zeros((height, width), np.int64)
    for y in range(3, height - 7, 11):
        for x in range(2, width - 6, 8):
            if RNG.random() < 0.7:
                index[y : y + 7, x : x + 6] = glyphs[RNG.integers(4)]
    index[RNG.random(index.shape) < 0.004] = colours - 1
    return RNG.integers(0, 256, (colours, 3), np.uint8)[index]


@pytest.mark.parametrize(
    ("height", "width", "colours"),
    [(70, 90, 3), (60, 50, 40), (1, 600, 2), (515, 4, 5), (9, 259, 2), (2, 2, 4), (40, 40, 1)],
)
@pytest.mark.parametrize("part", [False, True])
def test_both_readers_agree(height: int, width: int, colours: int, part: bool) -> None:
    pixels = page(height, width, colours)
    seen = np.ones((height, width), bool)
    seen[height // 3 : height // 2 + 1, : width // 2 + 1] = False
    payload = encode_screen(Screen(pixels, seen if part else None))
    found = read_layer(Size(width, height), payload)
    assert np.array_equal(found[..., :3], np.where(seen[..., None], pixels, 0) if part else pixels)
    if part:
        assert np.array_equal(found[..., 3], seen * 255)


def test_strong_guesses_and_full_counts() -> None:
    """Long enough for every count to reach its limit: 30,000 pixels of a pattern with rare faults."""
    index = np.indices((100, 300)).sum(0) % 3
    index[RNG.random(index.shape) < 0.002] = 0
    pixels = np.array([[0, 0, 0], [255, 255, 255], [9, 99, 200]], np.uint8)[index]
    assert np.array_equal(read_layer(Size(300, 100), encode_screen(Screen(pixels, None))), pixels)


@pytest.mark.parametrize("name", [name for name, hashes in HASHES.items() if "screen_sha256" in hashes])
def test_golden_layers(name: str) -> None:
    """What every machine must find in the golden files, read by the page alone."""
    header, frames = read_container((GOLDEN / name).read_bytes(), {int(name.split("-")[1]): GOLDEN})
    pixels = read_layer(header, frames[0]["S"])[..., :3]
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == HASHES[name]["screen_sha256"]


def test_the_reader_shares_no_code_with_the_package() -> None:
    assert "cotam_cli" not in (GOLDEN.parent / "independent_layers.py").read_text(encoding="utf-8")
