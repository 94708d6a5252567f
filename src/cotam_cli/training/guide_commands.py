"""The workshop's commands for guides; parsing and printing only."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cotam_cli import __version__
from cotam_cli.cli.common import one_line_errors
from cotam_cli.errors import CotamError
from cotam_cli.guidance.options import DEFAULTS

if TYPE_CHECKING:
    from cotam_cli.training.guide_data import Teachers

EXISTING = click.Path(exists=True, path_type=Path)
ANY = click.Path(path_type=Path)


@click.group()
def guide() -> None:
    """Train the embedded guide: ask the teachers, distil, export."""


@guide.command("ask")
@click.option("--pack", "folder", required=True, type=EXISTING, help="Folder made by `pack`.")
@click.option(
    "--teacher",
    required=True,
    help="An open_clip tower (clip:MODEL/WEIGHTS), or the ONNX file of a ViT or DINOv2.",
)
@click.option("--text", type=EXISTING, help="A text detector of PaddleOCR as an ONNX file.")
@click.option("--shards", "count", type=click.IntRange(1, 9999), default=64, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.argument("out", type=ANY)
@one_line_errors
def ask_teachers(folder: Path, teacher: str, text: Path | None, count: int, threads: int, out: Path) -> None:
    """Keep the teachers' answers for 32 regions a shard in OUT; shards that are there are kept."""
    from cotam_cli.training.data import Pack
    from cotam_cli.training.guide_data import build_shards, sign_folder

    teachers = _open_teachers(teacher, text, threads)
    names = {"attention": teachers.shallow.source, "deep": teachers.deep.source}
    sign_folder(out, {**names, "text": text.name if text else None})
    build_shards(Pack(folder), out, count, teachers)


