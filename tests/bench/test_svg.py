"""Drawings: well-formed, everything inside, nothing from outside taken for markup."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotam_cli.bench.svg import HEIGHT, WIDTH, even_ticks, figure, page_of, rate_ticks

CURVES = {"cotam": [(0.05, 24.0), (0.2, 29.0), (0.8, 36.0)], "jpeg": [(0.15, 23.0), (0.9, 35.0)]}
STYLES = {"cotam": 0, "jpeg": 1}


def drawn(curves=CURVES, **options):
    styles = {name: k for k, name in enumerate(curves)}
    return figure(curves, **{"title": "PSNR", "unit": "dB", "styles": styles, **options})


def test_every_codec_and_point_is_there():
    root = ElementTree.fromstring(drawn())
    groups = [g for g in root.iter() if g.get("class", "").startswith("curve ")]
    assert [g.get("data-codec") for g in groups] == ["cotam", "jpeg"]
    assert "own" in groups[0].get("class")
    said = [mark.get("data-says") for mark in root.iter() if mark.get("class") == "mark"]
    assert said[1] == "cotam: 0.200 bpp, 29.00 dB"
    assert len(said) == 5


def test_colour_is_not_the_only_sign():
    text = drawn()
    dashes = re.findall(r'<polyline [^>]*stroke-dasharray="([^"]*)"', text)
    marks = set(re.findall(r'class="mark" d="([^"]*)"', text))
    assert len(set(dashes)) == len(marks) == 2


@given(
    st.lists(st.tuples(st.floats(1e-4, 30), st.floats(0, 100)), min_size=1, max_size=8),
    st.floats(0, 100),
)
def test_everything_lies_inside(points, reference):
    root = ElementTree.fromstring(drawn({"x": sorted(points)}, reference=reference))
    for mark in root.iter():
        place = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", mark.get("transform", ""))
        if place:
            assert 0 <= float(place[1]) <= WIDTH and 0 <= float(place[2]) <= HEIGHT


def test_names_are_text_not_markup():
    name = '"><script>alert(1)</script>&'
    root = ElementTree.fromstring(drawn({name: [(0.1, 1.0), (0.2, 2.0)]}, title=name))
    assert not [part for part in root.iter() if part.tag.endswith("script")]
    assert any(part.get("data-codec") == name for part in root.iter())


def test_shares_are_shown_in_per_cent():
    text = drawn({"x": [(0.1, 0.25), (0.2, 0.5)]}, unit="%", reference=0.95)
    assert "x: 0.100 bpp, 25.0 %" in text
    assert "originals" in text


def test_nothing_to_draw():
    assert "nothing to draw" in drawn({"x": []})


def test_a_file_of_several():
    root = ElementTree.fromstring(page_of([drawn(), drawn(), drawn()]))
    inner = [(part.get("x"), part.get("y")) for part in root if part.get("role") == "img"]
    assert inner == [("0", "0"), (str(WIDTH), "0"), ("0", str(HEIGHT))]
    assert "prefers-color-scheme:dark" in root[0].text


@pytest.mark.parametrize(
    ("low", "high", "ticks"), [(0.04, 1.2, [0.05, 0.1, 0.2, 0.5, 1]), (0.21, 0.49, [0.3, 0.4])]
)
def test_rates_at_round_values(low, high, ticks):
    assert rate_ticks(low, high) == ticks


@given(st.floats(-100, 100), st.floats(1e-3, 1e3))
def test_ticks_are_neither_too_few_nor_too_many(low, span):
    ticks = even_ticks(low, low + span)
    assert 3 <= len(ticks) <= 12
    assert all(low - 1e-6 <= tick <= low + span + 1e-6 for tick in ticks)
