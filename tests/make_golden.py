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

import cotam_cli
from cotam_cli.codec.analysis import MapSpec
from cotam_cli.codec.decoder import decode_to_latents
from cotam_cli.codec.encoder import encode_pixels
from cotam_cli.codec.models import load_model

HERE = Path(__file__).parent / "golden"
PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"

Pixels = NDArray[np.uint8]


def pictures() -> dict[str, Pixels]:
    """Small pictures of odd sizes: a photo's crop, noise (escapes), one pixel, a thin line, something drawn, and that
    beside a photo."""
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    noise = np.random.default_rng(1).integers(0, 2, (40, 56, 1), dtype=np.uint8) * np.uint8(255)
    drawn = np.full((150, 230, 3), 250, np.uint8)
    marks = np.random.default_rng(4).integers(0, 2, (17, 30)).repeat(7, 0).repeat(3, 1) == 1
    drawn[20:139:2, 20:110][marks[::2]] = (30, 60, 90)
    mixed = drawn.copy()
    mixed[:96, 118:] = photo[100:196, 300:412]
    return {
        "drawn": drawn,
        "mixed": mixed,
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
    for name in ("drawn", "mixed"):
        files[f"{model}-{name}-q5.ctm"] = cotam_cli.encode(source[name], quality=5)
    return files


def hashes_of(data: bytes) -> dict[str, int | str]:
    """What of a file is the same on every machine: its latents, and the pixels of its screen layer, if it has one."""
    decoded = decode_to_latents(data)
    latents, screen = decoded.latents, decoded.screen
    hashes: dict[str, int | str] = {
        "latent_hash": latents.crc,
        "values_sha256": sha256(latents.y.astype("<i4")),
    }
    if screen is not None:
        hashes["screen_sha256"] = sha256(screen.pixels)
    return hashes


def sha256(array: NDArray[np.generic]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def main() -> None:
    HERE.mkdir(exist_ok=True)
    model = load_model().record.name
    for old in HERE.glob(f"{model}-*.ctm"):
        old.unlink()
    for name, data in golden_files().items():
        (HERE / name).write_bytes(data)
    hashes = {}
    for path in sorted(HERE.glob("*.ctm")):
        hashes[path.name] = hashes_of(path.read_bytes())
    (HERE / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
