"""What coding at another quality would cost, from a trace of one coding; no network, no coder.

An estimate is for searches only. Files are measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cotam_cli.entropy.coder import PRECISION, Tables
from cotam_cli.entropy.tables import SCALES, scale_index

WIDEST = 64  # symbols beyond cost as this one
Costs = NDArray[np.float32]


def cost_table(tables: Tables) -> Costs:
    """Bits of the symbols -64..64 at each scale index, float32 [64, 129]; index 0 codes nothing."""
    costs = np.zeros((SCALES, 2 * WIDEST + 1), np.float32)
    symbols = np.arange(-WIDEST, WIDEST + 1)
    for row, reach, frequencies in zip(costs[1:], tables.reach, tables.frequencies, strict=True):
        bits = PRECISION - np.log2(frequencies)
        beyond = np.abs(symbols) - int(reach)
        inside = beyond <= 0
        row[inside] = bits[symbols[inside] + int(reach)]
        row[~inside] = bits[-1] + 2 + 2 * np.log2(beyond[~inside])  # about what an Exp-Golomb code takes
    return costs


def estimate_bits(costs: Costs, sums: NDArray[np.integer], residuals: NDArray[np.floating]) -> float:
    """Bits of latents whose scale indices come from sums (1/256) and whose symbols are rounded residuals."""
    symbols = np.clip(np.rint(residuals), -WIDEST, WIDEST).astype(np.int32)
    return float(costs[scale_index(sums), symbols + WIDEST].sum(dtype=np.float64))
