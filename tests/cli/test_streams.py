"""Pictures one after the other: where each ends, and the commands that take and give them."""

import io
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import cotam_cli
from cotam_cli.cli import main
from cotam_cli.cli.streams import split, split_ctm
from cotam_cli.files import open_file
from runner import runner

PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"
SMALL = Image.open(PHOTO).convert("RGB").crop((300, 100, 348, 132))


def file_of(kind: str, image: Image.Image = SMALL, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


KINDS = [
    file_of("PNG"),
    file_of("JPEG"),
    file_of("JPEG", progressive=True, exif=b"Exif\0\0" + b"\xff\xd9" * 20),
    file_of("BMP"),
    file_of("PPM"),
    file_of("PPM", SMALL.convert("L")),
    b"P6 # a comment\n# another\n 2 1\n255\n" + bytes(6),
    cotam_cli.encode(SMALL),
]


class Drops(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step = data, step

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        taken, self.data = self.data[: self.step], self.data[self.step :]
        return taken


def test_every_kind_ends_where_it_ends() -> None:
    for files in itertools.permutations(KINDS, 2):
        assert list(split(io.BytesIO(b"".join(files)))) == list(files)


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), st.sampled_from([1, 7, 4096]))
@settings(deadline=None, max_examples=20)
def test_however_the_bytes_arrive(files: list[bytes], step: int) -> None:
    assert list(split(Drops(b"".join(files), step))) == files


def test_pictures_come_before_the_stream_ends() -> None:
    stream = Drops(KINDS[0] + KINDS[1] + KINDS[0][:30], 100)
    pictures = split(stream)
    assert next(pictures) == KINDS[0]
    assert stream.data


@pytest.mark.parametrize(
    "file", [file_of("WEBP"), file_of("GIF"), b"words", b"", KINDS[1] + b"film", KINDS[1][:-9]]
)
def test_what_says_no_end_is_one_picture(file: bytes) -> None:
    assert list(split(io.BytesIO(file))) == [file]


def test_a_phones_picture_in_several_parts_stays_one() -> None:
    with_parts = KINDS[1][:2] + b"\xff\xe2\x00\x08MPF\0ab" + KINDS[1][2:] + KINDS[1]
    assert list(split(io.BytesIO(with_parts))) == [with_parts]


@given(st.sampled_from(KINDS), st.data())
@settings(deadline=None)
def test_damage_loses_no_byte(file: bytes, data: st.DataObject) -> None:
    damaged = bytearray(file)
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    assert b"".join(split(io.BytesIO(bytes(damaged) + KINDS[0]))) == bytes(damaged) + KINDS[0]


