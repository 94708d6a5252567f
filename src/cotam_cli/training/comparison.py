"""What training is steered by: BD-rates of one codec against the others, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from cotam_cli.bench.bdrate import BdRate, bd_rate
from cotam_cli.bench.results import MS_SSIM, PSNR, CurvePoint, series

HOME_RATES = (0.05, 0.8)  # bits per pixel of the anchor: where the codec is meant to be used

Curve = Sequence[CurvePoint]


@dataclass(frozen=True)
class Singles:
    """BD-rates of single pictures, per cent, over those that share a range."""

    mean: float
    median: float


@dataclass(frozen=True)
class Comparison:
    """A codec against an anchor on one set of pictures; None where the two share no range of quality."""

    anchor: str
    psnr: BdRate | None
    psnr_singles: Singles | None
    psnr_home: BdRate | None  # where the anchor spends 0.05 to 0.8 bits per pixel
    ms_ssim: BdRate | None  # over MS-SSIM in dB
    ms_ssim_singles: Singles | None
    ms_ssim_home: BdRate | None


def compare(
    curves: Mapping[str, Curve], tested: str, pictures: Sequence[Mapping[str, Curve]] = ()
) -> list[Comparison]:
    """BD-rates of one codec against each of the others.

    curves: the average over pictures by codec; pictures: the same for single pictures, for `Singles`.
    """
    own_psnr, own_similar = _series(curves[tested])
    found = []
    for name, curve in curves.items():
        if name == tested:
            continue
        by_psnr, by_similar = _series(curve)
        single = [(_series(picture[name]), _series(picture[tested])) for picture in pictures]
        found.append(
            Comparison(
                name,
                bd_rate(by_psnr, own_psnr),
                _singles([(anchor[0], own[0]) for anchor, own in single]),
                bd_rate(by_psnr, own_psnr, within=HOME_RATES),
                bd_rate(by_similar, own_similar) if by_similar and own_similar else None,
                _singles([(anchor[1], own[1]) for anchor, own in single if anchor[1] and own[1]]),
                bd_rate(by_similar, own_similar, within=HOME_RATES) if by_similar and own_similar else None,
            )
        )
    return found


Series = tuple[list[float], list[float]]


def _singles(pairs: Sequence[tuple[Series, Series]]) -> Singles | None:
    found = [result.percent for anchor, own in pairs if (result := bd_rate(anchor, own)) is not None]
    return Singles(mean(found), median(found)) if found else None


def _series(curve: Curve) -> tuple[Series, Series | None]:
    """(rates, PSNR) and, where every point has it, (rates, MS-SSIM in dB)."""
    similar = series(curve, MS_SSIM)
    return series(curve, PSNR), similar if similar[0] else None


def comparison_table(tested: str, comparisons: Sequence[Comparison]) -> str:
    """BD-rates as text: of the average curves, with the range of quality in dB, and the mean and the median of single
    pictures."""
    low, high = HOME_RATES
    home = f"{low:g}-{high:g} bpp"
    single = "mean, median"
    heads = (f"{tested} against", "PSNR", single, f"PSNR, {home}", "MS-SSIM", single, f"MS-SSIM, {home}")
    rows: list[tuple[str, ...]] = [heads]
    for item in comparisons:
        psnr = (_cell(item.psnr), _single_cell(item.psnr_singles), _cell(item.psnr_home))
        similar = (_cell(item.ms_ssim), _single_cell(item.ms_ssim_singles), _cell(item.ms_ssim_home))
        rows.append((item.anchor, *psnr, *similar))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: BdRate | None) -> str:
    if value is None:
        return "no common range"
    return f"{value.percent:+6.1f} % ({value.low:.1f}-{value.high:.1f} dB)"


def _single_cell(value: Singles | None) -> str:
    return "-" if value is None else f"{value.mean:+.1f}, {value.median:+.1f} %"


def curve_table(curve: Curve) -> str:
    """A curve's points as text."""
    lines = ["setting     bpp   PSNR  MS-SSIM"]
    for point in curve:
        similar = f"{point.values[MS_SSIM]:.4f}" if MS_SSIM in point.values else "-"
        lines.append(f"{point.rung:7g}  {point.bpp:6.4f}  {point.values[PSNR]:5.2f}  {similar:>7}")
    return "\n".join(lines)
