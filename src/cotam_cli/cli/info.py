"""cotam info"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cotam_cli.cli.common import ctm_files, one_line_errors

if TYPE_CHECKING:
    from cotam_cli.api import FileInfo


@click.command("info")
@click.argument("source", metavar="FILE", type=click.Path(allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
@one_line_errors
def command(source: str, as_json: bool) -> None:
    """Show what the .ctm FILE (or - for stdin) says of itself; no network is loaded."""
    from cotam_cli.api import info

    for data in ctm_files(source):
        facts = info(data)
        if as_json:
            click.echo(json.dumps(asdict(facts)))
        else:
            _show(facts)


def _show(facts: FileInfo) -> None:
    click.echo(
        f"{facts.width}x{facts.height}, quality {facts.quality:g}, {facts.bytes} bytes, {facts.bpp:.4f} bpp"
    )
    click.echo(f"model {facts.model}, frames {facts.frames}, target {facts.target}")
    if (facts.original_width, facts.original_height) != (facts.width, facts.height):
        click.echo(f"scaled down from {facts.original_width}x{facts.original_height}")
    if facts.levels:
        click.echo(f"map: {facts.levels} levels, cells of {facts.cell_size} px, strength {facts.strength:g}")
    for name, size in facts.chunks.items():
        click.echo(f"  {name:8} {size:9} bytes")
