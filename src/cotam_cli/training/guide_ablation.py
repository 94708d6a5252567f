"""Does a map pay? Guided against unguided files at equal bytes, judged by networks that were no teachers.

Every candidate codes every picture at every quality; the decoded pictures go to a judge, any command that takes a
folder of originals and one of decoded pictures and writes its figures as JSON. A figure is compared with that of the
unguided files at the same bytes, by interpolation over the logarithm of bytes.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cotam_cli import api
from cotam_cli.bench.pictures import find_pictures, load_pixels
from cotam_cli.errors import CotamError
from cotam_cli.guidance.options import GuideOptions

NONE = "none"
Pixels = NDArray[np.uint8]
Mapper = Callable[[Pixels], NDArray[np.float64]]
"""From a picture to a map [rows, columns]."""


@dataclass(frozen=True)
class Judged:
    """One candidate at one quality on one set: total bytes and the judge's figures, by name."""

    bytes: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Row:
    """A candidate against the unguided files, on one set and figure: mean over qualities, at equal bytes."""

    candidate: str
    set: str
    figure: str
    unguided: float
    change: float
    bytes_change: float  # per cent, before the interpolation


def flat_figures(found: object, prefix: str = "") -> dict[str, float]:
    """All numbers of a JSON value, named by their path; single pictures and times are left out."""
    if isinstance(found, bool):
        return {}
    if isinstance(found, int | float):
        return {prefix: float(found)}
    figures: dict[str, float] = {}
    if isinstance(found, Mapping):
        for key, value in found.items():
            if key not in ("pictures", "seconds", "kinds"):
                figures |= flat_figures(value, f"{prefix}.{key}" if prefix else str(key))
    return figures


def judge(command: str, originals: Path, decoded: Path, out: Path) -> dict[str, float]:
    """Run a judge: {originals}, {decoded} and {json} in the command are replaced. Raises CotamError when it fails."""
    fields = {"originals": originals, "decoded": decoded, "json": out}
    words = [word.format(**fields) for word in shlex.split(command)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode or not out.exists():
        tail = " ".join(done.stderr.split())[-300:]
        raise CotamError(f"the judge {words[0]} failed ({tail}); run it by hand on {decoded}")
    return flat_figures(json.loads(out.read_text()))


def originals_of(paths: Sequence[Path], folder: Path) -> None:
    """The pictures of a set as PNG files, for judges that take whole folders."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        target = folder / f"{path.stem}.png"
        if not target.exists():
            Image.fromarray(load_pixels(path)).save(target, compress_level=1)


def code_set(
    paths: Sequence[Path], maps: Path, mapper: Mapper | None, quality: float, options: GuideOptions, out: Path
) -> int:
    """Code and decode a set into `out`; returns the bytes. Maps are made once and kept in `maps`."""
    record = out / "bytes.json"
    if record.exists():
        return int(json.loads(record.read_text()))
    out.mkdir(parents=True, exist_ok=True)
    total = 0
    for path in paths:
        pixels = load_pixels(path)
        guide: str | NDArray[np.float64] = NONE
        if mapper is not None:
            kept = maps / f"{path.stem}.npy"
            if not kept.exists():
                maps.mkdir(parents=True, exist_ok=True)
                np.save(kept, mapper(pixels))
            guide = np.load(kept)
        data = api.encode(pixels, quality=quality, guide=guide, guide_options=options)
        total += len(data)
        api.decode(data).save(out / f"{path.stem}.png", compress_level=1)
    record.write_text(json.dumps(total))
    return total


def ablate(
    folders: Mapping[str, Path],
    candidates: Mapping[str, Mapper],
    judges: Mapping[str, Sequence[str]],
    qualities: Sequence[float],
    options: GuideOptions,
    out: Path,
    limits: Mapping[str, int],
) -> list[Row]:
    """Judge every candidate, and `none`; whatever lies in `out` already is not made again.

    folders and judges are by the name of the set; limits: pictures of each, spread evenly.
    """
    results: dict[tuple[str, str, float], Judged] = {}
    jobs = [(s, c, q) for s in folders for c in (NONE, *candidates) for q in qualities]
    for name, candidate, quality in tqdm(jobs, unit="run"):
        paths = find_pictures(folders[name], limits.get(name))
        originals_of(paths, out / "originals" / name)
        folder = out / f"{candidate}-{options.strength:g}" if candidate != NONE else out / NONE
        folder = folder / f"{name}-q{quality:g}"
        size = code_set(
            paths, out / "maps" / candidate / name, candidates.get(candidate), quality, options, folder
        )
        record = folder.with_suffix(folder.suffix + ".judged.json")
        if not record.exists():
            figures: dict[str, float] = {}
            for command in judges.get(name, ()):
                figures |= judge(command, out / "originals" / name, folder, folder / "judge.json")
            record.write_text(json.dumps(asdict(Judged(size, figures)), indent=1))
        results[name, candidate, quality] = Judged(**json.loads(record.read_text()))
    return [
        row
        for name in folders
        for candidate in candidates
        for row in compare(
            name,
            candidate,
            [results[name, NONE, q] for q in qualities],
            [results[name, candidate, q] for q in qualities],
        )
    ]


def compare(name: str, candidate: str, plain: Sequence[Judged], guided: Sequence[Judged]) -> list[Row]:
    """Guided figures less the unguided ones at the same bytes, mean over qualities."""
    rates = np.log([result.bytes for result in plain])
    own = np.log([result.bytes for result in guided])
    rows = []
    for figure in plain[0].figures:
        values = [result.figures[figure] for result in plain]
        changes = [
            result.figures[figure] - _interpolated(float(rate), rates, values)
            for result, rate in zip(guided, own, strict=True)
        ]
        shift = 100 * float(np.expm1(own - rates).mean())
        rows.append(Row(candidate, name, figure, float(np.mean(values)), float(np.mean(changes)), shift))
    return rows


def _interpolated(rate: float, rates: NDArray[np.float64], values: Sequence[float]) -> float:
    """A line through the two nearest points, which may reach a little over the ends."""
    if len(values) == 1:
        return values[0]
    k = int(np.clip(np.searchsorted(rates, rate), 1, len(rates) - 1))
    slope = (values[k] - values[k - 1]) / (rates[k] - rates[k - 1])
    return float(values[k - 1] + slope * (rate - rates[k - 1]))


def table(rows: Sequence[Row], figures: Sequence[str] = ()) -> str:
    """Rows as text, a block for each set; figures: only those whose name contains one of these."""
    lines = []
    for name in dict.fromkeys(row.set for row in rows):
        chosen = [row for row in rows if row.set == name]
        names = list(dict.fromkeys(row.candidate for row in chosen))
        lines.append(f"{name:34} {'unguided':>9}" + "".join(f" {n:>11}" for n in names))
        for figure in dict.fromkeys(row.figure for row in chosen):
            if figures and not any(part in figure for part in figures):
                continue
            found = {row.candidate: row for row in chosen if row.figure == figure}
            plain = found[names[0]].unguided
            lines.append(f"  {figure:32} {plain:9.4f}" + "".join(f" {found[n].change:+11.4f}" for n in names))
        first = {row.candidate: row.bytes_change for row in chosen}
        lines.append(f"  {'bytes, %':32} {'':9}" + "".join(f" {first[n]:+11.2f}" for n in names))
    return "\n".join(lines) + "\n"