@guide.command("train")
@click.option("--shards", required=True, type=EXISTING, help="Folder made by `guide ask`.")
@click.option("--out", required=True, type=ANY, help="Folder of the run; an earlier run in it goes on.")
@click.option("--steps", type=click.IntRange(1), default=4000, show_default=True, help="Last step.")
@click.option("--batch", type=click.IntRange(1, 32), default=16, show_default=True, help="Regions a step.")
@click.option("--rate", type=float, default=1e-3, show_default=True, help="Highest learning rate.")
@click.option("--minutes", type=float, default=600.0, show_default=True, help="Stop after this long.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@one_line_errors
def train(**options: Any) -> None:
    """Distil the teachers' answers into a small network."""
    from cotam_cli.training.guide_loop import GuideRun, train_guide
    from cotam_cli.training.guide_network import GuideConfig

    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    train_guide(GuideRun(**options), GuideConfig())


@guide.command("test")
@click.option("--run", required=True, type=EXISTING, help="Folder of a run.")
@click.option("--shards", required=True, type=EXISTING, help="Folder made by `guide ask`.")
@click.option("--teacher", help="As for `guide ask`: asks it again, to know how steady its shallow map is.")
@click.option(
    "--again", type=click.IntRange(1), default=64, show_default=True, help="Pictures to ask it again about."
)
@one_line_errors
def test(run: Path, shards: Path, teacher: str | None, again: int) -> None:
    """Agreement with the teachers on pictures that were not trained on, as JSON."""
    from dataclasses import asdict

    from cotam_cli.training.guide_looks import steadiness
    from cotam_cli.training.guide_loop import agreement, load_student

    net = load_student(_state(run))
    report: dict[str, Any] = {"agreement": asdict(agreement(net, shards))}
    if teacher is not None:
        report["steadiness"] = asdict(
            steadiness(net, shards, _open_teachers(teacher, None, 1).shallow, again)
        )
    click.echo(json.dumps(report, indent=1))


@guide.command("export")
@click.option("--run", required=True, type=EXISTING, help="Folder of a run.")
@click.option("--shards", required=True, type=EXISTING, help="The answers it learnt from; measures it.")
@click.option("--models", required=True, type=ANY, help="Folder of the model folders.")
@click.option("--id", "number", required=True, type=click.IntRange(1, 65535), help="The guide's number.")
@click.option(
    "--weights",
    nargs=3,
    type=float,
    default=(1.0, 0.0, 0.0),
    show_default=True,
    help="Of shallow attention, deep attention and text.",
)
@click.option("--since", default=__version__, show_default=True, help="First release that ships it.")
@click.option("--allow-list", type=ANY, help="List to enter it in; the package's by default.")
@one_line_errors
def export(
    run: Path,
    shards: Path,
    models: Path,
    number: int,
    weights: tuple[float, float, float],
    since: str,
    allow_list: Path | None,
) -> None:
    """Turn a run into models/guide-ID."""
    from dataclasses import asdict

    from cotam_cli.training.export import allow, write_model
    from cotam_cli.training.guide_loop import agreement, load_student
    from cotam_cli.training.guide_network import student_graph

    state = _state(run)
    net = load_student(state)
    name = f"guide-{number}"
    facts = {
        "name": name,
        "network": state["sizes"],
        "training": {
            "step": state["step"],
            "regions": state["regions"],
            "core_hours": round(state["core_seconds"] / 3600, 2),
            "teachers": json.loads((shards / "teacher.json").read_text()),
        },
        "agreement": asdict(agreement(net, shards)),
    }
    digest = write_model(models / name, {"guide.onnx": student_graph(net, f"cotam {name}", weights)}, facts)
    listed = allow_list or Path(str(resources.files("cotam_cli.codec").joinpath("guides.json")))
    allow(listed, number, name, since, digest)
    click.echo(models / name)


@guide.command("ablate")
@click.option("--data", required=True, type=EXISTING, help="Folder with a folder for each set.")
@click.option("--out", required=True, type=ANY, help="Gets everything; what is there is not made again.")
@click.option("--set", "sets", multiple=True, default=("photo", "text", "class"), show_default=True)
@click.option(
    "--limit", "limits", multiple=True, help="SET=COUNT: pictures of a set, spread evenly; else all."
)
@click.option("--quality", "qualities", multiple=True, type=float, default=(1.5, 3.0), show_default=True)
@click.option(
    "--strength", "strengths", multiple=True, type=float, default=(DEFAULTS.strength,), show_default=True
)
@click.option(
    "--k", type=float, default=DEFAULTS.k, show_default=True, help="Deviations from the mean to a level."
)
@click.option(
    "--judge",
    "judges",
    multiple=True,
    help="SET=CONTRACT.json, as for `cotam bench`, or SET=tesseract; several for a set are possible.",
)
@click.option("--truth", type=EXISTING, help='The words of the pictures: JSON {"file": {"words": [...]}}.')
@click.option("--labels", type=EXISTING, help='The classes of the pictures: JSON {"file": index}.')
@click.option("--guide", "guides", multiple=True, help="NAME=GUIDE: a candidate, as for `cotam encode`.")
@click.option("--text", type=EXISTING, help="A text detector of PaddleOCR: adds the candidates text and mix.")
@click.option(
    "--deep",
    type=EXISTING,
    help="A guide of a transformer's last blocks (`cotam guide export --blocks 10-12`): adds, with --text, focus.",
)
@click.option("--bound", type=EXISTING, help="A ViT as an ONNX file: adds the upper bound by its gradient.")
@click.option(
    "--minutes",
    type=float,
    default=math.inf,
    help="Then report on the pictures that are finished.  [default: all]",
)
@click.option("--quiet", is_flag=True, help="Adds the candidate of video coders: more to quiet cells.")
@click.option("--only", multiple=True, help="Show figures with this in their name; all by default.")
@one_line_errors
def ablation(
    data: Path,
    out: Path,
    sets: tuple[str, ...],
    limits: tuple[str, ...],
    qualities: tuple[float, ...],
    strengths: tuple[float, ...],
    k: float,
    judges: tuple[str, ...],
    truth: Path | None,
    labels: Path | None,
    guides: tuple[str, ...],
    text: Path | None,
    deep: Path | None,
    bound: Path | None,
    minutes: float,
    quiet: bool,
    only: tuple[str, ...],
) -> None:
    """Measure maps against none at equal bytes, by task; the first --guide is mixed with the text map."""
    from cotam_cli.bench.pictures import find_pictures
    from cotam_cli.bench.tasks import read_truth
    from cotam_cli.training.guide_ablation import ablate, open_judge, table
    from cotam_cli.training.guide_candidates import find_candidates

    middle = sorted(qualities)[len(qualities) // 2]
    candidates = find_candidates(dict(map(_pair, guides)), text, deep, bound, middle, quiet)
    counts = {name: int(count) for name, count in map(_pair, limits)}
    pictures = {name: find_pictures(data / name, counts.get(name)) for name in sets}
    found: dict[str, list[Any]] = {}
    for name, spec in map(_pair, judges):
        found.setdefault(name, []).append(open_judge(spec))
    truths = read_truth(truth, labels)
    for strength in strengths:
        options = replace(DEFAULTS, strength=strength, k=k)
        rows = ablate(pictures, candidates, found, truths, qualities, options, out, minutes)
        report = f"strength {strength:g}, k {k:g}, qualities {', '.join(f'{q:g}' for q in qualities)}\n"
        report += table(rows, only)
        (out / f"ablation-{strength:g}-{k:g}.txt").write_text(report)
        click.echo(report)


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name or not value:
        raise CotamError(f"{text!r} is not NAME=VALUE")
    return name, value


def _open_teachers(tower: str, text: Path | None, threads: int) -> Teachers:
    """A tower's first three blocks and its last quarter, and a text detector."""
    from cotam_cli.guidance.export import export_guide
    from cotam_cli.guidance.onnx_guide import load_guide
    from cotam_cli.guidance.towers import named_vit
    from cotam_cli.training.guide_data import Teachers, TextDetector

    depth = len(named_vit(tower).blocks)
    parts = export_guide(tower), export_guide(tower, depth, depth - (depth - 1) // 4)
    shallow, deep = (load_guide(data, tower, threads) for data in parts)
    return Teachers(shallow, deep, None if text is None else TextDetector(text, threads))


def _state(run: Path) -> dict[str, Any]:
    import torch

    path = run / "state.pt"
    if not path.exists():
        raise CotamError(f"{run} holds no run; train one with: guide train")
    return dict(torch.load(path, weights_only=True))
