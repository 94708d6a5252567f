"""The BD-rate against values computed elsewhere.

The rate curves are those stored by CompressAI (results/image/kodak, rounded); their BD-rates over PSNR come
from SciPy's PCHIP. The others are the example data of the `bjontegaard` package (1.3.0, "pchip"),
which agrees with the sheet of the JVET common test conditions to ten digits.
"""

import numpy as np
import pytest

from cotam_cli.bench.bdrate import Pchip, bd_rate, log_rate_curve, quality_range
from cotam_cli.errors import CotamError

VTM = (
    [0.04824, 0.11250, 0.24582, 0.49055, 0.87481, 1.43085, 2.32461, 3.63261],
    [26.1448, 28.4930, 31.1999, 34.2615, 37.4198, 40.4244, 43.5058, 46.5918],
)
AV1 = (
    [
        0.05569,
        0.10998,
        0.16995,
        0.24560,
        0.35236,
        0.49874,
        0.68279,
        0.90903,
        1.16727,
        1.41479,
        1.80537,
        2.60752,
    ],
    [
        25.5607,
        27.5624,
        29.0247,
        30.4417,
        31.9874,
        33.6498,
        35.3218,
        36.9888,
        38.5554,
        39.8094,
        41.4344,
        43.9676,
    ],
)
MBT_MEAN = (
    [0.12392, 0.19798, 0.30724, 0.46061, 0.66167, 0.91440, 1.23421, 1.61909],
    [27.6995, 29.3588, 31.1289, 32.9507, 34.9683, 36.9111, 38.8375, 40.6333],
)
JPEG = (
    [
        0.22115,
        0.32661,
        0.42313,
        0.50839,
        0.58787,
        0.66013,
        0.72895,
        0.84972,
        0.96438,
        1.12740,
        1.36883,
        1.85886,
        3.40134,
    ],
    [
        23.7799,
        26.5772,
        28.0422,
        29.0418,
        29.7847,
        30.3783,
        30.9032,
        31.7048,
        32.3993,
        33.2347,
        34.3943,
        36.3289,
        40.5567,
    ],
)


@pytest.mark.parametrize(
    ("anchor", "test", "percent"),
    [
        (VTM, AV1, 16.2),
        (VTM, MBT_MEAN, 21.3),
        (VTM, JPEG, 208.5),
        (AV1, VTM, -13.9),
        (AV1, MBT_MEAN, 4.1),
        (AV1, JPEG, 166.2),
    ],
)
def test_curves_stored_by_compressai(anchor, test, percent):
    assert bd_rate(anchor, test).percent == pytest.approx(percent, abs=0.1)


@pytest.mark.parametrize(
    ("anchor", "test", "percent"),
    [
        (
            ([9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]),
            ([9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]),
            -4.417485350589,
        ),
        (
            ([82472.76, 26875.24, 9487.76, 4593.6], [43.825, 41.404, 40.037, 38.615]),
            ([99896.96, 33952.04, 9787.8, 4469.0], [44.731, 41.875, 40.121, 38.651]),
            -4.472182002762,
        ),
        (
            ([82472.76, 26875.24, 9487.76, 4593.6, 3600, 2900], [43.825, 41.404, 40.037, 38.615, 36.5, 35.1]),
            ([99896.96, 33952.04, 9787.8, 4469.0, 4040, 3300], [44.731, 41.875, 40.121, 38.651, 37, 36.5]),
            -2.952802411643,
        ),
    ],
)
def test_examples_of_the_bjontegaard_package(anchor, test, percent):
    assert bd_rate(anchor, test).percent == pytest.approx(percent, abs=1e-9)


def test_half_the_rate_is_minus_fifty_per_cent_whatever_the_curve():
    rates, qualities = AV1
    result = bd_rate(AV1, ([rate / 2 for rate in rates], qualities))
    assert result.percent == pytest.approx(-50)
    assert (result.low, result.high) == (25.5607, 43.9676)


def test_the_order_of_points_does_not_matter():
    turned = tuple(list(reversed(side)) for side in MBT_MEAN)
    assert bd_rate(AV1, turned) == bd_rate(AV1, MBT_MEAN)


def test_only_the_common_range_counts():
    low = ([0.1, 0.2, 0.4], [30.0, 33.0, 36.0])
    assert bd_rate(low, ([0.1, 0.2], [36.5, 39.0])) is None
    result = bd_rate(low, ([0.3, 0.6, 1.2], [35.0, 38.0, 41.0]))
    assert (result.low, result.high) == (35.0, 36.0)


def test_a_range_of_the_anchors_rates():
    """The log rate is linear here: quality 30 + 10 log2(rate / 0.1)."""
    anchor = ([0.1, 0.2, 0.4, 0.8], [30.0, 40.0, 50.0, 60.0])
    test = ([0.1, 0.2, 0.2, 0.4], [30.0, 40.0, 50.0, 60.0])
    assert quality_range(log_rate_curve(*anchor), 0.2, 0.4) == pytest.approx((40, 50))
    assert quality_range(log_rate_curve(*anchor), 0.01, 9) == pytest.approx((30, 60))
    lower, upper = bd_rate(anchor, test, within=(0.1, 0.2)), bd_rate(anchor, test, within=(0.4, 2))
    assert lower.percent > upper.percent == pytest.approx(-50, abs=5)
    assert bd_rate(anchor, test, within=(2, 3)) is None


def test_of_equal_qualities_the_cheapest_counts():
    doubled = ([*VTM[0], 3.0], [*VTM[1], VTM[1][2]])
    assert bd_rate(AV1, doubled) == bd_rate(AV1, VTM)


@pytest.mark.parametrize(
    "curve", [([0.1], [30.0]), ([0.1, 0.2], [30.0, 30.0]), ([0.0, 0.2], [30.0, 31.0]), ([0.1, 0.2], [30.0])]
)
def test_curves_that_are_none(curve):
    with pytest.raises(CotamError, match="rate curve needs"):
        bd_rate(AV1, curve)


def test_the_interpolation_keeps_the_points_and_their_order():
    x, y = np.array([0.0, 1.0, 3.0, 4.0, 6.0]), np.array([0.0, 2.0, 2.5, 9.0, 9.5])
    curve = Pchip.through(x, y)
    assert [curve(k) for k in x] == pytest.approx(y)
    between = [curve(k) for k in np.linspace(0, 6, 500)]
    assert np.all(np.diff(between) >= 0)
    area = sum(curve(k) for k in np.linspace(0.5005, 5.4995, 5000)) * 0.001
    assert curve.integral(5.5) - curve.integral(0.5) == pytest.approx(area, rel=1e-6)
