"""cotam completion"""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print what makes a shell complete cotam's commands and options.

    \b
    bash: add to ~/.bashrc     eval "$(cotam completion bash)"
    zsh:  add to ~/.zshrc      eval "$(cotam completion zsh)"
    fish: cotam completion fish > ~/.config/fish/completions/cotam.fish
    """
    from click.shell_completion import get_completion_class

    from cotam_cli.cli import main

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"click {click.__version__} knows no completion for {shell}")
    click.echo(completion(main, {}, "cotam", "_COTAM_COMPLETE").source())
