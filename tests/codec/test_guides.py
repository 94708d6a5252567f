"""From a guide's name to a map."""

import numpy as np
import pytest

import cotam_cli
from cotam_cli.codec.guides import find_source, plan_map
from cotam_cli.errors import GuideError
from cotam_cli.guidance.options import DEFAULTS, GuideOptions
from guidance.making import brightness_bytes

PIXELS = np.random.default_rng(0).integers(0, 256, (128, 192, 3), dtype=np.uint8)
RAMP = np.linspace(0, 1, 6)[None].repeat(4, 0)


def test_none_has_no_map():
    assert plan_map(PIXELS, "none", DEFAULTS) is None
    assert plan_map(PIXELS, RAMP, GuideOptions(strength=0)) is None


def test_an_array_is_a_map():
    spec = plan_map(PIXELS, RAMP, DEFAULTS)
    assert (spec.count, 8 << spec.cell_log2, spec.strength) == (3, 32, DEFAULTS.strength)
    assert np.array_equal(spec.levels, [[0, 0, 1, 1, 2, 2]] * 4)


def test_options_shape_the_map():
    spec = plan_map(PIXELS, RAMP, GuideOptions(levels=5, k=0.4, cell=16, strength=0.25))
    assert (spec.count, 8 << spec.cell_log2, spec.strength) == (5, 16, 0.25)
    assert spec.levels.shape == (8, 12)
    assert spec.levels.max() == 4


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (GuideOptions(levels=1), "levels"),
        (GuideOptions(k=-1), "k "),
        (GuideOptions(cell=24), "cells of 24"),
        (GuideOptions(strength=8), "strength"),
        (GuideOptions(strength=float("nan")), "strength"),
    ],
)
def test_options_out_of_range(options, word):
    with pytest.raises(GuideError, match=word):
        plan_map(PIXELS, RAMP, options)


def test_the_limit_that_a_message_names_is_in_range():
    with pytest.raises(GuideError, match=r"strength 7.97 is out of range; choose 0 to \d") as caught:
        plan_map(PIXELS, RAMP, GuideOptions(strength=7.97))
    limit = float(str(caught.value).split()[-1])
    assert plan_map(PIXELS, RAMP, GuideOptions(strength=limit)).strength == limit


@pytest.mark.parametrize("guide", [np.zeros((2, 2, 3)), np.zeros(4), np.zeros((0, 3)), np.array([["a"]])])
def test_arrays_that_are_no_maps(guide):
    with pytest.raises(GuideError, match="2-D"):
        plan_map(PIXELS, guide, DEFAULTS)


def test_unknown_guides_are_told_what_there_is():
    with pytest.raises(GuideError, match=r"auto, none.*clip:"):
        find_source("sharp")


def test_a_network_is_opened_once_and_anew_when_its_file_changes(tmp_path):
    import os

    path = tmp_path / "guide.onnx"
    path.write_bytes(brightness_bytes())
    first = find_source(str(path))
    assert find_source(path) is first
    path.write_bytes(brightness_bytes(native=128))
    os.utime(path, ns=(1, 1))
    assert find_source(str(path)) is not first


def test_a_guided_file_through_the_librarys_face(tmp_path):
    path = tmp_path / "guide.onnx"
    path.write_bytes(brightness_bytes())
    pixels = np.full((128, 192, 3), 60, np.uint8)
    pixels[32:96, 64:128] = np.random.default_rng(0).integers(120, 256, (64, 64, 3))
    data = cotam_cli.encode(pixels, quality=4, guide=path, guide_options=GuideOptions(strength=0.75))
    facts = cotam_cli.info(data)
    assert (facts.levels, facts.strength) == (3, 0.75)
    assert "map" in facts.chunks
    assert cotam_cli.info(cotam_cli.encode(pixels, quality=4, guide="none")).levels == 0
