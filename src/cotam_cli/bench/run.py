"""A whole run of `cotam bench`: what was asked for, step by step, to a result that the reports are made of.

Nothing but a wrong command line raises: whatever a picture, a codec, a judge or an endpoint does wrong becomes
a `Failure` in the result, and the rest goes on.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from cotam_cli.bench.asking import Asked, ask_all, subjects_of
from cotam_cli.bench.codecs import Codec
from cotam_cli.bench.endpoint import Client, Endpoint, Usage
from cotam_cli.bench.exhibits import Exhibit, make_exhibits
from cotam_cli.bench.measuring import (
    Failure,
    Job,
    Point,
    Reference,
    Row,
    judge_originals,
    measure_all,
    reason_of,
)
from cotam_cli.bench.pictures import Picture, open_picture
from cotam_cli.bench.questions import Question
from cotam_cli.bench.results import BdTable, Curves, average, bd_table, flat, pooled
from cotam_cli.bench.tasks import UNKNOWN, Score, Task, Truth, load_judge
from cotam_cli.bench.timing import Timing, time_codec
from cotam_cli.errors import CotamError

T = TypeVar("T")


@dataclass(frozen=True)
class Vlm:
    """A multimodal model and the questions for it, by picture."""

    endpoint: Endpoint
    questions: dict[str, list[Question]]


@dataclass(frozen=True)
class Plan:
    """What to measure. missing: codecs and tasks that cannot be had, and why; kept: folder of results."""

    folder: str
    paths: tuple[Path, ...]
    codecs: tuple[Codec, ...]
    missing: dict[str, str]
    rates: tuple[float, ...]
    tasks: tuple[Task, ...]
    truths: dict[str, Truth]
    vlm: Vlm | None
    kept: Path
    workers: int

    def truth(self, picture: str) -> Truth:
        """What is known of a picture."""
        return self.truths.get(picture, UNKNOWN)


@dataclass
class Result:
    """Everything that was measured. reference: what the judges score on the originals, by measure."""

    plan: Plan
    began: datetime
    machine: dict[str, str]
    pictures: list[Picture]
    missing: dict[str, str]
    rows: list[Row]
    scores: ScoresOf
    curves: Curves
    bd: BdTable
    reference: dict[str, float]
    timings: list[Timing]
    exhibits: list[Exhibit]
    usage: Usage | None
    failures: list[Failure] = field(default_factory=list)


def run_bench(plan: Plan) -> Result:
    """Measure everything in a plan, with progress on stderr when that is a terminal.

    Raises CotamError when no picture can be read, or no codec is there.
    """
    began = datetime.now(timezone.utc)
    if not plan.codecs:
        raise CotamError(
            f"none of the codecs is there: {'; '.join(f'{n}: {w}' for n, w in plan.missing.items())}"
        )
    failures: list[Failure] = []
    pictures = _open_all(plan.paths, failures)
    tasks, missing = _tasks_here(plan)
    timings = list(_time_all(plan.codecs, pictures, failures))
    originals = [
        Job(picture, plan.codecs[0], tasks=tasks, truth=plan.truth(picture.name), kept=plan.kept)
        for picture in (pictures if tasks else ())
    ]
    references = list(_progress(judge_originals(originals, plan.workers), "originals", len(originals)))
    failures += [failure for reference in references for failure in reference.failures]
    jobs = [
        Job(picture, codec, plan.rates, tasks, plan.truth(picture.name), plan.kept)
        for picture in pictures
        for codec in plan.codecs
    ]
    rows = list(_progress(measure_all(jobs, plan.workers), "pictures x codecs", len(jobs)))
    failures += [failure for row in rows for failure in row.failures]
    asked, usage = _ask(plan, pictures, rows, failures)
    rungs = {codec.name: plan.rates or codec.ladder for codec in plan.codecs}
    scores = ScoresOf(plan, tasks, asked)
    curves = average(rows, rungs, scores)
    exhibits = _exhibits(plan, pictures, rows, curves, failures)
    return Result(
        plan=plan,
        began=began,
        machine=machine(),
        pictures=pictures,
        missing=plan.missing | missing,
        rows=rows,
        scores=scores,
        curves=curves,
        bd=bd_table(curves),
        reference=_reference(plan, references, asked, curves),
        timings=timings,
        exhibits=exhibits,
        usage=usage,
        failures=failures,
    )


def _progress(steps: Iterable[T], what: str, total: int) -> Iterator[T]:
    """A bar on stderr, on a terminal only."""
    yield from tqdm(steps, desc=what, total=total, disable=None if total else True, dynamic_ncols=True)


def _open_all(paths: Sequence[Path], failures: list[Failure]) -> list[Picture]:
    pictures = []
    for path in paths:
        try:
            pictures.append(open_picture(path))
        except CotamError as error:
            failures.append(Failure(reason_of(error), path.name))
    if not pictures:
        raise CotamError(f"none of the {len(paths)} pictures can be read; the first: {failures[0]}")
    return pictures


def _tasks_here(plan: Plan) -> tuple[tuple[Task, ...], dict[str, str]]:
    """The tasks whose judges can be loaded, and why the others cannot."""
    here, missing = [], {}
    for task in plan.tasks:
        try:
            load_judge(task)
        except CotamError as error:
            missing[task.name] = str(error)
        else:
            here.append(task)
    return tuple(here), missing


def _time_all(
    codecs: Sequence[Codec], pictures: Sequence[Picture], failures: list[Failure]
) -> Iterator[Timing]:
    """Each codec alone on the picture of the median size, before the machine is busy with the rest."""
    by_size = sorted(pictures, key=lambda picture: picture.width * picture.height)
    picture = by_size[len(by_size) // 2]
    for codec in _progress(codecs, "timing", len(codecs)):
        try:
            yield time_codec(codec, picture)
        except Exception as error:  # codecs of any make
            failures.append(Failure(reason_of(error), picture.name, codec.name, task="timing"))


def _ask(
    plan: Plan, pictures: Sequence[Picture], rows: Sequence[Row], failures: list[Failure]
) -> tuple[list[Asked], Usage | None]:
    if plan.vlm is None:
        return [], None
    client = Client(plan.vlm.endpoint, plan.kept / "replies")
    unknown = sorted(plan.vlm.questions.keys() - {picture.name for picture in pictures})
    failures += [Failure("questions about a picture that is not there", name, task="vlm") for name in unknown]
    subjects = subjects_of(rows, pictures, plan.codecs, plan.kept)
    about = plan.vlm.questions
    total = sum(s.picture.name in about for s in subjects) + sum(p.name in about for p in pictures)
    asked = list(_progress(ask_all(client, pictures, subjects, about), "questions", total))
    failures += [one.failure for one in asked if one.failure is not None]
    return asked, client.usage


class ScoresOf:
    """The scores of a row's point by task name: the judges' from the point, the model's from its replies."""

    def __init__(self, plan: Plan, tasks: Sequence[Task], asked: Sequence[Asked]) -> None:
        self.plan, self.tasks = plan, tasks
        self.model = plan.vlm.endpoint.model if plan.vlm else ""
        self.replies = {(one.picture, one.codec, one.setting): one.scores for one in asked if one.scores}

    def __call__(self, row: Row, point: Point) -> Mapping[str, Mapping[str, Score]]:
        truth = self.plan.truth(row.picture)
        found = {task.name: point.scores.get(task.score_key(truth), {}) for task in self.tasks}
        said = self.replies.get((row.picture, row.codec, point.setting))
        return found if said is None else {**found, self.model: said}


