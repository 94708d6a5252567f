"""The log of the adapter's training: what its teachers miss, beside what they miss in the prior."""

from __future__ import annotations

import json

from torch import Tensor

FOUND, PRIOR = " found", " prior"


def both_errors(
    number: int, found: list[tuple[str, Tensor]], prior: list[tuple[str, Tensor]]
) -> dict[str, float]:
    """The error of each answer of a teacher, with the adapter and of the prior."""
    pairs = [(FOUND, found), (PRIOR, prior)]
    return {
        f"{number}{level}{k}{which}": error.sqrt().mean().item()
        for which, answers in pairs
        for k, (level, error) in enumerate(answers)
    }


def log_line(step: int, core_seconds: float, means: dict[str, float]) -> str:
    """A line of the log: errors as what is left of the prior's, 1 where nothing changed."""
    shares = {
        key.removesuffix(FOUND): value / (means[key.removesuffix(FOUND) + PRIOR] + 1e-6)
        for key, value in means.items()
        if key.endswith(FOUND)
    }
    others = {key: value for key, value in means.items() if not key.endswith((FOUND, PRIOR))}
    counters = {"step": step, "core_h": round(core_seconds / 3600, 3)}
    return json.dumps(counters | {key: round(value, 4) for key, value in (others | shares).items()})
