"""Does memory grow? Pictures of ever new sizes and kinds, and damaged files, are coded and decoded in one process.

    python benchmarks/leak.py [--rounds 1000] [--settle 50]

Prints the resident memory, and of it what programs have asked malloc for, after `settle` rounds and after all; fails if
either has grown by over 5 %. malloc keeps what the largest picture needed, so that the first of each format is as large
as any: what comes later can only leak.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import io
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import cotam_cli

PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"
LIMIT = 1.05
KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF")
LARGEST = 199
MALLINFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class MallInfo(ctypes.Structure):
    """What glibc's mallinfo2 tells, in bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO.split()]


class Memory(NamedTuple):
    """Megabytes now (not their peak): resident, and given out by malloc and not yet given back."""

    resident: float
    in_use: float


def memory() -> Memory:
    """Of this process. Needs Linux and glibc 2.33."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    resident = int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
    mallinfo2 = ctypes.CDLL("libc.so.6").mallinfo2
    mallinfo2.restype = MallInfo
    told = mallinfo2()
    return Memory(resident, (told.uordblks + told.hblkhd) / 2**20)


def one_round(photo: Image.Image, rng: np.random.Generator, number: int) -> None:
    """One encode from a file of some format, one decode, one damaged file."""
    sizes = (LARGEST, LARGEST) if number < len(KINDS) else rng.integers(17, LARGEST + 1, 2)
    width, height = (int(side) for side in sizes)
    crop = photo.crop((number % 300, number % 100, number % 300 + width, number % 100 + height))
    kind = KINDS[number % len(KINDS)]
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


def grown(rounds: int, settle: int) -> tuple[Memory, Memory]:
    """Memory after `settle` rounds and after all."""
    photo, rng = Image.open(PHOTO).convert("RGB"), np.random.default_rng(0)
    settled = memory()
    for number in range(rounds):
        one_round(photo, rng, number)
        if number + 1 == settle:
            settled = memory()
    return settled, memory()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--settle", type=int, default=50)
    given = parser.parse_args()
    settled, after = grown(given.rounds, given.settle)
    for name, before, now in zip(("resident", "in use"), settled, after, strict=True):
        growth = f"{now / before - 1:+.1%}"
        print(
            f"{name}: after {given.settle} rounds {before:.1f} MB, after {given.rounds} {now:.1f} MB: {growth}"
        )
    return any(now > LIMIT * before for before, now in zip(settled, after, strict=True))


if __name__ == "__main__":
    sys.exit(main())
