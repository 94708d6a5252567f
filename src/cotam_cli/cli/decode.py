"""cotam decode"""

from __future__ import annotations

import time
from typing import Literal

import click

from cotam_cli.cli.common import (
    check_output,
    force_option,
    one_line_errors,
    read_input,
    verbose_option,
    write_output,
)


@click.command("decode")
@click.argument("source", metavar="IN", type=click.Path(allow_dash=True))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=click.Path(allow_dash=True),
    help="The picture (.png, .jpg, .webp, .ppm), or - for stdout.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["png", "jpg", "webp", "ppm"]),
    help="Default: by the output's suffix, else png.",
)
@click.option(
    "--target",
    type=click.Choice(["mllm", "human"]),
    default="mllm",
    show_default=True,
    help="With or without the model's adapter for machines.",
)
@force_option
@verbose_option
@one_line_errors
def command(
    source: str, output: str, kind: str | None, target: Literal["mllm", "human"], force: bool, verbose: bool
) -> None:
    """Decode the .ctm file IN (or - for stdin) to a picture."""
    check_output(output, force)
    data = read_input(source)
    began = time.perf_counter()
    from cotam_cli.codec.decoder import decode_pixels
    from cotam_cli.images import encode_picture, format_for

    kind = format_for(output, kind)
    pixels = decode_pixels(data, target=target)
    write_output(output, encode_picture(pixels, kind))
    if verbose:
        height, width, _ = pixels.shape
        click.echo(
            f"{source}: {len(data)} bytes, {8 * len(data) / (width * height):.4f} bpp -> {width}x{height} {kind}, "
            f"{1000 * (time.perf_counter() - began):.0f} ms",
            err=True,
        )
