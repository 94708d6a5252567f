"""cotam between the tools that people use; each test is a line that they would type."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"


@pytest.fixture
def shell(tmp_path: Path):
    """Runs a line in a folder with photo.png and a `cotam` on the path; skips where a tool is not installed."""
    Image.open(PHOTO).crop((300, 100, 364, 148)).save(tmp_path / "photo.png")
    scripts = tmp_path / "bin"
    scripts.mkdir()
    launcher = scripts / "cotam"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -m cotam_cli "$@"\n')
    launcher.chmod(0o755)

    def run(line: str, *tools: str) -> str:
        for tool in tools:
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed")
        environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
        command = ["bash", "-euo", "pipefail", "-c", line]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


FILM = "ffmpeg -v error -f lavfi -i testsrc=size=96x64:rate=5:duration=1 -f image2pipe"


@pytest.mark.parametrize("codec", ["png", "ppm", "mjpeg", "bmp"])
def test_a_film_of_ffmpeg_becomes_numbered_files(shell, codec: str) -> None:
    shell(f"{FILM} -c:v {codec} - | cotam encode - -o %06d.ctm -q 5", "ffmpeg")
    assert shell("ls *.ctm | wc -l").strip() == "5"
    shell("cotam decode 000005.ctm -o last.png")
    assert shell("cotam info 000005.ctm").startswith("96x64")


def test_a_stream_goes_back_to_ffmpeg(shell) -> None:
    shell(
        f"{FILM} -c:v png - | cotam encode - -o - | cotam decode - -o - --format ppm"
        " | ffmpeg -v error -f image2pipe -c:v ppm -r 5 -i - -c:v ffv1 film.mkv",
        "ffmpeg",
    )
    frames = "ffprobe -v error -count_frames -show_entries stream=nb_read_frames,width -of csv=p=0 film.mkv"
    assert shell(frames, "ffprobe").strip() == "96,5"


def test_imagemagick_reads_and_writes_through_pipes(shell) -> None:
    shell("convert photo.png -resize 50% png:- | cotam encode - -o half.ctm", "convert", "identify")
    shell("cotam decode half.ctm -o - | convert - -rotate 90 turned.png", "convert", "identify")
    assert shell("identify -format '%wx%h' turned.png", "convert", "identify") == "24x32"


def test_xargs(shell) -> None:
    shell("mkdir in out; for k in 1 2 3 4; do cp photo.png in/$k.png; done")
    shell("find in -name '*.png' -print0 | xargs -0 -n 2 cotam encode -o out/", "xargs")
    assert shell("ls out").split() == ["1.ctm", "2.ctm", "3.ctm", "4.ctm"]


def test_gnu_parallel(shell) -> None:
    shell("mkdir in; for k in 1 2 3; do cp photo.png in/$k.png; done")
    shell("parallel -j 2 cotam encode {} -o {.}.ctm ::: in/*.png", "parallel")
    assert shell("ls in/*.ctm | wc -l").strip() == "3"


def test_a_reader_that_leaves_is_one_line(shell) -> None:
    """`head` closes the pipe: no traceback."""
    text = shell(
        "(cotam decode <(cotam encode photo.png -o -) -o - --format ppm || true) 2>&1 >/dev/null | cat"
    )
    assert text == ""
    text = shell(
        "cp photo.png b.png; { cat photo.png b.png | cotam encode - -o - || true; } 2>err | true; cat err"
    )
    assert "Traceback" not in text
