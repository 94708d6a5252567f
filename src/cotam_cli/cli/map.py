"""cotam map"""

from __future__ import annotations

import io
from pathlib import PurePath

import click

from cotam_cli.cli.common import PATH, check_output, force_option, one_line_errors, read_input, write_output
from cotam_cli.cli.guiding import guide_option
from cotam_cli.errors import CotamError


@click.command("map")
@click.argument("source", metavar="IN", type=PATH)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=PATH,
    help="The PNG file, or - for stdout.",
)
@guide_option("attention")
@click.option(
    "--raw", is_flag=True, help="The map itself as a grey PNG, one pixel a cell; `--guide OUT` takes it back."
)
@force_option
@one_line_errors
def command(source: str, output: str, guide: str, raw: bool, force: bool) -> None:
    """Show where the bits of the picture IN (a file, or - for stdin) would go.

    Orange cells gain quality, blue ones lose it, the others keep it.
    """
    check_output(output, force)
    if output != "-" and PurePath(output).suffix.lower() not in ("", ".png"):
        raise CotamError(f"{output}: maps are written as PNG; choose a name that ends in .png")
    data = read_input(source)
    from cotam_cli.codec.guides import importance_field
    from cotam_cli.errors import GuideError
    from cotam_cli.guidance.cells import to_levels
    from cotam_cli.guidance.options import DEFAULTS
    from cotam_cli.guidance.overlay import overlay
    from cotam_cli.guidance.sources import grey_picture
    from cotam_cli.images import read_picture

    pixels = read_picture(data, name="stdin" if source == "-" else source).pixels
    field = importance_field(pixels, guide, DEFAULTS.cell)
    if field is None:
        raise GuideError(
            f"guide {guide} has no map to show; choose attention, text, mix, focus, a tower or a file"
        )
    out = io.BytesIO()
    if raw:
        picture = grey_picture(field)
    else:
        levels = to_levels(field, DEFAULTS.levels, DEFAULTS.k)
        picture = overlay(pixels, levels, DEFAULTS.levels, DEFAULTS.cell)
    picture.save(out, "PNG")
    write_output(output, out.getvalue())
