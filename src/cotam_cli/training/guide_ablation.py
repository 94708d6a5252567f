"""Does a map pay? Guided against unguided files at equal bytes, judged by networks that were no teachers.

Every candidate codes every picture at every quality, and the judges of `cotam bench` compare the decoded picture with
the original. A figure is compared with that of the unguided files at the same bytes, by interpolation over the
logarithm of bytes; its standard error comes from resampling the pictures. Picture by picture and set by set, so that
a measurement that was cut short has seen the same pictures with every candidate.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cotam_cli import api
from cotam_cli.bench.contract import read_contract
from cotam_cli.bench.networks import Network, class_scores
from cotam_cli.bench.pictures import load_pixels
from cotam_cli.bench.tasks import Answer, Judge, Score, Task, Truth, load_judge
from cotam_cli.guidance.options import GuideOptions

NONE = "none"
READER = "tesseract"
DRAWS = 1000  # samples of pictures for a standard error
BESIDE = 0.25  # of quality: a single quality is compared along the line to an unguided file this much better

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Mapper = Callable[[Pixels], Floats]
"""From a picture to a map [rows, columns]."""


@dataclass(frozen=True)
class Judged:
    """One picture, coded once: the file's bytes and the judges' (value, weight) by figure."""

    bytes: int
    scores: dict[str, Score]


@dataclass(frozen=True)
class Row:
    """A candidate's figure against that of the unguided files on one set: mean over qualities, at equal bytes.

    unguided, change: as the judge scales them. error: the standard error of the change.
    """

    candidate: str
    set: str
    figure: str
    pictures: int
    unguided: float
    change: float
    error: float


@dataclass(frozen=True)
class Divergence:
    """A classifier: its class, and how far its distribution moves, sum of p log p/q in nats (lower is better)."""

    network: Network

    def answer(self, pixels: Pixels) -> Answer:
        return {"logits": np.ravel(self.network.run(pixels)[0]).astype(np.float64)}

    def score(self, original: Answer, decoded: Answer, truth: Truth) -> dict[str, Score]:
        p, q = (_log_shares(answer["logits"]) for answer in (original, decoded))
        scores = class_scores(int(p.argmax()), int(q.argmax()), truth)
        return scores | {"divergence": (float((np.exp(p) * (p - q)).sum()), 1.0)}


def open_judge(spec: str) -> tuple[str, Judge]:
    """(name, judge) of `tesseract` or of a contract's file. Raises CotamError when it cannot be had."""
    if spec == READER:
        return spec, load_judge(Task(READER))
    contract = read_contract(Path(spec))
    if contract.kind == "logits":
        return contract.name, Divergence(Network.load(contract))
    return contract.name, load_judge(Task(contract.name, contract))


def ablate(
    sets: Mapping[str, Sequence[Path]],
    candidates: Mapping[str, Mapper],
    judges: Mapping[str, Sequence[tuple[str, Judge]]],
    truths: Mapping[str, Truth],
    qualities: Sequence[float],
    options: GuideOptions,
    out: Path,
    minutes: float = math.inf,
) -> list[Row]:
    """Judge every candidate, and `none`; whatever lies in `out` already is not made again.

    sets: pictures by the set's name, as judges; truths: by file name. After so many minutes only pictures that are
    finished already count.
    """
    end = time.monotonic() + 60 * minutes
    rounds = zip_longest(*([(name, path) for path in paths] for name, paths in sets.items()))
    jobs = [job for turn in rounds for job in turn if job is not None]
    results: dict[str, dict[str, list[Judged]]] = {name: {} for name in sets}
    plain = qualities if len(qualities) > 1 else (qualities[0], qualities[0] + BESIDE)
    for name, path in tqdm(jobs, unit="picture"):
        desk = _Desk(path, judges.get(name, ()), truths.get(path.name, Truth()), out / name / path.name)
        wanted: list[tuple[str, Mapper | None, float]] = [(NONE, None, quality) for quality in plain]
        wanted += [(*found, quality) for found in candidates.items() for quality in qualities]
        if time.monotonic() >= end and not all(desk.record(c, q, options).exists() for c, _, q in wanted):
            continue
        for candidate, mapper, quality in wanted:
            judged = desk.examine(candidate, mapper, quality, options)
            results[name].setdefault(candidate, []).append(judged)
    return [
        row
        for name, found in results.items()
        if found
        for candidate in candidates
        for row in compare(name, candidate, found[NONE], found[candidate], (len(plain), len(qualities)))
    ]


