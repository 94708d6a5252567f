"""Full disks, read-only folders, signals at any moment, closed streams: nothing half written, the right exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cotam_cli.codec.models import records

GOLDEN = Path(__file__).parents[1] / "golden"
PHOTO = Path(__file__).parents[2] / "examples" / "kodim23.png"
CODED = GOLDEN / f"{records()[-1].name}-photo-q1.ctm"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts, /dev/full and signals as on Linux")


def cotam(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cotam_cli", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, timeout=120, **options)


def one_line(result: subprocess.CompletedProcess[bytes]) -> str:
    lines = result.stderr.decode().splitlines()
    assert result.returncode == 1, lines
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system to be had: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    """A PPM of 32 KB does not fit: the old file stays, and nothing else."""
    target = small_disk / "out.ppm"
    assert "the disk is full" in one_line(cotam("decode", CODED, "-o", target))
    assert list(small_disk.iterdir()) == []
    target.write_bytes(b"old" * 3000)
    assert "the disk is full" in one_line(cotam("decode", CODED, "-o", target, "--force"))
    assert list(small_disk.iterdir()) == [target]
    assert target.read_bytes() == b"old" * 3000


def test_a_disk_that_fills_up_among_many_files(small_disk: Path) -> None:
    """Files that fit are whole, the others are not there."""
    result = cotam("decode", "-r", GOLDEN, "-o", small_disk / "out", "-j", 1)
    assert result.returncode == 1
    assert b"the disk is full" in result.stderr
    for path in (small_disk / "out").iterdir():
        assert path.suffix == ".png"
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


def test_a_read_only_file_system(small_disk: Path) -> None:
    (small_disk / "out.png").write_bytes(b"old")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "read-only" in one_line(cotam("decode", CODED, "-o", small_disk / "new.png"))
    assert "cannot be written" in one_line(cotam("decode", CODED, "-o", small_disk / "out.png", "--force"))
    assert (small_disk / "out.png").read_bytes() == b"old"
    assert [path.name for path in small_disk.iterdir()] == ["out.png"]


STUCK_IN_MID_WRITE = """
import os, sys, time
from cotam_cli.cli import main

def stuck(descriptor):
    print("here", flush=True)
    for _ in range(600):
        time.sleep(0.1)  # a signal just before a sleep is heard after it
os.fsync = stuck
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "codes"),
    [(signal.SIGINT, {130}), (signal.SIGTERM, {143}), (signal.SIGKILL, {-signal.SIGKILL})],
)
def test_a_signal_in_mid_write(number: signal.Signals, codes: set[int], tmp_path: Path) -> None:
    """All bytes are with the system, and the file is not yet in its place."""
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    command = [sys.executable, "-c", STUCK_IN_MID_WRITE, "decode", str(CODED), "-o", str(target), "--force"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode in codes, said
    assert b"Traceback" not in said
    assert os.listdir(tmp_path) == ["out.png"]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment(number: signal.Signals, tmp_path: Path) -> None:
    """What a shell calls 130 or 143, from start to end; in the first moments Python itself dies of the signal."""
    target = tmp_path / "out.png"
    command = [sys.executable, "-m", "cotam_cli", "decode", str(CODED), "-o", str(target)]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    whole, data = time.perf_counter() - began, target.read_bytes()
    target.unlink()
    codes = []
    for step in range(1, 6):
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            time.sleep(whole * step / 5)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        codes.append(process.returncode)
        assert process.returncode in (0, 128 + number, -number), said
        if target.exists():
            assert target.read_bytes() == data
            target.unlink()
        assert os.listdir(tmp_path) == []
        if process.returncode >= 0:
            assert b"Traceback" not in said
    assert any(code for code in codes)


IN_MID_EXEC = """
import os, signal
from cotam_cli.cli.guard import guarded
signal.signal(signal.SIGINT, signal.default_int_handler)
with guarded():
    exec("os.kill(os.getpid(), NUMBER); list(range(10**6))")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_library_runs_a_string(number: signal.Signals, tmp_path: Path) -> None:
    """`python -m` remembers a KeyboardInterrupt that left `exec`, and would end by SIGINT for it."""
    (tmp_path / "library.py").write_text(IN_MID_EXEC.replace("NUMBER", str(int(number))))
    command = [sys.executable, "-m", "library"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr == b"cotam: interrupted; files that were written are whole\n"


IN_A_DESTRUCTOR = """
import os, time
from cotam_cli.cli.guard import guarded
class Closing:
    def __del__(self):
        os.kill(os.getpid(), NUMBER)
        list(range(10**5))
with guarded():
    closing = Closing()
    del closing
    time.sleep(30)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_is_not_lost(number: signal.Signals, tmp_path: Path) -> None:
    """Python drops what is raised there, and prints it."""
    (tmp_path / "script.py").write_text(IN_A_DESTRUCTOR.replace("NUMBER", str(int(number))))
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=25)
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr == b"cotam: interrupted; files that were written are whole\n"


def shell(line: str) -> tuple[int, str]:
    environment = os.environ | {
        "COTAM": f"{sys.executable} -m cotam_cli",
        "CODED": str(CODED),
        "PHOTO": str(PHOTO),
    }
    done = subprocess.run(
        ["bash", "-c", line], check=False, capture_output=True, timeout=120, env=environment
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("$COTAM decode $CODED -o - >&-", 1, "stdout is closed"),
        ("$COTAM encode - -o - <&- > /dev/null", 1, "stdin is closed"),
        ("$COTAM decode - -o - <&- > /dev/null", 1, "stdin is closed"),
        ("$COTAM decode $CODED -o - > /dev/full", 1, "the disk is full"),
        ("$COTAM info $CODED > /dev/full", 1, "No space left"),
        ("$COTAM info $CODED --json > /dev/full", 1, "No space left"),
        ("$COTAM decode $CODED -o - | :; exit ${PIPESTATUS[0]}", 1, "closed the pipe"),
        ("cat $PHOTO $PHOTO | $COTAM encode - -o - | :; exit ${PIPESTATUS[1]}", 1, "closed the pipe"),
        ("$COTAM info $CODED | :; exit ${PIPESTATUS[0]}", 1, ""),
        ("$COTAM decode /nowhere.ctm -o - 2>&- >&-", 1, ""),
    ],
)
def test_streams_that_are_closed_or_full(line: str, code: int, says: str) -> None:
    returned, said = shell(line)
    assert returned == code, said
    assert says in said
    assert said.count("\n") <= 1
    assert "Traceback" not in said


def test_an_output_does_not_take_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """With stderr closed, what libraries print there must not land in the file."""
    returned, _ = shell(
        f"$COTAM decode $CODED -o {tmp_path}/a.png 2>&- >&- <&-; $COTAM decode $CODED -o {tmp_path}/b.png"
    )
    assert returned == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
