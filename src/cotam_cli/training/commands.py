"""The workshop's commands; parsing and printing only."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from cotam_cli import __version__
from cotam_cli.cli.common import one_line_errors
from cotam_cli.errors import CotamError
from cotam_cli.training.data import Pack, build_pack, check_disjoint
from cotam_cli.training.evaluate import QUALITIES, evaluate, model_manifest
from cotam_cli.training.fidelity import load_teachers
from cotam_cli.training.fidelity_commands import fidelity, teacher_option
from cotam_cli.training.guide_commands import guide
from cotam_cli.training.loop import resume_or_start
from cotam_cli.training.network import NetworkConfig
from cotam_cli.training.options import options_of
from cotam_cli.training.states import grow, pack_state, save_state, unpack_state
from cotam_cli.training.tokens_commands import tokens
from cotam_cli.training.train_config import TrainConfig

EXISTING = click.Path(exists=True, path_type=Path)
ANY = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train the codec, and turn what was learnt into model files."""


main.add_command(guide)
main.add_command(fidelity)
main.add_command(tokens)


@main.command()
@click.argument("sources", nargs=-1, required=True, type=EXISTING)
@click.argument("out", type=ANY)
@click.option("--drawn", type=click.IntRange(0), default=800, show_default=True, help="Pictures to draw.")
@one_line_errors
def pack(sources: tuple[Path, ...], out: Path, drawn: int) -> None:
    """Decode the pictures of SOURCES (folders or tar files) into one pack in OUT, and draw more."""
    build_pack(list(sources), out, drawn)
    click.echo(f"{len(Pack(out).entries)} pictures in {out}")


@main.command()
@options_of(TrainConfig)
@options_of(NetworkConfig)
@click.option("--resume", type=EXISTING, help="Start from a file made by `state`.")
@click.option("--dev", type=EXISTING, help="Refuse a pack with a picture of this folder.")
@teacher_option(required=False)
@one_line_errors
def train(resume: Path | None, dev: Path | None, teachers: tuple[str, ...], **options: Any) -> None:
    """Train, or go on with the run in OUT; the sizes of the network are then the run's.

    With teachers, the codec also learns to keep what they see (multi-level fidelity).
    """
    config = TrainConfig(**{field.name: options[field.name] for field in fields(TrainConfig)})
    network = NetworkConfig(**{field.name: options[field.name] for field in fields(NetworkConfig)})
    pictures = Pack(Path(config.pack))
    if dev is not None:
        check_disjoint(pictures, dev)
    if config.device == "cpu":
        resume_or_start(config, network, resume, load_teachers(teachers)).train(pictures)
        return
    from cotam_cli.training.device_loop import train_on_device

    if teachers:
        raise CotamError("teachers look on where the processor trains; leave --device or --teacher out")
    train_on_device(resume_or_start(config, network, resume), pictures)


@main.command()
@click.option(
    "--state", "source", required=True, type=EXISTING, help="A run's state.pt, or a file by `state`."
)
@click.option("--pack", "folder", required=True, type=ANY, help="Folder made by `pack`.")
@click.option("--models", required=True, type=ANY, help="Folder of the model folders.")
@click.option("--id", "model_id", required=True, type=click.IntRange(1, 65535), help="The model's id.")
@click.option("--since", default=__version__, show_default=True, help="First release that ships the model.")
@click.option("--allow-list", type=ANY, help="List to enter it in; the package's by default.")
@one_line_errors
def export(
    source: Path, folder: Path, models: Path, model_id: int, since: str, allow_list: Path | None
) -> None:
    """Turn a training state into the files of a model."""
    from cotam_cli.training.export import export as export_model
    from cotam_cli.training.export import package_list

    known = allow_list or package_list()
    click.echo(export_model(unpack_state(source), Pack(folder), models, known, model_id, since))


@main.command("state")
@click.argument("run", type=EXISTING)
@click.argument("target", type=ANY)
@one_line_errors
def pack_up(run: Path, target: Path) -> None:
    """Write the state of the run in RUN as one small half-precision file."""
    pack_state(run, target)
    click.echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


@main.command("grow")
@click.argument("source", type=EXISTING)
@click.argument("run", type=ANY)
@options_of(NetworkConfig)
@one_line_errors
def grow_state(source: Path, run: Path, **sizes: int) -> None:
    """Write the codec of the state SOURCE in a larger network, with the same output, as RUN/state.pt."""
    run.mkdir(parents=True, exist_ok=True)
    save_state(grow(unpack_state(source), NetworkConfig(**sizes)), run / "state.pt")
    click.echo(run / "state.pt")


@main.command("eval")
@click.option("--data", required=True, type=EXISTING, help="Folder with a folder for each set.")
@click.option("--out", required=True, type=ANY, help="Gets the report, the figures and the plot.")
@click.option("--cache", type=ANY, help="Keep the other codecs' results in this folder.")
@click.option(
    "--set", "sets", multiple=True, default=("photo", "text"), show_default=True, help="Sets to measure."
)
@click.option("--quality", "qualities", multiple=True, type=float, default=QUALITIES, show_default=True)
@click.option(
    "--against", multiple=True, help="Codecs to compare with (jpeg, webp, avif, jxl); all by default."
)
@click.option("--limit", type=click.IntRange(1), help="Pictures of each set, spread evenly; all by default.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option("--state", "source", type=EXISTING, help="The model's training state.")
@click.option("--effort", type=click.IntRange(0, 10), default=0, show_default=True, help="The encoder's.")
@one_line_errors
def evaluation(
    data: Path,
    out: Path,
    cache: Path | None,
    sets: tuple[str, ...],
    qualities: tuple[float, ...],
    against: tuple[str, ...],
    limit: int | None,
    workers: int,
    source: Path | None,
    effort: int,
) -> None:
    """Measure the newest model against JPEG, WebP, AVIF and JPEG XL on the pictures under DATA.

    With the state that the model was exported from, the cost of the integer path is measured too.
    """
    missing = [name for name in sets if not (data / name).is_dir()]
    if missing:
        raise CotamError(f"{data} has no folder {', '.join(missing)}; name its sets with --set")
    network = None
    if source is not None:
        from cotam_cli.training.export import load_codec

        state = unpack_state(source)
        trained = model_manifest().get("training", {}).get("step")
        if state["step"] != trained:
            raise CotamError(
                f"{source} is of step {state['step']}, the model of step {trained}; give its own state"
            )
        network = load_codec(state)
    folders = {name: data / name for name in sets}
    evaluate(
        folders,
        qualities,
        out,
        cache=cache,
        workers=workers,
        limit=limit,
        only=against or None,
        network=network,
        effort=effort,
    )
    click.echo((out / "evaluation.txt").read_text())
