"""The workshop's commands for the decoder's side; parsing and printing only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from cotam_cli.cli.common import one_line_errors
from cotam_cli.training.adapter_loop import AdapterRun, train_fidelity
from cotam_cli.training.adapter_states import carry_over, merge
from cotam_cli.training.options import F, options_of
from cotam_cli.training.states import unpack_state

EXISTING = click.Path(exists=True, path_type=Path)
ANY = click.Path(path_type=Path)


def teacher_option(required: bool) -> Callable[[F], F]:
    """--teacher, which may be given several times."""
    return click.option(
        "--teacher",
        "teachers",
        multiple=True,
        required=required,
        help="An open_clip tower (clip:MODEL/WEIGHTS), the ONNX file of a ViT or DINOv2, MobileNetV2 "
        "(mobilenet:FILE.pt), a PP-OCR text detector (text:FILE.onnx) or recogniser (read:FILE.onnx); may be given "
        "several times.",
    )


@click.group()
def fidelity() -> None:
    """Train the pixel adapter, which mends what vision models miss in the decoded picture."""


@fidelity.command("train")
@click.option("--state", "source", required=True, type=EXISTING, help="The codec's training state.")
@teacher_option(required=True)
@options_of(
    AdapterRun,
    steps="The run's last step, at which the rates are zero.",
    distant="Share of the steps with crops twice as wide, at four times the cost; teachers look at them halved.",
)
@one_line_errors
def train(source: Path, teachers: tuple[str, ...], **options: Any) -> None:
    """Train, or go on with the run in OUT. An adapter that the state carries is where a new run starts."""
    run = AdapterRun(**{field.name: options[field.name] for field in fields(AdapterRun)})
    train_fidelity(run, unpack_state(source), list(teachers), click.echo)


@fidelity.command("merge")
@click.option("--state", "source", required=True, type=EXISTING, help="The codec's training state.")
@click.argument("run", type=EXISTING)
@click.argument("out", type=ANY)
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="How far from the synthesis' weights to the adapter's.",
)
@one_line_errors
def merge_into(source: Path, run: Path, out: Path, share: float) -> None:
    """Write the codec's state with the adapter of RUN as OUT/state.pt, for `export` and `state`."""
    merge(unpack_state(source), run, out, share)
    click.echo(out / "state.pt")


@fidelity.command("carry")
@click.option("--state", "source", required=True, type=EXISTING, help="The newer codec's training state.")
@click.argument("old", type=EXISTING)
@click.argument("out", type=ANY)
@one_line_errors
def carry(source: Path, old: Path, out: Path) -> None:
    """Write the codec's state with the adapter of OLD, an older codec's state, as OUT/state.pt, to train it on."""
    carry_over(unpack_state(old), unpack_state(source), out)
    click.echo(out / "state.pt")


@fidelity.command("export")
@click.option("--state", "source", required=True, type=EXISTING, help="A state that carries the adapter.")
@click.option("--models", required=True, type=ANY, help="The folder of models.")
@click.option("--id", "model_id", required=True, type=int, help="The model's number.")
@click.option("--allow-list", type=ANY, help="The package's models.json by default.")
@one_line_errors
def export(source: Path, models: Path, model_id: int, allow_list: Path | None) -> None:
    """Put the adapter of a state into its codec's model; all that codes stays as it is."""
    from cotam_cli.training.export import export_adapter, package_list

    click.echo(export_adapter(unpack_state(source), models, allow_list or package_list(), model_id))
