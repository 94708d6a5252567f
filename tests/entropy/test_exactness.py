"""The promise of the exact path: the same file gives the same latents whatever the processor, the thread count, the
library's kernel, the order of the sums or the type of the numbers.

Each setting decodes every golden file in a process of its own, since BLAS and NumPy choose their code at start.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cotam_cli.codec.decoder import decode_to_latents
from cotam_cli.codec.models import load_model
from cotam_cli.entropy import integer_net
from cotam_cli.entropy.tables import load_entropy_model

GOLDEN = Path(__file__).parents[1] / "golden"
HASHES = {
    name: entry["latent_hash"] for name, entry in json.loads((GOLDEN / "hashes.json").read_text()).items()
}

DECODE_ALL = """
import json, sys
from pathlib import Path
from cotam_cli.codec.decoder import decode_to_latents
from threadpoolctl import threadpool_info
import numpy
found = {path.name: decode_to_latents(path.read_bytes()).latents.crc for path in Path(sys.argv[1]).glob("*.ctm")}
blas = [pool for pool in threadpool_info() if "numpy" in pool["filepath"]]
print(json.dumps({"hashes": found, "blas": blas[0] if blas else {}}))
"""

INTEL = platform.machine().lower() in ("x86_64", "amd64")


def decode_with(**environment: str) -> dict:
    """Hashes of all golden files, and what BLAS said of itself, from a process with this environment."""
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "OMP_", "NPY_", "MKL_"))}
    command = [sys.executable, "-c", DECODE_ALL, str(GOLDEN)]
    done = subprocess.run(
        command, env=cleared | environment, capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads(threads: str) -> None:
    found = decode_with(OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads)
    assert found["hashes"] == HASHES
    if found["blas"].get("internal_api") == "openblas":
        assert found["blas"]["num_threads"] == min(int(threads), os.cpu_count() or 1)


@pytest.mark.skipif(not INTEL, reason="these kernels are x86 ones")
def test_blas_kernels() -> None:
    """OpenBLAS takes the named kernel or its nearest older kin; three different ones at least must have run."""
    ran = set()
    for core in ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX"):
        found = decode_with(OPENBLAS_CORETYPE=core)
        if found["blas"].get("internal_api") != "openblas":
            pytest.skip("this NumPy has no OpenBLAS")
        assert found["hashes"] == HASHES, core
        ran.add(found["blas"]["architecture"])
    assert len(ran) >= 3


@pytest.mark.skipif(not INTEL, reason="these features are x86 ones")
def test_numpy_without_vector_instructions() -> None:
    assert decode_with(NPY_DISABLE_CPU_FEATURES=wide_features())["hashes"] == HASHES


def wide_features() -> str:
    """What NumPy would choose among at run time on this machine."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return " ".join(found)


@pytest.fixture
def fresh_networks(monkeypatch: pytest.MonkeyPatch):
    """Networks built anew under the test's arithmetic, for the newest model."""
    model = load_model()
    entropy = load_entropy_model(model.file("entropy.npz"))
    monkeypatch.setitem(vars(model), "entropy", entropy)
    return model


def newest_files() -> list[Path]:
    return sorted(GOLDEN.glob(f"{load_model().record.name}-*.ctm"))


def test_products_in_int64(monkeypatch: pytest.MonkeyPatch, fresh_networks) -> None:
    """Layers hold weights scaled by 2^-shift; in int64 the shift is done on the accumulator."""

    def integer_dense(layer: integer_net.Dense, x: np.ndarray) -> np.ndarray:
        acc = x.astype(np.int64) @ layer.weight.astype(np.int64) + layer.bias
        v = (acc + (1 << (layer.shift - 1))) >> layer.shift
        v = np.where(v < 0, (v + 4) >> 3, v) if layer.leaky else v
        return np.clip(v, -32767, 32767).astype(np.float64)

    monkeypatch.setattr(integer_net.Dense, "__call__", integer_dense)
    for path in newest_files():
        assert decode_to_latents(path.read_bytes()).latents.crc == HASHES[path.name]


@pytest.mark.parametrize("seed", [1, 2])
def test_sums_in_any_order(seed: int, monkeypatch: pytest.MonkeyPatch, fresh_networks) -> None:
    rng = np.random.default_rng(seed)

    def shuffled(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        order = rng.permutation(len(weight))
        parts = np.array_split(order, 5)
        return sum(x[:, part] @ weight[part] for part in parts)

    monkeypatch.setattr(integer_net, "product", shuffled)
    for path in newest_files():
        assert decode_to_latents(path.read_bytes()).latents.crc == HASHES[path.name]
