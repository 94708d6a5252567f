"""Does memory grow? Pictures of ever new sizes and kinds, and damaged files, are coded and decoded in one process.

    python benchmarks/leak.py [--rounds 1000] [--settle 50]

Prints the resident memory after `settle` rounds and after all, and fails if it has grown by over 5 %.
"""

from __future__ import annotations

import argparse
import gc
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import cotam_cli

PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"
LIMIT = 1.05


def megabytes() -> float:
    """Resident memory now (not its peak)."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def one_round(photo: Image.Image, rng: np.random.Generator, number: int) -> None:
    """One encode from a file of some format, one decode, one damaged file."""
    width, height = (int(side) for side in rng.integers(17, 200, 2))
    crop = photo.crop((number % 300, number % 100, number % 300 + width, number % 100 + height))
    kind = ("PNG", "JPEG", "WEBP", "TIFF", "GIF")[number % 5]
    buffer = io.BytesIO()
    crop.save(buffer, kind)
    data = cotam_cli.encode(buffer.getvalue(), quality=1 + number % 8, alpha=True)
    cotam_cli.decode(data).load()
    flipped = data[:-5] + bytes([data[-5] ^ 0x3F]) + data[-4:]
    for damaged in (data[: len(data) // 2], flipped):
        try:
            cotam_cli.decode(damaged)
        except cotam_cli.CotamError:
            continue
        raise AssertionError("a damaged file was decoded")


def grown(rounds: int, settle: int) -> tuple[float, float]:
    """Megabytes after `settle` rounds and after all."""
    photo, rng = Image.open(PHOTO).convert("RGB"), np.random.default_rng(0)
    settled = 0.0
    for number in range(rounds):
        one_round(photo, rng, number)
        if number + 1 == settle:
            settled = megabytes()
    return settled, megabytes()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--settle", type=int, default=50)
    given = parser.parse_args()
    settled, after = grown(given.rounds, given.settle)
    growth = f"{after / settled - 1:+.1%}"
    print(f"after {given.settle} rounds {settled:.1f} MB, after {given.rounds} {after:.1f} MB: {growth}")
    return after > LIMIT * settled


if __name__ == "__main__":
    sys.exit(main())
