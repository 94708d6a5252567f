"""The JSON lines of encode and decode: one for each file, in any encoding of stdout, and the same facts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from cotam_cli.cli import main
from runner import runner


def cotam(*arguments: object, stdin: bytes = b"") -> Result:
    return runner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def clip(count: int) -> bytes:
    """A picture of so many frames."""
    frames = [Image.new("RGB", (32, 24), (40 * number, 90, 200)) for number in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("frames", [1, 3])
def test_encode_and_decode_tell_the_same_bits_per_pixel(frames: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(clip(frames))
    (coded,) = rows(cotam("encode", tmp_path / "a.png", "-o", tmp_path / "a.ctm", "--json"))
    (decoded,) = rows(cotam("decode", tmp_path / "a.ctm", "-o", tmp_path / "b.png", "--json"))
    size = (tmp_path / "a.ctm").stat().st_size
    assert coded["bpp"] == decoded["bpp"] == round(8 * size / (32 * 24 * frames), 5)
    assert coded["frames"] == decoded["frames"] == frames


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_names_go_through_any_encoding_of_stdout(encoding: str, tmp_path: Path) -> None:
    source = tmp_path / "写.png"
    source.write_bytes(clip(1))
    done = subprocess.run(
        [sys.executable, "-m", "cotam_cli", "encode", source, "-o", tmp_path / "a.ctm", "--json"],
        check=False,
        capture_output=True,
        timeout=120,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode(encoding))["input"] == str(source)
