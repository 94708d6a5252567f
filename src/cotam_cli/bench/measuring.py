"""Measure codecs: real files, decoded again, put before judges, with everything kept on disk.

The unit of work is one picture with one codec at all its settings. What is done is never done again: coded
files, measures and scores are kept in a folder by codec version, picture content, setting and judge, so that a
run that was cut off goes on, and one more judge costs only its own time.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cotam_cli.bench.codecs import Codec, Encoded, Pixels, bits_per_pixel, encode_near, encode_once
from cotam_cli.bench.metrics import ms_ssim, psnr
from cotam_cli.bench.pictures import Picture, load_pixels
from cotam_cli.bench.tasks import UNKNOWN, Answer, Judge, Score, Task, Truth, load_judge, slug
from cotam_cli.errors import CotamError
from cotam_cli.images import write_atomic
from cotam_cli.processes import in_processes

MEASURE = 2  # raise it when a measure changes: it names the kept results
TOP_PSNR = 100.0  # dB, for pictures that come back unchanged


@dataclass(frozen=True)
class Point:
    """One file. bpp in bits per pixel, psnr in dB (at most 100), ms_ssim None below 161 pixels a side.

    The seconds are of this one encode and decode, in a warm process, perhaps beside others. scores: by
    `Task.score_key`, then by measure.
    """

    setting: float
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    encode_seconds: float
    decode_seconds: float
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """What went wrong, where, and why. Empty where a part does not apply."""

    reason: str
    picture: str = ""
    codec: str = ""
    setting: float | None = None
    task: str = ""

    def __str__(self) -> str:
        setting = None if self.setting is None else f"at {self.setting:g}"
        where = " ".join(part for part in (self.picture, self.codec, setting, self.task) if part)
        return f"{where}: {self.reason}"


@dataclass(frozen=True)
class Job:
    """One picture and one codec. rates: bits per pixel to come near to; empty: the codec's own ladder."""

    picture: Picture
    codec: Codec
    rates: tuple[float, ...] = ()
    tasks: tuple[Task, ...] = ()
    truth: Truth = UNKNOWN
    kept: Path | None = None

    @property
    def rungs(self) -> tuple[float, ...]:
        """What the points stand for, in order: rates, or settings."""
        return self.rates or self.codec.ladder


@dataclass(frozen=True)
class Row:
    """A job's points, one for each rung, None where it failed."""

    picture: str
    codec: str
    points: tuple[Point | None, ...]
    failures: tuple[Failure, ...] = ()


def measure_all(jobs: Sequence[Job], workers: int) -> Iterator[Row]:
    """Every job's row, in order. Whatever happens to a job is in its row; none stops the others."""
    return in_processes(measure, jobs, min(workers, len(jobs)), died=_died)


def _died(job: Job) -> Row:
    reason = "the process was killed, perhaps for want of memory"
    return Row(
        job.picture.name,
        job.codec.name,
        (None,) * len(job.rungs),
        (Failure(reason, job.picture.name, job.codec.name),),
    )


def measure(job: Job) -> Row:
    """Code, decode and judge one picture at every rung of one codec."""
    shelf = Shelf.of(job)
    points: list[Point | None] = []
    failures: list[Failure] = []
    try:
        pixels = load_pixels(job.picture.path)
    except CotamError as error:
        reason = Failure(reason_of(error), job.picture.name)
        return Row(job.picture.name, job.codec.name, (None,) * len(job.rungs), (reason,))
    for rung in job.rungs:
        try:
            point, missed = _at(job, shelf, pixels, rung)
        except Exception as error:  # a codec of any make may raise anything; no file may end the run
            failures.append(Failure(reason_of(error), job.picture.name, job.codec.name, rung))
            points.append(None)
        else:
            points.append(point)
            failures += missed
    return Row(job.picture.name, job.codec.name, tuple(points), tuple(failures))


