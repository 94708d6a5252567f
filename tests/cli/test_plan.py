"""Which files a batch has, and that what is wrong with one of them stops none of the others."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from cotam_cli.cli import main
from runner import runner


def cotam(*arguments: object, stdin: bytes = b"") -> Result:
    return runner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 12), (200, 100, 50)).save(path, "PNG")
    return path


def rows(result: Result) -> dict[str, dict[str, Any]]:
    """The JSON lines by their input."""
    return {row["input"]: row for row in map(json.loads, result.stdout.rstrip("\n").split("\n"))}


def test_a_folder_that_cannot_be_made_fails_its_files_only(tmp_path: Path) -> None:
    inside, out = tmp_path / "in", tmp_path / "out"
    for name in ("a/x.png", "b/y.png", "z.png"):
        picture(inside / name)
    out.mkdir()
    (out / "a").write_bytes(b"in the way")
    result = cotam("encode", "-r", inside, "-o", out, "-j", 1, "--json")
    assert result.exit_code == 1
    assert "2 done, 1 failed" in result.stderr
    assert (out / "b" / "y.ctm").exists() and (out / "z.ctm").exists()
    row = rows(result)[str(inside / "a" / "x.png")]
    assert row["status"] == "failed"
    assert f"the folder {out / 'a'} cannot be made" in row["error"]


@pytest.mark.parametrize("nameless", [".", "..", "/", "../.."])
def test_a_line_of_a_list_without_a_name(
    nameless: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "a.png")
    listed = f"{nameless}\na.png\n".encode()
    result = cotam("encode", "--files-from", "-", "-o", "out", "-j", 1, "--json", stdin=listed)
    assert result.exit_code == 1
    assert (tmp_path / "out" / "a.ctm").exists()
    row = rows(result)[nameless]
    assert row["status"] == "failed"
    assert "names no file" in row["error"]


@pytest.mark.parametrize("nameless", ["", "no/such/"])
def test_an_argument_without_a_name(nameless: str, tmp_path: Path) -> None:
    result = cotam("encode", nameless, picture(tmp_path / "a.png"), "-o", tmp_path / "out", "-j", 1)
    assert result.exit_code == 1
    assert (tmp_path / "out" / "a.ctm").exists()
    assert "names no file" in result.stderr and "1 done, 1 failed" in result.stderr


def test_only_line_feeds_end_the_lines_of_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a\u2028b.png", "c\x0bd.png", "e\x85f.png", "g\x1ch.png"]
    for name in names:
        picture(tmp_path / name)
    listed = "\r\n".join(names).encode()
    result = cotam("encode", "--files-from", "-", "-o", "out", "-j", 1, "--json", stdin=listed)
    assert result.exit_code == 0, result.stderr
    assert sorted(rows(result)) == sorted(names)


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, out = tmp_path / "in", tmp_path / "out"
    picture(inside / "shut" / "x.png"), picture(inside / "open" / "y.png")
    look = os.scandir

    def scandir(path: str) -> Any:
        if Path(path).name == "shut":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = cotam("encode", "-r", inside, "-o", out, "-j", 1, "--json")
    assert result.exit_code == 1
    assert (out / "open" / "y.ctm").exists()
    assert "1 done, 1 failed" in result.stderr
    row = rows(result)[str(inside / "shut")]
    assert row["status"] == "failed"
    assert "Permission denied" in row["error"]


def test_a_tokens_file_is_no_folder_for_several(tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    result = cotam("decode", "a.ctm", "b.ctm", "--tokens", target)
    assert result.exit_code == 1
    assert "is no folder" in result.stderr and result.stderr.count("\n") == 1
    assert not target.exists()


def test_what_may_not_be_opened_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may open all, so that the question is answered for it, and the file is missing."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "shut" not in str(path) and real(path, mode))
    shut = tmp_path / "shut.png"
    shut.symlink_to(tmp_path / "nothing")
    result = cotam("encode", shut, picture(tmp_path / "a.png"), "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert {Path(name).name: row["status"] for name, row in rows(result).items()} == {
        "shut.png": "failed",
        "a.png": "done",
    }


def test_pipes_below_a_folder_are_left_alone(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    result = cotam("encode", "-r", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "1 done" in result.stderr


def test_pictures_of_telephones_are_named_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    result = cotam("encode", "-r", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "IMG_1.HEIC" in result.stderr


def test_a_list_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{picture(tmp_path / 'a.png')}\n", encoding="utf-8-sig")
    result = cotam("encode", "--files-from", tmp_path / "list.txt", "-o", tmp_path / "out")
    assert "1 done" in result.stderr


@pytest.mark.parametrize("name", ["self.png", "x.JPG", "k-%03d.ctm", ""])
def test_names_that_no_ctm_should_have(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = picture(tmp_path / "self.png").read_bytes()
    result = cotam("encode", "self.png", "-o", name, "-f")
    assert result.exit_code == 1
    assert os.listdir(tmp_path) == ["self.png"]
    assert (tmp_path / "self.png").read_bytes() == before


def test_stdin_does_not_go_into_a_folder(tmp_path: Path) -> None:
    result = cotam("encode", "-", "-o", f"{tmp_path}/", stdin=picture(tmp_path / "a.png").read_bytes())
    assert result.exit_code == 1
    assert "nor go into a folder" in result.stderr
