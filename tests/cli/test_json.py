"""The JSON lines of encode and decode: one for each file, in any encoding of stdout, and the same facts."""

from __future__ import annotations

import hashlib
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

import cotam_cli
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


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "a.png", "-o", "old"),
        ("decode", "a.ctm", "-o", "old", "--format", "png"),
        ("decode", "a.ctm", "--tokens", "old"),
    ],
)
def test_one_file_has_its_line_whatever_becomes_of_it(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old").write_bytes(b"old")
    result = cotam(*arguments, "--json", "--skip-existing")
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(result) == [{"status": "skipped", "input": arguments[1], "output": "old"}]
    assert cotam(*arguments, "-v", "--skip-existing").stderr == "old: exists, skipped\n"
    result = cotam(*arguments, "--json")
    assert result.exit_code == 1
    assert [(row["status"], row["input"]) for row in rows(result)] == [("failed", arguments[1])]
    assert "--force" in result.stderr and result.stderr.count("\n") == 1
    result = cotam(*arguments, "--json", "--force")
    assert result.exit_code == 1
    assert "does not exist" in rows(result)[0]["error"]
    assert Path("old").read_bytes() == b"old"


def test_numbered_files_have_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(clip(3))
    assert cotam("encode", "a.png", "-o", "a.ctm").exit_code == 0
    told = rows(cotam("decode", "a.ctm", "-o", "f%d.png", "--json"))
    assert [row["input"] for row in told] == [f"a.ctm, frame {number}" for number in (1, 2, 3)]
    for number, row in enumerate(told, 1):
        data = Path(f"f{number}.png").read_bytes()
        assert (row["status"], row["output"], row["frames"]) == ("done", f"f{number}.png", 1)
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert row["bpp"] == round(8 * Path("a.ctm").stat().st_size / (32 * 24 * 3), 5)
    Path("f1.png").write_bytes(b"old")
    Path("f3.png").unlink()
    result = cotam("decode", "a.ctm", "-o", "f%d.png", "--json", "--skip-existing")
    assert [row["status"] for row in rows(result)] == ["skipped", "skipped", "done"]
    assert Path("f1.png").read_bytes() == b"old"
    assert result.stderr.startswith("cotam: decode: 1 done, 2 skipped")
    result = cotam("decode", "a.ctm", "-o", "f%d.png", "--json")
    assert (result.exit_code, [row["status"] for row in rows(result)]) == (1, 3 * ["failed"])


def test_what_ends_a_run_of_numbered_files_has_a_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    coded = cotam_cli.encode(clip(2))
    result = cotam("decode", "-", "-o", "f%d.png", "--json", stdin=coded + coded[:-9])
    assert result.exit_code == 1
    *done, last = rows(result)
    assert [row["status"] for row in done] == ["done", "done"]
    assert (last["status"], last["input"]) == ("failed", "stdin")
    assert "cut off" in last["error"]
    assert cotam("decode", "-", "-o", "no/f%d.png", stdin=coded).stderr.count("\n") == 1
