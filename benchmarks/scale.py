"""The same pictures through Ray Data, through a plain pool of processes, and through one `cotam` command a picture.

python benchmarks/scale.py [--pictures N] [--side PIXELS] [--cores N]      needs the extra ray

All three have the same number of cores, and what it takes to start them is left out for the first two (a few
seconds, once) and counted for the third (where it is paid for each picture).
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from PIL import Image

PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"


def make(folder: Path, count: int, side: int) -> list[Path]:
    """Crops of one photo, all different."""
    photo = Image.open(PHOTO).convert("RGB")
    paths = []
    for number in range(count):
        left, top = 7 * number % (photo.width - side), 11 * number % (photo.height - side)
        path = folder / f"{number:05}.png"
        photo.crop((left, top, left + side, top + side)).save(path)
        paths.append(path)
    return paths


def prepare() -> None:
    os.environ["COTAM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"


def encode(path: str) -> int:
    import cotam_cli

    return len(cotam_cli.encode(path))


def with_pool(paths: list[Path], cores: int) -> float:
    names = [str(path) for path in paths]
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn"), prepare) as pool:
        list(pool.map(encode, names[:1] * cores * 2))
        began = time.perf_counter()
        list(pool.map(encode, names, chunksize=4))
        return time.perf_counter() - began


def with_commands(paths: list[Path], cores: int) -> float:
    def command(path: Path) -> None:
        arguments = ["encode", str(path), "-o", str(path.with_suffix(".ctm"))]
        environment = {**os.environ, "COTAM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "cotam_cli", *arguments], check=True, env=environment)

    began = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(command, paths))
    return time.perf_counter() - began


def with_ray(folder: Path, cores: int) -> float:
    import ray

    from cotam_cli.integrations.ray import Encoder

    ray.init(num_cpus=cores, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.read_binary_files(str(folder), file_extensions=["png"]).materialize()
    coded = data.map_batches(Encoder, batch_size=8, num_cpus=1, concurrency=cores)
    began, count = time.perf_counter(), 0
    first = began
    for batch in coded.iter_batches(batch_size=8):
        count += len(batch["ctm"])
        if count == 8:
            first = time.perf_counter()  # the actors are up
    end = time.perf_counter()
    ray.shutdown()
    return (end - first) * count / (count - 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make(folder, options.pictures, options.side)
        runs = {
            "pool of processes": lambda: (with_pool(paths, options.cores), len(paths)),
            "Ray Data": lambda: (with_ray(folder, options.cores), len(paths)),
            "a command each": lambda: (with_commands(paths[:20], options.cores), 20),
        }
        for title, run in runs.items():
            seconds, count = run()
            rate = count / seconds
            print(
                f"{title:18} {rate:7.2f} pictures/s, {3600 * rate / options.cores:8.0f} a core-hour",
                flush=True,
            )


if __name__ == "__main__":
    main()
