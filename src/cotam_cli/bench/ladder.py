"""Measure codecs over their ladders of settings: real files, decoded again, with the results kept on disk."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from cotam_cli.bench.codecs import Codec, Pixels, bits_per_pixel
from cotam_cli.bench.metrics import ms_ssim, psnr
from cotam_cli.bench.pictures import content_hash, load_pixels
from cotam_cli.images import write_atomic

MEASURE = 1  # raise it when a measure changes: it names the cached results
TOP_PSNR = 100.0  # dB, for pictures that come back unchanged


@dataclass(frozen=True)
class Point:
    """One file. bpp in bits per pixel, psnr in dB (at most 100), ms_ssim None below 161 pixels a side."""

    setting: float
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float | None


@dataclass(frozen=True)
class Measured:
    """One picture's points for each codec, in the order of the codec's ladder."""

    name: str
    points: dict[str, tuple[Point, ...]]


def measure(codec: Codec, pixels: Pixels, setting: float) -> Point:
    """Encode and decode uint8 [h, w, 3] pixels once."""
    data = codec.encode(pixels, setting)
    decoded = codec.decode(data)
    quality = min(psnr(pixels, decoded), TOP_PSNR)
    return Point(setting, len(data), bits_per_pixel(data, pixels), quality, ms_ssim(pixels, decoded))


def measure_picture(path: Path, codecs: Sequence[Codec], cache: Path | None = None) -> Measured:
    """All codecs over their ladders on one picture. Cached results are taken from `cache` and added to it."""
    pixels = load_pixels(path)
    digest = content_hash(pixels)
    points = {}
    for codec in codecs:
        file = cache / _folder(codec) / f"{digest}.json" if cache and codec.cache else None
        known = _read(file)
        fresh = [measure(codec, pixels, setting) for setting in codec.ladder if setting not in known]
        known |= {point.setting: point for point in fresh}
        if file is not None and fresh:
            _write(file, known.values())
        points[codec.name] = tuple(known[setting] for setting in codec.ladder)
    return Measured(path.name, points)


def measure_pictures(
    paths: Sequence[Path], codecs: Sequence[Codec], *, cache: Path | None = None, workers: int = 2
) -> Iterable[Measured]:
    """`measure_picture` for many, in order, in worker processes (one worker: in this process)."""
    task = partial(measure_picture, codecs=tuple(codecs), cache=cache)
    if workers <= 1:
        yield from map(task, paths)
        return
    # Fresh processes: networks and their threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(task, paths)


def average(measured: Sequence[Measured], codec: str) -> tuple[Point, ...]:
    """The mean over pictures at each setting of a codec. MS-SSIM only over pictures that have it."""
    means = []
    for row in zip(*(picture.points[codec] for picture in measured), strict=True):
        similar = [point.ms_ssim for point in row if point.ms_ssim is not None]
        means.append(
            Point(
                setting=row[0].setting,
                bytes=round(_mean([point.bytes for point in row])),
                bpp=_mean([point.bpp for point in row]),
                psnr=_mean([point.psnr for point in row]),
                ms_ssim=_mean(similar) if similar else None,
            )
        )
    return tuple(means)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _folder(codec: Codec) -> str:
    return f"{codec.name}-{codec.version}-measure-{MEASURE}"


def _read(file: Path | None) -> dict[float, Point]:
    if file is None or not file.exists():
        return {}
    return {entry["setting"]: Point(**entry) for entry in json.loads(file.read_text())}


def _write(file: Path, points: Iterable[Point]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps([asdict(point) for point in points]).encode())
