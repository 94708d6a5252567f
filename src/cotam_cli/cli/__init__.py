"""The `cotam` command: parsing and printing only. Each command loads when it is called."""

from __future__ import annotations

import importlib

import click

from cotam_cli import __version__

COMMANDS = ("encode", "decode", "info", "map", "guide", "bench", "layers", "gateway", "completion")


class LazyGroup(click.Group):
    """A group whose commands are modules of this package, imported at first use: `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"cotam_cli.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        from cotam_cli.cli.guard import guarded

        with guarded():
            return super().invoke(ctx)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, "-V", "--version", prog_name="cotam", message="%(prog)s %(version)s")
def main() -> None:
    """Code pictures for machines that look at them: a few kilobytes that a vision model reads as the original."""
