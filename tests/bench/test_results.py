"""Averages, what is left out of them, and BD-rates over any measure."""

import pytest

from cotam_cli.bench.bdrate import rising
from cotam_cli.bench.measuring import Failure, Point, Row
from cotam_cli.bench.results import MS_SSIM, PSNR, CurvePoint, average, bd_table, compare, pooled


def point(setting, rate, psnr=30.0, similar=None, scores=None):
    return Point(setting, round(1000 * rate), rate, psnr, similar, 0.1, 0.2, scores or {})


def row(picture, codec, *points, failures=()):
    return Row(picture, codec, points, failures)


def scores(_row, found):
    return found.scores


RUNGS = {"a": (1.0, 2.0), "b": (1.0, 2.0)}


def good(picture, codec, factor=1.0, **more):
    return row(picture, codec, *(point(k, factor * 0.1 * k, 30.0 + k, **more) for k in (1, 2)))


def test_means():
    curves = average([good("x", "a"), good("y", "a", 3.0), good("x", "b"), good("y", "b")], RUNGS, scores)
    one, two = curves.codecs["a"]
    assert (one.rung, one.bytes, one.bpp) == (1, 200, pytest.approx(0.2))
    assert two.values == {PSNR: 32.0}
    assert (two.encode_seconds, two.decode_seconds) == (pytest.approx(0.1), pytest.approx(0.2))
    assert curves.pictures == ("x", "y")
    assert curves.measures == [PSNR]


def test_a_picture_that_one_codec_fails_on_is_left_out_for_all():
    rows = [good(name, codec) for name in "xyz" for codec in "ab"]
    rows[0] = row("x", "a", None, point(2, 0.2))
    curves = average(rows, RUNGS, scores)
    assert curves.pictures == ("y", "z")
    assert curves.left_out == {"x": "a failed on it"}
    assert curves.failed == {}


def test_a_codec_that_fails_on_most_spoils_nothing_for_the_others():
    rows = [good(name, "b") for name in "xyz"]
    rows += [row("x", "a", None, None), row("y", "a", None, None), good("z", "a")]
    curves = average(rows, RUNGS, scores)
    assert set(curves.codecs) == {"b"}
    assert curves.pictures == ("x", "y", "z")
    assert curves.failed == {"a": "it failed on 2 of 3 pictures"}


def test_nothing_at_all():
    rows = [row("x", codec, None, None, failures=(Failure("no"),)) for codec in "ab"]
    curves = average(rows, RUNGS, scores)
    assert (curves.codecs, curves.measures) == ({}, [])
    assert bd_table(curves) == {}


def test_scores_count_by_weight_where_all_have_them():
    def judged(picture, codec, value, weight):
        return good(picture, codec, scores={"ocr": {"accuracy": (value, weight)}})

    rows = [
        judged("x", "a", 1.0, 3),
        judged("y", "a", 0.0, 1),
        judged("x", "b", 0.5, 3),
        judged("y", "b", 0.5, 1),
    ]
    curves = average(rows, RUNGS, scores)
    assert curves.codecs["a"][0].values["ocr accuracy"] == pytest.approx(0.75)
    assert curves.judged == {"ocr accuracy": ("x", "y")}
    rows[3] = good("y", "b")
    curves = average(rows, RUNGS, scores)
    assert curves.judged == {"ocr accuracy": ("x",)}
    assert curves.codecs["a"][0].values["ocr accuracy"] == 1
    assert pooled([(1.0, 1), (0.0, 3)]) == 0.25


def curve(factor, values, measure=PSNR):
    return [CurvePoint(k, 1, factor * 0.1 * 2**k, 0, 0, {measure: v}) for k, v in enumerate(values)]


def test_bd_rates_of_every_pair_and_measure():
    rows = []
    for codec, factor in (("a", 1.0), ("b", 0.5)):
        points = [point(k, factor * 0.1 * 2**k, 30.0 + k, 1 - 0.1 / 2**k) for k in range(4)]
        rows.append(row("x", codec, *points))
    table = bd_table(average(rows, {"a": range(4), "b": range(4)}, scores))
    assert list(table) == [PSNR, MS_SSIM]
    for measure in table:
        assert table[measure]["a"]["b"].percent == pytest.approx(-50)
        assert table[measure]["b"]["a"].percent == pytest.approx(100)


def test_a_noisy_judge_does_not_break_the_bd_rate():
    steady, noisy = curve(1, [0.2, 0.4, 0.6, 0.8], "t"), curve(0.5, [0.2, 0.4, 0.35, 0.6, 0.8], "t")
    straight = [noisy[0], noisy[1], noisy[3], noisy[4]]
    assert compare(steady, noisy, "t") == compare(steady, straight, "t")
    assert compare(steady, curve(1, [0.5, 0.5], "t"), "t") is None
    assert compare(steady, curve(1, [0.5, 0.6]), "t") is None


def test_rising():
    assert rising([3, 1, 2, 4, 2], [5, 1, 4, 5, 3]) == ([1, 2, 3], [1, 4, 5])
    assert rising([], []) == ([], [])
