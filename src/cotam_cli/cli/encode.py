"""cotam encode"""

from __future__ import annotations

import time

import click

from cotam_cli.cli.common import (
    check_output,
    force_option,
    one_line_errors,
    read_input,
    verbose_option,
    write_output,
)


@click.command("encode")
@click.argument("source", metavar="IN", type=click.Path(allow_dash=True))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=click.Path(allow_dash=True),
    help="The .ctm file, or - for stdout.",
)
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(1, 8),
    default=3.0,
    show_default=True,
    help="1 (small) to 8 (fine), fractions allowed.",
)
@click.option(
    "--guide",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="Where the bits go: the model's own guide, or evenly.",
)
@force_option
@verbose_option
@one_line_errors
def command(source: str, output: str, quality: float, guide: str, force: bool, verbose: bool) -> None:
    """Code the picture IN (a file, or - for stdin) as a .ctm file."""
    check_output(output, force)
    raw = read_input(source)
    began = time.perf_counter()
    from cotam_cli.api import encode
    from cotam_cli.images import read_picture

    picture = read_picture(raw, name="stdin" if source == "-" else source)
    data = encode(picture.pixels, quality=quality, guide=guide)
    write_output(output, data)
    if verbose:
        pixels = picture.width * picture.height
        click.echo(
            f"{source}: {picture.width}x{picture.height}, {len(raw)} -> {len(data)} bytes, "
            f"{8 * len(data) / pixels:.4f} bpp, {1000 * (time.perf_counter() - began):.0f} ms",
            err=True,
        )
