"""Values on a command line that are out of all proportion."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result

from cotam_cli.cli import main
from runner import runner

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"


def cotam(*arguments: object, stdin: bytes = b"") -> Result:
    return runner().invoke(main, [str(argument) for argument in arguments], input=stdin)


@pytest.mark.parametrize("size", ["9" * 400, "9" * 400 + "KB", "1" + "0" * 18 + "GB"])
def test_sizes_beyond_all_files(size: str, tmp_path: Path) -> None:
    result = cotam("encode", PHOTO, "-o", tmp_path / "a.ctm", "--target-size", size)
    assert result.exit_code == 2
    assert "more bytes than any disk" in result.stderr


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_numbers_longer_than_names(command: str, tmp_path: Path) -> None:
    result = cotam(command, "-", "-o", tmp_path / "a%99999999999999999999d.png", stdin=b"x")
    assert result.exit_code == 1
    assert result.stderr.startswith("cotam: %9999") and result.stderr.count("\n") == 1
    assert "write %06d" in result.stderr


def test_blocks_beyond_all_towers(tmp_path: Path) -> None:
    result = cotam("guide", "export", "x.onnx", "-o", tmp_path / "a.onnx", "--blocks", "9" * 5000)
    assert result.exit_code == 2
    assert "number of blocks" in result.stderr
