"""What `cotam decode` does with its outputs and options."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result

from cotam_cli.cli import main
from cotam_cli.codec.models import records
from runner import runner

CODED = Path(__file__).parents[1] / "golden" / f"{records()[-1].name}-photo-q1.ctm"


def cotam(*arguments: object, stdin: bytes = b"") -> Result:
    return runner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def test_an_existing_file_is_skipped_before_it_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "p.png"
    target.write_bytes(b"old")
    result = cotam("decode", CODED, "-o", target, "--skip-existing")
    assert (result.exit_code, result.stderr) == (0, "")
    assert target.read_bytes() == b"old"
    assert "--force" in cotam("decode", CODED, "-o", target).stderr


@pytest.mark.parametrize(
    "option", [("--size", "20"), ("--format", "png"), ("--target", "mllm"), ("--background", "white")]
)
def test_tokens_refuse_the_options_of_pictures(option: tuple[str, str], tmp_path: Path) -> None:
    result = cotam("decode", CODED, "--tokens", tmp_path / "x.safetensors", *option)
    assert result.exit_code == 2
    assert f"{option[0]} is for pictures" in result.stderr
