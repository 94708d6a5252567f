"""Measure the shipped codec against the others: real files, decoded again, on folders of pictures.

Runs the codec exactly as users do (ONNX and integers), so it needs no PyTorch unless a training state is
given to measure what the integer path costs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cotam_cli.bench.codecs import Codec, anchors, cotam
from cotam_cli.bench.measuring import Job, Row, measure_all
from cotam_cli.bench.pictures import find_pictures, load_pixels, open_picture
from cotam_cli.bench.results import PSNR, CurvePoint, Curves, average, series
from cotam_cli.bench.svg import figure, page_of
from cotam_cli.codec.models import load_model
from cotam_cli.errors import CotamError
from cotam_cli.images import write_atomic
from cotam_cli.training.comparison import Comparison, compare, comparison_table, curve_table
from cotam_cli.training.rateloss import RateLoss, rate_loss, total

if TYPE_CHECKING:
    from cotam_cli.training.network import Codec as Network

QUALITIES = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
RATE_PICTURES = 3  # of each set, at every other quality, for the cost of the integer path


@dataclass(frozen=True)
class SetResult:
    """One set of pictures: average curves by codec, comparisons, cost of the integer path by quality."""

    pictures: int
    curves: dict[str, tuple[CurvePoint, ...]]
    comparisons: list[Comparison]
    rate_losses: dict[float, RateLoss]


def evaluate(
    folders: Mapping[str, Path],
    qualities: Sequence[float],
    out: Path,
    *,
    cache: Path | None = None,
    workers: int = 2,
    limit: int | None = None,
    only: Iterable[str] | None = None,
    network: Network | None = None,
    effort: int = 0,
) -> dict[str, SetResult]:
    """Measure the newest model, without guide and adapter, against every other codec.

    Args:
        folders: name of each set of pictures and the folder that holds it.
        qualities: the codec's ladder, 1 to 8.
        out: gets evaluation.txt, evaluation.json, pictures.json and evaluation.svg.
        cache: keeps coded files and results; any folder outside the repository.
        workers: processes.
        limit: pictures of each set, spread evenly; None takes all.
        only: names of the codecs to compare with; None takes all.
        network: the float network that the model was exported from, to measure what the integer path costs.
        effort: the encoder's, 0 to 10.

    Raises:
        CotamError: a folder without pictures, a picture that cannot be read, an unknown codec.
    """
    codecs, notes = _codecs(qualities, only, effort)
    results, pictures = {}, {}
    for name, folder in folders.items():
        paths = find_pictures(folder, limit)
        chosen = [open_picture(path) for path in paths]
        jobs = [Job(picture, codec, kept=cache) for picture in chosen for codec in codecs]
        rows = list(tqdm(measure_all(jobs, workers), desc=name, total=len(jobs)))
        failures = [failure for row in rows for failure in row.failures]
        if failures:
            raise CotamError(f"{failures[0]} (and {len(failures) - 1} more)")
        losses = _rate_losses(paths, codecs[0], network)
        results[name] = _summarise(rows, codecs, losses)
        pictures[name] = sorted(rows, key=lambda row: row.picture)
    _write(out, results, pictures, notes)
    return results


def _codecs(
    qualities: Sequence[float], only: Iterable[str] | None, effort: int
) -> tuple[list[Codec], list[str]]:
    """cotam first, then the anchors; and what there is to say about those that are missing."""
    own = replace(cotam(guide="none", target="human", effort=effort), name="cotam", ladder=tuple(qualities))
    found, missing = anchors()
    if only is not None:
        wanted = set(only)
        unknown = wanted - {codec.name for codec in found} - set(missing)
        if unknown:
            raise CotamError(f"unknown codec {', '.join(sorted(unknown))}; choose from jpeg, webp, avif, jxl")
        found = [codec for codec in found if codec.name in wanted]
        missing = {name: cure for name, cure in missing.items() if name in wanted}
    notes = [f"{codec.name}: {codec.version}" for codec in (own, *found)]
    return [own, *found], notes + [f"{name}: NOT MEASURED ({cure})" for name, cure in missing.items()]


def _rate_losses(paths: Sequence[Path], codec: Codec, network: Network | None) -> dict[float, RateLoss]:
    chosen = paths[:: -(-len(paths) // RATE_PICTURES)]
    pixels = [load_pixels(path) for path in chosen]
    return {
        setting: total([rate_loss(codec.encode(picture, setting), network) for picture in pixels])
        for setting in codec.ladder[::2]
    }


def _summarise(rows: Sequence[Row], codecs: Sequence[Codec], losses: dict[float, RateLoss]) -> SetResult:
    names = sorted({row.picture for row in rows})
    whole = _average(rows, codecs)
    single = [_average([row for row in rows if row.picture == name], codecs).codecs for name in names]
    return SetResult(len(names), whole.codecs, compare(whole.codecs, codecs[0].name, single), losses)


def _average(rows: Sequence[Row], codecs: Sequence[Codec]) -> Curves:
    return average(rows, {codec.name: codec.ladder for codec in codecs}, lambda _row, _point: {})


def render(results: Mapping[str, SetResult], notes: Sequence[str]) -> str:
    """The whole report as text."""
    parts = ["\n".join(notes)]
    for name, result in results.items():
        parts.append(f"== {name}, {result.pictures} pictures")
        if result.comparisons:
            parts.append(comparison_table("cotam", result.comparisons))
        parts.append(curve_table(result.curves["cotam"]))
        parts.append(_loss_table(result.rate_losses))
    return "\n\n".join(parts) + "\n"


def _loss_table(losses: Mapping[float, RateLoss]) -> str:
    lines = ["quality  payload over the tables' entropy  over the float networks' bits  latents not coded"]
    for quality, loss in losses.items():
        networks = "-" if loss.integer_percent is None else f"{loss.integer_percent:+.2f} %"
        skipped = 100 * loss.skipped / max(loss.skipped + loss.coded, 1)
        lines.append(f"{quality:7g}  {loss.coder_percent:+29.2f} %  {networks:>29}  {skipped:15.1f} %")
    return "\n".join(lines)


def model_manifest() -> dict[str, Any]:
    """What the newest model says of itself."""
    return dict(json.loads((load_model().folder / "manifest.json").read_text()))


def _write(
    out: Path, results: Mapping[str, SetResult], pictures: Mapping[str, list[Row]], notes: list[str]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "evaluation.svg", page_of(_figures(results)).encode())
    manifest = model_manifest()
    training = manifest.get("training", {})
    notes = [f"{manifest['name']}: " + ", ".join(f"{key} {value}" for key, value in training.items()), *notes]
    summary = {"notes": notes, "sets": {name: asdict(result) for name, result in results.items()}}
    details = {name: [asdict(row) for row in rows] for name, rows in pictures.items()}
    for name, content in (("evaluation", summary), ("pictures", details)):
        write_atomic(out / f"{name}.json", json.dumps(content, indent=1).encode() + b"\n")
    write_atomic(out / "evaluation.txt", render(results, notes).encode())


def _figures(results: Mapping[str, SetResult]) -> list[str]:
    """PSNR over bits per pixel, a drawing a set."""
    drawings = []
    for name, result in results.items():
        curves = {
            codec: list(zip(*series(curve, PSNR), strict=True)) for codec, curve in result.curves.items()
        }
        styles = {codec: k for k, codec in enumerate(curves)}
        drawings.append(figure(curves, title=f"PSNR, {name}", unit="dB", styles=styles))
    return drawings
