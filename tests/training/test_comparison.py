"""Comparison and tables of rate curves."""

import pytest

from cotam_cli.bench.results import MS_SSIM, PSNR, CurvePoint
from cotam_cli.training.comparison import compare, comparison_table, curve_table


def curve(factor, similar=True):
    """Quality 28 + 3 k dB at factor * 0.05 * 2^k bits per pixel."""
    points = []
    for k in range(6):
        values = {PSNR: 28.0 + 3 * k} | ({MS_SSIM: 1 - 0.1 / 2**k} if similar else {})
        points.append(CurvePoint(k, 100, factor * 0.05 * 2**k, 0.1, 0.1, values))
    return points


CURVES = {"cotam": curve(0.5), "jpeg": curve(1), "worse": curve(0.25, similar=False)}


def test_compared_with_each_of_the_others():
    jpeg, worse = compare(
        CURVES, "cotam", [{"cotam": curve(f), "jpeg": curve(1), "worse": curve(1)} for f in (1, 2, 5)]
    )
    assert (jpeg.anchor, worse.anchor) == ("jpeg", "worse")
    assert jpeg.psnr.percent == pytest.approx(-50)
    assert (jpeg.psnr_singles.mean, jpeg.psnr_singles.median) == pytest.approx((500 / 3, 100))
    assert jpeg.ms_ssim_singles.median == pytest.approx(100)
    assert jpeg.ms_ssim.percent == pytest.approx(-50)
    assert worse.psnr.percent == pytest.approx(100)
    assert worse.ms_ssim is worse.ms_ssim_home is None
    assert compare(CURVES, "cotam")[0].psnr_singles is None


def test_home_is_where_the_anchor_spends_005_to_08_bits():
    jpeg, _ = compare(CURVES, "cotam")
    assert jpeg.psnr_home.low == pytest.approx(28)
    assert jpeg.psnr_home.high == pytest.approx(40)


def test_tables():
    table = comparison_table("cotam", compare(CURVES, "cotam"))
    assert "cotam against" in table
    assert "-50.0 % (28.0-43.0 dB)" in table
    assert "no common range" in table
    single = [{"cotam": curve(f), "jpeg": curve(1), "worse": curve(1)} for f in (1, 2, 5)]
    assert "+166.7, +100.0 %" in comparison_table("cotam", compare(CURVES, "cotam", single))
    lines = curve_table(curve(1)).splitlines()
    assert len(lines) == 7
    assert lines[1].split() == ["0", "0.0500", "28.00", "0.9000"]
    assert curve_table(curve(1, similar=False)).splitlines()[1].endswith("-")
