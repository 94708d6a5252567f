"""Writes docs/cli.md, every command's --help: `make reference`, after a change of options."""

from __future__ import annotations

from pathlib import Path

from cotam_cli.cli import COMMANDS, main

TARGET = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100


def reference() -> str:
    """The page: what `cotam --help` and `cotam COMMAND --help` print."""
    parts = ["# Commands\n", "Written by `make reference` from the commands themselves.\n"]
    top = main.make_context("cotam", [], resilient_parsing=True, terminal_width=WIDTH)
    parts.append(f"```text\n{main.get_help(top)}\n```\n")
    for name in COMMANDS:
        command = main.get_command(top, name)
        assert command is not None, name
        context = command.make_context(name, [], parent=top, resilient_parsing=True, terminal_width=WIDTH)
        parts += [f"## cotam {name}\n", f"```text\n{command.get_help(context)}\n```\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(reference())
