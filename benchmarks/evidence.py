"""What vision models still see at equal bytes: the adapter and the plain picture against JPEG, WebP and AVIF.

    python benchmarks/evidence.py RESULT.json...

The results are those of `cotam bench --json` (see `make evidence`). Prints, for each set of pictures and each task,
the score at 0.05, 0.1, 0.2 and 0.3 bits per pixel (linear in the log of the rate between measured settings), and the
BD-rate of cotam against each other codec where that one spends 0.05 to 0.3 bits per pixel.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cotam_cli.bench.bdrate import bd_rate, rising

RATES = (0.05, 0.1, 0.2, 0.3)
NEAR = 1.05
NOT_TASKS = {"setting", "bytes", "bpp", "encoding_time", "decoding_time"}


def score_at(results: dict[str, list[float]], task: str, rate: float) -> float | None:
    """None outside the measured rates, but for `NEAR` of one: each picture comes near a wanted rate, their mean too."""
    rates, scores = np.array(results["bpp"]), np.array(results[task])
    order = np.argsort(rates)
    if not rates.min() / NEAR <= rate <= rates.max() * NEAR:
        return None
    return float(np.interp(np.log(rate), np.log(rates[order]), scores[order]))


def saved(task: str, own: dict[str, list[float]], other: dict[str, list[float]]) -> str:
    """BD-rate as text; points that cost more than a better one are noise of the judges and left out."""
    curves = [rising(results["bpp"], results[task]) for results in (other, own)]
    if min(len(curve[0]) for curve in curves) < 2:
        return "-"
    result = bd_rate(*curves, within=(RATES[0], RATES[-1]))
    return "-" if result is None else f"{result.percent:+.1f} %"


def table(result: dict[str, Any]) -> str:
    """Markdown: a row for each task and codec."""
    codecs = {codec["name"]: codec["results"] for codec in result["codecs"]}
    heads = ["task", "codec", *(f"{rate:g} bpp" for rate in RATES), "bytes of cotam against it"]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for task in [name for name in codecs["cotam"] if name not in NOT_TASKS]:
        for name, results in codecs.items():
            scores = (score_at(results, task, rate) for rate in RATES)
            cells = ["-" if score is None else f"{score:.3f}" for score in scores]
            against = "" if name == "cotam" else saved(task, codecs["cotam"], results)
            rows.append("| " + " | ".join([task, name, *cells, against]) + " |")
    return "\n".join(rows)


def main() -> None:
    for path in map(Path, sys.argv[1:]):
        result = json.loads(path.read_text())
        print(f"\n{path.stem}, {len(result['averaged'])} pictures\n\n{table(result)}")


if __name__ == "__main__":
    main()
