"""From a run of the token adapter to its folder, and what it is worth on pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cotam_cli.bench.pictures import find_pictures, load_pixels
from cotam_cli.codec.decoder import decode_to_latents
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.tokens import FORMAT, TokenAdapter, prepare
from cotam_cli.errors import CotamError
from cotam_cli.guidance.torch_vit import Tower
from cotam_cli.guidance.towers import named_vit, tower_name
from cotam_cli.training.export import write_model
from cotam_cli.training.tokens_identity import kept_name, tower_identity
from cotam_cli.training.tokens_loop import relative_error
from cotam_cli.training.tokens_network import AdapterSizes, adapter_graph
from cotam_cli.training.tokens_network import TokenAdapter as AdapterNetwork


def load_run(path: Path) -> dict[str, Any]:
    """The state of a run. Raises CotamError where there is none."""
    if not path.is_file():
        raise CotamError(f"{path} does not exist; train first: python -m cotam_cli.training tokens train")
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def load_network(state: dict[str, Any]) -> AdapterNetwork:
    """The adapter of a run's state, ready to run."""
    sizes = AdapterSizes(**state["identity"]["sizes"])
    net = AdapterNetwork(sizes)
    net.load_state_dict(state["net"])
    return net.eval().requires_grad_(False)


def export_adapter(state: dict[str, Any], tower: str, folder: Path, encoder: str | None) -> str:
    """Write a folder that `cotam decode --tokens --encoder FOLDER` takes; returns the manifest's sha256.

    encoder: what users call it; by default the tower's name. Raises CotamError for another tower than the run's.
    """
    learnt = state["identity"]
    if kept_name(learnt, tower) != learnt["tower"]:
        raise CotamError(
            f"the run learnt for {learnt['tower']}, not for {kept_name(learnt, tower)}; name its tower"
        )
    vit = named_vit(tower)
    own = tower_identity(tower, vit)
    if any(learnt.get(key, own[key]) != own[key] for key in ("patch", "patch_sha256")):
        raise CotamError(f"{tower} has other weights than the tower that the run learnt for; name that one")
    name = encoder or tower_name(tower)
    data = adapter_graph(vit, load_network(state), {"cotam.tokens": str(FORMAT), "cotam.encoder": name})
    facts = {
        "name": folder.name,
        "tokens": FORMAT,
        "encoder": name,
        "patch": vit.patch.shape[-1],
        "width": len(vit.patch),
        "extra": state["identity"]["sizes"]["extra"],
        "pre_norm": vit.pre_norm is not None,
        "preprocessing": state["preprocessing"],
        "codec": state["identity"]["codec"],
        "training": {
            **state["run"],
            "step": state["step"],
            "crops": state["crops"],
            "core_hours": round(state["core_seconds"] / 3600, 2),
        },
    }
    return write_model(folder, {"adapter.onnx": data}, facts)


@torch.no_grad()
def measure(
    folder: Path, tower: str, pictures: Path, qualities: tuple[float, ...], limit: int | None = None
) -> dict[str, Any]:
    """An adapter on whole pictures, through real .ctm files and the runtime.

    By quality: bits per pixel; of the tokens after block 1 and of the final ones, for the prior and for prior and
    adapter, the squared error (as a share of the original tokens' variance) and the mean cosine with the original's;
    means over pictures. Raises CotamError where the adapter or the tower cannot be had.
    """
    adapter = TokenAdapter(folder)
    eyes = Tower(named_vit(tower))
    rows: dict[float, list[dict[str, float]]] = {quality: [] for quality in qualities}
    paths = find_pictures(pictures, limit)
    for path in paths:
        pixels = load_pixels(path)
        prepared, _ = prepare(pixels, adapter.preprocessing, adapter.patch)
        unit = torch.from_numpy(np.array(prepared)).permute(2, 0, 1)[None].float() / 255
        wanted = _layers(eyes, eyes.embed(unit))
        for quality in qualities:
            data = encode_pixels(pixels, quality)
            tokens = adapter.run(decode_to_latents(data))
            figures = {"bpp": 8 * len(data) / (pixels.shape[0] * pixels.shape[1])}
            for name, given in (("prior", tokens.prior), ("adapter", tokens.tokens)):
                for part, found in _layers(eyes, torch.from_numpy(given)).items():
                    cosine = F.cosine_similarity(found, wanted[part], dim=-1)
                    figures[f"{name}_{part}_error"] = relative_error(found, wanted[part]).item()
                    figures[f"{name}_{part}_cosine"] = cosine.mean().item()
            rows[quality].append(figures)
    means = {
        f"{quality:g}": {key: float(np.mean([f[key] for f in figures])) for key in figures[0]}
        for quality, figures in rows.items()
    }
    return {
        "adapter": adapter.name,
        "encoder": adapter.encoder,
        "pictures": len(paths),
        "qualities": means,
    }


def table(figures: dict[str, Any]) -> str:
    """`measure`'s figures for people."""
    columns = ("shallow_error", "final_error", "final_cosine")
    heads = " ".join(f"{name.replace('_', ' '):^17}" for name in columns)
    lines = [
        f"{figures['encoder']}, {figures['pictures']} pictures, prior and prior + adapter",
        f"quality    bpp  {heads}",
    ]
    for quality, row in figures["qualities"].items():
        cells = [f"{row[f'{who}_{name}']:8.4f}" for name in columns for who in ("prior", "adapter")]
        lines.append(f"{quality:>7} {row['bpp']:6.3f}  {' '.join(cells)}")
    return "\n".join(lines)


def _layers(eyes: Tower, embedded: Tensor) -> dict[str, Tensor]:
    seen = eyes.run_from(embedded, tokens=(1, eyes.depth)).tokens
    return {"shallow": seen[1], "final": eyes.normed(seen[eyes.depth])}
