"""How a map becomes levels, and levels quality. Imports nothing: the package's face shows it."""

from __future__ import annotations

from dataclasses import dataclass

CELLS = (16, 32, 64, 128, 256, 512)
MAX_STRENGTH = 255 / 32


@dataclass(frozen=True)
class GuideOptions:
    """How a map becomes levels, and levels quality.

    levels    2 to 15; three lower, keep or raise the quality of a cell
    k         thresholds lie 2 k standard deviations apart around the map's mean; the paper's is 0.75
    cell      pixels a side: 16, 32, 64, 128, 256 or 512
    strength  units of quality that one level adds or takes, 0 to 7.96875
    """

    levels: int = 3
    k: float = 0.75
    cell: int = 32
    strength: float = 0.5


DEFAULTS = GuideOptions()