class _Desk:
    """One picture on the judges' desk: its pixels, and their answers for it, are made when they are wanted."""

    def __init__(self, path: Path, judges: Sequence[tuple[str, Judge]], truth: Truth, folder: Path) -> None:
        self.path, self.judges, self.truth, self.folder = path, judges, truth, folder
        self.pixels: Pixels | None = None
        self.answers: dict[str, Answer] = {}

    def record(self, name: str, quality: float, options: GuideOptions) -> Path:
        """Where a result is kept."""
        strength = f"-{options.strength:g}-{options.k:g}" if name != NONE else ""
        return self.folder / f"{name}{strength}-q{quality:g}.json"

    def examine(self, name: str, mapper: Mapper | None, quality: float, options: GuideOptions) -> Judged:
        """Code with a candidate's map (None: evenly), decode, ask the judges."""
        record = self.record(name, quality, options)
        if record.exists():
            found = json.loads(record.read_text())
            return Judged(found["bytes"], {k: (v[0], v[1]) for k, v in found["scores"].items()})
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.pixels is None:
            self.pixels = load_pixels(self.path)
            self.answers = {who: judge.answer(self.pixels) for who, judge in self.judges}
        guide: str | Floats = NONE if mapper is None else self._map(name, mapper, self.pixels)
        data = api.encode(self.pixels, quality=quality, guide=guide, guide_options=options)
        decoded = np.asarray(api.decode(data))
        scores: dict[str, Score] = {}
        for who, judge in self.judges:
            for figure, score in judge.score(self.answers[who], judge.answer(decoded), self.truth).items():
                scores[f"{who} {figure}"] = score
        record.write_text(json.dumps({"bytes": len(data), "scores": scores}))
        return Judged(len(data), scores)

    def _map(self, name: str, mapper: Mapper, pixels: Pixels) -> Floats:
        kept = self.folder / f"{name}.npy"
        if not kept.exists():
            np.save(kept, mapper(pixels))
        return np.asarray(np.load(kept), np.float64)


@dataclass(frozen=True)
class _Side:
    """A figure's values and weights with the files' bytes, each float [pictures, qualities]."""

    bytes: Floats
    values: Floats
    weights: Floats

    @classmethod
    def of(cls, results: Sequence[Judged], figure: str, qualities: int) -> _Side:
        """What a judge left out weighs nothing."""
        rows = [(r.bytes, *r.scores.get(figure, (0.0, 0.0))) for r in results]
        return cls(*np.array(rows, float).reshape(-1, qualities, 3).transpose(2, 0, 1))

    def pooled(self, chosen: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Log of bytes and mean figure of these pictures, each [qualities]."""
        weights, values = self.weights[chosen], self.values[chosen]
        with np.errstate(invalid="ignore"):
            return np.log(self.bytes[chosen].sum(0)), (values * weights).sum(0) / weights.sum(0)


def compare(
    name: str, candidate: str, plain: Sequence[Judged], guided: Sequence[Judged], qualities: tuple[int, int]
) -> list[Row]:
    """Guided figures less the unguided ones at the same bytes; last, what the bytes were before that, per cent.

    plain, guided: a result for each quality, picture after picture; qualities: how many these are, at least 2 for the
    plain ones, which hold those of the guided and may go on.
    """
    count, common = len(plain) // qualities[0], qualities[1]
    everything = np.arange(count)
    draws = np.random.default_rng(1).integers(0, count, (DRAWS, count))
    rows = []
    for figure in sorted({figure for result in plain for figure in result.scores}):
        before, after = map(_Side.of, (plain, guided), (figure, figure), qualities)
        error = float(np.nanstd([_change(before, after, draw) for draw in draws]))
        unguided = float(before.pooled(everything)[1][:common].mean())
        rows.append(Row(candidate, name, figure, count, unguided, _change(before, after, everything), error))
    sizes, own = (
        np.array([r.bytes for r in results], float).reshape(count, -1)[:, :common]
        for results in (plain, guided)
    )
    shifts = [
        100 * float((own[draw].sum(0) / sizes[draw].sum(0) - 1).mean()) for draw in (everything, *draws)
    ]
    rows.append(Row(candidate, name, "bytes, %", count, 0.0, shifts[0], float(np.std(shifts[1:]))))
    return rows


def _change(before: _Side, after: _Side, chosen: NDArray[np.intp]) -> float:
    rates, values = before.pooled(chosen)
    own, found = after.pooled(chosen)
    return float(np.mean([v - _line(rate, rates, values) for v, rate in zip(found, own, strict=True)]))


def table(rows: Sequence[Row], figures: Sequence[str] = ()) -> str:
    """Rows as text, a block for each set; figures: only those whose name contains one of these."""
    lines = []
    for name in dict.fromkeys(row.set for row in rows):
        chosen = [row for row in rows if row.set == name]
        names = list(dict.fromkeys(row.candidate for row in chosen))
        title = f"{name}, {chosen[0].pictures} pictures"
        lines.append(f"{title:34} {'unguided':>9}" + "".join(f" {n:>18}" for n in names))
        for figure in dict.fromkeys(row.figure for row in chosen):
            if figures and not any(part in figure for part in (*figures, "bytes")):
                continue
            found = {row.candidate: row for row in chosen if row.figure == figure}
            cells = [f"{found[n].change:+.4f} ± {found[n].error:.4f}" for n in names]
            lines.append(
                f"  {figure:32} {found[names[0]].unguided:9.4f}" + "".join(f" {c:>18}" for c in cells)
            )
    return "\n".join(lines) + "\n"


def _line(rate: float, rates: Floats, values: Floats) -> float:
    """A line through the two nearest points, which may reach a little over the ends."""
    k = int(np.clip(np.searchsorted(rates, rate), 1, len(rates) - 1))
    slope = (values[k] - values[k - 1]) / (rates[k] - rates[k - 1])
    return float(values[k - 1] + slope * (rate - rates[k - 1]))


def _log_shares(logits: Floats) -> Floats:
    moved = logits - logits.max()
    return np.asarray(moved - np.log(np.exp(moved).sum()))