def _reference(
    plan: Plan, references: Sequence[Reference], asked: Sequence[Asked], curves: Curves
) -> dict[str, float]:
    """The judges' scores on the originals, over the same pictures as the curves."""
    found: dict[str, dict[str, Score]] = {}
    for reference in references:
        found.setdefault(reference.picture, {}).update(flat(reference.scores))
    for one in asked:
        if plan.vlm and not one.codec and one.scores:
            found.setdefault(one.picture, {}).update(flat({plan.vlm.endpoint.model: one.scores}))
    return {
        name: pooled([found[picture][name] for picture in pictures])
        for name, pictures in curves.judged.items()
        if pictures and all(name in found.get(picture, {}) for picture in pictures)
    }


def _exhibits(
    plan: Plan, pictures: Sequence[Picture], rows: Sequence[Row], curves: Curves, failures: list[Failure]
) -> list[Exhibit]:
    here = [codec for codec in plan.codecs if codec.name in curves.codecs]
    shown = [picture for picture in pictures if picture.name in curves.pictures]
    if not here or not shown:
        return []
    here.sort(key=lambda codec: codec.name != "cotam")
    points = {row.picture: row.points for row in rows if row.codec == here[0].name}
    exhibits, more = make_exhibits(shown, here, points, plan.kept, plan.workers)
    failures += more
    return exhibits


def machine() -> dict[str, str]:
    """The processor, system and versions that the timings are of."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    return {
        "processor": name,
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
