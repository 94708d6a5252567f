"""Does the adapter cost words? Scans are read by Tesseract in the plain picture and in that with the adapter.

    python benchmarks/receipts.py PICTURES [--limit 60] [--side 1024] [--qualities 2,2.5,3,4,5] [--json FILE]

Each picture, scaled down where a side is longer than `side`, is coded once a quality and decoded for both targets;
counted are the words that are read on the original and still there. Prints the shares over all words, and how many more
or fewer words there are with the adapter: in all, and at the lower half of the qualities, with one standard error from
resampled pictures. JSON has each picture's counts.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

import cotam_cli
from cotam_cli.bench.reading import Tesseract, words_found

TARGETS = ("human", "mllm")
DRAWS = 2000


def count(path: Path, qualities: list[float], side: int) -> list[list[float]]:
    """For each target and quality, how many of the original's words are read; last, the original's alone."""
    reader = Tesseract()
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    original = np.asarray(picture)
    wanted = reader.answer(original)["words"].tolist()
    files = [cotam_cli.encode(original, quality=quality) for quality in qualities]
    counts: list[list[float]] = []
    for target in TARGETS:
        read = [reader.answer(np.asarray(cotam_cli.decode(data, target=target))) for data in files]
        shares = [words_found(wanted, answer["words"].tolist()) for answer in read]
        counts.append([share * total for share, total in shares])
    return [*counts, [words_found(wanted, [])[1]] * len(qualities)]


def more(counts: NDArray[Any], chosen: slice) -> str:
    """Words more with the adapter, in per cent of the plain picture's, over the chosen qualities.

    counts: float [pictures, (human, mllm, original), qualities].
    """
    plain, adapted, _ = counts[:, :, chosen].sum(2).T
    drawn = np.random.default_rng(1).integers(0, len(counts), (DRAWS, len(counts)))
    resampled = adapted[drawn].sum(1) / plain[drawn].sum(1)
    return f"{100 * (adapted.sum() / plain.sum() - 1):+.1f} ± {100 * resampled.std():.1f} %"


def table(counts: NDArray[Any], qualities: list[float]) -> str:
    """Markdown: a column for each quality, and for the lower half and all of them."""
    half = (len(qualities) + 1) // 2
    heads = [f"{quality:g}" for quality in qualities] + [
        f"{qualities[0]:g} to {qualities[half - 1]:g}",
        "all",
    ]
    chosen = [slice(k, k + 1) for k in range(len(qualities))] + [slice(0, half), slice(None)]
    shares = counts.sum(0)[:2] / counts.sum(0)[2]
    rows = [["quality", *heads], ["---"] * (1 + len(heads))]
    for name, line in zip(("in the prior", "with the adapter"), shares, strict=True):
        rows.append([name, *(f"{share:.3f}" for share in line), "", ""])
    rows.append(["words more or fewer", *(more(counts, part) for part in chosen)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def spread(paths: Iterable[Path], limit: int) -> list[Path]:
    every = sorted(paths)
    return [every[int(k)] for k in np.linspace(0, len(every) - 1, min(limit, len(every)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument(
        "--qualities", type=lambda text: [float(part) for part in text.split(",")], default=[2, 2.5, 3, 4, 5]
    )
    parser.add_argument("--side", type=int, default=1 << 16)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    paths = spread((path for path in options.pictures.iterdir() if path.suffix != ".json"), options.limit)
    os.environ.setdefault("COTAM_THREADS", "1")
    with ProcessPoolExecutor(options.workers) as pool:
        counted = pool.map(partial(count, qualities=options.qualities, side=options.side), paths)
        found = list(tqdm(counted, total=len(paths), desc="receipts", unit="picture"))
    if options.json:
        named = {path.name: counts for path, counts in zip(paths, found, strict=True)}
        options.json.write_text(json.dumps({"qualities": options.qualities, "counts": named}))
    print(table(np.array(found), options.qualities))


if __name__ == "__main__":
    main()