def cotam(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cotam_cli", *map(str, arguments)]
    return subprocess.run(command, check=False, input=stdin, capture_output=True, timeout=120)


def test_a_stream_through_both_commands() -> None:
    coded = cotam("encode", "-", "-o", "-", "-q", 5, stdin=KINDS[0] + KINDS[4])
    assert coded.returncode == 0, coded.stderr
    files = list(split(io.BytesIO(coded.stdout)))
    assert files == [cotam_cli.encode(SMALL, quality=5)] * 2
    shown = cotam("decode", "-", "-o", "-", "--format", "ppm", stdin=coded.stdout)
    assert [Image.open(io.BytesIO(each)).size for each in split(io.BytesIO(shown.stdout))] == [(48, 32)] * 2


def run(*arguments: object, stdin: bytes = b"") -> object:
    return runner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def test_numbered_files(tmp_path: Path) -> None:
    result = run("encode", "-", "-o", tmp_path / "%03d.ctm", stdin=KINDS[0] * 3)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001.ctm", "002.ctm", "003.ctm"]
    assert run("encode", "-", "-o", tmp_path / "%03d.ctm", stdin=KINDS[0] * 3).exit_code == 1
    stream = b"".join((tmp_path / f"00{k}.ctm").read_bytes() for k in (1, 2, 3))
    assert run("decode", "-", "-o", tmp_path / "x-%d.png", stdin=stream).exit_code == 0
    assert Image.open(tmp_path / "x-3.png").size == (48, 32)
    result = run("decode", "-", "-o", tmp_path / "x.png", stdin=stream)
    assert result.exit_code == 1
    assert "number them" in result.stderr


def test_a_bad_picture_in_a_stream(tmp_path: Path) -> None:
    bad = file_of("BMP")[:60]
    bad = bad[:2] + len(bad).to_bytes(4, "little") + bad[6:]
    result = run("encode", "-", "-o", tmp_path / "%d.ctm", stdin=KINDS[0] + bad + KINDS[0])
    assert result.exit_code == 1
    assert "picture 2" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.ctm", "3.ctm"]
    result = cotam("encode", "-", "-o", "-", stdin=KINDS[0] + bad + KINDS[0])
    assert result.returncode == 1
    assert b"picture 2" in result.stderr


def clip(count: int, alpha: bool = False) -> bytes:
    frames = [SMALL.crop((k % 16, 0, k % 16 + 32, 24)) for k in range(count)]
    if alpha:
        for number, frame in enumerate(frames):
            frame.putalpha(Image.new("L", frame.size, 255 if number == 1 else 100 + number))
    return file_of(
        "PNG", frames[0], save_all=True, append_images=frames[1:], duration=list(range(10, 10 + count))
    )


def test_an_animation_and_back(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(clip(4))
    assert run("encode", tmp_path / "a.png", "-o", tmp_path / "a.ctm", "-q", 6).exit_code == 0
    facts = cotam_cli.info(tmp_path / "a.ctm")
    assert (facts.frames, facts.chunks["frame"]) == (4, 24)
    frames = list(cotam_cli.decode_frames(tmp_path / "a.ctm"))
    assert [duration for _, duration in frames] == [10, 11, 12, 13]
    source = Image.open(tmp_path / "a.png")
    for number, (frame, _) in enumerate(frames):
        source.seek(number)
        error = np.asarray(frame, float) - np.asarray(source.convert("RGB"), float)
        assert np.sqrt(np.square(error).mean()) < 20
    assert cotam_cli.decode(tmp_path / "a.ctm").tobytes() == frames[0][0].tobytes()
    for kind in ("png", "webp"):
        assert run("decode", tmp_path / "a.ctm", "-o", tmp_path / f"b.{kind}").exit_code == 0
        assert Image.open(tmp_path / f"b.{kind}").n_frames == 4
    result = run("decode", tmp_path / "a.ctm", "-o", tmp_path / "b.jpg")
    assert result.exit_code == 1
    assert "%03d.jpg" in result.stderr
    assert run("decode", tmp_path / "a.ctm", "-o", tmp_path / "f-%02d.jpg").exit_code == 0
    assert (tmp_path / "f-04.jpg").exists()


def test_an_animation_keeps_alpha_frame_by_frame() -> None:
    frames = list(cotam_cli.decode_frames(cotam_cli.encode(clip(3, alpha=True), alpha=True)))
    assert [frame.getchannel("A").getextrema() for frame, _ in frames] == [(100, 100), (255, 255), (102, 102)]


def test_a_wrong_hash_of_an_animation_is_told_at_its_end() -> None:
    from dataclasses import replace

    from cotam_cli.bitstream import Container, pack, parse

    container = parse(cotam_cli.encode(clip(3)))
    wrong = replace(container.header, latent_hash=container.header.latent_hash ^ 1)
    frames = cotam_cli.decode_frames(pack(Container(wrong, container.chunks)))
    next(frames), next(frames)
    with pytest.raises(cotam_cli.CotamError, match="hash"):
        next(frames)


def test_a_long_animation_is_a_stream_that_plays_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(clip(52))
    with pytest.raises(cotam_cli.CotamError, match="more frames"):
        cotam_cli.encode(tmp_path / "a.png", quality=1)
    assert run("encode", tmp_path / "a.png", "-o", tmp_path / "a.ctm", "-q", 1).exit_code == 0
    files = list(split(io.BytesIO((tmp_path / "a.ctm").read_bytes())))
    assert [cotam_cli.info(file).frames for file in files] == [41, 11]
    assert run("decode", tmp_path / "a.ctm", "-o", tmp_path / "b.npy").exit_code == 0
    assert np.load(tmp_path / "b.npy").shape == (52, 24, 32, 3)
    assert run("info", tmp_path / "a.ctm").stdout.count("quality") == 2


class Counted(io.RawIOBase):
    """An endless stream that counts what was read of it."""

    def __init__(self, start: bytes) -> None:
        self.start, self.given = start, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = (self.start + bytes(size))[self.given : self.given + size] if self.given == 0 else bytes(size)
        self.given += len(piece)
        return piece


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "not a .ctm"),
        (KINDS[0], "PNG"),
        (KINDS[7][:4], "version 0"),
        (KINDS[7], "goes on after its end"),
    ],
)
def test_what_is_no_ctm_is_not_read_to_its_end(start: bytes, message: str) -> None:
    stream = Counted(start)
    with pytest.raises(cotam_cli.CotamError, match=message):
        list(split_ctm(stream))
    assert stream.given < 1 << 20


def test_a_ctm_cut_off_is_given_to_its_reader() -> None:
    assert list(split_ctm(io.BytesIO(KINDS[7] + KINDS[7][:40]))) == [KINDS[7], KINDS[7][:40]]


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ctm"
    path.write_bytes(KINDS[7])
    with pytest.raises(cotam_cli.CotamError, match="changed while it was read"), open_file(path) as file:
        file.read(30)
        path.write_bytes(KINDS[7] + b"more")


def test_one_name_takes_one_picture(tmp_path: Path) -> None:
    out = tmp_path / "x.ctm"
    result = runner().invoke(main, ["encode", "-", "-o", str(out)], input=KINDS[0] + KINDS[1])
    assert result.exit_code == 1
    assert "number them" in result.stderr
    assert not out.exists()
    result = runner().invoke(main, ["encode", "-", "-o", str(out)], input=KINDS[0] + b"left by a camera")
    assert result.exit_code == 0
    assert cotam_cli.decode(out).size == SMALL.size
