"""The Bjontegaard delta rate: how many per cent more or fewer bytes a codec needs for the same quality.

The log of the rate is interpolated over the quality by piecewise cubics (PCHIP) for both codecs; the mean
difference over the qualities that both reach is the result (G. Bjontegaard, VCEG-M33, with the interpolation
of the JCT-VC common test conditions, JCTVC-L1100).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import CotamError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BdRate:
    """percent: average difference of rate at equal quality, negative where the tested codec needs less.
    low, high: the range of the quality measure that it holds for."""

    percent: float
    low: float
    high: float


@dataclass(frozen=True)
class Pchip:
    """A monotone piecewise cubic through points (Fritsch and Carlson, 1980), as in the JCT-VC sheet.

    x float64 [n], rising; y and slope float64 [n].
    """

    x: Floats
    y: Floats
    slope: Floats

    @classmethod
    def through(cls, x: Floats, y: Floats) -> Pchip:
        """The curve through two or more points."""
        width = np.diff(x)
        secant = np.diff(y) / width
        if len(x) == 2:
            return cls(x, y, np.repeat(secant, 2))
        before, after = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
        same_sign = secant[:-1] * secant[1:] > 0
        safe = np.where(same_sign, secant[:-1], 1.0), np.where(same_sign, secant[1:], 1.0)
        inner = np.where(same_sign, (before + after) / (before / safe[0] + after / safe[1]), 0.0)
        first = _end_slope(width[0], width[1], secant[0], secant[1])
        last = _end_slope(width[-1], width[-2], secant[-1], secant[-2])
        return cls(x, y, np.concatenate([[first], inner, [last]]))

    def __call__(self, at: float) -> float:
        """The value at a position within the points."""
        k, u, powers = self._local(at)
        return float(np.polynomial.polynomial.polyval(u, powers) + self.y[k])

    def integral(self, to: float) -> float:
        """The area from the first point to a position within the points."""
        width, y, slope = np.diff(self.x), self.y, self.slope
        whole = width * (y[:-1] + y[1:]) / 2 + width**2 * (slope[:-1] - slope[1:]) / 12
        k, u, (_, b, c, d) = self._local(to)
        return float(whole[:k].sum() + u * (y[k] + u * (b / 2 + u * (c / 3 + u * d / 4))))

    def _local(self, at: float) -> tuple[int, float, tuple[float, float, float, float]]:
        """Segment, distance from its start, and the polynomial over that distance, less the start's value."""
        k = int(np.clip(np.searchsorted(self.x, at, side="right") - 1, 0, len(self.x) - 2))
        width = self.x[k + 1] - self.x[k]
        secant = (self.y[k + 1] - self.y[k]) / width
        left, right = self.slope[k], self.slope[k + 1]
        powers = (0.0, left, (3 * secant - 2 * left - right) / width, (left + right - 2 * secant) / width**2)
        return k, at - self.x[k], powers


def _end_slope(near: float, far: float, secant: float, next_secant: float) -> float:
    """Three-point slope at an end, limited so that the curve keeps its shape."""
    slope = ((2 * near + far) * secant - near * next_secant) / (near + far)
    if slope * secant <= 0:
        return 0.0
    if secant * next_secant < 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope


def log_rate_curve(rates: Sequence[float], qualities: Sequence[float]) -> Pchip:
    """The natural log of the rate over the quality. Of points of equal quality the cheapest counts.

    Raises CotamError when fewer than two points are left, or a rate is not above zero.
    """
    if len(rates) != len(qualities) or not all(rate > 0 for rate in rates):
        raise CotamError("a rate curve needs as many qualities as rates, and rates above zero")
    cheapest: dict[float, float] = {}
    for rate, quality in zip(rates, qualities, strict=True):
        cheapest[quality] = min(rate, cheapest.get(quality, rate))
    if len(cheapest) < 2:
        raise CotamError("a rate curve needs at least two points of different quality")
    x = np.array(sorted(cheapest), np.float64)
    return Pchip.through(x, np.log([cheapest[quality] for quality in x.tolist()]))


def quality_range(curve: Pchip, low_rate: float, high_rate: float) -> tuple[float, float]:
    """The qualities between which a curve's rate lies within two rates (from 2,000 samples of the curve)."""
    samples = np.linspace(curve.x[0], curve.x[-1], 2001)
    rates = np.maximum.accumulate([curve(x) for x in samples.tolist()])
    low, high = np.interp(np.log([low_rate, high_rate]), rates, samples)
    return float(low), float(high)


def rising(rates: Sequence[float], qualities: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points that no other point beats, by rising rate and quality.

    A measure with noise (answers of a judge) may fall as the rate rises; what costs more for no more is left out.
    """
    kept: tuple[list[float], list[float]] = ([], [])
    for rate, quality in sorted(zip(rates, qualities, strict=True), key=lambda point: (point[0], -point[1])):
        if not kept[1] or quality > kept[1][-1]:
            kept[0].append(rate)
            kept[1].append(quality)
    return kept


def bd_rate(
    anchor: tuple[Sequence[float], Sequence[float]],
    test: tuple[Sequence[float], Sequence[float]],
    *,
    within: tuple[float, float] | None = None,
) -> BdRate | None:
    """Rate of `test` against `anchor`, each (rates, qualities) in any order and of any length from two.

    Args:
        anchor: bits per pixel (or any other unit, the same for both) and a measure that rises with quality.
        test: the same of the tested codec.
        within: keep to the qualities that the anchor reaches between these two rates.

    Returns:
        None when the two have no range of quality in common.

    Raises:
        CotamError: fewer than two different points, or rates of zero and below.
    """
    a, b = log_rate_curve(*anchor), log_rate_curve(*test)
    low, high = max(a.x[0], b.x[0]), min(a.x[-1], b.x[-1])
    if within is not None:
        limits = quality_range(a, *within)
        low, high = max(low, limits[0]), min(high, limits[1])
    if not low < high:
        return None
    area_a, area_b = (curve.integral(high) - curve.integral(low) for curve in (a, b))
    return BdRate(float(100 * np.expm1((area_b - area_a) / (high - low))), float(low), float(high))
