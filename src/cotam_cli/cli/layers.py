"""cotam layers"""

from __future__ import annotations

import json
from pathlib import Path

import click

from cotam_cli.cli.common import PATH, check_output, force_option, one_line_errors, write_output
from cotam_cli.errors import CotamError


@click.command("layers")
@click.argument("tower")
@click.argument("sources", metavar="PICTURE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--quality",
    "qualities",
    multiple=True,
    type=click.FloatRange(1, 8),
    default=(1, 2, 4),
    show_default=True,
    help="Give it several times for several.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(["human", "mllm", "tokens"]),
    default=("human", "mllm"),
    show_default=True,
    help="The plain picture, that for machines, or the plain one's tokens with a token adapter.",
)
@click.option("--encoder", metavar="NAME|DIR", help="The token adapter: its encoder, or its folder.")
@click.option("--limit", type=click.IntRange(1), help="So many pictures of each folder, spread evenly.")
@click.option("--json", "record", metavar="JSON", type=PATH, help="All figures.")
@click.option("--plot", metavar="SVG", type=click.Path(), help="The curves as one drawing.")
@force_option
@one_line_errors
def command(
    tower: str,
    sources: tuple[Path, ...],
    qualities: tuple[float, ...],
    targets: tuple[str, ...],
    encoder: str | None,
    limit: int | None,
    record: str | None,
    plot: str | None,
    force: bool,
) -> None:
    """Show where a vision transformer's features break: its layers on the original against the decoded PICTURE.

    TOWER is clip:MODEL/WEIGHTS of open_clip, or the ONNX file of a Hugging Face ViT or DINOv2; PICTURE files or
    folders of them.
    """
    for path in (record, plot):
        if path is not None:
            check_output(path, force)
    from cotam_cli.bench.layers import layer_report, report_plot, report_table
    from cotam_cli.bench.pictures import find_pictures

    pictures: list[Path] = []
    for source in sources:
        if not source.exists():
            raise CotamError(f"{source} does not exist; check the path")
        pictures += find_pictures(source, limit) if source.is_dir() else [source]
    report = layer_report(tower, pictures, qualities=qualities, targets=targets, adapter=encoder)
    if record is not None:
        write_output(record, json.dumps(report.record(), indent=1).encode() + b"\n")
    if plot is not None:
        write_output(plot, report_plot(report).encode())
    if record != "-":
        click.echo(report_table(report))
