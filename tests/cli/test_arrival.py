"""Streams that stay open: what is whole is worked on, whatever comes next and when."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

import cotam_cli
from cotam_cli.cli.streams import split

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"
SMALL = Image.open(PHOTO).convert("RGB").crop((300, 100, 348, 132))


def file_of(kind: str, image: Image.Image = SMALL) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command with open pipes; killed after a while, so that a read that waits in vain ends."""
    command = [sys.executable, "-m", "cotam_cli", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        patience = threading.Timer(30, process.kill)
        patience.start()
        yield process
        patience.cancel()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_a_whole_picture_is_coded_while_the_pipe_is_open(kind: str) -> None:
    wanted = cotam_cli.encode(SMALL)
    with running("encode", "-", "-o", "-") as process:
        for _ in range(2):
            process.stdin.write(file_of(kind))
            process.stdin.flush()
            assert process.stdout.read(len(wanted)) == wanted


def test_a_jpeg_is_coded_when_the_next_picture_begins() -> None:
    data = file_of("JPEG")
    wanted = cotam_cli.encode(data)
    with running("encode", "-", "-o", "-") as process:
        process.stdin.write(data + data[:8])
        process.stdin.flush()
        assert process.stdout.read(len(wanted)) == wanted


def test_a_whole_ctm_is_decoded_while_the_pipe_is_open() -> None:
    with running("decode", "-", "-o", "-", "--format", "ppm") as process:
        for _ in range(2):
            process.stdin.write(cotam_cli.encode(SMALL))
            process.stdin.flush()
            assert process.stdout.read(13 + 3 * 48 * 32).startswith(b"P6\n48 32\n255\n")


def test_a_tiny_ppm_is_whole_at_once() -> None:
    class Once(io.RawIOBase):
        def __init__(self) -> None:
            self.left = [b"P6 1 1 255\nabc"]

        def read(self, size: int = -1) -> bytes:
            return self.left.pop()  # fails when asked again

    assert next(split(Once())) == b"P6 1 1 255\nabc"


def test_a_picture_of_another_kind_behind_one_that_tells_its_end() -> None:
    files = [file_of("PNG"), file_of("WEBP")]
    assert list(split(io.BytesIO(b"".join(files)))) == files
