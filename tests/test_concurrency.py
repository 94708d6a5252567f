"""Many at once: processes that write into one folder, and threads in one process, give the same bytes as alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cotam_cli


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(4)
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"p{number}.png")
        Image.fromarray(rng.integers(0, 256, (32 + 16 * number, 48, 3), np.uint8)).save(paths[-1])
    return paths


@pytest.mark.slow
def test_eight_processes_encode_into_one_folder(pictures: list[Path], tmp_path: Path) -> None:
    """All write the same names at once: every file is whole, right, and alone there."""
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "cotam_cli",
        "encode",
        *map(str, pictures),
        "-o",
        str(out),
        "-j",
        "1",
        "--force",
    ]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(8)]
    for process in running:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert sorted(path.name for path in out.iterdir()) == [f"p{number}.ctm" for number in range(4)]
    for path in pictures:
        assert (out / f"{path.stem}.ctm").read_bytes() == cotam_cli.encode(path)


THREADS = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import cotam_cli
paths = sys.argv[1:]
start = threading.Barrier(8)
def work(number):
    start.wait()
    path = paths[number % len(paths)]
    data = cotam_cli.encode(path, quality=1 + number)
    return path, number, data, cotam_cli.decode(data).tobytes()
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(work, range(8)))
for path, number, data, pixels in found:
    assert cotam_cli.encode(path, quality=1 + number) == data, number
    assert cotam_cli.decode(data).tobytes() == pixels, number
print("same")
"""


def test_eight_threads_from_the_first_call_on(pictures: list[Path]) -> None:
    """A fresh process: all threads find the model unloaded."""
    command = [sys.executable, "-c", THREADS, *map(str, pictures)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow() -> None:
    """A short form of benchmarks/leak.py: a leak of one small picture a round would show."""
    script = Path(__file__).parents[1] / "benchmarks" / "leak.py"
    command = [sys.executable, str(script), "--rounds", "100", "--settle", "50"]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "COTAM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
