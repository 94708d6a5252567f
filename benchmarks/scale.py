"""The same pictures through the Ray Data example, through one `cotam encode -r`, and through a command each.

python benchmarks/scale.py [FOLDER | --pictures N --side PIXELS] [--cores N]      needs the extra ray

All have the same number of cores, and all is counted: start, loading, shards or files on disk, end. The batch runs
before and after Ray, so that a machine that got busier or idler meanwhile shows. CPU seconds, of all processes of a run
(Linux only), change less with what else the machine does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
ALONE = 20
"""Pictures that get a command each: enough to know what one costs."""


MARK = "COTAM_BENCHMARK"
"""A variable in the environment of all processes of a run, by which they are found."""


class Clock(threading.Thread):
    """Adds up the CPU seconds of the processes that hold `MARK`, looking twice a second until `stop`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, float] = {}
        self.stopped = threading.Event()
        self.start()

    def run(self) -> None:
        mark, tick = f"{MARK}={os.environ[MARK]}".encode(), os.sysconf("SC_CLK_TCK")
        while not self.stopped.wait(0.5):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if mark in (process / "environ").read_bytes().split(b"\0"):
                        fields = (process / "stat").read_text().rpartition(")")[2].split()
                        self.seen[process.name] = (int(fields[11]) + int(fields[12])) / tick
                except OSError:  # it has ended
                    continue

    def stop(self) -> float:
        self.stopped.set()
        self.join()
        self.seen.pop(str(os.getpid()), None)
        return sum(self.seen.values())


def make(folder: Path, count: int, side: int) -> Path:
    """Crops of one photo, all different."""
    photo = Image.open(EXAMPLES / "kodim23.png").convert("RGB")
    folder.mkdir()
    for number in range(count):
        left, top = 7 * number % (photo.width - side), 11 * number % (photo.height - side)
        photo.crop((left, top, left + side, top + side)).save(folder / f"{number:05}.png")
    return folder


def with_batch(folder: Path, out: Path, cores: int) -> int:
    command = [
        sys.executable,
        "-m",
        "cotam_cli",
        "encode",
        "-r",
        str(folder),
        "-o",
        str(out),
        "-j",
        str(cores),
    ]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return sum(1 for _ in out.rglob("*.ctm"))


def with_commands(paths: list[Path], out: Path, cores: int) -> int:
    environment = {**os.environ, "COTAM_THREADS": "1", "OMP_NUM_THREADS": "1"}

    def command(path: Path) -> None:
        arguments = ["encode", str(path), "-o", str(out / f"{path.stem}.ctm")]
        subprocess.run([sys.executable, "-m", "cotam_cli", *arguments], check=True, env=environment)

    out.mkdir()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(command, paths))
    return len(paths)


def with_ray(folder: Path, out: Path, cores: int) -> int:
    """examples/ray_shards.py on a local cluster; the number of pictures that it says it has coded."""
    script = (
        "import ray, runpy, sys; sys.argv = sys.argv[1:]; ray.init(num_cpus=int(sys.argv.pop()), "
        "include_dashboard=False, object_store_memory=1_000_000_000, log_to_driver=False); "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    arguments = [str(EXAMPLES / "ray_shards.py"), str(folder), str(out), "3", str(cores)]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=True,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    last = result.stdout.splitlines()[-1]
    print(f"  the example itself says: {last}")
    return int(last.split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    cores = options.cores
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        folder = options.folder or make(out / "pictures", options.pictures, options.side)
        some = sorted(folder.rglob("*.png"))[:ALONE]
        runs = {
            "cotam encode -r": lambda: with_batch(folder, out / "before", cores),
            "Ray Data": lambda: with_ray(folder, out / "shards", cores),
            "cotam encode -r again": lambda: with_batch(folder, out / "after", cores),
            "a command each": lambda: with_commands(some, out / "alone", cores),
        }
        for title, run in runs.items():
            os.environ[MARK] = title
            clock, began = Clock(), time.perf_counter()
            count = run()
            seconds, busy = time.perf_counter() - began, clock.stop()
            print(
                f"{title:22} {count} pictures in {seconds:.1f} s: {count / seconds:.2f} a second, "
                f"{3600 * count / seconds / cores:.0f} a core-hour; {busy:.1f} s of CPU",
                flush=True,
            )


if __name__ == "__main__":
    main()
