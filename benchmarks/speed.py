"""Measures cotam's speed and memory, and keeps them as data beside the machine's description (`make bench`).

Whole commands are timed as processes of their own (the middle of several runs, and the largest memory of any);
warm times are taken in this process, in turn with AVIF through Pillow and, where they are installed, CompressAI's
small models, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

import cotam_cli

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "kodim23.png"  # 768x512
SCREEN = ROOT / "benchmarks" / "pictures" / "screen_invoice.webp"  # 1152x960
TARGETS = ROOT / "benchmarks" / "targets.json"
RESULT = ROOT / "benchmarks" / "speed.json"
LARGE = (6000, 4000)  # 24 MP
QUALITY = "3"
SCREEN_QUALITY = 4.0

Figures = dict[str, Any]


def run_once(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak MB of a process. Raises CalledProcessError when it fails."""
    began = time.perf_counter()
    # an installed package has its bytecode beside it; where Python is told to write none, each run would compile it
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return seconds, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)


def command_figures(arguments: list[str], runs: int) -> Figures:
    """Median and least seconds, largest MB of `cotam ARGUMENTS`."""
    command = [str(Path(sys.executable).with_name("cotam")), *arguments]
    taken = [run_once(command) for _ in range(runs)]
    seconds = [t for t, _ in taken]
    return {
        "seconds": round(statistics.median(seconds), 3),
        "least_seconds": round(min(seconds), 3),
        "peak_mb": round(max(mb for _, mb in taken)),
    }


def measure_commands(folder: Path, runs: int) -> Iterator[tuple[str, Figures]]:
    """Cold commands on a 768x512 photo, and on 24 MP."""
    coded = str(folder / "photo.ctm")
    yield "help", command_figures(["--help"], runs)
    yield "encode", command_figures(["encode", str(PHOTO), "-f", "-o", coded, "-q", QUALITY], runs)
    yield "decode", command_figures(["decode", coded, "-f", "-o", str(folder / "photo.png")], runs)
    yield "info", command_figures(["info", coded], runs)
    large, large_coded = str(folder / "large.ppm"), str(folder / "large.ctm")
    photo = Image.open(PHOTO).convert("RGB")
    photo.resize(LARGE, Image.Resampling.BICUBIC).save(large)
    yield "encode 24 MP", command_figures(["encode", large, "-f", "-o", large_coded, "-q", QUALITY], 1)
    yield "decode 24 MP", command_figures(["decode", large_coded, "-f", "-o", str(folder / "large.ppm")], 1)


def in_turn(tasks: dict[str, Callable[[], object]], runs: int) -> dict[str, Figures]:
    """Median and least seconds of each, taken round by round after one round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(runs + 1):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            if turn:
                taken[name].append(time.perf_counter() - began)
    return {
        name: {"seconds": round(statistics.median(t), 4), "least_seconds": round(min(t), 4)}
        for name, t in taken.items()
    }


def measure_warm(runs: int) -> tuple[dict[str, Figures], list[str]]:
    """In-process encode and decode beside the others; and what was left out, with the reason."""
    pixels = np.asarray(Image.open(PHOTO).convert("RGB"))
    picture = Image.fromarray(pixels)
    data = cotam_cli.encode(pixels, quality=float(QUALITY))
    screen = np.asarray(Image.open(SCREEN).convert("RGB"))
    drawn = cotam_cli.encode(screen, quality=SCREEN_QUALITY)  # all of it in the screen layer
    tasks: dict[str, Callable[[], object]] = {
        "cotam encode": lambda: cotam_cli.encode(pixels, quality=float(QUALITY)),
        "cotam encode, effort 3": lambda: cotam_cli.encode(pixels, quality=float(QUALITY), effort=3),
        "cotam decode": lambda: cotam_cli.decode(data),
        "cotam encode, a screen": lambda: cotam_cli.encode(screen, quality=SCREEN_QUALITY),
        "cotam decode, a screen": lambda: cotam_cli.decode(drawn),
    }
    missing = []
    if features.check("avif"):
        tasks |= avif_tasks(picture)
    else:
        missing.append("avif: this Pillow was built without it")
    if importlib.util.find_spec("compressai"):
        tasks |= compressai_tasks(pixels)
    else:
        missing.append("compressai: not installed; run this in the workshop's environment (extra torch)")
    return in_turn(tasks, runs), missing


def avif_tasks(picture: Image.Image) -> dict[str, Callable[[], object]]:
    def encode() -> bytes:
        out = io.BytesIO()
        picture.save(out, "AVIF", quality=30, speed=6)
        return out.getvalue()

    data = encode()
    return {
        "avif encode, speed 6": encode,
        "avif decode": lambda: Image.open(io.BytesIO(data)).convert("RGB"),
    }


def compressai_tasks(pixels: np.ndarray) -> dict[str, Callable[[], object]]:
    """Its two smallest hyperprior networks at their lowest quality; random weights take as long as trained ones."""
    import torch
    from compressai.zoo import bmshj2018_hyperprior, mbt2018_mean

    x = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255))
    tasks: dict[str, Callable[[], object]] = {}
    for name, make in (("bmshj2018-hyperprior", bmshj2018_hyperprior), ("mbt2018-mean", mbt2018_mean)):
        net = make(quality=1, pretrained=False).eval()
        net.update()
        with torch.inference_mode():
            coded = net.compress(x)

        def encode(net: Any = net) -> object:
            with torch.inference_mode():
                return net.compress(x)

        def decode(net: Any = net, coded: Any = coded) -> object:
            with torch.inference_mode():
                return net.decompress(coded["strings"], coded["shape"])

        tasks |= {f"compressai {name} encode": encode, f"compressai {name} decode": decode}
    return tasks


def installed_mb() -> float:
    """Size on disk of cotam-cli without extras and of all that it needs."""
    seen: set[str] = set()
    queue, total = ["cotam-cli"], 0
    while queue:
        name = queue.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        seen.add(key)
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            total += path.stat().st_size if path.is_file() else 0
        for line in distribution.requires or ():
            if ";" not in line:  # markers: extras, and platforms that need more
                match = re.match(r"[\w.-]+", line)
                queue.append(match[0] if match else line)
    models = sum(path.stat().st_size for path in (ROOT / "models").rglob("*") if path.is_file())
    return (total + models) / 1e6


def machine() -> Figures:
    """What the figures belong to."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        name = found[1] if found else name
    versions = {p: importlib.metadata.version(p) for p in ("numpy", "onnxruntime", "pillow", "constriction")}
    return {"processor": name, "cores": os.cpu_count(), "system": platform.system()} | {
        "python": platform.python_version(),
        **versions,
    }


def judged(figures: Figures, targets: Figures) -> list[str]:
    """One line for each target: what was wanted, what was measured."""
    lines = []
    for name, limits in targets.items():
        for key, limit in limits.items():
            value = figures[name][key]
            lines.append(
                f"{'met   ' if value <= limit else 'MISSED'}  {name}: {key} {value} (at most {limit})"
            )
    return lines


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as folder:
        figures: Figures = dict(measure_commands(Path(folder), runs))
    warm, missing = measure_warm(runs)
    figures |= warm
    figures["install"] = {"mb": round(installed_mb())}
    result = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "picture": f"{PHOTO.name}, 768x512, quality {QUALITY}; the middle of {runs} runs",
        "figures": figures,
        "not_measured": missing,
        "targets": judged(figures, json.loads(TARGETS.read_text())),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
