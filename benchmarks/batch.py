"""How near a batch comes to the in-process throughput times the cores: `python benchmarks/batch.py [PICTURES]`.

Codes shifted copies of a 768x512 photo: once here, one after the other with one thread, and once with
`cotam encode -r -j CORES`. Prints JSON. `share` is by the clock, and means something only on an idle machine;
`cpu_share` is the same by processor time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = ("COTAM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"


def make(folder: Path, count: int) -> list[Path]:
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(PHOTO).convert("RGB"))
    paths = [folder / f"{number:05}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(np.roll(pixels, 13 * number, axis=1)).save(path, compress_level=1)
    return paths


def in_process(paths: list[Path], out: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor for each picture, the model's loading left out."""
    import cotam_cli
    from cotam_cli.images import write_atomic

    cotam_cli.encode(paths[0])
    began, worked = time.perf_counter(), time.process_time()
    for path in paths:
        write_atomic(out / f"{path.stem}.ctm", cotam_cli.encode(path))
    return (time.perf_counter() - began) / len(paths), (time.process_time() - worked) / len(paths)


def batch(folder: Path, out: Path, cores: int, count: int) -> tuple[float, float]:
    """The same for the command, all of it counted: start, loading in every process, end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, "-m", "cotam_cli", "encode", "-r", folder, "-o", out, "-j", str(cores)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds / count, worked / count


def main() -> None:
    count, cores = int(sys.argv[1]) if len(sys.argv) > 1 else 1000, len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder, alone, together = (Path(name) / part for part in ("in", "alone", "together"))
        folder.mkdir(), alone.mkdir()
        paths = make(folder, count)
        here = in_process(paths[: min(count, 100)], alone)
        there = batch(folder, together, cores, count)
        assert len(list(together.glob("*.ctm"))) == count
    result = {
        "machine": f"{platform.machine()}, {cores} cores, Python {platform.python_version()}",
        "pictures": count,
        "in_process_ms": round(1000 * here[0], 1),
        "batch_ms": round(1000 * there[0], 1),
        "share": round(here[0] / cores / there[0], 3),
        "cpu_share": round(here[1] / there[1], 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    os.environ.update(dict.fromkeys(THREADS, "1"))
    main()
