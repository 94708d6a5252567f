"""Help that is written down, and shells that complete."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cotam_cli.cli import main
from make_reference import TARGET, reference
from runner import runner

ROOT = Path(__file__).parents[2]


def test_the_reference_is_what_help_says() -> None:
    """Compared without line breaks: versions of click wrap lines differently."""
    assert TARGET.read_text().split() == reference().split(), "run `make reference`"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    result = runner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_COTAM_COMPLETE" in result.stdout
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(result.stdout)
        subprocess.run([shell, "-n", script], check=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("cotam en", "encode"), ("cotam encode --tar", "--target-size"), ("cotam decode --format we", "webp")],
)
def test_words_are_completed(words: str, expected: str) -> None:
    environment = os.environ | {
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "_COTAM_COMPLETE": "bash_complete",
    }
    code = "import sys; sys.argv[0] = 'cotam'; from cotam_cli.cli import main; main(prog_name='cotam')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert f"plain,{expected}" in done.stdout.split()
