"""cotam guide"""

from __future__ import annotations

import click

from cotam_cli.cli.common import PATH, check_output, force_option, one_line_errors, write_output
from cotam_cli.cli.values import BlockRange


@click.group("guide")
def command() -> None:
    """Make guides: networks that say where the bits go."""


@command.command("export")
@click.argument("source", metavar="TOWER")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=PATH,
    help="The .onnx file, or - for stdout.",
)
@click.option(
    "--blocks",
    type=BlockRange(),
    default="3",
    show_default=True,
    help="Blocks whose attention is averaged: the first so many, or from-to (10-12).",
)
@force_option
@one_line_errors
def export(source: str, output: str, blocks: tuple[int, int], force: bool) -> None:
    """Export the first layers of TOWER as a guide that runs without PyTorch: `--guide OUT`.

    TOWER is an open_clip image tower, MODEL/WEIGHTS (ViT-B-16/openai), or the ONNX file of a Hugging Face ViT or
    DINOv2. Needs the extra `torch`.
    """
    check_output(output, force)
    from cotam_cli.guidance.export import export_guide

    first, last = blocks
    data = export_guide(source, last, first)
    write_output(output, data)
    click.echo(f"{source}: blocks {first} to {last}, {len(data) / 1e6:.1f} MB", err=True)
