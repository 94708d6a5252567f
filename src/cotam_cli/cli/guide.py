"""cotam guide"""

from __future__ import annotations

import click

from cotam_cli.cli.common import check_output, force_option, one_line_errors, write_output


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
    type=click.Path(allow_dash=True),
    help="The .onnx file, or - for stdout.",
)
@click.option(
    "--blocks",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Shallow blocks whose attention is averaged.",
)
@force_option
@one_line_errors
def export(source: str, output: str, blocks: int, force: bool) -> None:
    """Export the shallow layers of TOWER as a guide that runs without PyTorch: `--guide OUT`.

    TOWER is an open_clip image tower, MODEL/WEIGHTS (ViT-B-16/openai), or the ONNX file of a Hugging Face ViT or
    DINOv2. Needs the extra `torch`.
    """
    check_output(output, force)
    from cotam_cli.guidance.export import export_guide

    data = export_guide(source, blocks)
    write_output(output, data)
    click.echo(f"{source}: {blocks} blocks, {len(data) / 1e6:.1f} MB", err=True)