def reason_of(error: BaseException) -> str:
    """One line: what our own errors say, and of what kind the others are."""
    text = " ".join(str(error).split())
    return text if isinstance(error, CotamError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _at(job: Job, shelf: Shelf, pixels: Pixels, rung: float) -> tuple[Point, list[Failure]]:
    setting, fresh = _setting(job, shelf, pixels, rung)
    point = shelf.point(setting)
    lacking = [task for task in job.tasks if point is None or task.score_key(job.truth) not in point.scores]
    if point is not None and not lacking:
        return point, []
    data = shelf.file(setting) if fresh is None else fresh.data
    if data is None or (fresh is None and point is None):
        fresh = encode_once(job.codec, pixels, setting)
        data = fresh.data
    began = time.perf_counter()
    decoded = job.codec.decode(data)
    seconds = time.perf_counter() - began
    if point is None:
        encode_seconds = 0.0 if fresh is None else fresh.seconds
        point = _compare(setting, data, pixels, decoded, (encode_seconds, seconds))
    point, failures = _judge(job, shelf, lacking, point, pixels, decoded)
    shelf.keep(data, point)
    return point, failures


def _setting(job: Job, shelf: Shelf, pixels: Pixels, rung: float) -> tuple[float, Encoded | None]:
    """The setting for a rung, and the file where finding it has made one."""
    if not job.rates:
        return rung, None
    known = shelf.setting_near(rung)
    if known is not None:
        return known, None
    fresh = encode_near(job.codec, pixels, rung)
    shelf.keep_near(rung, fresh.setting)
    return fresh.setting, fresh


def _compare(
    setting: float, data: bytes, pixels: Pixels, decoded: Pixels, seconds: tuple[float, float]
) -> Point:
    return Point(
        setting=setting,
        bytes=len(data),
        bpp=bits_per_pixel(data, pixels),
        psnr=min(psnr(pixels, decoded), TOP_PSNR),
        ms_ssim=ms_ssim(pixels, decoded),
        encode_seconds=seconds[0],
        decode_seconds=seconds[1],
    )


def _judge(
    job: Job, shelf: Shelf, tasks: Sequence[Task], point: Point, pixels: Pixels, decoded: Pixels
) -> tuple[Point, list[Failure]]:
    """The point with the scores of these tasks; a judge that fails leaves a failure and no score."""
    scores, failures = dict(point.scores), []
    for task in tasks:
        try:
            judge = load_judge(task)
            before = shelf.answer(task, judge, pixels)
            scores[task.score_key(job.truth)] = judge.score(before, judge.answer(decoded), job.truth)
        except Exception as error:  # networks of any make, as with codecs
            where = (job.picture.name, job.codec.name, point.setting, task.name)
            failures.append(Failure(reason_of(error), *where))
    return replace(point, scores=scores), failures


@dataclass(frozen=True)
class Reference:
    """What the judges say of an original: by task name and measure."""

    picture: str
    scores: dict[str, dict[str, Score]]
    failures: tuple[Failure, ...] = ()


def judge_original(job: Job) -> Reference:
    """The judges' answers for an original, kept for the codecs to come, and its own scores."""
    shelf = Shelf.of(job)
    pixels = load_pixels(job.picture.path)
    scores, failures = {}, []
    for task in job.tasks:
        try:
            judge = load_judge(task)
            own = shelf.answer(task, judge, pixels)
            scores[task.name] = judge.score(own, own, job.truth)
        except Exception as error:  # as above
            failures.append(Failure(reason_of(error), job.picture.name, task=task.name))
    return Reference(job.picture.name, scores, tuple(failures))


def judge_originals(jobs: Sequence[Job], workers: int) -> Iterator[Reference]:
    """`judge_original` of jobs whose codec is of no account, one a picture."""

    def died(job: Job) -> Reference:
        reason = "the process was killed, perhaps for want of memory"
        return Reference(job.picture.name, {}, (Failure(reason, job.picture.name, task="judges"),))

    return in_processes(judge_original, jobs, min(workers, len(jobs)), died=died)


@dataclass(frozen=True)
class Shelf:
    """Where the results of one picture and one codec are kept; None keeps nothing."""

    results: Path | None
    answers: Path | None
    digest: str

    @classmethod
    def of(cls, job: Job) -> Shelf:
        if job.kept is None:
            return cls(None, None, "")
        digest = job.picture.digest[:32]
        version = hashlib.sha256(f"{job.codec.version} measure {MEASURE}".encode()).hexdigest()[:12]
        name = f"{slug(job.codec.name)}-{version}"
        return cls(job.kept / "files" / name / digest, job.kept / "answers", digest)

    def point(self, setting: float) -> Point | None:
        """A kept point; None when there is none, or none that can be read."""
        entry = self._json(f"{setting!r}.json")
        try:
            return entry and Point(**{**entry, "scores": _tuples(entry["scores"])})
        except (TypeError, KeyError, AttributeError):
            return None

    def setting_near(self, rate: float) -> float | None:
        """The setting that was found for a rate."""
        entry = self._json(f"near-{rate!r}.json")
        return entry.get("setting") if entry else None

    def keep_near(self, rate: float, setting: float) -> None:
        """Remember the setting for a rate."""
        self._write(f"near-{rate!r}.json", json.dumps({"setting": setting}).encode())

    def file(self, setting: float) -> bytes | None:
        """A kept coded file."""
        path = self.results and self.results / f"{setting!r}.bin"
        return path.read_bytes() if path and path.is_file() else None

    def keep(self, data: bytes, point: Point) -> None:
        """Keep a coded file and what was measured of it."""
        if self.file(point.setting) != data:
            self._write(f"{point.setting!r}.bin", data)
        self._write(f"{point.setting!r}.json", json.dumps(asdict(point)).encode())

    def answer(self, task: Task, judge: Judge, pixels: Pixels) -> Answer:
        """A judge's answer for the original, from the folder or asked now and kept."""
        path = self.answers and self.answers / task.key / f"{self.digest}.npz"
        if path and path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        answer = judge.answer(pixels)
        if path:
            out = io.BytesIO()
            np.savez_compressed(out, **answer)  # type: ignore[arg-type]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, out.getvalue())
        return answer

    def _json(self, name: str) -> Any:
        path = self.results and self.results / name
        if not path or not path.is_file():
            return None
        try:
            content = json.loads(path.read_bytes())
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    def _write(self, name: str, data: bytes) -> None:
        if self.results is not None:
            self.results.mkdir(parents=True, exist_ok=True)
            write_atomic(self.results / name, data)


def _tuples(scores: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, Score]]:
    return {
        task: {name: (value, weight) for name, (value, weight) in found.items()}
        for task, found in scores.items()
    }
