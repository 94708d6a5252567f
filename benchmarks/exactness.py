"""Decode the golden files on everything that can be had here: `make matrix` writes docs/exactness.md.

Each setting is a process of its own: releases of onnxruntime and NumPy (virtual environments under .matrix), thread
counts, OpenBLAS kernels, vector instructions switched off, levels of graph optimisation, and with --aarch64 another
processor, emulated. Compared are the latents with tests/golden/hashes.json, bit for bit, and the pixels with those of
the first setting.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
PAGE = ROOT / "docs" / "exactness.md"
RELEASES = (("1.20.1", "1.26.4"), ("1.20.1", "2.0.2"), ("1.23.2", "1.26.4"), ("1.27.0", "2.2.6"), ("", ""))
CORES = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX")
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
HEAD = (
    "| setting | processor, kernel | NumPy | onnxruntime | latents equal | pixels apart, of 255 |",
    "|---|---|---|---|---|---|",
)

PROBE = """
import json, os, platform, sys
from pathlib import Path
import numpy as np
golden, out, level, shim = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
if shim:  # no constriction for this processor: the range decoder of the independent reader
    import types
    sys.path.insert(0, shim)
    import independent_reader as reader
    class Categorical:
        def __init__(self, shares, perfect):
            self.cumulative = reader.cumulate((shares.astype(np.int64) + 1) >> 8)
    class Uniform:
        def __init__(self, size):
            self.cumulative = range(0, reader.TOTAL + 1, reader.TOTAL // size)
    class RangeDecoder(reader.RangeDecoder):
        def __init__(self, words):
            super().__init__(words.astype(">u4").tobytes().rstrip(b"\\0"))
        def decode(self, model, count=None):
            if count is None:
                return self.symbol(model.cumulative)
            return np.array([self.symbol(model.cumulative) for _ in range(count)], np.int32)
        def maybe_exhausted(self):
            return True
    fake = types.SimpleNamespace(
        model=types.SimpleNamespace(Categorical=Categorical, Uniform=Uniform),
        queue=types.SimpleNamespace(RangeDecoder=RangeDecoder))
    module = types.ModuleType("constriction")
    module.stream = fake
    sys.modules["constriction"] = module
if level:
    import onnxruntime
    options = onnxruntime.SessionOptions
    def chosen():
        made = options()
        made.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        return made
    onnxruntime.SessionOptions = chosen
from cotam_cli.codec.decoder import decode_pixels, decode_to_latents
files = sorted(golden.glob("*.ctm"))
hashes = {path.name: decode_to_latents(path.read_bytes()).latents.crc for path in files}
told = {"hashes": hashes, "machine": platform.machine(), "numpy": np.__version__, "onnxruntime": "-", "blas": ""}
if not shim:
    import onnxruntime
    told["onnxruntime"] = onnxruntime.__version__
    np.savez(out, **{path.name: decode_pixels(path.read_bytes()) for path in files})
try:
    from threadpoolctl import threadpool_info
    told["blas"] = next((p.get("architecture", "") for p in threadpool_info() if "numpy" in p["filepath"]), "")
except ImportError:
    pass
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Setting:
    name: str
    python: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    level: str = ""
    shim: str = ""


def environment_of(runtime: str, numpy: str) -> Path:
    """The interpreter of a virtual environment with these releases, made at first use; "" is the newest."""
    folder = ROOT / ".matrix" / f"ort-{runtime or 'newest'}-numpy-{numpy or 'newest'}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        packages = [
            f"onnxruntime=={runtime}" if runtime else "onnxruntime",
            f"numpy=={numpy}" if numpy else "numpy",
        ]
        packages += ["constriction>=0.4.1,<0.6", "pillow", "click>=8.1.7", "threadpoolctl>=3.5"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (folder / "ready").touch()
    return python


def settings(aarch64: Path | None) -> list[Setting]:
    """All settings, the one that is compared with first."""
    newest = [str(environment_of("", ""))]
    found = [Setting("as installed", newest)]
    for runtime, numpy in RELEASES[:-1]:
        found.append(Setting("other releases", [str(environment_of(runtime, numpy))]))
    for threads in ("1", "2", "4"):
        wanted = {"OPENBLAS_NUM_THREADS": threads, "COTAM_THREADS": threads}
        found.append(Setting(f"{threads} threads", newest, wanted))
    if platform.machine() == "x86_64":
        for core in CORES:
            found.append(Setting(f"OPENBLAS_CORETYPE={core}", newest, {"OPENBLAS_CORETYPE": core}))
        features = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
        found.append(
            Setting("NumPy's vector code off", newest, {"NPY_DISABLE_CPU_FEATURES": " ".join(features)})
        )
    found += [Setting(level, newest, level=level) for level in LEVELS]
    if aarch64:
        python = ["qemu-aarch64-static", "-L", str(aarch64), str(aarch64 / "usr/bin/python3.11")]
        paths = {"PYTHONPATH": f"{ROOT / 'src'}:{aarch64 / 'site'}", "OPENBLAS_NUM_THREADS": "1"}
        shim = str(ROOT / "tests")
        found.append(Setting("aarch64 in qemu-user, latents only", python, paths, shim=shim))
    return found


def run(setting: Setting, out: str) -> dict[str, object]:
    """What the probe told."""
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "OMP_", "NPY_", "COTAM"))}
    command = [*setting.python, "-c", PROBE, str(GOLDEN), out, setting.level, setting.shim]
    environment = cleared | {"PYTHONPATH": str(ROOT / "src")} | setting.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        raise SystemExit(f"{setting.name}: {done.stderr}")
    told: dict[str, object] = json.loads(done.stdout)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--aarch64", type=Path, metavar="FOLDER", help="a root with Python 3.11 and site/numpy for aarch64"
    )
    given = parser.parse_args()
    wanted = {
        name: entry["latent_hash"] for name, entry in json.loads((GOLDEN / "hashes.json").read_text()).items()
    }
    rows, bad, first = [], 0, {}
    for setting in settings(given.aarch64 and given.aarch64.resolve()):
        with tempfile.TemporaryDirectory() as folder:
            out = f"{folder}/pixels.npz"
            told = run(setting, out)
            pixels = dict(np.load(out)) if os.path.exists(out) else {}
        first = first or pixels
        same = sum(told["hashes"][name] == crc for name, crc in wanted.items())
        apart = max(
            (int(np.abs(pixels[n].astype(int) - first[n].astype(int)).max()) for n in pixels), default=None
        )
        bad += same < len(wanted) or (apart or 0) > 1
        rows.append(
            f"| {setting.name} | {told['machine']}{' ' + told['blas'] if told['blas'] else ''} | {told['numpy']} | "
            f"{told['onnxruntime']} | {same} of {len(wanted)} | {'-' if apart is None else apart} |"
        )
        print(rows[-1], flush=True)
    text = PAGE.read_text()
    start = text.index("| setting |")
    PAGE.write_text(text[:start] + "\n".join([*HEAD, *rows]) + "\n")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
