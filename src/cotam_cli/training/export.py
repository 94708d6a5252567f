"""From a training state to a model folder: ONNX transforms, integer networks, gains, manifest, allow-list."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cotam_cli.entropy.tables import load_entropy_model
from cotam_cli.errors import CotamError
from cotam_cli.images import write_atomic
from cotam_cli.training.data import Pack
from cotam_cli.training.graphs import analysis_graph, hyper_graph, synthesis_graph
from cotam_cli.training.integers import calibrate, coder_tables, convert
from cotam_cli.training.network import Codec, NetworkConfig, Synthesis
from cotam_cli.training.planes import quality_planes
from cotam_cli.training.slopes import slope_graph

CALIBRATION_CROPS = 64


def load_codec(state: Mapping[str, Any]) -> Codec:
    """The averaged network of a training state, ready to run."""
    codec = Codec(NetworkConfig(**state["network"]))
    codec.load_state_dict(state["average"])
    return codec.eval().requires_grad_(False)


def load_adapter(state: Mapping[str, Any]) -> Synthesis | None:
    """The adapter that a training state carries, ready to run; None where it carries none."""
    carried = state.get("adapter")
    if carried is None:
        return None
    adapter = Synthesis(NetworkConfig(**state["network"]))
    adapter.load_state_dict(carried["weights"])
    return adapter.eval().requires_grad_(False)


def calibration_batches(pack: Pack, crops: int = CALIBRATION_CROPS) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Crops with quality planes over the whole range; the extremes come first."""
    rng = random.Random(7)
    batches = []
    for k in range(0, crops, 4):
        pixels = torch.from_numpy(pack.batch(rng, 4, 256)).float() / 255
        plane, base = quality_planes(rng, 4, 16)
        if k < 16:
            plane, base = torch.full_like(plane, 1.0 - k % 8), torch.full_like(base, 1.0 - k % 8)
        batches.append((pixels, plane.clamp(-1, 1), base.clamp(-1, 1)))
    return batches


def npz(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """A .npz with the same bytes for the same arrays (fixed order and dates). Not compressed: that would save a fifth
    of the size, and cost every command two hundredths of a second."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(arrays[name], order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())
    return out.getvalue()


def model_files(codec: Codec, pack: Pack, adapter: Synthesis | None = None) -> dict[str, bytes]:
    """Every file of a model but the manifest; `machine.onnx` only with an adapter.

    Raises CotamError when exactness cannot be proved.
    """
    torch.manual_seed(0)
    arrays = convert(codec, calibrate(codec, calibration_batches(pack)))
    entropy = npz({**arrays, **coder_tables()})
    load_entropy_model(entropy)  # proves the bound of every layer
    gain = codec.log_gain.detach().numpy()
    regain = (codec.log_regain - codec.log_gain).detach().numpy()
    files = {
        "entropy.npz": entropy,
        "gains.npz": npz({"gain": gain, "regain": regain}),
        "analysis.onnx": analysis_graph(codec),
        "hyper.onnx": hyper_graph(codec),
        "synthesis.onnx": synthesis_graph(codec.synthesis),
        "slope.onnx": slope_graph(codec.synthesis),
    }
    return files if adapter is None else files | {"machine.onnx": synthesis_graph(adapter)}


def write_model(folder: Path, files: Mapping[str, bytes], facts: Mapping[str, object]) -> str:
    """Write a model folder, the manifest last; returns the manifest's sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomic(folder / name, data)
    return write_manifest(folder, {**facts, "files": {name: sha256(data) for name, data in files.items()}})


def write_manifest(folder: Path, facts: Mapping[str, object]) -> str:
    """Write a model's manifest; returns its sha256."""
    manifest = json.dumps(facts, indent=1).encode() + b"\n"
    write_atomic(folder / "manifest.json", manifest)
    return sha256(manifest)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def package_list() -> Path:
    """The package's own allow-list."""
    return Path(str(resources.files("cotam_cli.codec").joinpath("models.json")))


def allow(allow_list: Path, model_id: int, name: str, since: str, manifest_sha256: str) -> None:
    """Add a model to the allow-list, or replace its line."""
    entries = json.loads(allow_list.read_text()) if allow_list.exists() else []
    entries = [entry for entry in entries if entry["id"] != model_id]
    entries.append({"id": model_id, "name": name, "since": since, "manifest_sha256": manifest_sha256})
    entries.sort(key=lambda entry: entry["id"])
    write_atomic(allow_list, json.dumps(entries, indent=1).encode() + b"\n")


def export(
    state: Mapping[str, Any], pack: Pack, models: Path, allow_list: Path, model_id: int, since: str
) -> Path:
    """Write models/ctm-ID and enter it in the allow-list."""
    name = f"ctm-{model_id}"
    facts = {
        "name": name,
        "id": model_id,
        "network": state["network"],
        "training": {key: state[key] for key in ("step", "crops")}
        | {
            "loss": state["loss"] if math.isfinite(state["loss"]) else None
        }  # none before the first line of the log
        | {"core_hours": round(state["core_seconds"] / 3600, 2)}
        | ({"device_seconds": round(state["device_seconds"])} if state.get("device_seconds") else {})
        | ({"teachers": state["teachers"]} if state.get("teachers") else {}),
    }
    facts |= {key: state[key]["training"] for key in ("adapter",) if key in state}
    digest = write_model(models / name, model_files(load_codec(state), pack, load_adapter(state)), facts)
    allow(allow_list, model_id, name, since, digest)
    return models / name


def export_adapter(state: Mapping[str, Any], models: Path, allow_list: Path, model_id: int) -> Path:
    """Put the adapter that a state carries into models/ctm-ID, in the place of the one that is there. All that codes
    stays as it is, so that files and their latents do.

    Raises CotamError when the state carries none, or one for another codec.
    """
    adapter, folder = load_adapter(state), models / f"ctm-{model_id}"
    if adapter is None:
        raise CotamError("the state carries no adapter; put one in with: fidelity merge")
    if not (folder / "manifest.json").exists():
        raise CotamError(f"{folder} is no model; write it with: export")
    facts = json.loads((folder / "manifest.json").read_text())
    if facts["files"]["synthesis.onnx"] != sha256(synthesis_graph(load_codec(state).synthesis)):
        raise CotamError(f"the state is not that of {folder}; an adapter goes with its own codec alone")
    known = [entry for entry in json.loads(allow_list.read_text()) if entry["id"] == model_id]
    if not known:
        raise CotamError(f"{folder} is not in {allow_list}; write it with: export")
    data = synthesis_graph(adapter)
    write_atomic(folder / "machine.onnx", data)
    facts = facts | {
        "adapter": state["adapter"]["training"],
        "files": facts["files"] | {"machine.onnx": sha256(data)},
    }
    allow(allow_list, model_id, known[0]["name"], known[0]["since"], write_manifest(folder, facts))
    return folder
