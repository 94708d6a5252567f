"""From single files to curves and BD-rates: the averages, what is left out of them, and the JSON of a run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cotam_cli.bench.bdrate import BdRate, bd_rate, rising
from cotam_cli.bench.measuring import Point, Row
from cotam_cli.bench.metrics import decibels
from cotam_cli.bench.tasks import Score
from cotam_cli.errors import CotamError

PSNR, MS_SSIM = "PSNR", "MS-SSIM"


@dataclass(frozen=True)
class CurvePoint:
    """The mean over pictures at one rung. values: by measure; MS-SSIM as a share, tasks 0..1."""

    rung: float
    bytes: float
    bpp: float
    encode_seconds: float
    decode_seconds: float
    values: dict[str, float]


@dataclass(frozen=True)
class Curves:
    """codecs: a curve each. pictures: those in the averages. left_out: those that are not, and why."""

    codecs: dict[str, tuple[CurvePoint, ...]]
    pictures: tuple[str, ...]
    left_out: dict[str, str]
    failed: dict[str, str]  # codec -> why it has no curve
    judged: dict[str, tuple[str, ...]]  # a task's measure -> the pictures that it is averaged over

    @property
    def measures(self) -> list[str]:
        """PSNR, MS-SSIM and the tasks' measures that any curve has, in that order."""
        seen = dict.fromkeys((PSNR, MS_SSIM))
        for curve in self.codecs.values():
            seen.update(dict.fromkeys(name for point in curve for name in point.values))
        return [name for name in seen if any(has(curve, name) for curve in self.codecs.values())]


def has(curve: Sequence[CurvePoint], measure: str) -> bool:
    """Whether every point of a curve has this measure."""
    return bool(curve) and all(measure in point.values for point in curve)


Scores = Mapping[str, Mapping[str, Score]]  # by task and measure


def average(
    rows: Iterable[Row], rungs: Mapping[str, Sequence[float]], scores: Callable[[Row, Point], Scores]
) -> Curves:
    """The mean curve of each codec, all over the same pictures.

    A codec that fails on more than half of the pictures has no curve; of the others, a picture on which one of
    them failed is left out for all. A task's measure counts over the pictures that have it at every point.

    Args:
        rows: of every picture and codec.
        rungs: the codecs in order, and what their points stand for.
        scores: the tasks' scores of a point.
    """
    table: dict[str, dict[str, Row]] = {name: {} for name in rungs}
    for row in rows:
        table[row.codec][row.picture] = row
    everything = sorted({picture for found in table.values() for picture in found})
    whole = {
        codec: {name for name, row in found.items() if None not in row.points}
        for codec, found in table.items()
    }
    failed = {
        codec: f"it failed on {len(everything) - len(good)} of {len(everything)} pictures"
        for codec, good in whole.items()
        if 2 * len(good) < len(everything) or not good
    }
    kept = [codec for codec in rungs if codec not in failed]
    left_out = {}
    for picture in everything:
        culprits = [codec for codec in kept if picture not in whole[codec]]
        if culprits:
            left_out[picture] = f"{', '.join(culprits)} failed on it"
    pictures = tuple(picture for picture in everything if picture not in left_out)
    points = {codec: [table[codec][picture] for picture in pictures] for codec in kept}
    measures = _complete(points, scores)
    codecs = {
        codec: tuple(_curve(points[codec], rungs[codec], scores, measures)) for codec in kept if pictures
    }
    return Curves(codecs, pictures, left_out, failed, measures)


def _complete(
    rows: Mapping[str, Sequence[Row]], scores: Callable[[Row, Point], Scores]
) -> dict[str, tuple[str, ...]]:
    """For each task's measure the pictures that have it at every point of every codec."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    wanted: dict[str, int] = defaultdict(int)
    for row in (row for codec in rows.values() for row in codec):
        wanted[row.picture] += len(row.points)
        for point in row.points:
            for name in flat(scores(row, point)) if point else ():
                found[name][row.picture] += 1
    return {
        name: tuple(sorted(picture for picture, count in counts.items() if count == wanted[picture]))
        for name, counts in found.items()
    }


def flat(scores: Scores) -> dict[str, Score]:
    """By "task measure"."""
    return {f"{task} {name}": score for task, found in scores.items() for name, score in found.items()}


def _curve(
    rows: Sequence[Row],
    rungs: Sequence[float],
    scores: Callable[[Row, Point], Scores],
    measures: Mapping[str, Sequence[str]],
) -> Iterable[CurvePoint]:
    for index, rung in enumerate(rungs):
        column = [(row, point) for row in rows if (point := row.points[index]) is not None]
        values = {PSNR: _mean([point.psnr for _, point in column])}
        similar = [point.ms_ssim for _, point in column if point.ms_ssim is not None]
        if similar:
            values[MS_SSIM] = _mean(similar)
        flats = {row.picture: flat(scores(row, point)) for row, point in column}
        for name, pictures in measures.items():
            if pictures:
                values[name] = pooled([flats[picture][name] for picture in pictures])
        yield CurvePoint(
            rung,
            _mean([point.bytes for _, point in column]),
            _mean([point.bpp for _, point in column]),
            _mean([point.encode_seconds for _, point in column]),
            _mean([point.decode_seconds for _, point in column]),
            values,
        )


def pooled(scores: Sequence[Score]) -> float:
    """The mean by weight."""
    return math.fsum(value * weight for value, weight in scores) / math.fsum(weight for _, weight in scores)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


BdTable = dict[str, dict[str, dict[str, BdRate | None]]]  # measure -> anchor -> codec


def bd_table(curves: Curves) -> BdTable:
    """The BD-rate of every codec against every other, for every measure; None without a common range."""
    return {
        measure: {
            anchor: {
                codec: compare(curve, other, measure)
                for codec, other in curves.codecs.items()
                if codec != anchor
            }
            for anchor, curve in curves.codecs.items()
        }
        for measure in curves.measures
    }


def compare(anchor: Sequence[CurvePoint], tested: Sequence[CurvePoint], measure: str) -> BdRate | None:
    """BD-rate over one measure, MS-SSIM in dB; None where there is no common range.

    Task measures are noisy: points that cost more than a better one are left out first, on both sides.
    """
    try:
        return bd_rate(*(rising(*series(curve, measure)) for curve in (anchor, tested)))
    except CotamError:
        return None  # fewer than two points of different quality


def series(curve: Sequence[CurvePoint], measure: str) -> tuple[list[float], list[float]]:
    """(bits per pixel, values), MS-SSIM in dB; empty when a point lacks the measure."""
    if not has(curve, measure):
        return [], []
    values = [point.values[measure] for point in curve]
    return [point.bpp for point in curve], [decibels(v) for v in values] if measure == MS_SSIM else values
