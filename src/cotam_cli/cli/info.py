"""cotam info"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cotam_cli.cli.common import PATH, ctm_files, one_line_errors, say, tell_json
from cotam_cli.errors import CotamError

if TYPE_CHECKING:
    from cotam_cli.api import FileInfo


@click.command("info")
@click.argument("sources", metavar="FILE...", nargs=-1, required=True, type=PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
@one_line_errors
def command(sources: tuple[str, ...], as_json: bool) -> None:
    """Show what .ctm files (or - for stdin) say of themselves; no network is loaded."""
    broken = False
    for source in sources:
        name = "stdin" if source == "-" else source
        try:
            _tell_of(source, as_json=as_json, name=name if len(sources) > 1 else "")
        except CotamError as error:
            broken = True
            say(str(error) if str(error).startswith(name) else f"{name}: {error}")
    if broken:
        sys.exit(1)


def _tell_of(source: str, *, as_json: bool, name: str) -> None:
    from cotam_cli.api import info

    for data in ctm_files(source):
        facts = info(data)
        if as_json:
            tell_json(({"input": name} if name else {}) | asdict(facts))
            continue
        if name:
            click.echo(f"{name}:")
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
