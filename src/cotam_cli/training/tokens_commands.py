"""The workshop's commands for token adapters; parsing and printing only."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import click

from cotam_cli import __version__
from cotam_cli.cli.common import one_line_errors
from cotam_cli.errors import CotamError

EXISTING = click.Path(exists=True, path_type=Path)
ANY = click.Path(path_type=Path)
TOWER = click.option(
    "--tower",
    required=True,
    help="The encoder: clip:MODEL/WEIGHTS of open_clip (WEIGHTS may be a file), or the ONNX file of a Hugging Face ViT "
    "or DINOv2.",
)


@click.group()
def tokens() -> None:
    """Train an adapter from latents to an encoder's tokens: learn, measure, export."""


@tokens.command("train")
@click.option("--state", required=True, type=EXISTING, help="The codec's training state; it stays frozen.")
@click.option("--pack", required=True, type=EXISTING, help="Folder made by `pack`.")
@TOWER
@click.option("--out", required=True, type=ANY, help="Folder of the run; an earlier run in it goes on.")
@click.option(
    "--minutes", type=click.FloatRange(0), default=30.0, show_default=True, help="The schedule's length."
)
@click.option("--steps", type=click.IntRange(0), default=0, help="Its length in steps instead.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Crops a step, of the smallest size.",
)
@click.option(
    "--crop",
    type=click.IntRange(64),
    default=512,
    show_default=True,
    help="Largest side of a crop; smallest: half.",
)
@click.option("--rate", type=float, default=3e-4, show_default=True, help="AdamW's learning rate.")
@click.option(
    "--low", type=float, default=0.1, show_default=True, help="Weight of the shallow tokens' error."
)
@click.option("--high", type=float, default=1.0, show_default=True, help="Weight of the final tokens' error.")
@click.option(
    "--shallow",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Block after which shallow tokens are.",
)
@click.option(
    "--alone",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of the schedule for the shallow tokens alone.",
)
@click.option(
    "--resize",
    type=click.Choice(["fit", "shortest", "squash"]),
    help="The encoder's input: any shape up to its size, the middle square, or all pressed into a square.  "
    "[default: shortest for clip:, fit for ONNX]",
)
@click.option(
    "--interpolation", type=click.Choice(["bicubic", "bilinear"]), default="bicubic", show_default=True
)
@click.option(
    "--model", type=click.IntRange(1, 65535), help="The codec model of the state.  [default: newest]"
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@one_line_errors
def train(**options: Any) -> None:
    """Learn to bring the decoded picture's tokens close to the original's, at random qualities 1 to 8."""
    from cotam_cli.training.tokens_loop import TokenRun, train_tokens

    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    train_tokens(TokenRun(**options))


@tokens.command("export")
@click.option("--run", required=True, type=EXISTING, help="Folder of a run.")
@TOWER
@click.option("--name", "encoder", help="What users call the encoder.  [default: the tower's name]")
@click.option(
    "--id", "number", type=click.IntRange(1, 65535), help="Enter it in the package's list as tokens-ID."
)
@click.option("--since", default=__version__, show_default=True, help="First release that ships it.")
@click.option("--allow-list", type=ANY, help="List to enter it in; the package's by default.")
@click.argument("folder", type=ANY)
@one_line_errors
def export(
    run: Path,
    tower: str,
    encoder: str | None,
    number: int | None,
    since: str,
    allow_list: Path | None,
    folder: Path,
) -> None:
    """Turn a run into the adapter FOLDER, for `cotam decode --tokens --encoder FOLDER`."""
    from cotam_cli.training.export import allow
    from cotam_cli.training.tokens_export import export_adapter, load_run

    if number is not None and folder.name != f"tokens-{number}":
        raise CotamError(
            f"an adapter with the id {number} must lie in a folder tokens-{number}, not {folder.name}"
        )
    digest = export_adapter(load_run(run / "state.pt"), tower, folder, encoder)
    if number is not None:
        listed = allow_list or Path(str(resources.files("cotam_cli.codec").joinpath("tokens.json")))
        allow(listed, number, folder.name, since, digest)
    click.echo(folder)


@tokens.command("test")
@click.option("--adapter", required=True, type=EXISTING, help="Folder made by `tokens export`.")
@TOWER
@click.option("--data", required=True, type=EXISTING, help="Folder of pictures that were not trained on.")
@click.option("--quality", "qualities", multiple=True, type=float, default=(1, 2, 3, 4, 6), show_default=True)
@click.option("--limit", type=click.IntRange(1), help="So many pictures, spread evenly.  [default: all]")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--json", "record", type=ANY, help="All figures.")
@one_line_errors
def test(
    adapter: Path,
    tower: str,
    data: Path,
    qualities: tuple[float, ...],
    limit: int | None,
    threads: int,
    record: Path | None,
) -> None:
    """How near to the original's tokens the decoded picture's come, without and with the adapter."""
    import torch

    from cotam_cli.training.tokens_export import measure, table

    torch.set_num_threads(threads)
    figures = measure(adapter, tower, data, qualities, limit)
    if record is not None:
        record.write_text(json.dumps(figures, indent=1) + "\n")
    click.echo(table(figures))
