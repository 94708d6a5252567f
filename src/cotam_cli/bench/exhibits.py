"""Something to look at: the same crop of every codec at equal bytes, and the importance map of our file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bench.codecs import Codec, Pixels
from cotam_cli.bench.measuring import Failure, Job, Point, Row, Shelf, measure_all, reason_of
from cotam_cli.bench.pictures import Picture, load_pixels
from cotam_cli.bitstream import parse
from cotam_cli.entropy.maps import decode_map
from cotam_cli.errors import FormatError

MOST_PICTURES = 3
CROP = (288, 384)  # rows, columns
LEAD_RUNG = 2  # of the leading codec's ladder: low enough to see something


@dataclass(frozen=True)
class Shown:
    """A codec's crop, uint8 [h, w, 3], and its whole file's size."""

    codec: str
    bytes: int
    psnr: float
    pixels: Pixels


@dataclass(frozen=True)
class ImportanceMap:
    """levels uint8 [rows, columns] of 0..count-1, in cells of `cell` pixels."""

    levels: NDArray[np.uint8]
    count: int
    cell: int


@dataclass(frozen=True)
class Exhibit:
    """One picture: its crop from every codec at (about) the same number of bytes.

    crop: left, top, width, height. lead: the codec whose size the others come near to. map: of the leading
    codec's file when that is a .ctm file with one.
    """

    picture: Picture
    crop: tuple[int, int, int, int]
    original: Pixels
    lead: str
    shown: tuple[Shown, ...]
    map: ImportanceMap | None


def make_exhibits(
    pictures: Sequence[Picture],
    codecs: Sequence[Codec],
    points: Mapping[str, Sequence[Point | None]],
    kept: Path,
    workers: int,
) -> tuple[list[Exhibit], list[Failure]]:
    """Exhibits of a few pictures.

    Args:
        pictures: to choose from, evenly.
        codecs: the leading one first.
        points: the leading codec's, by picture.
        kept: folder of results.
        workers: processes.
    """
    chosen = [pictures[k * len(pictures) // MOST_PICTURES] for k in range(MOST_PICTURES)]
    jobs = []
    for picture in dict.fromkeys(chosen):
        there = [point for point in points[picture.name] if point is not None]
        rate = there[min(LEAD_RUNG, len(there) // 2)].bpp
        jobs += [Job(picture, codec, rates=(rate,), kept=kept) for codec in codecs]
    rows = {(row.picture, row.codec): row for row in measure_all(jobs, workers)}
    failures = [failure for row in rows.values() for failure in row.failures]
    exhibits = []
    for picture in dict.fromkeys(chosen):
        own = [job for job in jobs if job.picture == picture]
        exhibits.append(_exhibit(picture, own, rows, failures))
    return [exhibit for exhibit in exhibits if exhibit.shown], failures


def _exhibit(
    picture: Picture, jobs: Sequence[Job], rows: Mapping[tuple[str, str], Row], failures: list[Failure]
) -> Exhibit:
    pixels = load_pixels(picture.path)
    left, top, width, height = crop = busiest(pixels)
    shown, importance = [], None
    for job in jobs:
        (point,) = rows[picture.name, job.codec.name].points
        data = Shelf.of(job).file(point.setting) if point is not None else None
        if point is None or data is None:
            continue
        try:
            decoded = job.codec.decode(data)
        except Exception as error:  # as in measuring: codecs of any make
            failures.append(Failure(reason_of(error), picture.name, job.codec.name, point.setting))
            continue
        window = decoded[top : top + height, left : left + width]
        shown.append(Shown(job.codec.name, len(data), point.psnr, window))
        if job is jobs[0]:
            importance = importance_map(data)
    original = pixels[top : top + height, left : left + width]
    return Exhibit(picture, crop, original, jobs[0].codec.name, tuple(shown), importance)


def importance_map(data: bytes) -> ImportanceMap | None:
    """The map that a .ctm file carries; None for other files, and for files without one."""
    try:
        container = parse(data)
        frame, header = container.frames()[0], container.header
        if frame.map is None:
            return None
        return ImportanceMap(
            decode_map(frame.map, *header.cell_grid, header.levels), header.levels, header.cell_size
        )
    except FormatError:
        return None


def busiest(pixels: Pixels) -> tuple[int, int, int, int]:
    """Left, top, width and height of the window with the most edges: there codecs differ most."""
    height, width = (min(side, most) for side, most in zip(pixels.shape[:2], CROP, strict=True))
    grey = pixels.astype(np.float32).mean(-1)
    edges = np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(
        np.diff(grey, axis=1, append=grey[:, -1:])
    )
    total = np.pad(np.minimum(edges, 48).cumsum(0, np.float64).cumsum(1), ((1, 0), (1, 0)))
    tops = np.arange(0, pixels.shape[0] - height + 1, 16)
    lefts = np.arange(0, pixels.shape[1] - width + 1, 16)
    inside = (
        total[np.ix_(tops + height, lefts + width)]
        - total[np.ix_(tops, lefts + width)]
        - total[np.ix_(tops + height, lefts)]
        + total[np.ix_(tops, lefts)]
    )
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(lefts[column]), int(tops[row]), width, height
