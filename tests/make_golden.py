"""Writes the golden files: `make golden`, once for every new model.

tests/golden/MODEL-NAME.ctm with hashes.json: the latent hash and the sha256 of the values (int32, little-endian) of
each. Files of older models that still ship are kept; only the newest model's are written anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cotam_cli.codec.decoder import decode_to_latents
from cotam_cli.codec.encoder import MapSpec, encode_pixels
from cotam_cli.codec.models import load_model

HERE = Path(__file__).parent / "golden"
PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"

Pixels = NDArray[np.uint8]


def pictures() -> dict[str, Pixels]:
    """Small pictures of odd sizes: a photo's crop, noise (escapes), one pixel, a thin line."""
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    noise = np.random.default_rng(1).integers(0, 2, (40, 56, 1), dtype=np.uint8) * np.uint8(255)
    return {
        "photo": photo[100:196, 300:412],
        "noise": np.repeat(noise, 3, 2),
        "pixel": photo[:1, :1],
        "line": photo[200:201, :300],
    }


def golden_files() -> dict[str, bytes]:
    """File name to bytes, made by the newest model."""
    model = load_model().record.name
    source = pictures()
    files = {f"{model}-photo-q{q}.ctm": encode_pixels(source["photo"], q) for q in range(1, 9)}
    for name in ("noise", "pixel", "line"):
        files[f"{model}-{name}-q8.ctm"] = encode_pixels(source[name], 8.0)
    levels = np.random.default_rng(2).integers(0, 3, (3, 4), dtype=np.uint8)
    files[f"{model}-photo-map3.ctm"] = encode_pixels(
        source["photo"], 3.0, importance=MapSpec(levels, strength=0.75)
    )
    levels = np.random.default_rng(3).integers(0, 5, (6, 7), dtype=np.uint8)
    spec = MapSpec(levels, count=5, cell_log2=1, strength=1.0)
    files[f"{model}-photo-map5.ctm"] = encode_pixels(source["photo"], 4.5, importance=spec)
    return files


def main() -> None:
    HERE.mkdir(exist_ok=True)
    model = load_model().record.name
    for old in HERE.glob(f"{model}-*.ctm"):
        old.unlink()
    for name, data in golden_files().items():
        (HERE / name).write_bytes(data)
    hashes = {}
    for path in sorted(HERE.glob("*.ctm")):
        latents = decode_to_latents(path.read_bytes()).latents
        digest = hashlib.sha256(latents.y.astype("<i4").tobytes()).hexdigest()
        hashes[path.name] = {"latent_hash": latents.crc, "values_sha256": digest}
    (HERE / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
