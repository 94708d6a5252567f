"""Click's test runner, with stderr kept apart in every release that cotam allows."""

import inspect

from click.testing import CliRunner


def runner() -> CliRunner:
    """Click before 8.2 mixes the streams unless it is told not to; newer ones have no such option."""
    mixing = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(mix_stderr=False) if mixing else CliRunner()
